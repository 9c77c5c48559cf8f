package cluster

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/kmsd/kmsd/cluster/gossip"
	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
)

// gossipFarewell bounds the notice to the others that this node goes.
const gossipFarewell = 200 * time.Millisecond

// gossiping takes part in gossip until the node stops, from the start with the keys
// of the last run: the leader whose state brings the present ones may be one that
// only gossip can find. Nothing is decided by it: it suggests where a member may be
// dialled.
func (n *Node) gossiping() {
	seen, err := n.resumeGossip()
	if err != nil {
		n.log.Error("taking part in gossip with the keys of the last run", "err", err)
	}
	for n.ctx.Err() == nil {
		applied := n.applied.Load()
		if rec := n.machine.View().GossipKeys(); rec != nil && rec.ModIndex > seen {
			if err := n.useGossipKeys(rec); err != nil {
				n.log.Error("taking part in gossip", "err", err)
				sleep(n.ctx, retryPause)
				continue
			}
			seen = rec.ModIndex
		}
		sleep(n.ctx, adoptPause)
		_ = n.applied.Wait(n.ctx, applied+1) // fails when the node stops
	}
	n.endGossip()
}

func (n *Node) endGossip() {
	g := n.hints.Swap(nil)
	if g == nil {
		return
	}
	if err := g.Leave(gossipFarewell); err != nil {
		n.log.Debug("leaving gossip", "err", err)
	}
	if err := g.Close(); err != nil {
		n.log.Warn("ending gossip", "err", err)
	}
}

// keptKeys is what the file gossip.keys holds, sealed under the root key: unlike the
// keyring it can be opened before there is a state.
type keptKeys struct {
	// ModIndex is of the record that the keys are from.
	ModIndex uint64   `cbor:"1,keyasint"`
	Keys     [][]byte `cbor:"2,keyasint"` // the primary one first
}

func (k *keptKeys) wipe() {
	for _, key := range k.Keys {
		kmscrypto.Wipe(key)
	}
}

// resumeGossip starts gossip with the keys that this node knew when it ran last. It
// returns the index of their record, 0 if there are none. The others may have
// replaced them: then they drop this node's packets, but exchange addresses with it
// over streams, which need no key.
func (n *Node) resumeGossip() (uint64, error) {
	kept, err := n.dir.readGossipKeys(n.id, n.root)
	if err != nil || kept == nil {
		return 0, err
	}
	defer kept.wipe()
	if err := n.setGossipKeys(kept.Keys); err != nil {
		return 0, err
	}
	return kept.ModIndex, nil
}

// useGossipKeys takes the keys of the state, and writes them down for the next
// start.
func (n *Node) useGossipKeys(rec *fsm.GossipKeys) error {
	kept := keptKeys{ModIndex: rec.ModIndex}
	defer kept.wipe()
	for i := range rec.Keys {
		sealed := rec.Keys[(rec.Primary+i)%len(rec.Keys)]
		key, err := n.keyring.Open(purposeGossip, n.clusterID, sealed)
		if err != nil {
			return fmt.Errorf("opening a gossip key: %w", err)
		}
		kept.Keys = append(kept.Keys, key)
	}
	if err := n.setGossipKeys(kept.Keys); err != nil {
		return err
	}
	return n.dir.writeGossipKeys(n.id, n.root, &kept)
}

// setGossipKeys starts gossip, or gives the running one other keys.
func (n *Node) setGossipKeys(keys [][]byte) error {
	if g := n.hints.Load(); g != nil {
		return g.SetKeys(keys)
	}
	g, err := gossip.Start(gossip.Config{
		NodeID: n.id, ClusterID: n.clusterID, Bind: n.Addr().String(), Advertise: n.cfg.Advertise, Keys: keys,
		Dial: n.hub.dialAnybody, Accept: n.hub.gossip, Known: n.mayBeMember, Peers: n.places,
		Meta:   func() gossip.Meta { return gossip.Meta{APIAddress: n.cfg.APIAddress, Version: n.versions().newest} },
		Logger: n.log, Registerer: n.cfg.Registerer,
	})
	if err == nil {
		n.hints.Store(g)
	}
	return err
}

// mayBeMember tells whether the applied state has a node, or this node remembers it
// and may have too old a state.
func (n *Node) mayBeMember(nodeID string) bool {
	if n.isKnown(nodeID) {
		return true
	}
	_, ok := (*n.vouched.Load())[nodeID]
	return ok && !n.isCaughtUp()
}

// places lists where the other members are, as the state and this node's memory
// have it, and while it serves nothing also where its operator says.
func (n *Node) places() []string {
	var out []string
	for _, id := range n.others() {
		if r, ok := n.machine.View().Node(id); ok && r.Address != "" {
			out = append(out, r.Address)
		} else if p := (*n.vouched.Load())[id]; p.address != "" {
			out = append(out, p.address)
		}
	}
	if n.mayServe() != nil {
		out = append(out, n.cfg.Peers...)
	}
	return out
}

// hint returns where gossip believes a member to be.
func (n *Node) hint(nodeID string) string {
	if g := n.hints.Load(); g != nil {
		if addr, ok := g.Addr(nodeID); ok {
			return addr
		}
	}
	return ""
}

// dialAnybody connects over kmsd-gossip/1 to whichever member is at an address.
func (h *hub) dialAnybody(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	c, err := h.dialAt(ctx, addr, trust.AnyMember, trust.ProtocolGossip, 1)
	if err != nil {
		return nil, err // not c: a nil *conn is no nil net.Conn
	}
	return c, nil
}

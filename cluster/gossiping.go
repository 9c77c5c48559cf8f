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

// gossiping takes part in gossip from when the state has its keys until the node
// stops. Nothing is decided by it: it suggests where a member may be dialled.
func (n *Node) gossiping() {
	var g *gossip.Gossip
	var seen uint64 // ModIndex of the keys in use
	for n.ctx.Err() == nil {
		applied := n.applied.Load()
		if keys := n.machine.View().GossipKeys(); keys != nil && keys.ModIndex != seen {
			next, err := n.useGossipKeys(g, keys)
			if err != nil {
				n.log.Error("taking part in gossip", "err", err)
				sleep(n.ctx, retryPause)
				continue
			}
			g, seen = next, keys.ModIndex
			n.hints.Store(g)
		}
		sleep(n.ctx, adoptPause)
		_ = n.applied.Wait(n.ctx, applied+1) // fails when the node stops
	}
	if g == nil {
		return
	}
	n.hints.Store(nil)
	if err := g.Leave(gossipFarewell); err != nil {
		n.log.Debug("leaving gossip", "err", err)
	}
	if err := g.Close(); err != nil {
		n.log.Warn("ending gossip", "err", err)
	}
}

// useGossipKeys starts gossip, or gives the running one other keys.
func (n *Node) useGossipKeys(g *gossip.Gossip, rec *fsm.GossipKeys) (*gossip.Gossip, error) {
	var keys [][]byte
	defer func() {
		for _, k := range keys {
			kmscrypto.Wipe(k)
		}
	}()
	for i := range rec.Keys {
		sealed := rec.Keys[(rec.Primary+i)%len(rec.Keys)] // the primary one first
		key, err := n.keyring.Open(purposeGossip, n.clusterID, sealed)
		if err != nil {
			return g, fmt.Errorf("opening a gossip key: %w", err)
		}
		keys = append(keys, key)
	}
	if g != nil {
		return g, g.SetKeys(keys)
	}
	return gossip.Start(gossip.Config{
		NodeID: n.id, ClusterID: n.clusterID, Bind: n.Addr().String(), Advertise: n.cfg.Advertise, Keys: keys,
		Dial: n.hub.dialAnybody, Accept: n.hub.gossip, Known: n.isKnown, Peers: n.places,
		Meta:   func() gossip.Meta { return gossip.Meta{APIAddress: n.cfg.APIAddress, Version: n.versions().newest} },
		Logger: n.log, Registerer: n.cfg.Registerer,
	})
}

// places lists where the other members are, as the state and this node's memory
// have it.
func (n *Node) places() []string {
	var out []string
	for _, id := range n.others() {
		if r, ok := n.machine.View().Node(id); ok && r.Address != "" {
			out = append(out, r.Address)
		} else if p := (*n.vouched.Load())[id]; p.address != "" {
			out = append(out, p.address)
		}
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

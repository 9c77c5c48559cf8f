package cluster

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/durable"
)

const (
	// adoptPause is between two looks at the state: what changed in between is seen
	// together.
	adoptPause = 10 * time.Millisecond
	// retryPause follows a failed attempt of what is tried until it succeeds.
	retryPause = 500 * time.Millisecond
)

// hasGenesis tells whether the applied state is a cluster's.
func (n *Node) hasGenesis() bool { return n.machine.View().Meta() != nil }

// isMember tells whether the applied state names the key for the node.
func (n *Node) isMember(nodeID string, spki [32]byte) bool {
	r, ok := n.machine.View().Node(nodeID)
	return ok && (spki == r.SPKI || r.NextSPKI != [32]byte{} && spki == r.NextSPKI)
}

// accept is the handshake's question. A node that has caught up goes by the state.
// Until then its state may be older than what it has acted by: a snapshot can bring
// back a member that was removed since. So it goes by the members that it remembers,
// through whom alone it can learn who is one.
func (n *Node) accept(nodeID string, spki [32]byte) bool {
	if n.isCaughtUp() {
		return n.isMember(nodeID, spki)
	}
	remembered, ok := (*n.vouched.Load())[nodeID]
	return ok && remembered.owns(spki)
}

// knows tells whether the state of a living leader names the key for the node.
func (n *Node) knows(nodeID string, spki [32]byte) bool {
	return n.isCaughtUp() && n.isMember(nodeID, spki)
}

// mayStay tells whether a connection that was accepted once is still one with a
// member. A member that has renewed its key keeps the connections that it made
// with the one before, unless they rest on this node's memory alone.
func (n *Node) mayStay(peer trust.Identity, remembered bool) bool {
	if remembered {
		return n.isMember(peer.NodeID, peer.SPKI)
	}
	_, ok := n.machine.View().Node(peer.NodeID)
	return ok
}

// resolve lists where a member may be reached, the likeliest place first: where it
// said that it is, what gossip says, and where this node found it earlier. Whoever
// answers there must prove to be that member.
func (n *Node) resolve(nodeID string) []string {
	if n.cfg.Resolve != nil {
		if addr, ok := n.cfg.Resolve(nodeID); ok {
			return []string{addr}
		}
		return nil
	}
	var out []string
	add := func(addr string) {
		if addr != "" && !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	if r, ok := n.machine.View().Node(nodeID); ok {
		add(r.Address)
	}
	add(n.hint(nodeID))
	add((*n.vouched.Load())[nodeID].address)
	return out
}

// followState makes this node act by the members and authorities of the applied
// state, once that is the state of a living leader: an old one, as a snapshot or a
// log has it, must not undo what the node has learnt since.
func (n *Node) followState() {
	select {
	case <-n.caught:
	case <-n.ctx.Done():
		return
	}
	var last adopted
	for n.ctx.Err() == nil {
		seen := n.applied.Load()
		if err := n.adopt(&last); err != nil {
			n.log.Error("adopting the cluster's members and authorities", "err", err)
			sleep(n.ctx, retryPause)
			continue
		}
		sleep(n.ctx, adoptPause)
		_ = n.applied.Wait(n.ctx, seen+1) // fails when the node stops
	}
}

// adopted is what this node acts by.
type adopted struct {
	authority uint64 // ModIndex of the record; 0: none
	nodes     []*fsm.NodeRecord
}

func (n *Node) adopt(last *adopted) error {
	view := n.machine.View()
	if a := view.Authority(); a != nil && a.ModIndex != last.authority {
		if err := n.trust(a); err != nil {
			return err
		}
		last.authority = a.ModIndex
	}
	nodes := view.Nodes()
	if !slices.Equal(nodes, last.nodes) { // the same pointer is the same record
		n.hub.review(n.mayStay)
		if err := n.remember(nodes); err != nil {
			return err
		}
		last.nodes = nodes
	}
	n.remembers.Raise(view.Index())
	return nil
}

// trust makes this node trust exactly the authorities of the record, durably: the
// next start needs them before it has any state.
func (n *Node) trust(a *fsm.Authority) error {
	n.identity.Lock()
	defer n.identity.Unlock()
	bundle := trust.EncodeBundle(a.Trusted)
	creds, err := n.creds.Load().WithAuthorities(bundle)
	if err != nil {
		return fmt.Errorf("trusting the authorities of log index %d: %w", a.ModIndex, err)
	}
	if err := n.dir.write(fileAuthority, bundle); err != nil {
		return err
	}
	n.creds.Store(creds)
	n.trusts.Raise(a.ModIndex)
	return nil
}

// remember writes down who the members are and where, for the next start.
func (n *Node) remember(nodes []*fsm.NodeRecord) error {
	peers := make(map[string]peer, len(nodes))
	for _, r := range nodes {
		peers[r.ID] = peer{r.SPKI, r.NextSPKI, r.Address}
	}
	if maps.Equal(peers, *n.vouched.Load()) {
		return nil
	}
	if err := n.dir.writePeers(peers); err != nil {
		return err
	}
	n.vouched.Store(&peers)
	return nil
}

// dropFirst waits until the cluster's first command is applied, and removes the
// file that allowed this node to start without a log: with it, a node that lost its
// log could make the cluster a second time, or vote twice.
func (n *Node) dropFirst() {
	for index := uint64(1); !n.hasGenesis(); index = n.applied.Load() + 1 {
		if n.applied.Wait(n.ctx, index) != nil {
			return
		}
	}
	for _, name := range []string{fileGenesis, fileJoined, filePending} {
		if err := durable.Remove(n.dir.path(name)); err != nil {
			n.log.Error("removing the file of the first start", "file", name, "err", err)
		}
	}
}

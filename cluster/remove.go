package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/lease"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// healthyFor is how long a voter may take to answer when it matters whether it would
// vote.
const healthyFor = 2 * lease.Silence

type removeRequest struct {
	ID    string `cbor:"1,keyasint"`
	Force bool   `cbor:"2,keyasint,omitempty"`
	// Inc is set by a member that leaves and has stopped serving: its start counter.
	Inc uint64 `cbor:"3,keyasint,omitempty"`
	// Check asks only whether the removal would be refused.
	Check bool `cbor:"4,keyasint,omitempty"`
}

// RemovePeer removes another member for good, dead or alive: nobody accepts its key
// any more, every node closes its connections with it, and authority and gossip key
// are replaced. Removing again what was removed succeeds.
//
// Refusals are *kms.Error: QuorumAtRiskException when the rest could not decide
// anything (unless force), NotFoundException for an unknown node, ConflictException
// for the leader itself, which leaves by Leave.
func (n *Node) RemovePeer(ctx context.Context, id string, force bool) error {
	_, err := n.ask(ctx, kindRemove, encodeCBOR(removeRequest{ID: id, Force: force}))
	return err
}

func (l *leadership) leadRemove(ctx context.Context, from string, body []byte) ([]byte, uint64, error) {
	var r removeRequest
	if err := decodeCBOR(body, &r); err != nil || r.Inc > 0 && r.ID != from {
		return nil, 0, errRequest
	}
	l.members.Lock()
	defer l.members.Unlock()
	index, err := l.remove(ctx, r)
	nudge(l.attend)
	return nil, index, err
}

// remove ends a membership. The order matters: Beats stop first, so that the member
// serves nothing when the others stop waiting for it; then the state drops its key,
// which also tells the next leader, should this one die, to finish; then Raft's
// configuration follows.
func (l *leadership) remove(ctx context.Context, r removeRequest) (uint64, error) {
	if err := l.settle(ctx); err != nil {
		return 0, err
	}
	view := l.n.machine.View()
	if removed, ok := view.Removed(r.ID); ok {
		return removed.ModIndex, nil
	}
	if err := l.mayRemove(ctx, view, r); err != nil || r.Check {
		return 0, err
	}
	if err := l.silence(ctx, r); err != nil {
		l.resume(r.ID)
		return 0, err
	}
	index, err := l.strike(ctx, r.ID)
	if err != nil {
		l.resume(r.ID)
		return 0, err
	}
	return index, l.expel(ctx, r.ID)
}

// mayRemove refuses what cannot or should not be.
func (l *leadership) mayRemove(ctx context.Context, view *fsm.View, r removeRequest) error {
	if _, ok := view.Node(r.ID); !ok {
		return &kms.Error{Code: kms.CodeNotFound, Message: fmt.Sprintf("The node %.64q is not a member of this cluster.", r.ID)}
	}
	if r.ID == l.n.id {
		return &kms.Error{Code: kms.CodeConflict, Message: "The node " + r.ID + " leads the cluster. Let it leave instead."}
	}
	config, err := l.servers()
	if err != nil {
		return err
	}
	if r.Force {
		return nil
	}
	asked, err := l.hear(ctx, config, r.ID)
	if err != nil {
		return err
	}
	if voters, healthy := l.without(config, r.ID, asked); 2*healthy <= voters {
		return &kms.Error{Code: kms.CodeQuorum, Message: fmt.Sprintf(
			"Without the node %s only %d of %d voting nodes would answer, which could decide nothing. Nothing was changed.", r.ID, healthy, voters)}
	}
	return nil
}

// hear waits until every member but one has answered from now on, or has had the time
// to. What they answered before says nothing: one may have died since.
func (l *leadership) hear(ctx context.Context, config map[string]bool, but string) (asked time.Duration, err error) {
	asked = l.n.clock.Boot()
	l.kickAll()
	for {
		open := false
		for _, m := range l.known() {
			_, member := config[m.ID]
			open = open || member && m.ID != but && !answered(m, asked)
		}
		if !open || l.n.clock.Boot()-asked >= healthyFor {
			return asked, nil
		}
		if !sleep(ctx, forwardPause) {
			return 0, kms.ErrUnavailable
		}
	}
}

// answered tells whether a member has answered a Beat of this term since a time.
func answered(m lease.Member, since time.Duration) bool { return m.Any && m.Heard >= since }

// without counts the voters but one, and those of them that have answered since a time.
func (l *leadership) without(config map[string]bool, id string, since time.Duration) (voters, healthy int) {
	voters, healthy = 1, 1 // this node
	for _, m := range l.known() {
		if config[m.ID] && m.ID != id {
			voters++
			if answered(m, since) {
				healthy++
			}
		}
	}
	return voters, healthy
}

// silence stops the Beats to a member and waits until it has stopped serving.
func (l *leadership) silence(ctx context.Context, r removeRequest) error {
	l.stopBeats(r.ID)
	l.n.mu.Lock()
	if r.Inc > 0 {
		l.lease.Goodbye(r.ID, r.Inc)
	}
	l.lease.Pause(r.ID, l.n.clock.Boot())
	quiet := l.lease.Quiet(r.ID)
	l.n.mu.Unlock()
	l.advance()
	for {
		left := quiet - l.n.clock.Boot()
		if left <= 0 {
			return nil
		}
		if !sleep(ctx, min(left, time.Second)) {
			return kms.ErrUnavailable
		}
	}
}

// resume sends Beats again to a member that stays after all.
func (l *leadership) resume(id string) {
	l.n.mu.Lock()
	l.lease.Resume(id)
	l.n.mu.Unlock()
	if l.ctx.Err() == nil && (*l.beaters.Load())[id] == nil {
		l.startBeats(id)
	}
}

// strike takes a member out of the state. Before that, the state says that a
// rotation is due: should this node die in between, the next leader makes it.
func (l *leadership) strike(ctx context.Context, id string) (uint64, error) {
	if err := l.announceRotation(ctx); err != nil {
		return 0, err
	}
	authority, err := l.issuer()
	if err != nil {
		return 0, err
	}
	statement, err := authority.SignRemoval(id)
	if err != nil {
		return 0, err
	}
	l.members.nextFresh = false // also if nobody knows whether the removal is committed
	index, err := l.n.decide(ctx, &fsm.NodeRemove{ID: id, Statement: statement}, nil)
	if err != nil {
		return 0, err
	}
	l.n.log.Info("the node was removed from the cluster", "node", id, "index", index)
	return index, nil
}

// expel takes a node that is no member of the state out of Raft's configuration.
func (l *leadership) expel(ctx context.Context, id string) error {
	l.stopBeats(id)
	err := l.configure(ctx, l.n.raft.RemoveServer(raft.ServerID(id), 0, enqueueTimeout))
	if err != nil {
		return fmt.Errorf("taking the node %s out of the configuration: %w: %w", id, kms.ErrOutcomeUnknown, err)
	}
	l.forget(id)
	return nil
}

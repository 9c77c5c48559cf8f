package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/lease"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

const (
	// freshTimeout bounds the wait for a sign of the leader by a node that hears no
	// majority, and electionTimeout by one that does: it spans an election that has to
	// be repeated.
	freshTimeout    = lease.Silence
	electionTimeout = 5 * time.Second
	// settleTimeout bounds the wait for an index to be stable: a new leader's first
	// command waits a Silence for members that are gone.
	settleTimeout = electionTimeout + lease.Silence + 500*time.Millisecond
	// freshLook is how often a call that waits looks whether there is hope.
	freshLook = 250 * time.Millisecond
)

// View returns the state for one request. Freshness is proved first and the state
// loaded then: the other way round the state could be older than the proof. When
// this node is not fresh it waits up to a second, and while it hears a majority of
// the voters up to five: they will elect a leader. Then, or when ctx ends, it returns
// kms.ErrUnavailable.
func (n *Node) View(ctx context.Context) (*fsm.View, error) {
	if n.mayServe() == nil {
		return n.machine.View(), nil
	}
	ctx, cancel := n.bound(ctx, electionTimeout)
	defer cancel()
	for began := n.clock.Boot(); ; {
		seen := n.freshened.Load()
		why := n.mayServe()
		switch {
		case why == nil:
			return n.machine.View(), nil
		case ctx.Err() != nil || !isPassing(why) || n.clock.Boot()-began >= freshTimeout && !n.inCompany():
			return nil, fmt.Errorf("%w: %w", kms.ErrUnavailable, why)
		}
		n.awaitBeat(ctx, seen)
	}
}

// awaitBeat waits a moment for a Beat after those that were seen, and for what it
// calls for.
func (n *Node) awaitBeat(ctx context.Context, seen uint64) {
	ctx, cancel := context.WithTimeout(ctx, freshLook)
	defer cancel()
	if n.freshened.Wait(ctx, seen+1) != nil {
		return
	}
	if f := n.fresh.Load(); f != nil {
		_ = n.applied.Wait(ctx, f.Floor) // mayServe looks again
	}
}

var (
	errFailed   = errors.New("the node has failed")
	errStopping = errors.New("the node is stopping")
	errLeaving  = errors.New("the node is leaving the cluster")
	errNoLeader = errors.New("no leader was heard within a second")
	errStale    = errors.New("no Beat of the leader within a second")
	errBehind   = errors.New("the node lags behind what is acknowledged")
	errNoServe  = errors.New("the node is starting")
)

// mayServe returns nil if this node may serve reads from its state now.
func (n *Node) mayServe() error {
	f := n.fresh.Load()
	switch {
	case n.closing.Load():
		return errStopping
	case n.leaving.Load():
		return errLeaving
	case n.fate.failed.Load():
		return errFailed
	case f == nil:
		return errNoLeader
	case f.Term != n.raft.CurrentTerm() || n.clock.Boot() >= f.Until:
		return errStale
	case n.applied.Load() < f.Floor:
		return errBehind
	}
	return nil
}

// isPassing tells whether a node that may not serve for this reason may hope to serve
// soon.
func isPassing(why error) bool {
	return errors.Is(why, errNoLeader) || errors.Is(why, errStale) || errors.Is(why, errBehind)
}

// inCompany tells whether this node hears a majority of the voters, itself included if
// it votes. While it does, somebody leads or will be elected.
func (n *Node) inCompany() bool {
	config := n.raft.GetConfiguration()
	if config.Error() != nil {
		return false
	}
	voters, heard := 0, 0
	for _, s := range config.Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if string(s.ID) == n.id || n.hub.heardWithin(string(s.ID), n.clock.Boot(), companyTimeout) {
			heard++
		}
	}
	return 2*heard > voters
}

// companyTimeout is how long ago a member may have been heard at the latest: voters
// without a leader speak to each other once or twice a second.
const companyTimeout = 2 * time.Second

// Ready returns nil if calls should be sent to this node, or else the reason why not.
// It does not wait. A node that was fresh a few seconds ago, hears no leader and hears a
// majority is ready: calls wait there for the next leader, and nobody else could serve
// them sooner.
func (n *Node) Ready() error {
	select {
	case <-n.served:
	default:
		return errNoServe
	}
	switch {
	case n.disk().below(unreadyBelow):
		return errDisk
	case n.skew().Abs() > maxSkew:
		return errSkew
	}
	why := n.mayServe()
	if isPassing(why) && !errors.Is(why, errBehind) && n.clock.Boot() < n.freshUntil()+electionTimeout && n.inCompany() {
		return nil
	}
	return why
}

// freshUntil is when this node's freshness has ended or will end; 0 if there was none.
func (n *Node) freshUntil() time.Duration { return time.Duration(n.freshEnd.Load()) }

// Settle waits until index is stable. It returns kms.ErrUnavailable when a new leader
// has had the time to make it so, or when ctx or the node ends.
func (n *Node) Settle(ctx context.Context, index uint64) error {
	if n.stable.Load() >= index && !n.fate.failed.Load() {
		return nil
	}
	ctx, cancel := n.bound(ctx, settleTimeout)
	defer cancel()
	if err := n.stable.Wait(ctx, index); err != nil || n.fate.failed.Load() {
		return fmt.Errorf("%w: index %d is not acknowledged", kms.ErrUnavailable, index)
	}
	return nil
}

// bound returns a context that also ends after d and with the node.
func (n *Node) bound(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(n.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

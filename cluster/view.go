package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/cluster/lease"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

const (
	// freshTimeout bounds the wait for a sign of the leader: it spans an election.
	freshTimeout = lease.Silence
	// settleTimeout bounds the wait for an index to be stable: a new leader's first
	// command waits a Silence for members that are gone.
	settleTimeout = lease.Silence + 500*time.Millisecond
)

// View returns the state for one request. Freshness is proved first and the state
// loaded then: the other way round the state could be older than the proof. When
// this node is not fresh it waits up to a second; then, or when ctx ends, it
// returns kms.ErrUnavailable.
func (n *Node) View(ctx context.Context) (*fsm.View, error) {
	if n.mayServe() == nil {
		return n.machine.View(), nil
	}
	ctx, cancel := n.bound(ctx, freshTimeout)
	defer cancel()
	for {
		seen := n.freshened.Load()
		why := n.mayServe()
		if why == nil {
			return n.machine.View(), nil
		}
		if n.freshened.Wait(ctx, seen+1) != nil {
			return nil, fmt.Errorf("%w: %w", kms.ErrUnavailable, why)
		}
		// A Beat came. What it calls for must be applied here, too.
		if f := n.fresh.Load(); f != nil && n.applied.Wait(ctx, f.Floor) != nil {
			return nil, fmt.Errorf("%w: %w", kms.ErrUnavailable, errBehind)
		}
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

// Ready returns nil if this node serves, or else the reason why not. It does not
// wait.
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
	return n.mayServe()
}

// Settle waits until index is stable. It returns kms.ErrUnavailable after a second
// and a half, or when ctx or the node ends.
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

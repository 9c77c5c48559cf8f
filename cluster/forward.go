package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/kms"
)

const (
	// forwardTimeout bounds all attempts for one call.
	forwardTimeout = 10 * time.Second
	// attemptTimeout bounds one attempt: a write takes a second without a member,
	// and a new leader another one.
	attemptTimeout = 4 * time.Second
	// forwardPause is between attempts.
	forwardPause = 25 * time.Millisecond
)

// Forward has the leader execute a call: over the network, or here when this node
// leads. A reply comes back after this node, too, has applied what it depends on.
//
// The same bytes are sent again while the fate of the call is open, for at most
// ten seconds: whoever executes them must recognise a repetition. Then the error
// is kms.ErrUnavailable if no leader can have proposed anything, and
// kms.ErrOutcomeUnknown otherwise. Other errors are Execute's.
func (n *Node) Forward(ctx context.Context, call []byte) ([]byte, error) {
	ctx, cancel := n.bound(ctx, forwardTimeout)
	defer cancel()
	var ambiguous, fresh bool
	for {
		reply, index, err := n.attempt(ctx, call, fresh)
		switch {
		case err == nil:
			// The call has succeeded, whatever becomes of this node's own copy: it
			// refuses reads while it is behind.
			_ = n.applied.Wait(ctx, index)
			return reply, nil
		case errors.Is(err, kms.ErrOutcomeUnknown):
			ambiguous = true
		case !errors.Is(err, kms.ErrNotLeader) && !errors.Is(err, kms.ErrUnavailable):
			return nil, err
		}
		n.metrics.retries.Inc()
		fresh = errors.Is(err, errLost)
		if !sleep(ctx, forwardPause) {
			// One sentinel alone: that the last attempt proposed nothing says nothing
			// about those before it.
			return nil, fmt.Errorf("%w: %v", verdict(ambiguous), err)
		}
	}
}

func verdict(ambiguous bool) error {
	if ambiguous {
		return kms.ErrOutcomeUnknown
	}
	return kms.ErrUnavailable
}

// errLost is returned when no reply came over a connection.
var errLost = errors.New("no reply")

// attempt has the call executed once by whoever is the leader now.
func (n *Node) attempt(ctx context.Context, call []byte, fresh bool) ([]byte, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	_, leader := n.raft.LeaderWithID()
	switch {
	case ctx.Err() != nil || n.closing.Load():
		return nil, 0, kms.ErrUnavailable
	case n.lead.Load() != nil:
		return n.execute(ctx, call)
	case leader == "" || string(leader) == n.id:
		return nil, 0, kms.ErrNotLeader
	}
	status, body, sent, err := n.calls.call(ctx, string(leader), kindForward, call, fresh)
	switch {
	case err != nil && sent:
		return nil, 0, fmt.Errorf("%w: %w: %w", kms.ErrOutcomeUnknown, errLost, err)
	case err != nil:
		return nil, 0, fmt.Errorf("%w: %w: %w", kms.ErrUnavailable, errLost, err)
	}
	return decodeOutcome(status, body)
}

// execute runs a call here.
func (n *Node) execute(ctx context.Context, call []byte) ([]byte, uint64, error) {
	if n.closing.Load() || n.fate.failed.Load() {
		return nil, 0, kms.ErrUnavailable
	}
	select {
	case <-n.served:
		return n.handlers.Execute(ctx, call)
	default:
		return nil, 0, kms.ErrUnavailable
	}
}

// sleep returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

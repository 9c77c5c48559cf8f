package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

const (
	// enqueueTimeout bounds the wait for a place in Raft's queue. Nothing is
	// proposed when it passes.
	enqueueTimeout = time.Second
	// commitTimeout bounds the wait for a queued command. Raft's own timeout ends
	// with the queue (BatchApplyCh).
	commitTimeout = 5 * time.Second
	// transferLimit is how long Raft may say that it hands its leadership over: it
	// forgets to stop saying so when a transfer is interrupted (hashicorp/raft#696).
	transferLimit = 10 * time.Second
)

// Propose commits a command. Only the leader can. It returns the command's result
// and its index in the log once the command is applied here and stable, see the
// package's comment. The result of a conflict does not wait: nothing happened.
//
// The errors are kms.ErrNotLeader and kms.ErrUnavailable, when nothing was
// proposed, and kms.ErrOutcomeUnknown. A command that not every member supports is
// refused with a *kms.Error, ServiceUnavailableException, and nothing was proposed.
// Any other error is the caller's: a command that cannot be sealed.
func (n *Node) Propose(ctx context.Context, cmd fsm.Command) (fsm.Result, uint64, error) {
	leave, ok := n.proposals.enter()
	if !ok {
		return fsm.Result{}, 0, kms.ErrUnavailable
	}
	defer leave()
	start := n.clock.Boot()
	result, index, err := n.propose(ctx, cmd)
	n.metrics.proposed(err, result, n.clock.Boot()-start)
	return result, index, err
}

func (n *Node) propose(ctx context.Context, cmd fsm.Command) (fsm.Result, uint64, error) {
	l, err := n.leading(ctx)
	if err != nil {
		return fsm.Result{}, 0, err
	}
	if n.disk().below(refuseWrites) {
		return fsm.Result{}, 0, fmt.Errorf("%w: the disk is full", kms.ErrUnavailable)
	}
	if err := n.mayPropose(cmd); err != nil {
		return fsm.Result{}, 0, err
	}
	entry, err := n.sealCommand(cmd)
	if err != nil {
		return fsm.Result{}, 0, err
	}
	out, index, err := n.commit(ctx, entry)
	if err != nil {
		return fsm.Result{}, 0, n.classify(err)
	}
	if out.result.Conflict {
		return out.result, index, nil
	}
	if err := n.awaitStable(ctx, l, index); err != nil {
		return fsm.Result{}, 0, err
	}
	return out.result, index, nil
}

// leading returns this node's leadership once its term is open.
func (n *Node) leading(ctx context.Context) (*leadership, error) {
	l := n.lead.Load()
	switch {
	case n.fate.failed.Load() || ctx.Err() != nil:
		return nil, kms.ErrUnavailable
	case l == nil:
		return nil, kms.ErrNotLeader
	}
	select {
	case <-l.open:
		return l, nil
	case <-l.ctx.Done():
		return nil, kms.ErrNotLeader
	case <-ctx.Done():
		return nil, kms.ErrUnavailable
	}
}

// awaitStable waits until index may be acknowledged. A leader that lost its term
// cannot know any more.
func (n *Node) awaitStable(ctx context.Context, l *leadership, index uint64) error {
	if n.stable.Load() >= index {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	if err := n.stable.Wait(ctx, index); err != nil {
		return fmt.Errorf("%w: committed at %d, not acknowledged: %w", kms.ErrOutcomeUnknown, index, err)
	}
	return nil
}

func (n *Node) meta() fsm.Meta { return fsm.Meta{Time: n.clock.Wall().UnixMilli()} }

// sealCommand makes the log entry of a command.
func (n *Node) sealCommand(cmd fsm.Command) ([]byte, error) {
	return sealEntry(n.keyring, n.clusterVersion(), cmd)
}

// sealEntry seals a command for a cluster of a version, which members that do not
// support it read from the envelope. It refuses, as unavailable, everything but the
// cluster's first command while the keyring is empty: an entry sealed under term 0
// would stop every node for good, and the applied state is published a moment before
// the keyring has its terms.
func sealEntry(k *kmscrypto.Keyring, version uint32, cmd fsm.Command) ([]byte, error) {
	if k.Current() == 0 && cmd.Type != fsm.TypeGenesis {
		return nil, fmt.Errorf("%w: the keyring is not loaded yet", kms.ErrUnavailable)
	}
	return k.SealEntry(kmscrypto.EntryHeader{
		ClusterVersion: version, Type: uint16(cmd.Type), Version: cmd.Version, ReqKey: cmd.ReqKey,
	}, cmd.Body)
}

// errDropped is returned by commit when nothing was proposed because the node
// stops.
var errDropped = errors.New("the node is shutting down")

// errWaited is returned when nobody waits any more for a command in the log.
var errWaited = errors.New("gave up waiting for the commit")

// commit is the only caller of raft.Apply, and the only place where its answer is
// taken apart.
func (n *Node) commit(ctx context.Context, entry []byte) (*outcome, uint64, error) {
	if ctx.Err() != nil || n.fate.failed.Load() {
		return nil, 0, errDropped
	}
	done, ok := n.futures.enter()
	if !ok {
		return nil, 0, errDropped
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	f := n.raft.Apply(entry, enqueueTimeout)
	if err := wait(ctx, f, done); err != nil {
		return nil, 0, err
	}
	out, ok := f.Response().(*outcome)
	if !ok || out.fatal != nil {
		return nil, 0, fmt.Errorf("applying the entry at %d failed", f.Index())
	}
	n.transferring.Store(0)
	return out, f.Index(), nil
}

// await waits for a future of Raft until ctx ends.
func (n *Node) await(ctx context.Context, f raft.Future) error {
	done, ok := n.futures.enter()
	if !ok {
		return errDropped
	}
	return wait(ctx, f, done)
}

// wait waits for f as long as ctx allows. done is called when f is answered, which
// may be later.
func wait(ctx context.Context, f raft.Future, done func()) error {
	answered := make(chan error, 1)
	go func() {
		defer done()
		answered <- f.Error()
	}()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errWaited, ctx.Err())
	}
}

// classify tells apart what Raft's errors say about an entry: never in any log, or
// perhaps.
func (n *Node) classify(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return kms.ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		n.watchTransfer()
		return kms.ErrUnavailable
	case errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, errDropped):
		return kms.ErrUnavailable
	default: // ErrLeadershipLost, ErrRaftShutdown, ErrAbortedByRestore, storage errors, time
		return fmt.Errorf("%w: %w", kms.ErrOutcomeUnknown, err)
	}
}

// watchTransfer ends the node when Raft says for too long that it hands over.
func (n *Node) watchTransfer() {
	now := int64(n.clock.Boot())
	if n.transferring.CompareAndSwap(0, now) {
		return
	}
	if since := n.transferring.Load(); since != 0 && time.Duration(now-since) > transferLimit {
		n.fate.fail(ExitRestart, fmt.Errorf("leadership is being transferred for more than %v", transferLimit))
	}
}

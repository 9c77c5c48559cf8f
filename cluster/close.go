package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Close stops the node: it takes nothing new, lets what is under way end, hands
// its leadership over and stops everything it started. ctx bounds all of it; when
// it ends first, what could not be stopped is left to the end of the process.
// Later calls return what the first one did.
func (n *Node) Close(ctx context.Context) error {
	n.closed.Do(func() { n.end = n.close(ctx) })
	return n.end
}

func (n *Node) close(ctx context.Context) error {
	n.closing.Store(true)
	if !n.fate.failed.Load() {
		drainGate(ctx, &n.proposals) // who waits longer learns that the outcome is unknown
		n.handOver(ctx)
	}
	n.fresh.Store(nil)
	if !n.fate.failed.Load() {
		n.sayGoodbye(ctx)
	}
	n.cancel()
	drainGate(ctx, &n.futures) // one that Raft holds when it stops is never answered
	stopped := make(chan error, 1)
	go func() { stopped <- n.stop() }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stopping the node: %w", ctx.Err())
	}
}

// drainGate closes a gate and waits for who is inside.
func drainGate(ctx context.Context, g *gate) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	_ = g.close(ctx)
}

// goodbyeTimeout bounds the attempts to find the leader and to take leave of it.
const goodbyeTimeout = 500 * time.Millisecond

// sayGoodbye tells the leader that this process serves nothing any more, so that
// the next write does not wait for it. It is true already: closing is set.
func (n *Node) sayGoodbye(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.hooks.goodbye)
	defer cancel()
	if len(n.others()) == 0 {
		return
	}
	inc := binary.BigEndian.AppendUint64(nil, n.inc)
	for turn := 0; ; turn++ {
		if leader := n.knownLeader(); leader != "" && leader != n.id && n.lead.Load() == nil {
			if _, _, err := n.askOnce(ctx, turn, kindGoodbye, inc, turn > 0); err == nil {
				return
			}
		}
		if !sleep(ctx, forwardPause) {
			return // writes wait a second for it, once
		}
	}
}

// leadGoodbye stops waiting for a member that stops.
func (l *leadership) leadGoodbye(from string, body []byte) ([]byte, uint64, error) {
	if len(body) != 8 {
		return nil, 0, errRequest
	}
	l.n.mu.Lock()
	l.lease.Goodbye(from, binary.BigEndian.Uint64(body))
	l.n.mu.Unlock()
	l.advance()
	return nil, 0, nil
}

// handOver gives the leadership to another member. It is the only place that does,
// because an interrupted transfer leaves Raft unable to lead
// (hashicorp/raft#696): this process leads no more.
func (n *Node) handOver(ctx context.Context) {
	l := n.lead.Load()
	if l == nil || len(*l.beaters.Load()) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := n.await(ctx, n.raft.LeadershipTransfer()); err != nil {
		n.log.Warn("handing the leadership over", "err", err)
	}
}

// stop ends everything that the node started.
func (n *Node) stop() error {
	n.work.Wait()
	shutdown := n.raft.Shutdown()
	errs := []error{n.hub.Close()} // Raft waits for its connections
	errs = append(errs, shutdown.Error())
	close(n.drained)
	n.drain.Wait()
	n.metrics.unregister()
	errs = append(errs, n.store.Close())
	if n.left.Load() {
		errs = append(errs, n.dir.erase())
	}
	errs = append(errs, n.lock.Release())
	return errors.Join(errs...)
}

// abandon undoes an Open that failed.
func (n *Node) abandon() {
	n.cancel()
	if n.hub != nil {
		_ = n.hub.Close()
	}
	close(n.drained)
	n.drain.Wait()
	if n.metrics != nil {
		n.metrics.unregister()
	}
	if n.store != nil {
		_ = n.store.Close()
	}
	_ = n.lock.Release()
}

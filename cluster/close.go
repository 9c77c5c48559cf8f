package cluster

import (
	"context"
	"errors"
	"fmt"
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

// handOver gives the leadership to another member. It is the only place that does,
// because an interrupted transfer leaves Raft unable to lead
// (hashicorp/raft#696): this process leads no more.
func (n *Node) handOver(ctx context.Context) {
	l := n.lead.Load()
	if l == nil || len(l.kicks) == 0 {
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
	errs = append(errs, n.store.Close(), n.lock.Release())
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

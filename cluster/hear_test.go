package cluster_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/kms"
)

// A haltedClock is the machine's, whose boot time stands still while it is halted
// and does not catch up later.
type haltedClock struct {
	mu   sync.Mutex
	halt time.Duration // guarded by mu; where it stands; 0: it runs
	lost time.Duration // guarded by mu
}

func (c *haltedClock) Wall() time.Time { return time.Now() }

func (c *haltedClock) Boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.halt != 0 {
		return c.halt
	}
	return cluster.SystemBoot() - c.lost
}

func (c *haltedClock) stop() {
	now := c.Boot()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halt = now
}

func (c *haltedClock) goOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost, c.halt = cluster.SystemBoot()-c.halt, 0
}

// A heldBeats keeps Beats from being answered while it is closed.
type heldBeats struct {
	closed atomic.Bool
	came   atomic.Int64 // while it was closed
}

func (h *heldBeats) handle(ctx context.Context) {
	if !h.closed.Load() {
		return
	}
	h.came.Add(1)
	<-ctx.Done() // the leader gives the Beat up and sends another one
}

// A leader that has just been elected knows nothing about the others. Asked to
// remove one or to leave, it must hear them before it says that the rest could
// decide nothing.
func TestNewLeaderHearsItsMembersBeforeItRefuses(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(ctx context.Context, lead *cluster.Node, other string) error{
		"a removal": func(ctx context.Context, lead *cluster.Node, other string) error {
			return lead.RemovePeer(ctx, other, false)
		},
		"its leaving": func(ctx context.Context, lead *cluster.Node, _ string) error { return lead.Leave(ctx, false) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var held heldBeats
			var clocks [3]haltedClock
			c := newCluster(t, 3, func(i int, cfg *cluster.Config) {
				quick(i, cfg)
				cfg.SetBeat(held.handle)
				cfg.Clock = &clocks[i]
			})
			c.ready()
			old := c.leader()
			next, third := (old+1)%3, c.founded.NodeIDs[(old+2)%3]
			n := c.nodes[next]
			held.closed.Store(true)
			for i := range clocks {
				clocks[i].stop() // the time in which the others may answer does not pass
			}
			until(t, "the next leader", func() bool {
				if n.Status().Leads {
					return true
				}
				id := c.founded.NodeIDs[next]
				for _, m := range c.nodes {
					if m != n && m.Raft().State() == raft.Leader {
						_ = m.Raft().LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(id)).Error()
					}
				}
				return false
			})

			done := make(chan error, 1)
			go func() {
				for {
					err := act(t.Context(), n, third)
					var known *kms.Error
					// Once time passes again, a busy machine may need more of it to answer.
					late := errors.As(err, &known) && known.Code == kms.CodeQuorum && !held.closed.Load()
					if !retryable(err) && !late {
						done <- err
						return
					}
				}
			}()
			// By the time that two more rounds of Beats were given up, it would have
			// refused.
			asked := held.came.Load()
			until(t, "more Beats", func() bool { return held.came.Load() >= asked+4 })
			select {
			case err := <-done:
				t.Fatalf("decided before the others were heard: %v", err)
			default:
			}
			held.closed.Store(false)
			until(t, "the members' answers", func() bool {
				heard := 0
				for _, n := range c.nodes {
					for _, m := range n.Status().Members { // of the leader alone
						if m.Any {
							heard++
						}
					}
				}
				return heard == 2
			})
			for i := range clocks {
				clocks[i].goOn()
			}
			if err := <-done; err != nil {
				t.Errorf("with all members alive: %v", err)
			}
		})
	}
}

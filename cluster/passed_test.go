package cluster_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster"
)

const year = 365 * 24 * time.Hour

// passed waits for what has passed by the leader's knowledge.
func (c *testCluster) passed() time.Time {
	c.t.Helper()
	var out time.Time
	until(c.t, "the leader knows the members' clocks", func() bool {
		t, ok := c.nodes[c.leader()].Passed()
		out = t
		return ok
	})
	return out
}

// wantNow checks that a time is not past and not long ago, on a machine however slow.
func wantNow(t *testing.T, got time.Time) {
	t.Helper()
	if behind := time.Since(got); behind < 0 || behind > patience {
		t.Errorf("passed: %v, which is %v ago", got, behind)
	}
}

func TestOneClockBringsNoTimeForward(t *testing.T) {
	t.Parallel()
	var clocks [3]steppedClock
	c := newCluster(t, 3, all(calm, func(i int, cfg *cluster.Config) { cfg.Clock = &clocks[i] }))
	c.ready()
	wantNow(t, c.passed())
	f := c.followers()
	for _, i := range f {
		if got, ok := c.nodes[i].Passed(); ok {
			t.Errorf("the follower %d says that %v has passed", i, got)
		}
	}
	clocks[f[0]].ahead.Store(int64(year))
	until(t, "the wrong clock is known", func() bool { return c.nodes[f[0]].Ready() != nil })
	for range 100 {
		wantNow(t, c.passed())
	}
	clocks[f[0]].ahead.Store(-int64(year))
	until(t, "the wrong clock is known", func() bool { return c.nodes[f[0]].Status().ClockAhead < -year/2 })
	for range 100 {
		wantNow(t, c.passed())
	}
	clocks[f[0]].ahead.Store(0)
	c.ready()

	// With one member gone the other two must both be past.
	lead := c.leader()
	f = c.followers()
	c.stop(f[0])
	clocks[f[1]].ahead.Store(int64(year))
	if c.leader() == lead {
		wantNow(t, c.passed())
	}
}

// A leader whose clock is a year ahead says nothing until another node leads, which
// then says what is right.
func TestLeaderWithAWrongClockKnowsNothing(t *testing.T) {
	t.Parallel()
	var clocks [3]steppedClock
	c := newCluster(t, 3, func(i int, cfg *cluster.Config) { cfg.Clock = &clocks[i] })
	c.ready()
	lead := c.leader()
	var early atomic.Int64
	watching := make(chan struct{})
	done := make(chan struct{})
	end := sync.OnceFunc(func() {
		close(watching)
		<-done
	})
	t.Cleanup(end)
	go func() {
		defer close(done)
		for {
			for _, n := range c.nodes {
				if got, ok := n.Passed(); ok && time.Until(got) > 0 {
					early.Add(1)
				}
			}
			select {
			case <-watching:
				return
			default:
			}
		}
	}()
	clocks[lead].ahead.Store(int64(year))
	until(t, "the clock is known to be wrong", func() bool { return c.nodes[lead].Status().ClockAhead > year/2 })
	if got, ok := c.nodes[lead].Passed(); ok {
		t.Errorf("a leader with a wrong clock says that %v has passed", got)
	}
	until(t, "another node leads", func() bool {
		for i, n := range c.nodes {
			if i != lead && n.Status().Leads {
				return true
			}
		}
		return false
	})
	wantNow(t, c.passed())
	end()
	if n := early.Load(); n > 0 {
		t.Errorf("a time that is not past was said to be %d times", n)
	}
}

// A runningClock is a machine's that has run for longer than it seems.
type runningClock struct{ longer atomic.Int64 }

func (c *runningClock) Boot() time.Duration {
	return cluster.SystemBoot() + time.Duration(c.longer.Load())
}
func (c *runningClock) Wall() time.Time { return time.Now() }

func TestSingleNodeWaitsForItsClock(t *testing.T) {
	t.Parallel()
	var clock runningClock
	clock.longer.Store(int64(year)) // the machine's uptime is not the node's
	c := newCluster(t, 1, func(_ int, cfg *cluster.Config) { cfg.Clock = &clock })
	c.ready()
	if got, ok := c.nodes[0].Passed(); ok {
		t.Errorf("a node that has just started says that %v has passed", got)
	}
	clock.longer.Add(int64(10 * time.Minute))
	wantNow(t, c.passed())
	c.stop(0)
	c.start(0)
	c.ready()
	if got, ok := c.nodes[0].Passed(); ok {
		t.Errorf("a node that has started again says that %v has passed", got)
	}
}

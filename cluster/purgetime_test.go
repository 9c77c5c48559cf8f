package cluster_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/fsm"
)

// TestOneRewritingAnHour: erasures are gathered, and the hours of members do not
// begin together.
func TestOneRewritingAnHour(t *testing.T) {
	t.Parallel()
	var clock steppedClock
	clock.ahead.Store(int64(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + 30*time.Minute))))
	var rewritten atomic.Int64
	c := newCluster(t, 1, func(_ int, cfg *cluster.Config) {
		cfg.Clock = &clock
		cfg.SetPurge(time.Millisecond, 0)
		cfg.SetPurgeStep(func(step string) error {
			if step == "rewritten" {
				rewritten.Add(1)
			}
			return nil
		})
	})
	c.ready()
	n := c.nodes[0]
	var index uint64
	for range 3 {
		index = c.resetRoot()
		until(t, "the erasure is seen", func() bool { s := n.Status().Stain; return s != nil && s.Index == index })
	}
	clock.ahead.Add(int64(20 * time.Minute)) // ten to the full hour
	index = c.resetRoot()
	until(t, "the erasure is seen", func() bool { s := n.Status().Stain; return s != nil && s.Index == index })
	if got := rewritten.Load(); got != 0 {
		t.Errorf("%d rewritings before the hour was over", got)
	}
	clock.ahead.Add(int64(20 * time.Minute))
	c.awaitCleared(0, index)
	c.stop(0)
	c.start(0) // remembers
	c.ready()
	index = c.resetRoot()
	until(t, "the erasure is seen", func() bool { s := c.nodes[0].Status().Stain; return s != nil && s.Index == index })
	if got := rewritten.Load(); got != 1 {
		t.Errorf("%d rewritings, want one", got)
	}
	c.stop(0)
	clock.ahead.Add(int64(time.Hour))
	c.start(0) // an erasure of the hour before is due at once
	c.awaitCleared(0, index)
	if got := rewritten.Load(); got != 2 {
		t.Errorf("%d rewritings, want two", got)
	}
}

// TestJoinedNodeClearsItsDisk: what was destroyed before it joined can have come to
// its disk with the log. It counts the time from when it has seen so.
func TestJoinedNodeClearsItsDisk(t *testing.T) {
	t.Parallel()
	var clock steppedClock
	clock.ahead.Store(int64(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + 5*time.Minute))))
	c := newCluster(t, 1, func(i int, cfg *cluster.Config) {
		quick(i, cfg)
		cfg.Clock = &clock
		cfg.SetPurge(5*time.Millisecond, 0)
	})
	c.ready()
	d := c.doom()
	index := c.destroy(d)
	joining := clock.Wall().Truncate(time.Millisecond)
	cfg := c.joinConfig(c.token(func(j *fsm.JoinToken) {
		j.Created, j.Expires = joining.UnixMilli(), joining.Add(time.Hour).UnixMilli()
	}), 0)
	if err := cluster.JoinCluster(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	second := c.adopt(cfg)
	c.ready()
	n := c.nodes[second]
	until(t, "the node knows that its disk is not clear", func() bool { return n.Status().Stain != nil })
	if since := n.Status().Stain.Since; since.Before(joining) {
		t.Errorf("a disk that is new is stained since %v, want %v or later", since, joining)
	}
	if !d.inLog(t, c.dirs[second]) {
		t.Error("the log of the new node never held the secret: this test shows nothing")
	}
	clock.ahead.Add(int64(time.Hour))
	for i := range c.nodes {
		c.awaitCleared(i, index)
		c.wantGone(i, d)
	}
}

func TestHoursOfMembersAreSpread(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.ready()
	start := time.Date(2031, 5, 6, 7, 0, 0, 0, time.UTC)
	var begins []int
	for _, n := range c.nodes {
		for minute := 1; minute <= 60; minute++ {
			now := start.Add(time.Duration(minute) * time.Minute)
			if n.PurgeHour(now) != n.PurgeHour(now.Add(-time.Minute)) {
				begins = append(begins, minute)
			}
		}
	}
	slices.Sort(begins)
	if !slices.Equal(begins, []int{20, 40, 60}) {
		t.Errorf("the hours of three members begin at the minutes %v", begins)
	}
}

// TestMemoryForgetsWhatWasDestroyed: every node says whose secrets are gone when it
// applies the command; that some are, when it loads a snapshot; and once more when
// its disk is clear, for what a request may have put into a cache meanwhile.
func TestMemoryForgetsWhatWasDestroyed(t *testing.T) {
	t.Parallel()
	var clock steppedClock
	clock.ahead.Store(int64(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + 5*time.Minute))))
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) {
		cfg.Clock = &clock
		cfg.SetPurge(5*time.Millisecond, 0)
		cfg.SetTune(func(r *raft.Config) { r.TrailingLogs = 1 })
	})
	var mu sync.Mutex
	told := map[string]int{}
	c.onErased(func(node int, ids []string) {
		mu.Lock()
		defer mu.Unlock()
		told[fmt.Sprint(node, ids)]++
	})
	count := func(node int, ids ...string) int {
		mu.Lock()
		defer mu.Unlock()
		return told[fmt.Sprint(node, ids)]
	}
	c.ready()
	d := c.doom()
	away := c.followers()[0]
	c.stop(away)
	c.destroy(d)
	index := c.resetRoot()
	for i, n := range c.nodes {
		if n == nil {
			continue
		}
		until(t, "the node is told", func() bool { return count(i, d.keyID) == 1 && count(i, "AKIAIOSFODNN7EXAMPLE") == 1 })
		if err := n.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.start(away)
	c.ready()
	if count(away) != 1 || count(away, d.keyID) != 0 {
		t.Errorf("the node that was away was told %v", told)
	}
	other := c.followers()[0]
	before := count(other)
	clock.ahead.Add(int64(time.Hour))
	c.awaitCleared(other, index)
	until(t, "everything is forgotten", func() bool { return count(other) == before+1 })
}

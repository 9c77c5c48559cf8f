package cluster_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/internal/testport"
	"github.com/kmsd/kmsd/kms"
)

// The node is alone, so that no election comes between.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	var percent atomic.Uint64
	percent.Store(50)
	c := newCluster(t, 1, func(_ int, cfg *cluster.Config) {
		cfg.SetDisk(func() (free, total uint64) { return percent.Load() * 1000, 100_000 })
	})
	c.ready()
	lead := c.leader()
	n := c.nodes[lead]
	set := func(p uint64) {
		percent.Store(p)
		n.MeasureDisk()
	}
	set(4)
	if n.Ready() == nil {
		t.Error("ready with 4 % of the disk free")
	}
	c.view(lead) // still serves
	c.forward(lead)
	set(1)
	before := n.Applied()
	if _, _, err := n.Propose(t.Context(), createKey(newKeyID())); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("Propose with 1 %% free: %v, want ErrUnavailable", err)
	}
	c.view(lead)
	if after := n.Applied(); after != before {
		t.Errorf("something was proposed: applied %d, then %d", before, after)
	}
	if s := n.Status(); s.DiskFree != 1000 || s.DiskTotal != 100_000 || s.NotReady == nil {
		t.Errorf("status %+v", s)
	}
	set(50)
	c.ready()
	c.forward(lead)
}

// A steppedClock is a machine's whose wall clock somebody sets.
type steppedClock struct{ ahead atomic.Int64 }

func (c *steppedClock) Boot() time.Duration { return cluster.SystemBoot() }
func (c *steppedClock) Wall() time.Time     { return time.Now().Add(time.Duration(c.ahead.Load())) }

func TestWrongWallClock(t *testing.T) {
	t.Parallel()
	var clocks [3]steppedClock
	c := newCluster(t, 3, func(i int, cfg *cluster.Config) { cfg.Clock = &clocks[i] })
	c.ready()
	_, others := c.split()
	f := others[0]
	clocks[f].ahead.Store(int64(-2 * time.Minute))
	until(t, "the follower is not ready", func() bool { return c.nodes[f].Ready() != nil })
	if _, err := c.nodes[f].View(t.Context()); err != nil && !errors.Is(err, kms.ErrUnavailable) {
		t.Error(err)
	}
	until(t, "the status says so", func() bool { return c.nodes[f].Status().ClockAhead < -time.Minute })
	clocks[f].ahead.Store(0)
	c.ready()

	lead := c.leader()
	clocks[lead].ahead.Store(int64(5 * time.Minute))
	until(t, "another node leads", func() bool {
		for i, n := range c.nodes {
			if i != lead && n.Status().Leads {
				return true
			}
		}
		return false
	})
	until(t, "the old leader is not ready", func() bool { return c.nodes[lead].Ready() != nil })
	id := c.forward(lead) // it still forwards
	clocks[lead].ahead.Store(0)
	c.ready()
	c.wantKeys([]string{id})
}

// The leader's clock jumps, and its certificate seems to be old: the new one is dated by
// the others' clocks, so that they take it.
func TestCertificateOfALeaderWithAWrongClock(t *testing.T) {
	t.Parallel()
	var clocks [3]steppedClock
	c := newCluster(t, 3, func(i int, cfg *cluster.Config) {
		cfg.Clock = &clocks[i]
		cfg.SetRenewEvery(10 * time.Millisecond)
	})
	c.ready()
	lead := c.leader()
	n := c.nodes[lead]
	before := n.Credentials().Identity().SPKI
	clocks[lead].ahead.Store(int64(year))
	until(t, "another node leads", func() bool { return c.leader() != lead })
	if n.Credentials().Identity().SPKI == before {
		t.Log("the node renewed no certificate while it led") // on a slow machine
	}
	if ahead := time.Until(n.Credentials().NotAfter()); ahead > trust.NodeLife {
		t.Errorf("the certificate is valid for another %v, want %v at most", ahead, trust.NodeLife)
	}
	clocks[lead].ahead.Store(0)
	c.ready()
	c.forward(lead)
	c.wantEqual()
}

// Two clocks accuse nobody.
func TestTwoClocksDiffer(t *testing.T) {
	t.Parallel()
	var clock steppedClock
	c := newCluster(t, 1, quick)
	c.ready()
	c.adapt = func(i int, cfg *cluster.Config) {
		quick(i, cfg)
		cfg.Clock = &clock
	}
	clock.ahead.Store(int64(10 * time.Minute))
	second := c.join(0)
	c.role(second, cluster.RoleNonvoter)
	c.ready()
	if got := c.nodes[second].Status().ClockAhead; got != 0 {
		t.Errorf("the clock is said to be ahead by %v", got)
	}
}

// A node that stops says so, and no write waits for it.
func TestStoppedNodeSaysGoodbye(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, all(calm, func(_ int, cfg *cluster.Config) { cfg.SetGoodbye(patience / 3) }))
	waited := func(of int) bool {
		for _, m := range c.nodes[c.leader()].Status().Members {
			if m.ID == c.founded.NodeIDs[of] {
				return m.Waited
			}
		}
		return false // the leader that was found does not lead any more
	}
	// On a machine so busy that an election crosses the hand-over nobody hears it, and one
	// write waits.
	saysGoodbye := func(who func() int) {
		t.Helper()
		until(t, "a node says goodbye in time", func() bool {
			c.ready()
			i := who()
			until(t, "writes wait for a member", func() bool { return waited(i) || i == c.leader() })
			c.stop(i)
			heard := !waited(i)
			c.forward(c.leader())
			c.start(i)
			return heard
		})
		c.ready()
		c.wantEqual()
	}
	saysGoodbye(func() int { return 1 })
	saysGoodbye(c.leader) // to the one that it hands over to
}

// Nodes find each other by what the state says, and a node that comes back at
// another address makes itself known.
func TestChangedAddress(t *testing.T) {
	t.Parallel()
	var addrs [3]string
	for i := range addrs {
		addrs[i] = testport.Addr(t)
	}
	c := newCluster(t, 3, func(i int, cfg *cluster.Config) {
		cfg.Resolve, cfg.ListenAddr, cfg.Advertise, cfg.Gossip = nil, addrs[i], addrs[i], true
		cfg.APIAddress = fmt.Sprintf("node%d.example:8443", i)
	})
	c.ready()
	_, others := c.split()
	moved := others[0]
	c.stop(moved)
	addrs[moved] = testport.Addr(t)
	c.start(moved)
	c.ready()
	id := c.founded.NodeIDs[moved]
	for i, n := range c.nodes {
		until(t, "the new address is known", func() bool { return slices.Equal(n.Resolved(id), []string{addrs[moved]}) })
		if r, _ := n.Machine().View().Node(id); r.APIAddress != fmt.Sprintf("node%d.example:8443", moved) {
			t.Errorf("node %d knows the API address %q", i, r.APIAddress)
		}
	}
	for i, n := range c.nodes {
		for j, other := range c.founded.NodeIDs {
			if i != j {
				until(t, "gossip knows the members", func() bool { return n.Hint(other) == addrs[j] })
			}
		}
	}
	c.forward(moved)
	c.stopAll() // all of them find each other again by what they wrote down
	for i := range c.dirs {
		c.start(i)
	}
	c.ready()
	c.wantEqual()
}

// The certificates of a whole cluster are renewed while it runs. It was off for
// longer than they lasted: the members come back all the same.
func TestCertificatesOfACluster(t *testing.T) {
	t.Parallel()
	var clock steppedClock
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) {
		cfg.Clock = &clock
		cfg.SetRenewEvery(20 * time.Millisecond)
	})
	c.ready()
	ids := func() (out [3][32]byte) {
		for i, n := range c.nodes {
			out[i] = n.Credentials().Identity().SPKI
		}
		return out
	}
	renewed := func(old [3][32]byte) {
		t.Helper()
		until(t, "all certificates are renewed", func() bool {
			for i, spki := range ids() {
				r, _ := c.nodes[0].Machine().View().Node(c.founded.NodeIDs[i])
				if spki == old[i] || r.SPKI != spki || r.NextSPKI != [32]byte{} {
					return false
				}
			}
			return true
		})
	}
	first := ids()
	stolen := c.nodes[0].Credentials()
	clock.ahead.Store(int64(trust.NodeLife * 85 / 100))
	renewed(first)
	c.forward(1)
	if c.nodes[1].Accept(c.founded.NodeIDs[0], stolen.Identity().SPKI) {
		t.Error("a key that was replaced is still accepted")
	}
	second := ids()
	c.stopAll()
	clock.ahead.Store(int64(3 * trust.NodeLife))
	for i := range c.dirs {
		c.start(i)
	}
	c.ready()
	renewed(second)
	c.forward(2)
	c.wantEqual()
}

// A member is away while all others renew their keys, so that it recognises none of
// them when it comes back.
func TestMemberReturnsToRenewedKeys(t *testing.T) {
	t.Parallel()
	var clock steppedClock
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) {
		cfg.Clock = &clock
		cfg.SetRenewEvery(20 * time.Millisecond)
		cfg.SetLonely(100 * time.Millisecond)
	})
	c.ready()
	lead := c.leader()
	away := (lead + 1) % 3
	old := map[string][32]byte{}
	for _, r := range c.nodes[lead].Machine().View().Nodes() {
		old[r.ID] = r.SPKI
	}
	c.stop(away)
	id := c.forward(lead)
	clock.ahead.Store(int64(trust.NodeLife * 85 / 100))
	until(t, "the others have renewed their keys", func() bool {
		for _, r := range c.nodes[lead].Machine().View().Nodes() {
			if r.ID != c.founded.NodeIDs[away] && (r.SPKI == old[r.ID] || r.NextSPKI != [32]byte{}) {
				return false
			}
		}
		return true
	})
	c.stopAll()
	for i := range c.dirs {
		if i != away {
			c.start(i)
		}
	}
	c.ready()
	c.start(away)
	c.ready()
	c.wantKeys([]string{id})
	c.wantEqual()
}

// While a voter is away nobody renews a key that has time: the voter would not recognise
// it when it comes back, and if the two of them had to decide alone, nobody could tell it.
func TestRenewalWaitsForVotersThatAreAway(t *testing.T) {
	t.Parallel()
	var clock steppedClock
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) {
		cfg.Clock = &clock
		cfg.SetRenewEvery(20 * time.Millisecond)
		cfg.SetLonely(100 * time.Millisecond)
	})
	c.ready()
	lead, others := c.split()
	away := others[0]
	key := func(i int) [32]byte { return c.nodes[i].Credentials().Identity().SPKI }
	first := [3][32]byte{key(0), key(1), key(2)}
	c.stop(away)
	clock.ahead.Store(int64(trust.NodeLife * 795 / 1000)) // due, but for one of a hundred
	until(t, "a renewal to be refused", func() bool { return c.refusedRenewals.Load() > 0 })
	for _, i := range []int{lead, others[1]} {
		if key(i) != first[i] {
			t.Errorf("node %d renewed its key while another was away", i)
		}
	}
	c.start(away)
	c.ready()
	clock.ahead.Store(int64(trust.NodeLife * 81 / 100))
	until(t, "all renew their keys", func() bool { return key(0) != first[0] && key(1) != first[1] && key(2) != first[2] })
	c.forward(away)
	c.wantEqual()
}

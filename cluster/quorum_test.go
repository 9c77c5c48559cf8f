package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/kms"
)

func TestQuorumOf(t *testing.T) {
	t.Parallel()
	voter := func(healthy bool) cluster.MemberStatus {
		return cluster.MemberStatus{Role: cluster.RoleVoter, Healthy: healthy}
	}
	leader := cluster.MemberStatus{Role: cluster.RoleLeader, Healthy: true}
	other := cluster.MemberStatus{Role: cluster.RoleNonvoter, Healthy: true}
	admitted := cluster.MemberStatus{Role: cluster.RoleAdmitted, Healthy: true}
	for name, tt := range map[string]struct {
		members []cluster.MemberStatus
		want    cluster.Quorum
	}{
		"one":                        {[]cluster.MemberStatus{leader}, cluster.Quorum{Voters: 1, Healthy: 1, Needed: 1}},
		"one and two without a vote": {[]cluster.MemberStatus{other, leader, admitted}, cluster.Quorum{Voters: 1, Healthy: 1, Needed: 1}},
		"two":                        {[]cluster.MemberStatus{leader, voter(true)}, cluster.Quorum{Voters: 2, Healthy: 2, Needed: 2}},
		"three":                      {[]cluster.MemberStatus{voter(true), leader, voter(true)}, cluster.Quorum{Voters: 3, Healthy: 3, Needed: 2, FailureTolerance: 1}},
		"three, one is away":         {[]cluster.MemberStatus{voter(false), leader, voter(true)}, cluster.Quorum{Voters: 3, Healthy: 2, Needed: 2}},
		"three, two are away":        {[]cluster.MemberStatus{voter(false), leader, voter(false)}, cluster.Quorum{Voters: 3, Healthy: 1, Needed: 2}},
		"four":                       {[]cluster.MemberStatus{voter(true), leader, voter(true), voter(true)}, cluster.Quorum{Voters: 4, Healthy: 4, Needed: 3, FailureTolerance: 1}},
		"four, one is away":          {[]cluster.MemberStatus{voter(true), leader, voter(true), voter(false), other}, cluster.Quorum{Voters: 4, Healthy: 3, Needed: 3}},
		"five":                       {[]cluster.MemberStatus{voter(true), leader, voter(true), voter(true), voter(true)}, cluster.Quorum{Voters: 5, Healthy: 5, Needed: 3, FailureTolerance: 2}},
	} {
		if got := cluster.QuorumOf(tt.members); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// quorum waits until the leader sees what is wanted.
func (c *testCluster) quorum(want cluster.Quorum) {
	c.t.Helper()
	var got cluster.Quorum
	for end := time.Now().Add(patience); got != want; {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		members, err := c.nodes[c.leader()].Members(ctx)
		cancel()
		if err == nil {
			got = cluster.QuorumOf(members)
		}
		if time.Now().After(end) {
			c.t.Fatalf("the leader sees %+v, want %+v", got, want)
		}
	}
}

// From three voters to one and back to three. Two voters stay two: what is
// acknowledged stands on both disks, and one of them alone decides nothing.
func TestTwoVoters(t *testing.T) {
	t.Parallel()
	registries := map[int]*prometheus.Registry{}
	c := newCluster(t, 3, func(i int, cfg *cluster.Config) {
		quick(i, cfg)
		registries[i] = prometheus.NewRegistry() // a node that starts again is another one
		cfg.Registerer = registries[i]
	})
	c.ready()
	c.quorum(cluster.Quorum{Voters: 3, Healthy: 3, Needed: 2, FailureTolerance: 1})
	c.wantGauge(registries, 1)
	c.leave(2)
	c.wantEnded(2, cluster.ErrLeft, true)
	c.ready()
	c.quorum(cluster.Quorum{Voters: 2, Healthy: 2, Needed: 2})
	c.wantGauge(registries, 0)
	c.manage() // nothing is to be changed
	c.quorum(cluster.Quorum{Voters: 2, Healthy: 2, Needed: 2})

	both := c.forward(0)
	for i := range 2 {
		other := 1 - i
		c.ready()
		c.stop(i)
		n := c.nodes[other]
		until(t, "the other node knows that it is alone", func() bool { return n.Ready() != nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := n.Forward(ctx, []byte(newKeyID()))
		cancel()
		if !errors.Is(err, kms.ErrUnavailable) && !errors.Is(err, kms.ErrOutcomeUnknown) {
			t.Errorf("a write through one of two voters: %v", err)
		}
		if _, ok := n.Machine().View().Key(region, both); !ok {
			t.Errorf("node %d alone lacks what was acknowledged", other)
		}
		c.start(i)
		c.ready()
		c.forward(i)
	}

	// A third one votes again; without it the second may leave, too.
	third := c.join(0)
	c.role(third, cluster.RoleVoter)
	c.quorum(cluster.Quorum{Voters: 3, Healthy: 3, Needed: 2, FailureTolerance: 1})
	c.stop(third)
	c.quorum(cluster.Quorum{Voters: 3, Healthy: 2, Needed: 2})
	c.start(third)
	c.ready()
	c.leave(third)
	c.wantEnded(third, cluster.ErrLeft, true)
	c.leave(1)
	c.wantEnded(1, cluster.ErrLeft, true)
	c.ready()
	c.quorum(cluster.Quorum{Voters: 1, Healthy: 1, Needed: 1})
	c.forward(0)
	if !c.has(0, both) {
		t.Error("the last node lacks a key")
	}
}

// wantGauge waits until the leader's metric has a value and the others' have none.
func (c *testCluster) wantGauge(registries map[int]*prometheus.Registry, want float64) {
	c.t.Helper()
	until(c.t, "the metric of the failure tolerance", func() bool {
		for i, n := range c.nodes {
			if n == nil {
				continue
			}
			value := -1.0
			if n.Status().Leads {
				value = want
			}
			if gaugeOf(c.t, registries[i], "kmsd_cluster_failure_tolerance") != value {
				return false
			}
		}
		return true
	})
}

func gaugeOf(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// Five become four, which tolerate one failure as three do, and five again.
func TestFourVoters(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 5, quick)
	c.ready()
	c.quorum(cluster.Quorum{Voters: 5, Healthy: 5, Needed: 3, FailureTolerance: 2})
	c.leave(4)
	c.wantEnded(4, cluster.ErrLeft, true)
	c.ready()
	c.quorum(cluster.Quorum{Voters: 4, Healthy: 4, Needed: 3, FailureTolerance: 1})
	c.stop(3)
	c.quorum(cluster.Quorum{Voters: 4, Healthy: 3, Needed: 3})
	c.forward(0)
	c.start(3)
	fifth := c.join(0)
	c.role(fifth, cluster.RoleVoter)
	c.quorum(cluster.Quorum{Voters: 5, Healthy: 5, Needed: 3, FailureTolerance: 2})
	c.wantEqual()
}

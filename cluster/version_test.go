package cluster_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// manage has the leader make all changes that are due, and returns the cluster
// version then.
func (c *testCluster) manage() uint32 {
	c.t.Helper()
	var version uint32
	until(c.t, "nothing is left to change", func() bool {
		lead := c.nodes[c.leader()]
		more, err := lead.Manage(c.t.Context())
		version = lead.Status().ClusterVersion
		return !more && err == nil
	})
	return version
}

// decide has whoever leads propose a command, again while nobody does.
func (c *testCluster) decide(args fsm.Args) (uint64, error) {
	c.t.Helper()
	for {
		index, err := c.nodes[c.leader()].Decide(c.t.Context(), args)
		if !errors.Is(err, kms.ErrNotLeader) && !errors.Is(err, kms.ErrUnavailable) {
			return index, err
		}
	}
}

// An aliasStore counts the commands in the log that make aliases.
type aliasStore struct {
	raft.LogStore
	seen *atomic.Int64
}

func (s *aliasStore) StoreLogs(logs []*raft.Log) error {
	for _, l := range logs {
		if l.Type == raft.LogCommand && kindOf(l) == fsm.TypeCreateAlias {
			s.seen.Add(1)
		}
	}
	return s.LogStore.StoreLogs(logs)
}

// supports waits until every member has told the leader what it supports.
func (c *testCluster) supports(want ...uint32) {
	c.t.Helper()
	until(c.t, "the members' versions", func() bool {
		members, err := c.nodes[c.leader()].Members(c.t.Context())
		if err != nil || len(members) != len(want) {
			return false
		}
		for _, m := range members {
			for i, id := range c.founded.NodeIDs {
				if m.ID == id && (!m.Healthy || m.Version != want[i]) {
					return false
				}
			}
		}
		return true
	})
}

// silent tells whether the leader has not heard node i for two seconds.
func (c *testCluster) silent(i int) bool {
	members, err := c.nodes[c.leader()].Members(c.t.Context())
	for _, m := range members {
		if m.ID == c.founded.NodeIDs[i] {
			return err == nil && m.Role == cluster.RoleVoter && m.SilentFor > 2*time.Second
		}
	}
	return false
}

// alias names a key by a command that comes with cluster version 2 in these tests.
func alias(name, key string) *fsm.CreateAlias {
	return &fsm.CreateAlias{Account: account, Region: region, Name: "alias/" + name, KeyID: key}
}

// wantGated checks that the leader refuses a command of version 2.
func (c *testCluster) wantGated(key string) {
	c.t.Helper()
	_, err := c.decide(alias("gated", key))
	var refusal *kms.Error
	if !errors.As(err, &refusal) || refusal.Code != "ServiceUnavailableException" || !strings.Contains(refusal.Message, "Nothing was done.") {
		c.t.Errorf("a command of a later version: %v, want ServiceUnavailableException", err)
	}
}

// A rolling upgrade: the cluster's version follows when the last member supports the
// next one, and the new commands only then.
func TestClusterVersionFollowsTheMembers(t *testing.T) {
	t.Parallel()
	var newest [3]atomic.Uint32
	for i, version := range []uint32{2, 2, 1} {
		newest[i].Store(version)
	}
	var logged atomic.Int64
	c := newCluster(t, 3, all(quick, calm, func(i int, cfg *cluster.Config) {
		cfg.SetVersions(1, newest[i].Load())
		cfg.SetStore(func(l raft.LogStore) raft.LogStore { return &aliasStore{l, &logged} })
	}))
	c.ready()
	c.supports(2, 2, 1)
	if got := c.manage(); got != 1 {
		t.Fatalf("cluster version %d while a member supports only 1", got)
	}
	id := c.forward(0)
	c.wantGated(id)

	// The old one is away: nobody knows which release it comes back with.
	c.stop(2)
	until(t, "the member is missed", func() bool { return c.silent(2) })
	if got := c.manage(); got != 1 {
		t.Fatalf("cluster version %d while a member is away", got)
	}
	c.wantGated(id)
	if n := logged.Load(); n != 0 {
		t.Errorf("%d refused commands stand in the log", n)
	}

	newest[2].Store(2)
	c.start(2)
	for i, n := range c.nodes {
		until(t, "the new version", func() bool { return n.Status().ClusterVersion == 2 })
		if got := n.Status().Supports; got != 2 {
			t.Errorf("node %d supports %d, want 2", i, got)
		}
	}
	c.ready()
	index, err := c.decide(alias("gated", id))
	if err != nil {
		t.Fatalf("the command after the upgrade: %v", err)
	}
	for i, n := range c.nodes {
		if err := n.WaitApplied(t.Context(), index); err != nil {
			t.Fatal(err)
		}
		if a, ok := n.Machine().View().Alias(account, region, "alias/gated"); !ok || a.KeyID != id {
			t.Errorf("node %d lacks the alias", i)
		}
	}
	c.wantEqual()
	if got := c.manage(); got != 2 {
		t.Errorf("cluster version %d, want 2 still", got)
	}

	// Nobody goes back: the old release stops when it meets what it does not know.
	c.stop(2)
	newest[2].Store(1)
	err = wantFatal(t, c.start(2), cluster.ExitUndecodable)
	if want := "the cluster has version 2, this build supports up to 1: install a newer release"; !strings.Contains(err.Error(), want) {
		t.Errorf("the old release stops with %q, want %q", err, want)
	}
	c.forward(c.leader())
}

// A member that supported the next version when it was heard last does not count
// while it is away: it may come back with another release.
func TestMemberThatIsAwayHoldsTheVersionUp(t *testing.T) {
	t.Parallel()
	var last atomic.Uint32
	last.Store(1)
	c := newCluster(t, 5, all(quick, calm, func(i int, cfg *cluster.Config) {
		if i == 4 {
			cfg.SetVersions(1, last.Load())
		} else {
			cfg.SetVersions(1, 2)
		}
	}))
	c.ready()
	c.supports(2, 2, 2, 2, 1)
	away := (c.leader() + 1) % 4 // the leader keeps a majority below, and with it what it heard
	c.stop(away)
	until(t, "the member is missed", func() bool { return c.silent(away) })
	last.Store(2)
	c.stop(4)
	c.start(4)
	until(t, "the last member runs the new release", func() bool {
		members, err := c.nodes[c.leader()].Members(t.Context())
		for _, m := range members {
			if m.ID == c.founded.NodeIDs[4] {
				return err == nil && m.Healthy && m.Version == 2
			}
		}
		return false
	})
	if got := c.manage(); got != 1 {
		t.Errorf("cluster version %d while a member is away", got)
	}
	c.start(away)
	for _, n := range c.nodes {
		until(t, "the new version", func() bool { return n.Status().ClusterVersion == 2 })
	}
	c.wantEqual()
}

// The old release also stops at a snapshot of the new one, and before that says with
// which exit code the process should end.
func TestSnapshotOfALaterVersion(t *testing.T) {
	t.Parallel()
	newest := atomic.Uint32{}
	newest.Store(2)
	c := newCluster(t, 1, func(i int, cfg *cluster.Config) { cfg.SetVersions(1, newest.Load()) })
	until(t, "the new version", func() bool { return c.nodes[0].Status().ClusterVersion == 2 })
	if err := c.nodes[0].Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	c.stop(0)
	newest.Store(1)
	_, err := cluster.Open(t.Context(), c.config(0))
	var exit *cluster.ExitError
	if !errors.As(err, &exit) || exit.Code != 70 || !strings.Contains(err.Error(), "the cluster has version 2") {
		t.Fatalf("opening a snapshot of version 2: %v; want exit code 70", err)
	}
	newest.Store(2)
	c.start(0)
	c.ready()
}

// A release that has given up the cluster's version stops once it knows it, however
// old the entries are that it reads before.
func TestReleaseThatIsTooNewStops(t *testing.T) {
	t.Parallel()
	var oldest atomic.Uint32
	oldest.Store(1)
	c := newCluster(t, 3, func(i int, cfg *cluster.Config) {
		quick(i, cfg)
		if i == 2 && oldest.Load() > 1 {
			cfg.SetVersions(oldest.Load(), 3)
		} else {
			cfg.SetVersions(1, 1)
		}
	})
	c.ready()
	c.stop(2)
	c.forward(0)
	oldest.Store(2)
	err := wantFatal(t, c.start(2), cluster.ExitUndecodable)
	if want := "the cluster has version 1, this build supports no version before 2: install an older release"; !strings.Contains(err.Error(), want) {
		t.Errorf("the new release stops with %q, want %q", err, want)
	}
	c.stop(2)
	oldest.Store(1)
	c.start(2)
	c.ready()
	c.forward(2)
}

// A cluster with a past: the log begins with versions that the release has given up.
func TestOldEntriesAreNoPresentVersion(t *testing.T) {
	t.Parallel()
	var oldest atomic.Uint32
	oldest.Store(1)
	c := newCluster(t, 1, func(i int, cfg *cluster.Config) { cfg.SetVersions(oldest.Load(), 2) })
	until(t, "the new version", func() bool { return c.nodes[0].Status().ClusterVersion == 2 })
	id := c.forward(0)
	c.stop(0)
	oldest.Store(2)
	c.start(0)
	c.ready()
	if !c.has(0, id) {
		t.Error("the key is missing")
	}
}

func TestJoinersMustSupportTheVersion(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(i int, cfg *cluster.Config) {
		quick(i, cfg)
		cfg.SetVersions(1, 2)
	})
	until(t, "the new version", func() bool { return c.nodes[0].Status().ClusterVersion == 2 })
	c.ready()
	token := c.token(nil)
	for _, tt := range []struct {
		oldest, newest uint32
		want           string
	}{
		{1, 1, "The node supports cluster versions up to 1, the cluster has version 2. Install a newer release on the node."},
		{3, 4, "The node supports no cluster version before 3, the cluster has version 2. Install an older release on the node, or a newer one on every member."},
	} {
		cfg := c.joinConfig(token, 0)
		cfg.SetVersions(tt.oldest, tt.newest)
		err := cluster.JoinCluster(t.Context(), cfg)
		var refusal *kms.Error
		if !errors.As(err, &refusal) || refusal.Code != "ConflictException" || refusal.Message != tt.want {
			t.Errorf("a node that supports %d to %d: %v, want %q", tt.oldest, tt.newest, err, tt.want)
		}
	}
	if nodes := c.nodes[0].Machine().View().Nodes(); len(nodes) != 1 {
		t.Errorf("%d members, want 1", len(nodes))
	}
	cfg := c.joinConfig(token, 0) // for one use
	cfg.SetVersions(2, 3)
	if err := cluster.JoinCluster(t.Context(), cfg); err != nil {
		t.Fatalf("a node that supports the version: %v", err)
	}
	i := c.adopt(cfg)
	c.role(i, cluster.RoleNonvoter)
	c.wantEqual()
}

// A node that was admitted and has not started holds the version up: its record
// alone does not say what it will run.
func TestAdmittedNodeHoldsTheVersionUp(t *testing.T) {
	t.Parallel()
	var newest atomic.Uint32
	newest.Store(1)
	c := newCluster(t, 1, func(i int, cfg *cluster.Config) {
		quick(i, cfg)
		cfg.SetVersions(1, newest.Load())
	})
	c.ready()
	cfg := c.joinConfig(c.token(nil), 0)
	cfg.SetVersions(1, 1)
	if err := cluster.JoinCluster(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	c.stop(0)
	newest.Store(2)
	c.start(0)
	c.ready()
	if got := c.manage(); got != 1 {
		t.Errorf("cluster version %d before the admitted node was heard", got)
	}
	i := c.adopt(cfg)
	until(t, "the new version", func() bool { return c.nodes[0].Status().ClusterVersion == 2 })
	c.role(i, cluster.RoleNonvoter)
	c.wantEqual()
}

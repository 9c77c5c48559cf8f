package cluster_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/kms"
)

// wantEnded waits until a node has ended for a reason, stops it and checks what it
// left behind.
func (c *testCluster) wantEnded(i int, why error, erased bool) {
	c.t.Helper()
	n := c.nodes[i]
	select {
	case <-n.Fatal():
	case <-time.After(patience):
		c.t.Fatal("the node goes on")
	}
	if code, err := n.FatalError(); code != 0 || !errors.Is(err, why) {
		c.t.Errorf("FatalError: %d, %v; want 0, %v", code, err, why)
	}
	c.stop(i)
	for _, name := range []string{"seal", "tls", "raft"} {
		if _, err := os.Stat(filepath.Join(c.dirs[i], name)); erased != os.IsNotExist(err) {
			c.t.Errorf("%s: %v, want it erased: %v", name, err, erased)
		}
	}
	if _, err := os.Stat(filepath.Join(c.dirs[i], "REMOVED")); err != nil {
		c.t.Error(err)
	}
	if _, err := cluster.Open(c.t.Context(), c.config(i)); !errors.Is(err, cluster.ErrRemoved) {
		c.t.Errorf("Open: %v, want ErrRemoved", err)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var known *kms.Error
	if !errors.As(err, &known) || known.Code != code {
		t.Errorf("%v, want %s", err, code)
	}
}

// leave makes node i leave. On a busy machine the others may seem dead for a moment.
func (c *testCluster) leave(i int) {
	c.t.Helper()
	until(c.t, "the node may leave", func() bool {
		err := c.nodes[i].Leave(c.t.Context(), false)
		if err != nil {
			c.t.Log(err)
		}
		return err == nil
	})
}

func TestFollowerAndLeaderLeaveUnderLoad(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, quick)
	c.ready()
	fourth := c.join(0)
	c.role(fourth, cluster.RoleNonvoter)
	l := c.startLoad(fourth)
	l.more(20)
	follower := c.followers()[0]
	if follower == fourth {
		follower = c.followers()[1]
	}
	c.leave(follower)
	if err := c.nodes[follower].Ready(); err == nil {
		t.Error("a node that has left is ready")
	}
	c.wantEnded(follower, cluster.ErrLeft, true)
	l.more(20)
	c.role(fourth, cluster.RoleVoter) // three again
	lead := c.leader()
	if lead == fourth {
		t.Log("the load runs on the node that leaves")
	}
	c.leave(lead)
	c.wantEnded(lead, cluster.ErrLeft, true)
	if lead != fourth {
		l.more(20)
	}
	acked := l.end()
	c.ready()
	c.wantKeys(acked)
	c.wantEqual()
	for i, n := range c.nodes {
		if n != nil && len(n.Machine().View().Nodes()) != 2 {
			t.Errorf("node %d knows %d members, want 2", i, len(n.Machine().View().Nodes()))
		}
	}
}

// The only voter leaves: the member without a vote is given one first.
func TestFounderLeavesTheSecondNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, quick)
	c.ready()
	second := c.join(0)
	c.role(second, cluster.RoleNonvoter)
	id := c.forward(0)
	c.leave(0)
	c.wantEnded(0, cluster.ErrLeft, true)
	c.ready()
	c.wantKeys([]string{id})
	c.forward(second)
	wantCode(t, c.nodes[second].Leave(t.Context(), false), kms.CodeQuorum)
	if err := c.nodes[second].Leave(t.Context(), true); err != nil {
		t.Errorf("forced to leave, the last node: %v", err)
	}
	c.wantEnded(second, cluster.ErrLeft, true)
}

func TestQuorumIsNotLost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, quick)
	c.ready()
	lead := c.leader()
	dead, alive := (lead+1)%3, (lead+2)%3
	c.stop(dead)
	until(t, "the leader misses the node", func() bool {
		members, err := c.nodes[alive].Members(t.Context())
		for _, m := range members {
			if m.ID == c.founded.NodeIDs[dead] {
				return !m.Healthy && m.SilentFor > 2*time.Second
			}
		}
		return err != nil && false
	})
	wantCode(t, c.nodes[lead].RemovePeer(t.Context(), c.founded.NodeIDs[alive], false), kms.CodeQuorum)
	wantCode(t, c.nodes[lead].Leave(t.Context(), false), kms.CodeQuorum)
	wantCode(t, c.nodes[alive].Leave(t.Context(), false), kms.CodeQuorum)
	wantCode(t, c.nodes[alive].RemovePeer(t.Context(), c.founded.NodeIDs[lead], false), kms.CodeConflict)
	wantCode(t, c.nodes[lead].RemovePeer(t.Context(), newKeyID(), false), kms.CodeNotFound)
	for _, i := range []int{lead, alive} {
		if err := c.nodes[i].Ready(); err != nil {
			t.Errorf("node %d: %v after a refusal", i, err)
		}
	}
	c.forward(alive)
	// The dead one can go.
	for range 2 { // again: nothing to do
		if err := c.nodes[alive].RemovePeer(t.Context(), c.founded.NodeIDs[dead], false); err != nil {
			t.Fatal(err)
		}
	}
	start := c.nodes[lead].Now()
	c.forward(alive)
	if took := c.nodes[lead].Now() - start; took > 900*time.Millisecond {
		t.Errorf("a write waited %v for a member that was removed", took)
	}
}

// A dead node is removed. Whoever has its directory and can open it completes no
// handshake; started again, the node learns of its removal by the signed statement.
func TestRemovedNodeComesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, quick)
	c.ready()
	lead := c.leader()
	dead := (lead + 1) % 3
	stolen := c.nodes[dead].Credentials()
	oldPin := c.nodes[lead].Credentials().Issuer()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	target := c.nodes[lead].Addr().String()
	if err := cluster.Handshake(ctx, target, stolen, c.founded.NodeIDs[lead]); err != nil {
		t.Fatalf("a member's handshake: %v", err)
	}
	c.stop(dead)
	if err := c.nodes[lead].RemovePeer(t.Context(), c.founded.NodeIDs[dead], false); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Handshake(ctx, target, stolen, c.founded.NodeIDs[lead]); err == nil {
		t.Error("the removed node's key is still accepted")
	}
	// Nor does a new certificate for another node by the authority that it knew.
	c.rotated(oldPin)
	c.start(dead)
	c.wantEnded(dead, cluster.ErrRemoved, false)
	c.forward(lead)
	// The place is free for another one.
	again := c.join(lead)
	c.role(again, cluster.RoleVoter)
	c.wantEqual()
}

// rotated waits until every running node trusts one authority only, another than
// the old one, and its certificate is of that.
func (c *testCluster) rotated(old [32]byte) {
	c.t.Helper()
	until(c.t, "the rotation", func() bool {
		for _, n := range c.nodes {
			if n == nil {
				continue
			}
			a := n.Machine().View().Authority()
			if a == nil || a.Next != nil || len(a.Trusted) != 1 {
				return false
			}
			current, err := trust.CertificateSPKI(a.Current.Cert)
			creds := n.Credentials()
			if err != nil || current == old || creds.Issuer() != current || creds.Trusts(old) {
				return false
			}
			if g := n.Machine().View().GossipKeys(); len(g.Keys) != 1 {
				return false
			}
		}
		return true
	})
}

// A node that runs is removed: its connections end everywhere, and it stops.
func TestRunningNodeIsRemoved(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, quick)
	c.ready()
	lead := c.leader()
	gone := (lead + 1) % 3
	l := c.startLoad(lead)
	l.more(10)
	if err := c.nodes[gone].RemovePeer(t.Context(), c.founded.NodeIDs[gone], false); err != nil && !errors.Is(err, kms.ErrOutcomeUnknown) && !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("removing itself as a peer: %v", err)
	}
	c.wantEnded(gone, cluster.ErrRemoved, false)
	l.more(10)
	acked := l.end()
	c.ready()
	c.wantKeys(acked)
	c.wantEqual()
}

// The leader dies in the middle of a rotation that a member holds up. The next one
// goes on with it.
func TestRotationSurvivesTheLeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 5, quick)
	c.ready()
	lead := c.leader()
	away, gone := (lead+1)%5, (lead+2)%5
	old := c.nodes[lead].Credentials().Issuer()
	c.stop(away)
	if err := c.nodes[lead].RemovePeer(t.Context(), c.founded.NodeIDs[gone], false); err != nil {
		t.Fatal(err)
	}
	c.wantEnded(gone, cluster.ErrRemoved, false)
	c.nodes[gone] = nil
	if a := c.nodes[lead].Machine().View().Authority(); a.Next == nil {
		t.Error("the rotation does not wait for the member that is away")
	}
	c.stop(lead)
	next := c.leader()
	if a := c.nodes[next].Machine().View().Authority(); a.Next == nil {
		t.Error("the rotation does not wait for the members that are away")
	}
	c.start(lead)
	c.start(away)
	c.ready()
	c.rotated(old)
	c.forward(away)
	c.wantEqual()
}

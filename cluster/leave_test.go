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

// retired has no clients to wait for.
func retired(context.Context) error { return nil }

// unasked is for what is refused, or has nobody to leave the clients to.
func unasked(t *testing.T) func(context.Context) error {
	return func(context.Context) error {
		t.Error("the node's clients were sent away")
		return nil
	}
}

// leave makes node i leave. On a busy machine the others may seem dead for a moment.
func (c *testCluster) leave(i int) {
	c.t.Helper()
	until(c.t, "the node may leave", func() bool {
		err := c.nodes[i].Leave(c.t.Context(), false, retired)
		if err != nil {
			c.t.Log(err)
		}
		return err == nil
	})
}

// remove removes member i through another one. What was said of leave holds here.
func (c *testCluster) remove(through, i int) {
	c.t.Helper()
	until(c.t, "the member may be removed", func() bool {
		err := c.nodes[through].RemovePeer(c.t.Context(), c.founded.NodeIDs[i], false)
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
	_, others := c.split()
	follower := others[0] // the fourth one is the last of them
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

// A node that leaves serves until its clients are gone. One that cannot send them away
// stays.
func TestLeavingNodeServesUntilItsClientsAreGone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, quick)
	c.ready()
	lead := c.leader()
	for _, i := range []int{(lead + 1) % 3, lead} {
		n := c.nodes[i]
		asked := 0
		stays := errors.New("the clients stay")
		serves := func(context.Context) error {
			asked++
			if id := c.forward(i); !c.has(i, id) {
				t.Error("a node that is about to leave does not serve")
			}
			return stays
		}
		until(t, "the node is asked to send its clients away", func() bool { return errors.Is(n.Leave(t.Context(), false, serves), stays) })
		if asked != 1 {
			t.Errorf("the clients were sent away %d times", asked)
		}
		until(t, "the node that stays after all serves", func() bool { return n.Ready() == nil })
		c.forward(i)
	}
	if got := c.leader(); got != lead {
		t.Logf("the node %d leads in the place of %d", got, lead) // on a busy machine
	}
	c.leave((lead + 1) % 3)
	c.wantEnded((lead+1)%3, cluster.ErrLeft, true)
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
	wantCode(t, c.nodes[second].Leave(t.Context(), false, unasked(t)), kms.CodeQuorum)
	if err := c.nodes[second].Leave(t.Context(), true, unasked(t)); err != nil {
		t.Errorf("forced to leave, the last node: %v", err)
	}
	c.wantEnded(second, cluster.ErrLeft, true)
}

func TestQuorumIsNotLost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, all(quick, calm))
	c.ready()
	const lead, dead, alive = 0, 1, 2
	c.stop(dead) // a moment ago it answered
	leave := func(i int) func() error {
		return func() error { return c.nodes[i].Leave(t.Context(), false, unasked(t)) }
	}
	remove := func(through int, id string) func() error {
		return func() error { return c.nodes[through].RemovePeer(t.Context(), id, false) }
	}
	for what, refused := range map[string]struct {
		code string
		try  func() error
	}{
		"the leader removes the follower": {kms.CodeQuorum, remove(lead, c.founded.NodeIDs[alive])},
		"the leader leaves":               {kms.CodeQuorum, leave(lead)},
		"the follower leaves":             {kms.CodeQuorum, leave(alive)},
		"the follower removes the leader": {kms.CodeConflict, remove(alive, c.founded.NodeIDs[lead])},
		"a stranger is removed":           {kms.CodeNotFound, remove(lead, newKeyID())},
	} {
		wantCode(t, insist(t, what, refused.try), refused.code)
	}
	c.ready() // after the refusals
	c.forward(alive)
	// The dead one can go.
	for range 2 { // again: nothing to do
		c.remove(alive, dead)
	}
	for _, m := range c.nodes[lead].Status().Members {
		if m.ID == c.founded.NodeIDs[dead] {
			t.Errorf("the leader minds a member that was removed; writes wait for it: %v", m.Waited)
		}
	}
	c.forward(alive)
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
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	target := c.nodes[lead].Addr().String()
	if err := cluster.Handshake(ctx, target, stolen, c.founded.NodeIDs[lead]); err != nil {
		t.Fatalf("a member's handshake: %v", err)
	}
	c.stop(dead)
	c.remove(lead, dead)
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
	c := newCluster(t, 3, all(quick, calm))
	c.ready()
	const lead, gone = 0, 1
	l := c.startLoad(lead)
	l.more(10)
	until(t, "the node removes itself", func() bool {
		select {
		case <-c.nodes[gone].Fatal(): // it may never hear the answer
			return true
		default:
		}
		err := c.nodes[gone].RemovePeer(t.Context(), c.founded.NodeIDs[gone], false)
		if err != nil {
			t.Log(err)
		}
		return err == nil
	})
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
	gone := c.join(0) // without a vote, so that three of five are left
	lead, others := c.split()
	away := others[0]
	old := c.nodes[lead].Credentials().Issuer()
	c.stop(away)
	c.remove(lead, gone)
	c.wantEnded(gone, cluster.ErrRemoved, false)
	if a := c.nodes[lead].Machine().View().Authority(); a.Next == nil {
		t.Error("the rotation does not wait for the member that is away")
	}
	c.stop(lead)
	for _, n := range c.nodes { // two of four voters: whoever leads does so for a moment
		if n != nil && n.Machine().View().Authority().Next == nil {
			t.Error("the rotation does not wait for the members that are away")
		}
	}
	c.start(lead)
	c.start(away)
	c.ready()
	c.rotated(old)
	c.forward(away)
	c.wantEqual()
}

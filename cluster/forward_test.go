package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

func TestLostReplyIsRepeatedAndAppliedOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, calm)
	c.ready()
	const from = 1
	n := c.nodes[from]
	var executed atomic.Int64
	c.afterExecute(func(_ *cluster.Node, err error) {
		if err == nil && executed.Add(1) == 1 {
			n.CutConnections()
		}
	})
	id := newKeyID()
	var reply []byte
	err := insist(t, "Forward", func() (err error) {
		reply, err = n.Forward(t.Context(), []byte(id))
		return err
	})
	if err != nil || string(reply) != "repeated "+id {
		t.Errorf("Forward = %q, %v; want a repetition", reply, err)
	}
	if n := executed.Load(); n < 2 {
		t.Errorf("the call was executed %d times, want it repeated", n)
	}
	if !c.has(from, id) {
		t.Error("the key is missing")
	}
}

func TestErrorsTravelBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, calm)
	c.ready()
	forward := func(call string) error {
		return insist(t, call, func() error {
			_, err := c.nodes[1].Forward(t.Context(), []byte(call))
			return err
		})
	}
	err := forward("refuse me")
	var known *kms.Error
	if !errors.As(err, &known) || known.Code != kms.CodeNotFound || known.Message != "refuse me" {
		t.Errorf("a refusal came back as %v", err)
	}
	err = forward("fail")
	if err == nil || strings.Contains(err.Error(), "secrets") {
		t.Errorf("an internal error came back as %v, want it without its text", err)
	}
}

func TestForwardWithoutAMajority(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.ready()
	_, others := c.split()
	left := others[0]
	for i := range c.nodes {
		if i != left {
			c.stop(i)
		}
	}
	n := c.nodes[left]
	until(t, "the last node to stop serving", func() bool { return n.Ready() != nil })
	until(t, "the leader to be forgotten", func() bool { return n.Status().LeaderID == "" })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := n.Forward(ctx, []byte(newKeyID())); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("Forward: %v, want ErrUnavailable", err)
	}
	if _, _, err := n.Propose(t.Context(), createKey(newKeyID())); !errors.Is(err, kms.ErrNotLeader) {
		t.Errorf("Propose on a follower: %v, want ErrNotLeader", err)
	}
}

// An outcome that stays unknown: the leader's command reaches no other disk.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.ready()
	lead := c.leader()
	n := c.nodes[lead]
	c.isolate(lead, true)
	var err error
	until(t, "Propose takes the command, or the leader knows that it is none", func() bool {
		_, _, err = n.Propose(t.Context(), createKey(newKeyID()))
		return !errors.Is(err, kms.ErrUnavailable)
	})
	if !errors.Is(err, kms.ErrOutcomeUnknown) && !errors.Is(err, kms.ErrNotLeader) {
		t.Errorf("Propose on an isolated leader: %v, want ErrOutcomeUnknown, or ErrNotLeader if it knew", err)
	}
}

// The replies to a call are lost until its caller loses patience.
func TestLostRepliesLeaveTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, calm)
	c.ready()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var executed atomic.Int64
	c.afterExecute(func(n *cluster.Node, _ error) {
		n.CutConnections()
		if executed.Add(1) == 3 {
			cancel()
		}
	})
	_, err := c.nodes[1].Forward(ctx, []byte("refuse me"))
	if !errors.Is(err, kms.ErrOutcomeUnknown) || errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrNotLeader) {
		t.Errorf("Forward whose replies are lost: %v, want ErrOutcomeUnknown alone", err)
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	for _, tt := range []struct{ raft, want error }{
		{raft.ErrNotLeader, kms.ErrNotLeader},
		{raft.ErrEnqueueTimeout, kms.ErrUnavailable},
		{raft.ErrLeadershipTransferInProgress, kms.ErrUnavailable},
		{raft.ErrLeadershipLost, kms.ErrOutcomeUnknown},
		{raft.ErrRaftShutdown, kms.ErrOutcomeUnknown},
		{raft.ErrAbortedByRestore, kms.ErrOutcomeUnknown},
		{errors.New("unable to store logs within log store, err: disk"), kms.ErrOutcomeUnknown},
		{context.DeadlineExceeded, kms.ErrOutcomeUnknown},
	} {
		if got := c.nodes[0].Classify(fmt.Errorf("committing: %w", tt.raft)); !errors.Is(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.raft, got, tt.want)
		}
	}
}

func TestProposeReportsTheMachinesVerdict(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, calm)
	c.ready()
	n := c.nodes[c.leader()]
	propose := func(command func() fsm.Command) (result fsm.Result, index uint64, err error) {
		err = insist(t, "Propose", func() (err error) {
			result, index, err = n.Propose(t.Context(), command())
			return err
		})
		return result, index, err
	}
	always := func(cmd fsm.Command) func() fsm.Command { return func() fsm.Command { return cmd } }
	var id string
	result, index, err := propose(func() fsm.Command {
		id = newKeyID() // another one if nobody knows what became of the last
		return createKey(id)
	})
	if err != nil || result.Err != nil || result.Repeat != nil || index == 0 || n.Stable() < index {
		t.Fatalf("Propose = %+v, %d, %v; stable %d", result, index, err, n.Stable())
	}
	again, _, err := propose(always(createKey(id)))
	if err != nil || again.Repeat == nil || again.Index != index {
		t.Errorf("the same again = %+v, %v; want a repetition of %d", again, err, index)
	}
	stale, err := fsm.NewCommand(reqKey("other"), fsm.Meta{Reads: []fsm.Read{{Table: 1, ID: "cluster"}}},
		&fsm.SetKeyState{Account: account, Region: region, KeyID: id})
	if err != nil {
		t.Fatal(err)
	}
	if result, _, err := propose(always(stale)); err != nil || !result.Conflict {
		t.Errorf("a stale precondition = %+v, %v; want a conflict", result, err)
	}
	absent, err := fsm.NewCommand(reqKey("absent"), fsm.Meta{}, &fsm.SetKeyState{Account: account, Region: region, KeyID: newKeyID()})
	if err != nil {
		t.Fatal(err)
	}
	if result, _, err := propose(always(absent)); err != nil || result.Err == nil {
		t.Errorf("a key that is not there = %+v, %v; want a refusal", result, err)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.ready()
	c.forward(0)
	for i, n := range c.nodes {
		if err := insist(t, "Settle", func() error { return n.Settle(t.Context(), n.Machine().Index()) }); err != nil {
			t.Errorf("node %d: Settle: %v", i, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := n.Settle(ctx, 1<<40); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("node %d: Settle on an index of the future: %v, want ErrUnavailable", i, err)
		}
		cancel()
	}
}

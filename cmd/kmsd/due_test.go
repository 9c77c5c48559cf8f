package main

import (
	"errors"
	"testing"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

type obj = testkit.JSON

const day = 24 * time.Hour

// looked returns when the leader has looked at what is due at least once more: it has
// carried out a rotation that was asked for, and deletions come before rotations.
func looked(c *testkit.Cluster) {
	lead := c.Leader()
	probe := c.NewKey(lead)
	c.Must(lead, "RotateKeyOnDemand", obj{"KeyId": probe})
	c.Until("the probe is rotated", func() bool { return rotations(c, c.Leader(), probe) == 1 })
}

// rotations counts a key's rotations by a node's state.
func rotations(c *testkit.Cluster, i int, id string) int {
	list, _ := c.View(i).Materials(id, 0, 1000)
	return len(list) - 1
}

// eventIDs are the different ids of a key's events of one name.
func eventIDs(c *testkit.Cluster, name, id string) map[string]bool {
	out := map[string]bool{}
	for _, rec := range c.Events(name) {
		if rec["serviceEventDetails"].(obj)["keyId"] == id {
			out[rec["eventID"].(string)] = true
		}
	}
	return out
}

func stateOf(c *testkit.Cluster, i int, id string) kms.KeyState {
	k, ok := c.View(i).Key(testkit.Region, id)
	if !ok {
		return ""
	}
	return k.State
}

// One wrong clock, a member's or the leader's, hastens no deletion. All clocks
// together bring it an hour after its date, once and on every node.
func TestClocksAndDeletion(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3)
	id := c.NewKey(0)
	c.Must(1, "ScheduleKeyDeletion", obj{"KeyId": id, "PendingWindowInDays": 7})
	pending := func(when string) {
		t.Helper()
		for range 3 {
			looked(c)
		}
		if got := stateOf(c, c.Leader(), id); got != kms.PendingDeletion {
			t.Fatalf("%s the key is %q", when, got)
		}
	}
	pending("before its date")

	follower := (c.Leader() + 1) % 3
	c.Nodes[follower].Clock.Set(365 * day)
	c.Until("the wrong clock is known", func() bool { return c.Nodes[follower].Ready() != nil })
	pending("with a member's clock a year ahead")
	c.Nodes[follower].Clock.Set(0)
	c.Ready()

	lead := c.Leader()
	c.Nodes[lead].Clock.Set(365 * day)
	c.Until("another node leads", func() bool { return c.Nodes[lead].Ready() != nil && c.Leader() != lead })
	pending("with the old leader's clock a year ahead")
	c.Nodes[lead].Clock.Set(0)
	c.Ready()

	c.Pass(7*day + 30*time.Minute)
	pending("half an hour after its date")
	c.Pass(31 * time.Minute)
	for i := range c.Nodes {
		c.Until("the key is gone", func() bool { return stateOf(c, i, id) == "" })
	}
	c.Until("the deletion is recorded", func() bool { return len(eventIDs(c, "DeleteKey", id)) > 0 })
	looked(c)
	if n := len(c.Events("DeleteKey")); n != 1 {
		t.Errorf("%d records of the deletion, want 1", n)
	}
}

// A cancellation at the last moment counts on every node.
func TestCancelledAtTheDate(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3)
	id := c.NewKey(0)
	c.Must(1, "ScheduleKeyDeletion", obj{"KeyId": id, "PendingWindowInDays": 7})
	c.Pass(7*day + 59*time.Minute)
	c.Must(2, "CancelKeyDeletion", obj{"KeyId": id})
	c.Pass(365 * day)
	looked(c)
	for i := range c.Nodes {
		if got := stateOf(c, i, id); got != kms.Disabled {
			t.Errorf("node %d: the key is %q", i, got)
		}
	}
	if n := len(c.Events("DeleteKey")); n != 0 {
		t.Errorf("%d records of deletions", n)
	}
}

// Two years on three nodes, with a change of leader in between.
func TestRotationsOfACluster(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3)
	id := c.NewKey(0)
	c.Must(1, "EnableKeyRotation", obj{"KeyId": id, "RotationPeriodInDays": 90})
	first, _ := c.View(c.Leader()).Key(testkit.Region, id)
	for n := 1; n <= 8; n++ {
		c.Pass(90 * day)
		if n == 4 {
			lead := c.Leader()
			c.Stop(lead)
			c.Start(lead)
		}
		c.Until("the key is rotated", func() bool { return rotations(c, c.Leader(), id) == n })
		k, _ := c.View(c.Leader()).Key(testkit.Region, id)
		if want := first.NextRotation + int64(n)*(90*day).Milliseconds(); k.NextRotation != want {
			t.Fatalf("after rotation %d the next is due at %d, want %d", n, k.NextRotation, want)
		}
	}
	looked(c)
	if n := rotations(c, c.Leader(), id); n != 8 {
		t.Errorf("%d rotations, want 8", n)
	}
	c.Until("all rotations are recorded", func() bool { return len(eventIDs(c, "RotateKey", id)) == 8 })
}

// The leader ends between the command and its record: there is one rotation, and the
// next leader records it under the event id that the command carries.
func TestLeaderEndsBeforeTheRecord(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3)
	id := c.NewKey(0)
	lead := c.Leader()
	reached := make(chan string, 100)
	c.Nodes[lead].Trail.Fault = func(r *audit.Record) error {
		if r.EventName != "RotateKey" {
			return nil
		}
		reached <- r.EventID
		return errors.New("the node ends here")
	}
	c.Must(lead, "RotateKeyOnDemand", obj{"KeyId": id})
	var eventID string
	select {
	case eventID = <-reached:
	case <-time.After(testkit.Patience):
		t.Fatal("nothing was recorded")
	}
	c.Stop(lead)
	c.Until("the rotation is recorded", func() bool { return len(c.Events("RotateKey")) > 0 })
	c.Nodes[lead].Trail.Fault = nil
	c.Start(lead)
	c.Ready()
	if ids := eventIDs(c, "RotateKey", id); len(ids) != 1 || !ids[eventID] {
		t.Errorf("recorded as %v, want %s", ids, eventID)
	}
	for i := range c.Nodes {
		if n := rotations(c, i, id); n != 1 {
			t.Errorf("node %d: %d rotations", i, n)
		}
	}
}

// Leaders come and go while many keys are rotated: each key is rotated once, under one
// event id.
func TestLeadersChangeDuringRotations(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3)
	var ids []string
	for range 60 {
		ids = append(ids, c.NewKey(0))
		c.Must(0, "EnableKeyRotation", obj{"KeyId": ids[len(ids)-1], "RotationPeriodInDays": 90})
	}
	c.Pass(90*day + time.Hour)
	for done := 10; done <= 30; done += 10 {
		c.Until("some keys are rotated", func() bool { return rotated(c.View(c.Leader()), ids) >= done })
		lead := c.Leader()
		c.Stop(lead)
		c.Start(lead)
	}
	c.Until("all keys are rotated", func() bool { return rotated(c.View(c.Leader()), ids) == len(ids) })
	c.Until("all rotations are recorded", func() bool {
		for _, id := range ids {
			if len(eventIDs(c, "RotateKey", id)) == 0 {
				return false
			}
		}
		return true
	})
	looked(c)
	for _, id := range ids {
		if n, events := rotations(c, c.Leader(), id), len(eventIDs(c, "RotateKey", id)); n != 1 || events != 1 {
			t.Errorf("a key was rotated %d times, under %d event ids", n, events)
		}
	}
}

// rotated counts the keys that have more than their first material.
func rotated(v *fsm.View, ids []string) (n int) {
	for _, id := range ids {
		if list, _ := v.Materials(id, 1, 1); len(list) > 0 {
			n++
		}
	}
	return n
}

// A node that is alone waits until it has run for ten minutes, but for what was asked
// for.
func TestSingleNodeAndWhatIsDue(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 1)
	id := c.NewKey(0)
	c.Must(0, "EnableKeyRotation", obj{"KeyId": id, "RotationPeriodInDays": 90})
	c.Pass(91 * day)
	for range 3 {
		looked(c)
	}
	if n := rotations(c, 0, id); n != 0 {
		t.Errorf("%d rotations by a clock that nobody has set yet", n)
	}
	c.Nodes[0].Clock.RunLonger(10 * time.Minute)
	c.Until("the key is rotated", func() bool { return rotations(c, 0, id) == 1 })
}

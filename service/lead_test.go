package service_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// lead makes a new leader, as another process, and lets it work for a while.
func lead(t *testing.T, s *testkit.Solo, d time.Duration) {
	t.Helper()
	opened := s.Apply(t, fsm.LeaderOpen{Term: 2, NodeID: "next"})
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	s.NewService().Lead(ctx, opened)
}

func pending(t *testing.T, s *testkit.Solo) []*audit.Record {
	t.Helper()
	var out []*audit.Record
	for _, p := range s.Machine.View().PendingAudit(0, 1000) {
		rec := must[*audit.Record](t)(audit.DecodeRecord(p.Record))
		rec.Err = p.Err
		out = append(out, rec)
	}
	return out
}

// A new leader writes the records of what earlier leaders committed and did not
// record, successes and refusals, with the same event ids, and then lets the state
// drop them.
func TestNewLeaderRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		key := s.NewKey(t)
		s.NewAlias(t, "alias/app", key)
		s.Prune(t)
		s.Trail.Fault = func(*audit.Record) error { return errBroken }
		made := s.Call(t, testkit.Root, "CreateKey", obj{"Description": "unrecorded"})
		refused := s.Call(t, testkit.Root, "CreateAlias", obj{"AliasName": "alias/app", "TargetKeyId": key})
		if made.Err == nil || refused.Err == nil {
			t.Fatalf("answered without a record: %v, %v", made, refused)
		}
		left := pending(t, s)
		if len(left) == 0 || len(s.RecordsOf(t, made.RequestID)) != 0 {
			t.Fatalf("%d records are pending", len(left))
		}
		failures := 3
		s.Trail.Fault = func(*audit.Record) error {
			if failures > 0 {
				failures--
				return errBroken
			}
			return nil
		}
		lead(t, s, 30*time.Second)
		checkRecovered(t, s, left, made, refused)
		if got := pending(t, s); len(got) != len(left) {
			t.Errorf("%d records are pending before the first pruning", len(got))
		}
		lead(t, s, 2*time.Minute)
		if got := pending(t, s); len(got) != 0 {
			t.Errorf("%d records are pending after it", len(got))
		}
	})
}

func checkRecovered(t *testing.T, s *testkit.Solo, left []*audit.Record, made, refused testkit.Answer) {
	t.Helper()
	recs := s.RecordsOf(t, made.RequestID)
	if len(recs) != 1 {
		t.Fatalf("%d records of the CreateKey", len(recs))
	}
	wantSame(t, recs[0]["eventID"], any(left[0].EventID))
	wantSame(t, recs[0]["responseElements"].(obj)["keyMetadata"].(obj)["description"], any("unrecorded"))
	for _, rec := range s.RecordsOf(t, refused.RequestID) {
		wantSame(t, rec["errorCode"], any("AlreadyExistsException"))
		wantSame(t, rec["errorMessage"], any("An alias with the name arn:aws:kms:us-east-1:111122223333:alias/app already exists"))
		wantSame(t, rec["responseElements"], nil)
	}
	for _, rec := range left {
		found := 0
		for _, written := range s.RecordsOf(t, rec.RequestID) {
			if written["eventID"] == rec.EventID {
				found++
			}
		}
		if found != 1 {
			t.Errorf("event %s was written %d times", rec.EventID, found)
		}
	}
}

// What the old leader did record comes twice, under one event id; what comes after
// the new term's first entry is the new leader's own business.
func TestNewLeaderRepeatsEventIDs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		a := s.Call(t, testkit.Root, "CreateKey", obj{})
		opened := s.Apply(t, fsm.LeaderOpen{Term: 2, NodeID: "next"})
		later := s.Call(t, testkit.Root, "CreateKey", obj{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.NewService().Lead(ctx, opened)
		recs := s.RecordsOf(t, a.RequestID)
		// The later write carried along that the first one's record is durable.
		if len(recs) != 1 {
			t.Errorf("%d records of a pruned call", len(recs))
		}
		s.Record(t, later)
		lead(t, s, time.Second)
		recs = s.RecordsOf(t, later.RequestID)
		if len(recs) != 2 {
			t.Fatalf("%d records", len(recs))
		}
		wantSame(t, recs[1]["eventID"], recs[0]["eventID"])
	})
}

// A leader that is re-elected knows what it has recorded.
func TestReelectedLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		a := s.Call(t, testkit.Root, "CreateKey", obj{})
		opened := s.Apply(t, fsm.LeaderOpen{Term: 2, NodeID: "same"})
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		s.Service.Lead(ctx, opened)
		s.Record(t, a)
		if got := pending(t, s); len(got) != 0 {
			t.Errorf("%d records are pending", len(got))
		}
	})
}

// Writes carry along which records are durable, so that none piles up.
func TestWritesPrune(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	for i := range 20 {
		wantCode(t, s.Call(t, testkit.Root, []string{"DisableKey", "EnableKey"}[i%2], obj{"KeyId": key}), "")
	}
	if got := pending(t, s); len(got) != 1 {
		t.Errorf("%d records are pending, want the last write's", len(got))
	}
}

// A leader whose state is out of reach tries again until it ends.
func TestLeadWithoutState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		s.Down = kms.ErrUnavailable
		lead(t, s, 10*time.Second)
	})
}

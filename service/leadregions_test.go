package service_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/internal/testkit"
)

// A new leader writes both Regions' records of a replica that an earlier leader made and
// did not record; of one that apply refused it writes the refusal alone.
func TestNewLeaderRecordsBothRegions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		id := keyID(s.Call(t, testkit.Root, "CreateKey", obj{"MultiRegion": true}))
		s.Prune(t)
		s.Trail.Fault = func(*audit.Record) error { return errBroken }
		body := obj{"KeyId": id, "ReplicaRegion": "eu-west-1"}
		made, refused := s.Call(t, testkit.Root, "ReplicateKey", body), s.Call(t, testkit.Root, "ReplicateKey", body)
		if made.Err == nil || refused.Err == nil {
			t.Fatalf("answered without a record: %v, %v", made, refused)
		}
		s.Trail.Fault = nil
		lead(t, s, 30*time.Second)
		recs := s.RecordsOf(t, made.RequestID)
		if len(recs) != 2 {
			t.Fatalf("%d records of the replica", len(recs))
		}
		wantSame(t, []any{recs[0]["eventName"], recs[0]["awsRegion"], recs[1]["eventName"], recs[1]["awsRegion"]}, []any{"ReplicateKey", "us-east-1", "CreateKey", "eu-west-1"})
		wantSame(t, recs[1]["responseElements"].(obj)["keyMetadata"].(obj)["keyId"], any(id))
		for _, rec := range s.RecordsOf(t, refused.RequestID) {
			wantSame(t, []any{rec["eventName"], rec["errorCode"]}, []any{"ReplicateKey", "AlreadyExistsException"})
		}
	})
}

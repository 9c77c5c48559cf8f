package adminapi_test

import (
	"context"
	"errors"
	"testing"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, c := range []struct{ op, body, want string }{
		{"GetStatus", ``, `{"clusterId":"6c2f4d0e-57a5-4c0b-9d1e-1a2b3c4d5e6f","nodeId":"0b9c1f0e-1111-4a4a-8b8b-000000000001","operatorAccount":"111122223333","release":"test",
			"clusterVersion":1,"supportedClusterVersion":2,"ready":true,"role":"leader","leaderId":"0b9c1f0e-1111-4a4a-8b8b-000000000001","term":3,"appliedIndex":70,
			"stableIndex":69,"starts":2,"seal":"memory","diskFreeBytes":1073741824,"diskSizeBytes":2147483648,"wallOffsetMilliseconds":-3}`},
		{"ListMembers", ``, `{"members":[
			{"memberId":"0b9c1f0e-1111-4a4a-8b8b-000000000001","address":"node1.example:9401","role":"leader","healthy":true,"version":1},
			{"memberId":"0b9c1f0e-2222-4a4a-8b8b-000000000002","address":"node2.example:9401","apiAddress":"node2.example:9400","role":"voter",
			"healthy":true,"lastContactMilliseconds":240,"lagEntries":1,"version":1}],"quorum":{"voters":2,"healthyVoters":2,"neededVoters":2,"failureTolerance":0}}`},
		{"GetAuthority", ``, `{"certificate":"-----BEGIN CERTIFICATE-----\nYXBp\n-----END CERTIFICATE-----\n"}`},
		{"RemoveMember", `{"memberId":"` + testkit.OtherMemberID + `"}`, `{}`},
		{"RemoveMember", `{"memberId":"` + testkit.OtherMemberID + `","force":true}`, `{}`},
		{"LeaveCluster", `{"memberId":"` + testkit.MemberID + `","force":false}`, `{}`},
		{"LeaveCluster", `{"force":true}`, `{}`},
	} {
		a := s.Admin(t, testkit.Root, c.op, c.body)
		wantOK(t, a)
		wantSame(t, any(a.Body), parse(t, c.want))
	}
	wantSame(t, s.Member.Done(), []string{
		"Status", "Members", "RemovePeer 0b9c1f0e-2222-4a4a-8b8b-000000000002", "RemovePeer 0b9c1f0e-2222-4a4a-8b8b-000000000002 by force",
		"Status", "Leave", "Leave by force",
	})
}

func TestNoAuthority(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	wantRefusal(t, s.Anybody(t, "GetAuthority", ``), "NotFoundException", "This cluster has no certificate authority.")
	s.Down = kms.ErrUnavailable
	wantRefusal(t, s.Anybody(t, "GetAuthority", ``), "ServiceUnavailableException", nothingDone)
}

const (
	nothingDone = "The service cannot serve the request now. Nothing was done."
	nobodyKnows = "The outcome of this request is unknown."
	internal    = "The request was rejected because an internal exception occurred. The request can be retried."
)

// What the node answers reaches the client and the record.
func TestNodeFails(t *testing.T) {
	t.Parallel()
	quorum := &kms.Error{Code: kms.CodeQuorum, Message: "The rest could not form a quorum."}
	for _, c := range []struct {
		err           error
		code, message string
	}{
		{quorum, "QuorumAtRiskException", "The rest could not form a quorum."},
		{kms.ErrUnavailable, "ServiceUnavailableException", nothingDone},
		{kms.ErrNotLeader, "ServiceUnavailableException", nothingDone},
		{kms.ErrOutcomeUnknown, "KMSInternalException", nobodyKnows},
		{context.DeadlineExceeded, "KMSInternalException", nobodyKnows},
		{errors.New("broken"), "KMSInternalException", internal},
	} {
		s := start(t)
		s.Member.Fault = func(context.Context, string) error { return c.err }
		for _, op := range []string{"LeaveCluster", "RemoveMember"} {
			body := map[string]string{"LeaveCluster": `{}`, "RemoveMember": `{"memberId":"` + testkit.OtherMemberID + `"}`}[op]
			a := s.Admin(t, testkit.Root, op, body)
			wantRefusal(t, a, c.code, c.message)
			rec := s.Record(t, a)
			if rec["errorCode"] != c.code || rec["errorMessage"] != c.message || rec["responseElements"] != nil {
				t.Errorf("%s: recorded %v", op, rec)
			}
		}
	}
}

// A node that leaves does so also when its operator hangs up, and within a bound.
func TestLeaveOutlivesItsClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, hangUp := context.WithCancel(t.Context())
	s.Member.Fault = func(inner context.Context, _ string) error {
		hangUp()
		if _, bounded := inner.Deadline(); !bounded {
			t.Error("the work has no deadline")
		}
		return inner.Err()
	}
	wantOK(t, s.LocalIn(ctx, t, uid, "LeaveCluster", `{}`))
	if n := s.CountInTrail(t, `"eventName":"LeaveCluster"`); n != 1 {
		t.Errorf("%d records", n)
	}
}

// Nothing is done that could not be recorded; what was done and not recorded has
// an unknown outcome.
func TestActsAndTheTrail(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.Trail.Sick = audit.ErrUnhealthy
	wantRefusal(t, s.Local(t, uid, "LeaveCluster", `{}`), "ServiceUnavailableException", nothingDone)
	wantSame(t, len(s.Member.Done()), 0)

	s.Trail.Sick = nil
	s.Trail.Fault = func(*audit.Record) error { return audit.ErrUnhealthy }
	if a := s.Local(t, uid, "LeaveCluster", `{}`); !errors.Is(a.Err, kms.ErrOutcomeUnknown) {
		t.Errorf("done and not recorded: got %v, %v", a.Refusal, a.Err)
	}
	s.Member.Fault = func(context.Context, string) error { return &kms.Error{Code: kms.CodeQuorum} }
	if a := s.Local(t, uid, "LeaveCluster", `{}`); !errors.Is(a.Err, kms.ErrUnavailable) {
		t.Errorf("refused and not recorded: got %v, %v", a.Refusal, a.Err)
	}
	if a := s.Local(t, uid, "GetStatus", ``); a.Raw != nil {
		t.Errorf("a status without a record: %s", a.Raw)
	}
}

// A shut gate stops an act before it, not after.
func TestActsAndTheGate(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.Shut = func(uint64) error { return kms.ErrUnavailable }
	wantRefusal(t, s.Admin(t, testkit.Root, "LeaveCluster", `{}`), "ServiceUnavailableException", nothingDone)
	wantSame(t, len(s.Member.Done()), 0)
	s.Shut = nil
	s.Member.Fault = func(context.Context, string) error {
		s.Shut = func(uint64) error { return kms.ErrUnavailable }
		return nil
	}
	wantOK(t, s.Admin(t, testkit.Root, "LeaveCluster", `{}`))
}

// A node that cannot prove its state still tells its operator how it is, and
// leaves; what needs the leader has to wait.
func TestWithoutState(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.Down = kms.ErrUnavailable
	for _, op := range []string{"GetStatus", "ListMembers", "LeaveCluster"} {
		a := s.Local(t, uid, op, `{}`)
		wantOK(t, a)
		rec := s.Record(t, a)
		wantSame(t, rec["userIdentity"], parse(t, `{"type":"LocalOperator","uid":"1000"}`))
		if _, ok := rec["recipientAccountId"]; ok {
			t.Errorf("%s was recorded for an account that is not known", op)
		}
	}
	wantRefusal(t, s.Local(t, uid, "ResetRootCredential", `{"accountId":"111122223333"}`), "ServiceUnavailableException", nothingDone)
	wantRefusal(t, s.Local(t, uid, "RemoveMember", `{"memberId":"`+testkit.OtherMemberID+`"}`), "MissingAuthenticationTokenException", "Missing Authentication Token")
	if a := s.Admin(t, testkit.Root, "GetStatus", ``); !errors.Is(a.Err, kms.ErrUnavailable) {
		t.Errorf("signed: got %v, %v", a.Body, a.Err)
	}
}

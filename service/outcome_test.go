package service_test

import (
	"errors"
	"testing"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

const (
	unknownOutcome = "The outcome of this request is unknown."
	nothingDone    = "The service cannot serve the request now. Nothing was done."
	throttled      = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
)

// What becomes of a CreateKey when proposals fail: before holds the error of each
// proposal that is refused before it is applied, after that of each whose reply is
// lost. keys is how many keys there are in the end.
func TestFailingProposals(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		before, after []error
		code, message string
		keys          int
		records       int // of the call
	}{
		"all is well":             {nil, nil, "", "", 1, 1},
		"leader moves once":       {[]error{kms.ErrNotLeader}, nil, "", "", 1, 1},
		"queue full twice":        {[]error{kms.ErrUnavailable, kms.ErrUnavailable}, nil, "", "", 1, 1},
		"no leader":               {[]error{kms.ErrNotLeader, kms.ErrNotLeader, kms.ErrNotLeader}, nil, "ServiceUnavailableException", nothingDone, 0, 1},
		"write lost, then well":   {[]error{kms.ErrOutcomeUnknown}, nil, "", "", 1, 1},
		"reply lost, then well":   {nil, []error{kms.ErrOutcomeUnknown}, "", "", 1, 1},
		"writes lost":             {[]error{kms.ErrOutcomeUnknown, kms.ErrOutcomeUnknown, kms.ErrOutcomeUnknown}, nil, "KMSInternalException", unknownOutcome, 0, 1},
		"write lost, then nobody": {[]error{kms.ErrOutcomeUnknown, kms.ErrNotLeader, kms.ErrUnavailable}, nil, "KMSInternalException", unknownOutcome, 0, 1},
		// Once, although the next proposal would be accepted: an upgrade takes its time.
		"not every node knows the command": {[]error{&kms.Error{Code: "ServiceUnavailableException", Message: "Later."}}, nil, "ServiceUnavailableException", "Later.", 0, 1},
		"cannot be sealed":                 {[]error{errBroken}, nil, "KMSInternalException", "The request was rejected because an internal exception occurred. The request can be retried.", 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			s.Fault, s.Lost = inTurn(row.before), inTurn(row.after)
			a := s.Call(t, testkit.Root.As("id"), "CreateKey", obj{"Description": "x"})
			wantAnswer(t, a, row.code, row.message)
			made := keys(t, s)
			if len(made) != row.keys {
				t.Errorf("%d keys, want %d", len(made), row.keys)
			}
			if row.code == "" && keyID(a) != made[0] {
				t.Errorf("answered the key %s, made %s", keyID(a), made[0])
			}
			recs := s.RecordsOf(t, a.RequestID)
			if len(recs) != row.records {
				t.Fatalf("%d records", len(recs))
			}
			if code, _ := recs[0]["errorCode"].(string); code != row.code {
				t.Errorf("recorded as %q", code)
			}
			if recs[0]["requestParameters"].(obj)["description"] != "x" {
				t.Errorf("recorded with %v", recs[0]["requestParameters"])
			}
		})
	}
}

// inTurn returns the errors one by one, then nil.
func inTurn(errs []error) func(fsm.Command) error {
	return func(fsm.Command) error {
		if len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
}

// Every reply is lost: the client hears so, and there is one key all the same.
func TestEveryReplyIsLost(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.Lost = func(fsm.Command) error { return kms.ErrOutcomeUnknown }
	s.Shut = func(uint64) error { return kms.ErrUnavailable } // no reply to repeats either
	a := s.Call(t, testkit.Root.As("id"), "CreateKey", obj{})
	wantAnswer(t, a, "KMSInternalException", unknownOutcome)
	s.Lost, s.Shut = nil, nil
	made := keys(t, s)
	if len(made) != 1 {
		t.Fatalf("%d keys", len(made))
	}
	if again := s.Call(t, testkit.Root.As("id"), "CreateKey", obj{}); keyID(again) != made[0] {
		t.Errorf("the SDK's next attempt was answered %v, %v", again.Body, again.Refusal)
	}
}

// A decision whose grounds changed before it was applied is made anew, under the
// same request key, at most eight times.
func TestConflicts(t *testing.T) {
	t.Parallel()
	for conflicts, want := range map[int]string{0: "", 1: "", 7: "", 8: "ThrottlingException"} {
		s := testkit.Start(t)
		key := s.NewKey(t)
		var proposals int
		seen := map[fsm.ReqKey]bool{}
		s.Fault = func(cmd fsm.Command) error {
			seen[cmd.ReqKey] = true
			if proposals++; proposals <= conflicts {
				s.Apply(t, fsm.SetKeyState{Account: testkit.Account, Region: testkit.Region, KeyID: key, Enabled: proposals%2 == 0})
			}
			return nil
		}
		a := s.Call(t, testkit.Root, "CreateAlias", obj{"AliasName": "alias/x", "TargetKeyId": key})
		message := ""
		if want != "" {
			message = throttled
		}
		wantAnswer(t, a, want, message)
		if wanted := min(conflicts+1, 8); proposals != wanted || len(seen) != 1 {
			t.Errorf("%d conflicts: %d proposals under %d keys", conflicts, proposals, len(seen))
		}
		if rec := s.Record(t, a); want == "" && rec["errorCode"] != nil || want != "" && rec["errorCode"] != want {
			t.Errorf("recorded as %v", rec["errorCode"])
		}
	}
}

// A key that is taken away from under a decision is answered for as it is then.
func TestDecisionAnew(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.Fault, _ = times(1, func(fsm.Command) error {
		s.SetState(t, key, "PendingDeletion")
		return nil
	})
	a := s.Call(t, testkit.Root, "DisableKey", obj{"KeyId": key})
	wantAnswer(t, a, "KMSInvalidStateException", testkit.ARN(key)+" is pending deletion.")
	s.Record(t, a)
}

func TestNoFreshState(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.Down = kms.ErrUnavailable
	for _, op := range []string{"ListKeys", "CreateKey"} {
		if a := s.Call(t, testkit.Root, op, obj{}); !errors.Is(a.Err, kms.ErrUnavailable) {
			t.Errorf("%s: %v, %v", op, a.Refusal, a.Err)
		}
	}
	if s.Service.Ready(t.Context()) == nil {
		t.Error("ready without a fresh state")
	}
	// The receiver has a state, the leader none.
	s.Down = nil
	session, principal := open(t, s)
	before := s.Machine.Digest()
	s.Down = kms.ErrUnavailable
	a := s.In(session, principal, testkit.Root, "kms", "CreateKey", `{}`)
	wantAnswer(t, a, "ServiceUnavailableException", nothingDone)
	if s.Record(t, a)["errorCode"] != "ServiceUnavailableException" || s.Machine.Digest() != before {
		t.Error("the refusal was not recorded, or something was done")
	}
}

// A credential that was deactivated after the receiver looked is refused by the
// leader, before it decides and also when it has decided already.
func TestDeactivatedOnTheLeader(t *testing.T) {
	t.Parallel()
	const message = "The security token included in the request is invalid."
	s := testkit.Start(t)
	session, principal := open(t, s)
	s.SetAccessKey(t, testkit.AccessKey, "Inactive")
	before := s.Machine.Digest()
	wantAnswer(t, s.In(session, principal, testkit.Root, "kms", "CreateKey", `{}`), "UnrecognizedClientException", message)
	if s.Machine.Digest() != before {
		t.Error("the state changed")
	}
	s.SetAccessKey(t, testkit.AccessKey, "Active")
	s.Fault, _ = times(1, func(fsm.Command) error {
		s.SetAccessKey(t, testkit.AccessKey, "Inactive")
		return nil
	})
	session, principal = open(t, s)
	wantAnswer(t, s.In(session, principal, testkit.Root, "kms", "CreateKey", `{}`), "UnrecognizedClientException", message)
	if made := keys(t, s); len(made) != 0 {
		t.Errorf("made %v", made)
	}
}

// Without a healthy trail a write is refused before it is proposed.
func TestSickTrail(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.Trail.Sick = audit.ErrUnhealthy
	proposed := 0
	s.Fault = func(fsm.Command) error { proposed++; return nil }
	wantAnswer(t, s.Call(t, testkit.Root, "CreateKey", obj{}), "ServiceUnavailableException", nothingDone)
	if proposed != 0 {
		t.Errorf("%d proposals", proposed)
	}
	if s.Service.Ready(t.Context()) == nil {
		t.Error("ready without a trail")
	}
}

// No record, no reply: neither to a read nor to a refusal, and a write that was
// applied has an unknown outcome.
func TestNoRecordNoReply(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.Trail.Fault = func(*audit.Record) error { return errBroken }
	for _, row := range []struct {
		op   string
		body any
		want error
	}{
		{"Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}, kms.ErrUnavailable},
		{"Encrypt", obj{"KeyId": "alias/nope", "Plaintext": "AA=="}, kms.ErrUnavailable},
		{"Encrypt", `{`, kms.ErrUnavailable},
		{"CreateAlias", obj{"AliasName": "alias/x", "TargetKeyId": "alias/nope"}, kms.ErrUnavailable},
		{"CreateAlias", obj{"AliasName": "alias/x", "TargetKeyId": key}, kms.ErrOutcomeUnknown},
	} {
		if a := s.Call(t, testkit.Root, row.op, row.body); !errors.Is(a.Err, row.want) || a.Raw != nil {
			t.Errorf("%s %v: %v, %v", row.op, row.body, a.Refusal, a.Err)
		}
	}
}

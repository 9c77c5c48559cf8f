package service_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// An SDK's attempts of one call make one key, and all are answered alike.
func TestOneInvocationMakesOneKey(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who := testkit.Root.As("invocation-1")
	first := s.Call(t, who, "CreateKey", obj{"Description": "x"})
	for range 8 {
		again := s.Call(t, who, "CreateKey", obj{"Description": "x"})
		wantSame(t, string(again.Raw), string(first.Raw))
		rec, original := s.Record(t, again), s.Record(t, first)
		wantSame(t, rec["additionalEventData"], any(obj{"repeatOf": first.RequestID}))
		wantSame(t, rec["responseElements"], original["responseElements"])
		wantSame(t, rec["requestParameters"], original["requestParameters"])
		wantSame(t, rec["resources"], original["resources"])
		if _, ok := original["additionalEventData"]; ok || rec["errorCode"] != nil {
			t.Errorf("the records are %v and %v", original, rec)
		}
	}
	wantSame(t, keys(t, s), []string{keyID(first)})
}

// Whatever differs between two calls makes them two.
func TestOtherCallsAreNoRepeats(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	type call struct {
		who  testkit.Caller
		body string
	}
	seen := map[string]bool{}
	for _, c := range []call{
		{testkit.Root.As("id"), `{}`},
		{testkit.Root.As("ID"), `{}`},
		{testkit.Root.As("id"), ``},
		{testkit.Root.As("id"), `{ }`},
		{testkit.Root.As("id"), `{"Description":"x"}`},
		{testkit.Root.As("id").In("eu-west-1"), `{}`},
		{testkit.Other.As("id"), `{}`},
		{testkit.Root, `{}`},
		{testkit.Root, `{}`},
	} {
		id := keyID(s.Call(t, c.who, "CreateKey", c.body))
		if id == "" || seen[id] {
			t.Errorf("%+v made the key %q", c, id)
		}
		seen[id] = true
	}
	// The operation counts: these two have one body.
	key := s.NewKey(t)
	body := obj{"AliasName": "alias/x", "TargetKeyId": key}
	wantCode(t, s.Call(t, testkit.Root.As("id"), "CreateAlias", body), "")
	wantCode(t, s.Call(t, testkit.Root.As("id"), "DeleteAlias", body), "")
	if aliases, _ := s.Machine.View().ListAliases(testkit.Account, testkit.Region, "", 10); len(aliases) != 0 {
		t.Errorf("the alias is still there")
	}
}

func TestRepeatedAliases(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	body := obj{"AliasName": "alias/x", "TargetKeyId": key}
	for _, step := range []struct{ id, op, want string }{
		{"a", "CreateAlias", ""}, {"a", "CreateAlias", ""}, {"b", "CreateAlias", "AlreadyExistsException"}, {"", "CreateAlias", "AlreadyExistsException"},
		{"c", "DeleteAlias", ""}, {"c", "DeleteAlias", ""}, {"d", "DeleteAlias", "NotFoundException"},
		// A refusal is not remembered: the same call may succeed later.
		{"b", "CreateAlias", ""}, {"b", "CreateAlias", ""},
	} {
		a := s.Call(t, testkit.Root.As(step.id), step.op, body)
		if wantCode(t, a, step.want); len(a.Raw) != 0 {
			t.Errorf("%s answers %q", step.op, a.Raw)
		}
	}
}

// Operations that set a value are applied again: the last one counts.
func TestSettersAreNoRepeats(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := s.NewKey(t), s.NewKey(t)
	who := testkit.Root.As("pinned")
	for _, op := range []string{"DisableKey", "EnableKey", "DisableKey"} {
		a := s.Call(t, who, op, obj{"KeyId": key})
		wantCode(t, a, "")
		if rec := s.Record(t, a); rec["additionalEventData"] != nil {
			t.Errorf("%s was recorded as a repeat", op)
		}
	}
	if got := stateOf(t, s, key); got != kms.Disabled {
		t.Errorf("the key is %s", got)
	}
	s.NewAlias(t, "alias/x", key)
	for _, target := range []string{other, key, other} {
		wantCode(t, s.Call(t, who, "UpdateAlias", obj{"AliasName": "alias/x", "TargetKeyId": target}), "")
	}
	if alias, _ := s.Machine.View().Alias(testkit.Account, testkit.Region, "alias/x"); alias.KeyID != other {
		t.Errorf("the alias names %s", alias.KeyID)
	}
}

// A call is forgotten after 15 minutes of the machine's time.
func TestRepeatsEnd(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who := testkit.Root.As("id")
	first := keyID(s.Call(t, who, "CreateKey", `{}`))
	s.Advance(15 * time.Minute)
	s.Apply(t, fsm.PruneAudit{})
	if again := keyID(s.Call(t, who, "CreateKey", `{}`)); again != first {
		t.Errorf("after 15 minutes: another key")
	}
	s.Advance(time.Millisecond)
	s.Apply(t, fsm.PruneAudit{})
	if again := keyID(s.Call(t, who, "CreateKey", `{}`)); again == first || again == "" {
		t.Errorf("after more than 15 minutes: the key %q", again)
	}
}

// A repeat is answered to the same caller only while the credential is active.
func TestRepeatOfADeactivatedCaller(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who := testkit.Root.As("id")
	s.Call(t, who, "CreateKey", `{}`)
	session, principal := open(t, s)
	s.SetAccessKey(t, testkit.AccessKey, "Inactive")
	wantCode(t, s.In(session, principal, who, "kms", "CreateKey", `{}`), "UnrecognizedClientException")
}

// Two attempts that race: the one that is proposed second finds out in apply. It
// answers and records the first one's key, not the one that it had prepared.
func TestRacingAttempts(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who := testkit.Root.As("id")
	var inner testkit.Answer
	s.Fault, _ = times(1, func(fsm.Command) error {
		inner = s.Call(t, who, "CreateKey", `{}`)
		return nil
	})
	outer := s.Call(t, who, "CreateKey", `{}`)
	wantSame(t, string(outer.Raw), string(inner.Raw))
	wantSame(t, keys(t, s), []string{keyID(inner)})
	rec, original := s.Record(t, outer), s.Record(t, inner)
	wantSame(t, rec["additionalEventData"], any(obj{"repeatOf": inner.RequestID}))
	wantSame(t, rec["responseElements"], original["responseElements"])
	wantSame(t, rec["resources"], original["resources"])
	if n := s.CountInTrail(t, `"keyMetadata"`); n != 2 {
		t.Errorf("two records show %d keys", n)
	}
}

// All attempts of one call carry one key; calls that are not marked carry a fresh
// one each.
func TestRequestKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	var seen []fsm.ReqKey
	s.Fault = func(cmd fsm.Command) error {
		seen = append(seen, cmd.ReqKey)
		return kms.ErrUnavailable
	}
	s.Call(t, testkit.Root, "DisableKey", obj{"KeyId": key})
	s.Call(t, testkit.Root.As("id"), "DisableKey", obj{"KeyId": key})
	s.Call(t, testkit.Root.As("id"), "CreateKey", obj{})
	s.Call(t, testkit.Root.As("id"), "CreateKey", obj{})
	if len(seen) != 4*testkit.Forwards {
		t.Fatalf("%d proposals", len(seen))
	}
	distinct := slices.Compact(slices.Clone(seen))
	if len(distinct) != 3 || slices.Contains(distinct, fsm.ReqKey{}) {
		t.Errorf("the keys are %x", distinct)
	}
}

// A user agent may hold any bytes; the call must reach the leader with it.
func TestSourceThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	session, principal := open(t, s)
	_, err := session.Do(context.Background(), &service.Call{
		Service: "kms", Operation: "CreateKey", Region: testkit.Region, Principal: principal,
		Source: kms.Source{IP: "192.0.2.7", UserAgent: "caf\xe9"}, RequestID: service.NewUUID(),
	})
	if err != nil {
		t.Error(err)
	}
}

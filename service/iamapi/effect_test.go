package iamapi_test

import (
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

// reach is how a policy of a kind of identity reaches somebody who calls KMS.
func reach(t *testing.T, s *testkit.Solo, kind fsm.IdentityKind, name string) testkit.Caller {
	t.Helper()
	if kind == fsm.KindUser {
		caller, _ := s.NewUser(t, testkit.Account, name)
		return caller
	}
	caller, id := s.NewUser(t, testkit.Account, "caller")
	i := s.NewIdentity(t, kind, testkit.Account, name)
	if kind == fsm.KindGroup {
		s.Change(t, id, func(u *fsm.Identity) { u.Groups = []string{i.ID} })
		return caller
	}
	s.SetTrust(t, i.ID, trusting(id, ""))
	session, refusal := call(t, s, caller, "AssumeRole", "RoleArn", i.ARN(), "RoleSessionName", "ci")
	if refusal != "" {
		t.Fatal(refusal)
	}
	return session.caller()
}

// effect is a call of IAM, and whether the caller may describe a key right after it.
type effect struct {
	op      string
	params  []string
	allowed bool
}

func wantEffects(t *testing.T, s *testkit.Solo, who testkit.Caller, key string, effects []effect) {
	t.Helper()
	for _, e := range effects {
		if got := s.Raw(t, testkit.Root, "iam", e.op, form(e.params...)); got.Refusal != nil || got.Err != nil {
			t.Fatalf("%s: %v %v", e.op, got.Refusal, got.Err)
		}
		_, refusal := s.Do(t, who, "DescribeKey", testkit.JSON{"KeyId": key})
		if allowed := refusal == nil; allowed != e.allowed || !allowed && refusal.Code != "AccessDeniedException" {
			t.Errorf("after %s %q: refusal %v, want allowed %t", e.op, e.params, refusal, e.allowed)
		}
	}
}

const denyDescribe = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"kms:DescribeKey","Resource":"*"}}`

// What is put, attached, changed or taken away decides the very next call of the user,
// the group's member or the role's session.
func TestPoliciesTakeEffectAtOnce(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.title, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			key, who := s.NewKey(t), reach(t, s, k.kind, "Target")
			put, remove := "Put"+k.title+"Policy", "Delete"+k.title+"Policy"
			attach, detach := "Attach"+k.title+"Policy", "Detach"+k.title+"Policy"
			own := s.NewManagedPolicy(t, testkit.Account, "Own", readText)
			wantEffects(t, s, who, key, []effect{
				{"List" + k.title + "Policies", p(k.param, "Target"), false},
				{put, p(k.param, "Target", "PolicyName", "a", "PolicyDocument", readText), true},
				{put, p(k.param, "Target", "PolicyName", "a", "PolicyDocument", denyDescribe), false},
				{put, p(k.param, "Target", "PolicyName", "b", "PolicyDocument", readText), false},
				{remove, p(k.param, "Target", "PolicyName", "a"), true},
				{remove, p(k.param, "Target", "PolicyName", "b"), false},
				{attach, p(k.param, "Target", "PolicyArn", own), true},
				{detach, p(k.param, "Target", "PolicyArn", own), false},
				{attach, p(k.param, "Target", "PolicyArn", adminARN), true},
				{detach, p(k.param, "Target", "PolicyArn", adminARN), false},
			})
		})
	}
}

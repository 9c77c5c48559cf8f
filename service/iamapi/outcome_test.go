package iamapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

const unknownOutcome = "KMSInternalException: The outcome of this request is unknown."

// policyChanges are calls that change managed policies and succeed once twoPolicies has
// made these.
var policyChanges = []step{
	{"CreatePolicy", p("PolicyName", "New", "PolicyDocument", readText), "PolicyId"},
	{"CreatePolicyVersion", p("PolicyArn", keysARN, "PolicyDocument", readText), "<VersionId>v3</VersionId>"},
	{"SetDefaultPolicyVersion", p("PolicyArn", keysARN, "VersionId", "v2"), ""},
	{"DeletePolicyVersion", p("PolicyArn", keysARN, "VersionId", "v2"), ""},
	{"TagPolicy", p("PolicyArn", keysARN, "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), ""},
	{"UntagPolicy", p("PolicyArn", keysARN, "TagKeys.member.1", "team"), ""},
	{"DeletePolicy", p("PolicyArn", readARN), ""},
}

// twoPolicies starts an account with the policy Keys, which has two versions and a tag,
// and Read.
func twoPolicies(t *testing.T) *testkit.Solo {
	t.Helper()
	s := testkit.Start(t)
	s.NewManagedPolicy(t, testkit.Account, "Read", readText)
	ask(t, s, testkit.Root, "CreatePolicy", "PolicyName", "Keys", "Path", "/eng/", "PolicyDocument", readText, "Tags.member.1.Key", "team", "Tags.member.1.Value", "x")
	ask(t, s, testkit.Root, "CreatePolicyVersion", "PolicyArn", keysARN, "PolicyDocument", denyText)
	return s
}

// shownPolicies is all that the account's reads tell of twoPolicies and a third.
func shownPolicies(t *testing.T, s *testkit.Solo) string {
	t.Helper()
	return ask(t, s, testkit.Root, "GetAccountAuthorizationDetails") + ask(t, s, testkit.Root, "ListPolicyTags", "PolicyArn", keysARN)
}

func wantSuccess(t *testing.T, what string, a testkit.Answer, part string) {
	t.Helper()
	if a.Err != nil || a.Refusal != nil || !strings.Contains(string(a.Raw), part) {
		t.Errorf("%s: got %s (%v, %v), want %q in it", what, a.Raw, a.Refusal, a.Err, part)
	}
}

// When no proposal comes back, the caller hears that nobody knows. What was lost has
// changed nothing, and the call made again succeeds. Where only the replies were lost,
// the same call again does nothing twice and answers as the first would have.
func TestPolicyUnknownOutcomes(t *testing.T) {
	t.Parallel()
	for _, c := range policyChanges {
		t.Run(c.op, func(t *testing.T) {
			t.Parallel()
			s := twoPolicies(t)
			before := shownPolicies(t, s)
			s.Fault = func(fsm.Command) error { return kms.ErrOutcomeUnknown }
			if got := ask(t, s, testkit.Root.As("lost"), c.op, c.params...); got != unknownOutcome {
				t.Errorf("writes lost: got %s", got)
			}
			s.Fault = nil
			if shownPolicies(t, s) != before {
				t.Error("the policies changed")
			}
			applied := 0
			s.Lost = func(fsm.Command) error { applied++; return kms.ErrOutcomeUnknown }
			s.Shut = func(uint64) error { return kms.ErrUnavailable }
			if got := ask(t, s, testkit.Root.As("kept"), c.op, c.params...); got != unknownOutcome {
				t.Errorf("replies lost: got %s", got)
			}
			s.Lost, s.Shut = nil, nil
			after := shownPolicies(t, s)
			if after == before || applied != 1 {
				t.Errorf("%d commands were applied", applied)
			}
			wantSuccess(t, "the call again", s.Raw(t, testkit.Root.As("kept"), "iam", c.op, form(c.params...)), c.want)
			if shownPolicies(t, s) != after {
				t.Error("the call again changed the policies")
			}
		})
	}
}

// What is done between the decision on a call and its command decides, too.
func TestPolicyRaces(t *testing.T) {
	t.Parallel()
	of := func(op, arn string, more ...string) step { return step{op, append(p("PolicyArn", arn), more...), ""} }
	made := func(name string) step {
		return step{"CreatePolicy", p("PolicyName", name, "PolicyDocument", readText), ""}
	}
	remove, attach := of("DeletePolicy", readARN), of("AttachUserPolicy", readARN, "UserName", "bob")
	inForce, removeSecond := of("SetDefaultPolicyVersion", keysARN, "VersionId", "v2"), of("DeletePolicyVersion", keysARN, "VersionId", "v2")
	for name, c := range map[string]struct {
		call, between step
		want          string
	}{
		"a policy is attached before it goes": {remove, attach,
			"DeleteConflict: Cannot delete a policy attached to entities."},
		"a policy becomes a boundary before it goes": {remove, step{"PutUserPermissionsBoundary", p("UserName", "bob", "PermissionsBoundary", readARN), ""},
			"DeleteConflict: Cannot delete a policy attached to entities."},
		"a policy gets a version before it goes": {remove, of("CreatePolicyVersion", readARN, "PolicyDocument", readText),
			"DeleteConflict: This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."},
		"a policy goes before it is attached": {attach, remove,
			"NoSuchEntity: Policy " + readARN + " does not exist or is not attachable."},
		"a policy goes before it is tagged": {of("TagPolicy", readARN, "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), remove,
			"NoSuchEntity: Policy " + readARN + " was not found."},
		"a version goes before it is put in force": {inForce, removeSecond,
			"NoSuchEntity: Policy " + keysARN + " version v2 does not exist or is not attachable."},
		"a version is put in force before it goes": {removeSecond, inForce,
			"DeleteConflict: Cannot delete the default version of a policy."},
		"two versions are made": {of("CreatePolicyVersion", keysARN, "PolicyDocument", readText), of("CreatePolicyVersion", keysARN, "PolicyDocument", denyText),
			"<CreatePolicyVersionResult><PolicyVersion><VersionId>v4</VersionId><IsDefaultVersion>false</IsDefaultVersion><CreateDate>2026-11-24T12:00:00Z</CreateDate></PolicyVersion></CreatePolicyVersionResult>"},
		"two policies of one name are made": {made("new"), made("NEW"),
			"EntityAlreadyExists: A policy called new already exists. Duplicate names are not allowed."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := twoPolicies(t)
			s.NewIdentity(t, fsm.KindUser, testkit.Account, "bob")
			s.Fault = func(fsm.Command) error {
				s.Fault = nil
				wantSuccess(t, fmt.Sprintf("%s between", c.between.op), s.Raw(t, testkit.Root, "iam", c.between.op, form(c.between.params...)), "")
				return nil
			}
			if got := ask(t, s, testkit.Root, c.call.op, c.call.params...); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

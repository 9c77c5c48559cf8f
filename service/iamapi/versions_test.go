package iamapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

// A policy has five versions at most; their ids count up and never come back.
func TestPolicyVersions(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	arn := s.NewManagedPolicy(t, testkit.Account, "Read", readText)
	s.Advance(time.Hour)
	version := func(id string, isDefault bool, hour int) string {
		return fmt.Sprintf("<VersionId>%s</VersionId><IsDefaultVersion>%t</IsDefaultVersion><CreateDate>2026-11-24T%d:00:00Z</CreateDate>", id, isDefault, hour)
	}
	made := func(id string, isDefault bool) string {
		return "<CreatePolicyVersionResult><PolicyVersion>" + version(id, isDefault, 13) + "</PolicyVersion></CreatePolicyVersionResult>"
	}
	got := func(document, version string) string {
		return "<GetPolicyVersionResult><PolicyVersion><Document>" + document + "</Document>" + version + "</PolicyVersion></GetPolicyVersionResult>"
	}
	missing := func(id string) string {
		return "NoSuchEntity: Policy " + arn + " version " + id + " does not exist or is not attachable."
	}
	with := func(params ...string) []string { return append(p("PolicyArn", arn), params...) }
	walk(t, s, []step{
		{"GetPolicyVersion", with("VersionId", "v1"), got(readShown, version("v1", true, 12))},
		{"GetPolicyVersion", with("VersionId", "v2"), missing("v2")},
		{"SetDefaultPolicyVersion", with("VersionId", "v2"), missing("v2")},
		{"DeletePolicyVersion", with("VersionId", "v2"), missing("v2")},
		{"DeletePolicyVersion", with("VersionId", "v1"), "DeleteConflict: Cannot delete the default version of a policy."},
		{"CreatePolicyVersion", with("PolicyDocument", denyText), made("v2", false)},
		{"CreatePolicyVersion", with("PolicyDocument", denyText, "SetAsDefault", "true"), made("v3", true)},
		{"CreatePolicyVersion", with("PolicyDocument", readText, "SetAsDefault", "false"), made("v4", false)},
		{"CreatePolicyVersion", with("PolicyDocument", readText), made("v5", false)},
		{"CreatePolicyVersion", with("PolicyDocument", readText), "LimitExceeded: A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."},
		{"GetPolicyVersion", with("VersionId", "v3"), got(denyShown, version("v3", true, 13))},
		{"DeletePolicy", with(), "DeleteConflict: This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."},
		{"DeletePolicyVersion", with("VersionId", "v3"), "DeleteConflict: Cannot delete the default version of a policy."},
		{"DeletePolicyVersion", with("VersionId", "v5"), ""},
		{"CreatePolicyVersion", with("PolicyDocument", readText), made("v6", false)},
		{"SetDefaultPolicyVersion", with("VersionId", "v4"), ""},
		{"SetDefaultPolicyVersion", with("VersionId", "v4"), ""},
		{"DeletePolicyVersion", with("VersionId", "v1"), ""},
		{"GetPolicyVersion", with("VersionId", "v1"), missing("v1")},
		{"ListPolicyVersions", with(), "<ListPolicyVersionsResult><Versions>" +
			"<member>" + version("v6", false, 13) + "</member><member>" + version("v4", true, 13) + "</member>" +
			"<member>" + version("v3", false, 13) + "</member><member>" + version("v2", false, 13) + "</member></Versions>" + truncated + "</ListPolicyVersionsResult>"},
		{"GetPolicy", with(), "<GetPolicyResult><Policy><PolicyName>Read</PolicyName><PolicyId>" + policyID(t, s, arn) + "</PolicyId><Arn>" + arn + "</Arn><Path>/</Path><DefaultVersionId>v4</DefaultVersionId>" +
			used(0, 0) + "<CreateDate>2026-11-24T12:00:00Z</CreateDate><UpdateDate>2026-11-24T13:00:00Z</UpdateDate></Policy></GetPolicyResult>"},
	})
}

func policyID(t *testing.T, s *testkit.Solo, arn string) string {
	t.Helper()
	p, ok := s.Machine.View().ManagedPolicy(arn)
	if !ok {
		t.Fatalf("there is no %s", arn)
	}
	return p.ID
}

func TestPolicyVersionDocuments(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	arn := s.NewManagedPolicy(t, testkit.Account, "Read", readText)
	before := s.Machine.Index()
	for document, want := range map[string]string{
		"{":          "MalformedPolicyDocumentException: Syntax errors in policy.",
		"{}":         "MalformedPolicyDocumentException: Syntax errors in policy.",
		ofSize(6145): "LimitExceeded: Cannot exceed quota for PolicySize: 6144",
	} {
		walk(t, s, []step{{"CreatePolicyVersion", p("PolicyArn", arn, "PolicyDocument", document, "SetAsDefault", "true"), want}})
	}
	walk(t, s, []step{{"CreatePolicyVersion", p("PolicyArn", keysARN, "PolicyDocument", readText), keysGone}})
	if got := s.Machine.Index(); got != before {
		t.Errorf("%d commands were applied", got-before)
	}
	if got := ask(t, s, testkit.Root, "CreatePolicyVersion", "PolicyArn", arn, "PolicyDocument", ofSize(6144)); between(t, got, "VersionId") != "v2" {
		t.Errorf("got %s", got)
	}
}

// Versions are listed by their numbers, not by the letters of their ids.
func TestPolicyVersionPages(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	arn := s.NewManagedPolicy(t, testkit.Account, "Read", readText)
	for n := 2; n <= 11; n++ {
		if n > 5 {
			walk(t, s, []step{{"DeletePolicyVersion", p("PolicyArn", arn, "VersionId", fmt.Sprint("v", n-4)), ""}})
		}
		if got := ask(t, s, testkit.Root, "CreatePolicyVersion", "PolicyArn", arn, "PolicyDocument", readText); between(t, got, "VersionId") != fmt.Sprint("v", n) {
			t.Fatalf("version %d: got %s", n, got)
		}
	}
	if got := pages(t, s, "ListPolicyVersions", "PolicyArn", arn, "MaxItems", "2"); got != "v11 v10|v9 v8|v1" {
		t.Errorf("got %q", got)
	}
	marker := between(t, ask(t, s, testkit.Root, "ListPolicyVersions", "PolicyArn", arn, "MaxItems", "2"), "Marker")
	walk(t, s, []step{{"ListPolicyVersions", p("PolicyArn", adminARN, "Marker", marker), "ValidationException: Invalid Marker."}})
}

// A version that is put in force decides the very next call of everybody who has the
// policy, or is bounded by it.
func TestPolicyVersionsTakeEffectAtOnce(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, bounding := range []bool{false, true} {
			if bounding && k.kind == fsm.KindGroup {
				continue // nothing bounds a group
			}
			t.Run(fmt.Sprint(k.title, bounding), func(t *testing.T) {
				t.Parallel()
				s := testkit.Start(t)
				key, who := s.NewKey(t), reach(t, s, k.kind, "Target")
				use := "Attach" + k.title + "Policy"
				param := "PolicyArn"
				if bounding {
					use, param = "Put"+k.title+"PermissionsBoundary", "PermissionsBoundary"
					walk(t, s, []step{{"Attach" + k.title + "Policy", p(k.param, "Target", "PolicyArn", adminARN), ""}})
				}
				const arn = "arn:aws:iam::111122223333:policy/Own"
				wantEffects(t, s, who, key, []effect{
					{"CreatePolicy", p("PolicyName", "Own", "PolicyDocument", readText), bounding},
					{use, p(k.param, "Target", param, arn), true},
					{"CreatePolicyVersion", p("PolicyArn", arn, "PolicyDocument", denyDescribe), true},
					{"SetDefaultPolicyVersion", p("PolicyArn", arn, "VersionId", "v2"), false},
					{"CreatePolicyVersion", p("PolicyArn", arn, "PolicyDocument", readText, "SetAsDefault", "true"), true},
					{"CreatePolicyVersion", p("PolicyArn", arn, "PolicyDocument", denyText, "SetAsDefault", "true"), false},
					{"SetDefaultPolicyVersion", p("PolicyArn", arn, "VersionId", "v1"), true},
					{"DeletePolicyVersion", p("PolicyArn", arn, "VersionId", "v2"), true},
				})
			})
		}
	}
}

// The managed policies that a session was made with are its ceiling in the version that
// is in force when it calls.
func TestSessionPolicyVersions(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	alice, aliceID := s.NewUser(t, testkit.Account, "alice")
	role(t, s, testkit.Account, "/svc/App", trusting(aliceID, ""), allowKMS)
	arn := s.NewManagedPolicy(t, testkit.Account, "Ceiling", readText)
	session, refusal := call(t, s, alice, "AssumeRole", "RoleArn", appARN, "RoleSessionName", "ci", "PolicyArns.member.1.arn", arn)
	if refusal != "" {
		t.Fatal(refusal)
	}
	wantEffects(t, s, session.caller(), key, []effect{
		{"CreatePolicyVersion", p("PolicyArn", arn, "PolicyDocument", denyDescribe), true},
		{"SetDefaultPolicyVersion", p("PolicyArn", arn, "VersionId", "v2"), false},
		{"SetDefaultPolicyVersion", p("PolicyArn", arn, "VersionId", "v1"), true},
		{"DeletePolicyVersion", p("PolicyArn", arn, "VersionId", "v2"), true},
		{"DeletePolicy", p("PolicyArn", arn), false},
	})
}

// A call on a policy needs its action on just that policy.
func TestPolicyAuthorization(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	arn := s.NewManagedPolicy(t, testkit.Account, "Read", readText)
	nobody, _ := s.NewUser(t, testkit.Account, "nobody", allow(`"iam:*"`, "arn:aws:iam::111122223333:policy/other", ""))
	refused := func(op, resource string) string {
		return "AccessDeniedException: User: arn:aws:iam::111122223333:user/nobody is not authorized to perform: iam:" + op + " on resource: " + resource +
			" because no identity-based policy allows the iam:" + op + " action"
	}
	calls := append(policyReads(arn), policyWrites(arn)...)
	for _, c := range calls {
		if got, want := ask(t, s, nobody, c.op, c.params...), refused(c.op, "policy "+arn); got != want {
			t.Errorf("%s: got %s\nwant %s", c.op, got, want)
		}
		may, _ := s.NewUser(t, testkit.Account, "may"+c.op, allow(`"iam:`+c.op+`"`, arn, ""))
		if got := ask(t, s, may, c.op, c.params...); strings.Contains(got, "AccessDenied") {
			t.Errorf("%s: got %s", c.op, got)
		}
	}
	for _, c := range []step{
		{"CreatePolicy", p("PolicyName", "x", "Path", "/eng/", "PolicyDocument", readText), "policy x"},
		{"GetPolicy", p("PolicyArn", theirsARN), "policy " + theirsARN},
		{"GetPolicy", p("PolicyArn", adminARN), "policy " + adminARN},
		{"ListPolicies", nil, "policy path /"},
		{"ListPolicies", p("PathPrefix", "/eng/"), "policy path /eng/"},
		{"GetAccountAuthorizationDetails", nil, "*"},
	} {
		if got, want := ask(t, s, nobody, c.op, c.params...), refused(c.op, c.want); got != want {
			t.Errorf("%s: got %s\nwant %s", c.op, got, want)
		}
	}
}

// Policies of IAM speak of the paths and tags of managed policies.
func TestPolicyConditions(t *testing.T) {
	t.Parallel()
	const eng = "arn:aws:iam::111122223333:policy/eng/*"
	tagging := p("PolicyArn", keysARN, "Tags.member.1.Key", "a", "Tags.member.1.Value", "b")
	creating := p("PolicyName", "New", "Path", "/eng/", "PolicyDocument", readText)
	withTag := append(p("Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), creating...)
	on := func(key, value string) string { return `,"Condition":{"StringEquals":{"` + key + `":"` + value + `"}}` }
	for _, c := range []struct {
		policy, op string
		params     []string
		allowed    bool
	}{
		{allow(`"iam:GetPolicy"`, eng, ""), "GetPolicy", p("PolicyArn", keysARN), true},
		{allow(`"iam:GetPolicy"`, "arn:aws:iam::111122223333:policy/ops/*", ""), "GetPolicy", p("PolicyArn", keysARN), false},
		{allow(`"iam:GetPolicy"`, "*", on("iam:ResourceTag/Team", "x")), "GetPolicy", p("PolicyArn", keysARN), true},
		{allow(`"iam:DeletePolicy"`, "*", on("aws:ResourceTag/team", "x")), "DeletePolicy", p("PolicyArn", keysARN), true},
		{allow(`"iam:DeletePolicy"`, "*", on("aws:ResourceTag/team", "y")), "DeletePolicy", p("PolicyArn", keysARN), false},
		{allow(`"iam:GetPolicy"`, "*", on("aws:ResourceTag/team", "x")), "GetPolicy", p("PolicyArn", adminARN), false},
		{allow(`"iam:CreatePolicy"`, eng, ""), "CreatePolicy", creating, true},
		{allow(`"iam:CreatePolicy"`, "arn:aws:iam::111122223333:policy/New", ""), "CreatePolicy", creating, false},
		{allow(`"iam:CreatePolicy"`, eng, ""), "CreatePolicy", withTag, false},
		{allow(`["iam:CreatePolicy","iam:TagPolicy"]`, eng, ""), "CreatePolicy", withTag, true},
		{allow(`"iam:*"`, "*", on("aws:RequestTag/a", "b")), "CreatePolicy", withTag, true},
		{allow(`"iam:*"`, "*", on("aws:RequestTag/a", "c")), "CreatePolicy", withTag, false},
		{allow(`"iam:TagPolicy"`, "*", on("aws:RequestTag/a", "b")), "TagPolicy", tagging, true},
		{allow(`"iam:TagPolicy"`, "*", on("aws:RequestTag/a", "c")), "TagPolicy", tagging, false},
		{allow(`"iam:UntagPolicy"`, "*", `,"Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":"team"}}`), "UntagPolicy", p("PolicyArn", keysARN, "TagKeys.member.1", "team"), true},
		{allow(`"iam:UntagPolicy"`, "*", `,"Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":"team"}}`), "UntagPolicy", p("PolicyArn", keysARN, "TagKeys.member.1", "a"), false},
	} {
		s := testkit.Start(t)
		walk(t, s, []step{{"CreatePolicy", p("PolicyName", "Keys", "Path", "/eng/", "PolicyDocument", readText, "Tags.member.1.Key", "team", "Tags.member.1.Value", "x"),
			"<CreatePolicyResult><Policy>" + createKeys + used(0, 0) + keysDates + "<Tags><member><Key>team</Key><Value>x</Value></member></Tags></Policy></CreatePolicyResult>"}})
		alice, _ := s.NewUser(t, testkit.Account, "alice", c.policy)
		if got := ask(t, s, alice, c.op, c.params...); strings.HasPrefix(got, "AccessDenied") == c.allowed {
			t.Errorf("%s %v under %s: %s", c.op, c.params, c.policy, got)
		}
	}
}

package iamapi_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

const (
	keysARN    = "arn:aws:iam::111122223333:policy/eng/Keys"
	keysGone   = "NoSuchEntity: Policy " + keysARN + " was not found."
	theirsARN  = "arn:aws:iam::444455556666:policy/Theirs"
	createKeys = "<PolicyName>Keys</PolicyName><PolicyId>ANPA</PolicyId><Arn>" + keysARN + "</Arn><Path>/eng/</Path><DefaultVersionId>v1</DefaultVersionId>"
	keysDates  = "<CreateDate>2026-11-24T12:00:00Z</CreateDate><UpdateDate>2026-11-24T12:00:00Z</UpdateDate>"
	described  = "<Description>all about keys</Description>"
	kmsTags    = "<Tags><member><Key>team</Key><Value>a b</Value></member></Tags>"
)

// used is how answers show the uses of a policy.
func used(attached, bounding int) string {
	return fmt.Sprintf("<AttachmentCount>%d</AttachmentCount><PermissionsBoundaryUsageCount>%d</PermissionsBoundaryUsageCount><IsAttachable>true</IsAttachable>", attached, bounding)
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "bob")
	s.NewIdentity(t, fsm.KindRole, testkit.Account, "app")
	get := func(rest string) string {
		return "<GetPolicyResult><Policy>" + createKeys + rest + "</Policy></GetPolicyResult>"
	}
	walk(t, s, []step{
		{"GetPolicy", p("PolicyArn", keysARN), keysGone},
		{"DeletePolicy", p("PolicyArn", keysARN), keysGone},
		{"TagPolicy", p("PolicyArn", keysARN, "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), keysGone},
		{"UntagPolicy", p("PolicyArn", keysARN, "TagKeys.member.1", "a"), keysGone},
		{"ListPolicyTags", p("PolicyArn", keysARN), keysGone},
		{"CreatePolicy", p("PolicyName", "Keys", "Path", "/eng/", "PolicyDocument", readText, "Description", "all about keys", "Tags.member.1.Key", "team", "Tags.member.1.Value", "a b"),
			"<CreatePolicyResult><Policy>" + createKeys + used(0, 0) + keysDates + kmsTags + "</Policy></CreatePolicyResult>"},
		{"CreatePolicy", p("PolicyName", "kEYS", "PolicyDocument", readText), "EntityAlreadyExists: A policy called kEYS already exists. Duplicate names are not allowed."},
		{"GetPolicy", p("PolicyArn", keysARN), get(used(0, 0) + described + keysDates + kmsTags)},
		{"AttachUserPolicy", p("UserName", "bob", "PolicyArn", keysARN), ""},
		{"AttachRolePolicy", p("RoleName", "app", "PolicyArn", keysARN), ""},
		{"PutUserPermissionsBoundary", p("UserName", "bob", "PermissionsBoundary", keysARN), ""},
		{"UntagPolicy", p("PolicyArn", keysARN, "TagKeys.member.1", "TEAM", "TagKeys.member.2", "absent"), ""},
		{"GetPolicy", p("PolicyArn", keysARN), get(used(2, 1) + described + keysDates)},
		{"DeletePolicy", p("PolicyArn", keysARN), "DeleteConflict: Cannot delete a policy attached to entities."},
		{"DetachUserPolicy", p("UserName", "bob", "PolicyArn", keysARN), ""},
		{"DeleteRole", p("RoleName", "app"), "DeleteConflict: Cannot delete entity, must detach all policies first."},
		{"DetachRolePolicy", p("RoleName", "app", "PolicyArn", keysARN), ""},
		{"DeletePolicy", p("PolicyArn", keysARN), "DeleteConflict: Cannot delete a policy attached to entities."},
		{"DeleteUser", p("UserName", "bob"), ""},
		{"GetPolicy", p("PolicyArn", keysARN), get(used(0, 0) + described + keysDates)},
		{"DeletePolicy", p("PolicyArn", keysARN), ""},
		{"DeletePolicy", p("PolicyArn", keysARN), keysGone},
		{"GetPolicy", p("PolicyArn", keysARN), keysGone},
		{"AttachRolePolicy", p("RoleName", "app", "PolicyArn", keysARN), "NoSuchEntity: Policy " + keysARN + " does not exist or is not attachable."},
	})
}

func TestPolicyParameters(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	const malformed = "MalformedPolicyDocumentException: "
	name129 := strings.Repeat("n", 129)
	of := func(document string) []string { return p("PolicyName", "x", "PolicyDocument", document) }
	walk(t, s, []step{
		{"CreatePolicy", of("{"), malformed + "Syntax errors in policy."},
		{"CreatePolicy", of("{}"), malformed + "Syntax errors in policy."},
		{"CreatePolicy", of(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`), malformed + "Policy document should not specify a principal."},
		{"CreatePolicy", of(ofSize(6145)), "LimitExceeded: Cannot exceed quota for PolicySize: 6144"},
		{"CreatePolicy", p("PolicyName", name129, "PolicyDocument", readText), "ValidationException: 1 validation error detected: Value '" + name129 + "' at 'policyName' failed to satisfy constraint: Member must have length less than or equal to 128"},
		{"CreatePolicy", p("PolicyName", "x", "PolicyDocument", readText, "Tags.member.1.Key", "a", "Tags.member.1.Value", "1", "Tags.member.2.Key", "A", "Tags.member.2.Value", "1"),
			"InvalidInput: Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		{"ListPolicies", p("Scope", "Local"), "<ListPoliciesResult><Policies></Policies>" + truncated + "</ListPoliciesResult>"},
		{"GetPolicy", p("PolicyArn", "this is no ARN at all"), "InvalidInput: ARN this is no ARN at all is not valid."},
		{"GetPolicy", p("PolicyArn", "arn:aws:iam::111122223333:user/bob"), "InvalidInput: ARN arn:aws:iam::111122223333:user/bob is not valid."},
		{"GetPolicy", p("PolicyArn", "arn:aws:kms::111122223333:policy/x"), "InvalidInput: ARN arn:aws:kms::111122223333:policy/x is not valid."},
		{"DeletePolicy", p("PolicyArn", "arn:aws-cn:iam::111122223333:policy/x"), "InvalidInput: ARN arn:aws-cn:iam::111122223333:policy/x is not valid."},
		{"GetPolicy", p("PolicyArn", "arn:aws:iam::aws:policy/NoSuchPolicy"), "NoSuchEntity: Policy arn:aws:iam::aws:policy/NoSuchPolicy was not found."},
	})
	if got := ask(t, s, testkit.Root, "CreatePolicy", of(ofSize(6144))...); !strings.HasPrefix(got, "<CreatePolicyResult>") {
		t.Errorf("the longest policy: got %s", got)
	}
}

// The policies that AWS manages are shown to every account with its own uses of them.
func TestAWSPolicies(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	bob := s.NewIdentity(t, fsm.KindUser, testkit.Account, "bob")
	s.Change(t, bob.ID, func(i *fsm.Identity) { i.Attached, i.Boundary = []string{adminARN}, adminARN })
	for _, c := range []struct {
		who  testkit.Caller
		uses string
	}{{testkit.Root, used(1, 1)}, {testkit.Other, used(0, 0)}} {
		want := "<GetPolicyResult><Policy><PolicyName>AdministratorAccess</PolicyName><PolicyId>ANPAIWMBCKSKIEE64ZLYK</PolicyId><Arn>" + adminARN + "</Arn><Path>/</Path>" +
			"<DefaultVersionId>v1</DefaultVersionId>" + c.uses + "<Description>Provides full access to AWS services and resources.</Description>" +
			"<CreateDate>2015-02-06T18:39:46Z</CreateDate><UpdateDate>2015-02-06T18:39:46Z</UpdateDate></Policy></GetPolicyResult>"
		if got := ask(t, s, c.who, "GetPolicy", "PolicyArn", adminARN); got != want {
			t.Errorf("got %s", got)
		}
	}
	for name, want := range map[string][2]string{
		"AWSKeyManagementServicePowerUser": {"ANPAJNPP7PPPPMJRV2SA4", "2015-02-06T18:40:40Z"},
		"IAMFullAccess":                    {"ANPAI7XKCFMBPM3QQRRVQ", "2015-02-06T18:40:38Z"},
		"ReadOnlyAccess":                   {"ANPAILL3HVNFSB6DCOWYQ", "2015-02-06T18:39:48Z"},
	} {
		got := ask(t, s, testkit.Root, "GetPolicy", "PolicyArn", "arn:aws:iam::aws:policy/"+name)
		if between(t, got, "PolicyName") != name || between(t, got, "PolicyId") != want[0] || between(t, got, "CreateDate") != want[1] {
			t.Errorf("%s: got %s", name, got)
		}
	}
	const version = "<VersionId>v1</VersionId><IsDefaultVersion>true</IsDefaultVersion><CreateDate>2015-02-06T18:39:46Z</CreateDate>"
	walk(t, s, []step{
		{"GetPolicyVersion", p("PolicyArn", adminARN, "VersionId", "v1"), "<GetPolicyVersionResult><PolicyVersion><Document>" +
			"%7B%0A%20%20%22Version%22%3A%20%222012-10-17%22%2C%0A%20%20%22Statement%22%3A%20%5B%7B%22Effect%22%3A%20%22Allow%22%2C%20%22Action%22%3A%20%22%2A%22%2C%20%22Resource%22%3A%20%22%2A%22%7D%5D%0A%7D" +
			"</Document>" + version + "</PolicyVersion></GetPolicyVersionResult>"},
		{"GetPolicyVersion", p("PolicyArn", adminARN, "VersionId", "v2"), "NoSuchEntity: Policy " + adminARN + " version v2 does not exist or is not attachable."},
		{"ListPolicyVersions", p("PolicyArn", adminARN), "<ListPolicyVersionsResult><Versions><member>" + version + "</member></Versions>" + truncated + "</ListPolicyVersionsResult>"},
		{"ListPolicyTags", p("PolicyArn", adminARN), "<ListPolicyTagsResult><Tags></Tags>" + truncated + "</ListPolicyTagsResult>"},
	})
}

// policyWrites are the calls that change the policy of an ARN.
func policyWrites(arn string) []step {
	return []step{
		{"TagPolicy", p("PolicyArn", arn, "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), ""},
		{"UntagPolicy", p("PolicyArn", arn, "TagKeys.member.1", "a"), ""},
		{"CreatePolicyVersion", p("PolicyArn", arn, "PolicyDocument", readText), ""},
		{"SetDefaultPolicyVersion", p("PolicyArn", arn, "VersionId", "v1"), ""},
		{"DeletePolicyVersion", p("PolicyArn", arn, "VersionId", "v1"), ""},
		{"DeletePolicy", p("PolicyArn", arn), ""},
	}
}

func policyReads(arn string) []step {
	return []step{
		{"GetPolicy", p("PolicyArn", arn), ""},
		{"GetPolicyVersion", p("PolicyArn", arn, "VersionId", "v1"), ""},
		{"ListPolicyVersions", p("PolicyArn", arn), ""},
		{"ListPolicyTags", p("PolicyArn", arn), ""},
		{"ListEntitiesForPolicy", p("PolicyArn", arn), ""},
	}
}

// Nobody changes a policy of AWS, and nobody learns of another account's policies
// whether they are there: the root user is refused alike.
func TestPoliciesOfOthers(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewManagedPolicy(t, testkit.OtherAccount, "Theirs", readText)
	before := s.Machine.Index()
	refuse := func(arn string, calls []step) {
		t.Helper()
		for _, c := range calls {
			c.want = "AccessDeniedException: User: arn:aws:iam::111122223333:root is not authorized to perform: iam:" + c.op + " on resource: policy " + arn +
				" because no resource-based policy allows the iam:" + c.op + " action"
			walk(t, s, []step{c})
		}
	}
	refuse(adminARN, policyWrites(adminARN))
	for _, arn := range []string{theirsARN, "arn:aws:iam::444455556666:policy/None"} {
		refuse(arn, policyWrites(arn))
		refuse(arn, policyReads(arn))
	}
	if got := s.Machine.Index(); got != before {
		t.Errorf("%d commands were applied", got-before)
	}
}

func TestPolicyTags(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	arn := s.NewManagedPolicy(t, testkit.Account, "Read", readText)
	tag := func(key, value string) []string {
		return p("PolicyArn", arn, "Tags.member.1.Key", key, "Tags.member.1.Value", value)
	}
	walk(t, s, []step{
		{"TagPolicy", tag("AWS:x", "1"), "InvalidInput: System tags cannot be added/updated by requester."},
		{"TagPolicy", tag("Team", "one"), ""}, {"TagPolicy", tag("team", "two"), ""},
		{"ListPolicyTags", p("PolicyArn", arn), "<ListPolicyTagsResult><Tags><member><Key>team</Key><Value>two</Value></member></Tags>" + truncated + "</ListPolicyTagsResult>"},
	})
	for n := range 49 {
		walk(t, s, []step{{"TagPolicy", tag(fmt.Sprint("k", n), "v"), ""}})
	}
	walk(t, s, []step{{"TagPolicy", tag("more", "v"), "LimitExceeded: Cannot exceed quota for TagsPerPolicy: 50"}})
	if got := everyPage(t, s, "ListPolicyTags", p("PolicyArn", arn, "MaxItems", "20")); len(got) != 3 || strings.Count(strings.Join(got, ""), "<Key>") != 50 {
		t.Errorf("%d pages", len(got))
	}
}

// A retry is answered with what the first call made, also when that was changed since.
func TestPolicyRetries(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	bob := s.NewIdentity(t, fsm.KindUser, testkit.Account, "bob")
	who := testkit.Root.As("one")
	calls := []step{
		{"CreatePolicy", p("PolicyName", "Keys", "Path", "/eng/", "PolicyDocument", readText), ""},
		{"CreatePolicyVersion", p("PolicyArn", keysARN, "PolicyDocument", denyText, "SetAsDefault", "true"), ""},
		{"CreatePolicyVersion", p("PolicyArn", keysARN, "PolicyDocument", readText), ""},
	}
	var first []testkit.Answer
	for _, c := range calls {
		first = append(first, s.Raw(t, who, "iam", c.op, form(c.params...)))
	}
	s.Advance(time.Minute)
	s.Change(t, bob.ID, func(i *fsm.Identity) { i.Attached = []string{keysARN} })
	walk(t, s, []step{{"SetDefaultPolicyVersion", p("PolicyArn", keysARN, "VersionId", "v3"), ""}})
	for i, c := range calls {
		again := s.Raw(t, who, "iam", c.op, form(c.params...))
		if again.Refusal != nil || string(again.Raw) != string(first[i].Raw) {
			t.Errorf("%s is answered %s (%v), first %s (%v)", c.op, again.Raw, again.Refusal, first[i].Raw, first[i].Refusal)
		}
		if !reflect.DeepEqual(s.Record(t, again)["responseElements"], s.Record(t, first[i])["responseElements"]) {
			t.Errorf("%s is recorded differently", c.op)
		}
	}
	s.Change(t, bob.ID, func(i *fsm.Identity) { i.Attached = nil })
	for _, c := range []step{
		{"DeletePolicyVersion", p("PolicyArn", keysARN, "VersionId", "v1"), ""},
		{"DeletePolicyVersion", p("PolicyArn", keysARN, "VersionId", "v2"), ""},
		{"DeletePolicy", p("PolicyArn", keysARN), ""},
	} {
		for range 2 {
			if got := ask(t, s, who, c.op, c.params...); got != "" {
				t.Errorf("%s %q: got %s", c.op, c.params, got)
			}
		}
	}
	walk(t, s, []step{{"CreatePolicy", calls[0].params, "<CreatePolicyResult><Policy>" + createKeys + used(0, 0) + strings.ReplaceAll(keysDates, "12:00:00Z", "12:01:00Z") + "</Policy></CreatePolicyResult>"}})
	for _, c := range calls[:2] {
		if got := ask(t, s, who, c.op, c.params...); got != "NoSuchEntity: The entity that the request created cannot be found." {
			t.Errorf("%s after its policy was replaced by a namesake: got %s", c.op, got)
		}
	}
}

func TestPolicyRecords(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	a := s.Raw(t, testkit.Root, "iam", "CreatePolicy", form("PolicyName", "Keys", "Path", "/eng/", "PolicyDocument", readText, "Description", "all about keys", "Tags.member.1.Key", "team", "Tags.member.1.Value", "x"))
	rec := s.Record(t, a)
	id := between(t, string(a.Raw), "PolicyId")
	const noon = "Nov 24, 2026, 12:00:00 PM"
	for name, want := range map[string]any{
		"eventSource": "iam.amazonaws.com", "eventName": "CreatePolicy", "awsRegion": "us-east-1", "readOnly": false,
		"requestParameters": testkit.JSON{"policyName": "Keys", "path": "/eng/", "policyDocument": readText, "description": "all about keys", "tags": []any{testkit.JSON{"key": "team", "value": "x"}}},
		"responseElements": testkit.JSON{"policy": testkit.JSON{"policyName": "Keys", "policyId": id, "arn": keysARN, "path": "/eng/", "defaultVersionId": "v1",
			"attachmentCount": 0.0, "permissionsBoundaryUsageCount": 0.0, "isAttachable": true, "createDate": noon, "updateDate": noon}},
	} {
		if !reflect.DeepEqual(rec[name], want) {
			t.Errorf("%s is %v, want %v", name, rec[name], want)
		}
	}
	made := testkit.JSON{"policyVersion": testkit.JSON{"versionId": "v2", "isDefaultVersion": false, "createDate": noon}}
	for _, c := range []struct {
		op      string
		params  []string
		reads   bool
		want    testkit.JSON
		answers any
	}{
		{"CreatePolicyVersion", p("PolicyArn", keysARN, "PolicyDocument", denyText, "SetAsDefault", "false"), false, testkit.JSON{"policyArn": keysARN, "policyDocument": denyText, "setAsDefault": false}, made},
		{"SetDefaultPolicyVersion", p("PolicyArn", keysARN, "VersionId", "v2"), false, testkit.JSON{"policyArn": keysARN, "versionId": "v2"}, nil},
		{"DeletePolicyVersion", p("PolicyArn", keysARN, "VersionId", "v1"), false, testkit.JSON{"policyArn": keysARN, "versionId": "v1"}, nil},
		{"GetPolicyVersion", p("PolicyArn", keysARN, "VersionId", "v2"), true, testkit.JSON{"policyArn": keysARN, "versionId": "v2"}, nil},
		{"ListPolicyVersions", p("PolicyArn", keysARN, "MaxItems", "3"), true, testkit.JSON{"policyArn": keysARN, "maxItems": 3.0}, nil},
		{"GetPolicy", p("PolicyArn", keysARN), true, testkit.JSON{"policyArn": keysARN}, nil},
		{"TagPolicy", p("PolicyArn", keysARN, "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), false, testkit.JSON{"policyArn": keysARN, "tags": []any{testkit.JSON{"key": "a", "value": "b"}}}, nil},
		{"UntagPolicy", p("PolicyArn", keysARN, "TagKeys.member.1", "a"), false, testkit.JSON{"policyArn": keysARN, "tagKeys": []any{"a"}}, nil},
		{"ListPolicyTags", p("PolicyArn", keysARN), true, testkit.JSON{"policyArn": keysARN}, nil},
		{"ListPolicies", p("Scope", "Local", "OnlyAttached", "true", "PathPrefix", "/eng/", "PolicyUsageFilter", "PermissionsPolicy", "MaxItems", "7"), true,
			testkit.JSON{"scope": "Local", "onlyAttached": true, "pathPrefix": "/eng/", "policyUsageFilter": "PermissionsPolicy", "maxItems": 7.0}, nil},
		{"ListPolicies", nil, true, nil, nil},
		{"ListEntitiesForPolicy", p("PolicyArn", keysARN, "EntityFilter", "Role", "PathPrefix", "/eng/", "PolicyUsageFilter", "PermissionsBoundary"), true,
			testkit.JSON{"policyArn": keysARN, "entityFilter": "Role", "pathPrefix": "/eng/", "policyUsageFilter": "PermissionsBoundary"}, nil},
		{"GetAccountAuthorizationDetails", p("Filter.member.1", "User", "MaxItems", "7"), true, testkit.JSON{"filter": []any{"User"}, "maxItems": 7.0}, nil},
		{"DeletePolicy", p("PolicyArn", keysARN), false, testkit.JSON{"policyArn": keysARN}, nil},
	} {
		rec := s.Record(t, s.Raw(t, testkit.Root, "iam", c.op, form(c.params...)))
		got, _ := rec["requestParameters"].(testkit.JSON)
		if !reflect.DeepEqual(got, c.want) || !reflect.DeepEqual(rec["responseElements"], c.answers) || rec["readOnly"] != c.reads || rec["errorCode"] != nil {
			t.Errorf("the record of %s is %v", c.op, rec)
		}
	}
}

// Every call on a policy says when there is none, and when its ARN is none of a policy.
func TestPoliciesThatAreNot(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	before := s.Machine.Index()
	for arn, want := range map[string]string{
		keysARN:                 keysGone,
		"this is no ARN at all": "InvalidInput: ARN this is no ARN at all is not valid.",
		"arn:aws:iam::111122223333:role/policy/x":     "InvalidInput: ARN arn:aws:iam::111122223333:role/policy/x is not valid.",
		"arn:aws:iam:us-east-1:111122223333:policy/x": "InvalidInput: ARN arn:aws:iam:us-east-1:111122223333:policy/x is not valid.",
	} {
		for _, c := range append(policyReads(arn), policyWrites(arn)...) {
			c.want = want
			walk(t, s, []step{c})
		}
	}
	if got := s.Machine.Index(); got != before {
		t.Errorf("%d commands were applied", got-before)
	}
}

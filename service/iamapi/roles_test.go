package iamapi_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

const (
	trustRoot  = `{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}}`
	rootShown  = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22AWS%22%3A%22arn%3Aaws%3Aiam%3A%3A111122223333%3Aroot%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%7D"
	trustBob   = `{"Statement": {"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"sts:AssumeRole"}}`
	bobShown   = "%7B%22Statement%22%3A%20%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22AWS%22%3A%22arn%3Aaws%3Aiam%3A%3A111122223333%3Auser%2Fbob%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%7D"
	app        = "<Path>/svc/</Path><RoleName>App</RoleName><RoleId>AROA</RoleId><Arn>arn:aws:iam::111122223333:role/svc/App</Arn><CreateDate>2026-11-24T12:00:00Z</CreateDate>"
	appGone    = "NoSuchEntity: The role with name app cannot be found."
	notTrusted = `MalformedPolicyDocumentException: Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/nobody"`
)

func shownTrust(document string) string {
	return "<AssumeRolePolicyDocument>" + document + "</AssumeRolePolicyDocument>"
}

func TestRoles(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	walk(t, s, []step{{"CreateUser", p("UserName", "bob"), masked(strings.ReplaceAll(createdBob, "*", "AIDA"))}})
	trustNobody := strings.ReplaceAll(trustBob, "user/bob", "user/nobody")
	long := strings.ReplaceAll(trustRoot, "sts:AssumeRole", "sts:"+strings.Repeat("A", 2048))
	walk(t, s, []step{
		{"GetRole", p("RoleName", "app"), appGone}, {"UpdateRole", p("RoleName", "app"), appGone}, {"DeleteRole", p("RoleName", "app"), appGone},
		{"UpdateRoleDescription", p("RoleName", "app", "Description", "x"), appGone}, {"UpdateAssumeRolePolicy", p("RoleName", "app", "PolicyDocument", trustRoot), appGone},
		{"TagRole", p("RoleName", "app", "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), appGone}, {"UntagRole", p("RoleName", "app", "TagKeys.member.1", "a"), appGone},
		{"ListRoleTags", p("RoleName", "app"), appGone}, {"PutRolePermissionsBoundary", p("RoleName", "app", "PermissionsBoundary", readOnly), appGone},
		{"DeleteRolePermissionsBoundary", p("RoleName", "app"), appGone}, {"ListInstanceProfilesForRole", p("RoleName", "app"), appGone},
		{"CreateRole", p("RoleName", "app", "AssumeRolePolicyDocument", "trust.json"), "MalformedPolicyDocumentException: This policy contains invalid Json"},
		{"CreateRole", p("RoleName", "app", "AssumeRolePolicyDocument", "{}"), "MalformedPolicyDocumentException: Syntax errors in policy."},
		{"CreateRole", p("RoleName", "app", "AssumeRolePolicyDocument", strings.Replace(trustRoot, `"Action"`, `"Resource":"*","Action"`, 1)), "MalformedPolicyDocumentException: Has prohibited field Resource"},
		{"CreateRole", p("RoleName", "app", "AssumeRolePolicyDocument", trustNobody), notTrusted},
		{"CreateRole", p("RoleName", "app", "AssumeRolePolicyDocument", long), "LimitExceeded: Cannot exceed quota for ACLSizePerRole: 2048"},
		{"CreateRole", p("RoleName", "App", "Path", "/svc/", "AssumeRolePolicyDocument", trustRoot, "Description", "d", "MaxSessionDuration", "7200", "PermissionsBoundary", readOnly, "Tags.member.1.Key", "team", "Tags.member.1.Value", "a b"),
			"<CreateRoleResult><Role>" + app + shownTrust(rootShown) + "<Description>d</Description><MaxSessionDuration>7200</MaxSessionDuration>" + bounded + bobsTags + "</Role></CreateRoleResult>"},
		{"CreateRole", p("RoleName", "aPP", "AssumeRolePolicyDocument", trustRoot), "EntityAlreadyExists: Role with name aPP already exists."},
		{"UpdateAssumeRolePolicy", p("RoleName", "app", "PolicyDocument", trustNobody), notTrusted},
		{"UpdateAssumeRolePolicy", p("RoleName", "app", "PolicyDocument", trustBob), ""},
		{"GetRole", p("RoleName", "APP"), "<GetRoleResult><Role>" + app + shownTrust(bobShown) + "<Description>d</Description><MaxSessionDuration>7200</MaxSessionDuration>" + bounded + bobsTags + "<RoleLastUsed></RoleLastUsed></Role></GetRoleResult>"},
		{"ListRoles", nil, "<ListRolesResult><Roles><member>" + app + shownTrust(bobShown) + "<Description>d</Description><MaxSessionDuration>7200</MaxSessionDuration></member></Roles>" + truncated + "</ListRolesResult>"},
		{"ListRoles", p("PathPrefix", "/ops/"), "<ListRolesResult><Roles></Roles>" + truncated + "</ListRolesResult>"},
		{"ListRoleTags", p("RoleName", "app"), "<ListRoleTagsResult>" + bobsTags + truncated + "</ListRoleTagsResult>"},
		{"DeleteRolePermissionsBoundary", p("RoleName", "app"), ""}, {"UntagRole", p("RoleName", "app", "TagKeys.member.1", "Team"), ""},
		{"UpdateRole", p("RoleName", "app", "MaxSessionDuration", "3600"), "<UpdateRoleResult></UpdateRoleResult>"},
		{"UpdateRoleDescription", p("RoleName", "app", "Description", "new"), "<UpdateRoleDescriptionResult><Role>" + app + shownTrust(bobShown) + "<Description>new</Description><MaxSessionDuration>3600</MaxSessionDuration><RoleLastUsed></RoleLastUsed></Role></UpdateRoleDescriptionResult>"},
		{"TagRole", p("RoleName", "app", "Tags.member.1.Key", "k", "Tags.member.1.Value", "v"), ""}, {"PutRolePermissionsBoundary", p("RoleName", "app", "PermissionsBoundary", readOnly), ""},
		{"ListInstanceProfilesForRole", p("RoleName", "app"), "<ListInstanceProfilesForRoleResult><InstanceProfiles></InstanceProfiles>" + truncated + "</ListInstanceProfilesForRoleResult>"},
		{"UpdateRole", p("RoleName", "app", "MaxSessionDuration", "3599"), "ValidationException: 1 validation error detected: Value '3599' at 'maxSessionDuration' failed to satisfy constraint: Member must have value greater than or equal to 3600"},
	})
	role := identity(t, s, fsm.KindRole, "app")
	s.Change(t, role.ID, func(i *fsm.Identity) { i.Attached = []string{readOnly} })
	walk(t, s, []step{{"DeleteRole", p("RoleName", "app"), "DeleteConflict: Cannot delete entity, must detach all policies first."}})
	s.Change(t, role.ID, func(i *fsm.Identity) { i.Attached = nil })
	walk(t, s, []step{{"DeleteRole", p("RoleName", "app"), ""}, {"GetRole", p("RoleName", "app"), appGone}})
}

// RoleLastUsed is of the last request in any session of the role, also a refused one, for
// 400 days; assuming the role is none (AWS IAM: RoleLastUsed).
func TestRoleLastUsed(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	bob, _ := s.NewUser(t, testkit.Account, "bob")
	ask(t, s, testkit.Root, "CreateRole", "RoleName", "App", "AssumeRolePolicyDocument", trustBob)
	ask(t, s, testkit.Root, "CreateRole", "RoleName", "Idle", "AssumeRolePolicyDocument", trustBob)
	session := func(name string) testkit.Caller {
		a, refusal := call(t, s, bob, "AssumeRole", "RoleArn", "arn:aws:iam::111122223333:role/App", "RoleSessionName", name)
		if refusal != "" {
			t.Fatal(refusal)
		}
		return a.caller()
	}
	shows := func(role, want string) {
		t.Helper()
		if got := between(t, ask(t, s, testkit.Root, "GetRole", "RoleName", role), "RoleLastUsed"); got != want {
			t.Errorf("%s: got %s, want %s", role, got, want)
		}
	}
	first, second := session("first"), session("second")
	shows("App", "")
	if _, refusal := call(t, s, first.In("eu-west-1"), "GetCallerIdentity"); refusal != "" {
		t.Error(refusal)
	}
	shows("App", "<LastUsedDate>2026-11-24T12:00:00Z</LastUsedDate><Region>eu-west-1</Region>")
	s.Advance(time.Minute)
	if _, refusal := s.Do(t, second, "ListKeys", "{}"); refusal == nil || refusal.Code != "AccessDeniedException" {
		t.Errorf("got %v", refusal)
	}
	const last = "<LastUsedDate>2026-11-24T12:01:00Z</LastUsedDate><Region>us-east-1</Region>"
	shows("App", last)
	shows("Idle", "")
	if got := between(t, ask(t, s, testkit.Root, "UpdateRoleDescription", "RoleName", "App", "Description", "x"), "RoleLastUsed"); got != last {
		t.Errorf("UpdateRoleDescription: got %s", got)
	}
	s.Advance(400 * 24 * time.Hour)
	shows("App", last)
	s.Advance(time.Second)
	shows("App", "")
}

const createdBob = "<CreateUserResult><User><Path>/</Path><UserName>bob</UserName><UserId>*</UserId><Arn>arn:aws:iam::111122223333:user/bob</Arn><CreateDate>2026-11-24T12:00:00Z</CreateDate></User></CreateUserResult>"

// A role that trusts a user is assumed by it, and not by a namesake made later.
func TestRoleTrustsByID(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	bob, id := s.NewUser(t, testkit.Account, "bob")
	if got := masked(ask(t, s, testkit.Root, "CreateRole", "RoleName", "App", "AssumeRolePolicyDocument", trustBob)); !strings.Contains(got, bobShown) {
		t.Errorf("got %s", got)
	}
	assume := p("RoleArn", "arn:aws:iam::111122223333:role/App", "RoleSessionName", "ci")
	if _, refusal := call(t, s, bob, "AssumeRole", assume...); refusal != "" {
		t.Error(refusal)
	}
	walk(t, s, []step{{"DeleteAccessKey", p("UserName", "bob", "AccessKeyId", bob.AccessKey), ""}, {"DeleteUser", p("UserName", "bob"), ""}})
	namesake, _ := s.NewUser(t, testkit.Account, "bob")
	if _, refusal := call(t, s, namesake, "AssumeRole", assume...); !strings.HasPrefix(refusal, "AccessDenied") {
		t.Errorf("the namesake is answered %q", refusal)
	}
	if got := ask(t, s, testkit.Root, "GetRole", "RoleName", "App"); !strings.Contains(got, id) {
		t.Errorf("got %s", got)
	}
}

func TestRoleRecordsAndRepeats(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who := testkit.Root.As("one")
	body := form("RoleName", "App", "AssumeRolePolicyDocument", trustRoot)
	first, again := s.Raw(t, who, "iam", "CreateRole", body), s.Raw(t, who, "iam", "CreateRole", body)
	if textOf(t, first) != textOf(t, again) {
		t.Errorf("got %s and %s", first.Raw, again.Raw)
	}
	for _, a := range []testkit.Answer{first, again} {
		rec := s.Record(t, a)
		want := testkit.JSON{"role": testkit.JSON{"path": "/", "roleName": "App", "roleId": identity(t, s, fsm.KindRole, "app").ID, "arn": "arn:aws:iam::111122223333:role/App",
			"createDate": "Nov 24, 2026, 12:00:00 PM", "assumeRolePolicyDocument": rootShown}}
		if !reflect.DeepEqual(rec["responseElements"], want) || !reflect.DeepEqual(rec["requestParameters"], testkit.JSON{"roleName": "App", "assumeRolePolicyDocument": trustRoot}) {
			t.Errorf("the record is %v", rec)
		}
	}
}

func TestRoleAuthorization(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, _ := s.NewUser(t, testkit.Account, "alice")
	for _, c := range []step{
		{"CreateRole", p("RoleName", "r", "AssumeRolePolicyDocument", trustRoot), "arn:aws:iam::111122223333:role/r"}, {"GetRole", p("RoleName", "r"), "role r"}, {"UpdateRole", p("RoleName", "r"), "role r"},
		{"UpdateRoleDescription", p("RoleName", "r", "Description", ""), "role r"}, {"UpdateAssumeRolePolicy", p("RoleName", "r", "PolicyDocument", trustRoot), "role r"}, {"DeleteRole", p("RoleName", "r"), "role r"},
		{"ListRoles", nil, "arn:aws:iam::111122223333:role/"}, {"TagRole", p("RoleName", "r", "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), "role r"}, {"UntagRole", p("RoleName", "r", "TagKeys.member.1", "a"), "role r"},
		{"ListRoleTags", p("RoleName", "r"), "role r"}, {"PutRolePermissionsBoundary", p("RoleName", "r", "PermissionsBoundary", readOnly), "role r"}, {"DeleteRolePermissionsBoundary", p("RoleName", "r"), "role r"},
		{"ListInstanceProfilesForRole", p("RoleName", "r"), "role r"},
	} {
		want := "AccessDeniedException: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: iam:" + c.op + " on resource: " + c.want +
			" because no identity-based policy allows the iam:" + c.op + " action"
		if got := ask(t, s, alice, c.op, c.params...); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.op, got, want)
		}
	}
}

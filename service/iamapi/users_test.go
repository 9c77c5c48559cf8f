package iamapi_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

const (
	bobGone   = "NoSuchEntity: The user with name bob cannot be found."
	bob       = "<Path>/eng/</Path><UserName>Bob</UserName><UserId>AIDA</UserId><Arn>arn:aws:iam::111122223333:user/eng/Bob</Arn><CreateDate>2026-11-24T12:00:00Z</CreateDate>"
	bobsTags  = "<Tags><member><Key>team</Key><Value>a b</Value></member></Tags>"
	readOnly  = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	bounded   = "<PermissionsBoundary><PermissionsBoundaryType>Policy</PermissionsBoundaryType><PermissionsBoundaryArn>" + readOnly + "</PermissionsBoundaryArn></PermissionsBoundary>"
	truncated = "<IsTruncated>false</IsTruncated>"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	walk(t, s, []step{
		{"GetUser", p("UserName", "bob"), bobGone},
		{"UpdateUser", p("UserName", "bob", "NewUserName", "x"), bobGone},
		{"DeleteUser", p("UserName", "bob"), bobGone},
		{"TagUser", p("UserName", "bob", "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), bobGone},
		{"UntagUser", p("UserName", "bob", "TagKeys.member.1", "a"), bobGone},
		{"ListUserTags", p("UserName", "bob"), bobGone},
		{"PutUserPermissionsBoundary", p("UserName", "bob", "PermissionsBoundary", readOnly), bobGone},
		{"DeleteUserPermissionsBoundary", p("UserName", "bob"), bobGone},
		{"ListUsers", nil, "<ListUsersResult><Users></Users>" + truncated + "</ListUsersResult>"},
		{"CreateUser", p("UserName", "Bob", "Path", "/eng/", "Tags.member.1.Key", "team", "Tags.member.1.Value", "a b"),
			"<CreateUserResult><User>" + bob + bobsTags + "</User></CreateUserResult>"},
		{"CreateUser", p("UserName", "bOB"), "EntityAlreadyExists: User with name bOB already exists."},
		{"GetUser", p("UserName", "BOB"), "<GetUserResult><User>" + bob + bobsTags + "</User></GetUserResult>"},
		{"PutUserPermissionsBoundary", p("UserName", "bob", "PermissionsBoundary", readOnly), ""},
		{"GetUser", p("UserName", "bob"), "<GetUserResult><User>" + bob + bounded + bobsTags + "</User></GetUserResult>"},
		{"ListUsers", nil, "<ListUsersResult><Users><member>" + bob + "</member></Users>" + truncated + "</ListUsersResult>"},
		{"DeleteUserPermissionsBoundary", p("UserName", "bob"), ""},
		{"DeleteUserPermissionsBoundary", p("UserName", "bob"), ""},
		{"UntagUser", p("UserName", "bob", "TagKeys.member.1", "TEAM", "TagKeys.member.2", "absent"), ""},
		{"GetUser", p("UserName", "bob"), "<GetUserResult><User>" + bob + "</User></GetUserResult>"},
		{"UpdateUser", p("UserName", "bob", "NewUserName", "BOB", "NewPath", "/"), ""},
		{"GetUser", p("UserName", "bob"), "<GetUserResult><User><Path>/</Path><UserName>BOB</UserName><UserId>AIDA</UserId><Arn>arn:aws:iam::111122223333:user/BOB</Arn><CreateDate>2026-11-24T12:00:00Z</CreateDate></User></GetUserResult>"},
		{"CreateUser", p("UserName", "carol"), "<CreateUserResult><User><Path>/</Path><UserName>carol</UserName><UserId>AIDA</UserId><Arn>arn:aws:iam::111122223333:user/carol</Arn><CreateDate>2026-11-24T12:00:00Z</CreateDate></User></CreateUserResult>"},
		{"UpdateUser", p("UserName", "bob", "NewUserName", "Carol"), "EntityAlreadyExists: User with name Carol already exists."},
		{"DeleteUser", p("UserName", "bob"), ""},
		{"DeleteUser", p("UserName", "bob"), bobGone},
		{"GetUser", nil, "<GetUserResult><User><Path>/</Path><UserName>root</UserName><UserId>111122223333</UserId><Arn>arn:aws:iam::111122223333:root</Arn><CreateDate>1970-01-01T00:00:00Z</CreateDate></User></GetUserResult>"},
	})
}

func TestUserParameters(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	const (
		missing  = "NoSuchEntity: Policy arn:aws:iam::111122223333:policy/None does not exist or is not attachable."
		foreign  = "NoSuchEntity: Policy arn:aws:iam::444455556666:policy/Theirs does not exist or is not attachable."
		noPolicy = "NoSuchEntity: Policy arn:aws:iam::aws:policy/NoSuchPolicy does not exist or is not attachable."
		twice    = "InvalidInput: Duplicate tag keys found. Please note that Tag keys are case insensitive."
		system   = "InvalidInput: System tags cannot be added/updated by requester."
	)
	s.NewManagedPolicy(t, testkit.OtherAccount, "Theirs", allow(`"*"`, "*", ""))
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "alice")
	walk(t, s, []step{
		{"CreateUser", nil, "ValidationException: 1 validation error detected: Value null at 'userName' failed to satisfy constraint: Member must not be null"},
		{"CreateUser", p("UserName", "a b"), `ValidationException: 1 validation error detected: Value 'a b' at 'userName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]+`},
		{"CreateUser", p("UserName", strings.Repeat("a", 65)), "ValidationException: 1 validation error detected: Value '" + strings.Repeat("a", 65) + "' at 'userName' failed to satisfy constraint: Member must have length less than or equal to 64"},
		{"CreateUser", p("UserName", "x", "PermissionsBoundary", "arn:aws:iam::111122223333:policy/None"), missing},
		{"CreateUser", p("UserName", "x", "PermissionsBoundary", "arn:aws:iam::444455556666:policy/Theirs"), foreign},
		{"CreateUser", p("UserName", "x", "PermissionsBoundary", "arn:aws:iam::aws:policy/NoSuchPolicy"), noPolicy},
		{"CreateUser", p("UserName", "x", "PermissionsBoundary", "not an ARN at all, only long"), "InvalidInput: ARN not an ARN at all, only long is not valid."},
		{"PutUserPermissionsBoundary", p("UserName", "alice", "PermissionsBoundary", "arn:aws:iam::aws:policy/NoSuchPolicy"), noPolicy},
		{"CreateUser", p("UserName", "x", "Tags.member.1.Key", "a", "Tags.member.1.Value", "1", "Tags.member.2.Key", "A", "Tags.member.2.Value", "1"), twice},
		{"TagUser", p("UserName", "alice", "Tags.member.1.Key", "a", "Tags.member.1.Value", "1", "Tags.member.2.Key", "A", "Tags.member.2.Value", "1"), twice},
		{"TagUser", p("UserName", "alice", "Tags.member.1.Key", "AWS:x", "Tags.member.1.Value", "1"), system},
		{"GetUser", p("UserName", "x"), "NoSuchEntity: The user with name x cannot be found."},
		{"ListUsers", p("Marker", "x"), "ValidationException: Invalid Marker."},
		{"ListUsers", p("MaxItems", "1001"), "ValidationException: 1 validation error detected: Value '1001' at 'maxItems' failed to satisfy constraint: Member must have value less than or equal to 1000"},
	})
}

// A tag's key stands once, however its letters are written; fifty tags are the most.
func TestUserTags(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "alice")
	tag := func(key, value string) []string {
		return p("UserName", "alice", "Tags.member.1.Key", key, "Tags.member.1.Value", value)
	}
	walk(t, s, []step{
		{"TagUser", tag("Team", "one"), ""}, {"TagUser", tag("team", "two"), ""},
		{"ListUserTags", p("UserName", "alice"), "<ListUserTagsResult><Tags><member><Key>team</Key><Value>two</Value></member></Tags>" + truncated + "</ListUserTagsResult>"},
	})
	long := strings.Repeat("界", 127)
	for n := range 49 {
		walk(t, s, []step{{"TagUser", tag(long+string(rune('一'+n)), "v"), ""}})
	}
	walk(t, s, []step{{"TagUser", tag("more", "v"), "LimitExceeded: Cannot exceed quota for TagsPerUser: 50"}})
	seen := map[string]bool{}
	pages := everyPage(t, s, "ListUserTags", p("UserName", "alice", "MaxItems", "1"))
	for _, page := range pages {
		seen[between(t, page, "Key")] = true
	}
	if len(pages) != 50 || len(seen) != 50 {
		t.Errorf("%d pages with %d keys", len(pages), len(seen))
	}
}

// everyPage follows the markers of a list.
func everyPage(t *testing.T, s *testkit.Solo, op string, params []string) (pages []string) {
	t.Helper()
	for marker := ""; len(pages) < 1000; {
		more := params
		if marker != "" {
			more = append(p("Marker", marker), params...)
		}
		page := ask(t, s, testkit.Root, op, more...)
		pages = append(pages, page)
		if between(t, page, "IsTruncated") == "false" {
			return pages
		}
		marker = between(t, page, "Marker")
		if len(marker) > 320 {
			t.Fatalf("a marker of %d characters", len(marker))
		}
	}
	t.Fatal("the list has no end")
	return nil
}

func TestListUsersByPages(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for n := range 7 {
		s.NewIdentity(t, fsm.KindUser, testkit.Account, fmt.Sprintf("/eng/E%d", n))
		s.NewIdentity(t, fsm.KindUser, testkit.Account, fmt.Sprintf("/ops/o%d", n))
	}
	s.NewIdentity(t, fsm.KindUser, testkit.OtherAccount, "/eng/theirs")
	s.NewIdentity(t, fsm.KindRole, testkit.Account, "/eng/role")
	names := func(pages []string) (out []string) {
		for _, page := range pages {
			for _, part := range strings.Split(page, "<UserName>")[1:] {
				name, _, _ := strings.Cut(part, "<")
				out = append(out, name)
			}
		}
		return out
	}
	eng := []string{"E0", "E1", "E2", "E3", "E4", "E5", "E6"}
	for items, want := range map[string]int{"1": 7, "2": 4, "3": 3, "6": 2, "7": 1, "8": 1} {
		pages := everyPage(t, s, "ListUsers", p("PathPrefix", "/eng/", "MaxItems", items))
		if got := names(pages); !reflect.DeepEqual(got, eng) || len(pages) != want {
			t.Errorf("by %s: %d pages with %v", items, len(pages), got)
		}
	}
	if got := names(everyPage(t, s, "ListUsers", p("MaxItems", "5"))); len(got) != 14 {
		t.Errorf("all users: %v", got)
	}
	marker := between(t, ask(t, s, testkit.Root, "ListUsers", "MaxItems", "1"), "Marker")
	walk(t, s, []step{{"ListUsers", p("PathPrefix", "/eng/", "Marker", marker), "ValidationException: Invalid Marker."}})
	if got := ask(t, s, testkit.Other, "ListUsers", "Marker", marker); got != "ValidationException: Invalid Marker." {
		t.Errorf("another account's marker: %s", got)
	}
}

// A page has a hundred elements unless the call says otherwise.
func TestDefaultPage(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for n := range 101 {
		s.NewIdentity(t, fsm.KindUser, testkit.Account, fmt.Sprintf("u%03d", n))
	}
	if got := ask(t, s, testkit.Root, "ListUsers"); strings.Count(got, "<member>") != 100 || between(t, got, "IsTruncated") != "true" {
		t.Errorf("got %d users", strings.Count(got, "<member>"))
	}
}

func TestDeleteUserInUse(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	group := s.NewIdentity(t, fsm.KindGroup, testkit.Account, "admins")
	_, id := s.NewUser(t, testkit.Account, "alice", allow(`"kms:*"`, "*", ""))
	s.Change(t, id, func(i *fsm.Identity) { i.Groups, i.Attached = []string{group.ID}, []string{readOnly} })
	refusal := func(want string) {
		t.Helper()
		walk(t, s, []step{{"DeleteUser", p("UserName", "alice"), "DeleteConflict: Cannot delete entity, " + want}})
	}
	refusal("must delete policies first.")
	s.Change(t, id, func(i *fsm.Identity) { i.Inline = nil })
	refusal("must detach all policies first.")
	s.Change(t, id, func(i *fsm.Identity) { i.Attached = nil })
	refusal("must delete access keys first.")
	key := s.Machine.View().AccessKeys(testkit.Account, "IAMUser", id)[0]
	walk(t, s, []step{{"DeleteAccessKey", p("UserName", "alice", "AccessKeyId", key.ID), ""}})
	refusal("must remove users from group first.")
	s.Change(t, id, func(i *fsm.Identity) { i.Groups = nil })
	walk(t, s, []step{{"DeleteUser", p("UserName", "alice"), ""}})
}

// What an SDK sends again is done once, and answered alike.
func TestUserOnce(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who := testkit.Root.As("one")
	for _, c := range []step{
		{"CreateUser", p("UserName", "bob"), ""}, {"UpdateUser", p("UserName", "bob", "NewUserName", "rob"), ""}, {"DeleteUser", p("UserName", "rob"), ""},
	} {
		first := s.Raw(t, who, "iam", c.op, form(c.params...))
		for range 3 {
			again := s.Raw(t, who, "iam", c.op, form(c.params...))
			if again.Refusal != nil || string(again.Raw) != string(first.Raw) {
				t.Errorf("%s is answered %s (%v), first %s (%v)", c.op, again.Raw, again.Refusal, first.Raw, first.Refusal)
			}
			if !reflect.DeepEqual(s.Record(t, again)["responseElements"], s.Record(t, first)["responseElements"]) {
				t.Errorf("%s is recorded differently", c.op)
			}
		}
	}
}

func TestUserRecords(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	a := s.Raw(t, testkit.Root, "iam", "CreateUser", form("UserName", "bob", "Path", "/eng/", "PermissionsBoundary", readOnly, "Tags.member.1.Key", "team", "Tags.member.1.Value", "x"))
	rec := s.Record(t, a)
	id := identity(t, s, fsm.KindUser, "bob").ID
	for name, want := range map[string]any{
		"eventSource": "iam.amazonaws.com", "eventName": "CreateUser", "awsRegion": "us-east-1", "readOnly": false,
		"requestParameters": testkit.JSON{"userName": "bob", "path": "/eng/", "permissionsBoundary": readOnly, "tags": []any{testkit.JSON{"key": "team", "value": "x"}}},
		"responseElements":  testkit.JSON{"user": testkit.JSON{"userName": "bob", "path": "/eng/", "userId": id, "arn": "arn:aws:iam::111122223333:user/eng/bob", "createDate": "Nov 24, 2026, 12:00:00 PM"}},
	} {
		if !reflect.DeepEqual(rec[name], want) {
			t.Errorf("%s is %v, want %v", name, rec[name], want)
		}
	}
	for _, c := range []struct {
		op     string
		params []string
		reads  bool
		want   testkit.JSON
	}{
		{"UpdateUser", p("UserName", "bob", "NewPath", "/x/", "NewUserName", "rob"), false, testkit.JSON{"userName": "bob", "newPath": "/x/", "newUserName": "rob"}},
		{"GetUser", p("UserName", "rob"), true, testkit.JSON{"userName": "rob"}},
		{"GetUser", nil, true, nil},
		{"ListUsers", p("PathPrefix", "/x/", "MaxItems", "7"), true, testkit.JSON{"pathPrefix": "/x/", "maxItems": 7.0}},
		{"UntagUser", p("UserName", "rob", "TagKeys.member.1", "team"), false, testkit.JSON{"userName": "rob", "tagKeys": []any{"team"}}},
		{"DeleteUser", p("UserName", "rob"), false, testkit.JSON{"userName": "rob"}},
	} {
		rec := s.Record(t, s.Raw(t, testkit.Root, "iam", c.op, form(c.params...)))
		got, _ := rec["requestParameters"].(testkit.JSON)
		if !reflect.DeepEqual(got, c.want) || rec["responseElements"] != nil || rec["readOnly"] != c.reads || rec["errorCode"] != nil {
			t.Errorf("the record of %s is %v", c.op, rec)
		}
	}
}

// Nobody does what no policy allows, and refusals are AWS's.
func TestUserAuthorization(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, _ := s.NewUser(t, testkit.Account, "alice")
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "/eng/bob")
	refused := func(action, resource string) string {
		return "AccessDeniedException: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: " + action + " on resource: " + resource +
			" because no identity-based policy allows the " + action + " action"
	}
	for _, c := range []step{
		{"CreateUser", p("UserName", "x", "Path", "/eng/"), "arn:aws:iam::111122223333:user/eng/x"},
		{"GetUser", p("UserName", "bob"), "user bob"},
		{"GetUser", p("UserName", "nobody"), "user nobody"},
		{"GetUser", nil, "user alice"},
		{"UpdateUser", p("UserName", "bob"), "user bob"},
		{"DeleteUser", p("UserName", "bob"), "user bob"},
		{"ListUsers", nil, "arn:aws:iam::111122223333:user/"},
		{"TagUser", p("UserName", "bob", "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), "user bob"},
		{"UntagUser", p("UserName", "bob", "TagKeys.member.1", "a"), "user bob"},
		{"ListUserTags", p("UserName", "bob"), "user bob"},
		{"PutUserPermissionsBoundary", p("UserName", "bob", "PermissionsBoundary", readOnly), "user bob"},
		{"DeleteUserPermissionsBoundary", p("UserName", "bob"), "user bob"},
		{"CreateAccessKey", p("UserName", "bob"), "user bob"},
		{"CreateAccessKey", nil, "user alice"},
		{"ListAccessKeys", p("UserName", "bob"), "user bob"},
		{"UpdateAccessKey", p("UserName", "bob", "AccessKeyId", alice.AccessKey, "Status", "Active"), "user bob"},
		{"DeleteAccessKey", p("UserName", "bob", "AccessKeyId", alice.AccessKey), "user bob"},
		{"GetAccessKeyLastUsed", p("AccessKeyId", alice.AccessKey), "user alice"},
	} {
		if got, want := ask(t, s, alice, c.op, c.params...), refused("iam:"+c.op, c.want); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.op, got, want)
		}
	}
}

// Policies of IAM speak of paths, tags and boundaries.
func TestUserConditions(t *testing.T) {
	t.Parallel()
	boundary := `,"Condition":{"StringEquals":{"iam:PermissionsBoundary":"` + readOnly + `"}}`
	for _, c := range []struct {
		policy, op string
		params     []string
		allowed    bool
	}{
		{allow(`"iam:GetUser"`, "arn:aws:iam::111122223333:user/eng/*", ""), "GetUser", p("UserName", "bob"), true},
		{allow(`"iam:GetUser"`, "arn:aws:iam::111122223333:user/ops/*", ""), "GetUser", p("UserName", "bob"), false},
		{allow(`"iam:GetUser"`, "arn:aws:iam::111122223333:user/bob", ""), "GetUser", p("UserName", "bob"), false},
		{allow(`"iam:GetUser"`, "*", `,"Condition":{"StringEquals":{"iam:ResourceTag/Team":"x"}}`), "GetUser", p("UserName", "bob"), true},
		{allow(`"iam:GetUser"`, "*", `,"Condition":{"StringEquals":{"aws:ResourceTag/team":"x"}}`), "GetUser", p("UserName", "bob"), true},
		{allow(`"iam:GetUser"`, "*", `,"Condition":{"StringEquals":{"aws:ResourceTag/team":"y"}}`), "GetUser", p("UserName", "bob"), false},
		{allow(`"iam:CreateUser"`, "*", boundary), "CreateUser", p("UserName", "n1", "PermissionsBoundary", readOnly), true},
		{allow(`"iam:CreateUser"`, "*", boundary), "CreateUser", p("UserName", "n2"), false},
		{allow(`"iam:CreateUser"`, "*", boundary), "CreateUser", p("UserName", "n2", "PermissionsBoundary", "arn:aws:iam::aws:policy/AdministratorAccess"), false},
		{allow(`"iam:*"`, "*", boundary), "PutUserPermissionsBoundary", p("UserName", "bob", "PermissionsBoundary", readOnly), true},
		{allow(`"iam:*"`, "*", boundary), "PutUserPermissionsBoundary", p("UserName", "bob", "PermissionsBoundary", "arn:aws:iam::aws:policy/AdministratorAccess"), false},
		{allow(`"iam:CreateUser"`, "*", ""), "CreateUser", p("UserName", "n2", "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), false},
		{allow(`["iam:CreateUser","iam:TagUser"]`, "arn:aws:iam::111122223333:user/n*", ""), "CreateUser", p("UserName", "n3", "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), true},
		{allow(`"iam:TagUser"`, "*", `,"Condition":{"StringEquals":{"aws:RequestTag/a":"b"}}`), "TagUser", p("UserName", "bob", "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), true},
		{allow(`"iam:TagUser"`, "*", `,"Condition":{"StringEquals":{"aws:RequestTag/a":"b"}}`), "TagUser", p("UserName", "bob", "Tags.member.1.Key", "a", "Tags.member.1.Value", "c"), false},
		{allow(`"iam:UntagUser"`, "*", `,"Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":"a"}}`), "UntagUser", p("UserName", "bob", "TagKeys.member.1", "a"), true},
		{allow(`"iam:DeleteUserPermissionsBoundary"`, "*", boundary), "DeleteUserPermissionsBoundary", p("UserName", "bob"), true},
		{allow(`"iam:DeleteUserPermissionsBoundary"`, "*", boundary), "DeleteUserPermissionsBoundary", p("UserName", "free"), false},
	} {
		s := testkit.Start(t)
		target := s.NewIdentity(t, fsm.KindUser, testkit.Account, "/eng/bob")
		s.Change(t, target.ID, func(i *fsm.Identity) { i.Tags, i.Boundary = []fsm.Tag{{Key: "team", Value: "x"}}, readOnly })
		s.NewIdentity(t, fsm.KindUser, testkit.Account, "free")
		alice, _ := s.NewUser(t, testkit.Account, "alice", c.policy)
		got := ask(t, s, alice, c.op, c.params...)
		if strings.HasPrefix(got, "AccessDenied") == c.allowed {
			t.Errorf("%s %v under %s: %s", c.op, c.params, c.policy, got)
		}
	}
}

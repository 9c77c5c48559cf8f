package iamapi_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

const admins = "<Path>/eng/</Path><GroupName>Admins</GroupName><GroupId>AGPA</GroupId><Arn>arn:aws:iam::111122223333:group/eng/Admins</Arn><CreateDate>2026-11-24T12:00:00Z</CreateDate>"

func TestGroups(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "/eng/Bob")
	s.NewIdentity(t, fsm.KindGroup, testkit.OtherAccount, "theirs")
	const (
		gone    = "NoSuchEntity: The group with name admins cannot be found."
		nobody  = "NoSuchEntity: The user with name nobody cannot be found."
		member  = "<Path>/eng/</Path><UserName>Bob</UserName><UserId>AIDA</UserId><Arn>arn:aws:iam::111122223333:user/eng/Bob</Arn><CreateDate>2026-11-24T12:00:00Z</CreateDate>"
		nothing = "<ListGroupsForUserResult><Groups></Groups>" + truncated + "</ListGroupsForUserResult>"
	)
	get := func(users string) string {
		return "<GetGroupResult><Group>" + admins + "</Group><Users>" + users + "</Users>" + truncated + "</GetGroupResult>"
	}
	for _, c := range []step{
		{"GetGroup", p("GroupName", "admins"), gone},
		{"UpdateGroup", p("GroupName", "admins"), gone},
		{"DeleteGroup", p("GroupName", "admins"), gone},
		{"AddUserToGroup", p("GroupName", "admins", "UserName", "bob"), gone},
		{"RemoveUserFromGroup", p("GroupName", "admins", "UserName", "bob"), gone},
		{"AddUserToGroup", p("GroupName", "theirs", "UserName", "bob"), "NoSuchEntity: The group with name theirs cannot be found."},
		{"ListGroups", nil, "<ListGroupsResult><Groups></Groups>" + truncated + "</ListGroupsResult>"},
		{"CreateGroup", p("GroupName", "Admins", "Path", "/eng/"), "<CreateGroupResult><Group>" + admins + "</Group></CreateGroupResult>"},
		{"CreateGroup", p("GroupName", "ADMINS"), "EntityAlreadyExists: Group with name ADMINS already exists."},
		{"GetGroup", p("GroupName", "admins"), get("")},
		{"ListGroups", p("PathPrefix", "/eng"), "<ListGroupsResult><Groups><member>" + admins + "</member></Groups>" + truncated + "</ListGroupsResult>"},
		{"ListGroups", p("PathPrefix", "/ops"), "<ListGroupsResult><Groups></Groups>" + truncated + "</ListGroupsResult>"},
		{"ListGroupsForUser", p("UserName", "nobody"), nobody},
		{"ListGroupsForUser", p("UserName", "bob"), nothing},
		{"AddUserToGroup", p("GroupName", "admins", "UserName", "nobody"), nobody},
		{"AddUserToGroup", p("GroupName", "admins", "UserName", "bob"), ""},
		{"AddUserToGroup", p("GroupName", "admins", "UserName", "BOB"), ""},
		{"GetGroup", p("GroupName", "ADMINS"), get("<member>" + member + "</member>")},
		{"ListGroupsForUser", p("UserName", "bob"), "<ListGroupsForUserResult><Groups><member>" + admins + "</member></Groups>" + truncated + "</ListGroupsForUserResult>"},
		{"DeleteGroup", p("GroupName", "admins"), "DeleteConflict: Cannot delete entity, must remove users from group first."},
		{"RemoveUserFromGroup", p("GroupName", "admins", "UserName", "bob"), ""},
		{"RemoveUserFromGroup", p("GroupName", "admins", "UserName", "bob"), ""},
		{"ListGroupsForUser", p("UserName", "bob"), nothing},
		{"UpdateGroup", p("GroupName", "admins", "NewGroupName", "ops", "NewPath", "/"), ""},
		{"GetGroup", p("GroupName", "admins"), gone},
		{"DeleteGroup", p("GroupName", "ops"), ""},
		{"DeleteGroup", p("GroupName", "ops"), "NoSuchEntity: The group with name ops cannot be found."},
	} {
		got := strings.ReplaceAll(masked(ask(t, s, testkit.Root, c.op, c.params...)), identity(t, s, fsm.KindUser, "bob").ID, "AIDA")
		if got != c.want {
			t.Errorf("%s %q:\ngot  %s\nwant %s", c.op, c.params, got, c.want)
		}
	}
}

// What a group's policies allow, its members may do as long as they are members.
func TestGroupGivesRights(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewIdentity(t, fsm.KindGroup, testkit.Account, "keys", allow(`"kms:*"`, "*", ""))
	bob, _ := s.NewUser(t, testkit.Account, "bob")
	may := func(want bool) {
		t.Helper()
		if _, refusal := s.Do(t, bob, "CreateKey", testkit.JSON{}); (refusal == nil) != want {
			t.Errorf("the answer is %v", refusal)
		}
	}
	may(false)
	walk(t, s, []step{{"AddUserToGroup", p("GroupName", "keys", "UserName", "bob"), ""}})
	may(true)
	walk(t, s, []step{{"RemoveUserFromGroup", p("GroupName", "keys", "UserName", "bob"), ""}})
	may(false)
}

func TestGroupLimitsAndPages(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "bob")
	for n := range 11 {
		name, want := fmt.Sprintf("g%02d", n), ""
		s.NewIdentity(t, fsm.KindGroup, testkit.Account, name)
		if n == 10 {
			want = "LimitExceeded: Cannot exceed quota for GroupsPerUser: 10"
		}
		walk(t, s, []step{{"AddUserToGroup", p("GroupName", name, "UserName", "bob"), want}})
		user := fmt.Sprintf("u%d", n)
		s.NewIdentity(t, fsm.KindUser, testkit.Account, user)
		walk(t, s, []step{{"AddUserToGroup", p("GroupName", "g00", "UserName", user), ""}})
	}
	for _, c := range []struct {
		op     string
		params []string
		want   int
	}{
		{"ListGroupsForUser", p("UserName", "bob", "MaxItems", "3"), 4}, {"ListGroups", p("MaxItems", "5"), 3}, {"GetGroup", p("GroupName", "g00", "MaxItems", "4"), 3},
	} {
		pages := everyPage(t, s, c.op, c.params)
		members := strings.Count(strings.Join(pages, ""), "<member>")
		if want := map[string]int{"ListGroupsForUser": 10, "ListGroups": 11, "GetGroup": 12}[c.op]; len(pages) != c.want || members != want {
			t.Errorf("%s: %d pages with %d elements", c.op, len(pages), members)
		}
	}
}

func TestGroupRecordsAndRepeats(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who := testkit.Root.As("one")
	first := s.Raw(t, who, "iam", "CreateGroup", form("GroupName", "keys"))
	again := s.Raw(t, who, "iam", "CreateGroup", form("GroupName", "keys"))
	if textOf(t, first) != textOf(t, again) {
		t.Errorf("got %s and %s", first.Raw, again.Raw)
	}
	want := testkit.JSON{"group": testkit.JSON{"path": "/", "groupName": "keys", "groupId": identity(t, s, fsm.KindGroup, "keys").ID,
		"arn": "arn:aws:iam::111122223333:group/keys", "createDate": "Nov 24, 2026, 12:00:00 PM"}}
	for _, a := range []testkit.Answer{first, again} {
		if rec := s.Record(t, a); !reflect.DeepEqual(rec["responseElements"], want) || !reflect.DeepEqual(rec["requestParameters"], testkit.JSON{"groupName": "keys"}) {
			t.Errorf("the record is %v", rec)
		}
	}
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "bob")
	for _, op := range []string{"AddUserToGroup", "RemoveUserFromGroup"} {
		rec := s.Record(t, s.Raw(t, testkit.Root, "iam", op, form("GroupName", "keys", "UserName", "bob")))
		if !reflect.DeepEqual(rec["requestParameters"], testkit.JSON{"groupName": "keys", "userName": "bob"}) {
			t.Errorf("the record is %v", rec)
		}
	}
}

func TestGroupAuthorization(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, _ := s.NewUser(t, testkit.Account, "alice")
	for _, c := range []step{
		{"CreateGroup", p("GroupName", "g"), "arn:aws:iam::111122223333:group/g"}, {"GetGroup", p("GroupName", "g"), "group g"}, {"UpdateGroup", p("GroupName", "g"), "group g"},
		{"DeleteGroup", p("GroupName", "g"), "group g"}, {"ListGroups", nil, "arn:aws:iam::111122223333:group/"}, {"AddUserToGroup", p("GroupName", "g", "UserName", "alice"), "group g"},
		{"RemoveUserFromGroup", p("GroupName", "g", "UserName", "alice"), "group g"}, {"ListGroupsForUser", p("UserName", "alice"), "user alice"},
	} {
		want := "AccessDeniedException: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: iam:" + c.op + " on resource: " + c.want +
			" because no identity-based policy allows the iam:" + c.op + " action"
		if got := ask(t, s, alice, c.op, c.params...); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.op, got, want)
		}
	}
}

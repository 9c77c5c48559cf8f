package iamapi_test

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

const aliceKey = "<UserName>alice</UserName><AccessKeyId>AKIA</AccessKeyId><Status>Active</Status>"

func TestAccessKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "alice", allow(`"kms:*"`, "*", ""))
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "bob")
	made := ask(t, s, testkit.Root, "CreateAccessKey", "UserName", "ALICE")
	if got, want := masked(made), "<CreateAccessKeyResult><AccessKey>"+aliceKey+"<SecretAccessKey>*</SecretAccessKey><CreateDate>2026-11-24T12:00:00Z</CreateDate></AccessKey></CreateAccessKeyResult>"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	id := between(t, made, "AccessKeyId")
	who := testkit.Caller{AccessKey: id, Region: testkit.Region}
	walk(t, s, []step{{"GetAccessKeyLastUsed", p("AccessKeyId", id), lastUsed("<UserName>alice</UserName>", "<ServiceName>N/A</ServiceName><Region>N/A</Region>")}})
	s.MustAs(t, who, "CreateKey", testkit.JSON{})
	gone := "NoSuchEntity: The Access Key with id " + id + " cannot be found."
	list := func(status string) string {
		return "<ListAccessKeysResult><AccessKeyMetadata><member><UserName>alice</UserName><AccessKeyId>AKIA</AccessKeyId><Status>" + status +
			"</Status><CreateDate>2026-11-24T12:00:00Z</CreateDate></member></AccessKeyMetadata>" + truncated + "</ListAccessKeysResult>"
	}
	walk(t, s, []step{
		{"ListAccessKeys", p("UserName", "alice"), list("Active")},
		{"GetAccessKeyLastUsed", p("AccessKeyId", id), lastUsed("<UserName>alice</UserName>", "<LastUsedDate>2026-11-24T12:00:00Z</LastUsedDate><ServiceName>kms</ServiceName><Region>us-east-1</Region>")},
		{"UpdateAccessKey", p("UserName", "bob", "AccessKeyId", id, "Status", "Inactive"), masked(gone)},
		{"DeleteAccessKey", p("UserName", "bob", "AccessKeyId", id), masked(gone)},
		{"DeleteAccessKey", p("AccessKeyId", id), masked(gone)}, // the root user's own
		{"UpdateAccessKey", p("UserName", "alice", "AccessKeyId", id, "Status", "Expired"),
			"ValidationException: 1 validation error detected: Value 'Expired' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]"},
	})
	if !s.Known(t, who) {
		t.Error("the key does not sign any more")
	}
	walk(t, s, []step{{"UpdateAccessKey", p("UserName", "alice", "AccessKeyId", id, "Status", "Inactive"), ""}, {"ListAccessKeys", p("UserName", "alice"), list("Inactive")}})
	if s.Known(t, who) {
		t.Error("an inactive key signs")
	}
	walk(t, s, []step{{"UpdateAccessKey", p("UserName", "alice", "AccessKeyId", id, "Status", "Active"), ""}})
	s.MustAs(t, who, "CreateKey", testkit.JSON{})
	walk(t, s, []step{{"DeleteAccessKey", p("UserName", "alice", "AccessKeyId", id), ""}, {"DeleteAccessKey", p("UserName", "alice", "AccessKeyId", id), masked(gone)},
		{"GetAccessKeyLastUsed", p("AccessKeyId", id), masked(gone)}})
	if s.Known(t, who) {
		t.Error("a deleted key signs")
	}
}

// lastUsed is the answer of GetAccessKeyLastUsed, with the user's name if there is one.
func lastUsed(user, use string) string {
	return "<GetAccessKeyLastUsedResult>" + user + "<AccessKeyLastUsed>" + use + "</AccessKeyLastUsed></GetAccessKeyLastUsedResult>"
}

// The last request counts, of whichever service and Region, also when it was refused
// (AWS IAM: GetAccessKeyLastUsed). A root user's key has no user; asking for a key's use
// is a use, but the answer does not speak of itself.
func TestGetAccessKeyLastUsed(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, _ := s.NewUser(t, testkit.Account, "alice")
	shows := func(id, user, use string) {
		t.Helper()
		walk(t, s, []step{{"GetAccessKeyLastUsed", p("AccessKeyId", id), lastUsed(user, use)}})
	}
	const ofAlice = "<UserName>alice</UserName>"
	if _, refusal := call(t, s, alice.In("eu-west-1"), "GetCallerIdentity"); refusal != "" {
		t.Error(refusal)
	}
	shows(alice.AccessKey, ofAlice, "<LastUsedDate>2026-11-24T12:00:00Z</LastUsedDate><ServiceName>sts</ServiceName><Region>eu-west-1</Region>")
	s.Advance(90 * time.Minute)
	if _, refusal := s.Do(t, alice.In("ap-south-2"), "ListKeys", "{}"); refusal == nil || refusal.Code != "AccessDeniedException" {
		t.Errorf("got %v", refusal)
	}
	shows(alice.AccessKey, ofAlice, "<LastUsedDate>2026-11-24T13:30:00Z</LastUsedDate><ServiceName>kms</ServiceName><Region>ap-south-2</Region>")
	s.Advance(time.Second)
	if got := ask(t, s, alice, "GetAccessKeyLastUsed", "AccessKeyId", alice.AccessKey); !strings.HasPrefix(got, "AccessDeniedException: ") {
		t.Errorf("got %s", got)
	}
	shows(alice.AccessKey, ofAlice, "<LastUsedDate>2026-11-24T13:30:01Z</LastUsedDate><ServiceName>iam</ServiceName><Region>us-east-1</Region>")
	s.Advance(time.Hour)
	shows(testkit.AccessKey, "", "<LastUsedDate>2026-11-24T13:30:01Z</LastUsedDate><ServiceName>iam</ServiceName><Region>us-east-1</Region>")
	shows(testkit.AccessKey, "", "<LastUsedDate>2026-11-24T14:30:01Z</LastUsedDate><ServiceName>iam</ServiceName><Region>us-east-1</Region>")
	made := ask(t, s, testkit.Root, "CreateAccessKey")
	shows(between(t, made, "AccessKeyId"), "", "<ServiceName>N/A</ServiceName><Region>N/A</Region>")
}

func TestAccessKeyRefusals(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "alice")
	other, _ := s.NewUser(t, testkit.OtherAccount, "alice")
	const gone = "NoSuchEntity: The user with name nobody cannot be found."
	foreign := "NoSuchEntity: The Access Key with id " + other.AccessKey + " cannot be found."
	walk(t, s, []step{
		{"CreateAccessKey", p("UserName", "nobody"), gone},
		{"ListAccessKeys", p("UserName", "nobody"), gone},
		{"UpdateAccessKey", p("UserName", "nobody", "AccessKeyId", other.AccessKey, "Status", "Active"), gone},
		{"DeleteAccessKey", p("UserName", "nobody", "AccessKeyId", other.AccessKey), gone},
		{"UpdateAccessKey", p("UserName", "alice", "AccessKeyId", other.AccessKey, "Status", "Inactive"), foreign},
		{"DeleteAccessKey", p("UserName", "alice", "AccessKeyId", other.AccessKey), foreign},
		{"GetAccessKeyLastUsed", p("AccessKeyId", other.AccessKey), foreign},
		{"ListAccessKeys", p("UserName", "alice"), "<ListAccessKeysResult><AccessKeyMetadata></AccessKeyMetadata>" + truncated + "</ListAccessKeysResult>"},
	})
	for range 2 {
		ask(t, s, testkit.Root, "CreateAccessKey", "UserName", "alice")
	}
	walk(t, s, []step{{"CreateAccessKey", p("UserName", "alice"), "LimitExceeded: Cannot exceed quota for AccessKeysPerUser: 2"}})
	if pages := everyPage(t, s, "ListAccessKeys", p("UserName", "alice", "MaxItems", "1")); len(pages) != 2 {
		t.Errorf("%d pages", len(pages))
	}
}

// Without a name the caller manages its own keys.
func TestOwnAccessKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, id := s.NewUser(t, testkit.Account, "alice", allow(`"iam:*AccessKey*"`, "arn:aws:iam::111122223333:user/alice", ""))
	if got := masked(ask(t, s, alice, "CreateAccessKey")); !strings.Contains(got, aliceKey) {
		t.Errorf("got %s", got)
	}
	if got := ask(t, s, alice, "ListAccessKeys"); strings.Count(got, "<member>") != 2 {
		t.Errorf("got %s", got)
	}
	if got := ask(t, s, alice, "DeleteAccessKey", "AccessKeyId", alice.AccessKey); got != "" || s.Known(t, alice) {
		t.Errorf("got %s", got)
	}
	if keys := s.Machine.View().AccessKeys(testkit.Account, "IAMUser", id); len(keys) != 1 {
		t.Errorf("%d keys are left", len(keys))
	}
	// A root user, too.
	made := ask(t, s, testkit.Root, "CreateAccessKey")
	root := testkit.Caller{AccessKey: between(t, made, "AccessKeyId"), Region: testkit.Region}
	if got := ask(t, s, root, "ListAccessKeys"); strings.Count(got, "<member>") != 2 || strings.Contains(got, "UserName") {
		t.Errorf("got %s", got)
	}
	if got := ask(t, s, root, "DeleteAccessKey", "AccessKeyId", testkit.AccessKey); got != "" || s.Known(t, testkit.Root) {
		t.Errorf("got %s", got)
	}
}

// A secret is shown once, also when an SDK asks again, and written nowhere in clear.
func TestAccessKeySecret(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "alice")
	who := testkit.Root.As("one")
	var commands strings.Builder
	s.Fault = func(c fsm.Command) error { fmt.Fprintf(&commands, "%+v", c); return nil }
	first := s.Raw(t, who, "iam", "CreateAccessKey", form("UserName", "alice"))
	again := s.Raw(t, who, "iam", "CreateAccessKey", form("UserName", "alice"))
	if textOf(t, first) != textOf(t, again) {
		t.Errorf("got %s and %s", first.Raw, again.Raw)
	}
	id, secret := between(t, string(first.Raw), "AccessKeyId"), between(t, string(first.Raw), "SecretAccessKey")
	if raw, err := base64.StdEncoding.DecodeString(secret); err != nil || len(raw) != 30 {
		t.Errorf("a secret of %d bytes", len(raw))
	}
	want := testkit.JSON{"accessKey": testkit.JSON{"userName": "alice", "accessKeyId": id, "status": "Active", "createDate": "Nov 24, 2026, 12:00:00 PM"}}
	for _, a := range []testkit.Answer{first, again} {
		if rec := s.Record(t, a); !reflect.DeepEqual(rec["responseElements"], want) || !reflect.DeepEqual(rec["requestParameters"], testkit.JSON{"userName": "alice"}) {
			t.Errorf("the record is %v", rec)
		}
	}
	if s.CountInTrail(t, secret) != 0 || strings.Contains(commands.String(), secret) {
		t.Error("the secret stands in clear")
	}
	if s.CountInTrail(t, id) == 0 {
		t.Error("the trail is not what this test thinks it is")
	}
}

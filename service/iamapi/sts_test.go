package iamapi_test

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// answer is an answer of STS.
type answer struct {
	AccessKeyID      string `xml:"Credentials>AccessKeyId"`
	SecretAccessKey  string `xml:"Credentials>SecretAccessKey"`
	SessionToken     string `xml:"Credentials>SessionToken"`
	Expiration       string `xml:"Credentials>Expiration"`
	AssumedRoleID    string `xml:"AssumedRoleUser>AssumedRoleId"`
	Arn              string `xml:"AssumedRoleUser>Arn"`
	PackedPolicySize string
	SourceIdentity   string
	Account          string
}

// call runs an operation of STS and returns the answer, or the refusal's text.
func call(t *testing.T, s *testkit.Solo, who testkit.Caller, op string, params ...string) (answer, string) {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	a := s.Raw(t, who, "sts", op, form.Encode())
	if a.Refusal != nil {
		return answer{}, a.Refusal.Error()
	}
	if a.Err != nil {
		t.Fatal(a.Err)
	}
	var out answer
	if err := xml.Unmarshal(a.Raw, &out); err != nil {
		t.Fatalf("%s answers %s: %v", op, a.Raw, err)
	}
	return out, ""
}

func (a answer) caller() testkit.Caller {
	return testkit.Caller{AccessKey: a.AccessKeyID, Region: testkit.Region, Token: kms.SessionToken(a.SessionToken)}
}

// role makes a role with a trust policy, as IAM stores it, and an identity policy.
func role(t *testing.T, s *testkit.Solo, account, name, trust, policy string) *fsm.Identity {
	t.Helper()
	i := s.NewIdentity(t, fsm.KindRole, account, name, policy)
	s.SetTrust(t, i.ID, trust)
	return i
}

func trusting(principal, more string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]` + more + `}]}`
}

const (
	allowKMS    = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`
	allowAssume = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:*","Resource":"*"}}`
	appARN      = "arn:aws:iam::111122223333:role/svc/App"
	refusedText = "AccessDeniedException: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: sts:AssumeRole on resource: "
)

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, aliceID := s.NewUser(t, testkit.Account, "alice")
	app := role(t, s, testkit.Account, "/svc/App", trusting(aliceID, ""), allowKMS)
	got, refusal := call(t, s, alice, "AssumeRole", "RoleArn", appARN, "RoleSessionName", "ci")
	if refusal != "" || got.AssumedRoleID != app.ID+":ci" || got.Arn != "arn:aws:sts::111122223333:assumed-role/App/ci" || got.Expiration != "2026-11-24T13:00:00Z" || got.PackedPolicySize != "" {
		t.Errorf("got %+v %s", got, refusal)
	}
	if !regexp.MustCompile("^ASIA[A-Z2-7]{16}$").MatchString(got.AccessKeyID) || len(got.SecretAccessKey) != 40 {
		t.Errorf("the access key is %s", got.AccessKeyID)
	}
	if a := s.Call(t, got.caller(), "CreateKey", `{}`); a.Refusal != nil || a.Err != nil {
		t.Errorf("CreateKey: %v %v", a.Refusal, a.Err)
	}
	for _, tt := range []struct{ name, arn, want string }{
		{"no such role", "arn:aws:iam::111122223333:role/None", refusedText + "arn:aws:iam::111122223333:role/None"},
		{"without its path", "arn:aws:iam::111122223333:role/App", refusedText + "arn:aws:iam::111122223333:role/App"},
		{"a user", "arn:aws:iam::111122223333:user/alice", refusedText + "arn:aws:iam::111122223333:user/alice"},
		{"another cluster's", "arn:aws:iam::999999999999:role/svc/App", refusedText + "arn:aws:iam::999999999999:role/svc/App"},
	} {
		if _, refusal := call(t, s, alice, "AssumeRole", "RoleArn", tt.arn, "RoleSessionName", "ci"); refusal != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, refusal, tt.want)
		}
	}
	if _, refusal := call(t, s, testkit.Root, "AssumeRole", "RoleArn", appARN, "RoleSessionName", "ci"); refusal != "AccessDeniedException: Roles may not be assumed by root accounts." {
		t.Errorf("root: got %q", refusal)
	}
	bob, _ := s.NewUser(t, testkit.Account, "bob", allowAssume)
	if _, refusal := call(t, s, bob, "AssumeRole", "RoleArn", appARN, "RoleSessionName", "ci"); !strings.Contains(refusal, "user/bob is not authorized") {
		t.Errorf("whom the role does not trust: got %q", refusal)
	}
}

// A role that trusts an account leaves it to the account's policies; from another
// account both sides must allow (AWS STS: AssumeRole).
func TestTrustInAccounts(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	const both = "arn:aws:iam::444455556666:role/App"
	role(t, s, testkit.OtherAccount, "App", trusting(testkit.Account, ""), allowKMS)
	role(t, s, testkit.Account, "Own", trusting(testkit.Account, ""), allowKMS)
	allowed, _ := s.NewUser(t, testkit.Account, "allowed", allowAssume)
	none, _ := s.NewUser(t, testkit.Account, "none")
	for _, arn := range []string{both, "arn:aws:iam::111122223333:role/Own"} {
		if _, refusal := call(t, s, allowed, "AssumeRole", "RoleArn", arn, "RoleSessionName", "ci"); refusal != "" {
			t.Errorf("%s: got %q", arn, refusal)
		}
		if _, refusal := call(t, s, none, "AssumeRole", "RoleArn", arn, "RoleSessionName", "ci"); !strings.HasPrefix(refusal, "AccessDeniedException: User: arn:aws:iam::111122223333:user/none") {
			t.Errorf("%s, without a policy: got %q", arn, refusal)
		}
	}
}

func TestAssumeRoleConditions(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, id := s.NewUser(t, testkit.Account, "alice")
	role(t, s, testkit.Account, "/svc/App", trusting(id, `,"Condition":{"StringEquals":{"sts:ExternalId":"x-1"},"StringLike":{"sts:RoleSessionName":"ci-*"}}`), allowKMS)
	for params, want := range map[string]bool{"ci-1 x-1": true, "ci-1 x-2": false, "ci-1": false, "other x-1": false} {
		name, external, _ := strings.Cut(params, " ")
		args := []string{"RoleArn", appARN, "RoleSessionName", name}
		if external != "" {
			args = append(args, "ExternalId", external)
		}
		if _, refusal := call(t, s, alice, "AssumeRole", args...); (refusal == "") != want {
			t.Errorf("%s: got %q, want success %t", params, refusal, want)
		}
	}
}

func TestSessionPoliciesAndTags(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, id := s.NewUser(t, testkit.Account, "alice")
	role(t, s, testkit.Account, "/svc/App", trusting(id, ""), `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["kms:*","sts:*"],"Resource":"*"}}`)
	key := s.NewKey(t)
	args := []string{"RoleArn", appARN, "RoleSessionName", "ci"}
	got, refusal := call(t, s, alice, "AssumeRole", append(args, "Policy", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:DescribeKey","Resource":"*"}}`, "PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess",
		"Tags.member.1.Key", "team", "Tags.member.1.Value", "red", "TransitiveTagKeys.member.1", "team", "SourceIdentity", "alice")...)
	if refusal != "" || got.SourceIdentity != "alice" || got.PackedPolicySize != "2" {
		t.Fatalf("got %+v %s", got, refusal)
	}
	if a := s.Call(t, got.caller(), "ListKeys", `{}`); a.Refusal != nil {
		t.Errorf("within a managed session policy: %v", a.Refusal)
	}
	if a := s.Call(t, got.caller(), "DisableKey", map[string]any{"KeyId": key}); a.Refusal == nil || !strings.HasSuffix(a.Refusal.Message, "because no session policy allows the kms:DisableKey action") {
		t.Errorf("beyond the session policies: %v", a.Refusal)
	}
	for _, tt := range []struct {
		name, want string
		more       []string
	}{
		{"malformed policy", "MalformedPolicyDocumentException: Syntax errors in policy.", []string{"Policy", "{"}},
		{"no such policy", "ValidationException: The specified policy does not exist: arn:aws:iam::111122223333:policy/None", []string{"PolicyArns.member.1.arn", "arn:aws:iam::111122223333:policy/None"}},
		{"duplicate tags", "ValidationException: Duplicate tag keys found. Please note that Tag keys are case insensitive.", []string{"Tags.member.1.Key", "a", "Tags.member.1.Value", "1", "Tags.member.2.Key", "A", "Tags.member.2.Value", "1"}},
		{"transitive without a tag", "ValidationException: The specified transitive tag key must be included in the requested tags.", []string{"TransitiveTagKeys.member.1", "a"}},
		{"too long", "ValidationException: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.", []string{"DurationSeconds", "3601"}},
		{"MFA", "AccessDeniedException: MultiFactorAuthentication failed with invalid MFA one time pass code.", []string{"SerialNumber", "GAHT12345678", "TokenCode", "123456"}},
	} {
		if _, refusal := call(t, s, alice, "AssumeRole", append(args, tt.more...)...); refusal != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, refusal, tt.want)
		}
	}
}

// A session policy that is deleted leaves the session nothing, and breaks nothing.
func TestSessionPolicyIsDeleted(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, id := s.NewUser(t, testkit.Account, "alice")
	role(t, s, testkit.Account, "/svc/App", trusting(id, ""), allowKMS)
	arn := s.NewManagedPolicy(t, testkit.Account, "Narrow", allowKMS)
	got, refusal := call(t, s, alice, "AssumeRole", "RoleArn", appARN, "RoleSessionName", "ci", "PolicyArns.member.1.arn", arn)
	if refusal != "" {
		t.Fatal(refusal)
	}
	if a := s.Call(t, got.caller(), "ListKeys", `{}`); a.Refusal != nil || a.Err != nil {
		t.Fatalf("before: %v %v", a.Refusal, a.Err)
	}
	s.Apply(t, fsm.DeleteManagedPolicy{ARN: arn})
	const want = "because no session policy allows the kms:ListKeys action"
	if a := s.Call(t, got.caller(), "ListKeys", `{}`); a.Err != nil || a.Refusal == nil || !strings.HasSuffix(a.Refusal.Message, want) {
		t.Errorf("after: got %v %v, want a refusal that ends in %q", a.Refusal, a.Err, want)
	}
}

// A session may assume another role, for an hour at most; its transitive tags and its
// source identity go along.
func TestRoleChaining(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, id := s.NewUser(t, testkit.Account, "alice")
	first := role(t, s, testkit.Account, "First", trusting(id, ""), allowAssume)
	second := role(t, s, testkit.Account, "Second", trusting(first.ID, ""), `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:ListKeys","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"red","aws:SourceIdentity":"alice"},"Null":{"aws:PrincipalTag/other":"true"}}}}`)
	s.Change(t, second.ID, func(i *fsm.Identity) { i.MaxSession = 43200 })
	got, refusal := call(t, s, alice, "AssumeRole", "RoleArn", "arn:aws:iam::111122223333:role/First", "RoleSessionName", "one", "SourceIdentity", "alice",
		"Tags.member.1.Key", "team", "Tags.member.1.Value", "red", "Tags.member.2.Key", "other", "Tags.member.2.Value", "x", "TransitiveTagKeys.member.1", "team")
	if refusal != "" {
		t.Fatal(refusal)
	}
	const to = "arn:aws:iam::111122223333:role/Second"
	if _, refusal := call(t, s, got.caller(), "AssumeRole", "RoleArn", to, "RoleSessionName", "two", "DurationSeconds", "3601"); refusal != "ValidationException: The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining" {
		t.Errorf("too long: got %q", refusal)
	}
	if _, refusal := call(t, s, got.caller(), "AssumeRole", "RoleArn", to, "RoleSessionName", "two", "SourceIdentity", "bob"); !strings.Contains(refusal, "sts:SetSourceIdentity") {
		t.Errorf("another source identity: got %q", refusal)
	}
	chained, refusal := call(t, s, got.caller(), "AssumeRole", "RoleArn", to, "RoleSessionName", "two", "Tags.member.1.Key", "TEAM", "Tags.member.1.Value", "blue")
	if refusal != "" || chained.SourceIdentity != "alice" {
		t.Fatalf("got %+v %s", chained, refusal)
	}
	if a := s.Call(t, chained.caller(), "ListKeys", `{}`); a.Refusal != nil {
		t.Errorf("ListKeys: %v", a.Refusal)
	}
}

// What makes a session one of a service does not go on to other roles by itself: whoever
// may assume the role of a service without tags cannot say for whom it calls.
func TestServiceTagsDoNotGoOn(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, id := s.NewUser(t, testkit.OtherAccount, "alice", allowAssume)
	first := role(t, s, testkit.OtherAccount, "First", trusting(id, ""), allowAssume)
	untagged := strings.Replace(trusting(first.ID, ""), `,"sts:TagSession"`, "", 1)
	store := role(t, s, testkit.Account, "Store", untagged, allowKMS)
	s.Change(t, store.ID, func(i *fsm.Identity) { i.Tags = []fsm.Tag{{Key: "kmsd:service", Value: "s3"}} })
	for _, key := range []string{"kmsd:account", "KMSD:account"} {
		tags := []string{"Tags.member.1.Key", key, "Tags.member.1.Value", testkit.OtherAccount, "TransitiveTagKeys.member.1", key}
		got, refusal := call(t, s, alice, "AssumeRole", append(tags, "RoleArn", "arn:aws:iam::444455556666:role/First", "RoleSessionName", "one")...)
		if refusal != "" {
			t.Fatal(refusal)
		}
		chained, refusal := call(t, s, got.caller(), "AssumeRole", "RoleArn", "arn:aws:iam::111122223333:role/Store", "RoleSessionName", "two")
		if refusal != "" {
			t.Fatal(refusal)
		}
		a := s.Call(t, chained.caller(), "ListKeys", map[string]any{}) // no service may
		if a.Refusal != nil || a.Err != nil {
			t.Errorf("%s: the session calls as a service: %v %v", key, a.Refusal, a.Err)
		}
	}
	got, refusal := call(t, s, alice, "AssumeRole", "RoleArn", "arn:aws:iam::444455556666:role/First", "RoleSessionName", "one")
	if refusal != "" {
		t.Fatal(refusal)
	}
	_, refusal = call(t, s, got.caller(), "AssumeRole", "RoleArn", "arn:aws:iam::111122223333:role/Store", "RoleSessionName", "two",
		"Tags.member.1.Key", "kmsd:account", "Tags.member.1.Value", testkit.OtherAccount)
	if refusal != "AccessDeniedException: User: arn:aws:sts::444455556666:assumed-role/First/one is not authorized to perform: sts:TagSession on resource: arn:aws:iam::111122223333:role/Store" {
		t.Errorf("saying for whom without the right to: %q", refusal)
	}
}

// Who came from an account that is closed is out, over however many roles the way led;
// whoever came from elsewhere stays.
func TestSessionsOfClosedAccounts(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	assume := func(who testkit.Caller, account, name string) testkit.Caller {
		t.Helper()
		got, refusal := call(t, s, who, "AssumeRole", "RoleArn", "arn:aws:iam::"+account+":role/"+name, "RoleSessionName", "session")
		if refusal != "" {
			t.Fatal(refusal)
		}
		return got.caller()
	}
	const anyone = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["sts:*","kms:*"],"Resource":"*"}}`
	theirs, _ := s.NewUser(t, testkit.OtherAccount, "theirs", anyone)
	ours, _ := s.NewUser(t, testkit.Account, "ours", anyone)
	role(t, s, testkit.Account, "One", trusting("*", ""), anyone)
	role(t, s, testkit.Account, "Two", trusting("*", ""), anyone)
	role(t, s, testkit.OtherAccount, "Three", trusting("*", ""), anyone)
	one, own := assume(theirs, testkit.Account, "One"), assume(ours, testkit.Account, "One")
	two, stays := assume(one, testkit.Account, "Two"), assume(own, testkit.Account, "Two")
	through := assume(assume(ours, testkit.OtherAccount, "Three"), testkit.Account, "One")
	for _, who := range []testkit.Caller{one, own, two, stays, through} {
		if a := s.Call(t, who, "ListKeys", `{}`); a.Refusal != nil || a.Err != nil {
			t.Errorf("before: %v %v", a.Refusal, a.Err)
		}
	}
	s.Apply(t, fsm.CloseAccount{ID: testkit.OtherAccount})
	for who, want := range map[testkit.Caller]bool{theirs: false, one: false, two: false, through: false, ours: true, own: true, stays: true} {
		if s.Known(t, who) != want {
			t.Errorf("%v is let in: %t", who, !want)
		}
	}
	_, refusal := call(t, s, ours, "AssumeRole", "RoleArn", "arn:aws:iam::444455556666:role/Three", "RoleSessionName", "session")
	if want := "AccessDeniedException: User: arn:aws:iam::111122223333:user/ours is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::444455556666:role/Three"; refusal != want {
		t.Errorf("a role of the closed account: got %q, want %q", refusal, want)
	}
}

func TestGetSessionToken(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, _ := s.NewUser(t, testkit.Account, "alice", allowKMS)
	for _, tt := range []struct {
		who              testkit.Caller
		seconds, expires string
	}{{alice, "", "2026-11-25T00:00:00Z"}, {alice, "900", "2026-11-24T12:15:00Z"}, {testkit.Root, "", "2026-11-24T13:00:00Z"}, {testkit.Root, "43200", "2026-11-24T13:00:00Z"}} {
		var args []string
		if tt.seconds != "" {
			args = []string{"DurationSeconds", tt.seconds}
		}
		got, refusal := call(t, s, tt.who, "GetSessionToken", args...)
		if refusal != "" || got.Expiration != tt.expires {
			t.Fatalf("%v for %s: got %+v %s", tt.who, tt.seconds, got, refusal)
		}
		if a := s.Call(t, got.caller(), "CreateKey", `{}`); a.Refusal != nil || a.Err != nil {
			t.Errorf("CreateKey: %v %v", a.Refusal, a.Err)
		}
		if _, refusal := call(t, s, got.caller(), "GetSessionToken"); refusal != "AccessDeniedException: Cannot call GetSessionToken with session credentials" {
			t.Errorf("again: got %q", refusal)
		}
		if _, refusal := call(t, s, got.caller(), "GetAccessKeyInfo", "AccessKeyId", testkit.OtherKey); !strings.Contains(refusal, "The security token included in the request is invalid.") {
			t.Errorf("GetAccessKeyInfo: got %q", refusal)
		}
	}
}

func TestGetAccessKeyInfo(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	if got, refusal := call(t, s, testkit.Root, "GetAccessKeyInfo", "AccessKeyId", testkit.OtherKey); refusal != "" || got.Account != testkit.OtherAccount {
		t.Errorf("got %+v %s", got, refusal)
	}
	if _, refusal := call(t, s, testkit.Root, "GetAccessKeyInfo", "AccessKeyId", "AKIAUNKNOWNUNKNOWN77"); refusal != "ValidationException: The access key ID is not known to this cluster." {
		t.Errorf("unknown: got %q", refusal)
	}
	nobody, _ := s.NewUser(t, testkit.Account, "nobody")
	if _, refusal := call(t, s, nobody, "GetAccessKeyInfo", "AccessKeyId", testkit.OtherKey); !strings.HasPrefix(refusal, "AccessDeniedException") {
		t.Errorf("without a policy: got %q", refusal)
	}
}

// Neither secret nor token reaches the trail.
func TestNoSecretsInRecords(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, id := s.NewUser(t, testkit.Account, "alice")
	role(t, s, testkit.Account, "/svc/App", trusting(id, ""), allowKMS)
	got, _ := call(t, s, alice, "AssumeRole", "RoleArn", appARN, "RoleSessionName", "ci")
	more, _ := call(t, s, testkit.Root, "GetSessionToken")
	s.Advance(time.Minute)
	for _, secret := range []string{got.SecretAccessKey, got.SessionToken, more.SecretAccessKey, more.SessionToken} {
		if n := s.CountInTrail(t, secret); n != 0 || secret == "" {
			t.Errorf("a secret of %d characters stands %d times in the trail", len(secret), n)
		}
	}
	if n := s.CountInTrail(t, fmt.Sprintf("%q", got.AccessKeyID)); n != 1 {
		t.Errorf("the new access key's id stands %d times in the trail, want once", n)
	}
}

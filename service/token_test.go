package service_test

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// issue makes temporary credentials as STS does.
func issue(t *testing.T, s *testkit.Solo, token service.Token) testkit.Caller {
	t.Helper()
	token.Issued, token.Expires = s.Now().UnixMilli(), s.Now().Add(time.Hour).UnixMilli()
	sealed, err := token.Seal(s.Keyring)
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Caller{AccessKey: token.AccessKeyID, Region: testkit.Region, Token: sealed}
}

func roleToken(role *fsm.Identity) service.Token {
	return service.Token{AccessKeyID: "ASIAROLEROLEROLEROLE", Secret: "secret", Type: kms.PrincipalAssumedRole, Account: role.Account, Subject: role.ID, Name: "s"}
}

const allowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`

// A session has its role's rights, within its session policies, with its tags, and
// keys' policies know it and its role.
func TestRoleSession(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/App", strings.Replace(allowAll, `"*"}`, `"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"red"},"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/svc/App"},"Null":{"aws:username":"true","aws:TokenIssueTime":"false"}}}`, 1))
	token := roleToken(role)
	wantCode(t, s.Call(t, issue(t, s, token), "CreateKey", `{}`), "AccessDeniedException")
	token.Tags = []kms.SessionTag{{Key: "Team", Value: "red"}}
	who := issue(t, s, token)
	a := s.Call(t, who, "CreateKey", `{}`)
	wantCode(t, a, "")
	key := keyID(a)
	identity := s.Record(t, a)["userIdentity"].(map[string]any)
	if identity["type"] != "AssumedRole" || identity["principalId"] != role.ID+":s" || identity["arn"] != "arn:aws:sts::111122223333:assumed-role/App/s" {
		t.Errorf("userIdentity %v", identity)
	}
	token.Policies = []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:DescribeKey","Resource":"*"}}`}
	bounded := issue(t, s, token)
	wantCode(t, s.Call(t, bounded, "DescribeKey", obj{"KeyId": key}), "")
	if a := s.Call(t, bounded, "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}); a.Refusal == nil || !strings.HasSuffix(a.Refusal.Message, "because no session policy allows the kms:Encrypt action") {
		t.Errorf("beyond the session policy: %v", a.Refusal)
	}
}

// What ends a session before its time.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	role := s.NewIdentity(t, fsm.KindRole, testkit.OtherAccount, "App", allowAll)
	who := issue(t, s, roleToken(role))
	wantCode(t, s.Call(t, who, "ListKeys", `{}`), "")
	s.Apply(t, fsm.CloseAccount{ID: testkit.OtherAccount})
	if s.Known(t, who) {
		t.Error("the session outlives its account")
	}

	mine := s.NewIdentity(t, fsm.KindRole, testkit.Account, "App", allowAll)
	foreign := roleToken(mine)
	foreign.From = []string{testkit.OtherAccount}
	if s.Known(t, issue(t, s, foreign)) {
		t.Error("the session outlives the account that it came from")
	}
	who = issue(t, s, roleToken(mine))
	if !s.Known(t, who) {
		t.Error("the session is not known")
	}
	s.Change(t, mine.ID, func(i *fsm.Identity) { i.Inline = nil })
	s.Apply(t, fsm.DeleteIdentity{ID: mine.ID})
	s.NewIdentity(t, fsm.KindRole, testkit.Account, "App", allowAll)
	if s.Known(t, who) {
		t.Error("the session outlives its role")
	}

	user, id := s.NewUser(t, testkit.Account, "alice", allowAll)
	who = issue(t, s, service.Token{AccessKeyID: "ASIAUSER", Secret: "x", Type: kms.PrincipalUser, Account: testkit.Account, Subject: id, By: user.AccessKey})
	wantCode(t, s.Call(t, who, "ListKeys", `{}`), "")
	s.Apply(t, fsm.SetAccessKeyStatus{Account: testkit.Account, ID: user.AccessKey, Status: fsm.StatusInactive})
	if s.Known(t, who) {
		t.Error("the session outlives the access key that asked for it")
	}
}

// Only the token that was sealed for the access key opens anything.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "App", allowAll)
	who := issue(t, s, roleToken(role))
	raw, err := base64.StdEncoding.DecodeString(string(who.Token))
	if err != nil {
		t.Fatal(err)
	}
	other := who
	other.AccessKey = "ASIAOTHER"
	for name, c := range map[string]testkit.Caller{
		"another access key": other, "none": {AccessKey: who.AccessKey}, "a long-term key with a token": {AccessKey: testkit.AccessKey, Token: who.Token},
		"no base64": {AccessKey: who.AccessKey, Token: "*"}, "too long": {AccessKey: who.AccessKey, Token: kms.SessionToken(strings.Repeat("A", 64<<10+4))}, "empty": {AccessKey: who.AccessKey, Token: "AAAA"},
	} {
		if s.Known(t, c) {
			t.Errorf("%s: known", name)
		}
	}
	for i := range raw {
		raw[i] ^= 1
		if s.Known(t, testkit.Caller{AccessKey: who.AccessKey, Token: kms.SessionToken(base64.StdEncoding.EncodeToString(raw))}) {
			t.Fatalf("with byte %d flipped: known", i)
		}
		raw[i] ^= 1
	}
}

func TestSessionTokensAreNotPrinted(t *testing.T) {
	t.Parallel()
	const token = kms.SessionToken("c2VjcmV0")
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "token", token, "call", service.Call{SessionToken: token})
	text, _ := token.MarshalText()
	for _, shown := range []string{fmt.Sprintf("%v %s %q %x %d %#v", token, token, token, token, token, token), fmt.Sprintf("%+v", service.Call{SessionToken: token}), b.String(), string(text)} {
		if strings.Contains(shown, "c2VjcmV0") || strings.Contains(shown, fmt.Sprintf("%x", string(token))) {
			t.Errorf("the token is shown: %s", shown)
		}
	}
}

// The record of a session shows the role and when the session began (AWS: "CloudTrail
// userIdentity element").
func TestSessionsRecord(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/App", allowAll)
	token := roleToken(role)
	token.SourceIdentity = "alice"
	a := s.Call(t, issue(t, s, token), "CreateKey", `{}`)
	wantCode(t, a, "")
	wantSame(t, s.Record(t, a)["userIdentity"], any(obj{
		"type": "AssumedRole", "principalId": role.ID + ":s", "arn": "arn:aws:sts::111122223333:assumed-role/App/s", "accountId": "111122223333", "accessKeyId": "ASIAROLEROLEROLEROLE",
		"sessionContext": obj{
			"sessionIssuer":       obj{"type": "Role", "principalId": role.ID, "arn": "arn:aws:iam::111122223333:role/svc/App", "accountId": "111122223333", "userName": "App"},
			"webIdFederationData": obj{}, "attributes": obj{"creationDate": "2026-11-24T12:00:00Z", "mfaAuthenticated": "false"}, "sourceIdentity": "alice",
		},
	}))
}

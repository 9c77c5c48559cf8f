package adminapi_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/canary"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

func TestJoinToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.Admin(t, testkit.Root, "CreateJoinToken", `{}`)
	wantOK(t, a)
	id := a.Body["tokenId"].(string)
	wantSame(t, any(a.Body), any(obj{"tokenId": id, "token": s.Member.Tokens()[0], "expires": "2026-11-24T13:00:00.345Z", "uses": 1.0}))
	token, ok := s.Machine.View().JoinToken(id)
	if !ok || token.Expires-token.Created != 3_600_000 || token.Created != testkit.Began.UnixMilli() || token.Uses != 1 || token.CIDRs != nil ||
		token.CreatedBy != "arn:aws:iam::111122223333:root" {
		t.Errorf("got %+v", token)
	}

	a = s.Admin(t, testkit.Root, "CreateJoinToken", `{"ttlSeconds":86400,"uses":100,"cidrs":["10.1.2.3/8","2001:db8::1/32"]}`)
	wantOK(t, a)
	token, ok = s.Machine.View().JoinToken(a.Body["tokenId"].(string))
	if !ok || token.Expires-token.Created != 86_400_000 || token.Uses != 100 {
		t.Errorf("got %+v", token)
	}
	wantSame(t, token.CIDRs, []string{"10.0.0.0/8", "2001:db8::/32"})
}

// retries of an SDK's call make a token each: none is kept that could be told again.
func TestJoinTokenIsNotOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	who := testkit.Root.As("id")
	first, second := s.Admin(t, who, "CreateJoinToken", `{}`), s.Admin(t, who, "CreateJoinToken", `{}`)
	wantOK(t, first)
	wantOK(t, second)
	if first.Body["token"] == second.Body["token"] {
		t.Error("one token was told twice")
	}
}

// The reply of the leader is lost after the command was applied.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	lose := func(s *testkit.Solo) {
		lost := false
		s.Lost = func(fsm.Command) error {
			if lost {
				return nil
			}
			lost = true
			return kms.ErrOutcomeUnknown
		}
	}
	s := start(t)
	lose(s)
	a := s.Admin(t, testkit.Root, "CreateJoinToken", `{}`)
	id := strings.Split(s.Member.Tokens()[0], ".")[2]
	wantRefusal(t, a, "KMSInternalException", "The join token "+id+" was made, but its text was lost on the way. Create another one.")
	if rec := s.Record(t, a); rec["errorCode"] != "KMSInternalException" {
		t.Errorf("recorded %v", rec)
	}

	// Whose credential it was does not matter to the local operator.
	s = start(t)
	lose(s)
	a = s.Local(t, uid, "ResetRootCredential", `{"accountId":"444455556666"}`)
	wantOK(t, a)
	wantSecret(t, s, a)

	// Whoever reset the own credential has none any more to be told the new one by.
	s = start(t)
	lose(s)
	a = s.Admin(t, testkit.Root, "ResetRootCredential", `{"accountId":"111122223333"}`)
	wantRefusal(t, a, "KMSInternalException", nobodyKnows)
	if _, _, ok := session(t, s).Secret(testkit.AccessKey, ""); ok {
		t.Error("the old credential still works")
	}
}

func session(t *testing.T, s *testkit.Solo) *service.Session {
	t.Helper()
	x, err := s.Service.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// wantSecret checks that the credential of an answer is the account's.
func wantSecret(t *testing.T, s *testkit.Solo, a testkit.Answer) {
	t.Helper()
	id, text := a.Body["accessKeyId"].(string), a.Body["secretAccessKey"].(string)
	if len(id) != 20 || !strings.HasPrefix(id, "AKIA") || len(text) != 40 {
		t.Errorf("got the credential %s with a secret of %d characters", id, len(text))
	}
	secret, principal, ok := session(t, s).Secret(id, "")
	if !ok || principal != kms.RootPrincipal(a.Body["accountId"].(string), id) {
		t.Fatalf("the new credential is that of %+v, %t", principal, ok)
	}
	if opened, err := secret.Open(); err != nil || string(opened) != text {
		t.Errorf("the state has another secret: %v", err)
	}
	if key, _ := s.Machine.View().AccessKey(id); key.SecretTerm != 1 || key.Created != testkit.Began.UnixMilli() {
		t.Errorf("got %d, %d", key.SecretTerm, key.Created)
	}
}

// The new credential works and the old one ends, whoever's it was.
func TestResetRootCredential(t *testing.T) {
	t.Parallel()
	for _, account := range []string{testkit.Account, testkit.OtherAccount} {
		s := start(t)
		a := s.Admin(t, testkit.Root, "ResetRootCredential", `{"accountId":"`+account+`"}`)
		wantOK(t, a)
		wantSecret(t, s, a)
		for old, owner := range map[string]string{testkit.AccessKey: testkit.Account, testkit.OtherKey: testkit.OtherAccount} {
			if _, _, ok := session(t, s).Secret(old, ""); ok == (owner == account) {
				t.Errorf("reset of %s: the old credential of %s: %t", account, owner, ok)
			}
		}
		s.Local(t, uid, "ResetRootCredential", `{"accountId":"`+account+`"}`)
		if _, _, ok := session(t, s).Secret(a.Body["accessKeyId"].(string), ""); ok {
			t.Error("a second reset left the first credential")
		}
	}
}

// A reset that another one overtook is no success.
func TestOvertakenReset(t *testing.T) {
	t.Parallel()
	s := start(t)
	lost := false
	s.Lost = func(fsm.Command) error {
		if lost {
			return nil
		}
		lost = true
		wantOK(t, s.Local(t, uid, "ResetRootCredential", `{"accountId":"444455556666"}`))
		return kms.ErrOutcomeUnknown
	}
	a := s.Admin(t, testkit.Root, "ResetRootCredential", `{"accountId":"444455556666"}`)
	wantRefusal(t, a, "ConflictException", "The credential was replaced by a later reset.")
}

// syncBuffer is a log that many goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

// No record, command, log line or state holds a secret that a reply holds.
func TestSecretsStayInReplies(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	var logged syncBuffer
	s.Logger = slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.Service = s.NewService()
	var commands bytes.Buffer
	s.Fault = func(cmd fsm.Command) error { commands.Write(cmd.Body); return nil }
	tries := 0
	s.Lost = func(fsm.Command) error {
		if tries++; tries%2 == 0 {
			return nil
		}
		return errors.Join(kms.ErrOutcomeUnknown, errors.New("lost"))
	}
	var canaries []canary.Canary
	for range 4 {
		s.Admin(t, testkit.Root, "CreateJoinToken", `{}`)
		a := s.Local(t, uid, "ResetRootCredential", `{"accountId":"444455556666"}`)
		wantOK(t, a)
		canaries = append(canaries, canary.Canary{Name: "credential", Secret: []byte(a.Body["secretAccessKey"].(string))})
		a = s.Admin(t, testkit.Root, "CreateAccount", `{}`)
		wantOK(t, a)
		canaries = append(canaries, canary.Canary{Name: "new account", Secret: []byte(a.Body["secretAccessKey"].(string))})
	}
	for _, text := range s.Member.Tokens() {
		canaries = append(canaries, canary.Canary{Name: "token", Secret: []byte(strings.Split(text, ".")[3])})
	}
	var state bytes.Buffer
	if err := s.Machine.Snapshot().Persist(&state); err != nil {
		t.Fatal(err)
	}
	found := canary.Search("state", state.Bytes(), canaries...)
	found = append(found, canary.Search("commands", commands.Bytes(), canaries...)...)
	found = append(found, canary.Search("log", logged.b.Bytes(), canaries...)...)
	files, n, err := canary.SearchFiles(s.AuditDir, func(string) bool { return true }, canaries...)
	if err != nil || n == 0 || commands.Len() == 0 || len(canaries) < 12 {
		t.Fatalf("searched %d files and %d bytes of commands for %d canaries: %v", n, commands.Len(), len(canaries), err)
	}
	for _, f := range append(found, files...) {
		t.Error(f)
	}
}

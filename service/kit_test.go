package service_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

type obj = testkit.JSON

// wantCode checks that a call was refused with the code; "" is success.
func wantCode(t *testing.T, a testkit.Answer, code string) {
	t.Helper()
	got := ""
	if a.Refusal != nil {
		got = a.Refusal.Code
	}
	if a.Err != nil || got != code {
		t.Errorf("got %v, %v; want %q", a.Refusal, a.Err, code)
	}
}

// wantAnswer checks code and message of a refusal.
func wantAnswer(t *testing.T, a testkit.Answer, code, message string) {
	t.Helper()
	if wantCode(t, a, code); a.Refusal != nil && a.Refusal.Message != message {
		t.Errorf("got  %q\nwant %q", a.Refusal.Message, message)
	}
}

func wantSame(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// open opens a session for a call that is made later.
func open(t testing.TB, s *testkit.Solo) (*service.Session, kms.Principal) {
	t.Helper()
	session := must[*service.Session](t)(s.Service.Open(context.Background()))
	_, principal, ok := session.Secret(testkit.AccessKey, "")
	if !ok {
		t.Fatal("the access key is not active")
	}
	return session, principal
}

// keys lists the ids of Account's keys.
func keys(t testing.TB, s *testkit.Solo) []string {
	t.Helper()
	ids, _ := s.Machine.View().ListKeys(testkit.Account, testkit.Region, "", 1000)
	return ids
}

func keyID(a testkit.Answer) string {
	metadata, _ := a.Body["KeyMetadata"].(obj)
	id, _ := metadata["KeyId"].(string)
	return id
}

// stateOf is the key's state in the machine.
func stateOf(t testing.TB, s *testkit.Solo, id string) kms.KeyState {
	t.Helper()
	key, ok := s.Machine.View().Key(testkit.Region, id)
	if !ok {
		t.Fatalf("no key %s", id)
	}
	return key.State
}

// times returns a hook that runs f and counts, at most n times.
func times(n int, f func(fsm.Command) error) (hook func(fsm.Command) error, count *int) {
	count = new(int)
	return func(cmd fsm.Command) error {
		if *count >= n {
			return nil
		}
		*count++
		return f(cmd)
	}, count
}

var errBroken = errors.New("broken")

// fill replaces names by values in text, which alternate in pairs.
func fill(text string, pairs []string) string { return strings.NewReplacer(pairs...).Replace(text) }

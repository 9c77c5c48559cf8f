package service_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/internal/testkit"
)

// A call that waited for its turn for long decides from what is true then, of the
// key and of the credential; one that waited a moment may keep its view; one that
// finds no place within a second is throttled.
func TestWaitingCalls(t *testing.T) {
	t.Parallel()
	disable := func(t *testing.T, s *testkit.Solo, key string) { s.SetState(t, key, "Disabled") }
	deactivate := func(t *testing.T, s *testkit.Solo, _ string) { s.SetAccessKey(t, testkit.AccessKey, "Inactive") }
	for name, row := range map[string]struct {
		op      string
		wait    time.Duration
		change  func(*testing.T, *testkit.Solo, string)
		want    string
		elapsed time.Duration
	}{
		"a moment":                      {"Encrypt", 100 * time.Millisecond, disable, "", 100 * time.Millisecond},
		"long":                          {"Encrypt", 101 * time.Millisecond, disable, "DisabledException", 101 * time.Millisecond},
		"long, credential gone":         {"Encrypt", 500 * time.Millisecond, deactivate, "UnrecognizedClientException", 500 * time.Millisecond},
		"long, a write":                 {"CreateAlias", 500 * time.Millisecond, disable, "", 500 * time.Millisecond},
		"a write with a credential off": {"CreateAlias", 500 * time.Millisecond, deactivate, "UnrecognizedClientException", 500 * time.Millisecond},
		"too long":                      {"Encrypt", 2 * time.Second, disable, "ThrottlingException", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := testkit.Start(t)
				key := s.NewKey(t)
				leave := s.Service.Hold(map[string]string{"Encrypt": "read", "CreateAlias": "write"}[row.op])
				body := obj{"KeyId": key, "Plaintext": "AA==", "AliasName": "alias/x", "TargetKeyId": key}
				began, answered := time.Now(), make(chan testkit.Answer)
				go func() { answered <- s.Call(t, testkit.Root, row.op, body) }()
				synctest.Wait()
				row.change(t, s, key)
				time.AfterFunc(row.wait, leave)
				a := <-answered
				wantCode(t, a, row.want)
				if got := time.Since(began); got != row.elapsed {
					t.Errorf("answered after %v, want %v", got, row.elapsed)
				}
				s.Record(t, a)
			})
		})
	}
}

package adminapi_test

import (
	"slices"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service/adminapi"
)

// local are the operations that need no credentials on the admin socket, public
// those that need none anywhere (DESIGN.md §9).
var (
	local  = []string{"GetStatus", "ListMembers", "LeaveCluster", "ResetRootCredential"}
	public = []string{"GetAuthority"}
)

func TestRows(t *testing.T) {
	t.Parallel()
	rows := adminapi.Rows(adminapi.Config{})
	var got []string
	for _, r := range rows {
		got = append(got, r.Name)
		actions := []string{"kmsd:" + r.Name}
		if slices.Contains(public, r.Name) {
			actions = nil
		}
		write := slices.Contains([]string{"CreateJoinToken", "ResetRootCredential", "SetConfig"}, r.Name)
		if r.Service != "kmsd" || r.Open || r.Once || r.CrossAccount || r.Write != write || r.Public != (actions == nil) ||
			r.Local != slices.Contains(local, r.Name) || !slices.Equal(r.Actions(), actions) {
			t.Errorf("got the row %+v", r)
		}
	}
	slices.Sort(got)
	wantSame(t, got, []string{"CreateJoinToken", "Explain", "GetAuthority", "GetConfig", "GetStatus", "LeaveCluster", "ListMembers", "RemoveMember", "ResetRootCredential", "SetConfig"})
}

// start returns a Solo whose cluster has an authority.
func start(t *testing.T) *testkit.Solo {
	t.Helper()
	s := testkit.Start(t)
	s.Apply(t, fsm.SetAuthority{Authority: fsm.Authority{
		Current: fsm.AuthorityKey{Cert: []byte("cluster"), SealedKey: []byte("sealed")},
		Trusted: [][]byte{[]byte("cluster")},
		API:     fsm.AuthorityKey{Cert: []byte("api"), SealedKey: []byte("sealed")},
	}})
	return s
}

// The root user of the operator account may do everything, that of another account
// nothing but what anybody may.
func TestAccounts(t *testing.T) {
	t.Parallel()
	for _, call := range bodies {
		t.Run(call.op, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			wantOK(t, s.Admin(t, testkit.Root, call.op, call.body))

			s = start(t)
			before := s.Machine.Digest()
			a := s.Admin(t, testkit.Other, call.op, call.body)
			if slices.Contains(public, call.op) {
				wantOK(t, a)
				return
			}
			wantRefusal(t, a, "AccessDeniedException", "User: arn:aws:iam::444455556666:root is not authorized to perform: kmsd:"+call.op+
				" on resource: "+cluster+" because no identity-based policy allows the kmsd:"+call.op+" action")
			if done := s.Member.Done(); len(done) != 0 || s.Machine.Digest() != before {
				t.Errorf("the refused call did something: %q", done)
			}
			if got := s.Record(t, a)["errorCode"]; got != "AccessDenied" {
				t.Errorf("recorded as %v", got)
			}
		})
	}
}

// The socket's caller may do what is local, and is told to sign for all else.
func TestLocalOperator(t *testing.T) {
	t.Parallel()
	for _, call := range bodies {
		t.Run(call.op, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			before := s.Machine.Digest()
			a := s.Local(t, uid, call.op, call.body)
			if slices.Contains(local, call.op) || slices.Contains(public, call.op) {
				wantOK(t, a)
				return
			}
			wantRefusal(t, a, "MissingAuthenticationTokenException", "Missing Authentication Token")
			if done := s.Member.Done(); len(done) != 0 || s.Machine.Digest() != before {
				t.Errorf("the refused call did something: %q", done)
			}
			wantSame(t, s.Record(t, a)["userIdentity"], parse(t, `{"type":"LocalOperator","uid":"1000"}`))
		})
	}
}

// The socket's caller is nobody to AWS's services.
func TestLocalOperatorElsewhere(t *testing.T) {
	t.Parallel()
	s := start(t)
	key := s.NewKey(t)
	for _, call := range []struct{ service, op, body string }{
		{"kms", "DescribeKey", `{"KeyId":"` + key + `"}`},
		{"kms", "Encrypt", `{"KeyId":"` + testkit.ARN(key) + `","Plaintext":"AA=="}`},
		{"kms", "DisableKey", `{"KeyId":"` + key + `"}`},
		{"kms", "CreateKey", `{}`},
		{"kms", "ListKeys", `{}`},
		{"sts", "GetCallerIdentity", ``},
	} {
		a := s.In(s.Service.OpenLocal(t.Context()), kms.LocalOperator(0), testkit.Root, call.service, call.op, call.body)
		wantRefusal(t, a, "MissingAuthenticationTokenException", "Missing Authentication Token")
	}
}

// A call without any caller gets what is public and leaves no record.
func TestNobody(t *testing.T) {
	t.Parallel()
	for _, call := range bodies {
		s := start(t)
		a := s.Anybody(t, call.op, call.body)
		if slices.Contains(public, call.op) {
			wantOK(t, a)
			if n := len(s.RecordsOf(t, a.RequestID)); n != 0 {
				t.Errorf("%s left %d records", call.op, n)
			}
			continue
		}
		if a.Refusal == nil {
			t.Errorf("%s by nobody: got %v, %v", call.op, a.Body, a.Err)
		}
	}
}

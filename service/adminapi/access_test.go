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
		write := slices.Contains([]string{"CreateAccount", "CloseAccount", "CreateJoinToken", "ResetRootCredential", "SetConfig"}, r.Name)
		if r.Service != "kmsd" || r.Open || r.Once != (r.Name == "CreateAccount") || r.CrossAccount || r.Write != write || r.Public != (actions == nil) ||
			r.Local != slices.Contains(local, r.Name) || !slices.Equal(r.Actions(), actions) {
			t.Errorf("got the row %+v", r)
		}
	}
	slices.Sort(got)
	for _, name := range got {
		bodyOf(t, name) // no row without the tests that go through bodies
	}
	wantSame(t, got, []string{"CloseAccount", "CreateAccount", "CreateJoinToken", "Explain", "GetAuthority", "GetConfig", "GetStatus", "LeaveCluster", "ListAccounts", "ListMembers", "RemoveMember", "ResetRootCredential", "SetConfig"})
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

// bodyOf returns a good request for an operation.
func bodyOf(t *testing.T, op string) string {
	t.Helper()
	i := slices.IndexFunc(bodies, func(b struct{ op, body string }) bool { return b.op == op })
	if i < 0 {
		t.Fatalf("bodies has no request for %s", op)
	}
	return bodies[i].body
}

// The root user of the operator account may do everything; nobody of another account
// anything but what anybody may, whatever its policies say.
func TestAccounts(t *testing.T) {
	t.Parallel()
	const their = "arn:aws:iam::444455556666:"
	for _, row := range adminapi.Rows(adminapi.Config{}) {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			body := bodyOf(t, row.Name)
			wantOK(t, start(t).Admin(t, testkit.Root, row.Name, body))

			s := start(t)
			user, _ := s.NewUser(t, testkit.OtherAccount, "user", everything)
			admin, id := s.NewUser(t, testkit.OtherAccount, "admin")
			s.Change(t, id, func(i *fsm.Identity) { i.Attached = []string{"arn:aws:iam::aws:policy/AdministratorAccess"} })
			// Coming from the operator account helps no session.
			operator, _ := s.NewUser(t, testkit.Account, "operator", everything)
			s.SetTrust(t, s.NewIdentity(t, fsm.KindRole, testkit.OtherAccount, "App", everything).ID, trustsAll)
			const session = "arn:aws:sts::444455556666:assumed-role/App/ci"
			wantOutside(t, s, testkit.Other, their+"root", row.Name, body)
			wantOutside(t, s, user, their+"user/user", row.Name, body)
			wantOutside(t, s, admin, their+"user/admin", row.Name, body)
			wantOutside(t, s, assume(t, s, user, their+"role/App"), session, row.Name, body)
			wantOutside(t, s, assume(t, s, operator, their+"role/App"), session, row.Name, body)
		})
	}
}

const (
	// everything is a policy that allows every action on every resource.
	everything = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	// trustsAll is a trust policy that lets everybody assume the role.
	trustsAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`
)

// wantOutside checks that a caller may not do a call that is not public, that nothing was
// done and that the refusal is recorded.
func wantOutside(t *testing.T, s *testkit.Solo, who testkit.Caller, arn, op, body string) {
	t.Helper()
	before := s.Machine.Digest()
	a := s.Admin(t, who, op, body)
	if slices.Contains(public, op) {
		wantOK(t, a)
		return
	}
	wantRefusal(t, a, "AccessDeniedException", "User: "+arn+" is not authorized to perform: kmsd:"+op+
		" on resource: "+cluster+" because no identity-based policy allows the kmsd:"+op+" action")
	if done := s.Member.Done(); len(done) != 0 || s.Machine.Digest() != before {
		t.Errorf("the refused call did something: %q", done)
	}
	record := s.Record(t, a)
	if record["errorCode"] != "AccessDenied" || record["recipientAccountId"] != testkit.OtherAccount {
		t.Errorf("recorded as %v", record)
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

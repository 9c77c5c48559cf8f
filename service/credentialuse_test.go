package service_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// wantSigned lets the leader work for a round and checks what the state knows of a
// credential's use then; nil stands for nothing.
func wantSigned(t *testing.T, s *testkit.Solo, id string, want *fsm.CredentialUse) {
	t.Helper()
	gather(s.Service, 61*time.Second)
	got, exists := s.Machine.View().CredentialUse(id)
	if got != nil {
		plain := *got
		plain.ModIndex = 0
		got = &plain
	}
	if !exists || !cmp.Equal(got, want) {
		t.Errorf("use of %s: got %+v, %v, want %+v", id, got, exists, want)
	}
}

// at is a use of a credential that long after the Solo began.
func at(d time.Duration, id, serviceName, region string) *fsm.CredentialUse {
	return &fsm.CredentialUse{ID: id, Service: serviceName, Region: region, Time: testkit.Began.Add(d).UnixMilli()}
}

// Every request counts whose signature was valid: reads and writes, those that
// succeed and those that are refused at whichever step, of users and of root users.
func TestRequestsThatCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		key := s.NewKey(t)
		alice, _ := s.NewUser(t, testkit.Account, "alice")
		now := time.Duration(0)
		for _, tt := range []struct {
			what, service, op, body, code string
			who                           testkit.Caller
		}{
			{"a read", "kms", "DescribeKey", `{"KeyId":"` + key + `"}`, "", testkit.Root},
			{"a use of a key", "kms", "Encrypt", `{"KeyId":"` + key + `","Plaintext":"AA=="}`, "", testkit.Root},
			{"a write", "kms", "DisableKey", `{"KeyId":"` + key + `"}`, "", testkit.Root},
			{"the state of a key", "kms", "Encrypt", `{"KeyId":"` + key + `","Plaintext":"AA=="}`, "DisabledException", testkit.Root},
			{"another account", "sts", "GetCallerIdentity", "", "", testkit.Other.In("eu-west-1")},
			{"no permission for a read", "kms", "ListKeys", "{}", "AccessDeniedException", alice.In("eu-central-1")},
			{"no permission for a write", "kms", "CreateKey", "{}", "AccessDeniedException", alice},
			{"no JSON", "kms", "Encrypt", "?", "SerializationException", alice.In("us-west-2")},
			{"a constraint, of a write", "kms", "CreateAlias", "{}", "ValidationException", alice},
			{"IAM", "iam", "GetUser", "UserName=alice", "AccessDeniedException", alice},
			{"the operators' API", "kmsd", "ListMembers", "{}", "AccessDeniedException", alice},
		} {
			now += time.Second
			s.Advance(time.Second)
			a := s.Raw(t, tt.who, tt.service, tt.op, tt.body)
			if wantCode(t, a, tt.code); t.Failed() {
				t.Fatal(tt.what)
			}
			wantSigned(t, s, tt.who.AccessKey, at(now, tt.who.AccessKey, tt.service, tt.who.Region))
		}
		s.Advance(time.Second)
		s.Trail.Fault = func(*audit.Record) error { return errBroken }
		if a := s.Call(t, alice, "DescribeKey", obj{"KeyId": key}); a.Err == nil {
			t.Errorf("without a record: got %+v", a)
		}
		s.Trail.Fault = nil
		wantSigned(t, s, alice.AccessKey, at(now+time.Second, alice.AccessKey, "kms", "us-east-1"))
	})
}

// An access key whose signature did not verify was not used: all that was done with it
// is to look for its secret. Local operators and those whom nobody proves use none.
func TestRequestsThatDoNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "App", allowAll)
		who := issue(t, s, roleToken(role))
		for range 2 {
			if !s.Known(t, testkit.Root) || !s.Known(t, who) {
				t.Fatal("the credentials are not known")
			}
		}
		wantCode(t, s.Local(t, 0, "ListMembers", "{}"), "")
		wantCode(t, s.Anybody(t, "GetAuthority", "{}"), "NotFoundException")
		wantSigned(t, s, testkit.AccessKey, nil)
		wantSigned(t, s, role.ID, nil)
		if n := s.Service.HeldCredentials(); n != 0 {
			t.Errorf("%d uses are held", n)
		}
	})
}

// A role's sessions note the role, whatever they are named; a user's session notes
// nothing, neither the user's access key nor its own.
func TestRequestsOfSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		role, idle := s.NewIdentity(t, fsm.KindRole, testkit.Account, "App", allowAll), s.NewIdentity(t, fsm.KindRole, testkit.Account, "Idle")
		wantCode(t, s.Call(t, issue(t, s, roleToken(role)).In("eu-west-1"), "ListKeys", "{}"), "")
		wantSigned(t, s, role.ID, at(0, role.ID, "kms", "eu-west-1"))
		s.Advance(time.Minute)
		other := roleToken(role)
		other.AccessKeyID, other.Name = "ASIAOTHEROTHEROTHER2", "other"
		other.Policies = []string{`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`}
		wantCode(t, s.Call(t, issue(t, s, other), "ListKeys", "{}"), "AccessDeniedException")
		wantSigned(t, s, role.ID, at(time.Minute, role.ID, "kms", "us-east-1"))
		wantSigned(t, s, idle.ID, nil)

		alice, id := s.NewUser(t, testkit.Account, "alice", allowAll)
		session := issue(t, s, service.Token{AccessKeyID: "ASIAUSER", Secret: "x", Type: kms.PrincipalUser, Account: testkit.Account, Subject: id, By: alice.AccessKey})
		wantCode(t, s.Call(t, session, "ListKeys", "{}"), "")
		wantSigned(t, s, alice.AccessKey, nil)
		if u, exists := s.Machine.View().CredentialUse("ASIAUSER"); u != nil || exists {
			t.Errorf("a session's access key: got %+v, %v", u, exists)
		}
	})
}

// credentialCommands counts the commands that bring credentials' uses. fate is
// usages.fate for them.
type credentialCommands struct {
	n    int
	fate error
}

func watchCredentials(s *testkit.Solo) *credentialCommands {
	c := &credentialCommands{}
	s.Fault = func(cmd fsm.Command) error {
		if cmd.Type != fsm.TypeRecordCredentials {
			return nil
		}
		if c.fate == nil {
			c.n++
		}
		return c.fate
	}
	return c
}

// All requests of a minute, on all nodes, make one command; without requests there is
// none. Followers hand theirs to the leader, and what could not be handed over is sent
// again.
func TestRequestsReachTheState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		follower := s.NewService()
		alice, _ := s.NewUser(t, testkit.Account, "alice", allowAll)
		c := watchCredentials(s)
		for range 100 {
			s.Advance(time.Second)
			callOn(t, s, follower, "ListKeys", obj{}) // by the root user
			wantCode(t, s.Call(t, alice, "ListKeys", "{}"), "")
		}
		c.fate = kms.ErrNotLeader
		s.Down = kms.ErrUnavailable
		gather(follower, 3*time.Minute)
		s.Down = nil
		gather(follower, 61*time.Second)
		wantSame(t, s.Service.HeldCredentials(), 1) // what it took
		c.fate = nil
		wantSigned(t, s, alice.AccessKey, at(100*time.Second, alice.AccessKey, "kms", "us-east-1"))
		wantSigned(t, s, testkit.AccessKey, at(100*time.Second, testkit.AccessKey, "kms", "us-east-1"))
		for _, on := range []*service.Service{s.Service, follower} {
			gather(on, 10*time.Minute)
			wantSame(t, on.HeldCredentials(), 0)
		}
		wantSame(t, c.n, 1)
	})
}

// The use of a credential that was deleted is not held for ever, nor brought in: not
// even that of the call which deleted it.
func TestRequestsOfDeletedCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "App")
		alice, _ := s.NewUser(t, testkit.Account, "alice", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:*","Resource":"*"}}`)
		wantCode(t, s.Raw(t, issue(t, s, roleToken(role)), "sts", "GetCallerIdentity", ""), "")
		s.Apply(t, fsm.DeleteIdentity{ID: role.ID})
		wantCode(t, s.Raw(t, alice, "iam", "DeleteAccessKey", "AccessKeyId="+alice.AccessKey), "")
		c := watchCredentials(s)
		gather(s.Service, 61*time.Second)
		if n := s.Service.HeldCredentials(); n != 0 || c.n != 0 {
			t.Errorf("%d uses are held, %d commands were proposed", n, c.n)
		}
	})
}

// More credentials than a command carries make several.
func TestRequestsInPieces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		var uses []fsm.CredentialUse
		for range fsm.MaxUsages + 1 {
			alice := s.NewIdentity(t, fsm.KindRole, testkit.Account, "r"+service.NewUUID())
			uses = append(uses, *at(0, alice.ID, "kms", "us-east-1"))
		}
		c := watchCredentials(s)
		if _, _, err := s.Service.Execute(context.Background(), service.ForwardedUses(nil, uses...)); err != nil {
			t.Fatal(err)
		}
		gather(s.Service, 61*time.Second)
		wantSame(t, c.n, 2)
		for i := range uses {
			if u, _ := s.Machine.View().CredentialUse(uses[i].ID); u == nil || u.Time != uses[i].Time {
				t.Errorf("use of %s: got %+v", uses[i].ID, u)
			}
		}
	})
}

package testkit

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// NewUser makes a user with inline policies and an access key, straight in the state,
// and returns how it signs and its unique id. The name may hold a path: "/eng/alice".
func (s *Solo) NewUser(t testing.TB, account, name string, policies ...string) (Caller, string) {
	t.Helper()
	user := s.NewIdentity(t, fsm.KindUser, account, name, policies...)
	id := fmt.Sprintf("AKIA%016d", s.Machine.Index())
	secret, err := s.Keyring.Seal(service.SecretPurpose, id, []byte("a secret of the tests"))
	check(t, err)
	s.Apply(t, fsm.CreateAccessKey{AccessKey: fsm.AccessKey{ID: id, Account: account, Type: kms.PrincipalUser, UniqueID: user.ID,
		Status: fsm.StatusActive, Created: s.Now().UnixMilli(), SecretTerm: 1, Secret: secret}})
	return Caller{AccessKey: id, Region: Region}, user.ID
}

// NewIdentity makes a user, group or role with inline policies.
func (s *Solo) NewIdentity(t testing.TB, kind fsm.IdentityKind, account, name string, policies ...string) *fsm.Identity {
	t.Helper()
	path, base := "/", name
	if at := strings.LastIndexByte(name, '/'); at >= 0 {
		path, base = name[:at+1], name[at+1:]
	}
	prefix := map[fsm.IdentityKind]string{fsm.KindUser: "AIDA", fsm.KindGroup: "AGPA", fsm.KindRole: "AROA"}[kind]
	i := fsm.Identity{ID: fmt.Sprintf("%s%017d", prefix, s.Machine.Index()), Kind: kind, Account: account, Name: base, Path: path, Created: s.Now().UnixMilli()}
	texts := policies
	if kind == fsm.KindRole {
		trust := `{"Version":"2012-10-17","Statement":[]}`
		i.Trust, i.MaxSession, texts = sha256.Sum256([]byte(trust)), 3600, append(texts, trust)
	}
	for n, text := range policies {
		i.Inline = append(i.Inline, fsm.InlinePolicy{Name: fmt.Sprint("inline", n), Hash: sha256.Sum256([]byte(text))})
	}
	s.Apply(t, fsm.CreateIdentity{Identity: i, Texts: texts})
	return &i
}

// Change replaces an identity by what change makes of it.
func (s *Solo) Change(t testing.TB, id string, change func(*fsm.Identity)) {
	t.Helper()
	had, ok := s.Machine.View().Identity(id)
	if !ok {
		t.Fatalf("there is no identity %s", id)
	}
	i := *had
	i.ModIndex = 0
	change(&i)
	s.Apply(t, fsm.SetIdentity{Identity: i})
}

// Known tells whether the caller's access key may sign.
func (s *Solo) Known(t testing.TB, who Caller) bool {
	t.Helper()
	session, err := s.Service.Open(t.Context())
	check(t, err)
	_, _, ok := session.Secret(who.AccessKey, who.Token)
	return ok
}

// SetTrust gives a role a trust policy, in the form in which it is stored.
func (s *Solo) SetTrust(t testing.TB, id, trust string) {
	t.Helper()
	had, _ := s.Machine.View().Identity(id)
	i := *had
	i.ModIndex, i.Trust = 0, sha256.Sum256([]byte(trust))
	s.Apply(t, fsm.SetIdentity{Identity: i, Texts: []string{trust}})
}

// NewManagedPolicy makes a managed policy and returns its ARN.
func (s *Solo) NewManagedPolicy(t testing.TB, account, name, text string) string {
	t.Helper()
	p := fsm.ManagedPolicy{
		ID: fmt.Sprintf("ANPA%017d", s.Machine.Index()), Account: account, Name: name, Path: "/", Created: s.Now().UnixMilli(), Updated: s.Now().UnixMilli(),
		Versions: []fsm.PolicyVersion{{ID: "v1", Hash: sha256.Sum256([]byte(text)), Created: s.Now().UnixMilli()}}, Default: "v1", Made: 1,
	}
	s.Apply(t, fsm.CreateManagedPolicy{Policy: p, Texts: []string{text}})
	return p.ARN()
}

// NewServiceRole makes the role of a service, which is tagged as one, in the operator
// account.
func (s *Solo) NewServiceRole(t testing.TB, name string, policies ...string) *fsm.Identity {
	t.Helper()
	role := s.NewIdentity(t, fsm.KindRole, Account, name+"-service", policies...)
	s.Change(t, role.ID, func(i *fsm.Identity) { i.Tags = []fsm.Tag{{Key: "kmsd:service", Value: name}} })
	return role
}

// Session returns temporary credentials of a role as STS makes them, with tags: each is
// a key and its value after an equals sign.
func (s *Solo) Session(t testing.TB, role *fsm.Identity, tags ...string) Caller {
	t.Helper()
	token := service.Token{Type: kms.PrincipalAssumedRole, Account: role.Account, Subject: role.ID, Name: "node-1", Issued: s.Now().UnixMilli()}
	for _, tag := range tags {
		key, value, _ := strings.Cut(tag, "=")
		token.Tags = append(token.Tags, kms.SessionTag{Key: key, Value: value})
	}
	token.AccessKeyID, token.Secret = service.NewAccessKey("ASIA")
	token.Expires = token.Issued + 3_600_000
	sealed, err := token.Seal(s.Keyring)
	check(t, err)
	return Caller{AccessKey: token.AccessKeyID, Region: Region, Token: sealed}
}

package iam_test

import (
	"testing"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

const (
	accountA = "111111111111"
	accountB = "222222222222"
	keyARN   = "arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	userID   = "AIDAALICE0ALICE0ALICE"
	otherID  = "AIDAVICTOR0VICTOR0VIC"
	foreign  = "AIDAXAVER0XAVER0XAVER"
	roleID   = "AROAAPP0APP0APP0APP0A"
)

// fixed is a context of fixed values.
type fixed map[string][]string

func (f fixed) Values(key string) ([]string, bool) {
	v, ok := f[key]
	return v, ok
}

func parse(t testing.TB, text string, kind iam.Kind) *iam.Policy {
	t.Helper()
	p, err := iam.Parse(text, kind)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func identity(t testing.TB, texts ...string) (out []iam.Attached) {
	t.Helper()
	for _, text := range texts {
		out = append(out, iam.Attached{Policy: parse(t, text, iam.IdentityPolicy), Name: "inline"})
	}
	return out
}

// user is the user U of the key's account.
func user(t testing.TB, policies ...string) *iam.Subject {
	return &iam.Subject{Identity: identity(t, policies...), Principal: &kms.Principal{Type: kms.PrincipalUser, Account: accountA, UniqueID: userID,
		ARN: "arn:aws:iam::111111111111:user/alice"}}
}

// victor is the user V of the key's account.
func victor(t testing.TB, policies ...string) *iam.Subject {
	s := user(t, policies...)
	s.Principal.UniqueID, s.Principal.ARN = otherID, "arn:aws:iam::111111111111:user/victor"
	return s
}

// xaver is the user X of another account.
func xaver(t testing.TB, policies ...string) *iam.Subject {
	s := user(t, policies...)
	s.Principal.Account, s.Principal.UniqueID, s.Principal.ARN = accountB, foreign, "arn:aws:iam::222222222222:user/xaver"
	return s
}

// session is the session s of the role R of the key's account.
func session(t testing.TB, policies ...string) *iam.Subject {
	s := user(t, policies...)
	s.Principal.Type, s.Principal.UniqueID, s.Principal.RoleID = kms.PrincipalAssumedRole, roleID+":s", roleID
	s.Principal.ARN = "arn:aws:sts::111111111111:assumed-role/App/s"
	return s
}

func root(account string) *iam.Subject {
	p := kms.RootPrincipal(account, "AKIAIOSFODNN7EXAMPLE")
	return &iam.Subject{Principal: &p}
}

func (f fixed) request(action string) *iam.Request {
	return &iam.Request{Action: action, Resource: keyARN, Account: accountA, Context: f}
}

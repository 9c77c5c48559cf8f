package iam_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/iam"
)

// granted are the ids of a grant to the caller and of one to its account.
type granted struct{ caller, account string }

func (g granted) Find(toAccount bool) string {
	if toAccount {
		return g.account
	}
	return g.caller
}

// Grants add to what policies allow, and take nothing from what they deny (AWS KMS:
// "Grants in AWS KMS"; appendix A.2, 8, 19 and 20).
func TestGrantDecisions(t *testing.T) {
	t.Parallel()
	def := iam.DefaultKeyPolicy(accountA)
	denied := keyPolicy(lets("Allow", rootA, "kms:*", ""), lets("Deny", rootA, "kms:Decrypt", ""))
	deniedX := keyPolicy(lets("Allow", rootA, "kms:*", ""), lets("Deny", onlyX, "kms:Decrypt", ""))
	all, noKMS, never := allow("kms:*", "*"), allow("s3:*", "*"), deny("kms:*", "*")
	caller, account, both := granted{caller: "g"}, granted{account: "a"}, granted{"g", "a"}
	for _, tt := range []struct {
		name, policy, want string
		who                *iam.Subject
		grants             granted
	}{
		{"no grant", def, byIdentity, user(t), granted{}},
		{"a grant to the caller", def, "", user(t), caller},
		{"a grant to the caller of another account", def, "", xaver(t), caller},
		{"a grant to the caller, whom the key's policy does not know", keyPolicy(lets("Allow", onlyU, "kms:*", "")), "", victor(t), caller},
		{"a boundary does not limit grants", def, "", withBoundary(t, user(t, all), noKMS), caller},
		{"session policies do not limit grants", def, "", withSession(t, session(t, all), noKMS), caller},
		{"a grant to the account", def, byIdentity, user(t), account},
		{"a grant to the account, without delegation", keyPolicy(lets("Allow", onlyU, "kms:*", "")), byIdentity, victor(t), account},
		{"a grant to the account instead of delegation", keyPolicy(lets("Allow", onlyU, "kms:*", "")), "", victor(t, all), account},
		{"a grant to another account, none allowed", def, byIdentity, xaver(t), account},
		{"a grant to another account, allowed", def, "", xaver(t, all), account},
		{"a grant to another account, its root user", def, "", root(accountB), account},
		{"a grant to another account, a boundary", def, byBoundary, withBoundary(t, xaver(t, all), noKMS), account},
		{"a grant to the account, a session policy", keyPolicy(lets("Allow", onlyU, "kms:*", "")), bySession, withSession(t, session(t, all), noKMS), account},
		{"both", def, "", xaver(t), both},
		{"an identity policy denies", def, denyID, user(t, never), both},
		{"an identity policy of another account denies", def, denyID, xaver(t, all, never), caller},
		{"an identity policy denies, a grant to the account", def, denyID, xaver(t, all, never), account},
		{"a boundary denies", def, denyBound, withBoundary(t, user(t, all), never), caller},
		{"a session policy denies", def, denySession, withSession(t, session(t, all), never), caller},
		{"the key's policy denies", denied, denyKey, user(t, all), both},
		{"the key's policy denies another account", deniedX, denyKey, xaver(t, all), both},
		{"another account without a grant hears nothing of its own policies", def, byResource, xaver(t, never), granted{}},
	} {
		r := fixed{}.request("kms:Decrypt")
		r.Grants = tt.grants
		d := iam.AuthorizeKey(tt.who, r, parse(t, tt.policy, iam.KeyPolicy), true)
		got, want := "", strings.Replace(tt.want, "allows the ", "allows the kms:Decrypt action", 1)
		if !d.Allowed {
			got = d.Why("kms:Decrypt")
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", tt.name, got, want)
		}
		if d.Allowed && (d.Ground != iam.ByGrant || d.Decided() || d.Policy != tt.grants.caller && d.Policy != tt.grants.account) {
			t.Errorf("%s: got %+v, want it by a grant", tt.name, d)
		}
	}
}

// What policies allow or deny is not looked for among grants.
func TestGrantsAreAskedLast(t *testing.T) {
	t.Parallel()
	r := fixed{}.request("kms:Decrypt")
	r.Grants = forbidden{t}
	byName, deniesAll := keyPolicy(lets("Allow", onlyU, "kms:*", "")), keyPolicy(lets("Deny", anybody, "kms:*", ""))
	for _, tt := range []struct {
		policy string
		who    *iam.Subject
	}{
		{iam.DefaultKeyPolicy(accountA), user(t, allow("kms:*", "*"))}, {byName, user(t)}, {deniesAll, user(t)}, {deniesAll, xaver(t)},
	} {
		iam.AuthorizeKey(tt.who, r, parse(t, tt.policy, iam.KeyPolicy), true)
	}
}

type forbidden struct{ t *testing.T }

func (f forbidden) Find(bool) string {
	f.t.Error("grants were asked for")
	return ""
}

// Who may retire a grant (AWS KMS: "Retiring and revoking grants").
func TestRetireDecisions(t *testing.T) {
	t.Parallel()
	def := iam.DefaultKeyPolicy(accountA)
	letsAll := keyPolicy(lets("Allow", anybody, "kms:*", ""))
	denies := keyPolicy(lets("Allow", rootA, "kms:*", ""), lets("Deny", anybody, "kms:RetireGrant", ""))
	all, noKMS, never := allow("kms:*", "*"), allow("s3:*", "*"), deny("kms:RetireGrant", "*")
	named, account := iam.Retirer{Named: true}, iam.Retirer{Account: true}
	for _, tt := range []struct {
		name, policy, want string
		who                *iam.Subject
		is                 iam.Retirer
	}{
		{"whom the grant names", def, "", user(t), named},
		{"whom the grant names, of another account", def, "", xaver(t), named},
		{"whom the grant names, with a boundary", def, "", withBoundary(t, user(t), noKMS), named},
		{"a user of the account", def, byIdentity, user(t), account},
		{"a user of the account to whom it delegates", def, "", user(t, all), account},
		{"the account's root user", def, "", root(accountA), account},
		{"another account that made the grant", def, "", xaver(t, all), account},
		{"a delegate with a boundary", def, byBoundary, withBoundary(t, user(t, all), noKMS), account},
		{"a delegate with a session policy", def, bySession, withSession(t, session(t, all), noKMS), account},
		{"a key policy lets nobody retire", letsAll, byResource, xaver(t, all), iam.Retirer{}},
		{"a key policy does not delegate", letsAll, byIdentity, user(t), account},
		{"nobody's right, and a denial of one's own", def, byResource, xaver(t, never), iam.Retirer{}},
		{"denied by an identity policy", def, denyID, user(t, never), named},
		{"denied by an identity policy of another account", def, denyID, xaver(t, all, never), account},
		{"denied by the key's policy", denies, denyKey, user(t), named},
		{"denied by the key's policy, a root user", denies, denyKey, root(accountA), account},
	} {
		d := iam.AuthorizeRetire(tt.who, fixed{}.request("kms:RetireGrant"), parse(t, tt.policy, iam.KeyPolicy), tt.is)
		got, want := "", strings.Replace(tt.want, "allows the ", "allows the kms:RetireGrant action", 1)
		if !d.Allowed {
			got = d.Why("kms:RetireGrant")
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", tt.name, got, want)
		}
	}
}

func TestDecisionByGrantDoesNotAllocate(t *testing.T) {
	s, r, key := typical(t)
	r.Action, r.Grants = "kms:Sign", granted{caller: "g"}
	if d := iam.AuthorizeKey(s, r, key, true); d.Ground != iam.ByGrant {
		t.Fatalf("got %+v", d)
	}
	if n := testing.AllocsPerRun(100, func() { iam.AuthorizeKey(s, r, key, true) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

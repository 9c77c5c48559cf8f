package iam_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/iam"
)

const (
	byIdentity  = "because no identity-based policy allows the "
	byResource  = "because no resource-based policy allows the "
	byBoundary  = "because no permissions boundary allows the "
	bySession   = "because no session policy allows the "
	denyID      = "with an explicit deny in an identity-based policy"
	denyKey     = "with an explicit deny in a resource-based policy"
	denyBound   = "with an explicit deny in a permissions boundary"
	denySession = "with an explicit deny in a session policy"
	allowed     = ""
)

func allow(action, resource string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}}`
}

func deny(action, resource string) string {
	return strings.Replace(allow(action, resource), "Allow", "Deny", 1)
}

// keyPolicy makes a key policy of statements.
func keyPolicy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// lets makes a statement of a key policy.
func lets(effect, principal, action, more string) string {
	return `{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"` + action + `","Resource":"*"` + more + `}`
}

const (
	rootA   = `{"AWS":"arn:aws:iam::111111111111:root"}`
	rootB   = `{"AWS":"222222222222"}`
	onlyU   = `{"AWS":"` + userID + `"}`
	onlyX   = `{"AWS":"` + foreign + `"}`
	anybody = `{"AWS":"*"}`
)

func withBoundary(t testing.TB, s *iam.Subject, text string) *iam.Subject {
	s.Boundary = iam.Attached{Policy: parse(t, text, iam.IdentityPolicy), Name: "boundary"}
	return s
}

func withSession(t testing.TB, s *iam.Subject, texts ...string) *iam.Subject {
	s.Session = identity(t, texts...)
	return s
}

// decisions are those of appendix A.2 that need neither grants nor more than one
// check, by their numbers there. want is the reason of a denial.
func decisions(t testing.TB) []struct {
	name, policy, action, want string
	who                        *iam.Subject
	ctx                        fixed
	foreign                    bool // callers of other accounts may be let in
} {
	def := iam.DefaultKeyPolicy(accountA)
	four := keyPolicy(lets("Allow", onlyU, "kms:Decrypt", ""))
	eight := keyPolicy(lets("Allow", rootA, "kms:*", ""), lets("Deny", rootA, "kms:Decrypt", ""))
	fourteen := keyPolicy(lets("Allow", rootA, "kms:*", ""), lets("Allow", `{"AWS":"arn:aws:iam::222222222222:root"}`, "kms:*", ""))
	byARN := keyPolicy(lets("Allow", anybody, "kms:Decrypt", `,"Condition":{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111111111111:role/App"}}`))
	thirty := keyPolicy(lets("Allow", anybody, "kms:Decrypt", ""))
	all := allow("kms:*", "*")
	noKMS := allow("s3:*", "*")
	decryptK := allow("kms:Decrypt", keyARN)
	twentyFive := keyPolicy(lets("Allow", rootA, "kms:*", ""), lets("Deny", rootA, "kms:*", `,"Condition":{"StringNotEquals":{"kms:EncryptionContext:app":"x"}}`))
	alias := keyPolicy(lets("Allow", onlyU, "kms:Decrypt", `,"Condition":{"StringEquals":{"kms:RequestAlias":"alias/app"}}`))
	tagged := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/env":"dev"}}}}`
	bypass := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:PutKeyPolicy","Resource":"*","Condition":{"Bool":{"kms:BypassPolicyLockoutSafetyCheck":"false"}}}}`
	return []struct {
		name, policy, action, want string
		who                        *iam.Subject
		ctx                        fixed
		foreign                    bool
	}{
		{name: "1", policy: def, who: user(t), action: "kms:Decrypt", want: byIdentity},
		{name: "2", policy: def, who: user(t, decryptK), action: "kms:Decrypt"},
		{name: "3", policy: def, who: root(accountA), action: "kms:ScheduleKeyDeletion"},
		{name: "4", policy: four, who: user(t), action: "kms:Decrypt"},
		{name: "5", policy: four, who: victor(t, all), action: "kms:Decrypt", want: byResource},
		{name: "6", policy: four, who: root(accountA), action: "kms:PutKeyPolicy", want: byResource},
		{name: "7", policy: four, who: user(t, deny("kms:*", "*")), action: "kms:Decrypt", want: denyID},
		{name: "8, a user", policy: eight, who: user(t, all), action: "kms:Decrypt", want: denyKey},
		{name: "8, the root user", policy: eight, who: root(accountA), action: "kms:Decrypt", want: denyKey},
		{name: "8, a session", policy: eight, who: session(t, all), action: "kms:Decrypt", want: denyKey},
		{name: "8, another action", policy: eight, who: user(t, all), action: "kms:Encrypt"},
		{name: "9", policy: keyPolicy(lets("Allow", rootA, "kms:*", `,"Condition":{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}`)), who: user(t, all), action: "kms:Decrypt", want: byResource},
		{name: "10", policy: keyPolicy(lets("Allow", `{"AWS":"`+roleID+`"}`, "kms:*", "")), who: withSession(t, session(t), noKMS), action: "kms:Decrypt", want: bySession},
		{name: "11", policy: keyPolicy(lets("Allow", `{"AWS":"`+roleID+`:s"}`, "kms:*", "")), who: withSession(t, session(t), noKMS), action: "kms:Decrypt"},
		{name: "12", policy: four, who: withBoundary(t, user(t), noKMS), action: "kms:Decrypt"},
		{name: "13", policy: def, who: withBoundary(t, user(t, all), noKMS), action: "kms:Decrypt", want: byBoundary},
		{name: "14, none", policy: fourteen, who: xaver(t), action: "kms:Decrypt", foreign: true, want: byIdentity},
		{name: "14, allowed", policy: fourteen, who: xaver(t, decryptK), action: "kms:Decrypt", foreign: true},
		{name: "15", policy: keyPolicy(lets("Allow", onlyX, "kms:Decrypt", "")), who: xaver(t), action: "kms:Decrypt", foreign: true, want: byIdentity},
		{name: "16", policy: def, who: xaver(t, all), action: "kms:Decrypt", foreign: true, want: byResource},
		{name: "17, DisableKey", policy: fourteen, who: xaver(t, all), action: "kms:DisableKey", want: byResource},
		{name: "17, TagResource", policy: fourteen, who: xaver(t, all), action: "kms:TagResource", want: byResource},
		{name: "17, GetKeyPolicy", policy: fourteen, who: xaver(t, all), action: "kms:GetKeyPolicy", want: byResource},
		{name: "24", policy: keyPolicy(lets("Allow", onlyU, "kms:CreateGrant", `,"Condition":{"Bool":{"kms:GrantIsForAWSResource":true}}`)), who: user(t), action: "kms:CreateGrant",
			ctx: fixed{"kms:grantisforawsresource": {"false"}}, want: byResource},
		{name: "25", policy: twentyFive, who: user(t, all), action: "kms:Encrypt", want: denyKey},
		{name: "25, with the pair", policy: twentyFive, who: user(t, all), action: "kms:Encrypt", ctx: fixed{"kms:encryptioncontext:app": {"x"}}},
		{name: "25, with another", policy: twentyFive, who: user(t, all), action: "kms:Encrypt", ctx: fixed{"kms:encryptioncontext:app": {"y"}}, want: denyKey},
		{name: "26", policy: twentyFive, who: user(t, all), action: "kms:DescribeKey", want: denyKey},
		{name: "27, by alias", policy: alias, who: user(t), action: "kms:Decrypt", ctx: fixed{"kms:requestalias": {"alias/app"}}},
		{name: "27, by id", policy: alias, who: user(t), action: "kms:Decrypt", want: byResource},
		{name: "28", policy: def, who: user(t, tagged), action: "kms:Decrypt", ctx: fixed{"aws:resourcetag/env": {"dev"}}},
		{name: "28, in the key policy", policy: keyPolicy(lets("Allow", onlyU, "kms:Decrypt", `,"Condition":{"StringEquals":{"aws:ResourceTag/env":"dev"}}`)), who: user(t),
			action: "kms:Decrypt", ctx: fixed{"aws:resourcetag/env": {"dev"}}, want: byResource},
		{name: "29", policy: def, who: user(t, allow("kms:CreateAlias", "arn:aws:kms:*:111111111111:alias/*")), action: "kms:CreateAlias", want: byIdentity},
		{name: "30, U", policy: thirty, who: user(t), action: "kms:Decrypt", foreign: true},
		{name: "30, X none", policy: thirty, who: xaver(t), action: "kms:Decrypt", foreign: true, want: byIdentity},
		{name: "30, X allowed", policy: thirty, who: xaver(t, all), action: "kms:Decrypt", foreign: true},
		{name: "31", policy: def, who: user(t, allow("kms:ReEncrypt*", "arn:aws:kms:us-east-1:111111111111:key/another")), action: "kms:ReEncryptTo", want: byIdentity},
		{name: "35", policy: def, who: user(t, bypass), action: "kms:PutKeyPolicy", want: byIdentity},
		{name: "35, IfExists", policy: def, who: user(t, strings.Replace(bypass, `"Bool"`, `"BoolIfExists"`, 1)), action: "kms:PutKeyPolicy"},
		// Beyond the appendix: §5.1 to §5.3.
		{name: "nobody is let in by an identity policy alone", policy: keyPolicy(lets("Allow", rootB, "kms:*", "")), who: user(t, all), action: "kms:Decrypt", want: byResource},
		{name: "root of a foreign account", policy: fourteen, who: root(accountB), action: "kms:Decrypt", foreign: true},
		{name: "root of a foreign account, not let in", policy: def, who: root(accountB), action: "kms:Decrypt", foreign: true, want: byResource},
		{name: "X allowed by name on both sides", policy: keyPolicy(lets("Allow", onlyX, "kms:Decrypt", "")), who: xaver(t, all), action: "kms:Decrypt", foreign: true},
		{name: "X denied by its own account", policy: fourteen, who: xaver(t, all, deny("kms:Decrypt", "*")), action: "kms:Decrypt", foreign: true, want: denyID},
		// A caller of another account hears nothing of its own policies before the key's lets it in.
		{name: "X denied by its own account, not let in", policy: def, who: xaver(t, all, deny("kms:Decrypt", "*")), action: "kms:Decrypt", foreign: true, want: byResource},
		{name: "X denied by its own account, in an operation within accounts", policy: fourteen, who: xaver(t, all, deny("kms:DisableKey", "*")), action: "kms:DisableKey", want: byResource},
		{name: "X denied by both accounts", policy: keyPolicy(lets("Allow", onlyX, "kms:*", ""), lets("Deny", onlyX, "kms:Decrypt", "")), who: xaver(t, deny("kms:*", "*")), action: "kms:Decrypt", foreign: true, want: denyKey},
		{name: "X by its boundary, not let in", policy: def, who: withBoundary(t, xaver(t, all), noKMS), action: "kms:Decrypt", foreign: true, want: byResource},
		{name: "X by its boundary", policy: fourteen, who: withBoundary(t, xaver(t, all), noKMS), action: "kms:Decrypt", foreign: true, want: byBoundary},
		{name: "X by name and by its boundary", policy: keyPolicy(lets("Allow", onlyX, "kms:*", "")), who: withBoundary(t, xaver(t, all), noKMS), action: "kms:Decrypt", foreign: true, want: byBoundary},
		{name: "X denied by the key's account", policy: keyPolicy(lets("Allow", onlyX, "kms:*", ""), lets("Deny", onlyX, "kms:Decrypt", "")), who: xaver(t, all), action: "kms:Decrypt", foreign: true, want: denyKey},
		{name: "boundary denies", policy: four, who: withBoundary(t, user(t), deny("kms:*", "*")), action: "kms:Decrypt", want: denyBound},
		{name: "session policy denies", policy: keyPolicy(lets("Allow", `{"AWS":"`+roleID+`:s"}`, "kms:*", "")), who: withSession(t, session(t), deny("kms:*", "*")), action: "kms:Decrypt", want: denySession},
		{name: "boundary before identity", policy: def, who: withBoundary(t, user(t, deny("kms:*", "*")), deny("kms:*", "*")), action: "kms:Decrypt", want: denyBound},
		{name: "identity before the key's", policy: eight, who: user(t, deny("kms:*", "*")), action: "kms:Decrypt", want: denyID},
		{name: "boundary before session", policy: def, who: withSession(t, withBoundary(t, session(t, all), noKMS), noKMS), action: "kms:Decrypt", want: byBoundary},
		{name: "session before identity", policy: def, who: withSession(t, session(t), noKMS), action: "kms:Decrypt", want: bySession},
		{name: "boundary before the key's", policy: four, who: withBoundary(t, victor(t, all), noKMS), action: "kms:Decrypt", want: byBoundary},
		{name: "session before the key's", policy: four, who: withSession(t, session(t, all), noKMS), action: "kms:Decrypt", want: bySession},
		{name: "session denies before identity", policy: def, who: withSession(t, session(t, deny("kms:*", "*")), deny("kms:*", "*")), action: "kms:Decrypt", want: denySession},
		{name: "explicit before implicit", policy: eight, who: withBoundary(t, user(t), noKMS), action: "kms:Decrypt", want: denyKey},
		{name: "role by its boundary", policy: keyPolicy(lets("Allow", `{"AWS":"`+roleID+`"}`, "kms:*", "")), who: withBoundary(t, session(t), noKMS), action: "kms:Decrypt", want: byBoundary},
		{name: "role", policy: keyPolicy(lets("Allow", `{"AWS":"`+roleID+`"}`, "kms:*", "")), who: session(t), action: "kms:Decrypt"},
		{name: "another session", policy: keyPolicy(lets("Allow", `{"AWS":"`+roleID+`:other"}`, "kms:*", "")), who: session(t), action: "kms:Decrypt", want: byResource},
		{name: "anyone with a role's ARN in a condition, no boundary limits it", policy: byARN, who: withBoundary(t, session(t), noKMS), action: "kms:Decrypt", ctx: fixed{"aws:principalarn": {"arn:aws:iam::111111111111:role/App"}}},
		{name: "anyone with a role's ARN in a condition, no session policy limits it", policy: byARN, who: withSession(t, session(t), noKMS), action: "kms:Decrypt", ctx: fixed{"aws:principalarn": {"arn:aws:iam::111111111111:role/App"}}},
		{name: "anyone with a role's ARN in a condition, an identity policy denies", policy: byARN, who: session(t, deny("kms:*", "*")), action: "kms:Decrypt", ctx: fixed{"aws:principalarn": {"arn:aws:iam::111111111111:role/App"}}, want: denyID},
		{name: "anyone with a role's ARN in a condition, another role", policy: byARN, who: session(t, all), action: "kms:Decrypt", ctx: fixed{"aws:principalarn": {"arn:aws:iam::111111111111:role/Other"}}, want: byResource},
		{name: "anyone, a boundary", policy: thirty, who: withBoundary(t, user(t), noKMS), action: "kms:Decrypt"},
		{name: "anyone, a boundary denies", policy: thirty, who: withBoundary(t, user(t), deny("kms:*", "*")), action: "kms:Decrypt", want: denyBound},
		{name: "anyone of another account, by its boundary", policy: thirty, who: withBoundary(t, xaver(t, all), noKMS), action: "kms:Decrypt", foreign: true, want: byBoundary},
		{name: "union of session policies", policy: def, who: withSession(t, session(t, all), noKMS, decryptK), action: "kms:Decrypt"},
		{name: "session policy beyond the role", policy: def, who: withSession(t, session(t), decryptK), action: "kms:Decrypt", want: byIdentity},
		{name: "another key's ARN in the key policy", policy: keyPolicy(strings.Replace(lets("Allow", onlyU, "kms:*", ""), `"Resource":"*"`, `"Resource":"arn:aws:kms:us-east-1:111111111111:key/other"`, 1)), who: user(t), action: "kms:Decrypt", want: byResource},
		{name: "this key's ARN in the key policy", policy: keyPolicy(strings.Replace(lets("Allow", onlyU, "kms:*", ""), `"Resource":"*"`, `"Resource":"`+keyARN+`"`, 1)), who: user(t), action: "kms:Decrypt"},
		{name: "an ARN that was never bound names nobody", policy: keyPolicy(lets("Allow", `{"AWS":"arn:aws:iam::111111111111:user/alice"}`, "kms:*", "")), who: user(t), action: "kms:Decrypt", want: byResource},
		{name: "a service names nobody", policy: keyPolicy(lets("Allow", `{"Service":"ec2.amazonaws.com"}`, "kms:*", "")), who: user(t, all), action: "kms:Decrypt", want: byResource},
		{name: "NotPrincipal with Deny spares who is listed in all forms", policy: keyPolicy(lets("Allow", rootA, "kms:*", ""), strings.Replace(lets("Deny", `{"AWS":["111111111111","`+userID+`"]}`, "kms:*", ""), "Principal", "NotPrincipal", 1)), who: user(t, all), action: "kms:Decrypt"},
		{name: "NotPrincipal with Deny, the account not listed", policy: keyPolicy(lets("Allow", rootA, "kms:*", ""), strings.Replace(lets("Deny", onlyU, "kms:*", ""), "Principal", "NotPrincipal", 1)), who: user(t, all), action: "kms:Decrypt", want: denyKey},
		{name: "NotPrincipal with Deny, a session with its role", policy: keyPolicy(lets("Allow", rootA, "kms:*", ""), strings.Replace(lets("Deny", `{"AWS":["111111111111","`+roleID+`","`+roleID+`:s"]}`, "kms:*", ""), "Principal", "NotPrincipal", 1)), who: session(t, all), action: "kms:Decrypt"},
		{name: "NotPrincipal with Deny, a session without its role", policy: keyPolicy(lets("Allow", rootA, "kms:*", ""), strings.Replace(lets("Deny", `{"AWS":["111111111111","`+roleID+`:s"]}`, "kms:*", ""), "Principal", "NotPrincipal", 1)), who: session(t, all), action: "kms:Decrypt", want: denyKey},
		{name: "NotPrincipal with Deny, the root user", policy: keyPolicy(lets("Allow", rootA, "kms:*", ""), strings.Replace(lets("Deny", rootA, "kms:*", ""), "Principal", "NotPrincipal", 1)), who: root(accountA), action: "kms:Decrypt"},
		{name: "NotPrincipal with Deny, who is listed and has a boundary", policy: keyPolicy(lets("Allow", rootA, "kms:*", ""), strings.Replace(lets("Deny", `{"AWS":["111111111111","`+userID+`"]}`, "kms:*", ""), "Principal", "NotPrincipal", 1)), who: withBoundary(t, user(t, all), all), action: "kms:Decrypt", want: denyKey},
		{name: "NotPrincipal with Deny, everybody listed, a boundary", policy: keyPolicy(lets("Allow", rootA, "kms:*", ""), strings.Replace(lets("Deny", anybody, "kms:*", ""), "Principal", "NotPrincipal", 1)), who: withBoundary(t, session(t, all), all), action: "kms:Decrypt", want: denyKey},
		{name: "an incomplete ARN in a key policy", policy: keyPolicy(strings.Replace(lets("Allow", onlyU, "kms:*", ""), `"Resource":"*"`, `"Resource":"arn:aws:kms"`, 1)), who: user(t, all), action: "kms:Decrypt", want: byResource},
		{name: "NotPrincipal with Allow", policy: keyPolicy(strings.Replace(lets("Allow", `{"AWS":"`+otherID+`"}`, "kms:*", ""), "Principal", "NotPrincipal", 1)), who: user(t), action: "kms:Decrypt"},
		{name: "NotPrincipal with Allow, listed", policy: keyPolicy(strings.Replace(lets("Allow", onlyU, "kms:*", ""), "Principal", "NotPrincipal", 1)), who: user(t, all), action: "kms:Decrypt", want: byResource},
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	for _, tt := range decisions(t) {
		t.Run(tt.name, func(t *testing.T) {
			d := iam.AuthorizeKey(tt.who, tt.ctx.request(tt.action), parse(t, tt.policy, iam.KeyPolicy), tt.foreign)
			want := tt.want
			if strings.HasSuffix(want, "allows the ") {
				want += tt.action + " action"
			}
			got := ""
			if !d.Allowed {
				got = d.Why(tt.action)
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestIdentityDecisions(t *testing.T) {
	t.Parallel()
	all := allow("kms:*", "*")
	for name, tt := range map[string]struct {
		who  *iam.Subject
		want string
	}{
		"none":                {user(t), byIdentity},
		"allowed":             {user(t, all), ""},
		"root":                {root(accountA), ""},
		"denied":              {user(t, all, deny("kms:Create*", "*")), denyID},
		"boundary":            {withBoundary(t, user(t, all), allow("s3:*", "*")), byBoundary},
		"within the boundary": {withBoundary(t, user(t, all), allow("kms:CreateKey", "*")), ""},
		"boundary alone":      {withBoundary(t, user(t), all), byIdentity},
		"session":             {withSession(t, session(t, all), allow("s3:*", "*")), bySession},
		"another resource":    {user(t, allow("kms:CreateKey", "arn:aws:kms:us-east-1:111111111111:key/*")), byIdentity},
	} {
		r := &iam.Request{Action: "kms:CreateKey", Resource: "*", Account: accountA, Context: fixed{}}
		d := iam.AuthorizeIdentity(tt.who, r)
		got := ""
		if !d.Allowed {
			got = d.Why("kms:CreateKey")
		}
		if want := strings.Replace(tt.want, "allows the ", "allows the kms:CreateKey action", 1); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// The decision names the statement that decided, for explanations.
func TestDecisionNamesItsStatement(t *testing.T) {
	t.Parallel()
	who := user(t)
	who.Identity = []iam.Attached{
		{Name: "first", Policy: parse(t, allow("s3:*", "*"), iam.IdentityPolicy)},
		{Name: "second", Policy: parse(t, `{"Statement":[{"Sid":"A","Effect":"Allow","Action":"s3:*","Resource":"*"},{"Sid":"B","Effect":"Allow","Action":"kms:*","Resource":"*"}]}`, iam.IdentityPolicy)},
	}
	key := parse(t, iam.DefaultKeyPolicy(accountA), iam.KeyPolicy)
	d := iam.AuthorizeKey(who, fixed{}.request("kms:Decrypt"), key, true)
	if want := (iam.Decision{Allowed: true, Ground: iam.ByIdentity, Policy: "second", Sid: "B", Statement: 1}); d != want {
		t.Errorf("got %+v, want %+v", d, want)
	}
	d = iam.AuthorizeKey(root(accountA), fixed{}.request("kms:Decrypt"), key, true)
	if want := (iam.Decision{Allowed: true, Ground: iam.ByKeyPolicy, Sid: "Enable IAM User Permissions"}); d != want {
		t.Errorf("got %+v, want %+v", d, want)
	}
}

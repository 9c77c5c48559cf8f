package iam_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// seedPolicies adds policies of all kinds.
func seedPolicies(f *testing.F) {
	for _, tt := range keyPolicyCases {
		f.Add(tt.text)
	}
	for _, text := range []string{
		iam.DefaultKeyPolicy(accountA), allow("kms:*", "arn:aws:kms:*:*:key/${aws:username}"), deny("*", "*"),
		statement(`,"Condition":{"ForAnyValue:StringLikeIfExists":{"kms:EncryptionContextKeys":["a*","${aws:username, 'x'}"]},"Null":{"aws:k":true},"NumericLessThan":{"aws:n":7.5}}`),
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:kms:*:${aws:x:y}:key/*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:*:iam::${*}:user/?"}}}}`,
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"sts:AssumeRole"}}`,
	} {
		f.Add(text)
	}
	for _, tt := range decisions(f) {
		f.Add(tt.policy)
	}
	for _, tt := range conditionCases {
		f.Add(statement(`,"Condition":{"` + tt.operator + `":{"aws:k":` + tt.values + `}}`))
	}
}

// requests are what policies are asked for before and after they are written anew.
func requests() (out []*iam.Request) {
	for _, ctx := range []fixed{
		{},
		{"kms:encryptioncontextkeys": {"a", "b"}, "aws:username": {"alice"}, "aws:k": {"1"}, "aws:n": {"7"}, "aws:principalarn": {"arn:aws:iam::111111111111:user/a"}},
		{"kms:encryptioncontext:app": {"x"}, "kms:requestalias": {"alias/app"}, "aws:resourcetag/env": {"dev"}, "aws:k": {"a", "ab"}, "kms:resourcealiases": iam.Unknowable, "aws:sourceip": {"192.0.2.7"}},
		{"aws:k": {"192.0.2.1"}}, {"aws:k": {"2026-11-30T00:00:00Z"}}, {"aws:k": {"arn:aws:iam::111111111111:user/a/b"}}, {"aws:k": {"true"}},
	} {
		for _, action := range []string{"kms:Decrypt", "kms:PutKeyPolicy", "sts:AssumeRole"} {
			out = append(out, ctx.request(action))
		}
	}
	return out
}

func subjects(t testing.TB) []*iam.Subject {
	return []*iam.Subject{root(accountA), root(accountB), user(t), xaver(t, allow("*", "*")), session(t)}
}

// FuzzParse: no text makes the parser or the evaluator panic; what is refused has an
// answer; what is accepted, written anew from what was understood, decides the same.
func FuzzParse(f *testing.F) {
	seedPolicies(f)
	who, asked := subjects(f), requests()
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []iam.Kind{iam.KeyPolicy, iam.IdentityPolicy, iam.TrustPolicy} {
			p, err := iam.Parse(text, kind)
			if err != nil {
				wantAnswer(t, text, err)
				continue
			}
			again, err := iam.Render(text)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			q, err := iam.Parse(again, kind)
			if err != nil && len(again) <= iam.MaxKeyPolicy {
				t.Fatalf("%q, written anew %q: %v", text, again, err)
			}
			if err == nil {
				sameDecisions(t, p, q, kind, who, asked)
			}
		}
	})
}

// FuzzRewrite: a policy whose principals are replaced by themselves is the same text.
// With its accounts written in their other way, and with those written back, it decides
// the same.
func FuzzRewrite(f *testing.F) {
	seedPolicies(f)
	who, asked := subjects(f), requests()
	f.Fuzz(func(t *testing.T, text string) {
		same, err := iam.Rewrite(text, func(p string) string { return p })
		if err != nil {
			wantAnswer(t, text, err)
			return
		}
		if same != text {
			t.Fatalf("%q became %q", text, same)
		}
		other, err := iam.Rewrite(text, otherForm)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		back, err := iam.Rewrite(other, otherForm)
		if err != nil {
			t.Fatalf("%q, rewritten %q: %v", text, other, err)
		}
		for _, kind := range []iam.Kind{iam.KeyPolicy, iam.TrustPolicy} {
			p, err := iam.Parse(text, kind)
			if err != nil {
				continue
			}
			for _, again := range []string{other, back} {
				q, err := iam.Parse(again, kind)
				if err != nil && len(again) <= iam.MaxKeyPolicy {
					t.Fatalf("%q, rewritten %q: %v", text, again, err)
				}
				if err == nil {
					sameDecisions(t, p, q, kind, who, asked)
				}
			}
		}
	})
}

// otherForm writes an account's principal in the other of its two ways.
func otherForm(p string) string {
	if kms.ValidAccount(p) {
		return kms.RootARN(p)
	}
	account, ok := strings.CutSuffix(strings.TrimPrefix(p, "arn:aws:iam::"), ":root")
	if ok && kms.ValidAccount(account) && p == kms.RootARN(account) {
		return account
	}
	return p
}

func wantAnswer(t *testing.T, text string, err error) {
	t.Helper()
	if !errors.As(err, new(*kms.Error)) {
		t.Fatalf("%q: %v is no answer", text, err)
	}
}

func sameDecisions(t *testing.T, p, q *iam.Policy, kind iam.Kind, who []*iam.Subject, asked []*iam.Request) {
	t.Helper()
	for _, s := range who {
		for _, r := range asked {
			if first, second := decideBy(s, r, p, kind), decideBy(s, r, q, kind); first != second {
				t.Fatalf("%s: %+v, written anew %+v", r.Action, first, second)
			}
		}
	}
}

func decideBy(s *iam.Subject, r *iam.Request, p *iam.Policy, kind iam.Kind) iam.Decision {
	if kind == iam.IdentityPolicy {
		with := *s
		with.Identity = []iam.Attached{{Policy: p}}
		return iam.AuthorizeIdentity(&with, r)
	}
	return iam.AuthorizeKey(s, r, p, true)
}

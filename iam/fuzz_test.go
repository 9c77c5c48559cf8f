package iam_test

import (
	"errors"
	"testing"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// FuzzParse: no text makes the parser or the evaluator panic; what is refused has an
// answer; what is accepted, written anew from what was understood, decides the same.
func FuzzParse(f *testing.F) {
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
	who := []*iam.Subject{root(accountA), root(accountB), user(f), session(f)}
	contexts := []fixed{{}, {"kms:encryptioncontextkeys": {"a", "b"}, "aws:username": {"alice"}, "aws:k": {"1"}, "aws:n": {"7"}, "aws:principalarn": {"arn:aws:iam::111111111111:user/a"}}}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []iam.Kind{iam.KeyPolicy, iam.IdentityPolicy, iam.TrustPolicy} {
			p, err := iam.Parse(text, kind)
			var answer *kms.Error
			if err != nil {
				if !errors.As(err, &answer) {
					t.Fatalf("%q: %v", text, err)
				}
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
				sameDecisions(t, p, q, kind, who, contexts)
			}
		}
		if _, err := iam.Rewrite(text, func(p string) string { return p + "x" }); err != nil && !errors.As(err, new(*kms.Error)) {
			t.Fatal(err)
		}
	})
}

func sameDecisions(t *testing.T, p, q *iam.Policy, kind iam.Kind, who []*iam.Subject, contexts []fixed) {
	t.Helper()
	for _, s := range who {
		for _, ctx := range contexts {
			for _, action := range []string{"kms:Decrypt", "sts:AssumeRole"} {
				r := ctx.request(action)
				first, second := decideBy(s, r, p, kind), decideBy(s, r, q, kind)
				if first != second {
					t.Fatalf("%s: %+v, written anew %+v", action, first, second)
				}
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

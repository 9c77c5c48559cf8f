package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/iam"
)

// typical is a decision as most are: the default key policy, and three identity
// policies of five statements.
func typical(t testing.TB) (*iam.Subject, *iam.Request, *iam.Policy) {
	t.Helper()
	key := parse(t, iam.DefaultKeyPolicy(accountA), iam.KeyPolicy)
	s := user(t)
	for n := range 3 {
		var statements []string
		for i := range 5 {
			statements = append(statements, fmt.Sprintf(`{"Sid":"S%d","Effect":"Allow","Action":["kms:Describe*","kms:List*","s3:GetObject"],"Resource":"arn:aws:kms:*:111111111111:key/%d%d*"}`, i, n, i))
		}
		if n == 2 {
			statements[4] = `{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"` + keyARN + `","Condition":{"StringEquals":{"kms:EncryptionContext:app":"${aws:username}"},"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}`
		}
		s.Identity = append(s.Identity, iam.Attached{Policy: parse(t, `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`, iam.IdentityPolicy)})
	}
	ctx := fixed{"kms:encryptioncontext:app": {"alice"}, "aws:username": {"alice"}, "aws:sourceip": {"192.0.2.7"}}
	return s, &iam.Request{Action: "kms:Decrypt", Resource: keyARN, Account: accountA, Context: ctx}, key
}

func BenchmarkTypicalDecision(b *testing.B) {
	s, r, key := typical(b)
	if !iam.AuthorizeKey(s, r, key, true).Allowed {
		b.Fatal("denied")
	}
	b.ReportAllocs()
	for b.Loop() {
		iam.AuthorizeKey(s, r, key, true)
	}
}

func TestTypicalDecisionDoesNotAllocate(t *testing.T) {
	s, r, key := typical(t)
	if n := testing.AllocsPerRun(100, func() { iam.AuthorizeKey(s, r, key, true) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

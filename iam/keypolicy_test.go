package iam_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

const account = "111122223333"

// Typed from "Default key policy" of the AWS KMS developer guide.
const defaultPolicy = `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::111122223333:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`

func TestDefaultKeyPolicyIsAWSsText(t *testing.T) {
	t.Parallel()
	if got := iam.DefaultKeyPolicy(account); got != defaultPolicy {
		t.Errorf("got %s\nwant %s", got, defaultPolicy)
	}
}

func TestParseKeyPolicy(t *testing.T) {
	t.Parallel()
	stmt := func(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }
	const ok = `"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"`
	tests := []struct {
		name, text, code string
	}{
		{"default", defaultPolicy, ""},
		{"one statement without a list", `{"Statement":{` + ok + `}}`, ""},
		{"old version", `{"Version":"2008-10-17","Statement":{` + ok + `}}`, ""},
		{"account id as principal", stmt(strings.Replace(`{`+ok+`}`, "arn:aws:iam::111122223333:root", account, 1)), ""},
		{"lists of one", stmt(`{"Effect":"Allow","Principal":{"AWS":["111122223333"]},"Action":["kms:*"],"Resource":["*"]}`), ""},
		{"other account", stmt(strings.Replace(`{`+ok+`}`, "111122223333", "444455556666", 1)), kms.CodeUnsupportedOperation},
		{"everybody", stmt(`{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`), kms.CodeUnsupportedOperation},
		{"everybody by AWS", stmt(`{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*"}`), kms.CodeUnsupportedOperation},
		{"a service too", stmt(`{"Effect":"Allow","Principal":{"AWS":"111122223333","Service":"ec2.amazonaws.com"},"Action":"kms:*","Resource":"*"}`), kms.CodeUnsupportedOperation},
		{"fewer actions", stmt(`{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Decrypt","Resource":"*"}`), kms.CodeUnsupportedOperation},
		{"deny", stmt(`{"Effect":"Deny","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}`), kms.CodeUnsupportedOperation},
		{"condition", stmt(`{` + ok + `,"Condition":{"Bool":{"aws:SecureTransport":"true"}}}`), kms.CodeUnsupportedOperation},
		{"not principal", stmt(`{"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}`), kms.CodeUnsupportedOperation},
		{"not action beside action", stmt(`{` + ok + `,"NotAction":"kms:Decrypt"}`), kms.CodeUnsupportedOperation},
		{"second statement", stmt(`{` + ok + `},{` + ok + `}`), kms.CodeUnsupportedOperation},
		{"no statement at all", `{"Version":"2012-10-17","Statement":[]}`, kms.CodeUnsupportedOperation},
		{"no JSON", `{`, kms.CodeMalformedPolicy},
		{"trailing bytes", defaultPolicy + `x`, kms.CodeMalformedPolicy},
		{"a second value", defaultPolicy + `{}`, kms.CodeMalformedPolicy},
		{"no object", `"x"`, kms.CodeMalformedPolicy},
		{"Statement missing", `{"Version":"2012-10-17"}`, kms.CodeMalformedPolicy},
		{"unknown version", `{"Version":"2020-01-01","Statement":{` + ok + `}}`, kms.CodeMalformedPolicy},
		{"unknown element", `{"Statement":{` + ok + `},"Extra":1}`, kms.CodeMalformedPolicy},
		{"unknown statement element", stmt(`{` + ok + `,"Extra":1}`), kms.CodeMalformedPolicy},
		{"duplicate element", `{"Statement":{` + ok + `},"Statement":{` + ok + `}}`, kms.CodeMalformedPolicy},
		{"duplicate statement element", stmt(`{` + ok + `,"Effect":"Allow"}`), kms.CodeMalformedPolicy},
		{"lower-case effect", stmt(strings.Replace(`{`+ok+`}`, "Allow", "allow", 1)), kms.CodeMalformedPolicy},
		{"no effect", stmt(`{"Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}`), kms.CodeMalformedPolicy},
		{"no principal", stmt(`{"Effect":"Allow","Action":"kms:*","Resource":"*"}`), kms.CodeMalformedPolicy},
		{"deep nesting", strings.Repeat("[", 20000), kms.CodeMalformedPolicy},
		{"number as action", stmt(`{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":7,"Resource":"*"}`), kms.CodeMalformedPolicy},
		{"too large", `{"Id":"` + strings.Repeat("x", 32769) + `"}`, kms.CodeLimitExceeded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := iam.ParseKeyPolicy(test.text, account)
			code := ""
			var e *kms.Error
			if errors.As(err, &e) {
				code = e.Code
			} else if err != nil {
				t.Fatalf("not a kms.Error: %v", err)
			}
			if code != test.code {
				t.Errorf("got %q (%v), want %q", code, err, test.code)
			}
		})
	}
}

func TestMalformedTexts(t *testing.T) {
	t.Parallel()
	_, err := iam.ParseKeyPolicy(`{"Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`, account)
	want := &kms.Error{Code: kms.CodeMalformedPolicy, Message: "Policy contains a statement with no principal."}
	if err == nil || err.Error() != want.Error() {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	policy, err := iam.ParseKeyPolicy(defaultPolicy, account)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		caller  kms.Principal
		allowed bool
		reason  string
	}{
		{"root user of the account", kms.RootPrincipal(account, "AKIAIOSFODNN7EXAMPLE"), true, ""},
		{"root user of another account", kms.RootPrincipal("444455556666", "AKIAIOSFODNN7EXAMPLE"), false,
			"because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"},
		{"a user without policies", kms.Principal{Type: "IAMUser", Account: account}, false,
			"because no identity-based policy allows the kms:Decrypt action"},
	}
	for _, test := range tests {
		got := policy.Decide(test.caller, "kms:Decrypt", account)
		if got.Allowed != test.allowed || got.Reason != test.reason {
			t.Errorf("%s: got %+v", test.name, got)
		}
	}
}

func FuzzParseKeyPolicy(f *testing.F) {
	f.Add(defaultPolicy)
	f.Add(`{"Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"NotAction":"x","Condition":{"Bool":{"a":[true,1]}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		_, err := iam.ParseKeyPolicy(text, account)
		var e *kms.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("not a kms.Error: %v", err)
		}
	})
}

package iam_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

const (
	syntax            = "MalformedPolicyDocumentException: Syntax errors in policy."
	noJSON            = "MalformedPolicyDocumentException: Policy contains invalid json"
	noPrincipal       = "MalformedPolicyDocumentException: Policy contains a statement with no principal."
	invalidPrincipals = "MalformedPolicyDocumentException: Policy contains a statement with one or more invalid principals."
	brokenARN         = "InvalidArnException: An ARN in the specified key policy is invalid."
)

const overlyPermissive = "MalformedPolicyDocumentException: OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified encryption context or with an unspecified encryption context. To fix, remove ForAllValues."

// faults is a policy of two statements that have these elements beside their effects.
func faults(first, second string) string {
	one := func(more string) string {
		if more != "" {
			more += ","
		}
		return `{"Effect":"Allow",` + more + `"Action":"kms:*","Resource":"*"}`
	}
	return `{"Statement":[` + one(first) + `,` + one(second) + `]}`
}

func statement(more string) string {
	return `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"` + more + `}}`
}

func principalOf(p string) string {
	return `{"Statement":{"Effect":"Allow","Principal":` + p + `,"Action":"kms:*","Resource":"*"}}`
}

// keyPolicyCases are texts of key policies and what PutKeyPolicy answers (AWS:
// PutKeyPolicy); "" for a policy that is accepted.
var keyPolicyCases = []struct{ text, want string }{
	{statement(``), ""}, {`{"Version":"2012-10-17","Id":"any id","Statement":[` + statement(``)[13:len(statement(``))-1] + `]}`, ""},
	{statement(`,"Sid":"with spaces, and more"`), ""}, {statement(`,"Condition":{}`), ""}, {statement(`,"Condition":{"StringEquals":{"kms:X":["a","b"],"aws:Y":7}}`), ""},
	{`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"111111111111"},"NotAction":"kms:*","NotResource":"*"}}`, ""},
	{`{"Statement":{"Effect":"Allow","Principal":"*"}}`, ""}, // without effect
	{principalOf(`{"AWS":["111111111111","arn:aws:iam::222222222222:root","*"]}`), ""},
	{principalOf(`{"AWS":["arn:aws:iam::111111111111:user/path/to/alice","arn:aws:iam::111111111111:role/App","arn:aws:sts::111111111111:assumed-role/App/s","arn:aws:sts::111111111111:federated-user/f"]}`), ""},
	{principalOf(`{"AWS":["` + userID + `","` + roleID + `","` + roleID + `:s"]}`), ""},
	{principalOf(`{"Service":["ec2.amazonaws.com"],"AWS":"*"}`), ""},
	{``, noJSON}, {`{`, noJSON}, {`{} {}`, noJSON}, {`{"Statement":}`, noJSON}, {`x`, noJSON},
	{`[]`, syntax}, {`"x"`, syntax}, {`{}`, syntax}, {`{"Statement":[]}`, syntax}, {`{"Statement":"x"}`, syntax}, {`{"Statement":[7]}`, syntax}, {`{"Version":"2020-01-01","Statement":[]}`, syntax},
	{statement(`,"effect":"Allow"`), syntax}, {statement(`,"Effect":"Deny"`), syntax}, {statement(`,"NotPrincipal":"*"`), syntax}, {statement(`,"NotAction":"x"`), syntax}, {statement(`,"NotResource":"x"`), syntax},
	{strings.Replace(statement(``), `"Allow"`, `"allow"`, 1), syntax}, {strings.Replace(statement(``), `"Effect":"Allow",`, ``, 1), syntax}, {strings.Replace(statement(``), `"kms:*"`, `7`, 1), syntax},
	{strings.Replace(statement(``), `"kms:*"`, `["kms:*",7]`, 1), syntax}, {statement(`,"Sid":7`), syntax}, {`{"Id":7,"Statement":[]}`, syntax}, {`{"Name":"x","Statement":[]}`, syntax},
	{statement(`,"Condition":"x"`), syntax}, {statement(`,"Condition":{"StringEquals":"x"}`), syntax}, {statement(`,"Condition":{"StringEquals":{"kms:X":{}}}`), syntax}, {statement(`,"Condition":{"StringEquals":{"kms:X":null}}`), syntax},
	{statement(`,"Condition":{"StringEquals":{"kms:X":"a","kms:X":"b"}}`), syntax},
	{statement(`,"Condition":{"StringMatches":{"kms:X":"a"}}`), "MalformedPolicyDocumentException: Invalid Condition type : StringMatches"},
	{statement(`,"Condition":{"NullIfExists":{"kms:X":"true"}}`), "MalformedPolicyDocumentException: Invalid Condition type : NullIfExists"},
	{statement(`,"Condition":{"NumericEquals":{"kms:X":"ten"}}`), syntax}, {statement(`,"Condition":{"NumericEquals":{"kms:X":"0x1p4"}}`), syntax}, {statement(`,"Condition":{"DateLessThan":{"kms:X":"tomorrow"}}`), syntax},
	{statement(`,"Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.*"}}`), syntax}, {statement(`,"Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/33"}}`), syntax}, {statement(`,"Condition":{"Bool":{"aws:X":"yes"}}`), syntax},
	{statement(`,"Condition":{"BinaryEquals":{"aws:X":"*"}}`), syntax},
	{`{"Version":"2012-10-17",` + statement(`,"Condition":{"StringEquals":{"aws:X":"${aws:y"}}`)[1:], syntax}, {`{"Version":"2012-10-17",` + statement(`,"Condition":{"StringEquals":{"aws:X":"${}"}}`)[1:], syntax},
	{`{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`, noPrincipal},
	{principalOf(`"alice"`), syntax}, {principalOf(`["*"]`), syntax}, {principalOf(`{"AWS":7}`), syntax},
	{principalOf(`{"AWS":"alice"}`), invalidPrincipals}, {principalOf(`{"AWS":""}`), invalidPrincipals}, {principalOf(`{"AWS":"11111111111"}`), invalidPrincipals}, {principalOf(`{"AWS":"arn:aws:iam::111111111111:user/*"}`), invalidPrincipals},
	{principalOf(`{"AWS":"arn:aws-cn:iam::111111111111:root"}`), invalidPrincipals}, {principalOf(`{"Federated":"arn:aws:iam::111111111111:oidc-provider/x"}`), invalidPrincipals},
	{principalOf(`{"CanonicalUser":"x"}`), invalidPrincipals}, {principalOf(`{"Service":"ec2"}`), invalidPrincipals}, {principalOf(`{"Nobody":"x"}`), invalidPrincipals}, {principalOf(`{"":""}`), invalidPrincipals}, {principalOf(`{"":"*"}`), invalidPrincipals}, {principalOf(`{"AWS":"AIDAlower"}`), invalidPrincipals},
	{principalOf(`{"AWS":"arn:aws:iam::111111111111:group/g"}`), brokenARN}, {principalOf(`{"AWS":"arn:aws:iam::1:user/a"}`), brokenARN}, {principalOf(`{"AWS":"arn:aws:iam::111111111111"}`), brokenARN},
	{principalOf(`{"AWS":"arn:aws:iam:us-east-1:111111111111:user/a"}`), brokenARN}, {principalOf(`{"AWS":"arn:aws:sts::111111111111:assumed-role/App"}`), brokenARN}, {principalOf(`{"AWS":"arn:aws:s3:::bucket"}`), brokenARN},
	{statement(`,"Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContext:app":"x"}}`), overlyPermissive},
	{statement(`,"Condition":{"ForAllValues:StringLike":{"aws:RequestTag/x":"x"}}`), "MalformedPolicyDocumentException: OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified tag or with an unspecified tag. To fix, remove ForAllValues."},
	{statement(`,"Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":"x"}}`), ""},
	{statement(`,"Condition":{"ForAllValues:StringEqualsIfExists":{"KMS:EncryptionContext:a:b":"x"}}`), overlyPermissive},
	{statement(`,"Condition":{"ForAnyValue:StringEquals":{"kms:EncryptionContext:app":"x"}}`), ""},
	{principalOf(`{"Service":"*.amazonaws.com"}`), invalidPrincipals}, {principalOf(`{"Service":".amazonaws.com"}`), invalidPrincipals}, {principalOf(`{"Service":"*"}`), invalidPrincipals},
	{principalOf(`{"AWS":"arn:aws:iam::111111111111:group/*"}`), invalidPrincipals}, {principalOf(`{"AWS":"arn:aws:iam::*:root"}`), invalidPrincipals},
	// Two faults: the answer is that of the earlier row of the document's table, in
	// whichever statement it is.
	{faults(`"Principal":"*","Condition":{"StringMatches":{"kms:X":"a"}}`, ``), "MalformedPolicyDocumentException: Invalid Condition type : StringMatches"},
	{faults(``, `"Principal":"*","Condition":{"Bool":{"kms:X":"a"}}`), syntax},
	{faults(`"Principal":{"AWS":"alice"}`, ``), noPrincipal},
	{faults(`"Principal":{"AWS":"arn:aws:iam::1:user/a"}`, `"Principal":{"AWS":"alice"}`), invalidPrincipals},
	{faults(`"Principal":{"AWS":["arn:aws:iam::1:user/a","alice"]}`, `"Principal":"*"`), invalidPrincipals},
	{faults(`"Principal":"*","Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContext:app":"x"}}`, `"Principal":{"AWS":"arn:aws:iam::1:user/a"}`), brokenARN},
	{statement("") + strings.Repeat(" ", 32768), "LimitExceededException: The key policy exceeds the size limit of 32768 bytes."},
}

func TestParseKeyPolicy(t *testing.T) {
	t.Parallel()
	check(t, iam.KeyPolicy, keyPolicyCases)
}

func check(t *testing.T, kind iam.Kind, cases []struct{ text, want string }) {
	t.Helper()
	for _, tt := range cases {
		_, err := iam.Parse(tt.text, kind)
		got := ""
		if err != nil {
			var e *kms.Error
			if !errors.As(err, &e) {
				t.Fatalf("%s: %v is no answer", tt.text, err)
			}
			got = e.Error()
		}
		if got != tt.want {
			t.Errorf("%.300s: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestParseIdentityPolicy(t *testing.T) {
	t.Parallel()
	const m = "MalformedPolicyDocumentException: "
	check(t, iam.IdentityPolicy, []struct{ text, want string }{
		{allow("kms:*", "*"), ""}, {allow("*", "arn:aws:kms:*:*:key/*"), ""},
		{``, syntax}, {`{`, syntax}, {`{} {}`, syntax}, {`./policy.json`, syntax}, {`{}`, syntax},
		{statement(``), m + "Policy document should not specify a principal."},
		{`{"Statement":{"Effect":"Allow","Resource":"*"}}`, m + "Policy statement must contain actions."},
		{`{"Statement":{"Effect":"Allow","Action":"kms:*"}}`, m + "Policy statement must contain resources."},
		{allow("Decrypt", "*"), m + "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."},
		{allow("kms:*", "key/x"), m + `Resource key/x must be in ARN format or "*".`},
		{`{"Statement":{"Sid":"a b","Effect":"Allow","Action":"kms:*","Resource":"*"}}`, m + "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"},
		{`{"Statement":[{"Sid":"a","Effect":"Allow","Action":"kms:*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"kms:*","Resource":"*"}]}`, m + "Statement IDs (SID) in a single policy must be unique."},
	})
}

func TestParseTrustPolicy(t *testing.T) {
	t.Parallel()
	const m = "MalformedPolicyDocumentException: "
	const invalidJSON = m + "This policy contains invalid Json"
	check(t, iam.TrustPolicy, []struct{ text, want string }{
		{`{"Statement":{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"sts:AssumeRole"}}`, ""},
		{`{"Statement":{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111111111111:oidc-provider/x","Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRoleWithWebIdentity"}}`, ""},
		{``, invalidJSON}, {`{`, invalidJSON}, {`{} {}`, invalidJSON}, {`policy.json`, invalidJSON}, {`{}`, syntax},
		{statement(``), m + "Has prohibited field Resource"},
		{`{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}`, m + "Missing required field Principal"},
		{`{"Statement":{"Effect":"Allow","Principal":"*"}}`, m + "Policy statement must contain actions."},
		{`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:user/*"},"Action":"sts:AssumeRole"}}`, m + `Invalid principal in policy: "AWS":"arn:aws:iam::111111111111:user/*"`},
		{`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1:user/a"},"Action":"sts:AssumeRole"}}`, m + `Invalid principal in policy: "AWS":"arn:aws:iam::1:user/a"`},
	})
}

func TestPrincipals(t *testing.T) {
	t.Parallel()
	p := parse(t, keyPolicy(lets("Allow", `{"AWS":["`+userID+`","*"],"Service":"ec2.amazonaws.com"}`, "kms:*", ""), lets("Deny", `"*"`, "kms:*", "")), iam.KeyPolicy)
	if got := strings.Join(p.Principals(), " "); got != userID+" *" {
		t.Errorf("got %s", got)
	}
}

// Rewrite touches the principals and nothing else.
func TestRewrite(t *testing.T) {
	t.Parallel()
	const text = ` { "Statement" : [ { "Effect":"Allow", "Principal" : { "AWS" : [ "arn:aws:iam::111111111111:user/alice" , "\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031" ] , "Service":"a.amazonaws.com"},
		"Action":"kms:*","Resource":"arn:aws:iam::111111111111:user/alice","Condition":{"StringEquals":{"AWS":"111111111111"}} } ,{"Effect":"Deny","NotPrincipal":{"AWS":"AIDAALICE0ALICE0ALICE"},"Action":"kms:*","Resource":"*"}]} `
	const want = ` { "Statement" : [ { "Effect":"Allow", "Principal" : { "AWS" : [ "AIDAALICE0ALICE0ALICE" , "arn:aws:iam::111111111111:root" ] , "Service":"a.amazonaws.com"},
		"Action":"kms:*","Resource":"arn:aws:iam::111111111111:user/alice","Condition":{"StringEquals":{"AWS":"111111111111"}} } ,{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::111111111111:user/\"x\""},"Action":"kms:*","Resource":"*"}]} `
	names := map[string]string{
		"arn:aws:iam::111111111111:user/alice": userID, "111111111111": "arn:aws:iam::111111111111:root",
		userID: `arn:aws:iam::111111111111:user/"x"`,
	}
	got, err := iam.Rewrite(text, func(p string) string { return names[p] })
	if err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
	if same, err := iam.Rewrite(text, func(p string) string { return p }); err != nil || same != text {
		t.Errorf("nothing to replace: got %v\n%s", err, same)
	}
}

package kmsapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

const noPrefix = `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`

// aliasNames are the names that all three operations judge alike.
var aliasNames = []struct {
	name string
	want outcome
}{
	{"app", validation(noPrefix)},
	{"Alias/app", validation(noPrefix)},
	{"alias", validation(noPrefix)},
	{"alias/", validation("alias/ contains invalid characters for an alias")},
	{"alias/a:b", validation("alias/a:b contains invalid characters for an alias")},
	{"alias/aws/", outcome{"NotAuthorizedException", ""}},
	{"alias/aws/ebs", outcome{"NotAuthorizedException", ""}},
	{"arn:aws:kms:us-east-1:111122223333:alias/app", validation(noPrefix)},
	{"alias/a b", constraint("Value 'alias/a b' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")},
	{"alias/a\n", constraint("Value 'alias/a\n' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")},
	{"alias/" + strings.Repeat("a", 251), constraint("Value 'alias/" + strings.Repeat("a", 251) + "' at 'aliasName' failed to satisfy constraint: Member must have length less than or equal to 256")},
}

func TestAliasNames(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	before := s.Prune(t)
	for _, row := range aliasNames {
		for _, op := range []string{"CreateAlias", "UpdateAlias", "DeleteAlias"} {
			t.Run(op+" "+row.name, func(t *testing.T) {
				wantOutcome(t, s.Call(t, testkit.Root, op, obj{"AliasName": row.name, "TargetKeyId": key}), row.want)
			})
		}
	}
	if s.Prune(t) != before {
		t.Error("refused calls changed the state")
	}
	for _, name := range []string{"alias/a", "alias/A", "alias/a/b_c-9", "alias/awsome", "alias/aws", "alias/alias/x", "alias/" + strings.Repeat("a", 250)} {
		for _, op := range []string{"CreateAlias", "UpdateAlias", "DeleteAlias"} {
			a := s.Call(t, testkit.Root, op, obj{"AliasName": name, "TargetKeyId": key})
			wantOutcome(t, a, success)
			if len(a.Raw) != 0 {
				t.Errorf("%s %s: the body is %q", op, name, a.Raw)
			}
		}
	}
}

func TestAliasLife(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	first, second := s.NewKey(t), s.NewKey(t)
	exists := outcome{"AlreadyExistsException", "An alias with the name arn:aws:kms:us-east-1:111122223333:alias/app already exists"}
	gone := notFound("Alias arn:aws:kms:us-east-1:111122223333:alias/app is not found.")
	target := func() any {
		out, _ := s.Do(t, testkit.Root, "DescribeKey", obj{"KeyId": "alias/app"})
		if out == nil {
			return nil
		}
		return out["KeyMetadata"].(obj)["KeyId"]
	}
	for i, step := range []struct {
		op   string
		body obj
		want outcome
		now  any
	}{
		{"UpdateAlias", obj{"AliasName": "alias/app", "TargetKeyId": first}, gone, nil},
		{"DeleteAlias", obj{"AliasName": "alias/app"}, gone, nil},
		{"CreateAlias", obj{"AliasName": "alias/app", "TargetKeyId": first}, success, first},
		{"CreateAlias", obj{"AliasName": "alias/app", "TargetKeyId": first}, exists, first},
		{"CreateAlias", obj{"AliasName": "alias/app", "TargetKeyId": second}, exists, first},
		{"UpdateAlias", obj{"AliasName": "alias/app", "TargetKeyId": second}, success, second},
		{"UpdateAlias", obj{"AliasName": "alias/app", "TargetKeyId": second}, success, second},
		{"DeleteAlias", obj{"AliasName": "alias/app"}, success, nil},
		{"DeleteAlias", obj{"AliasName": "alias/app"}, gone, nil},
	} {
		wantOutcome(t, s.Call(t, testkit.Root, step.op, step.body), step.want)
		if got := target(); got != step.now {
			t.Errorf("step %d: the alias names %v, want %v", i, got, step.now)
		}
	}
}

// A key has at most 50 aliases, whichever way they come to it.
func TestAliasQuota(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	full, other := s.NewKey(t), s.NewKey(t)
	for i := range 50 {
		s.NewAlias(t, fmt.Sprintf("alias/full-%d", i), full)
	}
	s.NewAlias(t, "alias/other", other)
	tooMany := outcome{"LimitExceededException", "You have exceeded the number of aliases allowed for this KMS key."}
	for _, row := range []struct {
		op, name, key string
		want          outcome
	}{
		{"CreateAlias", "alias/full-50", full, tooMany},
		{"CreateAlias", "alias/full-0", full, outcome{"AlreadyExistsException", "An alias with the name arn:aws:kms:us-east-1:111122223333:alias/full-0 already exists"}},
		{"UpdateAlias", "alias/other", full, tooMany},
		{"UpdateAlias", "alias/full-0", full, success},
		{"UpdateAlias", "alias/full-0", other, success},
		{"UpdateAlias", "alias/other", full, success},
		{"CreateAlias", "alias/full-50", full, tooMany},
		{"DeleteAlias", "alias/full-49", full, success},
		{"CreateAlias", "alias/full-50", full, success},
	} {
		wantOutcome(t, s.Call(t, testkit.Root, row.op, obj{"AliasName": row.name, "TargetKeyId": row.key}), row.want)
	}
}

// An alias moves among keys of one type and usage; the spec may differ.
func TestAliasMoves(t *testing.T) {
	t.Parallel()
	types := map[string][2]string{
		"symmetric": {"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"}, "HMAC": {"HMAC_256", "GENERATE_VERIFY_MAC"}, "other HMAC": {"HMAC_512", "GENERATE_VERIFY_MAC"},
		"RSA": {"RSA_2048", "ENCRYPT_DECRYPT"}, "signing RSA": {"RSA_4096", "SIGN_VERIFY"}, "ECC": {"ECC_NIST_P256", "SIGN_VERIFY"}, "agreement": {"ECC_NIST_P256", "KEY_AGREEMENT"},
	}
	allowed := map[string]bool{"HMAC other HMAC": true, "other HMAC HMAC": true, "signing RSA ECC": true, "ECC signing RSA": true}
	s := testkit.Start(t)
	keys := map[string]string{}
	for name, spec := range types {
		keys[name] = s.NewKey(t)
		s.SetType(t, keys[name], spec[0], spec[1])
	}
	for from := range types {
		for to := range types {
			name := s.NewAlias(t, fill("alias/$A-$B", "$A", keys[from], "$B", keys[to]), keys[from])
			want := success
			if from != to && !allowed[from+" "+to] {
				want = validation("Alias " + testkit.AliasARN(name) + " cannot be changed from " + testkit.ARN(keys[from]) + " to " + testkit.ARN(keys[to]) +
					". The current and new key must be the same type and have the same key usage.")
			}
			wantOutcome(t, s.Call(t, testkit.Root, "UpdateAlias", obj{"AliasName": name, "TargetKeyId": keys[to]}), want)
		}
	}
}

// Aliases of two accounts and of two Regions have nothing to do with each other.
func TestAliasesAreApart(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, who := range []testkit.Caller{testkit.Root, testkit.Other, testkit.Root.In("eu-west-1")} {
		key := s.NewKeyOf(t, who)
		s.MustAs(t, who, "CreateAlias", obj{"AliasName": "alias/app", "TargetKeyId": key})
		if got := s.MustAs(t, who, "DescribeKey", obj{"KeyId": "alias/app"})["KeyMetadata"].(obj)["KeyId"]; got != key {
			t.Errorf("alias/app names %v", got)
		}
	}
	s.MustAs(t, testkit.Other, "DeleteAlias", obj{"AliasName": "alias/app"})
	for _, who := range []testkit.Caller{testkit.Root, testkit.Root.In("eu-west-1")} {
		if got := s.MustAs(t, who, "ListAliases", obj{})["Aliases"].([]any); len(got) != 1 {
			t.Errorf("%s lists %v", who.Region, got)
		}
	}
}

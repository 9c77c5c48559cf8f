package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/iam"
)

// holds evaluates one Condition element in a statement that otherwise applies.
func holds(t *testing.T, version, condition string, ctx fixed) bool {
	t.Helper()
	p := parse(t, `{"Version":"`+version+`","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":`+condition+`}}`, iam.IdentityPolicy)
	s := user(t)
	s.Identity = []iam.Attached{{Policy: p}}
	return iam.AuthorizeIdentity(s, ctx.request("kms:Decrypt")).Allowed
}

// conditionCases are conditions on the key aws:k (AWS: "Condition operators"). ctx are its
// values, separated by blanks; "-" for an absent key.
var conditionCases = []struct {
	operator, values, ctx string
	want                  bool
}{
	{"StringEquals", `"a"`, "a", true}, {"StringEquals", `"a"`, "A", false}, {"StringEquals", `"a*"`, "ab", false}, {"StringEquals", `["b","a"]`, "a", true},
	{"StringEquals", `"a"`, "-", false}, {"StringEquals", `[]`, "a", false}, {"StringEquals", `7`, "7", true}, {"StringEquals", `true`, "true", true},
	{"stringequals", `"a"`, "a", true}, {"STRINGEQUALSIFEXISTS", `"a"`, "-", true},
	{"StringNotEquals", `"a"`, "b", true}, {"StringNotEquals", `["b","a"]`, "a", false}, {"StringNotEquals", `"a"`, "-", true}, {"StringNotEquals", `[]`, "a", true},
	{"StringEqualsIgnoreCase", `"aB"`, "Ab", true}, {"StringNotEqualsIgnoreCase", `"aB"`, "Ab", false}, {"StringNotEqualsIgnoreCase", `"aB"`, "-", true},
	{"StringLike", `"a*c"`, "abbc", true}, {"StringLike", `"a*c"`, "abbcd", false}, {"StringLike", `"a?c"`, "abc", true}, {"StringLike", `"a?c"`, "ac", false}, {"StringLike", `"*"`, "-", false},
	{"StringLike", `"*a*b*"`, "xxaxxbx", true}, {"StringLike", `"*a*b*"`, "xxbxxax", false}, {"StringLike", `"a?c"`, "aéc", true}, {"StringLike", `"A*"`, "ab", false},
	{"StringNotLike", `"a*"`, "b", true}, {"StringNotLike", `"a*"`, "ab", false}, {"StringNotLike", `"a*"`, "-", true},
	{"StringEqualsIfExists", `"a"`, "-", true}, {"StringEqualsIfExists", `"a"`, "b", false}, {"StringNotEqualsIfExists", `"a"`, "-", true},
	{"NumericEquals", `"10"`, "10.0", true}, {"NumericEquals", `10`, "11", false}, {"NumericEquals", `10`, "ten", false}, {"NumericNotEquals", `10`, "11", true}, {"NumericNotEquals", `10`, "10", false},
	{"NumericLessThan", `10`, "9", true}, {"NumericLessThan", `10`, "10", false}, {"NumericLessThanEquals", `10`, "10", true}, {"NumericLessThanEquals", `10`, "10.5", false},
	{"NumericGreaterThan", `10`, "11", true}, {"NumericGreaterThan", `10`, "10", false}, {"NumericGreaterThanEquals", `10`, "10", true}, {"NumericGreaterThan", `10`, "-", false}, {"NumericEquals", `-1`, "-1", true},
	{"DateEquals", `"2026-11-30T12:00:00Z"`, "2026-11-30T13:00:00+01:00", true}, {"DateEquals", `"1795521600"`, "2026-11-24T12:00:00Z", true}, {"DateNotEquals", `"2026-11-30"`, "2026-12-01", true},
	{"DateLessThan", `"2026-11-30"`, "2026-11-29T23:59:59Z", true}, {"DateLessThan", `"2026-11-30"`, "2026-11-30", false}, {"DateLessThanEquals", `"2026-11-30"`, "2026-11-30T00:00:00Z", true},
	{"DateGreaterThan", `"2026-11-30"`, "2026-11-30T00:00:01Z", true}, {"DateGreaterThanEquals", `"2026"`, "2026-01-01T00:00:00Z", true}, {"DateGreaterThan", `"2026-11-30"`, "1795521600", false},
	{"DateLessThan", `"2026-11-30"`, "yesterday", false}, {"DateLessThan", `"2026-11-30"`, "-", false},
	{"Bool", `"true"`, "true", true}, {"Bool", `true`, "True", true}, {"Bool", `"false"`, "true", false}, {"Bool", `"false"`, "-", false}, {"BoolIfExists", `"false"`, "-", true}, {"Bool", `"false"`, "no", false},
	{"BinaryEquals", `"QmluYXJ5"`, "QmluYXJ5", true}, {"BinaryEquals", `"QmluYXJ5"`, "QQ==", false}, {"BinaryEquals", `"QmluYXJ5"`, "*", false},
	{"IpAddress", `"192.0.2.0/24"`, "192.0.2.200", true}, {"IpAddress", `"192.0.2.0/24"`, "192.0.3.1", false}, {"IpAddress", `"192.0.2.7"`, "192.0.2.7", true}, {"IpAddress", `"2001:db8::/32"`, "2001:db8::7", true},
	{"IpAddress", `"192.0.2.0/24"`, "::ffff:192.0.2.1", true}, {"IpAddress", `"192.0.2.77/24"`, "192.0.2.1", true}, {"IpAddress", `"192.0.2.0/24"`, "2001:db8::7", false}, {"IpAddress", `"192.0.2.0/24"`, "-", false},
	{"NotIpAddress", `"192.0.2.0/24"`, "192.0.2.1", false}, {"NotIpAddress", `"192.0.2.0/24"`, "198.51.100.1", true}, {"NotIpAddress", `["192.0.2.0/24","198.51.100.0/24"]`, "198.51.100.1", false}, {"NotIpAddress", `"192.0.2.0/24"`, "-", true},
	{"ArnEquals", `"arn:aws:iam::111111111111:user/*"`, "arn:aws:iam::111111111111:user/a/b", true}, {"ArnLike", `"arn:aws:*:111111111111:user/a"`, "arn:aws:iam::111111111111:user/a", false},
	{"ArnLike", `"arn:aws:iam:*:1?1111111111:user/a"`, "arn:aws:iam::111111111111:user/a", true}, {"ArnLike", `"arn:*"`, "arn:aws:iam::111111111111:user/a", false}, {"ArnLike", `"arn:aws:iam::*:user/a"`, "alice", false},
	{"ArnLike", `"arn:aws:sns:*:*:a*"`, "arn:aws:sns:us-east-1:1:ab:cd", true}, {"ArnNotEquals", `"arn:aws:iam::1:user/a"`, "arn:aws:iam::1:user/b", true}, {"ArnNotLike", `"arn:aws:iam::1:user/*"`, "arn:aws:iam::1:user/b", false},
	{"ArnNotLike", `"arn:aws:iam::1:user/*"`, "-", true},
	{"Null", `"true"`, "-", true}, {"Null", `"true"`, "a", false}, {"Null", `"false"`, "a", true}, {"Null", `false`, "-", false}, {"Null", `["true","false"]`, "a", true},
	{"ForAllValues:StringEquals", `["a","b"]`, "a b", true}, {"ForAllValues:StringEquals", `["a","b"]`, "a c", false}, {"ForAllValues:StringEquals", `"a"`, "-", true},
	{"ForAllValues:StringNotEquals", `["a","b"]`, "c d", true}, {"ForAllValues:StringNotEquals", `["a","b"]`, "c a", false}, {"ForAllValues:StringLike", `"a*"`, "ab ac", true},
	{"ForAnyValue:StringEquals", `["a","b"]`, "x b", true}, {"ForAnyValue:StringEquals", `["a","b"]`, "x y", false}, {"ForAnyValue:StringEquals", `"a"`, "-", false}, {"ForAnyValue:StringNotEquals", `"a"`, "a b", true},
	{"ForAnyValue:StringNotEquals", `"a"`, "a", false}, {"ForAnyValue:StringNotEquals", `"a"`, "-", false}, {"ForAnyValue:StringEqualsIfExists", `"a"`, "-", true}, {"foranyvalue:stringlike", `"A*"`, "x Ab", true},
	{"StringEquals", `"b"`, "a b", true}, {"StringEquals", `"c"`, "a b", false}, // several values without a set operator
}

func TestConditions(t *testing.T) {
	t.Parallel()
	for _, tt := range conditionCases {
		ctx := fixed{}
		if tt.ctx != "-" {
			ctx["aws:k"] = strings.Fields(tt.ctx)
		}
		if got := holds(t, "2012-10-17", fmt.Sprintf(`{%q:{"aws:K":%s}}`, tt.operator, tt.values), ctx); got != tt.want {
			t.Errorf("%s %s of %s: got %t, want %t", tt.operator, tt.values, tt.ctx, got, tt.want)
		}
	}
}

// Several operators and several keys must all hold.
func TestConditionsAreJoined(t *testing.T) {
	t.Parallel()
	ctx := fixed{"aws:a": {"1"}, "aws:b": {"2"}}
	for condition, want := range map[string]bool{
		`{}`: true,
		`{"StringEquals":{"aws:a":"1","aws:b":"2"}}`:                          true,
		`{"StringEquals":{"aws:a":"1","aws:b":"3"}}`:                          false,
		`{"StringEquals":{"aws:a":"1"},"StringLike":{"aws:b":"2*"}}`:          true,
		`{"StringEquals":{"aws:a":"1"},"StringNotLike":{"aws:b":"2*"}}`:       false,
		`{"StringEquals":{"aws:a":"1"},"Null":{"aws:c":"true"}}`:              true,
		`{"StringEquals":{},"StringEqualsIgnoreCase":{"AWS:A":["x","1"]}}`:    true,
		`{"StringEquals":{"aws:a":"1","AWS:A":"2"}}`:                          false,
		`{"StringEquals":{"kms:EncryptionContext:aws:x":"1"}}`:                false,
		`{"StringEqualsIfExists":{"kms:EncryptionContext:aws:x:y":["","z"]}}`: true,
	} {
		if got := holds(t, "2012-10-17", condition, ctx); got != want {
			t.Errorf("%s: got %t, want %t", condition, got, want)
		}
	}
}

// Policy variables (AWS: "Policy variables").
func TestVariables(t *testing.T) {
	t.Parallel()
	ctx := fixed{"aws:username": {"alice"}, "aws:k": {"x-alice-y"}, "aws:star": {"*"}, "aws:many": {"a", "b"}, "aws:literal": {"${aws:username}"}, "aws:dollar": {"a$b"}, "aws:wild": {"a*b"}, "aws:arn": {"arn:aws:iam::1:user/alice"}}
	for _, tt := range []struct {
		version, condition string
		want               bool
	}{
		{"2012-10-17", `{"StringEquals":{"aws:k":"x-${aws:username}-y"}}`, true},
		{"2012-10-17", `{"StringEquals":{"aws:k":"x-${AWS:UserName}-y"}}`, true},
		{"2012-10-17", `{"StringLike":{"aws:k":"*-${aws:username}-?"}}`, true},
		{"2012-10-17", `{"StringLike":{"aws:k":"${aws:star}"}}`, false}, // a value is no wildcard
		{"2012-10-17", `{"StringLike":{"aws:star":"${*}"}}`, true},
		{"2012-10-17", `{"StringLike":{"aws:k":"${*}"}}`, false},
		{"2012-10-17", `{"StringLike":{"aws:wild":"a${*}b"}}`, true},
		{"2012-10-17", `{"StringLike":{"aws:dollar":"a${$}?"}}`, true},
		{"2012-10-17", `{"StringEquals":{"aws:username":"${aws:none}"}}`, false},
		{"2012-10-17", `{"StringNotEquals":{"aws:username":"${aws:none}"}}`, true}, // nothing equals what has no value
		{"2012-10-17", `{"StringNotEquals":{"aws:username":["${aws:none}","bob"]}}`, true},
		{"2012-10-17", `{"StringNotEquals":{"aws:username":["${aws:none}","alice"]}}`, false},
		{"2012-10-17", `{"StringNotLike":{"aws:username":"*${aws:none}*"}}`, true},
		{"2012-10-17", `{"StringLike":{"aws:username":"*${aws:none}*"}}`, false},
		{"2012-10-17", `{"ArnNotLike":{"aws:arn":"arn:aws:iam::1:user/${aws:none}"}}`, true},
		{"2012-10-17", `{"ArnLike":{"aws:arn":"arn:aws:iam::1:user/${aws:username}"}}`, true},
		{"2012-10-17", `{"ForAllValues:StringNotEquals":{"aws:many":["${aws:none}","c"]}}`, true},
		{"2012-10-17", `{"ForAnyValue:StringEquals":{"aws:many":"${aws:none}"}}`, false},
		{"2012-10-17", `{"StringEquals":{"aws:username":["${aws:none}","alice"]}}`, true},
		{"2012-10-17", `{"StringEquals":{"aws:username":"${aws:none, 'alice'}"}}`, true},
		{"2012-10-17", `{"StringEquals":{"aws:username":"${aws:none,'bob'}"}}`, false},
		{"2012-10-17", `{"StringEquals":{"aws:username":"${aws:username, 'bob'}"}}`, true},
		{"2012-10-17", `{"StringNotEquals":{"aws:username":"${aws:none, 'bob'}"}}`, true},
		{"2012-10-17", `{"StringEquals":{"aws:username":"${aws:many}"}}`, false}, // several values are none
		{"2008-10-17", `{"StringEquals":{"aws:literal":"${aws:username}"}}`, true},
		{"2008-10-17", `{"StringEquals":{"aws:username":"${aws:username}"}}`, false},
	} {
		if got := holds(t, tt.version, tt.condition, ctx); got != tt.want {
			t.Errorf("%s %s: got %t, want %t", tt.version, tt.condition, got, tt.want)
		}
	}
}

// Resources and actions.
func TestResourcesAndActions(t *testing.T) {
	t.Parallel()
	ctx := fixed{"aws:username": {"alice"}, "aws:account": {accountA}, "aws:end": {"567890ab"}}
	for _, tt := range []struct {
		statement string
		want      bool
	}{
		{`"Action":"*","Resource":"*"`, true}, {`"Action":"KMS:decrypt","Resource":"*"`, true}, {`"Action":"kms:Dec?ypt","Resource":"*"`, true}, {`"Action":"kms:*crypt","Resource":"*"`, true},
		{`"Action":"kms:Dec","Resource":"*"`, false}, {`"Action":"kms:Decrypt*","Resource":"*"`, true}, {`"Action":"s3:*","Resource":"*"`, false}, {`"Action":["s3:*","kms:D*"],"Resource":"*"`, true},
		{`"NotAction":"kms:Encrypt","Resource":"*"`, true}, {`"NotAction":["kms:Encrypt","kms:*"],"Resource":"*"`, false},
		{`"Action":"*","Resource":"` + keyARN + `"`, true},
		{`"Action":"*","Resource":"arn:aws:kms:us-east-1:111111111111:key/*"`, true}, {`"Action":"*","Resource":"arn:aws:kms:*:111111111111:key/*"`, true}, {`"Action":"*","Resource":"arn:aws:kms:us-*-1:*:key/*"`, true},
		{`"Action":"*","Resource":"arn:aws:kms:us-*:key/*"`, true}, {`"Action":"*","Resource":"arn:aws:kms:*"`, true}, {`"Action":"*","Resource":"arn:aws:*:111111111111:key/*"`, true},
		{`"Action":"*","Resource":"arn:aws:kms"`, true}, {`"Action":"*","Resource":"arn:aws:kms:us-east-1:111111111111"`, true}, {`"Action":"*","Resource":"arn:aws:kms:*:111111111112"`, false}, {`"Action":"*","Resource":"arn:aws:s3"`, false}, {`"Action":"*","NotResource":"arn:aws:kms"`, false},
		{`"Action":"*","Resource":"arn:aws:kms:us-east-1:${aws:account}:key/*"`, false}, {`"Action":"*","NotResource":"arn:aws:kms:us-east-1:${aws:account}:key/*"`, true}, {`"Action":"*","Resource":"arn:aws:kms:us-east-1:111111111111:*${aws:end}"`, true}, {`"Action":"*","Resource":"arn:aws:kms:us-east-1*${aws:end}"`, false},
		{`"Action":"*","Resource":"arn:aws:kms:eu-*:111111111111:key/*"`, false}, {`"Action":"*","Resource":"arn:aws:kms:us-east-1:111111111111:*/*"`, true}, {`"Action":"*","Resource":"arn:aws:kms:us-east-1:1*2:key/*"`, false},
		{`"Action":"*","NotResource":"arn:aws:kms:us-east-1:111111111111:key/other"`, true}, {`"Action":"*","NotResource":"arn:aws:kms:*:*:*"`, false},
		{`"Action":"*","Resource":"arn:aws:kms:us-east-1:111111111111:key/${aws:username}"`, false}, {`"Action":"*","Resource":["arn:aws:kms:us-east-1:111111111111:key/${aws:none}","*"]`, true},
		{`"Action":"*","NotResource":"arn:aws:kms:us-east-1:111111111111:key/${aws:none}"`, true}, {`"Action":"*","NotResource":"arn:aws:kms:us-east-1:111111111111:key/${aws:username}"`, true},
	} {
		p := parse(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow",`+tt.statement+`}}`, iam.IdentityPolicy)
		s := user(t)
		s.Identity = []iam.Attached{{Policy: p}}
		if got := iam.AuthorizeIdentity(s, ctx.request("kms:Decrypt")).Allowed; got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.statement, got, tt.want)
		}
	}
}

// Key policies do not have tags and aliases of the key, as conditions or as variables
// (AWS KMS: "ABAC for AWS KMS").
func TestKeyPoliciesHaveNoTagsAndAliases(t *testing.T) {
	t.Parallel()
	ctx := fixed{"aws:resourcetag/team": {"red"}, "kms:resourcealiases": {"alias/app"}, "aws:principaltag/team": {"red"}}
	for condition, want := range map[string]struct{ key, identity bool }{
		`{"StringEquals":{"aws:ResourceTag/team":"red"}}`:                                 {false, true},
		`{"StringNotEquals":{"aws:ResourceTag/team":"red"}}`:                              {true, false},
		`{"Null":{"aws:ResourceTag/team":"true"}}`:                                        {true, false},
		`{"ForAnyValue:StringEquals":{"kms:ResourceAliases":"alias/app"}}`:                {false, true},
		`{"Null":{"KMS:ResourceAliases":"true"}}`:                                         {true, false},
		`{"StringEquals":{"aws:PrincipalTag/team":"${aws:ResourceTag/team}"}}`:            {false, true},
		`{"StringEquals":{"aws:PrincipalTag/team":"${AWS:ResourceTag/Team, 'red'}"}}`:     {true, true},
		`{"StringEquals":{"aws:PrincipalTag/team":"${AWS:ResourceTag/Team, 'blue'}"}}`:    {false, true},
		`{"StringNotEquals":{"aws:PrincipalTag/team":"${aws:ResourceTag/team, 'blue'}"}}`: {true, false},
	} {
		policy := `{"Version":"2012-10-17",` + statement(`,"Condition":` + condition)[1:]
		if got := iam.AuthorizeKey(user(t), ctx.request("kms:Decrypt"), parse(t, policy, iam.KeyPolicy), true).Allowed; got != want.key {
			t.Errorf("%s in a key policy: got %t, want %t", condition, got, want.key)
		}
		if got := holds(t, "2012-10-17", condition, ctx); got != want.identity {
			t.Errorf("%s in an identity policy: got %t, want %t", condition, got, want.identity)
		}
	}
}

// A condition on what nobody can tell lets nobody in and denies everybody.
func TestUnknowableValues(t *testing.T) {
	t.Parallel()
	ctx := fixed{"aws:k": iam.Unknowable, "aws:other": {""}}
	for _, condition := range []string{
		`{"ForAllValues:StringLike":{"aws:k":"*"}}`, `{"ForAnyValue:StringLike":{"aws:k":"*"}}`, `{"StringEquals":{"aws:k":""}}`, `{"StringNotEquals":{"aws:k":"x"}}`,
		`{"StringEqualsIfExists":{"aws:k":"x"}}`, `{"Null":{"aws:k":"true"}}`, `{"Null":{"aws:k":"false"}}`, `{"StringEquals":{"aws:other":"${aws:k}"}}`,
	} {
		if holds(t, "2012-10-17", condition, ctx) {
			t.Errorf("%s lets somebody in", condition)
		}
		if strings.Contains(condition, "$") {
			continue
		}
		denying := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"kms:*","Resource":"*","Condition":` + condition + `}}`
		if d := iam.AuthorizeIdentity(user(t, allow("kms:*", "*"), denying), ctx.request("kms:Decrypt")); d.Allowed {
			t.Errorf("%s denies nobody", condition)
		}
	}
}

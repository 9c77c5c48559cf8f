//go:build simulate

package iam_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// keyActions are actions on keys; foreign ones may be allowed to callers of other
// accounts, and those with an encryption context have its keys (AWS KMS: "Permissions
// reference").
var keyActions = []struct {
	name             string
	foreign, context bool
	number           string // a condition key of the action's own
}{
	{name: "kms:Decrypt", foreign: true, context: true}, {name: "kms:Encrypt", foreign: true, context: true}, {name: "kms:GenerateDataKey", foreign: true, context: true}, {name: "kms:ReEncryptTo", foreign: true, context: true},
	{name: "kms:DescribeKey", foreign: true}, {name: "kms:DisableKey"}, {name: "kms:EnableKeyRotation", number: "kms:RotationPeriodInDays"},
	{name: "kms:ScheduleKeyDeletion", number: "kms:ScheduleKeyDeletionPendingWindowInDays"},
}

// simulatedWords are such as the simulator accepts.
var simulatedWords = vocabulary{
	actions: []string{"kms:*", "kms:*", "*", "kms:Decrypt", "KMS:decrypt", "kms:De*", "kms:*crypt", "kms:?ecrypt", "s3:*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:*Key*", "kms:create*", "kms:List*"},
	resources: []string{"*", "*", "*", "*", keyARN, "arn:aws:kms:*:111111111111:key/*", "arn:aws:kms:*:111111111111:*", "arn:aws:kms:us-east-1:111111111111:key/1234*", "arn:aws:kms:us-*-1:1*1:key/*", "arn:aws:kms:eu-west-1:*:*",
		"arn:aws:kms:US-EAST-1:111111111111:key/*", "arn:aws:kms:us-east-1:111111111111:*/*", "arn:aws:kms:us-*:key/*", "arn:aws:kms:us-*", "arn:aws:kms:eu-*", "arn:aws:kms", "arn:aws:*:us-east-1", "arn:aws:kms:us-east-1:111111111111:alias/a*",
		"arn:aws:kms:us-east-1:${aws:PrincipalAccount}:key/*", "arn:aws:kms:us-east-1:111111111111:key/${kms:none}*", "arn:aws:kms:us-east-1:111111111111:key/${aws:PrincipalTag/t, '1234'}*", "arn:aws:kms:us-east-1:111111111111:key/${kms:none,'1234'}*", "arn:aws:kms:?s-east-1:111111111111:key/????????-*"},
	principals: []string{"*", accountA, accountA, "arn:aws:iam::111111111111:root", "arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:root", accountB, "arn:aws:iam::111111111111:user/alice", "arn:aws:iam::111111111111:user/victor", "arn:aws:iam::222222222222:user/xaver",
		"arn:aws:iam::111111111111:role/App", "arn:aws:sts::111111111111:assumed-role/App/s", "arn:aws:sts::111111111111:assumed-role/App/other", "arn:aws:iam::222222222222:role/Guest", "arn:aws:sts::222222222222:assumed-role/Guest/g"},
	condition: (*generator).simulatedCondition,
}

func (g *generator) simulatedText() string {
	return g.pick("a", "a", "b", "A", "ab", "a:b", "é", "É", "a*", "a*", "a$", "a?", "QQ==", "")
}

func (g *generator) simulatedPattern() string {
	return g.pick("a", "a", "b", "A", "a*", "*b", "?", "??", "*", "É", "", "a${*}", "a${$}", "a${?}", "${aws:username}", "*${aws:username}*", "${AWS:PrincipalTag/t}", "${aws:PrincipalTag/t, 'a'}", "${kms:none}", "${kms:none, 'a'}", "${kms:none,'a'}", "${aws:username, 'a'}?")
}

// family is a family of operators, with condition keys and values that go with them.
type family struct {
	operators, keys []string
	value           func(g *generator) string
	bare            bool // the values may stand without quotes
}

func values(list ...string) func(*generator) string {
	return func(g *generator) string { return g.pick(list...) }
}

var textKeys = []string{"kms:EncryptionContext:app", "kms:EncryptionContext:app", "kms:EncryptionContextKeys", "kms:EncryptionContextKeys", "kms:ResourceAliases", "aws:TagKeys", "aws:PrincipalTag/t", "aws:ResourceTag/env", "kms:ViaService", "KMS:KeySpec", "aws:username"}

var families = []family{
	{operators: []string{"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"}, keys: textKeys, value: (*generator).simulatedPattern},
	{operators: []string{"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"}, keys: textKeys, value: (*generator).simulatedPattern},
	{operators: []string{"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringLike"}, keys: textKeys, value: values("a${*}", "a${$}", "a${?}")},
	{operators: []string{"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"},
		keys: []string{"kms:RotationPeriodInDays", "kms:ScheduleKeyDeletionPendingWindowInDays", "aws:MultiFactorAuthAge", "aws:MultiFactorAuthAge"}, value: values("7", "90", "90.5", "-1", "1e2", "300"), bare: true},
	{operators: []string{"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"}, keys: []string{"aws:CurrentTime", "aws:EpochTime"},
		value: values("2026-11-30", "2026-11-30T12:00:00Z", "2026-11-30T13:00:00+01:00", "2026-11-30T11:59:59.5Z", "1796040000", "1795521600", "2026", "2026-12")},
	{operators: []string{"Bool"}, keys: []string{"aws:SecureTransport", "aws:MultiFactorAuthPresent"}, value: values("true", "false", "True"), bare: true},
	{operators: []string{"Null"}, keys: []string{"aws:MultiFactorAuthPresent", "kms:ViaService", "kms:EncryptionContextKeys", "aws:ResourceTag/env", "kms:EncryptionContext:app"}, value: values("true", "false")},
	{operators: []string{"BinaryEquals"}, keys: []string{"kms:EncryptionContext:app", "aws:PrincipalTag/t"}, value: values("QQ==", "QUE=")},
	{operators: []string{"IpAddress", "NotIpAddress"}, keys: []string{"aws:SourceIp"}, value: values("192.0.2.0/24", "192.0.2.7", "192.0.2.77/24", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8::1", "2001:0db8::1", "198.51.100.128/25")},
	{operators: []string{"ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"}, keys: []string{"aws:PrincipalArn"},
		value: values("arn:aws:iam::111111111111:user/*", "arn:aws:iam::*:role/App", "arn:aws:iam::111111111111:user/${aws:username}", "arn:*:*::*:*", "arn:aws:iam::1111*:?ser/alice", "arn:aws:iam::*:root", "alice", "arn:aws:iam::222222222222:*/${aws:PrincipalTag/t, 'xaver'}")},
}

func (g *generator) simulatedCondition() string {
	f := families[g.IntN(len(families))]
	operator, key := g.pick(f.operators...), g.pick(f.keys...)
	if operator != "Null" {
		operator = g.pick("", "", "", "", "ForAllValues:", "ForAnyValue:") + operator + g.pick("", "", "", "IfExists")
	}
	if strings.HasPrefix(operator, "ForAllValues:") && strings.HasPrefix(key, "kms:EncryptionContext:") {
		key = "kms:EncryptionContextKeys" // the other is refused in key policies
	}
	list := g.some(3, func() string { return f.value(g) })
	if f.bare && g.IntN(4) == 0 {
		list = strings.ToLower(strings.ReplaceAll(list, `"`, ""))
	}
	return fmt.Sprintf(`%q:{%q:%s}`, operator, key, list)
}

func (g *generator) document(principal func() string) document {
	p := naiveParse(g.policy(principal))
	return document{p.version, p.statements}
}

// open adds an Allow of all actions to most documents, often under a condition: random
// statements alone hardly ever meet.
func (g *generator) open(d *document, principal any) {
	if g.IntN(5) == 0 {
		return
	}
	s := map[string]any{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
	if principal != nil {
		s["Principal"] = principal
	}
	if g.IntN(2) == 0 {
		var condition map[string]any
		if err := json.Unmarshal([]byte("{"+g.simulatedCondition()+"}"), &condition); err != nil {
			panic(err)
		}
		s["Condition"] = condition
	}
	d.Statement = append(d.Statement, s)
}

// own makes a policy of the caller's.
func (g *generator) own() *document {
	d := g.document(nil)
	g.open(&d, nil)
	return &d
}

// question makes one of these calls: most on a key, some that have no key policy.
func (g *generator) question() *question {
	callers := []string{"arn:aws:iam::111111111111:user/alice", "arn:aws:iam::111111111111:user/alice", "arn:aws:iam::111111111111:user/victor", "arn:aws:sts::111111111111:assumed-role/App/s", "arn:aws:sts::111111111111:assumed-role/App/s",
		"arn:aws:iam::222222222222:user/xaver", "arn:aws:sts::222222222222:assumed-role/Guest/g", "arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:root"}
	q := &question{Caller: g.pick(callers...), Resource: keyARN, Account: accountA, Context: map[string][]string{}}
	without := []string{"kms:EncryptionContextKeys"}
	if g.IntN(6) == 0 {
		q.Caller = g.pick(callers[:5]...)
		q.Action, q.Resource = g.pick("kms:CreateKey", "kms:ListKeys", "kms:CreateAlias"), "*"
		without = append(without, "kms:ResourceAliases", "kms:ViaService", "aws:ResourceTag/env", "kms:KeySpec")
		if q.Action == "kms:CreateAlias" {
			q.Resource = "arn:aws:kms:us-east-1:111111111111:alias/app"
		}
	} else {
		a := keyActions[g.IntN(len(keyActions))]
		q.Action, q.Foreign = a.name, a.foreign
		key := g.document(g.principal)
		arn, _ := kms.ParseARN(q.Caller)
		g.open(&key, map[string]any{"AWS": g.pick("*", arn.Account, "arn:aws:iam::"+arn.Account+":root", q.Caller)})
		q.Key = &key
		if a.context {
			without = nil
		}
		if a.number != "" && g.IntN(4) > 0 {
			q.Context[a.number] = []string{g.pick("7", "90", "100", "1")}
		}
	}
	if q.Caller != "arn:aws:iam::111111111111:root" && q.Caller != "arn:aws:iam::222222222222:root" {
		for range g.IntN(3) {
			q.Identity = append(q.Identity, *g.own())
		}
		if g.IntN(4) == 0 {
			q.Boundary = g.own()
		}
		if strings.Contains(q.Caller, ":assumed-role/") && g.IntN(3) == 0 {
			q.Session = g.own()
		}
	}
	q.fill(g, without)
	return q
}

// contextKeys are condition keys that a request may have, and their values. They are in
// a fixed order, so that a seed repeats a run.
var contextKeys = []struct {
	name  string
	most  int // how many values
	value func(*generator) string
}{
	{"kms:EncryptionContext:app", 1, (*generator).simulatedText}, {"kms:EncryptionContextKeys", 3, (*generator).simulatedText}, {"kms:ResourceAliases", 3, (*generator).simulatedText}, {"aws:TagKeys", 2, (*generator).simulatedText},
	{"aws:PrincipalTag/t", 1, values("a", "b", "ab", "QQ==", "alice", "xaver", "1234")}, {"aws:ResourceTag/env", 1, (*generator).simulatedText}, {"kms:ViaService", 1, (*generator).simulatedText}, {"kms:KeySpec", 1, (*generator).simulatedText},
	{"aws:MultiFactorAuthAge", 1, values("7", "90", "91", "100", "1")}, {"aws:MultiFactorAuthPresent", 1, values("true", "false")}, {"aws:SecureTransport", 1, values("true", "false")},
	{"aws:CurrentTime", 1, values("2026-11-30T12:00:00Z", "2026-11-29T12:00:00Z", "2026-11-24T12:00:00Z")}, {"aws:EpochTime", 1, values("1796040000", "1795521600", "1795953600")},
	{"aws:SourceIp", 1, values("192.0.2.7", "198.51.100.200", "2001:db8::1")},
}

// fill gives the request its condition keys: those that follow from the caller, and of
// the others every second.
func (q *question) fill(g *generator, without []string) {
	for _, key := range contextKeys {
		if g.IntN(2) == 0 || slices.Contains(without, key.name) {
			continue
		}
		for range 1 + g.IntN(key.most) {
			q.Context[key.name] = append(q.Context[key.name], key.value(g))
		}
	}
	arn, _ := kms.ParseARN(q.Caller)
	q.Context["aws:PrincipalAccount"], q.Context["aws:PrincipalArn"] = []string{arn.Account}, []string{q.Caller}
	if name, ok := strings.CutPrefix(arn.Resource, "user/"); ok {
		q.Context["aws:username"] = []string{name}
	}
	if name, ok := strings.CutPrefix(arn.Resource, "assumed-role/"); ok {
		role, _, _ := strings.Cut(name, "/")
		q.Context["aws:PrincipalArn"] = []string{"arn:aws:iam::" + arn.Account + ":role/" + role}
	}
}

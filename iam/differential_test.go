package iam_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// pairs is how many pairs of policies and requests the test decides twice.
// KMSD_TEST_PAIRS sets another number, KMSD_TEST_SEED repeats one run.
func pairs(t *testing.T) (n int, seed uint64) {
	n, seed = 20_000, rand.Uint64()
	if s := os.Getenv("KMSD_TEST_PAIRS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := strconv.ParseUint(os.Getenv("KMSD_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	return n, seed
}

// TestNaiveEvaluatorAgrees decides random pairs with the evaluator under test and
// with the naive one.
func TestNaiveEvaluatorAgrees(t *testing.T) {
	t.Parallel()
	n, seed := pairs(t)
	t.Logf("KMSD_TEST_SEED=%d KMSD_TEST_PAIRS=%d", seed, n)
	workers := runtime.GOMAXPROCS(0)
	var mu sync.Mutex
	outcomes := map[string]int{}
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			g := &generator{rand.New(rand.NewPCG(seed, uint64(w))), pairWords}
			counts := map[string]int{}
			for range n / workers {
				if !g.compare(t, counts) {
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for k, v := range counts {
				outcomes[k] += v
			}
		})
	}
	running.Wait()
	for _, outcome := range []string{"allowed", "explicit deny", "implicit deny"} {
		if outcomes[outcome] < n/50 && !t.Failed() {
			t.Errorf("only %d of %d decisions are of the kind %q: the test tests little", outcomes[outcome], n, outcome)
		}
	}
}

// A vocabulary is what random policies are made of.
type vocabulary struct {
	actions, resources, principals []string
	condition                      func(*generator) string // one operator with its key
}

type generator struct {
	*rand.Rand
	vocabulary
}

var pairWords = vocabulary{
	actions: []string{"kms:*", "*", "kms:Decrypt", "kms:Encrypt", "KMS:decrypt", "kms:De*", "kms:*crypt", "kms:?ecrypt", "s3:*", "kms:ReEncrypt*", "kms:GenerateDataKey*"},
	resources: []string{"*", "*", keyARN, "arn:aws:kms:*:111111111111:key/*", "arn:aws:kms:us-east-1:111111111111:key/1234*", "arn:aws:kms:us-*-1:1*1:key/*", "arn:aws:kms:eu-west-1:*:*",
		"arn:aws:kms:us-east-1:111111111111:key/${aws:username}", "arn:aws:kms:us-east-1:${aws:principalaccount}:key/*", "arn:aws:kms:us-*", "arn:aws:kms", "arn:aws:kms:us-east-1:111111111111", "arn:aws:kms:us-east-1:111111111111:key/${kms:none, '1234'}*", "arn:aws:kms:?s-east-1:111111111111:key/????????-*"},
	principals: []string{"*", accountA, "arn:aws:iam::111111111111:root", accountB, userID, otherID, foreign, roleID, roleID + ":s", roleID + ":other"},
	condition:  (*generator).pairCondition,
}

func (g *generator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) some(n int, f func() string) string {
	if g.IntN(2) == 0 {
		return strconv.Quote(f())
	}
	var out []string
	for range 1 + g.IntN(n) {
		out = append(out, strconv.Quote(f()))
	}
	return "[" + strings.Join(out, ",") + "]"
}

func (g *generator) action() string { return g.pick(g.actions...) }

func (g *generator) resource() string { return g.pick(g.resources...) }

// texts are values of string keys, so few that they meet.
func (g *generator) text() string { return g.pick("a", "b", "A", "ab", "a:b", "x", "", "é") }

func (g *generator) pattern() string {
	return g.pick("a", "b", "A", "a*", "*b", "?", "??", "*", "x", "${aws:username}", "${AWS:PrincipalTag/t}", "${aws:ResourceTag/env}", "${kms:none}", "${kms:none,'a'}", "a${*}", "${$}", "*${aws:username}*", "é", "")
}

func (g *generator) pairCondition() string {
	family := g.IntN(7)
	key, value, base := "", g.pattern, ""
	switch family {
	case 0, 1:
		base = g.pick("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike")
		key = g.pick("kms:EncryptionContext:app", "kms:EncryptionContextKeys", "aws:PrincipalTag/t", "aws:ResourceTag/env", "kms:ViaService", "kms:ResourceAliases", "aws:username", "KMS:KeySpec")
	case 2:
		base = g.pick("NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals")
		key, value = g.pick("kms:RotationPeriodInDays", "kms:ScheduleKeyDeletionPendingWindowInDays"), func() string { return g.pick("7", "90", "90.5", "-1", "1e2") }
	case 3:
		base = g.pick("DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals")
		key, value = g.pick("aws:CurrentTime", "aws:EpochTime"), func() string {
			return g.pick("2026-11-30", "2026-11-30T12:00:00Z", "1795521600", "2026-11-30T13:00:00+01:00")
		}
	case 4:
		base, key = g.pick("Bool", "Null"), g.pick("aws:SecureTransport", "kms:GrantIsForAWSResource", "kms:ViaService")
		value = func() string { return g.pick("true", "false") }
	case 5:
		base, key = g.pick("IpAddress", "NotIpAddress"), "aws:SourceIp"
		value = func() string {
			return g.pick("192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "2001:db8::/32", "198.51.100.128/25")
		}
	default:
		base, key = g.pick("ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"), "aws:PrincipalArn"
		value = func() string {
			return g.pick("arn:aws:iam::111111111111:user/*", "arn:aws:iam::*:role/App", "arn:aws:iam::111111111111:user/${aws:username}", "arn:*:*::*:*", "arn:aws:iam::1111*:?ser/alice", "alice")
		}
	}
	if base != "Null" {
		base = g.pick("", "", "", "ForAllValues:", "ForAnyValue:") + base + g.pick("", "", "", "IfExists")
	}
	if strings.HasPrefix(base, "ForAllValues:") && strings.HasPrefix(key, "kms:EncryptionContext:") {
		key = "kms:EncryptionContextKeys" // the other is refused in key policies
	}
	return fmt.Sprintf(`%q:{%q:%s}`, base, key, g.some(3, value))
}

func (g *generator) statement(principal string) string {
	s := `{"Effect":"` + g.pick("Allow", "Allow", "Allow", "Deny") + `"`
	if principal != "" {
		s += `,"` + g.pick("Principal", "Principal", "Principal", "Principal", "NotPrincipal") + `":` + principal
	}
	s += `,"` + g.pick("Action", "Action", "Action", "NotAction") + `":` + g.some(3, g.action)
	s += `,"` + g.pick("Resource", "Resource", "Resource", "NotResource") + `":` + g.some(3, g.resource)
	if g.IntN(2) == 0 {
		first, second := g.condition(g), g.condition(g)
		if g.IntN(2) == 0 && first[:strings.IndexByte(first, '{')] != second[:strings.IndexByte(second, '{')] {
			first += "," + second
		}
		s += `,"Condition":{` + first + `}`
	}
	return s + "}"
}

func (g *generator) policy(principal func() string) string {
	var list []string
	for range 1 + g.IntN(3) {
		p := ""
		if principal != nil {
			p = principal()
		}
		list = append(list, g.statement(p))
	}
	return `{"Version":"` + g.pick("2012-10-17", "2012-10-17", "2008-10-17") + `","Statement":[` + strings.Join(list, ",") + `]}`
}

func (g *generator) principal() string {
	if g.IntN(8) == 0 {
		return `"*"`
	}
	return `{"AWS":` + g.some(3, func() string { return g.pick(g.principals...) }) + `}`
}

func (g *generator) policies(most int) (out []string) {
	for range g.IntN(most + 1) {
		out = append(out, g.policy(nil))
	}
	return out
}

func (g *generator) caller(t *testing.T) *kms.Principal {
	s := []*iam.Subject{user(t), victor(t), xaver(t), session(t), root(accountA), root(accountB)}[g.IntN(6)]
	return s.Principal
}

func (g *generator) context() fixed {
	ctx := fixed{}
	values := func(key string, most int, f func() string) {
		if g.IntN(2) == 0 {
			return
		}
		for range 1 + g.IntN(most) {
			ctx[key] = append(ctx[key], f())
		}
	}
	values("kms:encryptioncontext:app", 1, g.text)
	values("kms:encryptioncontextkeys", 3, g.text)
	values("aws:principaltag/t", 1, g.text)
	values("aws:resourcetag/env", 1, g.text)
	values("kms:viaservice", 1, g.text)
	values("kms:resourcealiases", 3, g.text)
	values("aws:username", 1, func() string { return g.pick("alice", "a", "1234abcd-12ab-34cd-56ef-1234567890ab") })
	values("kms:keyspec", 1, g.text)
	values("aws:principalaccount", 1, func() string { return accountA })
	values("kms:rotationperiodindays", 1, func() string { return g.pick("7", "90", "91", "x") })
	values("kms:schedulekeydeletionpendingwindowindays", 1, func() string { return g.pick("7", "30") })
	values("aws:currenttime", 1, func() string { return g.pick("2026-11-30T12:00:00Z", "2026-11-29T12:00:00Z") })
	values("aws:epochtime", 1, func() string { return g.pick("1795521600", "1796040000") })
	values("aws:securetransport", 1, func() string { return g.pick("true", "false") })
	values("kms:grantisforawsresource", 1, func() string { return g.pick("true", "false") })
	values("aws:sourceip", 1, func() string { return g.pick("192.0.2.7", "198.51.100.200", "2001:db8::1") })
	values("aws:principalarn", 1, func() string {
		return g.pick("arn:aws:iam::111111111111:user/alice", "arn:aws:iam::111111111111:role/App", "arn:aws:iam::222222222222:user/xaver")
	})
	return ctx
}

// compare decides one pair twice.
func (g *generator) compare(t *testing.T, counts map[string]int) bool {
	n := naiveSubject{who: g.caller(t), identity: g.policies(3)}
	if g.IntN(4) == 0 {
		n.boundary = g.policy(nil)
	}
	if g.IntN(4) == 0 {
		n.sessions = g.policies(2)
	}
	key, ctx := g.policy(g.principal), g.context()
	r := ctx.request(g.pick("kms:Decrypt", "kms:Encrypt", "kms:ReEncryptTo", "kms:DescribeKey"))
	crossAccount := g.IntN(4) > 0

	s := &iam.Subject{Principal: n.who, Identity: identity(t, n.identity...), Session: identity(t, n.sessions...)}
	if n.boundary != "" {
		s.Boundary = iam.Attached{Policy: parse(t, n.boundary, iam.IdentityPolicy)}
	}
	got := iam.AuthorizeKey(s, r, parse(t, key, iam.KeyPolicy), crossAccount)
	if want := n.decide(r.Action, key, accountA, ctx, crossAccount); got.Allowed != want {
		t.Errorf("got %+v, want allowed %t\ncaller %+v\naction %s, cross-account %t\nkey policy %s\nidentity %s\nboundary %s\nsession %s\ncontext %v",
			got, want, *n.who, r.Action, crossAccount, key, strings.Join(n.identity, "\n"), n.boundary, strings.Join(n.sessions, "\n"), ctx)
		return false
	}
	switch {
	case got.Allowed:
		counts["allowed"]++
	case got.Explicit:
		counts["explicit deny"]++
	default:
		counts["implicit deny"]++
	}
	return true
}

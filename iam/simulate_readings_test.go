//go:build simulate

package iam_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// A reading is where the simulator reads a question in its own way. read makes of the
// question what the simulator makes of it, in terms on which both agree.
type reading struct {
	name, reason string
	read         func(*question)
}

// readings are all differences there are, in the order in which they are applied. The
// reasons say why kmsd decides otherwise: a name of AWS's, a colon, and the page or
// section; or that AWS does not say, and what kmsd chose.
var readings = []reading{
	{"takes tags and aliases of the key for known in key policies", "AWS KMS: ABAC, kms:ResourceAliases and aws:ResourceTag are for IAM policies", (*question).keyPolicyTags},
	{"fills in variables of version 2008-10-17", "AWS IAM: Version element, literal text there", (*question).oldVariables},
	{"takes a default without a blank before it, or an empty one, for none", "AWS IAM: Policy variables, default values, written with a blank; kmsd does without it", (*question).bareDefaults},
	{"leaves ${*}, ${?} and ${$} as they are where wildcards mean nothing", "AWS IAM: Policy variables, in any string", (*question).specialCharacters},
	{"lets no negated condition hold that has a variable without a value", "AWS IAM: Policy variables with no value", (*question).negatedVariables},
	{"lets no NotResource hold that has a variable without a value", "AWS IAM: Policy variables with no value", (*question).notResourceVariables},
	{"compares seconds since 1970 with dates in milliseconds, and takes a year for seconds", "AWS IAM: Date condition operators", (*question).milliseconds},
	{"reads numbers up to their exponent", "AWS does not say; kmsd reads exponents", (*question).exponents},
	{"takes the network 0.0.0.0/0 for one address", "RFC 4632, prefix of no bits", (*question).wholeNetwork},
	{"compares addresses without a prefix as text, and lets NotIpAddress fail for the other family", "AWS IAM: IP address condition operators, negated matching", (*question).plainAddresses},
	{"lets no condition hold on a key of several values without ForAllValues or ForAnyValue", "AWS IAM: Multivalued context keys, not to be left out, without saying what happens; kmsd takes ForAnyValue", (*question).withoutSet},
	{"lets ForAnyValue with IfExists fail without the key", "AWS IAM: ...IfExists, evaluate as true", (*question).anyIfExists},
	{"lets negated conditions fail on what is no ARN", "AWS IAM: negated matching", (*question).noARN},
	{"ignores case in the first parts of a resource", "AWS IAM: Resource element, user names are case-sensitive, nothing on Regions; kmsd compares all exactly", (*question).anyCase},
	{"lets no NotResource hold that has an incomplete ARN", "AWS IAM: NotResource, all that is not listed", (*question).incompleteNotResource},
	{"completes an incomplete ARN of a key policy, and lets no * go beyond its part", "AWS IAM: Resource element, a * at the end of a part goes beyond; completion is for identity-based policies", (*question).incompleteResource},
	{"takes a wildcard in the type of a resource for text", "AWS: Amazon Resource Names, incorrect wildcard usage, without saying what it does; kmsd matches it", (*question).typeWildcards},
	{"exempts from a Deny whomever NotPrincipal lists in one form", "AWS IAM: NotPrincipal, the account and the role must be listed, too", (*question).exempt},
	{"lets other accounts use operations that do not cross accounts", "AWS KMS: Permissions reference, cross-account use", (*question).crossAccount},
	{"names a Deny of the caller's own account where the other account's key does not let it in", "AWS does not say; kmsd does not tell whether others have a key", (*question).ownDenials},
	{"lets a session policy bound what a key policy grants to the session or to everybody", "AWS IAM: Policy evaluation logic, permissions granted directly to a session are not limited", (*question).boundSession},
}

// read returns the question as it is read.
func (q *question) read(by []reading) *question {
	as := q.clone()
	for _, r := range by {
		r.read(as)
	}
	return as
}

// because returns the fewest readings that make kmsd decide as the simulator does.
func (q *question) because(t testing.TB, who map[string]*kms.Principal, want string) []reading {
	var changing []reading
	as := q.clone()
	for _, r := range readings {
		before := as.text()
		if r.read(as); as.text() != before {
			changing = append(changing, r)
		}
	}
	for most := 1; most < len(changing); most++ {
		if some := q.fewest(t, who, changing, most, want, nil); some != nil {
			return some
		}
	}
	return changing
}

// fewest tries the choices of so many readings, in their order.
func (q *question) fewest(t testing.TB, who map[string]*kms.Principal, from []reading, most int, want string, chosen []reading) []reading {
	if most == 0 {
		if verdict(q.read(chosen).decide(t, who)) == want {
			return slices.Clone(chosen)
		}
		return nil
	}
	for n, r := range from {
		if some := q.fewest(t, who, from[n+1:], most-1, want, append(chosen, r)); some != nil {
			return some
		}
	}
	return nil
}

// each calls f for each statement.
func (q *question) each(f func(d *document, s map[string]any, inKey bool)) {
	documents := []*document{q.Boundary, q.Session, q.Key}
	for i := range q.Identity {
		documents = append(documents, &q.Identity[i])
	}
	for _, d := range documents {
		if d == nil {
			continue
		}
		for _, s := range d.Statement {
			f(d, s, d == q.Key)
		}
	}
}

// void takes all effect from a statement.
func void(s map[string]any) {
	delete(s, "NotAction")
	s["Action"] = "none:Nothing"
}

// simulatedCondition is one key of a Condition element.
type simulatedCondition struct {
	document              *document
	statement             map[string]any
	keys                  map[string]any // of its operator
	set, operator, key    string         // the first two in lower case
	negated, ifExists     bool
	present, inKey, multi bool
	values, got           []string // the policy's and the request's
}

// conditions calls f for each condition.
func (q *question) conditions(f func(c *simulatedCondition)) {
	q.each(func(d *document, s map[string]any, inKey bool) {
		operators, _ := s["Condition"].(map[string]any)
		for operator, keys := range operators {
			for key, list := range keys.(map[string]any) {
				c := simulatedCondition{document: d, statement: s, keys: keys.(map[string]any), key: key, inKey: inKey, values: listOf(list)}
				c.operator = strings.ToLower(operator)
				if set, rest, ok := strings.Cut(c.operator, ":"); ok {
					c.set, c.operator = set, rest
				}
				c.operator, c.ifExists = strings.CutSuffix(c.operator, "ifexists")
				c.negated = strings.Contains(c.operator, "not")
				c.got = q.value(key)
				c.present = len(c.got) > 0
				c.multi = slices.Contains([]string{"kms:encryptioncontextkeys", "kms:resourcealiases", "kms:resourcealiases" + inKeyPolicy, "aws:tagkeys"}, strings.ToLower(key))
				f(&c)
			}
		}
	})
}

// value returns the values of a condition key.
func (q *question) value(key string) []string {
	for name, values := range q.Context {
		if strings.EqualFold(name, key) {
			return values
		}
	}
	return nil
}

// replace replaces values of a condition.
func (c *simulatedCondition) replace(f func(string) string) { c.keys[c.key] = each(c.values, f) }

func each(list []string, f func(string) string) []any {
	out := []any{}
	for _, v := range list {
		out = append(out, f(v))
	}
	return out
}

// resources replaces values of Resource and NotResource.
func (q *question) resources(f func(value string, inKey bool) string) {
	q.each(func(_ *document, s map[string]any, inKey bool) {
		for _, element := range []string{"Resource", "NotResource"} {
			if list, ok := s[element]; ok {
				s[element] = each(listOf(list), func(v string) string { return f(v, inKey) })
			}
		}
	})
}

// nothing is a resource that no question is about.
const nothing = "arn:aws:kms:us-east-1:999999999999:key/nothing"

// inKeyPolicy ends the names of keys that exist in key policies for the simulator alone.
const inKeyPolicy = "-in-key-policy"

func (q *question) keyPolicyTags() {
	q.conditions(func(c *simulatedCondition) {
		if !c.inKey || c.key != "kms:ResourceAliases" && c.key != "aws:ResourceTag/env" {
			return
		}
		other := strings.Replace(c.key, "aws:ResourceTag/", "aws:Tag/", 1) + inKeyPolicy
		c.keys[other] = c.keys[c.key]
		delete(c.keys, c.key)
		if c.present {
			q.Context[other] = c.got
		}
	})
}

func (q *question) oldVariables() {
	q.each(func(d *document, _ map[string]any, _ bool) { d.Version = "2012-10-17" })
}

// bareDefault is a variable with a default that the simulator does not see.
var bareDefault = regexp.MustCompile(`\$\{[^},]*,(?:'[^']*'| '')\}`)

func (q *question) bareDefaults() {
	without := func(v string) string { return bareDefault.ReplaceAllLiteralString(v, "${kms:none}") }
	q.conditions(func(c *simulatedCondition) {
		if c.document.Version == "2012-10-17" && slices.ContainsFunc(c.values, bareDefault.MatchString) {
			c.replace(without)
		}
	})
	q.each(func(d *document, s map[string]any, _ bool) {
		for _, element := range []string{"Resource", "NotResource"} {
			if list, ok := s[element]; ok && d.Version == "2012-10-17" && slices.ContainsFunc(listOf(list), bareDefault.MatchString) {
				s[element] = each(listOf(list), without)
			}
		}
	})
}

var specialCharacter = regexp.MustCompile(`\$\{([*?$])\}`)

func (q *question) specialCharacters() {
	q.conditions(func(c *simulatedCondition) {
		if c.document.Version == "2012-10-17" && strings.HasPrefix(c.operator, "string") && !strings.HasSuffix(c.operator, "like") && slices.ContainsFunc(c.values, specialCharacter.MatchString) {
			c.replace(func(v string) string { return specialCharacter.ReplaceAllString(v, "$${$$}{$1}") })
		}
	})
}

// unresolved tells whether a variable of the text has no value.
func (q *question) unresolved(d *document, text string) bool {
	_, missing := naiveCall{ctx: q.fixed()}.expression(d.Version, text, true, false)
	return missing
}

// fixed are the request's condition keys as kmsd takes them.
func (q *question) fixed() fixed {
	out := fixed{}
	for key, values := range q.Context {
		out[strings.ToLower(key)] = values
	}
	return out
}

// negatedVariables: an ARN's parts are looked at in their order, up to one that differs.
func (q *question) negatedVariables() {
	q.conditions(func(c *simulatedCondition) {
		if !c.negated || !c.present || !strings.HasPrefix(c.operator, "string") && !strings.HasPrefix(c.operator, "arn") {
			return
		}
		for _, v := range c.values {
			parts := naiveParts(v)
			if !q.unresolved(c.document, v) || strings.HasPrefix(c.operator, "arn") && !(naiveCall{}).arn("2008-10-17", strings.Join(parts[:len(parts)-1], ":")+":*", c.got[0]) {
				continue
			}
			void(c.statement)
		}
	})
}

// notResourceVariables: a resource that differs before the variable is no obstacle.
func (q *question) notResourceVariables() {
	q.each(func(d *document, s map[string]any, _ bool) {
		for _, v := range listOf(s["NotResource"]) {
			before, _, _ := strings.Cut(v, "${")
			if q.unresolved(d, v) && strings.HasPrefix(q.Resource, before) {
				void(s)
			}
		}
	})
}

var wholeNumber = regexp.MustCompile(`^[0-9]+$`)

func (q *question) milliseconds() {
	thousandth := func(v string) string {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || !wholeNumber.MatchString(v) {
			return v
		}
		return strconv.FormatFloat(n/1000, 'f', -1, 64)
	}
	dates := false
	q.conditions(func(c *simulatedCondition) {
		if strings.HasPrefix(c.operator, "date") {
			dates = true
			c.replace(thousandth)
		}
	})
	if at := q.Context["aws:EpochTime"]; dates && at != nil {
		q.Context["aws:EpochTime"] = []string{thousandth(at[0])}
	}
}

func (q *question) exponents() {
	q.conditions(func(c *simulatedCondition) {
		if strings.HasPrefix(c.operator, "numeric") {
			c.replace(func(v string) string { mantissa, _, _ := strings.Cut(v, "e"); return mantissa })
		}
	})
}

func (q *question) wholeNetwork() {
	q.conditions(func(c *simulatedCondition) {
		if strings.HasSuffix(c.operator, "ipaddress") {
			c.replace(func(v string) string { return strings.Replace(v, "0.0.0.0/0", "0.0.0.0/32", 1) })
		}
	})
}

func (q *question) plainAddresses() {
	q.conditions(func(c *simulatedCondition) {
		if !strings.HasSuffix(c.operator, "ipaddress") || !c.present {
			return
		}
		for _, v := range c.values {
			if c.negated && !strings.Contains(v, "/") && strings.Contains(v, ":") != strings.Contains(c.got[0], ":") {
				void(c.statement)
			}
		}
		c.replace(func(v string) string { return strings.Replace(v, "2001:0db8::1", "2001:db8:ffff::1", 1) })
	})
}

func (q *question) withoutSet() {
	q.conditions(func(c *simulatedCondition) {
		if c.multi && c.present && c.set == "" && c.operator != "null" {
			void(c.statement)
		}
	})
}

func (q *question) anyIfExists() {
	q.conditions(func(c *simulatedCondition) {
		if c.set == "foranyvalue" && c.ifExists && !c.present {
			void(c.statement)
		}
	})
}

func (q *question) noARN() {
	q.conditions(func(c *simulatedCondition) {
		if strings.HasPrefix(c.operator, "arn") && c.negated && c.present && slices.Contains(c.values, "alice") {
			void(c.statement)
		}
	})
}

func (q *question) anyCase() {
	q.resources(func(v string, _ bool) string {
		parts := naiveParts(v)
		for i := range min(len(parts), 5) {
			if !strings.Contains(parts[i], "${") {
				parts[i] = strings.ToLower(parts[i])
			}
		}
		return strings.Join(parts, ":")
	})
}

// incomplete tells whether the resource is an ARN of fewer than six parts.
func incomplete(v string) bool { return strings.HasPrefix(v, "arn:") && len(naiveParts(v)) < 6 }

func (q *question) incompleteNotResource() {
	q.each(func(_ *document, s map[string]any, inKey bool) {
		for _, v := range listOf(s["NotResource"]) {
			if incomplete(v) && (!inKey || strings.Contains(v, "*")) {
				void(s)
			}
		}
	})
}

func (q *question) incompleteResource() {
	q.resources(func(v string, inKey bool) string {
		switch {
		case !incomplete(v):
			return v
		case inKey && !strings.Contains(v, "*"):
			return nothing
		}
		return v + strings.Repeat(":*", 6-len(naiveParts(v)))
	})
}

func (q *question) typeWildcards() {
	q.resources(func(v string, _ bool) string {
		parts := naiveParts(v)
		if len(parts) < 6 {
			return v
		}
		if kind, _, ok := strings.Cut(parts[5], "/"); ok && strings.ContainsAny(kind, "*?") {
			return nothing
		}
		return v
	})
}

// listedAs tells whether a list of principals has one that the caller is.
func (q *question) listedAs(element any) bool {
	arn, _ := kms.ParseARN(q.Caller)
	am := []string{"*", arn.Account, "arn:aws:iam::" + arn.Account + ":root", q.Caller, q.Context["aws:PrincipalArn"][0]}
	return slices.ContainsFunc(principalsOf(element), func(p string) bool { return slices.Contains(am, p) })
}

// principalsOf returns the AWS principals of an element.
func principalsOf(element any) []string {
	if m, ok := element.(map[string]any); ok {
		return listOf(m["AWS"])
	}
	return listOf(element)
}

func (q *question) exempt() {
	q.each(func(_ *document, s map[string]any, _ bool) {
		if s["Effect"] == "Deny" && q.Boundary == nil && q.listedAs(s["NotPrincipal"]) {
			void(s)
		}
	})
}

func (q *question) crossAccount() { q.Foreign = true }

// own tells whether the question is about a key of the caller's account.
func (q *question) own() bool {
	arn, _ := kms.ParseARN(q.Caller)
	return q.Key != nil && arn.Account == q.Account
}

// ownDenials: where a policy of a caller from another account denies, the key's policy is
// no matter.
func (q *question) ownDenials() {
	if q.Key == nil || q.own() {
		return
	}
	for _, d := range slices.Concat(q.Identity, optional(q.Boundary, q.Session)) {
		if decision := q.saidBy(&d); decision.Explicit && !decision.Allowed {
			q.Key.Statement = append(q.Key.Statement, map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": q.Caller}, "Action": "*", "Resource": "*"})
			return
		}
	}
}

// optional returns those documents that are there.
func optional(documents ...*document) (out []document) {
	for _, d := range documents {
		if d != nil {
			out = append(out, *d)
		}
	}
	return out
}

// saidBy is what one policy of the caller says.
func (q *question) saidBy(d *document) iam.Decision {
	policy, err := iam.Parse(d.text(), iam.IdentityPolicy)
	if err != nil {
		panic(err)
	}
	s := &iam.Subject{Principal: &kms.Principal{Type: kms.PrincipalUser}, Identity: []iam.Attached{{Policy: policy}}}
	return iam.AuthorizeIdentity(s, &iam.Request{Action: q.Action, Resource: q.Resource, Account: q.Account, Context: q.fixed()})
}

// boundSession: where the session policy allows nothing, no statement of the key policy
// does. Those that name the role or the account alone are left to kmsd.
func (q *question) boundSession() {
	if q.Session == nil || !q.own() || q.saidBy(q.Session).Allowed {
		return
	}
	for _, s := range q.Key.Statement {
		direct := func(p string) bool { return p == "*" || p == q.Caller }
		if _, except := s["NotPrincipal"]; s["Effect"] == "Allow" && (except || slices.ContainsFunc(principalsOf(s["Principal"]), direct)) {
			void(s)
		}
	}
}

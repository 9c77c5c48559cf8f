package iam

import (
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Context holds the condition keys of one request. Keys are in lower case, such as
// "aws:sourceip" and "kms:encryptioncontext:app". A key that the request does not
// have, and one without any value, is absent: ok is false, or values is empty. A
// policy is evaluated against what Values answers each time; the caller keeps the
// slices.
type Context interface {
	Values(key string) (values []string, ok bool)
}

// Unknowable is what a Context answers for a key whose values it cannot tell. No
// condition on it lets anybody do anything: an Allow statement that has one says
// nothing, and a Deny statement applies.
var Unknowable = []string{""}

func isUnknowable(values []string) bool { return len(values) == 1 && &values[0] == &Unknowable[0] }

// isIdentityOnly tells whether a key, in lower case, is one that key policies do not
// have (AWS KMS: "AWS KMS condition keys", "ABAC for AWS KMS").
func isIdentityOnly(key string) bool {
	return key == "kms:resourcealiases" || strings.HasPrefix(key, "aws:resourcetag/")
}

// condition is one key of one operator of a Condition element.
type condition struct {
	operator
	key string // in lower case
	// identityOnly tells that the key exists in identity policies only.
	identityOnly bool
	values       []value
}

// operator is a condition operator (AWS: "IAM JSON policy elements: Condition
// operators").
type operator struct {
	family  family
	compare comparator // of the numeric and date families
	negated bool
	// ifExists tells that an absent key satisfies the condition.
	ifExists bool
	set      quantifier
}

type family uint8

const (
	familyString family = iota
	familyStringFold
	familyLike
	familyNumeric
	familyDate
	familyBool
	familyBinary
	familyIP
	familyARN
	familyNull
)

type comparator uint8

const (
	equal comparator = iota
	less
	lessEqual
	greater
	greaterEqual
)

type quantifier uint8

const (
	noSet quantifier = iota
	forAllValues
	forAnyValue
)

// value is a value of a condition, of the operator's family.
type value struct {
	text   pattern    // strings
	arn    arnPattern // ARNs
	number float64
	time   time.Time
	truth  bool
	bytes  string
	prefix netip.Prefix
}

// operators are the names in lower case, without prefix and suffix.
var operators = map[string]operator{
	"stringequals": {family: familyString}, "stringnotequals": {family: familyString, negated: true},
	"stringequalsignorecase": {family: familyStringFold}, "stringnotequalsignorecase": {family: familyStringFold, negated: true},
	"stringlike": {family: familyLike}, "stringnotlike": {family: familyLike, negated: true},
	"numericequals": {family: familyNumeric}, "numericnotequals": {family: familyNumeric, negated: true},
	"numericlessthan": {family: familyNumeric, compare: less}, "numericlessthanequals": {family: familyNumeric, compare: lessEqual},
	"numericgreaterthan": {family: familyNumeric, compare: greater}, "numericgreaterthanequals": {family: familyNumeric, compare: greaterEqual},
	"dateequals": {family: familyDate}, "datenotequals": {family: familyDate, negated: true},
	"datelessthan": {family: familyDate, compare: less}, "datelessthanequals": {family: familyDate, compare: lessEqual},
	"dategreaterthan": {family: familyDate, compare: greater}, "dategreaterthanequals": {family: familyDate, compare: greaterEqual},
	"bool": {family: familyBool}, "binaryequals": {family: familyBinary},
	"ipaddress": {family: familyIP}, "notipaddress": {family: familyIP, negated: true},
	"arnequals": {family: familyARN}, "arnlike": {family: familyARN},
	"arnnotequals": {family: familyARN, negated: true}, "arnnotlike": {family: familyARN, negated: true},
	"null": {family: familyNull},
}

// parseOperator reads an operator with its prefix and suffix, in any case.
func parseOperator(name string) (op operator, ok bool) {
	name = strings.ToLower(name)
	set := noSet
	if rest, has := strings.CutPrefix(name, "forallvalues:"); has {
		name, set = rest, forAllValues
	} else if rest, has := strings.CutPrefix(name, "foranyvalue:"); has {
		name, set = rest, forAnyValue
	}
	base, ifExists := strings.CutSuffix(name, "ifexists")
	op, ok = operators[base]
	op.set, op.ifExists = set, ifExists
	return op, ok && !(op.family == familyNull && (ifExists || set != noSet))
}

// compileCondition compiles a comparison. Errors: MalformedPolicyDocumentException.
func compileCondition(c comparison, rules patternRules) (condition, error) {
	op, ok := parseOperator(c.operator)
	if !ok {
		return condition{}, malformed("Invalid Condition type : " + c.operator)
	}
	out := condition{operator: op, key: strings.ToLower(c.key), values: make([]value, len(c.values))}
	if out.key == "" {
		return condition{}, errSyntax
	}
	out.identityOnly = isIdentityOnly(out.key)
	for i, text := range c.values {
		if out.values[i], ok = op.compile(text, rules); !ok {
			return condition{}, errSyntax
		}
	}
	return out, nil
}

// compile reads a policy's value.
func (op operator) compile(text string, rules patternRules) (v value, ok bool) {
	var err error
	switch op.family {
	case familyString, familyStringFold:
		v.text, ok = compilePattern(text, rules)
	case familyLike:
		v.text, ok = compilePattern(text, rules.wild())
	case familyARN:
		v.arn, ok = compileARN(text, rules.wild())
	case familyNumeric:
		v.number, ok = parseNumber(text)
	case familyDate:
		v.time, ok = parseDate(text)
	case familyBool, familyNull:
		v.truth, ok = parseBool(text)
	case familyBinary:
		var b []byte
		b, err = base64.StdEncoding.DecodeString(text)
		v.bytes, ok = string(b), err == nil
	case familyIP:
		v.prefix, ok = parsePrefix(text)
	}
	return v, ok
}

func parseNumber(s string) (float64, bool) {
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil && !strings.ContainsAny(s, "xXpPnN_") // no hexadecimal, infinity or NaN
}

// dateLayouts are the forms of ISO 8601 that AWS names for date operators (W3C:
// "Date and Time Formats").
var dateLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02", "2006-01", "2006",
}

// maxEpoch bounds times in seconds since 1970: the end of the year 9999.
const maxEpoch = 253402300799

// parseDate reads ISO 8601 or seconds since 1970. Four digits are a year.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range dateLayouts {
		if len(s) < len("2006") || s[0] < '0' || s[0] > '9' {
			break
		}
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	n, ok := parseNumber(s)
	if !ok || n < -maxEpoch || n > maxEpoch {
		return time.Time{}, false
	}
	whole := int64(n)
	return time.Unix(whole, int64((n-float64(whole))*1e9)), true
}

func parseBool(s string) (truth, ok bool) {
	switch {
	case strings.EqualFold(s, "true"):
		return true, true
	case strings.EqualFold(s, "false"):
		return false, true
	}
	return false, false
}

// parsePrefix reads an address or a CIDR. Bits beyond the prefix are ignored.
func parsePrefix(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// holds decides the condition; deny tells that it stands in a Deny statement.
func (c *condition) holds(ctx Context, kind Kind, deny bool) bool {
	values, ok := ctx.Values(c.key)
	if !ok || len(values) == 0 || c.identityOnly && kind == KeyPolicy {
		return c.holdsAbsent()
	}
	if isUnknowable(values) {
		return deny
	}
	if c.family == familyNull {
		return c.wants(false)
	}
	for _, v := range values {
		switch holds := c.holdsFor(v, ctx); {
		case c.set == forAllValues && !holds:
			return false
		case c.set != forAllValues && holds:
			return true
		}
	}
	return c.set == forAllValues
}

// holdsAbsent decides for a key that the request does not have.
func (c *condition) holdsAbsent() bool {
	switch {
	case c.family == familyNull:
		return c.wants(true)
	case c.ifExists || c.set == forAllValues:
		return true
	case c.set == forAnyValue:
		return false
	}
	return c.negated
}

// wants tells whether one of the operator Null's values is the truth.
func (c *condition) wants(truth bool) bool {
	for i := range c.values {
		if c.values[i].truth == truth {
			return true
		}
	}
	return false
}

// holdsFor decides for one value of the request: whether it equals one of the
// policy's or, for a negated operator, none of them.
func (c *condition) holdsFor(v string, ctx Context) bool {
	for i := range c.values {
		if c.operator.matches(&c.values[i], v, ctx) {
			return !c.negated
		}
	}
	return c.negated
}

// matches compares the request's text with a value of the policy. One with a variable
// that has no value equals nothing (AWS: "Policy variables with no value").
func (op operator) matches(v *value, s string, ctx Context) bool {
	switch op.family {
	case familyString, familyStringFold:
		want, ok := v.text.text(ctx)
		return ok && (s == want || op.family == familyStringFold && strings.EqualFold(s, want))
	case familyLike:
		b, ok := v.text.bind(ctx)
		return ok && b.matches(s, exact)
	case familyARN:
		return len(v.arn.parts) == arnParts && strings.Count(s, ":") >= arnParts-1 && v.arn.matches(s, ctx)
	}
	return op.equals(v, s)
}

// equals compares values that are no text.
func (op operator) equals(v *value, s string) bool {
	switch op.family {
	case familyNumeric:
		n, ok := parseNumber(s)
		return ok && op.compares(order(n, v.number))
	case familyDate:
		t, ok := parseDate(s)
		return ok && op.compares(t.Compare(v.time))
	case familyBool:
		truth, ok := parseBool(s)
		return ok && truth == v.truth
	case familyBinary:
		b, err := base64.StdEncoding.DecodeString(s)
		return err == nil && string(b) == v.bytes
	}
	a, err := netip.ParseAddr(s)
	return err == nil && v.prefix.Contains(a.Unmap())
}

func order(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (op operator) compares(order int) bool {
	switch op.compare {
	case less:
		return order < 0
	case lessEqual:
		return order <= 0
	case greater:
		return order > 0
	case greaterEqual:
		return order >= 0
	}
	return order == 0
}

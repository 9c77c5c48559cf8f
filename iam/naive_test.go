package iam_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kmsd/kmsd/kms"
)

// The naive evaluator is a second reading of the policy language (AWS: "IAM JSON
// policy reference", "Policy evaluation logic"): slow, with maps, regular expressions
// and big numbers, and without a line in common with the one under test.

type naivePolicy struct {
	version    string
	statements []map[string]any
}

func naiveParse(text string) naivePolicy {
	var doc map[string]any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		panic(err)
	}
	p := naivePolicy{version: "2008-10-17"}
	if v, ok := doc["Version"].(string); ok {
		p.version = v
	}
	switch s := doc["Statement"].(type) {
	case map[string]any:
		p.statements = []map[string]any{s}
	case []any:
		for _, v := range s {
			p.statements = append(p.statements, v.(map[string]any))
		}
	}
	return p
}

func listOf(v any) (out []string) {
	switch v := v.(type) {
	case nil:
	case []any:
		for _, e := range v {
			out = append(out, listOf(e)...)
		}
	case string:
		out = append(out, v)
	default:
		out = append(out, fmt.Sprint(v))
	}
	return out
}

type naiveCall struct {
	who      *kms.Principal
	action   string
	resource string
	ctx      fixed
	inKey    bool // evaluating a key policy
}

func (c naiveCall) key(name string) ([]string, bool) {
	name = strings.ToLower(name)
	if c.inKey && (name == "kms:resourcealiases" || strings.HasPrefix(name, "aws:resourcetag/")) {
		return nil, false
	}
	v := c.ctx[name]
	return v, len(v) > 0
}

var naiveVariable = regexp.MustCompile(`\$\{([^}]*)\}`)

// naiveSpecial takes out the variables that stand for one character.
func naiveSpecial(v string) string {
	if len(v) == len("${*}") {
		return ""
	}
	return v
}

// expression turns a text into a regular expression; missing tells that a variable
// has no value.
func (c naiveCall) expression(version, text string, wild, within bool) (expr string, missing bool) {
	quote := func(s string) string {
		if !wild {
			return regexp.QuoteMeta(s)
		}
		var b strings.Builder
		for _, r := range s {
			switch {
			case r == '*' && within:
				b.WriteString(`[^:]*`)
			case r == '*':
				b.WriteString(`[\s\S]*`)
			case r == '?' && within:
				b.WriteString(`[^:]`)
			case r == '?':
				b.WriteString(`[\s\S]`)
			default:
				b.WriteString(regexp.QuoteMeta(string(r)))
			}
		}
		return b.String()
	}
	if version != "2012-10-17" {
		return quote(text), false
	}
	at := 0
	for _, m := range naiveVariable.FindAllStringSubmatchIndex(text, -1) {
		expr += quote(text[at:m[0]])
		inner := text[m[2]:m[3]]
		at = m[1]
		if inner == "*" || inner == "?" || inner == "$" {
			expr += regexp.QuoteMeta(inner)
			continue
		}
		name, fallback, has := strings.Cut(inner, ",")
		switch v, _ := c.key(strings.TrimSpace(name)); {
		case len(v) == 1:
			expr += regexp.QuoteMeta(v[0])
		case has:
			expr += regexp.QuoteMeta(strings.Trim(strings.TrimSpace(fallback), "'"))
		default:
			missing = true
		}
	}
	return expr + quote(text[at:]), missing
}

// expressions are those compiled so far, by their texts.
var expressions sync.Map

func matchesAll(expr, s string) bool {
	re, ok := expressions.Load(expr)
	if !ok {
		re, _ = expressions.LoadOrStore(expr, regexp.MustCompile(`\A(?:`+expr+`)\z`))
	}
	return re.(*regexp.Regexp).MatchString(s)
}

// arn matches part by part.
func (c naiveCall) arn(version, pattern, s string) bool {
	parts, values := naiveParts(pattern), strings.SplitN(s, ":", 6)
	if len(parts) != 6 || len(values) != 6 {
		return false
	}
	match := true
	for i := range parts {
		expr, missing := c.expression(version, parts[i], true, i < 5)
		match = match && !missing && matchesAll(expr, values[i])
	}
	return match
}

// naiveParts splits a pattern at its colons, but for those inside variables.
func naiveParts(pattern string) []string {
	hidden := naiveVariable.ReplaceAllStringFunc(pattern, func(v string) string { return strings.ReplaceAll(v, ":", "\x00") })
	parts := strings.SplitN(hidden, ":", 6)
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "\x00", ":")
	}
	return parts
}

func (c naiveCall) resourceMatches(version, pattern string) bool {
	parts := naiveParts(pattern)
	before := strings.Join(parts[:min(len(parts), 5)], ":")
	if version == "2012-10-17" && strings.Contains(naiveVariable.ReplaceAllStringFunc(before, naiveSpecial), "${") {
		return false
	}
	if len(parts) == 6 {
		return c.arn(version, pattern, c.resource)
	}
	if !c.inKey && strings.HasPrefix(pattern, "arn:") && c.arn(version, pattern+strings.Repeat(":*", 6-len(parts)), c.resource) {
		return true
	}
	expr, missing := c.expression(version, pattern, true, false)
	return !missing && matchesAll(expr, c.resource)
}

func (c naiveCall) applies(version string, s map[string]any) bool {
	action := func(a string) bool {
		expr, _ := c.expression("2008-10-17", strings.ToLower(a), true, false)
		return matchesAll(expr, strings.ToLower(c.action))
	}
	if a, ok := s["Action"]; ok {
		if !slices.ContainsFunc(listOf(a), action) {
			return false
		}
	} else if a, ok := s["NotAction"]; !ok || slices.ContainsFunc(listOf(a), action) {
		return false
	}
	resource := func(r string) bool { return c.resourceMatches(version, r) }
	if r, ok := s["Resource"]; ok {
		if !slices.ContainsFunc(listOf(r), resource) {
			return false
		}
	} else if r, ok := s["NotResource"]; !ok || slices.ContainsFunc(listOf(r), resource) {
		return false
	}
	conditions, _ := s["Condition"].(map[string]any)
	for operator, keys := range conditions {
		for key, values := range keys.(map[string]any) {
			if !c.condition(version, operator, key, listOf(values)) {
				return false
			}
		}
	}
	return true
}

func (c naiveCall) condition(version, operator, key string, want []string) bool {
	set, op := "", strings.ToLower(operator)
	if i := strings.IndexByte(op, ':'); i >= 0 {
		set, op = op[:i], op[i+1:]
	}
	exists := false
	if strings.HasSuffix(op, "ifexists") {
		exists, op = true, strings.TrimSuffix(op, "ifexists")
	}
	negated := strings.Contains(op, "not")
	op = strings.Replace(op, "not", "", 1)
	got, present := c.key(key)
	if op == "null" {
		for _, w := range want {
			if strings.EqualFold(w, "true") != present {
				return true
			}
		}
		return false
	}
	if !present {
		switch {
		case exists || set == "forallvalues":
			return true
		case set == "foranyvalue":
			return false
		}
		return negated
	}
	all, some := true, false
	for _, g := range got {
		ok := negated
		for _, w := range want {
			if c.compare(version, op, w, g) {
				ok = !negated
			}
		}
		if set == "forallvalues" && !ok {
			return false
		}
		if set != "forallvalues" && ok {
			return true
		}
		all, some = all && ok, some || ok
	}
	if set == "forallvalues" {
		return all
	}
	return some
}

func (c naiveCall) compare(version, op, want, got string) bool {
	ordered := func(sign int) bool {
		switch {
		case strings.HasSuffix(op, "lessthan"):
			return sign < 0
		case strings.HasSuffix(op, "lessthanequals"):
			return sign <= 0
		case strings.HasSuffix(op, "greaterthan"):
			return sign > 0
		case strings.HasSuffix(op, "greaterthanequals"):
			return sign >= 0
		}
		return sign == 0
	}
	switch {
	case op == "stringequals":
		expr, missing := c.expression(version, want, false, false)
		return !missing && matchesAll(expr, got)
	case op == "stringequalsignorecase":
		expr, missing := c.expression(version, want, false, false)
		return !missing && matchesAll("(?i)"+expr, got)
	case op == "stringlike":
		expr, missing := c.expression(version, want, true, false)
		return !missing && matchesAll(expr, got)
	case strings.HasPrefix(op, "arn"):
		return c.arn(version, want, got)
	case strings.HasPrefix(op, "numeric"):
		w, _ := new(big.Rat).SetString(want)
		g, ok := new(big.Rat).SetString(got)
		return ok && ordered(g.Cmp(w))
	case strings.HasPrefix(op, "date"):
		w, _ := naiveTime(want)
		g, ok := naiveTime(got)
		return ok && ordered(g.Compare(w))
	case op == "bool":
		return strings.EqualFold(want, got)
	case op == "binaryequals":
		w, _ := base64.StdEncoding.DecodeString(want)
		g, err := base64.StdEncoding.DecodeString(got)
		return err == nil && string(w) == string(g)
	}
	if !strings.Contains(want, "/") {
		if strings.Contains(want, ":") {
			want += "/128"
		} else {
			want += "/32"
		}
	}
	_, network, err := net.ParseCIDR(want)
	ip := net.ParseIP(got)
	return err == nil && ip != nil && network.Contains(ip)
}

func naiveTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return time.Time{}, false
	}
	seconds, _ := r.Float64()
	return time.Unix(int64(seconds), 0), true
}

// verdict is what a set of identity policies says.
func (c naiveCall) verdict(texts []string) (allow, deny bool) {
	for _, text := range texts {
		p := naiveParse(text)
		for _, s := range p.statements {
			if c.applies(p.version, s) {
				allow, deny = allow || s["Effect"] == "Allow", deny || s["Effect"] == "Deny"
			}
		}
	}
	return allow, deny
}

// identities are the principals that a caller is.
func identities(p *kms.Principal) (out []string) {
	out = append(out, p.Account)
	if p.Type != kms.PrincipalRoot {
		out = append(out, p.UniqueID)
	}
	if p.RoleID != "" {
		out = append(out, p.RoleID)
	}
	return out
}

// listed returns which of the caller's identities an element lists; "*" is one that
// everybody has.
func listed(element any, who *kms.Principal) map[string]bool {
	out := map[string]bool{}
	var list []string
	if m, ok := element.(map[string]any); ok {
		list = listOf(m["AWS"])
	} else {
		list = listOf(element)
	}
	for _, v := range list {
		v = strings.TrimSuffix(strings.TrimPrefix(v, "arn:aws:iam::"), ":root")
		if v == "*" {
			out["*"] = true
		}
		for _, id := range identities(who) {
			if v == id {
				out[v] = true
			}
		}
	}
	return out
}

type naiveSubject struct {
	who                *kms.Principal
	identity, sessions []string
	boundary           string
}

// decide follows AWS IAM ("How AWS enforcement code logic evaluates requests to allow or
// deny access") and AWS KMS ("Key policies in AWS KMS"), sentence by sentence.
func (n naiveSubject) decide(action, keyPolicy, account string, ctx fixed, crossAccount bool) bool {
	c := naiveCall{who: n.who, action: action, resource: keyARN, ctx: ctx}
	iAllow, iDeny := c.verdict(n.identity)
	sAllow, sDeny := c.verdict(n.sessions)
	var bAllow, bDeny bool
	if n.boundary != "" {
		bAllow, bDeny = c.verdict([]string{n.boundary})
	}
	if iDeny || sDeny || bDeny {
		return false
	}
	limited := (n.boundary == "" || bAllow) && (len(n.sessions) == 0 || sAllow)
	root := n.who.Type == kms.PrincipalRoot
	var name, role, acct, anyone bool
	kc := c
	kc.inKey = true
	p := naiveParse(keyPolicy)
	for _, s := range p.statements {
		if !kc.applies(p.version, s) {
			continue
		}
		var hit map[string]bool
		if e, ok := s["Principal"]; ok {
			hit = listed(e, n.who)
		} else {
			in := listed(s["NotPrincipal"], n.who)
			out := !in["*"]
			if s["Effect"] == "Deny" {
				all := true
				for _, id := range identities(n.who) {
					all = all && in[id]
				}
				out = out && !all || n.boundary != ""
			} else {
				out = out && len(in) == 0
			}
			if out {
				hit = map[string]bool{"*": true}
			}
		}
		if len(hit) == 0 {
			continue
		}
		if s["Effect"] == "Deny" {
			return false
		}
		anyone = anyone || hit["*"]
		acct = acct || hit[n.who.Account]
		name = name || (!root && hit[n.who.UniqueID])
		role = role || n.who.RoleID != "" && hit[n.who.RoleID]
	}
	direct := name || role && limited || anyone || acct && root
	iamAllow := (iAllow || root) && limited
	if n.who.Account == account {
		return direct || acct && iAllow && limited
	}
	return crossAccount && (name || role || acct || anyone) && iamAllow
}

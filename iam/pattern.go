package iam

import "strings"

// A pattern is a text with wildcards and policy variables, ready to be matched. The
// zero value matches the empty text.
type pattern struct {
	parts []part
	// vars counts the variables.
	vars int
}

// part is one piece of a pattern.
type part struct {
	kind partKind
	text string // of a literal; a variable's key in lower case
	// index numbers the variables of a pattern.
	index int
	// fallback is a variable's default.
	fallback    string
	hasFallback bool
	// absent tells that a variable never has a value.
	absent bool
}

type partKind uint8

const (
	literal partKind = iota
	anyRun           // *
	anyOne           // ?
	variable
)

// maxVariables bounds the variables of one pattern. It lies above what a policy of
// legal size has any use for.
const maxVariables = 16

// patternRules say what stands in a text beside its literals.
type patternRules struct {
	wildcards, variables bool
	// ofKey tells that the text stands in a key's policy, which does not have all keys.
	ofKey bool
}

// wild returns the rules with wildcards.
func (r patternRules) wild() patternRules {
	r.wildcards = true
	return r
}

// compilePattern reports false for a malformed variable or for too many.
func compilePattern(source string, rules patternRules) (p pattern, ok bool) {
	for source != "" {
		var next part
		next, source, ok = rules.next(source)
		if !ok {
			return p, false
		}
		if next.kind == variable {
			next.absent = rules.ofKey && isIdentityOnly(next.text)
			next.index = p.vars
			p.vars++
		}
		if n := len(p.parts); n > 0 && next.kind == literal && p.parts[n-1].kind == literal {
			p.parts[n-1].text += next.text
			continue
		}
		p.parts = append(p.parts, next)
	}
	return p, p.vars <= maxVariables
}

// next takes one part off the text.
func (r patternRules) next(source string) (p part, rest string, ok bool) {
	switch {
	case r.wildcards && source[0] == '*':
		return part{kind: anyRun}, strings.TrimLeft(source, "*"), true
	case r.wildcards && source[0] == '?':
		return part{kind: anyOne}, source[1:], true
	case r.variables && strings.HasPrefix(source, "${"):
		return variablePart(source)
	}
	end := 1
	for end < len(source) && !(r.wildcards && (source[end] == '*' || source[end] == '?')) &&
		!(r.variables && strings.HasPrefix(source[end:], "${")) {
		end++
	}
	return part{text: source[:end]}, source[end:], true
}

// variablePart reads ${key}, ${key, 'default'} and the three characters that are
// written as variables (AWS: "Policy variables").
func variablePart(source string) (p part, rest string, ok bool) {
	inner, rest, ok := strings.Cut(source[len("${"):], "}")
	if !ok {
		return part{}, "", false
	}
	switch inner {
	case "*", "?", "$":
		return part{text: inner}, rest, true
	}
	key, fallback, has := strings.Cut(inner, ",")
	key = strings.TrimSpace(key)
	if has {
		fallback = strings.TrimSpace(fallback)
		if len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
			return part{}, "", false
		}
		fallback = fallback[1 : len(fallback)-1]
	}
	return part{kind: variable, text: strings.ToLower(key), fallback: fallback, hasFallback: has}, rest, key != ""
}

// bound is a pattern whose variables have values. The array is for the stack.
type bound struct {
	*pattern
	values [maxVariables]string
}

// bind fills in the variables; ok is false when one has neither a value nor a
// default.
func (p *pattern) bind(ctx Context) (b bound, ok bool) {
	b.pattern = p
	if p.vars == 0 {
		return b, true
	}
	for i := range p.parts {
		v := &p.parts[i]
		if v.kind != variable {
			continue
		}
		var values []string
		if !v.absent {
			values, _ = ctx.Values(v.text)
		}
		switch {
		case len(values) == 1 && !isUnknowable(values):
			b.values[v.index] = values[0]
		case v.hasFallback:
			b.values[v.index] = v.fallback
		default:
			return b, false
		}
	}
	return b, true
}

// folding says how two characters are compared.
type folding uint8

const (
	exact folding = iota
	// foldASCII ignores the case of the letters A to Z.
	foldASCII
)

// matches tells whether the pattern matches the whole text. Of the wildcards that
// match any run only the last is ever tried again, because what an earlier one
// leaves is never less for being found early: the time is bounded by the product of
// the lengths.
func (b *bound) matches(s string, fold folding) bool {
	star, mark := -1, 0
	for i, at := 0, 0; ; {
		switch {
		case i == len(b.parts) && at == len(s):
			return true
		case i < len(b.parts) && b.parts[i].kind == anyRun:
			star, mark = i, at
			i++
			continue
		case i < len(b.parts):
			if n, ok := b.step(i, s[at:], fold); ok {
				i, at = i+1, at+n
				continue
			}
		}
		if star < 0 || mark >= len(s) {
			return false
		}
		mark++
		i, at = star+1, mark
	}
}

// step matches one part that is no run, and returns how many bytes it took.
func (b *bound) step(i int, s string, fold folding) (n int, ok bool) {
	p := &b.parts[i]
	switch p.kind {
	case anyOne:
		n = firstLen(s)
		return n, n > 0
	case variable:
		return len(b.values[p.index]), hasPrefix(s, b.values[p.index], fold)
	}
	return len(p.text), hasPrefix(s, p.text, fold)
}

func hasPrefix(s, prefix string, fold folding) bool {
	if len(s) < len(prefix) {
		return false
	}
	if fold == exact {
		return s[:len(prefix)] == prefix
	}
	for i := range len(prefix) {
		if lower(s[i]) != lower(prefix[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// firstLen is the length of the first character, in bytes.
func firstLen(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return len(s)
}

// text returns a pattern without wildcards as text; ok is false where a variable
// has no value.
func (p *pattern) text(ctx Context) (s string, ok bool) {
	switch {
	case len(p.parts) == 0:
		return "", true
	case p.vars == 0 && len(p.parts) == 1:
		return p.parts[0].text, true
	}
	b, ok := p.bind(ctx)
	for _, part := range p.parts {
		if part.kind == variable {
			s += b.values[part.index]
		} else {
			s += part.text
		}
	}
	return s, ok
}

// isAny tells that the pattern is a lone *.
func (p *pattern) isAny() bool { return len(p.parts) == 1 && p.parts[0].kind == anyRun }

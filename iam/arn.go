package iam

import "strings"

// arnParts is how many parts an ARN has. The last one holds colons of its own.
const arnParts = 6

// arnPattern matches ARNs. A pattern of six parts matches part by part, so that a *
// stays within its part (AWS: "ARN condition operators"). In a Resource element one
// of fewer parts matches the text as a whole, because there a * at the end of a part
// goes on beyond it (AWS: "Specifying wildcards in resource ARNs").
type arnPattern struct {
	parts []pattern // six, or the one of a shorter text
}

// compileARN reports false for a malformed variable.
func compileARN(source string, rules patternRules) (a arnPattern, ok bool) {
	texts := splitPattern(source)
	if len(texts) < arnParts {
		texts = []string{source}
	}
	a.parts = make([]pattern, len(texts))
	for i, t := range texts {
		if a.parts[i], ok = compilePattern(t, rules); !ok {
			return a, false
		}
	}
	return a, true
}

// compileResource compiles a value of a Resource element into patterns of which one
// must match. In an identity policy an ARN of fewer than six parts also says what it
// says with a * for each missing one (AWS: "Identify AWS resources with ARNs",
// incomplete ARNs). A variable before the fifth colon stands where AWS allows none
// (AWS: "Policy variables", Resource element): such a value matches nothing. ok is
// false for a malformed variable.
func compileResource(source string, kind Kind, rules patternRules) (patterns []arnPattern, ok bool) {
	a, ok := compileARN(source, rules)
	if !ok || a.variesBeforeResource() {
		return nil, ok
	}
	patterns = []arnPattern{a}
	if missing := arnParts - len(splitPattern(source)); missing > 0 && kind == IdentityPolicy && strings.HasPrefix(source, "arn:") {
		a, ok = compileARN(source+strings.Repeat(":*", missing), rules)
		patterns = append(patterns, a)
	}
	return patterns, ok
}

// variesBeforeResource tells whether a variable stands before the last of six parts.
func (a *arnPattern) variesBeforeResource() bool {
	for i := range min(len(a.parts), arnParts-1) {
		if a.parts[i].vars > 0 {
			return true
		}
	}
	return false
}

// splitPattern splits at the first five colons that stand outside variables.
func splitPattern(source string) (out []string) {
	from := 0
	for i := 0; i < len(source) && len(out) < arnParts-1; i++ {
		switch {
		case strings.HasPrefix(source[i:], "${"):
			if end := strings.IndexByte(source[i:], '}'); end > 0 {
				i += end
			}
		case source[i] == ':':
			out = append(out, source[from:i])
			from = i + 1
		}
	}
	return append(out, source[from:])
}

// matches tells whether the pattern matches the ARN. One with a variable that has no
// value matches nothing.
func (a *arnPattern) matches(arn string, ctx Context) bool {
	for i := range a.parts {
		p := &a.parts[i]
		part := arn
		if len(a.parts) == arnParts && i < arnParts-1 {
			var more bool
			if part, arn, more = strings.Cut(arn, ":"); !more {
				return false
			}
		}
		if p.isAny() {
			continue
		}
		if b, ok := p.bind(ctx); !ok || !b.matches(part, exact) {
			return false
		}
	}
	return true
}

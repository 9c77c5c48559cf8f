package iam

import "strings"

// actionPattern matches actions, whose names are case-insensitive: "kms:Decrypt",
// "kms:Get*", "*".
type actionPattern struct {
	pattern pattern
	// prefix is the text of a pattern that ends in its only wildcard, or of one that
	// has none; that is nearly every one.
	prefix string
	kind   actionKind
}

type actionKind uint8

const (
	actionGlob actionKind = iota
	actionName
	actionPrefix
)

func compileAction(source string) actionPattern {
	name, star := strings.CutSuffix(source, "*")
	if strings.ContainsAny(name, "*?") {
		p, _ := compilePattern(source, patternRules{wildcards: true}) // without variables none fails
		return actionPattern{pattern: p}
	}
	a := actionPattern{prefix: name, kind: actionName}
	if star {
		a.kind = actionPrefix
	}
	return a
}

func (a *actionPattern) matches(action string) bool {
	switch a.kind {
	case actionName:
		return len(action) == len(a.prefix) && hasPrefix(action, a.prefix, foldASCII)
	case actionPrefix:
		return hasPrefix(action, a.prefix, foldASCII)
	}
	b := bound{pattern: &a.pattern}
	return b.matches(action, foldASCII)
}

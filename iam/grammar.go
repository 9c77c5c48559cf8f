package iam

import (
	"encoding/json"
	"strconv"
)

// A document is a policy's text in its grammar (AWS: "Grammar of the IAM JSON
// policy language"), before anything of it is understood.
type document struct {
	version    string
	statements []clause
}

// A clause is a statement as written.
type clause struct {
	sid, effect   string
	principals    []principal // nil without the element
	hasPrincipal  bool
	notPrincipal  bool
	actions       []string
	hasAction     bool
	notAction     bool
	resources     []string
	hasResource   bool
	notResource   bool
	conditions    []comparison
	principalText []text // the strings of the element, for Rewrite
}

// principal is one value of a Principal element: its type ("AWS", "Service", …) and
// its text. The bare "*" says the same as {"AWS": "*"}.
type principal struct{ kind, value string }

// comparison is one key of one operator of a Condition element.
type comparison struct {
	operator, key string
	values        []string
}

// The versions of the language. The older one knows no variables.
const (
	version2008 = "2008-10-17"
	version2012 = "2012-10-17"
)

func parseDocument(source string) (document, error) {
	v, err := decodeJSON(source)
	if err != nil {
		return document{}, err
	}
	top, ok := v.(object)
	if !ok {
		return document{}, errSyntax
	}
	d := document{version: version2008}
	var statements any
	for _, m := range top {
		switch m.name {
		case "Version":
			d.version, ok = stringOf(m.value)
			ok = ok && (d.version == version2012 || d.version == version2008)
		case "Id":
			_, ok = stringOf(m.value)
		case "Statement":
			statements, ok = m.value, true
		default:
			ok = false
		}
		if !ok {
			return document{}, errSyntax
		}
	}
	return d, d.read(statements)
}

// read reads the Statement element: one statement or a list of at least one.
func (d *document) read(v any) error {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	if len(list) == 0 {
		return errSyntax
	}
	for _, v := range list {
		o, ok := v.(object)
		if !ok {
			return errSyntax
		}
		c, ok := readClause(o)
		if !ok {
			return errSyntax
		}
		d.statements = append(d.statements, c)
	}
	return nil
}

func readClause(o object) (c clause, ok bool) {
	for _, m := range o {
		if !c.set(m) {
			return c, false
		}
	}
	return c, c.effect == "Allow" || c.effect == "Deny"
}

// set stores one element and reports whether the grammar allows it there.
func (c *clause) set(m member) (ok bool) {
	switch m.name {
	case "Sid":
		c.sid, ok = stringOf(m.value)
	case "Effect":
		c.effect, ok = stringOf(m.value)
	case "Principal", "NotPrincipal":
		ok = !c.hasPrincipal && c.setPrincipals(m.value)
		c.hasPrincipal, c.notPrincipal = true, m.name == "NotPrincipal"
	case "Action", "NotAction":
		ok = !c.hasAction
		c.hasAction, c.notAction = true, m.name == "NotAction"
		c.actions, ok = stringsOf(m.value, ok)
	case "Resource", "NotResource":
		ok = !c.hasResource
		c.hasResource, c.notResource = true, m.name == "NotResource"
		c.resources, ok = stringsOf(m.value, ok)
	case "Condition":
		ok = c.setConditions(m.value)
	}
	return ok
}

func (c *clause) setPrincipals(v any) bool {
	if t, ok := v.(text); ok {
		c.principals = append(c.principals, principal{"AWS", t.value})
		return t.value == "*"
	}
	o, ok := v.(object)
	if !ok {
		return false
	}
	for _, m := range o {
		list, isList := m.value.([]any)
		if !isList {
			list = []any{m.value}
		}
		for _, v := range list {
			t, ok := v.(text)
			if !ok {
				return false
			}
			c.principals = append(c.principals, principal{m.name, t.value})
			if m.name == "AWS" {
				c.principalText = append(c.principalText, t)
			}
		}
	}
	return true
}

func (c *clause) setConditions(v any) bool {
	operators, ok := v.(object)
	if !ok {
		return false
	}
	for _, operator := range operators {
		keys, ok := operator.value.(object)
		if !ok {
			return false
		}
		for _, key := range keys {
			values, ok := scalarsOf(key.value)
			if !ok {
				return false
			}
			c.conditions = append(c.conditions, comparison{operator.name, key.name, values})
		}
	}
	return true
}

func stringOf(v any) (string, bool) {
	t, ok := v.(text)
	return t.value, ok
}

// stringsOf reads an element that holds one string or several.
func stringsOf(v any, ok bool) ([]string, bool) {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	out := make([]string, len(list))
	for i, v := range list {
		s, isString := stringOf(v)
		ok = ok && isString
		out[i] = s
	}
	return out, ok
}

// scalarsOf reads the values of a condition key as text.
func scalarsOf(v any) ([]string, bool) {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	out := make([]string, len(list))
	for i, v := range list {
		switch v := v.(type) {
		case text:
			out[i] = v.value
		case json.Number:
			out[i] = v.String()
		case bool:
			out[i] = strconv.FormatBool(v)
		default:
			return nil, false
		}
	}
	return out, true
}

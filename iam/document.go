package iam

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/kmsd/kmsd/kms"
)

// document is a policy document's grammar (AWS: "Grammar of the IAM JSON policy
// language").
type document struct {
	Version   string
	ID        string
	Statement []statement
}

type statement struct {
	Sid          string
	Effect       string
	Principal    principal
	hasPrincipal bool
	Action       list
	Resource     list
	hasCondition bool
	negated      bool // NotPrincipal, NotAction or NotResource
}

// list is an element that holds one string or several.
type list []string

func (l list) only(want string) bool { return len(l) == 1 && l[0] == want }

type principal struct {
	any bool // "*"
	aws list
	// other tells that the element names services or federated users.
	other bool
}

// is tells whether the principal is the account, in one of its three spellings.
func (p principal) is(account string) bool {
	return !p.any && !p.other && len(p.aws) == 1 && (p.aws[0] == account || p.aws[0] == kms.RootARN(account))
}

// maxDepth bounds the nesting of a policy document; the deepest legal one,
// {Statement:[{Condition:{op:{key:[…]}}}]}, has six levels.
const maxDepth = 8

func malformed(text string) error {
	return &kms.Error{Code: kms.CodeMalformedPolicy, Message: text}
}

var errSyntax = malformed("Syntax errors in policy.")

// parseDocument parses strictly: unknown and duplicate elements are refused.
func parseDocument(text string) (document, error) {
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	v, err := decodeValue(dec, 0)
	if err != nil {
		return document{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return document{}, malformed("Policy contains invalid json")
	}
	top, ok := v.(object)
	if !ok {
		return document{}, errSyntax
	}
	return buildDocument(top)
}

// object is a JSON object in the order of its text.
type object []member

type member struct {
	name  string
	value any
}

// decodeValue reads one value: an object, []any, string, json.Number, bool or nil.
// A name that stands twice in an object is refused, because JSON readers disagree
// on which of the two counts.
func decodeValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errSyntax
	}
	dec.UseNumber()
	tok, err := dec.Token()
	if err != nil {
		return nil, malformed("Policy contains invalid json")
	}
	switch tok {
	case json.Delim('{'):
		return decodeObject(dec, depth)
	case json.Delim('['):
		return decodeArray(dec, depth)
	}
	return tok, nil
}

func decodeObject(dec *json.Decoder, depth int) (any, error) {
	var o object
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, malformed("Policy contains invalid json")
		}
		name := tok.(string)
		if seen[name] {
			return nil, errSyntax
		}
		seen[name] = true
		value, err := decodeValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		o = append(o, member{name, value})
	}
	if _, err := dec.Token(); err != nil {
		return nil, malformed("Policy contains invalid json")
	}
	return o, nil
}

func decodeArray(dec *json.Decoder, depth int) (any, error) {
	list := []any{}
	for dec.More() {
		value, err := decodeValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	if _, err := dec.Token(); err != nil {
		return nil, malformed("Policy contains invalid json")
	}
	return list, nil
}

func buildDocument(top object) (document, error) {
	d := document{Version: "2008-10-17"}
	var hasStatement bool
	for _, m := range top {
		ok := true
		switch m.name {
		case "Version":
			d.Version, ok = m.value.(string)
			ok = ok && (d.Version == "2012-10-17" || d.Version == "2008-10-17")
		case "Id":
			d.ID, ok = m.value.(string)
		case "Statement":
			hasStatement = true
			list, isList := m.value.([]any)
			if !isList {
				list = []any{m.value}
			}
			for _, v := range list {
				s, err := buildStatement(v)
				if err != nil {
					return document{}, err
				}
				d.Statement = append(d.Statement, s)
			}
		default:
			ok = false
		}
		if !ok {
			return document{}, errSyntax
		}
	}
	if !hasStatement {
		return document{}, errSyntax
	}
	return d, nil
}

func buildStatement(v any) (statement, error) {
	o, ok := v.(object)
	if !ok {
		return statement{}, errSyntax
	}
	var s statement
	for _, m := range o {
		if !s.set(m) {
			return statement{}, errSyntax
		}
	}
	if s.Effect != "Allow" && s.Effect != "Deny" {
		return statement{}, errSyntax
	}
	if !s.hasPrincipal {
		return statement{}, malformed("Policy contains a statement with no principal.")
	}
	return s, nil
}

// set stores one element and reports whether its value has the element's type.
func (s *statement) set(m member) (ok bool) {
	switch m.name {
	case "Sid":
		s.Sid, ok = m.value.(string)
	case "Effect":
		s.Effect, ok = m.value.(string)
	case "Principal", "NotPrincipal":
		s.negated = s.negated || m.name == "NotPrincipal"
		s.hasPrincipal = true
		s.Principal, ok = buildPrincipal(m.value)
	case "Action":
		s.Action, ok = buildList(m.value)
	case "Resource":
		s.Resource, ok = buildList(m.value)
	case "NotAction", "NotResource":
		s.negated = true
		_, ok = buildList(m.value)
	case "Condition":
		s.hasCondition = true
		_, ok = m.value.(object)
	}
	return ok
}

func buildList(v any) (list, bool) {
	switch v := v.(type) {
	case string:
		return list{v}, true
	case []any:
		out := make(list, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

func buildPrincipal(v any) (principal, bool) {
	if s, ok := v.(string); ok {
		return principal{any: true}, s == "*"
	}
	o, ok := v.(object)
	if !ok {
		return principal{}, false
	}
	var p principal
	for _, m := range o {
		l, ok := buildList(m.value)
		if !ok {
			return principal{}, false
		}
		switch m.name {
		case "AWS":
			p.aws = l
			p.any = p.any || l.only("*")
		case "Service", "Federated", "CanonicalUser":
			p.other = true
		default:
			return principal{}, false
		}
	}
	return p, true
}

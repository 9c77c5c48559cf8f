package iam

import (
	"encoding/json"
	"io"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// maxDepth bounds the nesting of a policy document; the deepest legal one,
// {Statement:[{Condition:{op:{key:[…]}}}]}, has six levels.
const maxDepth = 8

func malformed(text string) error {
	return &kms.Error{Code: kms.CodeMalformedPolicy, Message: text}
}

var (
	errSyntax = malformed("Syntax errors in policy.")
	errJSON   = malformed("Policy contains invalid json")
	// errTrustJSON is IAM's word for a trust policy that is no JSON.
	errTrustJSON = malformed("This policy contains invalid Json")
)

// notJSON is how text that is no JSON is refused as a policy: each kind has words of its
// own (aws/aws-cli#3501 on policies of users, AWSCookbook/Security#2 on trust policies).
func notJSON(kind Kind) error {
	switch kind {
	case IdentityPolicy:
		return errSyntax
	case TrustPolicy:
		return errTrustJSON
	}
	return errJSON
}

// object is a JSON object in the order of its text.
type object []member

type member struct {
	name  string
	value any
}

// text is a JSON string and where its literal lies, quotes included.
type text struct {
	value    string
	from, to int
}

// decodeJSON reads one value: an object, []any, text, json.Number, bool or nil.
func decodeJSON(source string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(source))
	dec.UseNumber()
	d := decoder{dec: dec, source: source}
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errJSON
	}
	return v, nil
}

type decoder struct {
	dec    *json.Decoder
	source string
}

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errSyntax
	}
	before := int(d.dec.InputOffset())
	tok, err := d.dec.Token()
	if err != nil {
		return nil, errJSON
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '{' {
			return d.object(depth)
		}
		return d.array(depth)
	case string:
		// Between the end of the last token and this one stand white space, a colon or
		// a comma.
		from := before + strings.IndexByte(d.source[before:], '"')
		return text{tok, from, int(d.dec.InputOffset())}, nil
	}
	return tok, nil
}

// object refuses a name that stands twice, because JSON readers disagree on which
// of the two counts.
func (d *decoder) object(depth int) (any, error) {
	var o object
	seen := map[string]bool{}
	for d.dec.More() {
		tok, err := d.dec.Token()
		if err != nil {
			return nil, errJSON
		}
		name := tok.(string)
		if seen[name] {
			return nil, errSyntax
		}
		seen[name] = true
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o = append(o, member{name, value})
	}
	if _, err := d.dec.Token(); err != nil {
		return nil, errJSON
	}
	return o, nil
}

func (d *decoder) array(depth int) (any, error) {
	list := []any{}
	for d.dec.More() {
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	if _, err := d.dec.Token(); err != nil {
		return nil, errJSON
	}
	return list, nil
}

package wire

import (
	"bytes"
	"encoding/base64"
	"math"
	"slices"
	"time"
)

// AWS's names of the scalar types in its messages.
const (
	typeText    = "String"
	typeBlob    = "Blob"
	typeInteger = "Integer"
	typeBoolean = "Boolean"
	typeTime    = "milliseconds since epoch"

	typeThousandths = "a multiple of 0.001" // kmsd's own
)

// The times that Time accepts: the years 0001 to 9999, which RFC 3339 can write.
const (
	minTime = -62135596800_000
	maxTime = 253402300799_999
)

// strictBase64 refuses padding bits that are not zero, so that a blob has one
// encoding. It still ignores line breaks: Blob looks for them.
var strictBase64 = base64.StdEncoding.Strict()

// Text reads a string. It returns Absent for null.
func (r *Reader) Text() string {
	b, ok := r.scalarText(typeText)
	if !ok {
		return Absent
	}
	return string(b)
}

// OptionalText reads a string. It returns nil for null.
func (r *Reader) OptionalText() *string {
	b, ok := r.scalarText(typeText)
	if !ok {
		return nil
	}
	s := string(b)
	return &s
}

// Enum reads a string and, when it is one of rule's values, returns that instead of a
// copy of it. It returns Absent for null.
func (r *Reader) Enum(rule *TextRule) string {
	b, ok := r.scalarText(typeText)
	if !ok {
		return Absent
	}
	return rule.intern(b)
}

// Blob reads standard base64 with padding and without line breaks (RFC 4648
// §4). It returns nil for null and an empty, not nil, slice for "".
func (r *Reader) Blob() []byte {
	b, ok := r.scalarText(typeBlob)
	if !ok {
		return nil
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := strictBase64.Decode(out, b)
	if err != nil || bytes.IndexByte(b, '\n') >= 0 || bytes.IndexByte(b, '\r') >= 0 {
		r.fail(messageBase64)
		return nil
	}
	return out[:n]
}

// Int reads an integer of 32 bits, also in the forms 7.0 and 7e0. It returns nil
// for null.
func (r *Reader) Int() *int {
	literal := r.scalarNumber(typeInteger)
	if literal == nil {
		return nil
	}
	v, exact, ok := scaled(literal, 0)
	if !exact || !ok || v < math.MinInt32 || v > math.MaxInt32 {
		r.fail("NUMBER_VALUE cannot be converted to " + typeInteger)
		return nil
	}
	n := int(v)
	return &n
}

// Time reads seconds since 1970, integer, decimal or with exponent, and drops
// what is finer than a millisecond. It returns nil for null; the time is in UTC.
func (r *Reader) Time() *time.Time {
	literal := r.scalarNumber(typeTime)
	if literal == nil {
		return nil
	}
	v, _, ok := scaled(literal, 3)
	if !ok || v < minTime || v > maxTime {
		r.fail("NUMBER_VALUE cannot be converted to " + typeTime)
		return nil
	}
	t := time.UnixMilli(v).UTC()
	return &t
}

// Thousandths reads a number in any of its forms and returns a thousand times it.
// What is finer than a thousandth, or beyond 10^14, is refused. It returns nil for
// null.
func (r *Reader) Thousandths() *int64 {
	literal := r.scalarNumber(typeThousandths)
	if literal == nil {
		return nil
	}
	v, exact, ok := scaled(literal, 3)
	if !exact || !ok {
		r.fail("NUMBER_VALUE cannot be converted to " + typeThousandths)
		return nil
	}
	return &v
}

// Bool reads true or false. It returns nil for null.
func (r *Reader) Bool() *bool {
	var v bool
	switch r.peek() {
	case 'n':
		r.literal("null")
		return nil
	case 't':
		v = r.literal("true")
	case 'f':
		r.literal("false")
	default:
		r.mismatch(typeBoolean)
	}
	if r.err != nil {
		return nil
	}
	return &v
}

// Texts reads a list of strings. It returns nil for null; an element that is
// null becomes Absent.
func (r *Reader) Texts() []string { return r.Enums(nil) }

// Enums is Texts for strings of rule's values, which it does not copy.
func (r *Reader) Enums(rule *TextRule) []string {
	if !r.Array() {
		return nil
	}
	list := []string{}
	for r.More(len(list)) {
		list = append(list, r.Enum(rule))
	}
	return list
}

// TextMap reads a map of strings. A number or a boolean becomes its literal
// text. It returns nil for null; a value that is null becomes Absent.
func (r *Reader) TextMap() map[string]string {
	if !r.Object() {
		return nil
	}
	m := map[string]string{}
	for r.Next() && r.bounded(len(m)) {
		key := string(r.name)
		m[key] = r.literalText()
	}
	return m
}

func (r *Reader) literalText() string {
	switch c := r.peek(); {
	case c == 't' && r.literal("true"):
		return "true"
	case c == 'f' && r.literal("false"):
		return "false"
	case c == '-' || isDigit(c):
		return string(r.number())
	}
	return r.Text()
}

// scalarText returns the next string, valid until the next read, and whether
// there was one.
func (r *Reader) scalarText(wanted string) ([]byte, bool) {
	if r.Null() {
		return nil, false
	}
	if r.peek() != '"' {
		r.mismatch(wanted)
		return nil, false
	}
	b := r.text()
	return b, r.err == nil
}

// scalarNumber returns the next number's literal, or nil when there was none.
func (r *Reader) scalarNumber(wanted string) []byte {
	if r.Null() {
		return nil
	}
	if c := r.peek(); c != '-' && !isDigit(c) {
		r.mismatch(wanted)
		return nil
	}
	return r.number()
}

// intern returns b as a string, without a copy when it is a value of the enum.
func (t *TextRule) intern(b []byte) string {
	if t != nil {
		if i := slices.IndexFunc(t.Values, func(v string) bool { return v == string(b) }); i >= 0 {
			return t.Values[i]
		}
	}
	return string(b)
}

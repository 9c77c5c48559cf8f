package wire

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A TextRule holds the model's constraints on a string. Lengths count Unicode
// code points. A Max of 0 means that there is none.
type TextRule struct {
	Min, Max int
	Pattern  *Pattern
	// Values are an enum's values; nil means any text.
	Values []string
	// Listed are the values that a message lists, when they differ from Values.
	Listed []string
	// Hidden leaves the value out of messages.
	Hidden bool
}

// A BlobRule holds the model's constraints on a blob. Lengths count bytes.
type BlobRule struct {
	Min, Max int
	Hidden   bool
}

// An IntRule holds the model's constraints on an integer.
type IntRule struct{ Min, Max int }

// A ListRule holds the model's constraints on a list and, when it is one of strings,
// on each of them. A Max of 0 means that there is none; a nil Element means any text.
type ListRule struct {
	Min, Max int
	Element  *TextRule
}

// broken returns the texts of the constraints that v does not satisfy.
func (t *TextRule) broken(v string) []string {
	var out []string
	if n := utf8.RuneCountInString(v); t.Max > 0 && n > t.Max {
		out = append(out, maxLength(t.Max))
	} else if n < t.Min {
		out = append(out, minLength(t.Min))
	}
	if t.Pattern != nil && !t.Pattern.matches(v) {
		out = append(out, t.Pattern.text())
	}
	if t.Values != nil && !slices.Contains(t.Values, v) {
		out = append(out, t.enumText())
	}
	return out
}

// all returns the texts of every constraint, which is what the message about a
// list's element shows.
func (t *TextRule) all() []string {
	var out []string
	if t.Max > 0 {
		out = append(out, maxLength(t.Max), minLength(t.Min))
	}
	if t.Pattern != nil {
		out = append(out, t.Pattern.text())
	}
	if t.Values != nil {
		out = append(out, t.enumText())
	}
	return out
}

func (t *TextRule) enumText() string {
	listed := t.Listed
	if listed == nil {
		listed = t.Values
	}
	return "Member must satisfy enum value set: " + bracketed(listed)
}

func maxLength(n int) string {
	return "Member must have length less than or equal to " + strconv.Itoa(n)
}

func minLength(n int) string {
	return "Member must have length greater than or equal to " + strconv.Itoa(n)
}

func bracketed(list []string) string { return "[" + strings.Join(list, ", ") + "]" }

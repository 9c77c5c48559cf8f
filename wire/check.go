package wire

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxViolations bounds a ConstraintError: a body of 1 MiB could otherwise hold
// hundreds of thousands of them, each longer than what caused it.
const maxViolations = 100

const messageNull = "Member must not be null"

// A Checker collects the constraints that a request breaks. The generated code
// calls it for every member, in the order of declaration. Its zero value is ready.
type Checker struct {
	path       []string // of the enclosing structures, each with its trailing point
	violations []string
}

// Err returns a *ConstraintError when something was broken.
func (c *Checker) Err() error {
	if len(c.violations) == 0 {
		return nil
	}
	return &ConstraintError{Violations: c.violations}
}

// Verdict returns what is wrong with a request: the *SerializationError of its
// reader, else the *ConstraintError of its checker, else nil.
func Verdict(r *Reader, c *Checker) error {
	if err := r.Err(); err != nil {
		return err
	}
	return c.Err()
}

// Enter makes the following names relative to the structure name.
func (c *Checker) Enter(name string) { c.path = append(c.path, name+".") }

// EnterElement makes the following names relative to element i (from 0) of the
// list name.
func (c *Checker) EnterElement(name string, i int) {
	c.path = append(c.path, name+"."+strconv.Itoa(i+1)+".member.")
}

// Leave undoes the last Enter or EnterElement.
func (c *Checker) Leave() { c.path = c.path[:len(c.path)-1] }

// Required checks that a member is present.
func (c *Checker) Required(name string, present bool) {
	if !present {
		c.violate(" null", name, messageNull)
	}
}

// RequiredText checks a string that must be present. Absent becomes "".
func (c *Checker) RequiredText(name string, v *string, rule *TextRule) {
	c.Required(name, *v != Absent)
	c.Text(name, v, rule)
}

// Text checks a string that may be Absent, which becomes "".
func (c *Checker) Text(name string, v *string, rule *TextRule) {
	if *v == Absent {
		*v = ""
		return
	}
	c.OptionalText(name, v, rule)
}

// OptionalText checks a string that may be nil.
func (c *Checker) OptionalText(name string, v *string, rule *TextRule) {
	if v == nil {
		return
	}
	for _, constraint := range rule.broken(*v) {
		c.violate(shown(*v, rule.Hidden), name, constraint)
	}
}

// Blob checks a blob that may be nil.
func (c *Checker) Blob(name string, v []byte, rule *BlobRule) {
	if v == nil {
		return
	}
	if rule.Max > 0 && len(v) > rule.Max {
		c.violate(shownBlob(v, rule.Hidden), name, maxLength(rule.Max))
	}
	if len(v) < rule.Min {
		c.violate(shownBlob(v, rule.Hidden), name, minLength(rule.Min))
	}
}

// Int checks an integer that may be nil.
func (c *Checker) Int(name string, v *int, rule *IntRule) {
	if v == nil {
		return
	}
	if *v > rule.Max {
		c.violate(shown(strconv.Itoa(*v), false), name, "Member must have value less than or equal to "+strconv.Itoa(rule.Max))
	}
	if *v < rule.Min {
		c.violate(shown(strconv.Itoa(*v), false), name, "Member must have value greater than or equal to "+strconv.Itoa(rule.Min))
	}
}

// Texts checks a list of strings that may be nil.
func (c *Checker) Texts(name string, list []string, rule *ListRule) {
	value := func() string { return shownList(list, rule.Element != nil && rule.Element.Hidden) }
	if rule.Max > 0 && len(list) > rule.Max {
		c.violate(value(), name, maxLength(rule.Max))
	}
	if list != nil && len(list) < rule.Min {
		c.violate(value(), name, minLength(rule.Min))
	}
	for _, v := range list {
		if v == Absent {
			c.violate(value(), name, elements([]string{messageNull}))
			return
		}
		if rule.Element != nil && rule.Element.broken(v) != nil {
			c.violate(value(), name, elements(rule.Element.all()))
			return
		}
	}
}

// List checks the length of a list of structures. A message leaves out its value,
// which could be as long as the request.
func (c *Checker) List(name string, present bool, length int, rule *ListRule) {
	if rule.Max > 0 && length > rule.Max {
		c.violate("", name, maxLength(rule.Max))
	}
	if present && length < rule.Min {
		c.violate("", name, minLength(rule.Min))
	}
}

// TextMap checks that no value of a map is null.
func (c *Checker) TextMap(name string, m map[string]string) {
	for _, v := range m {
		if v == Absent {
			c.violate(shownMap(m), name, "Map value must satisfy constraint: "+bracketed([]string{messageNull}))
			return
		}
	}
}

// violate records a violation. value is what follows the word "Value".
func (c *Checker) violate(value, name, constraint string) {
	if len(c.violations) < maxViolations {
		c.violations = append(c.violations,
			"Value"+value+" at '"+strings.Join(c.path, "")+name+"' failed to satisfy constraint: "+constraint)
	}
}

func elements(constraints []string) string {
	return "Member must satisfy constraint: " + bracketed(constraints)
}

func shown(v string, hidden bool) string {
	if hidden {
		return ""
	}
	return " '" + v + "'"
}

// shownBlob shows a blob's length in the words of a Java buffer, never its bytes.
func shownBlob(v []byte, hidden bool) string {
	return shown(fmt.Sprintf("java.nio.HeapByteBuffer[pos=0 lim=%d cap=%[1]d]", len(v)), hidden)
}

func shownList(list []string, hidden bool) string {
	out := slices.Clone(list)
	for i, v := range out {
		out[i] = nullIfAbsent(v)
	}
	return shown(bracketed(out), hidden)
}

// shownMap sorts the keys: the text must not depend on the map's order.
func shownMap(m map[string]string) string {
	var entries []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		entries = append(entries, k+"="+nullIfAbsent(m[k]))
	}
	return shown("{"+strings.Join(entries, ", ")+"}", false)
}

func nullIfAbsent(v string) string {
	if v == Absent {
		return "null"
	}
	return v
}

package wire

import (
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// MaxParameters bounds the parameters of one request of the query protocol. The
	// largest legal one, an AssumeRole with all its tags and policies, has about 180.
	MaxParameters = 1000
	// maxNames bounds the depth of a parameter's name. The models need 4:
	// Tags.member.1.Key.
	maxNames = 8
)

// MessageEncoding is the text for parameters that are not a form, or too many.
const MessageEncoding = "The parameters of the request are not correctly encoded."

// The texts for parameters that do not fit a member's type. The first two are the
// service framework's own.
const (
	messageComplex  = "Unexpected complex element termination"
	messageElements = "Unexpected list element termination"
	messageRepeated = "A parameter of the request was given more than once."
)

// A Form holds the parameters of a query-protocol request, or those below one
// name of it: Tags.member.1.Key is Key below 1 below member below Tags.
//
// Its methods take the name of a member and return nothing of it after a failure;
// DecodeForm reports the first one. Parameters of names that nobody asks for are
// ignored. Those of a member that do not fit its type are a failure: a session
// whose policies were misspelt must not get all rights of its role.
type Form struct {
	values  []string
	below   map[string]*Form
	failure *error // of the whole request
}

// DecodeForm reads a form (application/x-www-form-urlencoded) by read and, if all
// of it fits, checks it. The error is a *SerializationError or a *ConstraintError.
func DecodeForm(body []byte, read func(*Form), check func(*Checker)) error {
	f, err := parseForm(body)
	if err != nil {
		return err
	}
	if read(f); *f.failure != nil {
		return *f.failure
	}
	var c Checker
	check(&c)
	return c.Err()
}

func parseForm(body []byte) (*Form, error) {
	malformed := &SerializationError{Message: MessageEncoding}
	text := string(body)
	if len(text) > MaxBody || strings.Count(text, "&") >= MaxParameters {
		return nil, malformed
	}
	parameters, err := url.ParseQuery(text)
	if err != nil {
		return nil, malformed
	}
	root := &Form{failure: new(error)}
	for name, values := range parameters {
		for _, v := range values {
			if !utf8.ValidString(v) {
				return nil, malformed
			}
		}
		if !utf8.ValidString(name) {
			return nil, malformed
		}
		f := root.descend(name)
		f.values = append(f.values, values...)
	}
	return root, nil
}

// descend returns the form at a parameter's name and makes what is missing.
func (f *Form) descend(name string) *Form {
	for _, part := range strings.SplitN(name, ".", maxNames) {
		next := f.below[part]
		if next == nil {
			if f.below == nil {
				f.below = map[string]*Form{}
			}
			next = &Form{failure: f.failure}
			f.below[part] = next
		}
		f = next
	}
	return f
}

// Text reads a string. It returns Absent if there is none.
func (f *Form) Text(name string) string {
	v, ok := f.below[name].scalar()
	if !ok {
		return Absent
	}
	return v
}

// OptionalText reads a string. It returns nil if there is none.
func (f *Form) OptionalText(name string) *string {
	v, ok := f.below[name].scalar()
	if !ok {
		return nil
	}
	return &v
}

// Int reads a decimal integer of 32 bits. It returns nil if there is none.
func (f *Form) Int(name string) *int {
	v, ok := f.below[name].scalar()
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		f.fail("STRING_VALUE cannot be converted to " + typeInteger)
		return nil
	}
	i := int(n)
	return &i
}

// Bool reads true or false. It returns nil if there is none.
func (f *Form) Bool(name string) *bool {
	v, ok := f.below[name].scalar()
	if !ok {
		return nil
	}
	if v != "true" && v != "false" {
		f.fail("STRING_VALUE cannot be converted to " + typeBoolean)
		return nil
	}
	b := v == "true"
	return &b
}

// Texts reads a list of strings. It returns nil if there is none.
func (f *Form) Texts(name string) []string {
	return FormList(f, name, func(v *string, element *Form) { *v, _ = element.scalar() })
}

// FormStructure adapts the reader of a structure to FormList: an element that is
// one has members and no value of its own.
func FormStructure[T any](read func(*T, *Form)) func(*T, *Form) {
	return func(v *T, element *Form) {
		if len(element.values) > 0 {
			element.fail(messageComplex)
		}
		read(v, element)
	}
}

// FormList reads a list: name.member.1 and so on without a gap, or name= for an
// empty one. It returns nil if there is none. The list is as long as the elements
// that the request holds, whatever their numbers say.
func FormList[T any](f *Form, name string, read func(*T, *Form)) []T {
	list := f.below[name]
	if list == nil {
		return nil
	}
	elements := list.elements()
	out := make([]T, len(elements))
	for i, element := range elements {
		read(&out[i], element)
	}
	return out
}

// elements returns the elements of the list that f is.
func (f *Form) elements() []*Form {
	if len(f.below) == 0 {
		if v, ok := f.scalar(); ok && v != "" {
			f.fail(messageElements)
		}
		return nil
	}
	member := f.below["member"]
	if len(f.values) > 0 || len(f.below) > 1 || member == nil || len(member.values) > 0 {
		f.fail(messageElements)
		return nil
	}
	out := make([]*Form, len(member.below))
	for i := range out {
		if out[i] = member.below[strconv.Itoa(i+1)]; out[i] == nil {
			f.fail(messageElements)
			return nil
		}
	}
	return out
}

// scalar returns a copy of the one value that f is, and whether there is one. f
// may be nil.
func (f *Form) scalar() (string, bool) {
	switch {
	case f == nil:
		return "", false
	case len(f.below) > 0:
		f.fail(messageComplex)
		return "", false
	case len(f.values) > 1:
		f.fail(messageRepeated)
		return "", false
	}
	return strings.Clone(f.values[0]), true
}

// fail keeps the first failure.
func (f *Form) fail(message string) {
	if *f.failure == nil {
		*f.failure = &SerializationError{Message: message}
	}
}

package wire

import (
	"bytes"
	"unicode/utf8"
)

const (
	// MaxBody is the size of the largest request body in bytes. The largest legal
	// one carries a 256 KiB attestation document in base64.
	MaxBody = 1 << 20
	// maxDepth bounds the nesting of objects and arrays. The model needs 4.
	maxDepth = 64
	// maxElements bounds one list or map, so that a body of 1 MiB cannot ask for
	// hundreds of thousands of elements. The largest legal list has 50.
	maxElements = 10_000
)

// Absent is what a required member, or an enum, holds between reading and
// checking when the request does not have it. No decoded text equals it, since it
// is not UTF-8; the checks replace it.
const Absent = "\xff"

// The texts that do not name a type.
const (
	messageStructure = "Start of structure or map found where not expected"
	messageList      = "Start of list found where not expected"
	messageScalar    = "Unexpected value type in payload"
	messageTooMany   = "Too many elements in payload"
	messageTooLarge  = "Payload is too large"
	messageTooDeep   = "Payload is nested too deeply"
	messageBase64    = "Payload holds a blob that is not valid base64"
)

var emptyObject = []byte("{}")

// A Reader reads the members of one awsJson 1.1 request. Its methods do nothing
// after the first failure, which Err reports: callers read on and ask at the end.
//
// The typed methods accept null as "absent". When a member is there twice, its
// reader is called twice, and the later value wins.
type Reader struct {
	body    []byte
	pos     int
	depth   int
	first   bool // the innermost object or array has no element yet
	name    []byte
	scratch []byte // the last text that held an escape
	err     *SerializationError
}

// NewReader returns a reader of body, which must be one JSON object or empty;
// empty means {}. The caller must not change body before it is done.
func NewReader(body []byte) Reader {
	if len(body) == 0 {
		body = emptyObject
	}
	r := Reader{body: body}
	switch {
	case len(body) > MaxBody:
		r.fail(messageTooLarge)
	case !utf8.Valid(body):
		r.fail("")
	case r.Null():
		r.fail(messageScalar)
	case r.peek() != '{':
		r.mismatch("")
	}
	return r
}

// Err returns the first failure, or reports that the object was not closed or
// that something follows it.
func (r *Reader) Err() error {
	if r.err == nil && (r.depth != 0 || r.peek() != 0 || r.pos < len(r.body)) {
		r.fail("")
	}
	if r.err != nil {
		return r.err
	}
	return nil
}

// Object opens an object. It reports false when the value is null, or on failure.
func (r *Reader) Object() bool { return r.open('{') }

// Array opens an array. It reports false when the value is null, or on failure.
func (r *Reader) Array() bool { return r.open('[') }

// Next moves to the next member of the open object, whose name Name returns and
// whose value the caller must read. At the end it closes the object and reports
// false.
func (r *Reader) Next() bool {
	if !r.advance('}') {
		return false
	}
	if r.peek() != '"' {
		r.fail("")
		return false
	}
	r.name = r.text()
	if r.peek() != ':' {
		r.fail("")
		return false
	}
	r.pos++
	return true
}

// Name returns the current member's name. It is valid until the value is read.
func (r *Reader) Name() []byte { return r.name }

// More moves to the next element of the open array; seen is how many elements
// the caller has read. At the end it closes the array and reports false.
func (r *Reader) More(seen int) bool {
	if !r.advance(']') {
		return false
	}
	return r.bounded(seen)
}

// Skip reads and drops a value of any type.
func (r *Reader) Skip() {
	switch c := r.peek(); c {
	case '{':
		for r.Object(); r.Next(); {
			r.Skip()
		}
	case '[':
		for r.Array(); r.advance(']'); {
			r.Skip()
		}
	case '"':
		r.text()
	case 't':
		r.literal("true")
	case 'f':
		r.literal("false")
	case 'n':
		r.literal("null")
	default:
		r.number()
	}
}

func (r *Reader) open(bracket byte) bool {
	if r.Null() {
		return false
	}
	if r.peek() != bracket {
		r.mismatch("")
		return false
	}
	if r.depth++; r.depth > maxDepth {
		r.fail(messageTooDeep)
		return false
	}
	r.pos++
	r.first = true
	return true
}

// advance steps over the comma before an element, or over the closing bracket.
func (r *Reader) advance(bracket byte) bool {
	c := r.peek()
	switch {
	case r.err != nil:
		return false
	case c == bracket:
		r.pos++
		r.depth--
		r.first = false
		return false
	case r.first:
		r.first = false
	case c == ',':
		r.pos++
		if r.peek() == bracket {
			r.fail("")
		}
	default:
		r.fail("")
	}
	return r.err == nil
}

func (r *Reader) bounded(seen int) bool {
	if seen >= maxElements {
		r.fail(messageTooMany)
	}
	return r.err == nil
}

// Null steps over a null, which means that the member is absent, and says
// whether there was one.
func (r *Reader) Null() bool { return r.peek() == 'n' && r.literal("null") }

func (r *Reader) literal(word string) bool {
	if !bytes.HasPrefix(r.body[r.pos:], []byte(word)) {
		r.fail("")
		return false
	}
	r.pos += len(word)
	return true
}

// peek skips white space and returns the next byte, or 0 at the end.
func (r *Reader) peek() byte {
	for r.pos < len(r.body) {
		switch c := r.body[r.pos]; c {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return c
		}
	}
	return 0
}

// mismatch fails because the next value is not of the type wanted; wanted is
// AWS's name of a scalar type, or empty for an object or an array.
func (r *Reader) mismatch(wanted string) {
	var found string
	switch c := r.peek(); {
	case c == '{':
		r.fail(messageStructure)
		return
	case c == '[':
		r.fail(messageList)
		return
	case c == '"':
		found = "STRING_VALUE"
		r.text()
	case c == 't':
		found = "TRUE_VALUE"
		r.literal("true")
	case c == 'f':
		found = "FALSE_VALUE"
		r.literal("false")
	default:
		found = "NUMBER_VALUE"
		r.number()
	}
	if wanted == "" {
		r.fail(messageScalar)
		return
	}
	r.fail(found + " cannot be converted to " + wanted)
}

// fail records the first failure and moves to the end, where every method stops.
func (r *Reader) fail(message string) {
	if r.err == nil {
		r.err = &SerializationError{Message: message}
	}
	r.pos = len(r.body)
}

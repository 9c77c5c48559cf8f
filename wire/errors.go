package wire

import (
	"strconv"
	"strings"
)

// A SerializationError is a body that is not the JSON, or the form, that the
// operation takes (AWS: SerializationException; MalformedInput in the query protocol).
type SerializationError struct {
	// Message is the text for the client. It is empty when the body is not JSON
	// at all; it never contains anything of the body.
	Message string
}

// Error returns the message, or a fixed text when there is none.
func (e *SerializationError) Error() string {
	if e.Message == "" {
		return "the request body is not valid JSON"
	}
	return e.Message
}

// A ConstraintError is a request that breaks constraints of the API model (AWS:
// ValidationException).
type ConstraintError struct {
	// Violations holds one entry per broken constraint, in the order of the
	// members' declaration, length before pattern. There are at most 100.
	Violations []string
}

// Error returns the complete text for the client: "1 validation error detected: …".
func (e *ConstraintError) Error() string {
	head := " validation errors detected: "
	if len(e.Violations) == 1 {
		head = " validation error detected: "
	}
	return strconv.Itoa(len(e.Violations)) + head + strings.Join(e.Violations, "; ")
}

package wire

// A Request is the input of an operation. Decode reads one request body and
// checks it against the model; it returns a *SerializationError or a
// *ConstraintError, and leaves the request empty in both cases. Nothing in the
// request refers to body afterwards.
type Request interface {
	Decode(body []byte) error
}

// A Response is the output of an operation of an awsJson service. AppendJSON
// appends the response body to dst; absent members are left out.
type Response interface {
	AppendJSON(dst []byte) []byte
}

// An XMLResponse is the output of an operation of a query service. AppendXML
// appends the result element to dst, without the envelope that
// AppendQueryResponse adds.
type XMLResponse interface {
	AppendXML(dst []byte) []byte
}

// An Output says what body a successful answer has.
type Output uint8

const (
	// NoOutput is an operation without an output shape: the body is empty.
	NoOutput Output = iota
	// EmptyOutput is an operation whose output shape has no members: the body is {}.
	EmptyOutput
	// MembersOutput is an operation whose output shape has members.
	MembersOutput
)

// An Operation is a row of a service's generated table.
type Operation struct {
	Name string
	// New returns an empty input.
	New func() Request
	// Errors are the codes that the model declares for the operation, in its
	// order. The slice is shared and must not be changed.
	Errors []string
	Output Output
}

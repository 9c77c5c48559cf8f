// Package wire is the runtime below the generated request and response types of
// wire/kms, wire/iam and wire/sts: readers for awsJson 1.1 requests and for the
// query protocol's forms, the checks of the API model's constraints with the texts
// that AWS answers, and append-style writers for JSON and query-protocol XML.
//
// It promises that a request either decodes completely and satisfies every
// constraint of the model, or is refused by a *SerializationError or a
// *ConstraintError, and that values of sensitive shapes appear in neither. It
// knows nothing of keys, callers or state: rules that need more than one
// request's members belong to the service.
//
// Request bodies come from authenticated but otherwise arbitrary clients. A
// hostile body can cost its own size in time and a small multiple of it in
// memory (MaxBody, maxDepth, maxElements, MaxParameters and maxViolations bound the rest); it
// cannot make the reader panic, recurse without bound, or leave a value that the
// model forbids in a decoded request. Text is never repaired: a body that is not
// valid UTF-8, or that escapes half a surrogate pair, is refused, because two
// different encryption contexts must not decode to the same one.
package wire

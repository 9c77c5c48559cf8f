// Package sigv4 checks AWS Signature Version 4 as a service does: in the
// Authorization header and in presigned URLs (AWS: "AWS Signature Version 4 for
// API requests"). SigV4A, SigV2, unsigned payloads and chunked signatures are
// refused: the services served here do not offer them.
//
// The caller works in this order, which is also the order in which a client
// learns of its mistakes: Parse (syntax, signed headers, credential, date),
// Signature.CheckScope (Region, service, terminator), the look-up of the access
// key, then Verifier.Verify (session token, time window, signature), or
// Verifier.Dummy for a key that does not exist.
//
// Everything that is parsed here comes from unauthenticated clients. Lengths are
// bounded, nothing panics, and work is linear in the input but for the sorting
// of at most 16 KiB of query string. A client that knows no secret can learn
// from answers and their timing whether an access key is active, which the
// distinct errors tell it anyway, and nothing about secrets or signatures: these
// are compared in constant time, and a wrong signature never enters the cache.
//
// A signature covers the method, the path, the query string, the body and the
// signed headers. What is not signed may have been changed on the way; so host,
// X-Amz-Target and X-Amz-Security-Token must be signed when they are there. The
// same signed request can be replayed within the time window, as at AWS.
//
// No error holds a secret, a session token, a signature or a canonical request.
// What a client sent as the credential, the date, the algorithm or the
// terminator is shown back to it, shortened and in printable ASCII.
package sigv4

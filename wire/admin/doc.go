// Package admin holds the requests and responses of kmsd's own admin API: the
// paths below /v1/, credential scope service "kmsd". There is no model of AWS's to
// generate them from, so they are written by hand, on the same reader and checks.
//
// The API is ours, so decoding is strict: a member that is not known, or is there
// twice, is refused. Members are in lowerCamelCase, times are RFC 3339 text in
// UTC. Responses may gain members; clients ignore those that they do not know.
//
// Requests come from authenticated but otherwise arbitrary clients; what decodes
// satisfies the bounds that its type documents.
package admin

// ServiceName is the service's name in a request's credential scope.
const ServiceName = "kmsd"

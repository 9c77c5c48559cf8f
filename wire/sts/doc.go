// Package sts holds the requests and responses of the AWS STS API (2011-06-15)
// that kmsd serves, generated from its model: GetCallerIdentity.
//
// STS speaks the query protocol: a request is a set of parameters, a response is
// XML. GetCallerIdentity has no parameters of its own, so its Decode reads
// nothing, and what a client sends in its place has no effect.
package sts

//go:generate go run ../../internal/wiregen -service sts -operations GetCallerIdentity

// Package kms is the vocabulary that every other package of kmsd speaks: key
// identifiers and ARNs, the names of specs, usages and states, callers, and the
// one table of errors. It holds names and rules about names, never behaviour:
// nothing here reads a clock, opens a file or keeps state.
//
// Everything that parses (ParseARN, ParseKeyRef, ParseAliasName) is fed by
// unauthenticated clients. It allocates in proportion to its input at most and
// never panics.
package kms

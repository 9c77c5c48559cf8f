// Package iam decides who may do what. A policy document is parsed strictly;
// what kmsd cannot enforce it does not accept, so that no stored policy ever
// promises more than it does.
//
// At present the one key policy that is enforced is the default key policy of
// AWS KMS ("Default key policy"): it gives the key's account, and with it the
// account's root user, every kms action. Documents that say anything else are
// refused with UnsupportedOperationException.
//
// Policy text comes from authenticated callers. Parsing is bounded by the text's
// length, which the service limits to 32,768 bytes, and never panics.
package iam

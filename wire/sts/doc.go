// Package sts holds the requests and responses of the AWS STS API (2011-06-15)
// that kmsd has a use for, generated from its model: AssumeRole, GetSessionToken,
// GetAccessKeyInfo and GetCallerIdentity.
//
// STS speaks the query protocol, as IAM does: see package wire/iam for the fields and
// for how they are read and written. A session token is sensitive here, though the
// model does not say so. GetCallerIdentity has no parameters of its own: its Decode
// reads nothing, and what a client sends in their place has no effect.
package sts

//go:generate go run ../../internal/wiregen -service sts

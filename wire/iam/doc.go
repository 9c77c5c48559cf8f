// Package iam holds the requests and responses of the AWS IAM API (2010-05-08) that
// kmsd serves, generated from its model: users, groups, roles, access keys, managed
// and inline policies, permissions boundaries, tags, and what clients ask for on the
// way.
//
// IAM speaks the query protocol. Decode reads a request's parameters and gives a
// request that satisfies the model, or an error that says what is wrong. AppendXML
// writes the result element; package httpapi writes the envelope around it.
//
// Fields are those of package wire/kms: required strings and all enums are plain
// strings, where "" stands for an enum that is absent, other scalars are pointers. A
// response omits what is nil, except for the lists of a result itself, which are there
// also when they are empty. Policy documents in responses are percent-encoded
// (RFC 3986), and who fills the response encodes them: PolicyDocument of GetUserPolicy,
// GetGroupPolicy and GetRolePolicy, Role.AssumeRolePolicyDocument and
// PolicyVersion.Document.
//
// What Decode reads is controlled by the client: see package wire for what a hostile
// request can do.
package iam

//go:generate go run ../../internal/wiregen -service iam

// Package clients holds no code. Its tests run real clients of other people, the
// AWS CLI, boto3 and the AWS SDKs for Go and JavaScript, against a cluster of real kmsd processes,
// and compare what they show with what AWS documents. One of them builds the cluster
// by carrying out docs/operations.md, with HAProxy in front.
//
// It is a module of its own, so that kmsd depends on none of these clients. A
// client that must be there and is missing fails the tests: none is skipped.
//
// Trust: everything runs on loopback, with credentials that end with the run. The
// clients see only the environment that a test gives them, never the user's AWS
// configuration.
package clients

// Package kms holds the requests and responses of the AWS KMS API (2014-11-01),
// generated from its model: all 56 operations, with the constraints of every
// request member and the texts that AWS answers when they are broken.
//
// Decode gives a request that satisfies the model, or an error that says what is
// wrong and never shows a sensitive value. Rules that the model does not hold (a
// Decrypt without CiphertextBlob, a window of 3 days) are the service's. Names of
// types and fields are the model's; the shape's documentation is AWS's API
// reference.
//
// Fields: required strings and all enums are plain strings, where "" stands for an
// enum that is absent. Other scalars are pointers. Lists, maps and blobs are nil
// when absent and empty when they were given empty. Strings and blobs are copies
// and never keep the body alive.
//
// What Decode reads is controlled by the client: see package wire for what a
// hostile body can do.
package kms

//go:generate go run ../../internal/wiregen -service kms

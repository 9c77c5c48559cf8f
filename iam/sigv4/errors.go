package sigv4

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/kms"
)

// Dialect is the way in which a service words authentication errors, and the
// clock difference that it tolerates.
type Dialect uint8

// The dialects.
const (
	// JSON is the dialect of KMS and CloudTrail: codes that end in "Exception",
	// and five minutes.
	JSON Dialect = iota
	// Query is the dialect of IAM and STS: codes without "Exception", and fifteen
	// minutes.
	Query
)

// terms are the words of one dialect.
type terms struct {
	missing, incomplete, invalid, unrecognized, expiredToken string // codes
	missingText                                              string
	window                                                   time.Duration
}

var dialects = [...]terms{
	JSON: {
		missing:      kms.CodeMissingAuthentication,
		incomplete:   kms.CodeIncompleteSignature,
		invalid:      kms.CodeInvalidSignature,
		unrecognized: kms.CodeUnrecognizedClient,
		expiredToken: kms.CodeExpiredToken,
		missingText:  "Missing Authentication Token",
		window:       5 * time.Minute,
	},
	Query: {
		missing:      kms.CodeQueryMissingAuthentication,
		incomplete:   kms.CodeQueryIncompleteSignature,
		invalid:      kms.CodeQuerySignatureDoesNotMatch,
		unrecognized: kms.CodeQueryInvalidClientTokenID,
		expiredToken: kms.CodeQueryExpiredToken,
		missingText:  "Request is missing Authentication Token",
		window:       15 * time.Minute,
	},
}

func (d Dialect) missing() *kms.Error {
	return &kms.Error{Code: dialects[d].missing, Message: dialects[d].missingText}
}

func (d Dialect) incomplete(format string, args ...any) *kms.Error {
	return &kms.Error{Code: dialects[d].incomplete, Message: fmt.Sprintf(format, args...)}
}

func (d Dialect) invalid(format string, args ...any) *kms.Error {
	return &kms.Error{Code: dialects[d].invalid, Message: fmt.Sprintf(format, args...)}
}

// mismatch is the answer to every signature that is not the right one. AWS can
// append the canonical request; it holds the session token and is left out.
func (d Dialect) mismatch() *kms.Error {
	return d.invalid("The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

func (d Dialect) unsigned(header string) *kms.Error {
	return d.invalid("%s must be a 'SignedHeader' in the AWS Authorization.", header)
}

// Unrecognized is the answer for an access key that does not exist, is inactive
// or was deleted, and for a session token that is missing or not the key's.
func (s *Signature) Unrecognized() *kms.Error {
	return &kms.Error{Code: dialects[s.dialect].unrecognized, Message: "The security token included in the request is invalid."}
}

// ExpiredToken is the answer for temporary credentials whose time is over.
func (s *Signature) ExpiredToken() *kms.Error {
	return &kms.Error{Code: dialects[s.dialect].expiredToken, Message: "The security token included in the request is expired"}
}

// echo is a client's value made fit for an error text: printable ASCII of
// bounded length.
func echo(s string) string {
	b := []byte(s[:min(len(s), maxEcho)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

// hashed stands for an Authorization header in an error text, as in the newest
// front ends of AWS: the header holds a valid signature as often as not.
func hashed(header string) string {
	sum := sha256.Sum256([]byte(header))
	return base64.StdEncoding.EncodeToString(sum[:])
}

package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// CanonicalRequest returns the canonical request of r.
func CanonicalRequest(s *Signature, r *Request) string {
	b, _ := s.appendCanonicalRequest(nil, r)
	return string(b)
}

// StringToSign returns the string to sign for a canonical request.
func StringToSign(s *Signature, canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	return string(s.appendStringToSign(nil, &sum))
}

// Matches compares the signature alone, without token and time window.
func Matches(s *Signature, r *Request, secret string) bool {
	key := deriveKey([]byte(secret), s.Date, s.Region, s.Service)
	return s.matches(r, &key)
}

// DerivedKey returns the signing key in hexadecimal.
func DerivedKey(secret, date, region, service string) string {
	key := deriveKey([]byte(secret), date, region, service)
	return hex.EncodeToString(key[:])
}

// SignatureHex returns the signature as sent.
func SignatureHex(s *Signature) string { return s.signature }

// Terminator returns the last part of the credential scope.
func Terminator(s *Signature) string { return s.terminator }

// CachedKeys returns the number of cached signing keys.
func CachedKeys(v *Verifier) int {
	var n int
	for i := range v.keys.shards {
		if m := v.keys.shards[i].keys.Load(); m != nil {
			n += len(*m)
		}
	}
	return n
}

// ParseDate reads a date header.
func ParseDate(s string) (time.Time, bool) { return parseDate(s) }

// The limits, for tests at their boundaries.
const (
	MaxAuthorization = maxAuthorization
	MaxQuery         = maxQuery
	MaxSignedHeaders = maxSignedHeaders
	MaxHeaderName    = maxHeaderName
	MaxEcho          = maxEcho
	CacheShards      = cacheShards
)

// CanonicalQuery returns the canonical query string.
func CanonicalQuery(s *Signature) string { return s.query }

package kms

import (
	"fmt"
	"io"
	"log/slog"
)

// SessionToken is the token of temporary credentials. It is a secret: however it is
// printed, only that there is one is shown.
type SessionToken string

func (t SessionToken) shown() string {
	if t == "" {
		return ""
	}
	return "<session token>"
}

// String shows whether there is a token.
func (t SessionToken) String() string { return t.shown() }

// Format shows whether there is a token, for every verb.
func (t SessionToken) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.shown()) }

// MarshalText shows whether there is a token.
func (t SessionToken) MarshalText() ([]byte, error) { return []byte(t.shown()), nil }

// LogValue shows whether there is a token.
func (t SessionToken) LogValue() slog.Value { return slog.StringValue(t.shown()) }

// Session is what temporary credentials carry beside the principal.
type Session struct {
	Issued int64 // milliseconds since 1970
	// Policies are the texts of session policies, PolicyARNs managed policies in that
	// role.
	Policies, PolicyARNs []string
	// Tags are the session's, by their keys.
	Tags []SessionTag
	// SourceIdentity is who stands behind the session, if it was said.
	SourceIdentity string
	// From are the other accounts whose principals assumed the roles that led here.
	From []string
}

// SessionTag is a tag of a session.
type SessionTag struct {
	_          struct{} `cbor:",toarray"`
	Key, Value string
	// Transitive tags go on to sessions that are made from this one.
	Transitive bool
}

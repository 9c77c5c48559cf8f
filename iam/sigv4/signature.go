package sigv4

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// The fixed words of the protocol.
const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
)

// Signature is what a client claims: who signed, for which scope, when, and
// what. Until Verify has returned nil nothing in it can be relied on.
type Signature struct {
	AccessKeyID string
	// Date is the day of the credential scope, yyyymmdd in UTC. It is the day of
	// Time.
	Date    string
	Region  string
	Service string
	// SessionToken is X-Amz-Security-Token, or empty. It is a secret.
	SessionToken string
	// SignedHeaders are the names of the signed headers: lower case, sorted,
	// separated by semicolons.
	SignedHeaders string
	// Time is when the client says that it signed, in whole seconds, UTC.
	Time time.Time
	// Presigned tells the query-string form from the header form.
	Presigned bool
	// Expires is how long after Time a presigned request is valid: what
	// X-Amz-Expires says, or the dialect's time window without it.
	Expires time.Duration

	dialect    Dialect
	terminator string
	signature  string // hexadecimal, as sent
	query      string // canonical query string
}

// Parse reads the signature of r, in the header form or the presigned form, and
// checks all that can be checked without knowing the caller: syntax, that the
// headers which must be signed are, the credential's shape, the date, and that
// the credential's date is the same. Every error is a *kms.Error in the words of
// the dialect.
func Parse(r *Request, d Dialect) (*Signature, error) {
	query, ok := parseQuery(r.RawQuery)
	if !ok {
		return nil, d.mismatch()
	}
	s := &Signature{dialect: d, query: query.canonical}
	fields, err := s.readForm(r, query)
	if err != nil {
		return nil, err
	}
	if err := s.setSignedHeaders(fields.signedHeaders, r); err != nil {
		return nil, err
	}
	if err := s.setCredential(fields.credential); err != nil {
		return nil, err
	}
	if err := s.setTime(fields.date); err != nil {
		return nil, err
	}
	return s, nil
}

// fields are the parts of a signature that both forms carry, as sent.
type fields struct {
	credential, signedHeaders, date string
}

func (s *Signature) readForm(r *Request, q query) (fields, error) {
	auth := r.Header["Authorization"]
	switch {
	case len(auth) > 0 && q.presigned():
		return fields{}, s.dialect.invalid("Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
	case q.presigned():
		return s.readPresigned(r, q)
	case len(auth) == 1:
		return s.readHeader(r, auth[0])
	case len(auth) > 1:
		return fields{}, s.dialect.incomplete("The request has more than one Authorization header.")
	default:
		return fields{}, s.dialect.missing()
	}
}

// setSignedHeaders checks the list of signed headers and keeps it. A list that
// no signer following the specification makes (empty, unsorted, doubled or
// upper-case names, or too many) cannot belong to the right signature.
func (s *Signature) setSignedHeaders(list string, r *Request) error {
	var count int
	var host, target, token bool
	for rest, prev, more := list, "", true; more; count++ {
		var name string
		name, rest, more = strings.Cut(rest, ";")
		if name <= prev || !validHeaderName(name) || count == maxSignedHeaders {
			return s.dialect.mismatch()
		}
		switch name {
		case "host", authority:
			host = true
		case "x-amz-target":
			target = true
		case "x-amz-security-token":
			token = true
		}
		prev = name
	}
	switch {
	case !host:
		return s.dialect.unsigned("'Host' or ':authority'")
	case !target && r.Header["X-Amz-Target"] != nil:
		return s.dialect.unsigned("'X-Amz-Target'")
	case !token && r.Header["X-Amz-Security-Token"] != nil:
		return s.dialect.unsigned("'X-Amz-Security-Token'")
	}
	s.SignedHeaders = list
	return nil
}

// authority is the HTTP/2 name of the Host header, which a client may sign in
// its place.
const authority = ":authority"

// validHeaderName tells whether name is a lower-case token (RFC 9110 §5.6.2) of
// bounded length.
func validHeaderName(name string) bool {
	if name == authority {
		return true
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != "" && len(name) <= maxHeaderName
}

// setCredential splits <access key id>/<date>/<region>/<service>/<terminator>.
func (s *Signature) setCredential(credential string) error {
	if strings.Count(credential, "/") != 4 {
		return s.dialect.incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", echo(credential))
	}
	rest := credential
	for _, part := range []*string{&s.AccessKeyID, &s.Date, &s.Region, &s.Service} {
		*part, rest, _ = strings.Cut(rest, "/")
	}
	s.terminator = rest
	return nil
}

// setTime reads the date and compares it with the credential's.
func (s *Signature) setTime(date string) error {
	t, ok := parseDate(date)
	if !ok {
		return s.dialect.incomplete("Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", echo(date))
	}
	s.Time = t
	if basic := t.Format(basicFormat); s.Date != basic[:8] {
		return s.dialect.invalid("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", echo(s.Date), basic[:8], basic)
	}
	return nil
}

// CheckScope tells whether the credential is scoped to the service, to a Region
// that is served and to Signature Version 4. All faults are told at once.
func (s *Signature) CheckScope(service string, validRegion func(string) bool) error {
	var faults string
	if !validRegion(s.Region) {
		faults += "Credential should be scoped to a valid region. "
	}
	if s.Service != service {
		faults += "Credential should be scoped to correct service: '" + service + "'. "
	}
	if s.terminator != terminator {
		faults += "Credential should be scoped with a valid terminator: '" + terminator + "', not '" + echo(s.terminator) + "'. "
	}
	if faults != "" {
		return s.dialect.invalid("%s", faults)
	}
	return nil
}

// String names the access key and the scope, and neither token nor signature.
func (s Signature) String() string {
	return echo(s.AccessKeyID + "/" + s.Date + "/" + s.Region + "/" + s.Service)
}

// Format writes String for every verb.
func (s Signature) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.String()) // fmt offers no way to report an error
}

// MarshalText is String; encoding/json uses it too.
func (s Signature) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue is String.
func (s Signature) LogValue() slog.Value { return slog.StringValue(s.String()) }

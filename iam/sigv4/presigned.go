package sigv4

import (
	"strconv"
	"time"
)

// The parameters of the presigned form. Names are case-sensitive.
const (
	paramAlgorithm     = "X-Amz-Algorithm"
	paramCredential    = "X-Amz-Credential"
	paramDate          = "X-Amz-Date"
	paramExpires       = "X-Amz-Expires"
	paramSecurityToken = "X-Amz-Security-Token"
	paramSignature     = "X-Amz-Signature"
	paramSignedHeaders = "X-Amz-SignedHeaders"
)

// maxExpires is the longest life of a presigned request, in seconds: a week.
const maxExpires = 604800

// readPresigned reads the query-string form.
func (s *Signature) readPresigned(r *Request, q query) (fields, error) {
	var faults string
	for _, name := range [...]string{paramAlgorithm, paramCredential, paramSignature, paramSignedHeaders, paramDate} {
		if q.auth[name] == "" {
			faults += "AWS query-string parameters must include '" + name + "'. "
		}
	}
	if faults != "" {
		return fields{}, s.dialect.incomplete("%sRe-examine the query-string parameters.", faults)
	}
	if q.repeated != "" {
		return fields{}, s.dialect.incomplete("AWS query-string parameters must include '%s' only once. Re-examine the query-string parameters.", q.repeated)
	}
	if alg := q.auth[paramAlgorithm]; alg != algorithm {
		return fields{}, s.dialect.incomplete("Unsupported AWS 'algorithm': '%s'.", echo(alg))
	}
	if err := s.setExpires(q); err != nil {
		return fields{}, err
	}
	if err := s.setPresignedToken(r, q); err != nil {
		return fields{}, err
	}
	s.Presigned = true
	s.signature = q.auth[paramSignature]
	return fields{credential: q.auth[paramCredential], signedHeaders: q.auth[paramSignedHeaders], date: q.auth[paramDate]}, nil
}

// setExpires reads X-Amz-Expires. Some SDKs leave it out of presigned STS calls,
// which STS accepts; then the request lives as long as one in the header form.
func (s *Signature) setExpires(q query) error {
	text, ok := q.auth[paramExpires]
	if !ok {
		s.Expires = dialects[s.dialect].window
		return nil
	}
	seconds, err := strconv.ParseUint(text, 10, 32)
	if err != nil || seconds < 1 || seconds > maxExpires {
		return s.dialect.incomplete("X-Amz-Expires must be a number of seconds between 1 and %d. Re-examine the query-string parameters.", maxExpires)
	}
	s.Expires = time.Duration(seconds) * time.Second
	return nil
}

// setPresignedToken takes the session token from the query string, or from a
// header, which then must be signed.
func (s *Signature) setPresignedToken(r *Request, q query) error {
	header := r.Header["X-Amz-Security-Token"]
	token, inQuery := q.auth[paramSecurityToken]
	switch {
	case len(header) > 1 || len(header) == 1 && inQuery:
		return s.dialect.incomplete("The request has more than one X-Amz-Security-Token.")
	case len(header) == 1:
		token = header[0]
	}
	s.SessionToken = token
	return nil
}

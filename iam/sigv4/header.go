package sigv4

import "strings"

// readHeader reads the header form:
//
//	AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…
//
// The parameters may stand in any order, with or without white space; unknown
// ones are ignored. Schemes that are not AWS's fourth, such as Basic, Bearer and
// SigV2's AWS, are no authentication at all.
func (s *Signature) readHeader(r *Request, auth string) (fields, error) {
	auth = strings.Trim(auth, " \t")
	if !strings.HasPrefix(auth, "AWS4-") {
		return fields{}, s.dialect.missing()
	}
	if len(auth) > maxAuthorization {
		return fields{}, s.dialect.incomplete("The Authorization header is longer than %d bytes.", maxAuthorization)
	}
	scheme, rest := auth, ""
	if i := strings.IndexAny(auth, " \t"); i >= 0 {
		scheme, rest = auth[:i], auth[i+1:]
	}
	p, err := s.readParameters(rest, auth)
	if err != nil {
		return fields{}, err
	}
	date, hasDate := headerDate(r.Header)
	if faults := p.missing(hasDate); faults != "" {
		return fields{}, s.dialect.incomplete("%s(Hashed with SHA-256 and encoded with Base64) Authorization=%s", faults, hashed(auth))
	}
	if scheme != algorithm {
		return fields{}, s.dialect.incomplete("Unsupported AWS 'algorithm': '%s'.", echo(scheme))
	}
	s.signature = p.signature
	s.SessionToken = strings.Join(r.Header["X-Amz-Security-Token"], ",")
	return fields{credential: p.credential, signedHeaders: p.signedHeaders, date: date}, nil
}

// parameters are those of the Authorization header. An empty one counts as
// missing.
type parameters struct {
	credential, signature, signedHeaders string
}

func (p *parameters) missing(hasDate bool) string {
	var faults string
	for _, part := range [...]struct{ name, value string }{
		{"Credential", p.credential}, {"Signature", p.signature}, {"SignedHeaders", p.signedHeaders},
	} {
		if part.value == "" {
			faults += "Authorization header requires '" + part.name + "' parameter. "
		}
	}
	if !hasDate {
		faults += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
	}
	return faults
}

// readParameters reads the comma-separated list after the scheme.
func (s *Signature) readParameters(list, auth string) (parameters, error) {
	var p parameters
	for more := true; more; {
		var part string
		part, list, more = strings.Cut(list, ",")
		if part = strings.Trim(part, " \t"); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return p, s.dialect.incomplete("Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '%s'.", hashed(auth))
		}
		name = strings.Trim(name, " \t")
		target := p.named(name)
		if target == nil {
			continue
		}
		if *target != "" {
			return p, s.dialect.incomplete("Authorization header has more than one '%s' parameter.", name)
		}
		*target = strings.Trim(value, " \t")
	}
	return p, nil
}

func (p *parameters) named(name string) *string {
	switch name {
	case "Credential":
		return &p.credential
	case "Signature":
		return &p.signature
	case "SignedHeaders":
		return &p.signedHeaders
	default:
		return nil
	}
}

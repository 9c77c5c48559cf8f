package sigv4

import (
	"slices"
	"strings"
)

// query is a decoded query string.
type query struct {
	// canonical is the canonical query string, without X-Amz-Signature.
	canonical string
	// auth holds the parameters of the presigned form that are present.
	auth map[string]string
	// repeated is the name of such a parameter that is there twice, or empty.
	repeated string
}

// presigned tells whether the query string claims to hold a signature.
func (q *query) presigned() bool {
	for _, name := range [...]string{paramAlgorithm, paramCredential, paramSignature, paramSignedHeaders} {
		if _, ok := q.auth[name]; ok {
			return true
		}
	}
	return false
}

// parseQuery reads a query string. Parameters are separated by "&" alone, empty
// ones are skipped, and "+" is a space, as in net/url: two query strings with
// one canonical form must never mean different things to the service. It
// reports false for a wrong escape and for a string that is too long.
func parseQuery(raw string) (query, bool) {
	var q query
	if raw == "" {
		return q, true
	}
	if len(raw) > maxQuery {
		return q, false
	}
	var pairs []string
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, ok1 := unescape(rawName)
		value, ok2 := unescape(rawValue)
		if !ok1 || !ok2 {
			return query{}, false
		}
		q.note(name, value)
		if name != paramSignature {
			pairs = append(pairs, escape(name)+"="+escape(value))
		}
	}
	// By encoded name, then by encoded value: "=" may not decide, because
	// characters sort before and after it.
	slices.SortFunc(pairs, comparePairs)
	q.canonical = strings.Join(pairs, "&")
	return q, true
}

func comparePairs(a, b string) int {
	aName, aValue, _ := strings.Cut(a, "=")
	bName, bValue, _ := strings.Cut(b, "=")
	if c := strings.Compare(aName, bName); c != 0 {
		return c
	}
	return strings.Compare(aValue, bValue)
}

// note keeps a parameter of the presigned form.
func (q *query) note(name, value string) {
	switch name {
	case paramAlgorithm, paramCredential, paramDate, paramExpires, paramSecurityToken, paramSignature, paramSignedHeaders:
	default:
		return
	}
	if _, ok := q.auth[name]; ok {
		q.repeated = name
	}
	if q.auth == nil {
		q.auth = make(map[string]string, 7)
	}
	q.auth[name] = value
}

// unescape decodes a name or value of a query string.
func unescape(s string) (string, bool) {
	if !strings.ContainsAny(s, "%+") {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '+':
			out = append(out, ' ')
		case '%':
			if i+2 >= len(s) {
				return "", false
			}
			hi, ok1 := unhex(s[i+1])
			lo, ok2 := unhex(s[i+2])
			if !ok1 || !ok2 {
				return "", false
			}
			out = append(out, hi<<4|lo)
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out), true
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}

// escape is URI encoding with the unreserved characters of RFC 3986 §2.3.
func escape(s string) string {
	if !needsEscape(s) {
		return s
	}
	return string(appendEscaped(make([]byte, 0, len(s)*2), s))
}

func needsEscape(s string) bool {
	for i := range len(s) {
		if !unreserved(s[i]) {
			return true
		}
	}
	return false
}

func appendEscaped(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

func unreserved(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == '~'
}

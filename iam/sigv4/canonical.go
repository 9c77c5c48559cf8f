package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

// appendCanonicalRequest appends the canonical request of r (AWS: "Create a
// canonical request"). It reports false when a header that the client claims to
// have signed is not there.
func (s *Signature) appendCanonicalRequest(dst []byte, r *Request) ([]byte, bool) {
	dst = append(dst, r.Method...)
	dst = append(dst, '\n')
	dst = appendCanonicalPath(dst, r.Path)
	dst = append(dst, '\n')
	dst = append(dst, s.query...)
	dst = append(dst, '\n')
	complete := true
	for rest, more := s.SignedHeaders, true; more; {
		var name string
		var ok bool
		name, rest, more = strings.Cut(rest, ";")
		dst, ok = appendCanonicalHeader(dst, name, r)
		complete = complete && ok
	}
	dst = append(dst, '\n')
	dst = append(dst, s.SignedHeaders...)
	dst = append(dst, '\n')
	sum := sha256.Sum256(r.Body)
	return hex.AppendEncode(dst, sum[:]), complete
}

// appendCanonicalPath normalises the path and encodes it once more: as received
// it was encoded before, which makes the two encodings of every service but S3.
// The client of a service with more paths than "/" would have to agree on the
// treatment of dots; AWS's own signers do not.
func appendCanonicalPath(dst []byte, path string) []byte {
	if path == "" || path == "/" {
		return append(dst, '/')
	}
	var kept []string
	segments := strings.Split(path, "/")
	for _, segment := range segments {
		switch segment {
		case "", ".":
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
		default:
			kept = append(kept, segment)
		}
	}
	for _, segment := range kept {
		dst = append(dst, '/')
		dst = appendEscaped(dst, segment)
	}
	if last := segments[len(segments)-1]; len(kept) == 0 || last == "" || last == "." || last == ".." {
		dst = append(dst, '/')
	}
	return dst
}

// appendCanonicalHeader appends "name:values\n".
func appendCanonicalHeader(dst []byte, name string, r *Request) ([]byte, bool) {
	dst = append(dst, name...)
	dst = append(dst, ':')
	ok := true
	switch name {
	case "host", authority:
		dst = appendTrimmed(dst, r.Host)
	default:
		var values []string
		values, ok = headerValues(r.Header, name)
		if !ok && name == "content-length" {
			// Servers may keep the length apart from the other headers.
			dst, ok = strconv.AppendInt(dst, int64(len(r.Body)), 10), true
		}
		for i, value := range values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendTrimmed(dst, value)
		}
	}
	return append(dst, '\n'), ok
}

// headerValues looks a lower-case name up without allocating the canonical name
// that the map is keyed by (net/textproto.CanonicalMIMEHeaderKey).
func headerValues(h http.Header, name string) ([]string, bool) {
	var buf [maxHeaderName]byte
	key := append(buf[:0], name...)
	upper := true
	for i, c := range key {
		if upper && c >= 'a' && c <= 'z' {
			key[i] = c - 'a' + 'A'
		}
		upper = c == '-'
	}
	values, ok := h[string(key)]
	return values, ok
}

// appendTrimmed appends a header's value without white space around it and with
// every run of spaces in it collapsed to one. Tabs within a value stay: signers
// disagree about them, and the specification speaks of spaces.
func appendTrimmed(dst []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	if !strings.Contains(value, "  ") {
		return append(dst, value...)
	}
	var space bool
	for i := range len(value) {
		if c := value[i]; c != ' ' || !space {
			dst = append(dst, c)
			space = c == ' '
		}
	}
	return dst
}

// appendStringToSign appends the string to sign for the hash of a canonical
// request (AWS: "Create a string to sign").
func (s *Signature) appendStringToSign(dst []byte, request *[sha256.Size]byte) []byte {
	dst = append(dst, algorithm+"\n"...)
	dst = s.Time.AppendFormat(dst, basicFormat)
	dst = append(dst, '\n')
	for _, part := range [...]string{s.Date, s.Region, s.Service} {
		dst = append(dst, part...)
		dst = append(dst, '/')
	}
	dst = append(dst, s.terminator...)
	dst = append(dst, '\n')
	return hex.AppendEncode(dst, request[:])
}

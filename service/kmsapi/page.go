package kmsapi

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/kmsd/kmsd/kms"
)

// page binds the markers of a list to the operation and to whose list it is: a
// marker of another list is refused. A marker holds the last id that was
// returned, so that it survives whatever is added and removed meanwhile.
type page struct{ operation, owner string }

// bindingSize is the length of the hash in a marker, in bytes. It guards against
// mistakes, not against forgery: every id that a marker can name is the caller's
// own.
const bindingSize = 8

func (p page) binding() []byte {
	sum := sha256.Sum256([]byte("kmsd/marker/v1\x00" + p.operation + "\x00" + p.owner))
	return sum[:bindingSize]
}

// marker returns the marker of the page that follows the id.
func (p page) marker(last string) *string {
	m := base64.RawURLEncoding.EncodeToString(append(p.binding(), last...))
	return &m
}

// after returns the id that the page follows, "" for the first page. Errors:
// InvalidMarkerException.
func (p page) after(marker *string) (string, error) {
	if marker == nil {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(*marker)
	if err != nil || len(b) <= bindingSize || string(b[:bindingSize]) != string(p.binding()) {
		return "", badMarker(*marker)
	}
	return string(b[bindingSize:]), nil
}

func badMarker(marker string) error {
	return &kms.Error{Code: kms.CodeInvalidMarker, Message: "Could not deserialize marker '" + marker + "'"}
}

// limit returns the size of a page: the request's, bounded by what the service
// returns at most, or the default.
func limit(sent *int, standard, most int) int {
	if sent == nil {
		return standard
	}
	return min(*sent, most)
}

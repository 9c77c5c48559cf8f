package audit

import (
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// maxText bounds userAgent, errorMessage and clientProvidedHostHeader, in bytes
// of UTF-8 (CloudTrail record contents: 1 KB).
const maxText = 1024

// unbounded is the limit of strings whose length the caller has checked.
const unbounded = int(^uint(0) >> 1)

// appendString appends s as a JSON string. It escapes what JSON demands and also
// DEL, the C1 controls and the Unicode line separators: they end lines in some
// readers and steer terminals. A byte that is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte { return appendBounded(dst, s, unbounded) }

// appendBounded is appendString for at most limit bytes of decoded text; it cuts
// in front of the first rune that does not fit.
func appendBounded(dst []byte, s string, limit int) []byte {
	dst = append(dst, '"')
	start, room := 0, limit
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if room--; room < 0 {
				s = s[:i]
				break
			}
			if plain(c) {
				i++
				continue
			}
			dst = appendEscape(append(dst, s[start:i]...), rune(c))
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if room -= utf8.RuneLen(r); room < 0 {
			s = s[:i]
			break
		}
		if r == utf8.RuneError || steers(r) {
			dst = append(dst, s[start:i]...)
			if r == utf8.RuneError {
				dst = utf8.AppendRune(dst, r)
			} else {
				dst = appendEscape(dst, r)
			}
			start = i + size
		}
		i += size
	}
	return append(append(dst, s[start:]...), '"')
}

// plain tells whether an ASCII byte stands for itself in a JSON string.
func plain(c byte) bool { return c >= ' ' && c != '"' && c != '\\' && c != 0x7f }

// steers tells whether a rune beyond ASCII is a control or separates lines.
func steers(r rune) bool { return r <= 0x9f || r == '\u2028' || r == '\u2029' }

// appendEscape appends the escape of a rune of the basic plane.
func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// appendName appends a member's name and colon, with the comma that separates
// it from a member before it. Names are constants of this repository.
func appendName(dst []byte, name string) []byte {
	if n := len(dst); n > 0 && dst[n-1] != '{' {
		dst = append(dst, ',')
	}
	return append(appendString(dst, name), ':')
}

// appendMember appends a string member.
func appendMember(dst []byte, name, value string) []byte {
	return appendString(appendName(dst, name), value)
}

// appendBoolMember appends a boolean member.
func appendBoolMember(dst []byte, name string, value bool) []byte {
	return strconv.AppendBool(appendName(dst, name), value)
}

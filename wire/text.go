package wire

import (
	"unicode/utf16"
	"unicode/utf8"
)

// text reads the string at the current position and returns it without its
// quotes and escapes. The result is valid until the next call.
func (r *Reader) text() []byte {
	start := r.pos + 1
	for i := start; i < len(r.body); i++ {
		switch c := r.body[i]; {
		case c == '"':
			r.pos = i + 1
			return r.body[start:i]
		case c == '\\':
			return r.escapedText(start, i)
		case c < ' ':
			r.fail("")
			return nil
		}
	}
	r.fail("")
	return nil
}

// escapedText reads the rest of a string whose first escape stands at i.
func (r *Reader) escapedText(start, i int) []byte {
	out := append(r.scratch[:0], r.body[start:i]...)
	for i < len(r.body) {
		switch c := r.body[i]; {
		case c == '"':
			r.pos = i + 1
			r.scratch = out
			return out
		case c == '\\':
			char, size := escape(r.body[i:])
			if size == 0 {
				r.fail("")
				return nil
			}
			out = utf8.AppendRune(out, char)
			i += size
		case c < ' ':
			r.fail("")
			return nil
		default:
			out = append(out, c)
			i++
		}
	}
	r.fail("")
	return nil
}

// escape decodes the escape at the beginning of b and returns its length, which
// is 0 when it is none or half a surrogate pair.
func escape(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch c := b[1]; c {
	case '"', '\\', '/':
		return rune(c), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		return unicodeEscape(b)
	}
	return 0, 0
}

func unicodeEscape(b []byte) (rune, int) {
	char, ok := hexUnit(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(char) {
		return char, 6
	}
	low, ok := hexUnit(b[6:])
	if char = utf16.DecodeRune(char, low); !ok || char == utf8.RuneError {
		return 0, 0
	}
	return char, 12
}

// hexUnit decodes \uXXXX at the beginning of b.
func hexUnit(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var v rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			v = v<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

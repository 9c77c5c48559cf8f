package main

import (
	"fmt"
	"regexp"
	"strings"
)

// Java's classes where Go's differ, written for the inside of a bracket.
const (
	javaSpace      = ` \t\n\x0B\f\r`
	javaLineBreaks = `\n\r\x{85}\x{2028}\x{2029}`
	hexDigits      = 4 // after \u
)

// translatePattern returns a pattern of the model, which is Java's, in Go's
// syntax. It covers what the models use: \uXXXX, \s and the point.
func translatePattern(p string) (string, error) {
	var out strings.Builder
	inClass := false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\' && i+1 < len(p):
			i++
			size := translateEscape(&out, p[i:], inClass)
			i += size
		case inClass && (c == '[' || strings.HasPrefix(p[i:], "&&")):
			return "", fmt.Errorf("translating pattern %q: operations on classes are not supported", p)
		case c == '[':
			inClass = true
			out.WriteByte(c)
		case c == ']' && inClass:
			inClass = false
			out.WriteByte(c)
		case c == '.' && !inClass:
			out.WriteString("[^" + javaLineBreaks + "]")
		default:
			out.WriteByte(c)
		}
	}
	if _, err := regexp.Compile(out.String()); err != nil {
		return "", fmt.Errorf("translating pattern %q: %w", p, err)
	}
	return out.String(), nil
}

// translateEscape writes the escape whose character begins rest and returns how
// many bytes follow that character.
func translateEscape(out *strings.Builder, rest string, inClass bool) int {
	switch {
	case rest[0] == 'u' && len(rest) > hexDigits:
		out.WriteString(`\x{` + rest[1:1+hexDigits] + `}`)
		return hexDigits
	case rest[0] == 's' && inClass:
		out.WriteString(javaSpace)
	case rest[0] == 's':
		out.WriteString("[" + javaSpace + "]")
	default:
		out.WriteString(`\` + rest[:1])
	}
	return 0
}

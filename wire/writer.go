package wire

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// The functions below append one member of an object to dst, or nothing when it
// is absent: nil, or "" for an enum. dst must end inside the object, which
// begins with '{'.

// AppendName appends a member's name and what separates it from the member
// before. name must need no escapes.
func AppendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

// AppendText appends a string, also an empty one.
func AppendText(dst []byte, name, v string) []byte {
	return AppendString(AppendName(dst, name), v)
}

// AppendOptionalText appends a string unless it is nil.
func AppendOptionalText(dst []byte, name string, v *string) []byte {
	if v == nil {
		return dst
	}
	return AppendText(dst, name, *v)
}

// AppendEnum appends an enum's value unless it is empty.
func AppendEnum(dst []byte, name, v string) []byte {
	if v == "" {
		return dst
	}
	return AppendText(dst, name, v)
}

// AppendBlob appends standard base64 with padding, unless v is nil.
func AppendBlob(dst []byte, name string, v []byte) []byte {
	if v == nil {
		return dst
	}
	dst = append(AppendName(dst, name), '"')
	dst = base64.StdEncoding.AppendEncode(dst, v)
	return append(dst, '"')
}

// AppendBool appends a boolean unless it is nil.
func AppendBool(dst []byte, name string, v *bool) []byte {
	if v == nil {
		return dst
	}
	return strconv.AppendBool(AppendName(dst, name), *v)
}

// AppendInt appends an integer unless it is nil.
func AppendInt(dst []byte, name string, v *int) []byte {
	if v == nil {
		return dst
	}
	return strconv.AppendInt(AppendName(dst, name), int64(*v), 10)
}

// AppendTime appends seconds since 1970 unless v is nil.
func AppendTime(dst []byte, name string, v *time.Time) []byte {
	if v == nil {
		return dst
	}
	return appendSeconds(AppendName(dst, name), v.UnixMilli())
}

// AppendTexts appends a list of strings unless it is nil.
func AppendTexts(dst []byte, name string, list []string) []byte {
	if list == nil {
		return dst
	}
	dst = append(AppendName(dst, name), '[')
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, v)
	}
	return append(dst, ']')
}

// AppendTextMap appends a map of strings, sorted by key, unless it is nil.
func AppendTextMap(dst []byte, name string, m map[string]string) []byte {
	if m == nil {
		return dst
	}
	dst = append(AppendName(dst, name), '{')
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, k), ':')
		dst = AppendString(dst, m[k])
	}
	return append(dst, '}')
}

// AppendList appends a list of structures, each written by element, unless it is
// nil.
func AppendList[T any](dst []byte, name string, list []T, element func(*T, []byte) []byte) []byte {
	if list == nil {
		return dst
	}
	dst = append(AppendName(dst, name), '[')
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = element(&list[i], dst)
	}
	return append(dst, ']')
}

// appendSeconds writes milliseconds as seconds with one to three decimals.
func appendSeconds(dst []byte, milli int64) []byte {
	if milli < 0 {
		dst = append(dst, '-')
		milli = -milli
	}
	dst = strconv.AppendInt(dst, milli/1000, 10)
	rest := milli % 1000
	dst = append(dst, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	for range 2 {
		if dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return dst
}

// AppendString appends v as a JSON string. It escapes what RFC 8259 demands and
// nothing else; what is not UTF-8 becomes U+FFFD.
func AppendString(dst []byte, v string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(v); {
		c := v[i]
		if c >= utf8.RuneSelf {
			char, size := utf8.DecodeRuneInString(v[i:])
			if char == utf8.RuneError && size == 1 {
				dst = append(append(dst, v[start:i]...), "\uFFFD"...)
				start = i + size
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, v[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		i++
		start = i
	}
	dst = append(dst, v[start:]...)
	return append(dst, '"')
}

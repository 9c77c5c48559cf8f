package wire

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// The query protocol's times: ISO 8601 in UTC, in seconds.
const xmlTime = "2006-01-02T15:04:05Z"

// AppendElement appends an XML element of the query protocol with v as its text,
// or nothing when v is nil.
func AppendElement(dst []byte, name string, v *string) []byte {
	if v == nil {
		return dst
	}
	dst = appendTag(dst, "<", name)
	dst = AppendXMLText(dst, *v)
	return appendTag(dst, "</", name)
}

// AppendTextElement appends an element for a string that is always there.
func AppendTextElement(dst []byte, name, v string) []byte { return AppendElement(dst, name, &v) }

// AppendEnumElement appends an element, or nothing when v is empty.
func AppendEnumElement(dst []byte, name, v string) []byte {
	if v == "" {
		return dst
	}
	return AppendElement(dst, name, &v)
}

// AppendBlobElement appends an element in base64, or nothing when v is nil.
func AppendBlobElement(dst []byte, name string, v []byte) []byte {
	if v == nil {
		return dst
	}
	dst = AppendStart(dst, name)
	dst = base64.StdEncoding.AppendEncode(dst, v)
	return AppendEnd(dst, name)
}

// AppendBoolElement appends true or false, or nothing when v is nil.
func AppendBoolElement(dst []byte, name string, v *bool) []byte {
	if v == nil {
		return dst
	}
	return AppendTextElement(dst, name, strconv.FormatBool(*v))
}

// AppendIntElement appends an integer, or nothing when v is nil.
func AppendIntElement(dst []byte, name string, v *int) []byte {
	if v == nil {
		return dst
	}
	return AppendTextElement(dst, name, strconv.Itoa(*v))
}

// AppendTimeElement appends a time without what is finer than a second, or nothing
// when v is nil.
func AppendTimeElement(dst []byte, name string, v *time.Time) []byte {
	if v == nil {
		return dst
	}
	return AppendTextElement(dst, name, v.UTC().Format(xmlTime))
}

// AppendTextsElement appends a list of strings, which is there also when it is
// empty.
func AppendTextsElement(dst []byte, name string, list []string) []byte {
	return AppendListElement(dst, name, list, func(v *string, dst []byte) []byte { return AppendXMLText(dst, *v) })
}

// AppendListElement appends a list, each element of it written by content. It is
// there also when it is empty.
func AppendListElement[T any](dst []byte, name string, list []T, content func(*T, []byte) []byte) []byte {
	dst = AppendStart(dst, name)
	for i := range list {
		dst = AppendStart(dst, "member")
		dst = content(&list[i], dst)
		dst = AppendEnd(dst, "member")
	}
	return AppendEnd(dst, name)
}

// AppendCountsElement appends a map of numbers, sorted by key. It is there also
// when it is empty.
func AppendCountsElement(dst []byte, name string, m map[string]int) []byte {
	dst = AppendStart(dst, name)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		dst = AppendStart(dst, "entry")
		dst = AppendTextElement(dst, "key", k)
		dst = AppendTextElement(dst, "value", strconv.Itoa(m[k]))
		dst = AppendEnd(dst, "entry")
	}
	return AppendEnd(dst, name)
}

// AppendStart appends a start tag.
func AppendStart(dst []byte, name string) []byte { return appendTag(dst, "<", name) }

// AppendEnd appends an end tag.
func AppendEnd(dst []byte, name string) []byte { return appendTag(dst, "</", name) }

// AppendQueryResponse appends the envelope of a successful answer of the query
// protocol around result, which an XMLResponse wrote. namespace is the service's
// XML namespace.
func AppendQueryResponse(dst []byte, action, namespace, requestID string, result []byte) []byte {
	dst = append(dst, '<')
	dst = append(dst, action...)
	dst = append(dst, `Response xmlns="`...)
	dst = AppendXMLText(dst, namespace)
	dst = append(dst, `">`...)
	dst = append(dst, result...)
	dst = AppendStart(dst, "ResponseMetadata")
	dst = AppendElement(dst, "RequestId", &requestID)
	dst = AppendEnd(dst, "ResponseMetadata")
	return appendTag(dst, "</", action+"Response")
}

func appendTag(dst []byte, open, name string) []byte {
	dst = append(dst, open...)
	dst = append(dst, name...)
	return append(dst, '>')
}

// AppendXMLText appends v as XML character data, which is also safe inside a
// quoted attribute. Characters that XML 1.0 cannot hold become U+FFFD.
func AppendXMLText(dst []byte, v string) []byte {
	for _, c := range v {
		switch {
		case c == '&':
			dst = append(dst, "&amp;"...)
		case c == '<':
			dst = append(dst, "&lt;"...)
		case c == '>':
			dst = append(dst, "&gt;"...)
		case c == '"':
			dst = append(dst, "&#34;"...)
		case c == '\'':
			dst = append(dst, "&#39;"...)
		case c == '\r':
			dst = append(dst, "&#xD;"...)
		case c == '\t' || c == '\n':
			dst = append(dst, byte(c))
		case c < ' ' || c == 0xFFFE || c == 0xFFFF:
			dst = append(dst, "\uFFFD"...)
		default:
			dst = utf8.AppendRune(dst, c)
		}
	}
	return dst
}

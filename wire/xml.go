package wire

import "unicode/utf8"

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

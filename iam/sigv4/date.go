package sigv4

import (
	"net/http"
	"time"
)

// basicFormat is the "basic format" of ISO 8601 in the one shape that Signature
// Version 4 knows.
const basicFormat = "20060102T150405Z"

// headerDate returns the date header of r: X-Amz-Date, or Date without it. It
// reports false when neither is there. A header sent twice comes back as a value
// that is no date.
func headerDate(h http.Header) (string, bool) {
	for _, name := range [...]string{"X-Amz-Date", "Date"} {
		switch values := h[name]; {
		case len(values) > 1:
			return values[0] + "," + values[1], true
		case len(values) == 1 && values[0] != "":
			return values[0], true
		}
	}
	return "", false
}

// parseDate reads the basic format or the preferred format of HTTP dates
// (RFC 9110 §5.6.7). Both are strict: a date that parses is the one text of its
// time in its format.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range [...]string{basicFormat, http.TimeFormat} {
		if len(s) != len(layout) {
			continue
		}
		t, err := time.Parse(layout, s)
		if err == nil && t.Format(layout) == s {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

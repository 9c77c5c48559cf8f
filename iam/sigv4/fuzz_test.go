package sigv4_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/kmsd/kmsd/iam/sigv4"
)

// same compares everything that was parsed.
func same(t *testing.T, got, want *sigv4.Signature) {
	t.Helper()
	if *got != *want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// FuzzAuthorization feeds the header form: what parses has one normal form that
// parses to the same.
func FuzzAuthorization(f *testing.F) {
	f.Add(signed().Header.Get("Authorization"), "20230501T120000Z", "")
	f.Add("AWS4-HMAC-SHA256 Signature=0,SignedHeaders=:authority;host,Credential=a/20230501///", "Mon, 01 May 2023 12:00:00 GMT", "t")
	f.Add("AWS4-HMAC-SHA256\tCredential = /20230501//=/, , x=y,SignedHeaders=!;host,Signature==", "20230501T235959Z", "a=b&c")
	f.Fuzz(func(t *testing.T, auth, date, rawQuery string) {
		r := &sigv4.Request{Method: "POST", RawQuery: rawQuery, Header: http.Header{"Authorization": {auth}, "Date": {date}}}
		s, err := sigv4.Parse(r, sigv4.JSON)
		if err != nil {
			return
		}
		r.Header = http.Header{
			"X-Amz-Date": {s.Time.Format("20060102T150405Z")},
			"Authorization": {"AWS4-HMAC-SHA256 Credential=" + s.AccessKeyID + "/" + s.Date + "/" + s.Region + "/" + s.Service + "/" + sigv4.Terminator(s) +
				", SignedHeaders=" + s.SignedHeaders + ", Signature=" + sigv4.SignatureHex(s)},
		}
		if len(r.Header.Get("Authorization")) > sigv4.MaxAuthorization {
			return // spaces were added
		}
		again, err := sigv4.Parse(r, sigv4.JSON)
		if err != nil {
			t.Fatalf("the normal form does not parse: %v", err)
		}
		same(t, again, s)
		if sigv4.NewVerifier(1).Verify(s, r, secretOf(testSecret), s.Time) == nil && auth != signed().Header.Get("Authorization") {
			t.Errorf("a signature was forged: %s", auth)
		}
	})
}

// FuzzPresigned feeds the query-string form: the canonical query string and the
// signature parse to the same, and mean the same to net/url.
func FuzzPresigned(f *testing.F) {
	f.Add(presignedSTS)
	f.Add("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=/20230501///&X-Amz-Date=20230501T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=%00&X-Amz-Security-Token=+&b=%2f&b=-&=&a")
	f.Fuzz(func(t *testing.T, rawQuery string) {
		r := &sigv4.Request{Method: "GET", RawQuery: rawQuery, Header: http.Header{}}
		s, err := sigv4.Parse(r, sigv4.Query)
		if err != nil {
			return
		}
		canonical := sigv4.CanonicalQuery(s)
		r.RawQuery = canonical + "&X-Amz-Signature=" + url.QueryEscape(sigv4.SignatureHex(s))
		if len(r.RawQuery) > sigv4.MaxQuery {
			return // escapes were added
		}
		again, err := sigv4.Parse(r, sigv4.Query)
		if err != nil {
			t.Fatalf("the canonical query does not parse: %v", err)
		}
		same(t, again, s)
		sameMeaning(t, rawQuery, r.RawQuery)
		sigv4.Matches(s, r, testSecret)
	})
}

// sameMeaning compares the parameters that net/url finds in both; it refuses
// semicolons, which are plain characters here.
func sameMeaning(t *testing.T, a, b string) {
	t.Helper()
	va, errA := url.ParseQuery(a)
	vb, errB := url.ParseQuery(b)
	if errA != nil || errB != nil {
		return
	}
	if got, want := vb.Encode(), va.Encode(); len(got) != len(want) {
		t.Errorf("got %s, want %s", got, want)
	}
	for name := range va {
		if len(va[name]) != len(vb[name]) {
			t.Errorf("%q: got %q, want %q", name, vb[name], va[name])
		}
	}
}

// FuzzDate feeds the date parser: what parses is the one text of its time.
func FuzzDate(f *testing.F) {
	for _, s := range []string{"20230501T120000Z", "Mon, 01 May 2023 12:00:00 GMT", "20240229T235959Z", "20230501T120060Z", "00000101T000000Z", "20230501t120000z", "2023050 T120000Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := sigv4.ParseDate(s)
		if !ok {
			return
		}
		if got.Location() != time.UTC {
			t.Errorf("%q is not in UTC", s)
		}
		if basic, web := got.Format("20060102T150405Z"), got.Format(http.TimeFormat); s != basic && s != web {
			t.Errorf("%q renders as %q or %q", s, basic, web)
		}
	})
}

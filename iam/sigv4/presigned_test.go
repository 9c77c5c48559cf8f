package sigv4_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/iam/sigv4"
)

// replace changes the presigned query string of the behaviour document.
func replace(old, replacement string) string {
	if !strings.Contains(presignedSTS, old) {
		panic("no " + old)
	}
	return strings.Replace(presignedSTS, old, replacement, 1)
}

func TestPresignedRefusals(t *testing.T) {
	t.Parallel()
	const incomplete, invalid = "IncompleteSignature", "SignatureDoesNotMatch"
	needs := func(names ...string) string {
		var text string
		for _, n := range names {
			text += "AWS query-string parameters must include '" + n + "'. "
		}
		return text + "Re-examine the query-string parameters."
	}
	const badExpires = "X-Amz-Expires must be a number of seconds between 1 and 604800. Re-examine the query-string parameters."
	for _, tc := range []struct{ name, query, code, message string }{
		{"no parameters", "Action=GetCallerIdentity&Version=2011-06-15", "MissingAuthenticationToken", "Request is missing Authentication Token"},
		{"names in lower case", strings.ToLower(presignedSTS), "MissingAuthenticationToken", "Request is missing Authentication Token"},
		{"algorithm alone", "X-Amz-Algorithm=AWS4-HMAC-SHA256", incomplete, needs("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")},
		{"signature alone", "X-Amz-Signature", incomplete, needs("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")},
		{"no date", replace("X-Amz-Date=20230501T120000Z&", ""), incomplete, needs("X-Amz-Date")},
		{"empty credential", replace("AKIAIOSFODNN7EXAMPLE%2F20230501%2Fus-east-1%2Fsts%2Faws4_request", ""), incomplete, needs("X-Amz-Credential")},
		{"sigv4a", replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), incomplete, "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."},
		{"repeated", presignedSTS + "&X-Amz-Date=20230501T120000Z", incomplete, "AWS query-string parameters must include 'X-Amz-Date' only once. Re-examine the query-string parameters."},
		{"no seconds", replace("Expires=60", "Expires=0"), incomplete, badExpires},
		{"negative seconds", replace("Expires=60", "Expires=-1"), incomplete, badExpires},
		{"more than a week", replace("Expires=60", "Expires=604801"), incomplete, badExpires},
		{"huge number", replace("Expires=60", "Expires=18446744073709551617"), incomplete, badExpires},
		{"no number", replace("Expires=60", "Expires="), incomplete, badExpires},
		{"bad date", replace("20230501T120000Z", "20230501"), incomplete, "Date must be in ISO-8601 'basic format'. Got '20230501'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"bad credential", replace("%2Faws4_request", ""), incomplete, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIAIOSFODNN7EXAMPLE/20230501/us-east-1/sts'"},
		{"another day", replace("Date=20230501", "Date=20230502"), invalid, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20230501' != '20230502', from '20230502T120000Z'."},
		{"host not signed", replace("host%3B", ""), invalid, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"longer life", replace("Expires=60", "Expires=61"), invalid, mismatchText},
		{"another action", replace("Action=GetCallerIdentity", "Action=AssumeRole"), invalid, mismatchText},
		{"added parameter", presignedSTS + "&x=1", invalid, mismatchText},
		{"value in two parts", replace("Version=2011-06-15", "Version=2011-06-15&Version=2011-06-15"), invalid, mismatchText},
		{"bad escape", presignedSTS + "&%", invalid, mismatchText},
		{"another order", "X-Amz-Signature=" + presignedSTS[len(presignedSTS)-64:] + "&" + presignedSTS[:len(presignedSTS)-len("&X-Amz-Signature=")-64], "", ""},
		{"escaped otherwise", strings.NewReplacer("%2F", "%2f", "%3B", ";", "Action=Get", "%41ction=%47et").Replace(presignedSTS), "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := check(presigned(tc.query), sigv4.Query)
			if tc.code == "" {
				if err != nil {
					t.Errorf("got %v, want success", err)
				}
				return
			}
			wantError(t, err, tc.code, tc.message)
		})
	}
}

func TestPresignedWindow(t *testing.T) {
	t.Parallel()
	const late = "Signature expired: 20230501T120000Z is now earlier than "
	const early = "Signature not yet current: 20230501T120000Z is still later than "
	for _, tc := range []struct {
		expires string // X-Amz-Expires, or empty
		at      time.Duration
		want    string
	}{
		{"60", -15 * time.Minute, ""},
		{"60", -15*time.Minute - time.Second, early + "20230501T115959Z (20230501T114459Z + 15 min.)"},
		{"60", time.Minute, ""},
		{"60", time.Minute + time.Second, late + "20230501T120001Z (20230501T120101Z - 1 min.)"},
		{"90", 91 * time.Second, late + "20230501T120001Z (20230501T120131Z - 90 sec.)"},
		{"604800", 7 * 24 * time.Hour, ""},
		{"", 15 * time.Minute, ""},
		{"", 15*time.Minute + time.Second, late + "20230501T120001Z (20230501T121501Z - 15 min.)"},
	} {
		r := presign(t, tc.expires)
		s, err := sigv4.Parse(r, sigv4.Query)
		if err != nil {
			t.Fatal(err)
		}
		err = sigv4.NewVerifier(1).Verify(s, r, secretOf(testSecret), testTime.Add(tc.at))
		if tc.want == "" {
			if err != nil {
				t.Errorf("expires %q, after %v: %v", tc.expires, tc.at, err)
			}
			continue
		}
		wantError(t, err, "SignatureDoesNotMatch", tc.want)
	}
}

// presign makes a presigned call of STS, with headers to be signed.
func presign(t *testing.T, expires string, headers ...string) *sigv4.Request {
	t.Helper()
	g := newSigner()
	g.service = "sts"
	r := &sigv4.Request{Method: "GET", Path: "/", Host: "sts.us-east-1.amazonaws.com", Header: http.Header{}}
	for _, h := range headers {
		r.Header.Set(h, "value of "+h)
	}
	list := append([]string{"host"}, headers...)
	params := url.Values{
		"Action":              {"GetCallerIdentity"},
		"X-Amz-Algorithm":     {"AWS4-HMAC-SHA256"},
		"X-Amz-Credential":    {g.keyID + "/" + g.scope()},
		"X-Amz-Date":          {g.stamp()},
		"X-Amz-SignedHeaders": {strings.Join(list, ";")},
	}
	if expires != "" {
		params.Set("X-Amz-Expires", expires)
	}
	query := strings.ReplaceAll(params.Encode(), "+", "%20")
	r.RawQuery = query + "&X-Amz-Signature=" + g.signature(r, list, query)
	return r
}

func TestPresignedSignedHeaders(t *testing.T) {
	t.Parallel()
	if err := check(presign(t, "60", "x-vault-aws-iam-server-id"), sigv4.Query); err != nil {
		t.Error(err)
	}
	r := presign(t, "60")
	r.Header.Set("X-Amz-Target", "TrentService.ListKeys")
	wantError(t, check(r, sigv4.Query), "SignatureDoesNotMatch", "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.")
	r.Header.Del("X-Amz-Target")
	r.Header.Set("X-Amz-Security-Token", "t")
	wantError(t, check(r, sigv4.Query), "SignatureDoesNotMatch", "'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization.")
}

func TestPresignedToken(t *testing.T) {
	t.Parallel()
	r := presign(t, "60", "x-amz-security-token")
	s, err := sigv4.Parse(r, sigv4.Query)
	if err != nil {
		t.Fatal(err)
	}
	if want := "value of x-amz-security-token"; s.SessionToken != want {
		t.Errorf("got token %q, want %q", s.SessionToken, want)
	}
	inQuery := presigned(presignedSTS + "&X-Amz-Security-Token=a%2Fb%2B")
	if s, err = sigv4.Parse(inQuery, sigv4.Query); err != nil {
		t.Fatal(err)
	}
	if s.SessionToken != "a/b+" {
		t.Errorf("got token %q, want %q", s.SessionToken, "a/b+")
	}
	r.RawQuery += "&X-Amz-Security-Token=t"
	_, err = sigv4.Parse(r, sigv4.Query)
	wantError(t, err, "IncompleteSignature", "The request has more than one X-Amz-Security-Token.")
}

// TestCanonicalQuery checks the encoding and order of parameters; the text is
// the third line of the canonical request.
func TestCanonicalQuery(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ raw, want string }{
		{"", ""},
		{"a", "a="},
		{"=", "="},
		{"&&a=1&", "a=1"},
		{"b=2&a=1", "a=1&b=2"},
		{"a=2&a=1", "a=1&a=2"},
		{"a-b=1&a=2", "a=2&a-b=1"},         // by name, not by the whole text
		{"x=a%2Fb&x=a-b", "x=a%2Fb&x=a-b"}, // after encoding: "%" sorts before "-"
		{"a=b=c", "a=b%3Dc"},
		{"a=%7e%2d%2f", "a=~-%2F"},
		{"a=1+2%20%2B", "a=1%202%20%2B"},
		{"a=1;b=2", "a=1%3Bb%3D2"},
		{"B=1&a=1", "B=1&a=1"},
		{"a=\u00e9", "a=%C3%A9"},
	} {
		r := signed()
		r.RawQuery = tc.raw
		s, err := sigv4.Parse(r, sigv4.JSON)
		if err != nil {
			t.Fatalf("%q: %v", tc.raw, err)
		}
		if got := strings.Split(sigv4.CanonicalRequest(s, r), "\n")[2]; got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.raw, got, tc.want)
		}
	}
}

// TestCanonicalPath checks normalisation and the second encoding; the text is
// the second line of the canonical request.
func TestCanonicalPath(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ path, want string }{
		{"", "/"},
		{"/", "/"},
		{"/a", "/a"},
		{"/a/", "/a/"},
		{"//a//b", "/a/b"},
		{"/..", "/"},
		{"/../../a", "/a"},
		{"/a/..", "/"},
		{"/a/b/..", "/a/"},
		{"/a/.", "/a/"},
		{"/a/./b/../c", "/a/c"},
		{"/a%20b", "/a%2520b"},
		{"/%2e%2e/a", "/%252e%252e/a"},
		{"/a=b", "/a%3Db"},
	} {
		r := signed()
		r.Path = tc.path
		s, err := sigv4.Parse(r, sigv4.JSON)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Split(sigv4.CanonicalRequest(s, r), "\n")[1]; got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.path, got, tc.want)
		}
	}
}

func TestCanonicalHeaderValues(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		values []string
		want   string
	}{
		{[]string{""}, ""},
		{[]string{"  a  b   c  "}, "a b c"},
		{[]string{"\ta\t"}, "a"},
		{[]string{"a\t b"}, "a\t b"},
		{[]string{`"a  b"`}, `"a b"`},
		{[]string{"b", " a ", "b"}, "b,a,b"},
		{[]string{"a,  b", "c"}, "a, b,c"},
	} {
		r := signed()
		r.Header["Content-Type"] = tc.values
		s, err := sigv4.Parse(r, sigv4.JSON)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Split(sigv4.CanonicalRequest(s, r), "\n")[3]; got != "content-type:"+tc.want {
			t.Errorf("%q: got %q, want %q", tc.values, got, tc.want)
		}
	}
}

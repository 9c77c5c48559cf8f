package sigv4_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/iam/sigv4"
)

// hash64 is how an Authorization header is shown in an error.
func hash64(s string) string {
	h := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(h[:])
}

// authorization replaces the Authorization header.
func authorization(value string) func(*sigv4.Request) {
	return func(r *sigv4.Request) { r.Header.Set("Authorization", value) }
}

// edit replaces text in the Authorization header.
func edit(old, replacement string) func(*sigv4.Request) {
	return func(r *sigv4.Request) {
		auth := r.Header.Get("Authorization")
		if !strings.Contains(auth, old) {
			panic("no " + old)
		}
		r.Header.Set("Authorization", strings.Replace(auth, old, replacement, 1))
	}
}

func drop(names ...string) func(*sigv4.Request) {
	return func(r *sigv4.Request) {
		for _, n := range names {
			r.Header.Del(n)
		}
	}
}

func set(name, value string) func(*sigv4.Request) {
	return func(r *sigv4.Request) { r.Header.Set(name, value) }
}

func add(name, value string) func(*sigv4.Request) {
	return func(r *sigv4.Request) { r.Header.Add(name, value) }
}

const (
	needsCredential = "Authorization header requires 'Credential' parameter. "
	needsSignature  = "Authorization header requires 'Signature' parameter. "
	needsHeaders    = "Authorization header requires 'SignedHeaders' parameter. "
	needsDate       = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
	isHashed        = "(Hashed with SHA-256 and encoded with Base64) Authorization="
	noEqualSign     = "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '%s'."
	fiveElements    = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'"
	notISO          = "Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601"
)

// TestRefusals changes a good request in one way each. The codes are those of
// the JSON services; TestQueryDialect checks the other ones.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const missing, incomplete, invalid = "MissingAuthenticationTokenException", "IncompleteSignatureException", "InvalidSignatureException"
	authOf := signed().Header.Get("Authorization")
	type row struct {
		name          string
		change        func(*sigv4.Request)
		code, message string
	}
	for _, tc := range []row{
		{"no authorization", drop("Authorization"), missing, "Missing Authentication Token"},
		{"empty", authorization(""), missing, "Missing Authentication Token"},
		{"basic", authorization("Basic dXNlcjpwYXNz"), missing, "Missing Authentication Token"},
		{"bearer", authorization("Bearer AWS4-HMAC-SHA256"), missing, "Missing Authentication Token"},
		{"sigv2", authorization("AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg="), missing, "Missing Authentication Token"},
		{"lower-case scheme", edit("AWS4-HMAC-SHA256", "aws4-hmac-sha256"), missing, "Missing Authentication Token"},
		{"two headers", add("Authorization", authOf), incomplete, "The request has more than one Authorization header."},
		{"too long", authorization("AWS4-HMAC-SHA256 " + strings.Repeat("x", sigv4.MaxAuthorization)), incomplete, "The Authorization header is longer than 8192 bytes."},

		{"scheme alone", authorization("AWS4-HMAC-SHA256"), incomplete, needsCredential + needsSignature + needsHeaders + isHashed + hash64("AWS4-HMAC-SHA256")},
		{"nothing at all", func(r *sigv4.Request) {
			authorization("AWS4-HMAC-SHA256 ")(r)
			drop("X-Amz-Date")(r)
		}, incomplete, needsCredential + needsSignature + needsHeaders + needsDate + isHashed + hash64("AWS4-HMAC-SHA256")},
		{"no credential", authorization("AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0"), incomplete, needsCredential + isHashed + hash64("AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0")},
		{"no signature", authorization("AWS4-HMAC-SHA256 SignedHeaders=host, Credential=0"), incomplete, needsSignature + isHashed + hash64("AWS4-HMAC-SHA256 SignedHeaders=host, Credential=0")},
		{"no signed headers", authorization("AWS4-HMAC-SHA256 Signature=0, Credential=0"), incomplete, needsHeaders + isHashed + hash64("AWS4-HMAC-SHA256 Signature=0, Credential=0")},
		{"empty signed headers", authorization("AWS4-HMAC-SHA256 Signature=0,SignedHeaders=,Credential=0"), incomplete, needsHeaders + isHashed + hash64("AWS4-HMAC-SHA256 Signature=0,SignedHeaders=,Credential=0")},
		{"lower-case names", authorization("AWS4-HMAC-SHA256 signature=0, credential=0, signedheaders=host"), incomplete, needsCredential + needsSignature + needsHeaders + isHashed + hash64("AWS4-HMAC-SHA256 signature=0, credential=0, signedheaders=host")},
		{"no date", drop("X-Amz-Date"), incomplete, needsDate + isHashed + hash64(authOf)},
		{"no equal sign", authorization("AWS4-HMAC-SHA256 Credential"), incomplete, fmt.Sprintf(noEqualSign, hash64("AWS4-HMAC-SHA256 Credential"))},
		{"doubled", edit("Signature=", "Signature=0, Signature="), incomplete, "Authorization header has more than one 'Signature' parameter."},
		{"sigv4a", edit("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), incomplete, "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."},
		{"unknown algorithm", edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA25"), incomplete, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25'."},

		{"host not signed", edit("content-type;host;", "content-type;"), invalid, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"target not signed", edit(";x-amz-target", ""), invalid, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."},
		{"token not signed", set("X-Amz-Security-Token", "t"), invalid, "'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization."},
		{"empty token not signed", set("X-Amz-Security-Token", ""), invalid, "'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization."},
		{"names unsorted", edit("content-type;host", "host;content-type"), invalid, mismatchText},
		{"name doubled", edit("host;", "host;host;"), invalid, mismatchText},
		{"name in upper case", edit("content-type", "Content-Type"), invalid, mismatchText},
		{"name with a space", edit("content-type", "content type"), invalid, mismatchText},
		{"name empty", edit("host;", "host;;"), invalid, mismatchText},
		{"name at the end empty", edit("x-amz-target", "x-amz-target;"), invalid, mismatchText},
		{"header not there", edit("x-amz-date", "x-absent;x-amz-date"), invalid, mismatchText},

		{"four elements", edit("/aws4_request", ""), incomplete, fmt.Sprintf(fiveElements, "AKIAIOSFODNN7EXAMPLE/20230501/us-east-1/kms")},
		{"six elements", edit("/aws4_request", "/aws4_request/"), incomplete, fmt.Sprintf(fiveElements, "AKIAIOSFODNN7EXAMPLE/20230501/us-east-1/kms/aws4_request/")},
		{"long credential", edit("AKIAIOSFODNN7EXAMPLE/", strings.Repeat("A", 300)), incomplete, fmt.Sprintf(fiveElements, strings.Repeat("A", sigv4.MaxEcho))},
		{"binary credential", edit("AKIAIOSFODNN7EXAMPLE/", "\x00\xff<é"), incomplete, fmt.Sprintf(fiveElements, "??<??20230501/us-east-1/kms/aws4_request")},
		{"extended date", set("X-Amz-Date", "2023-05-01T12:00:00Z"), incomplete, fmt.Sprintf(notISO, "2023-05-01T12:00:00Z")},
		{"date with a fraction", set("X-Amz-Date", "20230501T120000.5Z"), incomplete, fmt.Sprintf(notISO, "20230501T120000.5Z")},
		{"impossible date", set("X-Amz-Date", "20230231T120000Z"), incomplete, fmt.Sprintf(notISO, "20230231T120000Z")},
		{"local date", set("X-Amz-Date", "20230501T120000+"), incomplete, fmt.Sprintf(notISO, "20230501T120000+")},
		{"two dates", add("X-Amz-Date", "20230501T120001Z"), incomplete, fmt.Sprintf(notISO, "20230501T120000Z,20230501T120001Z")},
		{"bad Date header", func(r *sigv4.Request) {
			drop("X-Amz-Date")(r)
			set("Date", "Mon, 01 May 2023 12:00:00 CET")(r)
		}, incomplete, fmt.Sprintf(notISO, "Mon, 01 May 2023 12:00:00 CET")},
		{"scope of another day", func(r *sigv4.Request) {
			edit("/20230501/", "/20200101/")(r)
			set("X-Amz-Date", "20200102T000001Z")(r)
		}, invalid, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20200101' != '20200102', from '20200102T000001Z'."},

		{"body", func(r *sigv4.Request) { r.Body = []byte("{ }") }, invalid, mismatchText},
		{"body hash header", set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), "", ""},
		{"method", func(r *sigv4.Request) { r.Method = "PUT" }, invalid, mismatchText},
		{"path", func(r *sigv4.Request) { r.Path = "/x" }, invalid, mismatchText},
		{"query", func(r *sigv4.Request) { r.RawQuery = "x" }, invalid, mismatchText},
		{"query with a bad escape", func(r *sigv4.Request) { r.RawQuery = "x=%zz" }, invalid, mismatchText},
		{"query with half an escape", func(r *sigv4.Request) { r.RawQuery = "x=%1" }, invalid, mismatchText},
		{"query too long", func(r *sigv4.Request) { r.RawQuery = strings.Repeat("&", sigv4.MaxQuery+1) }, invalid, mismatchText},
		{"query of nothing", func(r *sigv4.Request) { r.RawQuery = strings.Repeat("&", sigv4.MaxQuery) }, "", ""},
		{"host", func(r *sigv4.Request) { r.Host += ":443" }, invalid, mismatchText},
		{"target", set("X-Amz-Target", "TrentService.ScheduleKeyDeletion"), invalid, mismatchText},
		{"target sent twice", add("X-Amz-Target", "TrentService.ListKeys"), invalid, mismatchText},
		{"signature in upper case", func(r *sigv4.Request) {
			auth := r.Header.Get("Authorization")
			i := strings.Index(auth, "Signature=") + len("Signature=")
			r.Header.Set("Authorization", auth[:i]+strings.ToUpper(auth[i:]))
		}, invalid, mismatchText},
		{"signature cut", func(r *sigv4.Request) {
			auth := r.Header.Get("Authorization")
			r.Header.Set("Authorization", auth[:len(auth)-1])
		}, invalid, mismatchText},
		{"signature not hexadecimal", edit("Signature=", "Signature=zz"), invalid, mismatchText},

		{"both forms", func(r *sigv4.Request) { r.RawQuery = presignedSTS }, invalid, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."},
		{"no spaces", edit(", ", ","), "", ""},
		{"white space", func(r *sigv4.Request) {
			r.Header.Set("Authorization", "\t"+strings.NewReplacer(", ", " ,\t ", "=", " = ", "256 ", "256 \t ").Replace(authOf)+" , ")
		}, "", ""},
		{"unknown parameter", edit("Credential=", "Comment=x, Credential="), "", ""},
		{"unsigned header", set("User-Agent", "another"), "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := signed()
			tc.change(r)
			err := check(r, sigv4.JSON)
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

func TestParameterOrderIsFree(t *testing.T) {
	t.Parallel()
	_, list, _ := strings.Cut(signed().Header.Get("Authorization"), " ")
	p := strings.Split(list, ", ")
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		r := signed()
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 "+p[order[0]]+","+p[order[1]]+", "+p[order[2]])
		if err := check(r, sigv4.JSON); err != nil {
			t.Errorf("%v: %v", order, err)
		}
	}
}

func TestSignedHeaderLimits(t *testing.T) {
	t.Parallel()
	try := func(name string, extra int) error {
		r := request()
		list := botocore()
		for i := range extra {
			n := fmt.Sprintf("%s%02d", name, i)
			r.Header.Set(n, "v")
			list = append(list, n)
		}
		return check(newSigner().sign(r, list...), sigv4.JSON)
	}
	if err := try("h", sigv4.MaxSignedHeaders-4); err != nil {
		t.Errorf("as many headers as allowed: %v", err)
	}
	wantMismatch(t, try("h", sigv4.MaxSignedHeaders-3))
	if err := try(strings.Repeat("h", sigv4.MaxHeaderName-2), 1); err != nil {
		t.Errorf("a name as long as allowed: %v", err)
	}
	wantMismatch(t, try(strings.Repeat("h", sigv4.MaxHeaderName-1), 1))
}

func TestAuthorityIsHost(t *testing.T) {
	t.Parallel()
	r := request()
	r.Header.Set(":authority", testHost) // for the signer in this test
	newSigner().sign(r, ":authority", "x-amz-date", "x-amz-target")
	r.Header.Del(":authority")
	if err := check(r, sigv4.JSON); err != nil {
		t.Error(err)
	}
}

func TestDateHeader(t *testing.T) {
	t.Parallel()
	for _, date := range []string{"20230501T120000Z", "Mon, 01 May 2023 12:00:00 GMT"} {
		r := request()
		r.Header.Set("Date", date)
		newSigner().authorize(r, "date", "host", "x-amz-target")
		if err := check(r, sigv4.JSON); err != nil {
			t.Errorf("%s: %v", date, err)
		}
		r.Header.Set("X-Amz-Date", "20230501T120001Z")
		wantMismatch(t, check(r, sigv4.JSON)) // it wins over Date
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	const region = "Credential should be scoped to a valid region. "
	const service = "Credential should be scoped to correct service: 'kms'. "
	const term = "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws3_request'. "
	for _, tc := range []struct{ scope, want string }{
		{"us-east-1/kms/aws4_request", ""},
		{"eu-west-9/kms/aws4_request", region},
		{"/kms/aws4_request", region},
		{"us-east-1/sts/aws4_request", service},
		{"us-east-1/KMS/aws4_request", service},
		{"us-east-1/kms/aws3_request", term},
		{"eu-west-9/sts/aws3_request", region + service + term},
	} {
		r := signed()
		edit("us-east-1/kms/aws4_request", tc.scope)(r)
		s, err := sigv4.Parse(r, sigv4.JSON)
		if err != nil {
			t.Fatal(err)
		}
		err = s.CheckScope("kms", func(r string) bool { return r == "us-east-1" })
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.scope, err)
			}
			continue
		}
		wantError(t, err, "InvalidSignatureException", tc.want)
	}
}

// TestOrderOfChecks gives requests with several faults: the first in the order
// of the package comment is told.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	r := signed()
	edit("us-east-1/kms/aws4_request", "x")(r)
	set("X-Amz-Date", "x")(r)
	r.Body = nil
	err := check(r, sigv4.JSON)
	wantError(t, err, "IncompleteSignatureException", fmt.Sprintf(fiveElements, "AKIAIOSFODNN7EXAMPLE/20230501/x"))
	edit("/20230501/x", "/x/y/z/t")(r)
	wantError(t, check(r, sigv4.JSON), "IncompleteSignatureException", fmt.Sprintf(notISO, "x"))
	edit(";x-amz-target", "")(r)
	wantError(t, check(r, sigv4.JSON), "InvalidSignatureException", "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.")

	r = signed()
	r.Body = nil
	s, err := sigv4.Parse(r, sigv4.JSON)
	if err != nil {
		t.Fatal(err)
	}
	err = sigv4.NewVerifier(1).Verify(s, r, secretOf(testSecret), testTime.Add(time.Hour))
	wantError(t, err, "InvalidSignatureException", "Signature expired: 20230501T120000Z is now earlier than 20230501T125500Z (20230501T130000Z - 5 min.)")
}

func TestWindow(t *testing.T) {
	t.Parallel()
	at := func(hhmmss string) time.Time {
		now, err := time.Parse("20060102T150405.999Z", "20230501T"+hhmmss+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return now.In(time.FixedZone("elsewhere", 5*3600))
	}
	json, err := sigv4.Parse(signed(), sigv4.JSON)
	if err != nil {
		t.Fatal(err)
	}
	query, err := sigv4.Parse(signed(), sigv4.Query)
	if err != nil {
		t.Fatal(err)
	}
	const early = "Signature not yet current: 20230501T120000Z is still later than "
	const late = "Signature expired: 20230501T120000Z is now earlier than "
	for _, tc := range []struct {
		s        *sigv4.Signature
		now      string
		code     string
		wantText string
	}{
		{json, "115459", "InvalidSignatureException", early + "20230501T115959Z (20230501T115459Z + 5 min.)"},
		{json, "115500", "", ""},
		{json, "120500.999", "", ""},
		{json, "120501", "InvalidSignatureException", late + "20230501T120001Z (20230501T120501Z - 5 min.)"},
		{query, "114459", "SignatureDoesNotMatch", early + "20230501T115959Z (20230501T114459Z + 15 min.)"},
		{query, "114500", "", ""},
		{query, "121500.999", "", ""},
		{query, "121501", "SignatureDoesNotMatch", late + "20230501T120001Z (20230501T121501Z - 15 min.)"},
	} {
		err := sigv4.NewVerifier(1).Verify(tc.s, signed(), secretOf(testSecret), at(tc.now))
		if tc.code == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.now, err)
			}
			continue
		}
		wantError(t, err, tc.code, tc.wantText)
	}
}

func TestQueryDialect(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		change        func(*sigv4.Request)
		code, message string
	}{
		{"missing", drop("Authorization"), "MissingAuthenticationToken", "Request is missing Authentication Token"},
		{"incomplete", edit("/aws4_request", ""), "IncompleteSignature", fmt.Sprintf(fiveElements, "AKIAIOSFODNN7EXAMPLE/20230501/us-east-1/kms")},
		{"mismatch", func(r *sigv4.Request) { r.Body = nil }, "SignatureDoesNotMatch", mismatchText},
		{"unsigned", edit("host;", ""), "SignatureDoesNotMatch", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
	} {
		r := signed()
		tc.change(r)
		wantError(t, check(r, sigv4.Query), tc.code, tc.message)
	}
}

func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		d                            sigv4.Dialect
		unrecognized, expired, token string
	}{
		{sigv4.JSON, "UnrecognizedClientException", "ExpiredTokenException", "t"},
		{sigv4.Query, "InvalidClientTokenId", "ExpiredToken", "t"},
	} {
		r := request()
		r.Header.Set("X-Amz-Security-Token", tc.token)
		newSigner().sign(r, append(botocore(), "x-amz-security-token")...)
		s, err := sigv4.Parse(r, tc.d)
		if err != nil {
			t.Fatal(err)
		}
		if s.SessionToken != tc.token {
			t.Errorf("got token %q, want %q", s.SessionToken, tc.token)
		}
		v := sigv4.NewVerifier(1)
		const text = "The security token included in the request is invalid."
		wantError(t, v.Verify(s, r, secretOf(testSecret), testTime), tc.unrecognized, text)
		wantError(t, v.Dummy(s, r, testTime), tc.unrecognized, text)
		wantError(t, v.Dummy(s, r, testTime.Add(time.Hour)), tc.unrecognized, text)
		wantError(t, s.ExpiredToken(), tc.expired, "The security token included in the request is expired")
	}
}

package sigv4_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/iam/sigv4"
)

// TestBehaviourDocument checks the worked examples of the behaviour document,
// appendix A.1, which were computed with botocore.
func TestBehaviourDocument(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		keyID, token, body, signed, canonicalHash, signature string
	}{
		"long-term": {
			keyID: "AKIAIOSFODNN7EXAMPLE", body: "{}",
			signed:        "content-type;host;x-amz-date;x-amz-target",
			canonicalHash: "d9bcd1eb9e1284dc9c0f1fc19ae8c0bdb121ab6fb09f678912a81516323eb062",
			signature:     "adcabc8e5228f0616dd77b0fb43ce653cc46cb00b94878edff5e051e1db2f17a",
		},
		"session": {
			keyID: "ASIAIOSFODNN7EXAMPLE", token: "EXAMPLETOKEN", body: `{"Limit":5}`,
			signed:        "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
			canonicalHash: "e3b21f0cb637512022a351a277ad2d44eb90989653cbdf306aabec92d390278d",
			signature:     "b550b0e223b30748a21e366180074f72b4ccffefaec7dee1f9ad44668def4218",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request()
			r.Body = []byte(tc.body)
			r.Header.Set("X-Amz-Date", "20230501T120000Z")
			if tc.token != "" {
				r.Header.Set("X-Amz-Security-Token", tc.token)
			}
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+tc.keyID+"/20230501/us-east-1/kms/aws4_request, SignedHeaders="+tc.signed+", Signature="+tc.signature)
			s, err := sigv4.Parse(r, sigv4.JSON)
			if err != nil {
				t.Fatal(err)
			}
			if s.AccessKeyID != tc.keyID || s.Date != "20230501" || s.Region != "us-east-1" || s.Service != "kms" ||
				s.SessionToken != tc.token || s.SignedHeaders != tc.signed || !s.Time.Equal(testTime) || s.Presigned {
				t.Errorf("got %v", s)
			}
			canonical := sigv4.CanonicalRequest(s, r)
			if got := sum(canonical); got != tc.canonicalHash {
				t.Errorf("the canonical request hashes to %s, want %s:\n%s", got, tc.canonicalHash, canonical)
			}
			if !sigv4.Matches(s, r, testSecret) {
				t.Error("the signature does not match")
			}
			if sigv4.Matches(s, r, testSecret+"x") {
				t.Error("the signature matches another secret")
			}
		})
	}
}

func TestCanonicalRequestText(t *testing.T) {
	t.Parallel()
	r := signed()
	s, err := sigv4.Parse(r, sigv4.JSON)
	if err != nil {
		t.Fatal(err)
	}
	want := `POST
/

content-type:application/x-amz-json-1.1
host:kms.us-east-1.amazonaws.com
x-amz-date:20230501T120000Z
x-amz-target:TrentService.ListKeys

content-type;host;x-amz-date;x-amz-target
44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a`
	got := sigv4.CanonicalRequest(s, r)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want = "AWS4-HMAC-SHA256\n20230501T120000Z\n20230501/us-east-1/kms/aws4_request\nd9bcd1eb9e1284dc9c0f1fc19ae8c0bdb121ab6fb09f678912a81516323eb062"
	if got := sigv4.StringToSign(s, got); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// presignedSTS is the presigned GetCallerIdentity of appendix A.1, as clients of
// EKS send it.
const presignedSTS = "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20230501%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Date=20230501T120000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature=136847ea1c3d5e0eb179c52b37276f4087decefc4d9a3f7a4c44c08a2ea8f62b"

func presigned(query string) *sigv4.Request {
	return &sigv4.Request{
		Method: "GET", Path: "/", RawQuery: query, Host: "sts.us-east-1.amazonaws.com",
		Header: http.Header{"X-K8s-Aws-Id": {"demo"}},
	}
}

func TestBehaviourDocumentPresigned(t *testing.T) {
	t.Parallel()
	r := presigned(presignedSTS)
	s, err := sigv4.Parse(r, sigv4.Query)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Presigned || s.Expires != time.Minute || s.Service != "sts" || s.SignedHeaders != "host;x-k8s-aws-id" || !s.Time.Equal(testTime) {
		t.Errorf("got %v, expires %v", s, s.Expires)
	}
	if err := sigv4.NewVerifier(1).Verify(s, r, secretOf(testSecret), testTime); err != nil {
		t.Error(err)
	}
	r.Header.Set("X-K8s-Aws-Id", "other")
	err = sigv4.NewVerifier(1).Verify(s, r, secretOf(testSecret), testTime)
	wantError(t, err, "SignatureDoesNotMatch", mismatchText)
}

// TestAWSSuite checks requests of AWS's public signing test suite (aws-c-auth,
// tests/aws-signing-test-suite/v4) by the signatures given there. Left out are
// folded headers, which HTTP no longer has, and unnormalised paths, which are
// S3's.
func TestAWSSuite(t *testing.T) {
	t.Parallel()
	const all = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	const token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
	for name, tc := range map[string]struct {
		method, path, query, body string
		headers                   []string // name:value
		signed, signature         string   // signed without host and x-amz-date
	}{
		"get-vanilla":                           {signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		"get-header-key-duplicate":              {headers: []string{"My-Header1:value2", "My-Header1:value2", "My-Header1:value1"}, signed: "host;my-header1;x-amz-date", signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
		"get-header-value-order":                {headers: []string{"My-Header1:value4", "My-Header1:value1", "My-Header1:value3", "My-Header1:value2"}, signed: "host;my-header1;x-amz-date", signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
		"get-header-value-trim":                 {headers: []string{"My-Header1: value1", `My-Header2: "a   b   c"`}, signed: "host;my-header1;my-header2;x-amz-date", signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		"get-relative-normalized":               {path: "/example/..", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		"get-relative-relative-normalized":      {path: "/example1/example2/../..", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		"get-slash-dot-slash-normalized":        {path: "/./", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		"get-slash-pointless-dot-normalized":    {path: "/./example", signature: "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
		"get-slashes-normalized":                {path: "//example//", signature: "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
		"get-space-normalized":                  {path: "/example space/", signature: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
		"get-unreserved":                        {path: "/" + all, signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
		"get-utf8":                              {path: "/ሴ", signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
		"get-vanilla-empty-query-key":           {query: "Param1=value1", signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
		"get-vanilla-query-order-key-case":      {query: "Param2=value2&Param1=value1", signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		"get-vanilla-query-order-encoded":       {query: "Param-3=Value3&Param=Value2&%E1%88%B4=Value1", signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
		"get-vanilla-query-unreserved":          {query: all + "=" + all, signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
		"get-vanilla-utf8-query":                {query: "ሴ=bar", signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
		"get-vanilla-with-session-token":        {headers: []string{"X-Amz-Security-Token:" + token}, signed: "host;x-amz-date;x-amz-security-token", signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"},
		"post-header-key-sort":                  {method: "POST", headers: []string{"My-Header1:value1"}, signed: "host;my-header1;x-amz-date", signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
		"post-x-www-form-urlencoded-parameters": {method: "POST", body: "Param1=value1", headers: []string{"Content-Type:application/x-www-form-urlencoded; charset=utf-8", "Content-Length:13", "X-Amz-Content-Sha256:9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"}, signed: "content-length;content-type;host;x-amz-content-sha256;x-amz-date", signature: "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &sigv4.Request{Method: "GET", Path: "/", RawQuery: tc.query, Host: "example.amazonaws.com", Header: http.Header{}, Body: []byte(tc.body)}
			if tc.method != "" {
				r.Method = tc.method
			}
			if tc.path != "" {
				r.Path = tc.path
			}
			if tc.signed == "" {
				tc.signed = "host;x-amz-date"
			}
			for _, h := range tc.headers {
				name, value, _ := strings.Cut(h, ":")
				r.Header.Add(name, value)
			}
			r.Header.Set("X-Amz-Date", "20150830T123600Z")
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="+tc.signed+", Signature="+tc.signature)
			s, err := sigv4.Parse(r, sigv4.JSON)
			if err != nil {
				t.Fatal(err)
			}
			if !sigv4.Matches(s, r, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY") {
				t.Errorf("no match; canonical request:\n%s", sigv4.CanonicalRequest(s, r))
			}
		})
	}
}

// TestAWSSuitePresigned checks the suite's get-vanilla-query in the query form.
func TestAWSSuitePresigned(t *testing.T) {
	t.Parallel()
	r := &sigv4.Request{
		Method: "GET", Path: "/", Host: "example.amazonaws.com", Header: http.Header{"X-Amz-Date": {"20150830T123600Z"}},
		RawQuery: "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Signature=e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d",
	}
	s, err := sigv4.Parse(r, sigv4.JSON)
	if err != nil {
		t.Fatal(err)
	}
	if !sigv4.Matches(s, r, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY") {
		t.Errorf("no match; canonical request:\n%s", sigv4.CanonicalRequest(s, r))
	}
}

// TestDeriveKey checks the example of AWS's "How to derive a signing key".
func TestDeriveKey(t *testing.T) {
	t.Parallel()
	got := sigv4.DerivedKey("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam")
	if want := "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

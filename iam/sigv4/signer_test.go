package sigv4_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/kms"
)

const (
	testKeyID  = "AKIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	testHost   = "kms.us-east-1.amazonaws.com"
)

// testTime is the time of signing of the examples in the behaviour document.
var testTime = time.Date(2023, 5, 1, 12, 0, 0, 0, time.UTC)

// signer signs requests, written from the steps of "Create a signed AWS API
// request" and sharing no line with what it tests. Paths must need no
// normalisation.
type signer struct {
	keyID, secret, region, service string
	time                           time.Time
}

func newSigner() signer {
	return signer{keyID: testKeyID, secret: testSecret, region: "us-east-1", service: "kms", time: testTime}
}

func (g signer) stamp() string { return g.time.UTC().Format("20060102T150405Z") }

func (g signer) scope() string {
	return strings.Join([]string{g.stamp()[:8], g.region, g.service, "aws4_request"}, "/")
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// signature signs the headers named in signed.
func (g signer) signature(r *sigv4.Request, signed []string, canonicalQuery string) string {
	var headers strings.Builder
	for _, name := range signed {
		values := r.Header.Values(name)
		if name == "host" {
			values = []string{r.Host}
		}
		var trimmed []string
		for _, v := range values {
			trimmed = append(trimmed, strings.Join(strings.Fields(v), " "))
		}
		headers.WriteString(name + ":" + strings.Join(trimmed, ",") + "\n")
	}
	path := strings.ReplaceAll(r.Path, "%", "%25")
	canonical := strings.Join([]string{r.Method, path, canonicalQuery, headers.String(), strings.Join(signed, ";"), sum(string(r.Body))}, "\n")
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", g.stamp(), g.scope(), sum(canonical)}, "\n")
	key := []byte("AWS4" + g.secret)
	for part := range strings.SplitSeq(g.scope(), "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, toSign))
}

// sign adds X-Amz-Date and an Authorization header that covers the headers named
// in signed, sorted.
func (g signer) sign(r *sigv4.Request, signed ...string) *sigv4.Request {
	r.Header.Set("X-Amz-Date", g.stamp())
	return g.authorize(r, signed...)
}

func (g signer) authorize(r *sigv4.Request, signed ...string) *sigv4.Request {
	sort.Strings(signed)
	params, err := url.ParseQuery(r.RawQuery)
	if err != nil {
		panic(err)
	}
	query := strings.ReplaceAll(params.Encode(), "+", "%20")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+g.keyID+"/"+g.scope()+
		", SignedHeaders="+strings.Join(signed, ";")+", Signature="+g.signature(r, signed, query))
	return r
}

// request is a KMS call without a signature.
func request() *sigv4.Request {
	return &sigv4.Request{
		Method: "POST", Path: "/", Host: testHost,
		Header: http.Header{
			"Content-Type": {"application/x-amz-json-1.1"},
			"X-Amz-Target": {"TrentService.ListKeys"},
		},
		Body: []byte("{}"),
	}
}

// botocore is the list of headers that botocore signs.
func botocore() []string { return []string{"content-type", "host", "x-amz-date", "x-amz-target"} }

// signed is a KMS call signed as botocore does.
func signed() *sigv4.Request { return newSigner().sign(request(), botocore()...) }

// secretOf opens a secret, a new copy each time.
func secretOf(secret string) sigv4.Secret {
	return sigv4.Secret{AccessKeyID: testKeyID, ModIndex: 7, Open: func() ([]byte, error) { return []byte(secret), nil }}
}

// check parses r and verifies it at testTime.
func check(r *sigv4.Request, d sigv4.Dialect) error {
	s, err := sigv4.Parse(r, d)
	if err != nil {
		return err
	}
	return sigv4.NewVerifier(16).Verify(s, r, secretOf(testSecret), testTime)
}

// wantError compares an error with a code and a text.
func wantError(t *testing.T, got error, code, message string) {
	t.Helper()
	var e *kms.Error
	if !errors.As(got, &e) {
		t.Errorf("got %v, want %s", got, code)
		return
	}
	if e.Code != code || e.Message != message {
		t.Errorf("got  %s: %s\nwant %s: %s", e.Code, e.Message, code, message)
	}
}

const mismatchText = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

func wantMismatch(t *testing.T, got error) {
	t.Helper()
	wantError(t, got, "InvalidSignatureException", mismatchText)
}

package httpapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/kms"
)

const (
	notValid    = "The security token included in the request is invalid."
	notMatching = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)

func failure(code, message string) string {
	return `{"__type":"` + code + `","message":"` + message + `"}`
}

// TestRefusedCallers checks which refusals open a session, that those which do
// settle it, and that none reaches the service.
func TestRefusedCallers(t *testing.T) {
	t.Parallel()
	otherKey := func(s string) string {
		return strings.Replace(s, accessKey, "AKIAOTHERKEYEXAMPLE2", 1)
	}
	tampered := func(s string) string { return strings.Replace(s, `{"KeyId":"a"}`, `{"KeyId":"b"}`, 1) }
	same := func(s string) string { return s }
	for _, c := range []struct {
		name   string
		scope  string
		host   string
		at     time.Time
		change func(string) string
		body   string
		opened int
	}{
		{"unknown access key", "kms", "", now, otherKey, failure("UnrecognizedClientException", notValid), 1},
		{"body tampered with", "kms", "", now, tampered, failure("InvalidSignatureException", notMatching), 1},
		{"expired", "kms", "", now.Add(-301 * time.Second), same,
			failure("InvalidSignatureException", "Signature expired: 20230501T115459Z is now earlier than 20230501T115500Z (20230501T120000Z - 5 min.)"), 1},
		{"scope of another service", "s3", "", now, same, failure("InvalidSignatureException", "Credential should be scoped to correct service: 'kms'. "), 0},
		{"host of another Region", "kms", "kms.eu-west-1.amazonaws.com", now, same, failure("InvalidSignatureException", "Credential should be scoped to a valid region. "), 0},
		{"host of another Region, with port", "kms", "KMS-FIPS.eu-west-1.api.aws:443", now, same, failure("InvalidSignatureException", "Credential should be scoped to a valid region. "), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeService(t)
			addr := start(t, f)
			header := kmsHeader("Encrypt")
			if c.host != "" {
				header["Host"] = c.host
			}
			request := raw(t, signedRequest(t, c.scope, "POST", "http://"+addr+"/", header, `{"KeyId":"a"}`, c.at))
			got := send(t, addr, c.change(request))
			if got.status != "HTTP/1.1 400 Bad Request" || got.body != c.body {
				t.Errorf("got %s %s\nwant 400 %s", got.status, got.body, c.body)
			}
			if opened, settled := f.counts(); opened != c.opened || settled != c.opened || len(f.seen()) != 0 {
				t.Errorf("opened %d, settled %d, called %d; want %d, %d, 0", opened, settled, len(f.seen()), c.opened, c.opened)
			}
		})
	}
}

func TestHostNamesThatBindNoRegion(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	for _, host := range []string{
		"kms.us-east-1.amazonaws.com", "kms.us-east-1.api.aws:9400", "kms.example.com", "kms.eu-west-1", "kms", "127.0.0.1:9400", "[::1]:9400",
		"sts.eu-west-1.amazonaws.com", "eu-west-1.example.com",
	} {
		header := kmsHeader("Encrypt")
		header["Host"] = host
		if got := send(t, addr, raw(t, signedRequest(t, "kms", "POST", "http://"+addr+"/", header, "{}", now))); got.status != "HTTP/1.1 200 OK" {
			t.Errorf("%s: got %s %s", host, got.status, got.body)
		}
	}
}

// TestUnsigned checks that authentication comes after the target and before the
// body: the bodies are no JSON.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	for _, body := range []string{"", "{", "\x00\xff", "[]"} {
		r, err := http.NewRequest("POST", "http://"+addr+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range kmsHeader("Encrypt") {
			r.Header.Set(k, v)
		}
		got := send(t, addr, raw(t, r))
		if got.status != "HTTP/1.1 400 Bad Request" || got.body != failure("MissingAuthenticationTokenException", "Missing Authentication Token") {
			t.Errorf("body %q: got %s %s", body, got.status, got.body)
		}
	}
	checkUntouched(t, f)
}

// TestBodiesAreTheServices checks that a signed body arrives unread, whatever it
// is: an empty one included.
func TestBodiesAreTheServices(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	for i, body := range []string{"", "{", "\x00\xff", "[]"} {
		got := send(t, addr, signedKMS(t, addr, "Encrypt", body))
		if calls := f.seen(); got.status != "HTTP/1.1 200 OK" || len(calls) != i+1 || string(calls[i].Body) != body {
			t.Errorf("body %q: got %s %s", body, got.status, got.body)
		}
	}
}

func TestNoSessionNoVerdict(t *testing.T) {
	t.Parallel()
	const unavailable = `{"__type":"ServiceUnavailableException","message":"The service cannot serve the request now. Nothing was done."}`
	for _, c := range []struct {
		name           string
		open, settle   error
		secret         error
		otherKey       bool
		status, answer string
	}{
		{"cannot open", kms.ErrUnavailable, nil, nil, false, "503 Service Unavailable", unavailable},
		{"cannot open, unknown key", kms.ErrUnavailable, nil, nil, true, "503 Service Unavailable", unavailable},
		{"cannot settle, unknown key", nil, kms.ErrUnavailable, nil, true, "503 Service Unavailable", unavailable},
		{"secret does not open", nil, nil, errors.New("wrong term"), false, "500 Internal Server Error",
			failure("KMSInternalException", "The request was rejected because an internal exception occurred. The request can be retried.")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeService(t)
			f.openErr, f.settleErr, f.secretErr = c.open, c.settle, c.secret
			addr := start(t, f)
			request := signedKMS(t, addr, "Encrypt", "{}")
			if c.otherKey {
				request = strings.Replace(request, accessKey, "AKIAOTHERKEYEXAMPLE2", 1)
			}
			got := send(t, addr, request)
			if got.status != "HTTP/1.1 "+c.status || got.body != c.answer || len(f.seen()) != 0 {
				t.Errorf("got %s %s, %d calls\nwant %s %s and none", got.status, got.body, len(f.seen()), c.status, c.answer)
			}
		})
	}
}

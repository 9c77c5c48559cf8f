package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

var uuid4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// checkHeader compares the header with want; the request id and the date are
// checked for their form.
func checkHeader(t *testing.T, got response, want map[string]string) {
	t.Helper()
	if id := got.header["x-amzn-RequestId"]; !uuid4.MatchString(id) {
		t.Errorf("x-amzn-RequestId = %q, want a lower-case UUID v4", id)
	}
	if _, err := http.ParseTime(got.header["Date"]); err != nil {
		t.Errorf("Date: %v", err)
	}
	rest := map[string]string{}
	for k, v := range got.header {
		if k != "x-amzn-RequestId" && k != "Date" {
			rest[k] = v
		}
	}
	full := map[string]string{"Cache-Control": "no-cache, no-store, must-revalidate, private", "Expires": "0", "Pragma": "no-cache"}
	for k, v := range want {
		full[k] = v
	}
	if d := cmp.Diff(full, rest); d != "" {
		t.Errorf("header (-want +got):\n%s", d)
	}
}

func TestSuccess(t *testing.T) {
	t.Parallel()
	large := `{"Plaintext":"` + strings.Repeat("A", 100_000) + `"}`
	for _, c := range []struct{ name, out, length string }{
		{"object", `{"KeyId":"k"}`, "13"},
		{"no output", "", "0"},
		{"empty structure", "{}", "2"},
		{"large", large, "100016"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeService(t)
			f.do = func(context.Context, *service.Call) ([]byte, error) { return []byte(c.out), nil }
			addr := start(t, f)
			got := send(t, addr, signedKMS(t, addr, "EnableKey", `{"KeyId":"k"}`))
			if got.status != "HTTP/1.1 200 OK" || got.body != c.out {
				t.Errorf("got %s, %d bytes %.60q; want 200 and %.60q", got.status, len(got.body), got.body, c.out)
			}
			checkHeader(t, got, map[string]string{"Content-Type": "application/x-amz-json-1.1", "Content-Length": c.length})
			if calls := f.seen(); len(calls) != 1 || calls[0].RequestID != got.header["x-amzn-RequestId"] {
				t.Errorf("the service saw %d calls, or another request id", len(calls))
			}
		})
	}
}

func TestJSONErrors(t *testing.T) {
	t.Parallel()
	const internal = "The request was rejected because an internal exception occurred. The request can be retried."
	for _, c := range []struct {
		name   string
		err    error
		status string
		body   string
	}{
		{"appendix A.6 no. 1", &kms.Error{Code: "NotFoundException", Message: "Alias arn:aws:kms:us-east-1:111111111111:alias/nope is not found."}, "400 Bad Request",
			`{"__type":"NotFoundException","message":"Alias arn:aws:kms:us-east-1:111111111111:alias/nope is not found."}`},
		{"modelled", &kms.Error{Code: "DisabledException", Message: "arn is disabled."}, "400 Bad Request", `{"__type":"DisabledException","message":"arn is disabled."}`},
		{"constraint", &kms.Error{Code: "ValidationException", Message: "1 validation error detected: Value '\"<&>' at 'keyId'"}, "400 Bad Request",
			`{"__type":"ValidationException","message":"1 validation error detected: Value '\"<&>' at 'keyId'"}`},
		{"throttled", &kms.Error{Code: "ThrottlingException", Message: "Rate exceeded"}, "400 Bad Request", `{"__type":"ThrottlingException","message":"Rate exceeded"}`},
		{"capital: denied", &kms.Error{Code: "AccessDeniedException", Message: "no"}, "400 Bad Request", `{"__type":"AccessDeniedException","Message":"no"}`},
		{"capital: serialization", &kms.Error{Code: "SerializationException", Message: "NUMBER_VALUE cannot be converted to String"}, "400 Bad Request",
			`{"__type":"SerializationException","Message":"NUMBER_VALUE cannot be converted to String"}`},
		{"no message: ciphertext", &kms.Error{Code: "InvalidCiphertextException"}, "400 Bad Request", `{"__type":"InvalidCiphertextException"}`},
		{"no message: serialization", &kms.Error{Code: "SerializationException"}, "400 Bad Request", `{"__type":"SerializationException"}`},
		{"dry run", &kms.Error{Code: "DryRunOperationException", Message: "The request would have succeeded, but the DryRun option is set."}, "400 Bad Request",
			`{"__type":"DryRunOperationException","message":"The request would have succeeded, but the DryRun option is set."}`},
		{"fault: timeout", &kms.Error{Code: "DependencyTimeoutException", Message: "x"}, "500 Internal Server Error", `{"__type":"DependencyTimeoutException","message":"x"}`},
		{"fault: key unavailable", &kms.Error{Code: "KeyUnavailableException", Message: "x"}, "500 Internal Server Error", `{"__type":"KeyUnavailableException","message":"x"}`},
		{"wrapped", fmt.Errorf("doing: %w", &kms.Error{Code: "TagException", Message: "x"}), "400 Bad Request", `{"__type":"TagException","message":"x"}`},
		{"internal hides its cause", errors.New("disk /dev/sda1 is on fire"), "500 Internal Server Error", `{"__type":"KMSInternalException","message":"` + internal + `"}`},
		{"cannot serve", fmt.Errorf("lost: %w", kms.ErrUnavailable), "503 Service Unavailable",
			`{"__type":"ServiceUnavailableException","message":"The service cannot serve the request now. Nothing was done."}`},
		{"no leader", kms.ErrNotLeader, "503 Service Unavailable", `{"__type":"ServiceUnavailableException","message":"The service cannot serve the request now. Nothing was done."}`},
		{"outcome unknown", kms.ErrOutcomeUnknown, "500 Internal Server Error", `{"__type":"KMSInternalException","message":"The outcome of this request is unknown."}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeService(t)
			f.do = func(context.Context, *service.Call) ([]byte, error) { return nil, c.err }
			addr := start(t, f)
			got := send(t, addr, signedKMS(t, addr, "DescribeKey", `{"KeyId":"alias/nope"}`))
			if got.status != "HTTP/1.1 "+c.status || got.body != c.body {
				t.Errorf("got %s %s\nwant %s %s", got.status, got.body, c.status, c.body)
			}
			code, _, _ := strings.Cut(strings.TrimPrefix(c.body, `{"__type":"`), `"`)
			checkHeader(t, got, map[string]string{
				"Content-Type": "application/x-amz-json-1.1", "Content-Length": fmt.Sprint(len(c.body)), "x-amzn-ErrorType": code,
			})
		})
	}
}

const unknownOperation = `{"__type":"UnknownOperationException"}`

func TestUnknownOperation(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	for name, target := range map[string]string{
		"no target":           "",
		"unknown name":        "X-Amz-Target: TrentService.Nothing\r\n",
		"not served yet":      "X-Amz-Target: TrentService.CreateCustomKeyStore\r\n",
		"other prefix":        "X-Amz-Target: DynamoDB_20120810.Encrypt\r\n",
		"prefix in lower":     "X-Amz-Target: trentservice.Encrypt\r\n",
		"name in lower":       "X-Amz-Target: TrentService.encrypt\r\n",
		"no dot":              "X-Amz-Target: TrentServiceEncrypt\r\n",
		"bare name":           "X-Amz-Target: Encrypt\r\n",
		"empty":               "X-Amz-Target: \r\n",
		"two dots":            "X-Amz-Target: TrentService.Encrypt.\r\n",
		"of another service":  "X-Amz-Target: TrentService.GetCallerIdentity\r\n",
		"twice":               "X-Amz-Target: TrentService.Encrypt\r\nX-Amz-Target: TrentService.Encrypt\r\n",
		"form without Action": "Content-Type: application/x-www-form-urlencoded\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := send(t, addr, "POST / HTTP/1.1\r\nHost: kms\r\n"+target+"Content-Length: 2\r\n\r\n{}")
			if got.status != "HTTP/1.1 400 Bad Request" || got.body != unknownOperation {
				t.Errorf("got %s %s", got.status, got.body)
			}
			checkHeader(t, got, map[string]string{
				"Content-Type": "application/x-amz-json-1.1", "Content-Length": "38", "x-amzn-ErrorType": "UnknownOperationException",
			})
		})
	}
	t.Cleanup(func() { checkUntouched(t, f) })
}

// checkUntouched fails when a request that cannot be authenticated opened a
// session or reached the service.
func checkUntouched(t *testing.T, f *fakeService) {
	t.Helper()
	if opened, _ := f.counts(); opened != 0 || len(f.seen()) != 0 {
		t.Errorf("%d sessions were opened and %d calls made; want none", opened, len(f.seen()))
	}
}

func TestMethodsAndPaths(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	const xml = "<UnknownOperationException/>"
	for _, c := range []struct{ line, status, body, contentType string }{
		{"GET /", "404 Not Found", xml, "text/xml"},
		{"GET /?x=y", "404 Not Found", xml, "text/xml"},
		{"GET /favicon.ico", "404 Not Found", xml, "text/xml"},
		{"GET /v1/status", "404 Not Found", xml, "text/xml"},
		{"GET //", "404 Not Found", xml, "text/xml"},
		{"GET /../", "404 Not Found", xml, "text/xml"},
		{"HEAD /", "404 Not Found", "", "text/xml"},
		{"PUT /", "404 Not Found", xml, "text/xml"},
		{"DELETE /", "404 Not Found", xml, "text/xml"},
		{"PATCH /", "404 Not Found", xml, "text/xml"},
		{"TRACE /", "404 Not Found", xml, "text/xml"},
		{"OPTIONS /", "404 Not Found", xml, "text/xml"},
		{"OPTIONS *", "404 Not Found", xml, "text/xml"},
		{"CONNECT kms:443", "404 Not Found", xml, "text/xml"},
		{"post /", "404 Not Found", xml, "text/xml"},
		{"PUT /livez", "404 Not Found", xml, "text/xml"},
		{"POST /livez", "400 Bad Request", unknownOperation, "application/x-amz-json-1.1"},
		{"POST /foo", "400 Bad Request", unknownOperation, "application/x-amz-json-1.1"},
		{"POST //", "400 Bad Request", unknownOperation, "application/x-amz-json-1.1"},
		{"POST /.", "400 Bad Request", unknownOperation, "application/x-amz-json-1.1"},
		{"POST /%2F", "400 Bad Request", unknownOperation, "application/x-amz-json-1.1"},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			got := send(t, addr, c.line+" HTTP/1.1\r\nHost: kms\r\nX-Amz-Target: TrentService.Encrypt\r\n\r\n")
			if got.status != "HTTP/1.1 "+c.status || got.body != c.body {
				t.Errorf("got %s %q, want %s %q", got.status, got.body, c.status, c.body)
			}
			length := len(c.body)
			if strings.HasPrefix(c.line, "HEAD") {
				length = len(xml)
			}
			checkHeader(t, got, map[string]string{
				"Content-Type": c.contentType, "Content-Length": fmt.Sprint(length), "x-amzn-ErrorType": "UnknownOperationException",
			})
		})
	}
	t.Cleanup(func() { checkUntouched(t, f) })
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	for value, ok := range map[string]bool{
		"application/x-amz-json-1.1":                      true,
		"application/x-amz-json-1.0":                      true,
		"application/json":                                true,
		"Application/X-Amz-Json-1.1":                      true,
		"application/x-amz-json-1.1; charset=UTF-8":       true,
		"application/json;charset=utf-8":                  true,
		"":                                                true, // absent
		"application/x-amz-cbor-1.1":                      false,
		"application/cbor":                                false,
		"text/plain":                                      false,
		"application/x-www-form-urlencoded":               false,
		"application/x-www-form-urlencoded;charset=utf-8": false,
		"application/x-amz-json-1.1, text/plain":          false,
		"/":                                               false,
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			f := newFakeService(t)
			addr := start(t, f)
			header := kmsHeader("ListKeys")
			header["Content-Type"] = value
			if value == "" {
				delete(header, "Content-Type")
			}
			got := send(t, addr, raw(t, signedRequest(t, "kms", "POST", "http://"+addr+"/", header, "{}", now)))
			want := "HTTP/1.1 400 Bad Request"
			if ok {
				want = "HTTP/1.1 200 OK"
			}
			if got.status != want || got.header["Content-Type"] != "application/x-amz-json-1.1" {
				t.Errorf("got %s, Content-Type %q; want %s and awsJson 1.1", got.status, got.header["Content-Type"], want)
			}
			if !ok && got.body != unknownOperation {
				t.Errorf("got %s", got.body)
			}
		})
	}
}

func TestCallAsReceived(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	header := kmsHeader("Encrypt")
	header["Host"] = "kms.us-east-1.amazonaws.com:9400"
	header["User-Agent"] = "aws-cli/1.45.11"
	header["Referer"] = "https://app.example.com/"
	header["Amz-Sdk-Invocation-Id"] = "0d3c9b1e-2f5a-4c8e-9f37-6d1f5f0f0001"
	header["Amz-Sdk-Request"] = "attempt=1; max=3"
	header["X-Amzn-Trace-Id"] = "Root=1-2-3"
	header["X-Forwarded-For"] = "203.0.113.9"
	const body = ` {"KeyId" : "k"}`
	got := send(t, addr, raw(t, signedRequest(t, "kms", "POST", "http://"+addr+"/?ignored=1", header, body, now)))
	if got.status != "HTTP/1.1 200 OK" {
		t.Fatalf("got %s %s", got.status, got.body)
	}
	want := []*service.Call{{
		Service: "kms", Operation: "Encrypt", Body: []byte(body), Region: "us-east-1",
		Principal: kms.RootPrincipal(account, accessKey),
		Source:    kms.Source{IP: "127.0.0.1", UserAgent: "aws-cli/1.45.11", Referer: "https://app.example.com/", Host: "kms.us-east-1.amazonaws.com:9400"},
		RequestID: got.header["x-amzn-RequestId"], InvocationID: "0d3c9b1e-2f5a-4c8e-9f37-6d1f5f0f0001",
	}}
	if d := cmp.Diff(want, f.seen(), cmpopts.IgnoreUnexported(service.Call{})); d != "" {
		t.Errorf("call (-want +got):\n%s", d)
	}
}

func TestInvocationID(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	longest := strings.Repeat("i", 128)
	for _, c := range []struct{ lines, want string }{
		{"", ""},
		{"amz-sdk-invocation-id: a\r\n", "a"},
		{"amz-sdk-invocation-id: " + longest + "\r\n", longest},
		{"amz-sdk-invocation-id: " + longest + "i\r\n", ""},
		{"amz-sdk-invocation-id: a\r\namz-sdk-invocation-id: b\r\n", ""},
	} {
		before := len(f.seen())
		request := strings.Replace(signedKMS(t, addr, "Encrypt", "{}"), "\r\n", "\r\n"+c.lines, 1)
		if got := send(t, addr, request); got.status != "HTTP/1.1 200 OK" {
			t.Fatalf("%.60q: got %s %s", c.lines, got.status, got.body)
		}
		if got := f.seen()[before].InvocationID; got != c.want {
			t.Errorf("%.60q: got %q, want %q", c.lines, got, c.want)
		}
	}
}

func TestRequestIDsDiffer(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	ids := map[string]bool{}
	for range 50 {
		for _, request := range []string{signedKMS(t, addr, "Encrypt", "{}"), "GET / HTTP/1.1\r\nHost: kms\r\n\r\n", "GET /livez HTTP/1.1\r\nHost: kms\r\n\r\n"} {
			id := send(t, addr, request).header["x-amzn-RequestId"]
			if ids[id] || !uuid4.MatchString(id) {
				t.Fatalf("request id %q came twice or is no UUID v4", id)
			}
			ids[id] = true
		}
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	f.do = func(context.Context, *service.Call) ([]byte, error) { panic("kmsd: impossible") }
	addr := start(t, f)
	got := send(t, addr, signedKMS(t, addr, "Encrypt", "{}"))
	if got.status != "HTTP/1.1 500 Internal Server Error" || !strings.Contains(got.body, `"KMSInternalException"`) || strings.Contains(got.body, "impossible") {
		t.Errorf("got %s %s", got.status, got.body)
	}
	checkHeader(t, got, map[string]string{
		"Content-Type": "application/x-amz-json-1.1", "Content-Length": fmt.Sprint(len(got.body)), "x-amzn-ErrorType": "KMSInternalException",
	})
}

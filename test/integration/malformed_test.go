package integration_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMalformedTraffic sends every node what no client would. Each answer is the
// documented one, and the state is the same afterwards.
func TestMalformedTraffic(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	region := newRegion()
	id, _ := create(t, c.kms(0, region))
	c.settle(t)
	t.Run("sent", func(t *testing.T) { // ends when its parallel parts have
		sendSlowly(t, c)
		sendRaw(t, c, region)
		sendSigned(t, c, region)
	})
	for i, n := range c.everyKMS(region) {
		if after := listKeys(t, n); !slices.Equal(after, []string{id}) {
			t.Errorf("node %d lists %q, want only %s", i, after, id)
		}
		if status, body := getAnswer(t, c.nodes[i].endpoint+"/readyz"); status != http.StatusOK {
			t.Errorf("node %d is not ready: %d %s", i, status, body)
		}
	}
}

// sendRaw sends bytes.
func sendRaw(t *testing.T, c *cluster, region string) {
	const mib = 1 << 20
	target := "X-Amz-Target: TrentService.CreateKey\r\n"
	request := func(headers, body string) string {
		return "POST / HTTP/1.1\r\nHost: kmsd\r\nContent-Type: application/x-amz-json-1.1\r\n" + headers +
			fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
	}
	now := time.Now().UTC()
	forged := "X-Amz-Date: " + now.Format("20060102T150405Z") + "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" + c.accessKey + "/" + now.Format("20060102") + "/" +
		region + "/kms/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=" + strings.Repeat("0", 64) + "\r\n"
	for _, tc := range []struct {
		name, send string
		status     int
		body       string // a part of it; "" for an empty one
	}{
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "Bad Request"},
		{"no host", "POST / HTTP/1.1\r\n\r\n", 400, "missing required Host header"},
		{"two lengths", "POST / HTTP/1.1\r\nHost: k\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, "Bad Request"},
		{"huge header", request("X-Filler: "+strings.Repeat("f", 64<<10)+"\r\n", ""), 431, "Request Header Fields Too Large"},
		{"oversize by its length", "POST / HTTP/1.1\r\nHost: kmsd\r\nContent-Length: 1048577\r\n" + target + "\r\n", 413, ""},
		{"oversize in chunks", "POST / HTTP/1.1\r\nHost: kmsd\r\nTransfer-Encoding: chunked\r\n" + target + "\r\n" +
			"100001\r\n" + strings.Repeat("x", mib+1) + "\r\n0\r\n\r\n", 413, ""},
		{"broken chunks", "POST / HTTP/1.1\r\nHost: kmsd\r\nTransfer-Encoding: chunked\r\n" + target + "\r\nzz\r\n", 400, `{"__type":"SerializationException"}`},
		{"unsigned", request(target, "{}"), 400, `{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}`},
		{"unsigned, not JSON", request(target, "{"), 400, `{"__type":"MissingAuthenticationTokenException"`},
		{"unsigned, not an operation", request("X-Amz-Target: TrentService.Nothing\r\n", "{}"), 400, `{"__type":"UnknownOperationException"}`},
		{"another service", request("X-Amz-Target: DynamoDB_20120810.ListTables\r\n", "{}"), 400, `{"__type":"UnknownOperationException"}`},
		{"no target", request("", "{}"), 400, `{"__type":"UnknownOperationException"}`},
		{"another path", strings.Replace(request(target, "{}"), "POST /", "POST /x/../y", 1), 400, `{"__type":"UnknownOperationException"}`},
		{"GET", "GET / HTTP/1.1\r\nHost: kmsd\r\n\r\n", 404, "<UnknownOperationException/>"},
		{"DELETE", "DELETE / HTTP/1.1\r\nHost: kmsd\r\n\r\n", 404, "<UnknownOperationException/>"},
		{"half an Authorization", request(target+"Authorization: AWS4-HMAC-SHA256\r\n", "{}"), 400, `{"__type":"IncompleteSignatureException"`},
		{"a wrong signature", request(target+forged, "{}"), 400, `{"__type":"InvalidSignatureException"`},
		{"an unknown access key", request(target+strings.Replace(forged, c.accessKey, "AKIAIOSFODNN7EXAMPLE", 1), "{}"), 400,
			`{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}`},
		{"STS without a signature", "POST / HTTP/1.1\r\nHost: k\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 43\r\n\r\n" +
			"Action=GetCallerIdentity&Version=2011-06-15", 403, "<Code>MissingAuthenticationToken</Code>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for i := range c.nodes {
				var status int
				var body string
				poll(t, unhurried, "an answer that decides", func() bool {
					status, body = exchange(t, c.nodes[i].endpoint, tc.send)
					return status != http.StatusServiceUnavailable
				})
				if status != tc.status || !strings.Contains(body, tc.body) || tc.body == "" && body != "" {
					t.Errorf("node %d: %d %q, want %d %q", i, status, body, tc.status, tc.body)
				}
			}
		})
	}
}

// sendSigned sends bodies with a good signature.
func sendSigned(t *testing.T, c *cluster, region string) {
	for _, tc := range []struct {
		name string
		in   call
		want string
	}{
		{"not JSON", call{operation: "CreateKey", body: "{"}, "SerializationException"},
		{"JSON of another kind", call{operation: "CreateKey", body: "[]"}, "SerializationException"},
		{"a member of another type", call{operation: "CreateKey", body: `{"Description":1}`}, "SerializationException"},
		{"a bad blob", call{operation: "Encrypt", body: `{"KeyId":"x","Plaintext":"-_"}`}, "SerializationException"},
		{"behind the body", call{operation: "CreateKey", body: "{}{}"}, "SerializationException"},
		{"deep nesting", call{operation: "CreateKey", body: `{"x":` + strings.Repeat("[", 100_000)}, "SerializationException"},
		{"nothing given", call{operation: "Encrypt", body: ""}, "ValidationException"},
		{"a value too long", call{operation: "CreateKey", body: `{"Description":"` + strings.Repeat("d", 8193) + `"}`}, "ValidationException"},
		{"a bad Region", call{operation: "CreateKey", body: "{}", region: "nowhere"}, "InvalidSignatureException"},
		{"no such operation", call{operation: "createKey", body: "{}"}, "UnknownOperationException"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.in.region == "" {
				tc.in.region = region
			}
			for _, n := range c.nodes {
				status, body := c.insist(t, n.endpoint, tc.in)
				if status != http.StatusBadRequest || !strings.HasPrefix(body, `{"__type":"`+tc.want+`"`) {
					t.Errorf("%s: %d %s, want %s", n.endpoint, status, body, tc.want)
				}
			}
		})
	}
}

// sendSlowly sends the beginning of a request and waits. The node must not.
func sendSlowly(t *testing.T, c *cluster) {
	t.Run("slowly", func(t *testing.T) {
		t.Parallel()
		const headers = "POST / HTTP/1.1\r\nHost: kmsd\r\nX-Amz-Target: TrentService.CreateKey\r\n"
		var wg sync.WaitGroup
		for send, want := range map[string]string{
			headers:                                "",
			headers + "Content-Length: 2\r\n\r\n{": `{"__type":"SerializationException"}`,
		} {
			conn := dial(t, c.nodes[0].endpoint)
			wg.Go(func() {
				began := time.Now()
				_, err := io.WriteString(conn, send)
				answer, err2 := io.ReadAll(conn) // until the node ends the connection
				if err != nil || err2 != nil || !strings.HasSuffix(string(answer), want) || want == "" && len(answer) > 0 {
					t.Errorf("after %q the node answered %q, %v, %v, want %q and the end", send, answer, err, err2, want)
				}
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("after %q the node waited for %v", send, took)
				}
			})
		}
		wg.Wait()
	})
}

// exchange sends raw bytes and reads one answer.
func exchange(t *testing.T, endpoint, send string) (status int, body string) {
	t.Helper()
	conn := dial(t, endpoint)
	go func() { _, _ = io.WriteString(conn, send) }() // the node may answer before it has read all
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Errorf("no answer: %v", err)
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) { // the node does not read the rest of what it refuses
		t.Errorf("half an answer: %v", err)
	}
	return resp.StatusCode, string(text)
}

// dial opens a connection that ends with the test, and with patience.
func dial(t *testing.T, endpoint string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

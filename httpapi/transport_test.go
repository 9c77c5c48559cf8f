package httpapi_test

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/service"
)

const mebibyte = 1 << 20

const head = "POST / HTTP/1.1\r\nHost: kms\r\nX-Amz-Target: TrentService.Encrypt\r\n"

func TestBodyTooLarge(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	for name, request := range map[string]string{
		"announced":              head + "Content-Length: 1048577\r\n\r\n",
		"announced, absurd":      head + "Content-Length: 9223372036854775807\r\n\r\n",
		"announced, with Expect": head + "Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n",
		"chunked":                head + "Transfer-Encoding: chunked\r\n\r\n100001\r\n" + strings.Repeat("a", mebibyte+1),
		"chunked, without end":   head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10000\r\n"+strings.Repeat("a", 0x10000)+"\r\n", 16) + "1\r\na",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := send(t, addr, request)
			if got.status != "HTTP/1.1 413 Request Entity Too Large" || got.body != "" || !got.closed {
				t.Errorf("got %s, body %q, closed %v", got.status, got.body, got.closed)
			}
			checkHeader(t, got, map[string]string{
				"Content-Type": "application/x-amz-json-1.1", "Content-Length": "0", "Connection": "close", "x-amzn-ErrorType": "RequestEntityTooLargeException",
			})
		})
	}
	t.Cleanup(func() { checkUntouched(t, f) })
}

// handSigned is a call of Encrypt that signs host, date and target only, because
// the framing headers are what the tests vary.
func handSigned(t testing.TB, framing, payload, body string) string {
	t.Helper()
	const date, scope = "20230501T120000Z", "20230501/us-east-1/kms/aws4_request"
	canonical := "POST\n/\n\nhost:kms\nx-amz-date:" + date + "\nx-amz-target:TrentService.Encrypt\n\nhost;x-amz-date;x-amz-target\n" + hexHash(body)
	key := []byte("AWS4" + secretKey)
	for _, part := range append(strings.Split(scope, "/"), "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hexHash(canonical)) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return head + "X-Amz-Date: " + date + "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" + accessKey + "/" + scope +
		", SignedHeaders=host;x-amz-date;x-amz-target, Signature=" + hex.EncodeToString(key) + "\r\n" + framing + "\r\n\r\n" + payload
}

func hexHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// TestFraming sends one signed body in every way that HTTP/1.1 has for it.
func TestFraming(t *testing.T) {
	t.Parallel()
	largest := strings.Repeat("a", mebibyte)
	for _, c := range []struct{ name, framing, payload, body string }{
		{"announced", "Content-Length: 13", `{"KeyId":"k"}`, `{"KeyId":"k"}`},
		{"length twice, the same", "Content-Length: 2\r\nContent-Length: 2", "{}", "{}"},
		{"none", "Accept: */*", "", ""},
		{"length 0", "Content-Length: 0", "", ""},
		{"chunked", "Transfer-Encoding: chunked", "3\r\n{\"K\r\na\r\neyId\":\"k\"}\r\n0\r\n\r\n", `{"KeyId":"k"}`},
		{"chunked, with extension and trailer", "Transfer-Encoding: chunked", "2;a=b\r\n{}\r\n0\r\nX-Amz-Target: TrentService.DescribeKey\r\n\r\n", "{}"},
		{"length and chunked: the length does not count", "Content-Length: 3\r\nTransfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n", "{}"},
		{"chunked, empty", "Transfer-Encoding: chunked", "0\r\n\r\n", ""},
		{"1 MiB", "Content-Length: 1048576", largest, largest},
		{"1 MiB chunked", "Transfer-Encoding: chunked", "100000\r\n" + largest + "\r\n0\r\n\r\n", largest},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeService(t)
			addr := start(t, f)
			got := send(t, addr, handSigned(t, c.framing, c.payload, c.body))
			calls := f.seen()
			if got.status != "HTTP/1.1 200 OK" || len(calls) != 1 || string(calls[0].Body) != c.body || calls[0].Operation != "Encrypt" {
				t.Errorf("got %s %s; %d calls", got.status, got.body, len(calls))
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	c := dial(t, addr)
	before, after, _ := strings.Cut(handSigned(t, "Content-Length: 2\r\nExpect: 100-continue", "{}", "{}"), "\r\n\r\n")
	if _, err := io.WriteString(c, before+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
		if line, err := r.ReadString('\n'); err != nil || line != want {
			t.Fatalf("got %q, %v; want %q", line, err, want)
		}
	}
	if _, err := io.WriteString(c, after); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, r, true); got.status != "HTTP/1.1 200 OK" {
		t.Errorf("got %s %s", got.status, got.body)
	}
}

// TestMalformedHTTP checks that what is no HTTP is refused by its status alone,
// or by the documented error, and that no session is opened for it.
func TestMalformedHTTP(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	for _, c := range []struct{ name, request, status string }{
		{"no HTTP", "hello\r\n\r\n", "400 Bad Request"},
		{"control bytes", "\x16\x03\x01\x02\x00\r\n\r\n", "400 Bad Request"},
		{"unknown version", "POST / HTTP/3.0\r\nHost: kms\r\n\r\n", "505 HTTP Version Not Supported: unsupported protocol version"},
		{"no Host", "POST / HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header"},
		{"two Hosts", "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 Bad Request"},
		{"bad Host", "POST / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 Bad Request: malformed Host header"},
		{"two lengths", head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "400 Bad Request"},
		{"negative length", head + "Content-Length: -1\r\n\r\n", "400 Bad Request"},
		{"length is no number", head + "Content-Length: 2a\r\n\r\n{}", "400 Bad Request"},
		{"length with a sign", head + "Content-Length: +2\r\n\r\n{}", "400 Bad Request"},
		{"unknown transfer encoding", head + "Transfer-Encoding: gzip\r\n\r\n", "501 Not Implemented"},
		{"two transfer encodings", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501 Not Implemented"},
		{"space before the colon", head + "Content-Length : 2\r\n\r\n{}", "400 Bad Request: invalid header name"},
		{"NUL in a header", head + "A: b\x00\r\n\r\n", "400 Bad Request"},
		{"unknown expectation", head + "Expect: wonders\r\n\r\n", "417 Expectation Failed"},
		{"headers above 16 KiB", head + "A: " + strings.Repeat("a", 21<<10) + "\r\n\r\n", "431 Request Header Fields Too Large"},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "404 Not Found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := send(t, addr, c.request)
			if got.status != "HTTP/1.1 "+c.status {
				t.Errorf("got %s, want %s", got.status, c.status)
			}
		})
	}
	t.Cleanup(func() { checkUntouched(t, f) })
}

// TestBrokenBody checks bodies that never become whole.
func TestBrokenBody(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	addr := start(t, f)
	for name, request := range map[string]string{
		"ends early":          head + "Content-Length: 3\r\n\r\n{}",
		"chunked, ends early": head + "Transfer-Encoding: chunked\r\n\r\n3\r\n{}",
		"chunk size":          head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
		"negative chunk":      head + "Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
		"chunk too long":      head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
		"huge chunk size":     head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, addr)
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got := receive(t, bufio.NewReader(c), true)
			if got.status != "HTTP/1.1 400 Bad Request" || got.body != `{"__type":"SerializationException"}` || !got.closed {
				t.Errorf("got %s %s, closed %v", got.status, got.body, got.closed)
			}
		})
	}
	t.Cleanup(func() { checkUntouched(t, f) })
}

// pipeListener hands out one end of a net.Pipe, whose deadlines obey the fake
// clock of package synctest.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// TestSlowClients checks on a fake clock when a client that stalls is dropped.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, sent, answer string
		after              time.Duration
	}{
		{"headers", "POST / HTTP/1.1\r\nHost:", "", 5 * time.Second},
		{"body", head + "Content-Length: 3\r\n\r\n{", "HTTP/1.1 400 Bad Request", 10 * time.Second},
		{"chunked body", head + "Transfer-Encoding: chunked\r\n\r\n3\r\n{", "HTTP/1.1 400 Bad Request", 10 * time.Second},
		{"next request", "GET /livez HTTP/1.1\r\nHost: kms\r\n\r\n", "HTTP/1.1 200 OK", 90 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, newFakeService(t))
				l := newPipeListener()
				served := make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				conn := l.dial()
				begin := time.Now()
				if _, err := io.WriteString(conn, c.sent); err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(conn)
				if err != nil || !strings.HasPrefix(string(got), c.answer) || c.answer == "" && len(got) > 0 {
					t.Errorf("got %q, %v; want %q", got, err, c.answer)
				}
				// net/http lingers half a second before it closes.
				if took := time.Since(begin); took < c.after || took > c.after+time.Second {
					t.Errorf("dropped after %v, want %v", took, c.after)
				}
				conn.Close()
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestRequestTimeout checks on a fake clock that a call ends by its deadline,
// and that the answer claims nothing about it.
func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeService(t)
		f.do = func(ctx context.Context, _ *service.Call) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s := newServer(t, f, func(c *httpapi.Config) { c.Timeout = 3 * time.Second })
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		conn := l.dial()
		begin := time.Now()
		if _, err := io.WriteString(conn, handSigned(t, "Content-Length: 2", "{}", "{}")); err != nil {
			t.Fatal(err)
		}
		got := receive(t, bufio.NewReader(conn), true)
		if got.status != "HTTP/1.1 500 Internal Server Error" || time.Since(begin) != 3*time.Second {
			t.Errorf("got %s %s after %v", got.status, got.body, time.Since(begin))
		}
		conn.Close()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestConnectionLimit checks that a connection above the limit is served as soon
// as another one ends.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	addr := start(t, newFakeService(t), func(c *httpapi.Config) { c.MaxConnections = 2 })
	live := func(c net.Conn) error {
		_, err := fmt.Fprint(c, "GET /livez HTTP/1.1\r\nHost: kms\r\n\r\n")
		return err
	}
	first, second, third := dial(t, addr), dial(t, addr), dial(t, addr)
	for _, c := range []net.Conn{first, second} {
		if err := live(c); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, bufio.NewReader(c), true); got.body != "ok" {
			t.Fatalf("got %s %s", got.status, got.body)
		}
	}
	if err := live(third); err != nil {
		t.Fatal(err)
	}
	if err := third.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal("a third connection was served beside two")
	}
	first.Close()
	if err := third.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, bufio.NewReader(third), true); got.body != "ok" {
		t.Errorf("got %s %s", got.status, got.body)
	}
}

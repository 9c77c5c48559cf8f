package httpapi_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"go.uber.org/goleak"

	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/iam/sigv4"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is the time of appendix A.1; the servers under test live at it.
var now = time.Date(2023, 5, 1, 12, 0, 0, 0, time.UTC)

type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// newServer returns a server for f at the time now. Configure changes its Config.
func newServer(t testing.TB, f *fakeService, configure ...func(*httpapi.Config)) *httpapi.Server {
	t.Helper()
	cfg := httpapi.Config{Backend: f, Verifier: sigv4.NewVerifier(16), Logger: testLogger(t), Now: func() time.Time { return now }}
	for _, c := range configure {
		c(&cfg)
	}
	s, err := httpapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start serves f on a loopback port until the test ends and returns the address.
func start(t testing.TB, f *fakeService, configure ...func(*httpapi.Config)) string {
	t.Helper()
	s := newServer(t, f, configure...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// dial connects to addr and bounds everything that the test does there.
func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// response is an answer as it stood on the wire.
type response struct {
	status string            // "HTTP/1.1 200 OK"
	header map[string]string // by the name as written
	body   string
	closed bool // the server closed the connection after it
}

// send writes raw to a new connection, ends the sending side and reads one
// answer and what follows.
func send(t testing.TB, addr, raw string) response {
	t.Helper()
	c := dial(t, addr)
	if _, err := io.WriteString(c, raw); err != nil {
		t.Logf("sending: %v", err) // the server may have refused before the end
	}
	return receive(t, bufio.NewReader(c), !strings.HasPrefix(raw, "HEAD "))
}

// receive reads one answer without the help of net/http.
func receive(t testing.TB, r *bufio.Reader, hasBody bool) response {
	t.Helper()
	out := response{header: map[string]string{}}
	line := func() string {
		s, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("reading an answer: %v (so far %+v)", err, out)
		}
		return strings.TrimSuffix(s, "\r\n")
	}
	out.status = line()
	for {
		l := line()
		if l == "" {
			break
		}
		name, value, _ := strings.Cut(l, ": ")
		if _, twice := out.header[name]; twice {
			t.Errorf("header %s stands twice", name)
		}
		out.header[name] = value
	}
	if out.header["Connection"] == "close" {
		rest, err := io.ReadAll(r)
		out.closed = err == nil
		out.body = string(rest)
		return out
	}
	if n := out.header["Content-Length"]; hasBody && n != "" {
		size := 0
		for _, d := range n {
			size = size*10 + int(d-'0')
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		out.body = string(b)
	}
	return out
}

// signedRequest returns a request signed for service in us-east-1 at the time at.
func signedRequest(t testing.TB, service, method, url string, header map[string]string, body string, at time.Time) *http.Request {
	t.Helper()
	return signedFor(t, service, "us-east-1", method, url, header, body, at)
}

// signedFor is signedRequest for any Region.
func signedFor(t testing.TB, service, region, method, url string, header map[string]string, body string, at time.Time) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
		if k == "Host" {
			r.Host = v
		}
	}
	r.Header.Del("Host")
	creds := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hexHash(body), service, region, at); err != nil {
		t.Fatal(err)
	}
	return r
}

// raw renders a request as bytes.
func raw(t testing.TB, r *http.Request) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// signedKMS is a signed call of a KMS operation, as bytes for addr.
func signedKMS(t testing.TB, addr, operation, body string) string {
	t.Helper()
	return raw(t, signedRequest(t, "kms", http.MethodPost, "http://"+addr+"/", kmsHeader(operation), body, now))
}

func kmsHeader(operation string) map[string]string {
	return map[string]string{"X-Amz-Target": "TrentService." + operation, "Content-Type": "application/x-amz-json-1.1"}
}

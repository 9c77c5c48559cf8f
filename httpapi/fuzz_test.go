package httpapi_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmsd/kmsd/httpapi"
)

// bytesConn is a connection on which the client sends fixed bytes and hangs up.
type bytesConn struct {
	in     *bytes.Reader
	mu     sync.Mutex
	out    bytes.Buffer // guarded by mu
	closed chan struct{}
	once   sync.Once
}

func (c *bytesConn) Read(b []byte) (int, error) { return c.in.Read(b) }

func (c *bytesConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(b)
}

func (c *bytesConn) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *bytesConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *bytesConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (c *bytesConn) SetDeadline(time.Time) error      { return nil }
func (c *bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (c *bytesConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzServe sends raw bytes. No request makes the server panic, and every one
// that net/http passes on is answered with a request id.
func FuzzServe(f *testing.F) {
	fake := newFakeService(f)
	s := newServer(f, fake, func(c *httpapi.Config) { c.Logger = slog.New(slog.DiscardHandler) })
	var routed atomic.Int64
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			routed.Add(1)
			s.Handler().ServeHTTP(w, r)
		}),
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	l := newPipeListener()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	f.Cleanup(func() {
		server.Close()
		<-served
	})
	addr := "kms"
	for _, seed := range []string{
		signedKMS(f, addr, "Encrypt", `{"KeyId":"k"}`),
		handSigned(f, "Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n", "{}"),
		"GET " + presigned + " HTTP/1.1\r\nHost: sts.us-east-1.amazonaws.com\r\nx-k8s-aws-id: demo\r\n\r\n",
		raw(f, signedRequest(f, "sts", "POST", "http://sts/", nil, "Action=GetCallerIdentity&Version=2011-06-15", now)),
		"POST /?Action=a&Version=b HTTP/1.1\r\nHost: kms.eu-west-1.amazonaws.com:1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\nAction=%3",
		"GET /readyz HTTP/1.1\r\nHost: kms\r\n\r\nPUT / HTTP/1.0\r\n\r\n",
		head + "Authorization: AWS4-HMAC-SHA256 Credential=a/b/c/iam/e\r\nContent-Type: a;b\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: [::1]\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		routed.Store(0)
		c := &bytesConn{in: bytes.NewReader(in), closed: make(chan struct{})}
		l.conns <- c
		select {
		case <-c.closed:
		case <-time.After(10 * time.Second):
			t.Fatal("the connection was not closed")
		}
		c.mu.Lock()
		out := c.out.String()
		c.mu.Unlock()
		if answered := strings.Count(out, "\r\nx-amzn-RequestId: "); int64(answered) != routed.Load() {
			t.Errorf("%d requests were passed on, %d answers with a request id:\n%s", routed.Load(), answered, out)
		}
		if strings.Contains(out, "KMSInternalException") || strings.Contains(out, "InternalFailure") {
			t.Errorf("internal error:\n%s", out)
		}
	})
}

// discard is net/http's ResponseWriter, as far as it costs nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

func (d *discard) SetReadDeadline(time.Time) error { return nil }

// BenchmarkEncrypt measures one signed Encrypt from the parsed HTTP request to
// the rendered answer; the service behind it does nothing.
func BenchmarkEncrypt(b *testing.B) {
	answer := []byte(`{"CiphertextBlob":"` + strings.Repeat("A", 200) + `","KeyId":"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab","EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`)
	handler := newServer(b, newFakeService(b), func(c *httpapi.Config) {
		c.Backend = benchService{answer: answer, fake: newFakeService(b)}
		c.Logger = slog.New(slog.DiscardHandler)
	}).Handler()
	body := `{"KeyId":"1234abcd-12ab-34cd-56ef-1234567890ab","Plaintext":"` + strings.Repeat("A", 64) + `"}`
	template := signedRequest(b, "kms", "POST", "http://kms/", kmsHeader("Encrypt"), body, now)
	template.RemoteAddr = "127.0.0.1:4711"
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		payload := strings.NewReader(body)
		w := &discard{header: http.Header{}}
		r := template.Clone(b.Context())
		r.Body = io.NopCloser(payload)
		for pb.Next() {
			payload.Reset(body)
			clear(w.header)
			handler.ServeHTTP(w, r)
		}
	})
}

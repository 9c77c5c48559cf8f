package httpapi_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	red := newFakeService(t)
	red.readyErr = errors.New("no Beat for 3 s")
	ready, notReady := start(t, newFakeService(t)), start(t, red)
	for _, c := range []struct{ addr, line, status, body string }{
		{ready, "GET /livez", "200 OK", "ok"},
		{ready, "GET /readyz", "200 OK", "ok"},
		{ready, "HEAD /readyz", "200 OK", ""},
		{notReady, "GET /livez", "200 OK", "ok"},
		{notReady, "GET /readyz", "503 Service Unavailable", "no Beat for 3 s"},
		{notReady, "HEAD /readyz", "503 Service Unavailable", ""},
	} {
		got := send(t, c.addr, c.line+" HTTP/1.1\r\nHost: kms\r\n\r\n")
		if got.status != "HTTP/1.1 "+c.status || got.body != c.body || got.header["Content-Type"] != "text/plain; charset=utf-8" {
			t.Errorf("%s: got %s %q %v, want %s %q", c.line, got.status, got.body, got.header, c.status, c.body)
		}
	}
}

// ask sends GET /readyz on a connection.
func ask(t *testing.T, c net.Conn) response {
	t.Helper()
	if _, err := io.WriteString(c, "GET /readyz HTTP/1.1\r\nHost: kms\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return receive(t, bufio.NewReader(c), true)
}

// TestStop checks on a fake clock that /readyz turns red before the listener closes,
// that connections end with their next answer, and that a call under way is answered.
func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeService(t)
		entered, release := make(chan struct{}), make(chan struct{})
		f.do = func(context.Context, *service.Call) ([]byte, error) {
			close(entered)
			<-release
			return []byte("{}"), nil
		}
		s := newServer(t, f, func(c *httpapi.Config) { c.Drain = 5 * time.Second })
		l := newPipeListener()
		served, stopped := make(chan error, 1), make(chan error, 1)
		go func() { served <- s.Serve(l) }()

		busy := l.dial()
		if _, err := io.WriteString(busy, handSigned(t, "Content-Length: 2", "{}", "{}")); err != nil {
			t.Fatal(err)
		}
		<-entered
		begin := time.Now()
		go func() {
			s.Drain(t.Context())
			stopped <- s.Shutdown(t.Context())
		}()
		synctest.Wait()

		probe := l.dial() // the listener is open while it drains
		if got := ask(t, probe); got.status != "HTTP/1.1 503 Service Unavailable" || got.body != "shutting down" || !got.closed {
			t.Errorf("got %s %q, closed %v", got.status, got.body, got.closed)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("the listener closed after %v, want 5 s", took)
		}
		close(release)
		if got := receive(t, bufio.NewReader(busy), true); got.status != "HTTP/1.1 200 OK" || got.body != "{}" {
			t.Errorf("got %s %s", got.status, got.body)
		}
		busy.Close()
		probe.Close()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// TestQuiesceAndResume checks that Drain spares idle connections, that Quiesce closes
// them and waits for the call under way, and that Resume undoes both.
func TestQuiesceAndResume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeService(t)
		entered, release := make(chan struct{}), make(chan struct{})
		f.do = func(context.Context, *service.Call) ([]byte, error) {
			entered <- struct{}{}
			<-release
			return []byte("{}"), nil
		}
		s := newServer(t, f, func(c *httpapi.Config) { c.Drain = time.Second })
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		idle, busy := l.dial(), l.dial()
		if got := ask(t, idle); got.status != "HTTP/1.1 200 OK" || got.closed {
			t.Errorf("got %s, closed %v", got.status, got.closed)
		}
		if _, err := io.WriteString(busy, handSigned(t, "Content-Length: 2", "{}", "{}")); err != nil {
			t.Fatal(err)
		}
		<-entered

		s.Drain(t.Context())
		ended := make(chan error, 1)
		go func() { _, err := idle.Read(make([]byte, 1)); ended <- err }()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Errorf("Drain ended an idle connection: %v", err)
		default:
		}
		quiet := make(chan error, 1)
		go func() { quiet <- s.Quiesce(t.Context()) }()
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("the idle connection ended with %v, want EOF", err)
		}
		time.Sleep(10 * time.Second) // of the fake clock
		select {
		case err := <-quiet:
			t.Errorf("Quiesce returned %v with a call under way", err)
		default:
		}
		close(release)
		if got := receive(t, bufio.NewReader(busy), true); got.status != "HTTP/1.1 200 OK" || !got.closed {
			t.Errorf("got %s, closed %v", got.status, got.closed)
		}
		if err := <-quiet; err != nil {
			t.Error(err)
		}
		late := l.dial()
		if got := ask(t, late); got.status != "HTTP/1.1 503 Service Unavailable" || !got.closed {
			t.Errorf("got %s, closed %v", got.status, got.closed)
		}

		s.Resume()
		again := l.dial()
		for range 2 {
			if got := ask(t, again); got.status != "HTTP/1.1 200 OK" || got.closed {
				t.Errorf("after Resume: got %s, closed %v", got.status, got.closed)
			}
		}
		for _, c := range []net.Conn{idle, busy, late, again} {
			c.Close()
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestQuiesceGivesUp checks that Quiesce does not wait longer than its context.
func TestQuiesceGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeService(t)
		entered := make(chan struct{})
		f.do = func(ctx context.Context, _ *service.Call) ([]byte, error) {
			close(entered)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s := newServer(t, f)
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		busy := l.dial()
		if _, err := io.WriteString(busy, handSigned(t, "Content-Length: 2", "{}", "{}")); err != nil {
			t.Fatal(err)
		}
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Quiesce(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline", err)
		}
		busy.Close()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestShutdownGivesUp checks that Shutdown cuts the connections when its context
// ends, and says so.
func TestShutdownGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeService(t)
		entered := make(chan struct{})
		f.do = func(ctx context.Context, _ *service.Call) ([]byte, error) {
			close(entered)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s := newServer(t, f)
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		busy := l.dial()
		if _, err := io.WriteString(busy, handSigned(t, "Content-Length: 2", "{}", "{}")); err != nil {
			t.Fatal(err)
		}
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline", err)
		}
		if got, err := io.ReadAll(busy); len(got) > 0 || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// certificate returns a self-signed certificate for 127.0.0.1.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestTLS checks both HTTP versions over TLS, and the words of tlsDetails.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert := certificate(t)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	for _, c := range []struct {
		http2       bool
		version     uint16
		tls, cipher string
		protocol    string
	}{
		{true, tls.VersionTLS13, "TLSv1.3", "TLS_AES_128_GCM_SHA256", "HTTP/2.0"},
		{false, tls.VersionTLS12, "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", "HTTP/1.1"},
	} {
		t.Run(c.protocol, func(t *testing.T) {
			t.Parallel()
			f := newFakeService(t)
			addr := start(t, f, func(cfg *httpapi.Config) {
				cfg.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
			})
			transport := &http.Transport{
				ForceAttemptHTTP2: c.http2,
				TLSClientConfig:   &tls.Config{RootCAs: roots, MaxVersion: c.version},
			}
			defer transport.CloseIdleConnections()
			got, err := transport.RoundTrip(signedRequest(t, "kms", "POST", "https://"+addr+"/", kmsHeader("Encrypt"), "{}", now))
			if err != nil {
				t.Fatal(err)
			}
			defer got.Body.Close()
			if got.StatusCode != 200 || got.Proto != c.protocol || !uuid4.MatchString(got.Header.Get("x-amzn-RequestId")) {
				t.Errorf("got %s %s %v", got.Proto, got.Status, got.Header)
			}
			calls := f.seen()
			if len(calls) != 1 {
				t.Fatalf("%d calls", len(calls))
			}
			if s := calls[0].Source; s.TLSVersion != c.tls || s.TLSCipher != c.cipher || s.Host != addr {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// TestMetrics checks the counts, and that clients cannot make labels.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	f := newFakeService(t)
	f.do = func(_ context.Context, c *service.Call) ([]byte, error) {
		if c.Operation == "DescribeKey" {
			return nil, &kms.Error{Code: "NotFoundException", Message: "x"}
		}
		if c.Operation == "EnableKey" {
			return nil, &kms.Error{Code: "SurpriseException", Message: "x"}
		}
		return nil, nil
	}
	addr := start(t, f, func(c *httpapi.Config) { c.Registerer = registry })
	for _, request := range []string{
		signedKMS(t, addr, "Encrypt", "{}"), signedKMS(t, addr, "Encrypt", "{}"), signedKMS(t, addr, "DescribeKey", "{}"), signedKMS(t, addr, "EnableKey", "{}"),
		head + "\r\n", signedKMS(t, addr, "Surprise", "{}"), "GET /surprise HTTP/1.1\r\nHost: kms\r\n\r\n", head + "Content-Length: 2000000\r\n\r\n",
		"GET " + strings.Replace(presigned, "20230501T", "20230502T", 1) + " HTTP/1.1\r\nHost: sts\r\n\r\n", "GET /livez HTTP/1.1\r\nHost: kms\r\n\r\n",
	} {
		send(t, addr, request)
	}
	w := httptest.NewRecorder()
	httpapi.MetricsHandler(registry).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var got []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "kmsd_http_requests") || strings.Contains(line, "duration_seconds_count") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`kmsd_http_request_duration_seconds_count{operation="DescribeKey"} 1`,
		`kmsd_http_request_duration_seconds_count{operation="EnableKey"} 1`,
		`kmsd_http_request_duration_seconds_count{operation="Encrypt"} 3`,
		`kmsd_http_request_duration_seconds_count{operation="GetCallerIdentity"} 1`,
		`kmsd_http_request_duration_seconds_count{operation="unknown"} 3`,
		`kmsd_http_requests_in_flight 0`,
		`kmsd_http_requests_total{code="MissingAuthenticationTokenException",operation="Encrypt"} 1`,
		`kmsd_http_requests_total{code="NotFoundException",operation="DescribeKey"} 1`,
		`kmsd_http_requests_total{code="OK",operation="Encrypt"} 2`,
		`kmsd_http_requests_total{code="RequestEntityTooLargeException",operation="unknown"} 1`,
		`kmsd_http_requests_total{code="SignatureDoesNotMatch",operation="GetCallerIdentity"} 1`,
		`kmsd_http_requests_total{code="UnknownOperationException",operation="unknown"} 2`,
		`kmsd_http_requests_total{code="unknown",operation="EnableKey"} 1`,
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	w = httptest.NewRecorder()
	httpapi.MetricsHandler(registry).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("GET / on the metrics listener: %d", w.Code)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := httpapi.New(httpapi.Config{}); err == nil {
		t.Error("an empty Config was accepted")
	}
	registry := prometheus.NewRegistry()
	cfg := httpapi.Config{Backend: newFakeService(t), Verifier: sigv4.NewVerifier(1), Logger: testLogger(t), Registerer: registry}
	if _, err := httpapi.New(cfg); err != nil {
		t.Error(err)
	}
	if _, err := httpapi.New(cfg); err == nil {
		t.Error("metrics were registered twice")
	}
}

// TestServeReportsTheListener checks that a listener which breaks is an error.
func TestServeReportsTheListener(t *testing.T) {
	t.Parallel()
	s := newServer(t, newFakeService(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Serve(l); err == nil {
		t.Error("Serve returned nil for a closed listener")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

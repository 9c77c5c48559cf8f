package apitls_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kmsd/kmsd/internal/apitls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clusterID = "11111111-1111-4111-8111-111111111111"
	nodeURI   = "kmsd://" + clusterID + "/node/aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa1"
	day       = 24 * time.Hour
)

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// bench is what a Source under test runs on.
type bench struct {
	t        testing.TB
	registry *prometheus.Registry
	ticks    chan time.Time

	mu  sync.Mutex
	now time.Time    // guarded by mu
	log bytes.Buffer // guarded by mu
}

func newBench(t testing.TB) *bench {
	return &bench{t: t, registry: prometheus.NewRegistry(), ticks: make(chan time.Time), now: epoch}
}

func (b *bench) config() apitls.Config {
	return apitls.Config{
		Logger:     slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer: b.registry, Now: b.clock, Ticks: b.ticks,
	}
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.Log(strings.TrimSpace(string(p)))
	return b.log.Write(p)
}

// logged returns the lines of the log that hold text, and forgets all.
func (b *bench) logged(text string) (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.log.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	b.log.Reset()
	return lines
}

// tick lets s.Run take one tick, and returns when it has done its work.
func (b *bench) tick(s *apitls.Source) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	select {
	case b.ticks <- time.Time{}:
	case <-time.After(20 * time.Second):
		b.t.Error("Run does not take ticks")
	}
	cancel()
	<-done
}

// metric returns the value of the one metric that has this name, and this label
// value unless it is empty.
func (b *bench) metric(name, label string) float64 {
	b.t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	b.t.Fatalf("no metric %s %s", name, label)
	return 0
}

// pair is a self-signed certificate and its key, PEM.
type pair struct {
	cert, key []byte
	leaf      *x509.Certificate
}

func newPair(t testing.TB, name string, from, to time.Time, usage ...x509.ExtKeyUsage) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: from, NotAfter: to, ExtKeyUsage: usage,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), leaf: leaf,
	}
}

// yearPair is valid for a year around the bench's time.
func yearPair(t testing.TB, name string) pair {
	return newPair(t, name, epoch.Add(-day), epoch.Add(365*day))
}

// paths are the two files.
type paths struct{ cert, key string }

func newPaths(t testing.TB) paths {
	dir := t.TempDir()
	return paths{filepath.Join(dir, "api.crt"), filepath.Join(dir, "api.key")}
}

func (p paths) write(t testing.TB, x pair) {
	t.Helper()
	write(t, p.cert, x.cert)
	write(t, p.key, x.key)
}

// write replaces a file as certificate tools do: by another one.
func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// shown returns the certificate that a client gets to see, or why there is no
// connection.
func shown(t testing.TB, s *apitls.Source, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.TLS())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 20 * time.Second}, Config: client}
	c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		l.Close()
		<-served
		return tls.ConnectionState{}, err
	}
	state := c.(*tls.Conn).ConnectionState()
	c.Close()
	<-served
	return state, nil
}

// name returns the name in the certificate that the source shows.
func name(t testing.TB, s *apitls.Source) string {
	t.Helper()
	state, err := shown(t, s, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0].DNSNames[0]
}

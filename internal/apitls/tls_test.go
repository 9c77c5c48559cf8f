package apitls_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/kmsd/kmsd/internal/apitls"
)

// trusting returns a client's configuration that knows a and nothing else.
func trusting(t testing.TB, a *apitls.Authority) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(apitls.EncodePEM(a.Certificate())) {
		t.Fatal("the authority's PEM is none")
	}
	return &tls.Config{RootCAs: roots}
}

// TestVersionsAndSuites lets clients ask for one version and one suite each.
func TestVersionsAndSuites(t *testing.T) {
	t.Parallel()
	b, a := newBench(t), newAuthority(t, epoch)
	s, err := apitls.FromAuthority(b.config(), (&state{t: t, a: a}).find, hosts(t, "127.0.0.1", "::1", "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		version uint16
		suite   uint16
		ok      bool
	}{
		{"TLS 1.3", tls.VersionTLS13, 0, true},
		{"TLS 1.2", tls.VersionTLS12, 0, true},
		{"TLS 1.1", tls.VersionTLS11, 0, false},
		{"TLS 1.0", tls.VersionTLS10, 0, false},
		{"AES-128-GCM", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, true},
		{"AES-256-GCM", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, true},
		{"ChaCha20-Poly1305", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, true},
		{"AES-128-CBC", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, false},
		{"AES-256-CBC", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, false},
		{"AES-128-CBC-SHA256", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, false},
		{"RC4", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := trusting(t, a)
			client.Time, client.MinVersion, client.MaxVersion = b.clock, tls.VersionTLS10, c.version
			if c.suite != 0 {
				client.CipherSuites = []uint16{c.suite}
			}
			state, err := shown(t, s, client)
			if (err == nil) != c.ok {
				t.Fatalf("got %v, want success: %v", err, c.ok)
			}
			if c.ok && (state.Version != c.version || c.suite != 0 && state.CipherSuite != c.suite) {
				t.Errorf("got %s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
			}
		})
	}
}

// TestSuites holds the list against what Go calls secure.
func TestSuites(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newPaths(t)
	p.write(t, yearPair(t, "a"))
	s := fromFiles(t, b, p)
	secure := map[uint16]bool{}
	for _, c := range tls.CipherSuites() {
		secure[c.ID] = !c.Insecure
	}
	got := s.TLS().CipherSuites
	for _, id := range got {
		if !secure[id] {
			t.Errorf("%s is not secure", tls.CipherSuiteName(id))
		}
	}
	if len(got) != 6 || s.TLS().MinVersion != tls.VersionTLS12 {
		t.Errorf("%d suites, from %s on", len(got), tls.VersionName(s.TLS().MinVersion))
	}
}

package apitls_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kmsd/kmsd/internal/apitls"
)

// state stands for the replicated state's record of the authority.
type state struct {
	t testing.TB

	mu     sync.Mutex
	a      *apitls.Authority // guarded by mu
	keyErr error             // guarded by mu
	opened [][]byte          // guarded by mu: the keys that were given out
}

func (s *state) find() ([]byte, func() ([]byte, error), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.a == nil {
		return nil, nil, errors.New("no authority yet")
	}
	a := s.a
	return a.Certificate(), func() ([]byte, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.keyErr != nil {
			return nil, s.keyErr
		}
		key, err := a.MarshalKey()
		s.opened = append(s.opened, key)
		return key, err
	}, nil
}

func (s *state) set(a *apitls.Authority, keyErr error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.a, s.keyErr = a, keyErr
}

// keys returns how often the key was opened, and checks that each was wiped.
func (s *state) keys() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.opened {
		if !bytes.Equal(k, make([]byte, len(k))) {
			s.t.Error("an opened key was not wiped")
		}
	}
	return len(s.opened)
}

func serial(t *testing.T, s *apitls.Source) string {
	t.Helper()
	if s.NotAfter().IsZero() {
		return ""
	}
	c, err := s.TLS().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.Text(16)
}

// TestRenewal follows an issued certificate through two lives, a new authority, a
// clock that is set back, and failures.
func TestRenewal(t *testing.T) {
	t.Parallel()
	b, st := newBench(t), &state{t: t, a: newAuthority(t, epoch.Add(-day))}
	s, err := apitls.FromAuthority(b.config(), st.find, hosts(t, "kms.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	last := serial(t, s)
	for _, c := range []struct {
		name    string
		do      func()
		renewed bool
	}{
		{"at once", func() {}, false},
		{"before half of its life", func() { b.advance(15*day - 2*time.Hour) }, false},
		{"after half of its life", func() { b.advance(2 * time.Hour) }, true},
		{"at once again", func() {}, false},
		{"half a life later, without the key", func() {
			st.set(st.a, errors.New("sealed"))
			b.advance(15 * day)
		}, false},
		{"with the key", func() { st.set(st.a, nil) }, true},
		{"a new authority", func() { st.set(newAuthority(t, b.clock()), nil) }, true},
		{"the clock set back a little", func() { b.advance(-30 * time.Minute) }, false},
		{"the clock set back before the certificate", func() { b.advance(-31 * time.Minute) }, false}, // nor is the authority valid then
		{"an older authority at that time", func() { st.set(newAuthority(t, epoch), nil) }, true},
		{"no authority", func() { st.set(nil, nil) }, false},
	} {
		c.do()
		b.tick(s)
		got := serial(t, s)
		if (got != last) != c.renewed {
			t.Errorf("%s: serial %s after %s, want another one: %v", c.name, got, last, c.renewed)
		}
		last = got
	}
	if n := st.keys(); n < 4 || n > 10 {
		t.Errorf("the key was opened %d times", n)
	}
	if lines := b.logged("sealed"); len(lines) != 1 {
		t.Errorf("a missing key was logged %d times: %q", len(lines), lines)
	}
	st.set(newAuthority(t, epoch), nil)
	if err := s.Reload(); err != nil || serial(t, s) == last {
		t.Errorf("Reload issued nothing: %v", err)
	}
}

// TestNoAuthorityYet starts a Source on a node whose state is still empty.
func TestNoAuthorityYet(t *testing.T) {
	t.Parallel()
	b, st := newBench(t), &state{t: t}
	s, err := apitls.FromAuthority(b.config(), st.find, hosts(t, "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shown(t, s, nil); err == nil || !s.NotAfter().IsZero() || b.metric("kmsd_api_certificate_expiry_timestamp_seconds", "") != 0 {
		t.Errorf("a handshake without a certificate: %v, until %v", err, s.NotAfter())
	}
	if lines := b.logged("no authority yet"); len(lines) != 1 {
		t.Errorf("logged %q", lines)
	}
	a := newAuthority(t, epoch)
	st.set(a, nil)
	b.tick(s)
	client := trusting(t, a)
	client.Time = b.clock
	if _, err := shown(t, s, client); err != nil {
		t.Error(err)
	}
}

func TestFromAuthorityRefuses(t *testing.T) {
	t.Parallel()
	st := &state{t: t, a: newAuthority(t, epoch)}
	for name, make := range map[string]func() (*apitls.Source, error){
		"no hosts": func() (*apitls.Source, error) {
			return apitls.FromAuthority(newBench(t).config(), st.find, apitls.Hosts{})
		},
		"no authority": func() (*apitls.Source, error) { return apitls.FromAuthority(newBench(t).config(), nil, hosts(t, "a")) },
	} {
		if _, err := make(); err == nil || !strings.Contains(err.Error(), "--api-name") {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg := newBench(t).config()
	for i, want := range []bool{true, false} {
		if _, err := apitls.FromAuthority(cfg, st.find, hosts(t, "a")); (err == nil) != want {
			t.Errorf("source %d on one registry: %v", i, err)
		}
	}
}

// TestIssuedChainIsNoNode checks what a peer on the cluster port would see.
func TestIssuedChainIsNoNode(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, epoch)
	c, err := a.Issue(hosts(t, "a"), epoch)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Leaf.Verify(x509.VerifyOptions{Roots: poolOf(t, a.Certificate()), CurrentTime: epoch, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err == nil || len(c.Leaf.URIs) != 0 {
		t.Errorf("an API certificate dials as a node: %v, URIs %v", err, c.Leaf.URIs)
	}
}

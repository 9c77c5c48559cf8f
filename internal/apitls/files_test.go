package apitls_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/internal/apitls"
)

func fromFiles(t testing.TB, b *bench, p paths) *apitls.Source {
	t.Helper()
	s, err := apitls.FromFiles(b.config(), p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFilesAtStart checks that what cannot be used ends the start, with the
// setting and the file in the error and no content of them.
func TestFilesAtStart(t *testing.T) {
	t.Parallel()
	good, other := yearPair(t, "a"), yearPair(t, "b")
	client := newPair(t, "c", epoch.Add(-day), epoch.Add(day), x509.ExtKeyUsageClientAuth)
	server := newPair(t, "d", epoch.Add(-day), epoch.Add(day), x509.ExtKeyUsageServerAuth)
	for _, c := range []struct {
		name      string
		cert, key []byte
		setting   string // "" for success
	}{
		{"a pair", good.cert, good.key, ""},
		{"a pair for servers", server.cert, server.key, ""},
		{"a chain", append(append([]byte(nil), good.cert...), other.cert...), good.key, ""},
		{"no certificate file", nil, good.key, "tls.cert"},
		{"no key file", good.cert, nil, "tls.key"},
		{"an empty certificate", []byte{}, good.key, "tls.cert"},
		{"an empty key", good.cert, []byte{}, "tls.key"},
		{"the key as certificate", good.key, good.key, "tls.cert"},
		{"another key", good.cert, other.key, "tls.key"},
		{"half a key", good.cert, good.key[:len(good.key)/2], "tls.key"},
		{"half a certificate", good.cert[:len(good.cert)/2], good.key, "tls.cert"},
		{"a certificate for clients", client.cert, client.key, "tls.cert"},
		{"a huge certificate", append(good.cert[:len(good.cert):len(good.cert)], make([]byte, 1<<20)...), good.key, "tls.cert"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPaths(t)
			if c.cert != nil {
				write(t, p.cert, c.cert)
			}
			if c.key != nil {
				write(t, p.key, c.key)
			}
			_, err := apitls.FromFiles(newBench(t).config(), p.cert, p.key)
			if c.setting == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			file := map[string]string{"tls.cert": p.cert, "tls.key": p.key}[c.setting]
			if err == nil || !strings.Contains(err.Error(), c.setting) || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v, want an error that names %s and %s", err, c.setting, file)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("the error shows a key: %v", err)
			}
		})
	}
	p := newPaths(t)
	if err := os.Mkdir(p.cert, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, p.key, good.key)
	if _, err := apitls.FromFiles(newBench(t).config(), p.cert, p.key); err == nil || !strings.Contains(err.Error(), p.cert) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := apitls.FromFiles(apitls.Config{}, p.cert, p.key); err == nil {
		t.Error("a Source without a Logger was made")
	}
}

// TestFilesChange replaces the pair in every order.
func TestFilesChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		steps func(t *testing.T, p paths, x pair, between func())
	}{
		{"certificate first", func(t *testing.T, p paths, x pair, between func()) {
			write(t, p.cert, x.cert)
			between()
			write(t, p.key, x.key)
		}},
		{"key first", func(t *testing.T, p paths, x pair, between func()) {
			write(t, p.key, x.key)
			between()
			write(t, p.cert, x.cert)
		}},
		{"removed first", func(t *testing.T, p paths, x pair, between func()) {
			if err := errors.Join(os.Remove(p.cert), os.Remove(p.key)); err != nil {
				t.Fatal(err)
			}
			between()
			p.write(t, x)
		}},
		{"in place, in two writes", func(t *testing.T, p paths, x pair, between func()) {
			if err := errors.Join(os.WriteFile(p.cert, x.cert[:40], 0o600), os.WriteFile(p.key, x.key, 0o600)); err != nil {
				t.Fatal(err)
			}
			between()
			if err := os.WriteFile(p.cert, x.cert, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"same time and size", func(t *testing.T, p paths, x pair, between func()) {
			for path, data := range map[string][]byte{p.cert: x.cert, p.key: x.key} {
				before, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path+".new", data, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path+".new", before.ModTime(), before.ModTime()); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(path+".new", path); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, p := newBench(t), newPaths(t)
			p.write(t, yearPair(t, "old"))
			s := fromFiles(t, b, p)
			b.tick(s)
			if got := b.metric("kmsd_api_certificate_renewals_total", "ok"); got != 1 {
				t.Errorf("%v readings of files that did not change, want 1", got)
			}
			b.logged("")
			c.steps(t, p, yearPair(t, "new"), func() {
				b.tick(s)
				b.tick(s)
				if got := name(t, s); got != "old" {
					t.Errorf("between the steps the certificate is %s", got)
				}
				if lines := b.logged("level=ERROR"); len(lines) != 1 {
					t.Errorf("a failure that stays was logged %d times", len(lines))
				}
				if got := b.metric("kmsd_api_certificate_renewals_total", "failed"); got != 2 {
					t.Errorf("%v failures counted, want 2", got)
				}
			})
			b.tick(s)
			if got := name(t, s); got != "new" {
				t.Errorf("the certificate is %s", got)
			}
			if lines := b.logged("level=INFO"); len(lines) != 1 {
				t.Errorf("the new certificate was logged %d times", len(lines))
			}
		})
	}
}

// TestFilesBehindALink changes the pair as Kubernetes does: one link, to another
// directory.
func TestFilesBehindALink(t *testing.T) {
	t.Parallel()
	b, dir := newBench(t), t.TempDir()
	for _, version := range []string{"old", "new"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		paths{filepath.Join(dir, version, "crt"), filepath.Join(dir, version, "key")}.write(t, yearPair(t, version))
	}
	link := filepath.Join(dir, "data")
	if err := os.Symlink("old", link); err != nil {
		t.Fatal(err)
	}
	s := fromFiles(t, b, paths{filepath.Join(link, "crt"), filepath.Join(link, "key")})
	if err := errors.Join(os.Symlink("new", link+".new"), os.Rename(link+".new", link)); err != nil {
		t.Fatal(err)
	}
	b.tick(s)
	if got := name(t, s); got != "new" {
		t.Errorf("the certificate is %s", got)
	}
}

// TestReload checks the answer to SIGHUP, and that a connection survives it.
func TestReload(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newPaths(t)
	p.write(t, yearPair(t, "old"))
	s := fromFiles(t, b, p)
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.TLS())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.Copy(c, c)
			c.Close()
		}
		served <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	echo := func() {
		t.Helper()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	echo()
	write(t, p.cert, []byte("broken"))
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), p.cert) {
		t.Errorf("Reload of a broken pair: %v", err)
	}
	echo()
	if got := name(t, s); got != "old" {
		t.Errorf("the certificate is %s", got)
	}
	if err := os.Remove(p.key); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Reload without a key: %v", err)
	}
	p.write(t, yearPair(t, "new"))
	if err := s.Reload(); err != nil {
		t.Error(err)
	}
	echo()
	if got := name(t, s); got != "new" {
		t.Errorf("the certificate is %s", got)
	}
	if lines := b.logged("level=ERROR"); len(lines) != 0 {
		t.Errorf("Reload returned its errors and logged them: %q", lines)
	}
	c.Close()
	if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestFilesOutOfTime checks that an expired or a future pair never replaces a
// valid one, and is better than nothing.
func TestFilesOutOfTime(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newPaths(t)
	p.write(t, newPair(t, "expired", epoch.Add(-2*day), epoch.Add(-day)))
	s := fromFiles(t, b, p)
	if lines := b.logged("has expired"); name(t, s) != "expired" || len(lines) != 1 {
		t.Errorf("got %q", lines)
	}
	p.write(t, newPair(t, "valid", epoch.Add(-day), epoch.Add(60*day)))
	b.tick(s)
	p.write(t, newPair(t, "expired", epoch.Add(-2*day), epoch.Add(-day)))
	b.tick(s)
	if lines := b.logged("is valid from"); name(t, s) != "valid" || len(lines) != 1 {
		t.Errorf("%s replaced a valid certificate; logged %q", name(t, s), lines)
	}
	p.write(t, newPair(t, "future", epoch.Add(2*time.Hour), epoch.Add(90*day)))
	b.tick(s)
	if got := name(t, s); got != "valid" {
		t.Errorf("%s replaced a valid certificate", got)
	}
	b.advance(2 * time.Hour)
	b.tick(s)
	if got := name(t, s); got != "future" {
		t.Errorf("the certificate is %s, though the new one is valid", got)
	}
}

// TestExpiry checks the metric, and the warnings from 14 days before the end on.
func TestExpiry(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newPaths(t)
	end := epoch.Add(15 * day)
	p.write(t, newPair(t, "a", epoch.Add(-day), end))
	s := fromFiles(t, b, p)
	if got := b.metric("kmsd_api_certificate_expiry_timestamp_seconds", ""); got != float64(end.Unix()) || !s.NotAfter().Equal(end) {
		t.Errorf("expiry %v and %v, want %v", got, s.NotAfter(), end)
	}
	b.logged("")
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, ""},
		{day - time.Second, ""},
		{time.Second, "expires soon"},
		{time.Hour, ""}, // said today
		{day - time.Hour, "expires soon"},
		{12 * day, "expires soon"},
		{day + time.Second, "has expired"},
		{time.Hour, ""},
		{day, "has expired"},
	} {
		b.advance(c.after)
		b.tick(s)
		lines := b.logged("level=")
		if c.want == "" && len(lines) != 0 || c.want != "" && (len(lines) != 1 || !strings.Contains(lines[0], c.want)) {
			t.Errorf("at %v: logged %q, want %q", b.clock(), lines, c.want)
		}
	}
	p.write(t, newPair(t, "a", epoch, epoch.Add(300*day)))
	b.tick(s)
	if got, want := b.metric("kmsd_api_certificate_expiry_timestamp_seconds", ""), float64(epoch.Add(300*day).Unix()); got != want {
		t.Errorf("expiry %v, want %v", got, want)
	}
}

func TestReadableKey(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newPaths(t)
	p.write(t, yearPair(t, "a"))
	s := fromFiles(t, b, p)
	if lines := b.logged("can read"); len(lines) != 0 {
		t.Errorf("logged %q", lines)
	}
	if err := os.Chmod(p.key, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if lines := b.logged("can read"); len(lines) != 1 {
		t.Errorf("logged %q", lines)
	}
}

// TestRunAlone checks on a fake clock that Run looks every two seconds when nobody
// gives it ticks.
func TestRunAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, p := newBench(t), newPaths(t)
		p.write(t, yearPair(t, "old"))
		cfg := b.config()
		cfg.Ticks = nil
		looked := make(chan struct{}, 10)
		cfg.Now = func() time.Time {
			looked <- struct{}{}
			return epoch
		}
		s, err := apitls.FromFiles(cfg, p.cert, p.key)
		if err != nil {
			t.Fatal(err)
		}
		<-looked // the start
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Run(t.Context())
		}()
		t.Cleanup(func() { <-done })
		begin := time.Now()
		<-looked
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("Run looked after %v, want 2 s", took)
		}
	})
}

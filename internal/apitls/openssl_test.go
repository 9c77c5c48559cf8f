//go:build openssl

package apitls_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kmsd/kmsd/internal/apitls"
)

// TestOtherImplementation lets OpenSSL judge a chain, as strictly as Python 3.13
// makes it do by default.
func TestOtherImplementation(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, time.Now())
	cert, err := a.Issue(hosts(t, "kms.example.com", "10.1.2.3"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ca, leaf := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "leaf.pem")
	for path, der := range map[string][]byte{ca: a.Certificate(), leaf: cert.Certificate[0]} {
		if err := os.WriteFile(path, apitls.EncodePEM(der), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := func(name string) ([]byte, error) {
		return exec.Command("openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", name, "-CAfile", ca, leaf).CombinedOutput()
	}
	if out, err := verify("kms.example.com"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := verify("example.com"); err == nil {
		t.Errorf("another name: %s", out)
	}
}

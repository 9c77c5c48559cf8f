//go:build openssl

package attestation_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// TestOpenSSLOpens lets OpenSSL decrypt what was sealed.
func TestOpenSSLOpens(t *testing.T) {
	t.Parallel()
	e := testkit.NewEnclave(t, at)
	d, err := e.Roots(t).Verify(e.Document(t, at), at)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(e.Key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "enclave.key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 16, 32, 4096} {
		plaintext := bytes.Repeat([]byte{7}, n)
		sealed, err := d.Seal(plaintext)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-inkey", path)
		var problem bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(sealed), &problem
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%d bytes came back as %x, %v: %s", n, got, err, problem.String())
		}
	}
}

package crypto_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
)

// planted is what must not be found in any output.
var planted = []byte("ThisIsThePlantedSecretOf32Bytes!")

// leaks tells in which form the planted secret stands in s.
func leaks(s string) string {
	for form, needle := range map[string]string{
		"raw":     string(planted),
		"hex":     hex.EncodeToString(planted),
		"HEX":     strings.ToUpper(hex.EncodeToString(planted)),
		"base64":  base64.RawStdEncoding.EncodeToString(planted)[:40],
		"decimal": strings.Trim(fmt.Sprint(planted), "[]"),
		"go":      strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", planted), "[]byte{"), "}"),
	} {
		if strings.Contains(s, needle) {
			return form
		}
	}
	return ""
}

// secretHolders are values that hold the planted secret in every type that can.
func secretHolders(t *testing.T) map[string]any {
	t.Helper()
	root, err := crypto.ParseRoot(bytes.Clone(planted))
	if err != nil {
		t.Fatal(err)
	}
	material, err := crypto.OpenMaterial(uuidKey, bytes.Clone(planted))
	if err != nil {
		t.Fatal(err)
	}
	secret := crypto.NewSecret(bytes.Clone(planted))
	private, mac := plantedEd25519(t), openMAC(t, "HMAC_256", planted)
	type nested struct {
		exported int
		secret   crypto.Secret
		root     *crypto.Root
		material *crypto.Material
		keyring  *crypto.Keyring
		private  *crypto.PrivateKey
		mac      *crypto.MACKey
	}
	keyring := crypto.NewKeyring("cluster", root)
	return map[string]any{
		"Secret":         secret,
		"*Secret":        &secret,
		"*Root":          root,
		"Root":           *root,
		"*Material":      material,
		"*Keyring":       keyring,
		"*PrivateKey":    private,
		"*MACKey":        mac,
		"unexported":     nested{1, secret, root, material, keyring, private, mac},
		"*unexported":    &nested{1, secret, root, material, keyring, private, mac},
		"exported field": struct{ Secret crypto.Secret }{secret},
		"slice":          []any{secret, root, material, private, mac},
		"map":            map[string]any{"k": secret, "r": root},
	}
}

// plantedEd25519 is the key whose seed is the planted secret.
func plantedEd25519(t *testing.T) *crypto.PrivateKey {
	t.Helper()
	key := ed25519.NewKeyFromSeed(planted)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return keyFixture{secret, public}.open(t, "ECC_NIST_EDWARDS25519")
}

func TestSecretsRedactThemselves(t *testing.T) {
	t.Parallel()
	for name, value := range secretHolders(t) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "% x", "%s", "%q", "%d", "%c", "%U"} {
			if got := fmt.Sprintf(verb, value); leaks(got) != "" {
				t.Errorf("%s with %s leaks as %s: %s", name, verb, leaks(got), got)
			}
		}
		if got, err := json.Marshal(value); err == nil && leaks(string(got)) != "" {
			t.Errorf("%s as JSON leaks: %s", name, got)
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "value", value)
		if form := leaks(out.String()); form != "" {
			t.Errorf("%s in a log leaks as %s: %s", name, form, out.String())
		}
	}
}

// The search must be able to find what it searches for.
func TestLeaksFindsEveryForm(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%#v", "%x", "%X", "%s", "%q"} {
		if leaks(fmt.Sprintf(verb, planted)) == "" {
			t.Errorf("the secret printed with %s is not found", verb)
		}
	}
	if j, _ := json.Marshal(planted); leaks(string(j)) == "" {
		t.Error("the secret in JSON is not found")
	}
}

func TestSecretPrintsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	const want = "[redacted]"
	s := crypto.NewSecret(bytes.Clone(planted))
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{
		"String": s.String(), "GoString": s.GoString(), "Format": fmt.Sprintf("%#v", s), "MarshalText": string(text),
		"MarshalJSON": strings.Trim(string(j), `"`), "LogValue": s.LogValue().String(),
	} {
		if got != want {
			t.Errorf("%s gives %q, want %q", name, got, want)
		}
	}
}

func TestSecretBytesEqualWipe(t *testing.T) {
	t.Parallel()
	s := crypto.NewSecret([]byte{1, 2, 3})
	same := s
	if !s.Equal([]byte{1, 2, 3}) || s.Equal([]byte{1, 2, 4}) || s.Equal([]byte{1, 2}) || s.Len() != 3 {
		t.Error("Equal or Len is wrong")
	}
	s.Wipe()
	if !bytes.Equal(same.Bytes(), []byte{0, 0, 0}) {
		t.Errorf("after Wipe a copy holds %x", same.Bytes())
	}
	var zero crypto.Secret
	zero.Wipe()
	if zero.Bytes() != nil || !zero.Equal(nil) || zero.Equal([]byte{0}) {
		t.Error("the zero Secret is not empty")
	}
}

func TestRandom(t *testing.T) {
	t.Parallel()
	a, b := crypto.Random(32), crypto.Random(32)
	if len(a) != 32 || bytes.Equal(a, b) || bytes.Equal(a, make([]byte, 32)) {
		t.Errorf("Random gave %x and %x", a, b)
	}
	if got := crypto.Random(0); len(got) != 0 {
		t.Errorf("Random(0) gave %d bytes", len(got))
	}
}

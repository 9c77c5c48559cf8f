package canary_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/kmsd/kmsd/internal/canary"
)

// TestPartsOfPrivateKeys finds what a program might have written of a key.
func TestPartsOfPrivateKeys(t *testing.T) {
	t.Parallel()
	ofRSA, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	ofECC, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	check(t, err)
	scalar, err := ofECC.Bytes()
	check(t, err)
	_, ofEd, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	for _, c := range []struct {
		name  string
		key   any
		texts []string
	}{
		{"RSA", ofRSA, []string{
			fmt.Sprint(ofRSA.Primes[0]), fmt.Sprintf("%x", ofRSA.Primes[1]), fmt.Sprintf("%X", ofRSA.D), string(ofRSA.Primes[1].Bytes()), fmt.Sprint(ofRSA.D),
			fmt.Sprint(ofRSA.Precomputed.Dp), fmt.Sprint(ofRSA.Precomputed.Dq), fmt.Sprintf("%x", ofRSA.Precomputed.Qinv),
		}},
		{"ECC", ofECC, []string{string(scalar), fmt.Sprintf("%x", scalar)}},
		{"Ed25519", ofEd, []string{string(ofEd), fmt.Sprint([]byte(ofEd)), string(ofEd.Seed())}},
	} {
		der, err := x509.MarshalPKCS8PrivateKey(c.key)
		check(t, err)
		canaries := canary.PrivateKey(c.name, der)
		for i, text := range append(c.texts, string(der)) {
			if len(canary.Search("text", []byte("before "+text+" behind"), canaries...)) == 0 {
				t.Errorf("%s: text %d was not found", c.name, i)
			}
		}
	}
}

// TestPartsOfOtherKeys: a scalar that crypto/x509 does not read, and a seed behind a head.
func TestPartsOfOtherKeys(t *testing.T) {
	t.Parallel()
	secret := bytes.Repeat([]byte("0123456789abcdef"), 2)
	for name, key := range map[string][]byte{
		"scalar": bytes.Join([][]byte{{0x30, 0x84, 2, 1, 1, 4, 32}, secret, bytes.Repeat([]byte{7}, 70)}, nil),
		"seed":   append([]byte{0x30, 0x34, 2, 1, 0}, secret...),
		"bare":   secret,
	} {
		if len(canary.Search("text", secret, canary.PrivateKey(name, key)...)) == 0 {
			t.Errorf("the %s was not found", name)
		}
	}
}

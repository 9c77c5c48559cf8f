package crypto_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kmsd/kmsd/crypto"
)

// What parses as a public key of any spec encodes to the same bytes.
func FuzzParsePublicKey(f *testing.F) {
	for i, spec := range asymmetricSpecs {
		f.Add(uint8(i), []byte(fixture(f, spec).Public))
	}
	f.Fuzz(func(t *testing.T, i uint8, der []byte) {
		key, err := crypto.ParsePublicKey(asymmetricSpecs[int(i)%len(asymmetricSpecs)], der)
		switch {
		case err != nil && !errors.Is(err, crypto.ErrPublicKey):
			t.Errorf("another error: %v", err)
		case err == nil && !bytes.Equal(key.DER(), der):
			t.Errorf("%x encodes to %x", der, key.DER())
		}
	})
}

// What is no peer of the curve has one error and no secret.
func FuzzDeriveSharedSecret(f *testing.F) {
	key := openFixture(f, "ECC_NIST_P256")
	f.Add([]byte(fixture(f, "ECC_NIST_P256").Public))
	f.Add([]byte(fixture(f, "ECC_NIST_P384").Public))
	f.Fuzz(func(t *testing.T, peer []byte) {
		secret, err := key.DeriveSharedSecret(peer)
		if err != nil && (err != crypto.ErrPublicKey || secret != nil) || err == nil && len(secret) != 32 {
			t.Errorf("got %x, %v", secret, err)
		}
	})
}

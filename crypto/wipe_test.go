package crypto_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

func TestWipedKeysPanic(t *testing.T) {
	t.Parallel()
	for _, spec := range asymmetricSpecs {
		key := openFixture(t, spec)
		public := key.Public()
		key.Wipe()
		key.Wipe() // a second time does nothing
		for name, use := range map[string]func(){
			"Sign": func() {
				for _, alg := range spec.SigningAlgorithms() {
					_, _ = key.Sign(alg, kms.MessageRaw, nil)
					_, _ = key.Sign(alg, kms.MessageDigest, make([]byte, 64))
				}
				for _, alg := range spec.EncryptionAlgorithms() {
					_, _ = key.Decrypt(alg, nil)
				}
				_, _ = key.DeriveSharedSecret(nil)
			},
			"DeriveSharedSecret": func() { _, _ = key.DeriveSharedSecret(nil) },
			"Decapsulate":        func() { _, _ = key.Decapsulate(nil) },
		} {
			if !panics(use) {
				t.Errorf("%s: %s after Wipe did not panic", spec, name)
			}
		}
		if !bytes.Equal(public.DER(), key.Public().DER()) {
			t.Errorf("%s: the public key is gone", spec)
		}
		parsePublic(t, spec, public.DER())
	}
}

// Wiping a key leaves no number of it that this package can reach.
func TestWipeOverwrites(t *testing.T) {
	t.Parallel()
	for _, spec := range []kms.KeySpec{"RSA_2048", "ECC_NIST_P256", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519"} {
		key := openFixture(t, spec)
		numbers := crypto.PrivateNumbers(key)
		if len(numbers()) == 0 || allZero(numbers()) {
			t.Fatalf("%s: the key's numbers are not found", spec)
		}
		key.Wipe()
		if !allZero(numbers()) {
			t.Errorf("%s: after Wipe the numbers are %x", spec, numbers())
		}
	}
}

// Who keeps the public half keeps nothing of the private one: what Wipe cannot overwrite
// is freed.
func TestPublicKeysDoNotHoldPrivateOnes(t *testing.T) {
	t.Parallel()
	for _, spec := range asymmetricSpecs {
		key := openFixture(t, spec)
		public, freed := key.Public(), crypto.WatchPrivate(key)
		key.Wipe()
		key = nil
		deadline := time.After(30 * time.Second)
		for waiting := true; waiting; {
			runtime.GC()
			select {
			case <-freed:
				waiting = false
			case <-deadline:
				t.Fatalf("%s: the private key is still in memory", spec)
			default:
			}
		}
		if len(public.DER()) == 0 {
			t.Errorf("%s: the public key is gone", spec)
		}
	}
}

func allZero(numbers [][]byte) bool {
	for _, n := range numbers {
		if !bytes.Equal(n, make([]byte, len(n))) {
			return false
		}
	}
	return true
}

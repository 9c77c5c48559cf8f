package crypto_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// The largest plaintexts in bytes (AWS: Encrypt, Plaintext).
var oaepLimits = map[kms.KeySpec]map[kms.EncryptionAlgorithm]int{
	"RSA_2048": {"RSAES_OAEP_SHA_1": 214, "RSAES_OAEP_SHA_256": 190},
	"RSA_3072": {"RSAES_OAEP_SHA_1": 342, "RSAES_OAEP_SHA_256": 318},
	"RSA_4096": {"RSAES_OAEP_SHA_1": 470, "RSAES_OAEP_SHA_256": 446},
}

func TestOAEP(t *testing.T) {
	t.Parallel()
	for spec, limits := range oaepLimits {
		key := openFixture(t, spec)
		public := parsePublic(t, spec, key.Public().DER())
		for alg, limit := range limits {
			if got := public.MaxPlaintext(alg); got != limit {
				t.Errorf("%s %s: MaxPlaintext %d, want %d", spec, alg, got, limit)
			}
			for _, size := range []int{0, 1, 32, limit - 1, limit} {
				plaintext := bytes.Repeat([]byte{7}, size)
				ciphertext, err := public.Encrypt(alg, plaintext)
				if err != nil || len(ciphertext) != signatureSizes[spec] {
					t.Fatalf("%s %s: %d bytes: a ciphertext of %d, %v", spec, alg, size, len(ciphertext), err)
				}
				if got, err := key.Decrypt(alg, ciphertext); err != nil || !bytes.Equal(got, plaintext) {
					t.Errorf("%s %s: got %x, %v, want %x", spec, alg, got, err, plaintext)
				}
			}
			for _, size := range []int{limit + 1, 4096} {
				if _, err := public.Encrypt(alg, make([]byte, size)); !errors.Is(err, crypto.ErrPlaintextTooLarge) {
					t.Errorf("%s %s: %d bytes: %v", spec, alg, size, err)
				}
			}
		}
	}
}

func TestOAEPRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	key, other := openFixture(t, "RSA_2048"), generate(t, "RSA_2048").open(t, "RSA_2048")
	for alg, otherAlg := range map[kms.EncryptionAlgorithm]kms.EncryptionAlgorithm{
		"RSAES_OAEP_SHA_1": "RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_256": "RSAES_OAEP_SHA_1",
	} {
		ciphertext, err := key.Public().Encrypt(alg, []byte("plaintext"))
		if err != nil {
			t.Fatal(err)
		}
		refuse := func(name string, key *crypto.PrivateKey, alg kms.EncryptionAlgorithm, ciphertext []byte) {
			t.Helper()
			if got, err := key.Decrypt(alg, ciphertext); err != crypto.ErrCiphertext || got != nil {
				t.Errorf("%s: %s: %x, %v", alg, name, got, err)
			}
		}
		refuse("another key", other, alg, ciphertext)
		refuse("another hash", key, otherAlg, ciphertext)
		refuse("nothing", key, alg, nil)
		refuse("a byte less", key, alg, ciphertext[:255])
		refuse("a byte less in front", key, alg, ciphertext[1:])
		refuse("a zero in front", key, alg, append([]byte{0}, ciphertext...))
		refuse("a zero behind", key, alg, append(bytes.Clone(ciphertext), 0))
		refuse("zeros", key, alg, make([]byte, 256))
		refuse("more than the modulus", key, alg, bytes.Repeat([]byte{0xff}, 256))
		for at := range ciphertext {
			changed := bytes.Clone(ciphertext)
			changed[at] ^= 1
			refuse("a flipped bit", key, alg, changed)
		}
	}
}

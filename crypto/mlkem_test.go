package crypto_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// mlkemCiphertexts are the sizes of ciphertexts in bytes (FIPS 203 §8, table 3).
var mlkemCiphertexts = map[kms.KeySpec]int{"ML_KEM_512": 768, "ML_KEM_768": 1088, "ML_KEM_1024": 1568}

func encapsulate(t testing.TB, k *crypto.PublicKey) (secret, ciphertext []byte) {
	t.Helper()
	secret, ciphertext, err := k.Encapsulate()
	if err != nil {
		t.Fatal(err)
	}
	return secret, ciphertext
}

func decapsulate(t testing.TB, k *crypto.PrivateKey, ciphertext []byte) []byte {
	t.Helper()
	secret, err := k.Decapsulate(ciphertext)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestMLKEM(t *testing.T) {
	t.Parallel()
	for spec, size := range mlkemCiphertexts {
		f := fixture(t, spec)
		key, other := f.open(t, spec), openFixture(t, spec)
		public := parsePublic(t, spec, f.Public)
		secret, ciphertext := encapsulate(t, public)
		if len(secret) != 32 || len(ciphertext) != size {
			t.Errorf("%s: %d and %d bytes, want 32 and %d", spec, len(secret), len(ciphertext), size)
		}
		if again, _ := encapsulate(t, public); bytes.Equal(again, secret) {
			t.Errorf("%s: two encapsulations are the same", spec)
		}
		if got := decapsulate(t, key, ciphertext); !bytes.Equal(got, secret) {
			t.Errorf("%s: got %x, want %x", spec, got, secret)
		}
		// Implicit rejection: other bytes, the same for the same ciphertext.
		if got := decapsulate(t, other, ciphertext); len(got) != 32 || bytes.Equal(got, secret) {
			t.Errorf("%s: another key gives %x", spec, got)
		}
		for _, at := range []int{0, 1, size / 2, size - 1} {
			changed := bytes.Clone(ciphertext)
			changed[at] ^= 1
			got := decapsulate(t, key, changed)
			if len(got) != 32 || bytes.Equal(got, secret) || !bytes.Equal(got, decapsulate(t, key, changed)) {
				t.Errorf("%s: a ciphertext changed at %d gives %x", spec, at, got)
			}
		}
		for _, wrong := range [][]byte{nil, ciphertext[:size-1], append(bytes.Clone(ciphertext), 0)} {
			if got, err := key.Decapsulate(wrong); !errors.Is(err, crypto.ErrCiphertext) || got != nil {
				t.Errorf("%s: %d bytes: %x, %v", spec, len(wrong), got, err)
			}
		}
	}
}

// circl's ML-KEM-768 and 1024 are of other authors than crypto/mlkem's.
func TestMLKEMAgreesWithAnother(t *testing.T) {
	t.Parallel()
	for spec, scheme := range map[kms.KeySpec]kem.Scheme{"ML_KEM_768": mlkem768.Scheme(), "ML_KEM_1024": mlkem1024.Scheme()} {
		f := fixture(t, spec)
		key := f.open(t, spec)
		public, private := scheme.DeriveKeyPair(f.Secret)
		if raw, err := public.MarshalBinary(); err != nil || !bytes.Equal(raw, f.Public[22:]) {
			t.Fatalf("%s: the public keys differ", spec)
		}
		secret, ciphertext := encapsulate(t, key.Public())
		if got, err := scheme.Decapsulate(private, ciphertext); err != nil || !bytes.Equal(got, secret) {
			t.Errorf("%s: circl decapsulates %x, %v, want %x", spec, got, err, secret)
		}
		ciphertext, secret, err := scheme.Encapsulate(public)
		if err != nil {
			t.Fatal(err)
		}
		if got := decapsulate(t, key, ciphertext); !bytes.Equal(got, secret) {
			t.Errorf("%s: got %x, circl encapsulated %x", spec, got, secret)
		}
		ciphertext[5] ^= 1
		want, err := scheme.Decapsulate(private, ciphertext)
		if err != nil {
			t.Fatal(err)
		}
		if got := decapsulate(t, key, ciphertext); !bytes.Equal(got, want) {
			t.Errorf("%s: an altered ciphertext gives %x, circl's %x", spec, got, want)
		}
	}
}

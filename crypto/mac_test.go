package crypto_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// macSizes are the sizes of keys and MACs in bytes.
var macSizes = map[kms.KeySpec]int{"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}

func openMAC(t testing.TB, spec kms.KeySpec, secret []byte) *crypto.MACKey {
	t.Helper()
	key, err := crypto.OpenMACKey(spec, bytes.Clone(secret))
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return key
}

// RFC 4231's test cases whose keys are of a size that a KMS key may have. Its keys of 4,
// 20 and 25 bytes are too short, those of 131 too long; Wycheproof has the sizes between.
func TestHMACVectors(t *testing.T) {
	t.Parallel()
	// Case 1, whose key 0b… of 20 bytes HMAC pads with zeros: the same key with the zeros
	// (RFC 2104 §2).
	key := append(bytes.Repeat([]byte{0x0b}, 20), make([]byte, 44)...)
	for spec, want := range map[kms.KeySpec]string{
		"HMAC_224": "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22",
		"HMAC_256": "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
		"HMAC_384": "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
		"HMAC_512": "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
	} {
		got, err := openMAC(t, spec, key).MAC(spec.MacAlgorithms()[0], []byte("Hi There"))
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s: got %x, %v, want %s", spec, got, err, want)
		}
	}
}

func TestMAC(t *testing.T) {
	t.Parallel()
	for spec, size := range macSizes {
		key, alg := openMAC(t, spec, generate(t, spec).Secret), spec.MacAlgorithms()[0]
		if key.Spec() != spec {
			t.Errorf("spec %s, want %s", key.Spec(), spec)
		}
		message := []byte("message")
		mac, err := key.MAC(alg, message)
		if err != nil || len(mac) != size {
			t.Fatalf("%s: a MAC of %d bytes, %v, want %d", spec, len(mac), err, size)
		}
		verify := func(message, mac []byte, want error) {
			t.Helper()
			if err := key.VerifyMAC(alg, message, mac); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", spec, err, want)
			}
		}
		verify(message, mac, nil)
		verify(message[1:], mac, crypto.ErrMAC)
		verify(message, nil, crypto.ErrMAC)
		verify(message, append(bytes.Clone(mac), 0), crypto.ErrMAC)
		everyPrefix(mac, func(cut []byte) { verify(message, cut, crypto.ErrMAC) })
		everyFlip(mac, func(_ int, changed []byte) { verify(message, changed, crypto.ErrMAC) })
		for _, other := range []kms.MacAlgorithm{"HMAC_SHA_224", "HMAC_SHA_256", "HMAC_SHA_384", "HMAC_SHA_512", "HMAC_SHA_1", ""} {
			if other == alg {
				continue
			}
			if _, err := key.MAC(other, message); !errors.Is(err, crypto.ErrAlgorithm) {
				t.Errorf("%s made %q: %v", spec, other, err)
			}
			if err := key.VerifyMAC(other, message, mac); !errors.Is(err, crypto.ErrAlgorithm) {
				t.Errorf("%s verified %q: %v", spec, other, err)
			}
		}
	}
}

// Keys have from the size of the hash to 1,024 bits.
func TestMACKeySizes(t *testing.T) {
	t.Parallel()
	for spec, size := range macSizes {
		for n := range 200 {
			secret := bytes.Repeat([]byte{0xff}, n)
			_, err := crypto.OpenMACKey(spec, secret)
			var want error
			if n < size || n > 128 {
				want = crypto.ErrPrivateKey
			}
			if !errors.Is(err, want) {
				t.Errorf("%s with %d bytes: %v, want %v", spec, n, err, want)
			}
			if !bytes.Equal(secret, make([]byte, n)) {
				t.Errorf("%s with %d bytes: the secret was left", spec, n)
			}
		}
	}
	for _, spec := range []kms.KeySpec{"RSA_2048", "SYMMETRIC_DEFAULT", "HMAC_1", ""} {
		if _, err := crypto.OpenMACKey(spec, make([]byte, 64)); !errors.Is(err, crypto.ErrKeySpec) {
			t.Errorf("%q: %v", spec, err)
		}
	}
}

func TestWipedMACKeyPanics(t *testing.T) {
	t.Parallel()
	key := openMAC(t, "HMAC_256", make([]byte, 32))
	key.Wipe()
	if !panics(func() { _, _ = key.MAC("HMAC_SHA_256", nil) }) {
		t.Error("MAC after Wipe did not panic")
	}
}

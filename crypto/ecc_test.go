package crypto_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

func TestDeriveSharedSecret(t *testing.T) {
	t.Parallel()
	for spec, size := range map[kms.KeySpec]int{"ECC_NIST_P256": 32, "ECC_NIST_P384": 48, "ECC_NIST_P521": 66} {
		f, g := fixture(t, spec), generate(t, spec)
		ours, err := f.open(t, spec).DeriveSharedSecret(g.Public)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := g.open(t, spec).DeriveSharedSecret(f.Public)
		if err != nil || !bytes.Equal(ours, theirs) || len(ours) != size {
			t.Errorf("%s: %x and %x, %v, want %d bytes", spec, ours, theirs, err, size)
		}
		refuse := func(name string, peer []byte) {
			t.Helper()
			if got, err := f.open(t, spec).DeriveSharedSecret(peer); !errors.Is(err, crypto.ErrPublicKey) || got != nil {
				t.Errorf("%s: %s: %x, %v", spec, name, got, err)
			}
		}
		refuse("nothing", nil)
		refuse("a trailing byte", append(bytes.Clone(g.Public), 0))
		refuse("a byte less", g.Public[:len(g.Public)-1])
		refuse("only the point", g.Public[len(g.Public)-2*size-1:])
		everyFlip(g.Public, func(_ int, changed []byte) { refuse("a flipped bit", changed) })
		for _, other := range asymmetricSpecs {
			if other != spec {
				refuse(string(other), fixture(t, other).Public)
			}
		}
	}
	edwards := openFixture(t, "ECC_NIST_EDWARDS25519")
	if _, err := edwards.DeriveSharedSecret(edwards.Public().DER()); !errors.Is(err, crypto.ErrAlgorithm) {
		t.Errorf("Ed25519: %v", err)
	}
	koblitz := openFixture(t, "ECC_SECG_P256K1")
	if _, err := koblitz.DeriveSharedSecret(koblitz.Public().DER()); !errors.Is(err, crypto.ErrAlgorithm) {
		t.Errorf("secp256k1: %v", err)
	}
}

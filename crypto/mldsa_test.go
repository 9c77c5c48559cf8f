package crypto_test

import (
	"bytes"
	"crypto/sha3"
	"math/rand/v2"
	"testing"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/pki"
	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// mu is FIPS 204, algorithm 7, line 6, of algorithm 2's M' with an empty context:
// SHAKE256(SHAKE256(pk, 64) ‖ 0 ‖ 0 ‖ message, 64).
func mu(public, message []byte) []byte {
	return internalMu(public, append([]byte{0, 0}, message...))
}

// internalMu is line 6 of algorithm 7 itself, with M'.
func internalMu(public, message []byte) []byte {
	return sha3.SumSHAKE256(append(sha3.SumSHAKE256(public, 64), message...), 64)
}

// mldsaPeers are circl's implementations, of other authors.
var mldsaPeers = map[kms.KeySpec]sign.Scheme{
	"ML_DSA_44": mldsa44.Scheme(), "ML_DSA_65": mldsa65.Scheme(), "ML_DSA_87": mldsa87.Scheme(),
}

func TestMLDSAAgreesWithAnother(t *testing.T) {
	t.Parallel()
	for spec, scheme := range mldsaPeers {
		f := fixture(t, spec)
		key := f.open(t, spec)
		public, private := scheme.DeriveKey(f.Secret)
		if raw, err := public.MarshalBinary(); err != nil || string(raw) != string(f.Public[22:]) {
			t.Fatalf("%s: the public keys differ", spec)
		}
		for i := range 20 {
			message := make([]byte, i*i)
			ours := signAlternately(t, key, message, i)
			if !scheme.Verify(public, message, ours, nil) {
				t.Errorf("%s: circl refuses a signature of %d bytes", spec, len(message))
			}
			theirs := scheme.Sign(private, message, nil)
			if err := key.Public().Verify("ML_DSA_SHAKE_256", "RAW", message, theirs); err != nil {
				t.Errorf("%s: circl's signature of %d bytes: %v", spec, len(message), err)
			}
			if err := key.Public().Verify("ML_DSA_SHAKE_256", "EXTERNAL_MU", mu(f.Public[22:], message), theirs); err != nil {
				t.Errorf("%s: circl's signature of %d bytes by μ: %v", spec, len(message), err)
			}
		}
	}
}

// circl reads kmsd's encodings of both halves and writes the same public one.
func TestMLDSAEncodingsAgreeWithAnothers(t *testing.T) {
	t.Parallel()
	for spec, scheme := range mldsaPeers {
		f := fixture(t, spec)
		want, _ := scheme.DeriveKey(f.Secret)
		if public, err := pki.UnmarshalPKIXPublicKey(f.Public); err != nil || !want.Equal(public) {
			t.Errorf("%s: circl reads another public key, %v", spec, err)
		}
		if der, err := pki.MarshalPKIXPublicKey(want); err != nil || !bytes.Equal(der, f.Public) {
			t.Errorf("%s: circl writes the public key %x, %v, want %x", spec, der, err, f.Public)
		}
		der, err := crypto.MarshalPKCS8(spec, f.Secret)
		if err != nil {
			t.Fatal(err)
		}
		if private, err := pki.UnmarshalPKIXPrivateKey(der); err != nil || !want.Equal(private.Public()) {
			t.Errorf("%s: circl reads another private key, %v", spec, err)
		}
	}
}

// signAlternately signs every other message by μ.
func signAlternately(t *testing.T, key *crypto.PrivateKey, message []byte, i int) []byte {
	t.Helper()
	if i%2 == 0 {
		return signMLDSA(t, key, "RAW", message)
	}
	return signMLDSA(t, key, "EXTERNAL_MU", mu(key.Public().DER()[22:], message))
}

// The package's own verification by μ and the library's of messages decide alike, also
// about signatures that are wrong somewhere.
func TestMLDSAVerificationsAgree(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for spec := range mldsaPeers {
		key := openFixture(t, spec)
		public, message := key.Public(), []byte("message")
		m := mu(public.DER()[22:], message)
		good := signMLDSA(t, key, "RAW", message)
		for range 200 {
			signature := append([]byte(nil), good...)
			for range 1 + random.IntN(2) {
				signature[random.IntN(len(signature))] ^= 1 << random.IntN(8)
			}
			raw := public.Verify("ML_DSA_SHAKE_256", "RAW", message, signature)
			external := public.Verify("ML_DSA_SHAKE_256", "EXTERNAL_MU", m, signature)
			if raw != external {
				t.Errorf("%s: RAW %v, EXTERNAL_MU %v for %x", spec, raw, external, signature)
			}
		}
	}
}

func signMLDSA(t *testing.T, key *crypto.PrivateKey, mt kms.MessageType, message []byte) []byte {
	t.Helper()
	return signWith(t, key, "ML_DSA_SHAKE_256", mt, message)
}

// A signature with a context is not one of KMS's.
func TestMLDSAHasAnEmptyContext(t *testing.T) {
	t.Parallel()
	f := fixture(t, "ML_DSA_44")
	peer, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), f.Secret)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := peer.Sign(nil, []byte("message"), &mldsa.Options{Context: "context"})
	if err != nil {
		t.Fatal(err)
	}
	if err := parsePublic(t, "ML_DSA_44", f.Public).Verify("ML_DSA_SHAKE_256", "RAW", []byte("message"), signature); err != crypto.ErrSignature {
		t.Errorf("a signature with a context: %v", err)
	}
}

package crypto_test

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// pick chooses by a number that a fuzzer makes up.
func pick[T any](from []T, n uint8) T { return from[int(n)%len(from)] }

// openAll opens a key of each spec. The fuzzed function runs often and cannot make them.
func openAll(f *testing.F) map[kms.KeySpec]*crypto.PrivateKey {
	f.Helper()
	keys := map[kms.KeySpec]*crypto.PrivateKey{}
	for _, spec := range asymmetricSpecs {
		keys[spec] = openFixture(f, spec)
	}
	return keys
}

// FuzzParsePublicKey: what parses has that encoding and no other.
func FuzzParsePublicKey(f *testing.F) {
	for i, spec := range asymmetricSpecs {
		f.Add(uint8(i), []byte(fixture(f, spec).Public))
	}
	f.Fuzz(func(t *testing.T, n uint8, der []byte) {
		spec := pick(asymmetricSpecs, n)
		key, err := crypto.ParsePublicKey(spec, der)
		if err != nil {
			if err != crypto.ErrPublicKey {
				t.Errorf("%s: %v", spec, err)
			}
			return
		}
		if got := key.DER(); !bytes.Equal(got, der) {
			t.Errorf("%s: %x is encoded as %x", spec, der, got)
		}
	})
}

// FuzzOpenPrivateKey: what opens is the encoding of a key with that public half, and the
// secret is wiped in any case.
func FuzzOpenPrivateKey(f *testing.F) {
	for i, spec := range asymmetricSpecs {
		key := fixture(f, spec)
		f.Add(uint8(i), []byte(key.Secret), []byte(key.Public))
	}
	f.Fuzz(func(t *testing.T, n uint8, secret, public []byte) {
		spec := pick(asymmetricSpecs, n)
		given := bytes.Clone(secret)
		key, err := crypto.OpenPrivateKey(spec, given, public)
		if !bytes.Equal(given, make([]byte, len(given))) {
			t.Errorf("%s: the secret was left", spec)
		}
		if err != nil {
			if !errors.Is(err, crypto.ErrPrivateKey) {
				t.Errorf("%s: %v", spec, err)
			}
			return
		}
		if !bytes.Equal(key.Public().DER(), public) {
			t.Errorf("%s: opened with the public key %x, has %x", spec, public, key.Public().DER())
		}
		exported, err := crypto.MarshalPKCS8(spec, secret)
		if err != nil || !bytes.HasSuffix(exported, secret) {
			t.Errorf("%s: %v: PKCS #8 does not hold the secret", spec, err)
		}
	})
}

// FuzzVerify: no signature makes it fail in another way than with ErrSignature; a
// message and what may be submitted in its place get the same answer, which for ML-DSA
// come from two implementations; and what is accepted has one encoding.
func FuzzVerify(f *testing.F) {
	keys, message := openAll(f), []byte("a message of a client")
	specs := slices.DeleteFunc(slices.Clone(asymmetricSpecs), func(s kms.KeySpec) bool { return signatureSizes[s] == 0 })
	for i, spec := range specs {
		for j, alg := range spec.SigningAlgorithms() {
			if alg == "ED25519_PH_SHA_512" {
				f.Add(uint8(i), uint8(j), message, signWith(f, keys[spec], alg, "DIGEST", hashOf(alg, message)))
				continue
			}
			f.Add(uint8(i), uint8(j), message, signWith(f, keys[spec], alg, "RAW", message))
		}
	}
	f.Fuzz(func(t *testing.T, n, m uint8, message, signature []byte) {
		spec := pick(specs, n)
		alg, public := pick(spec.SigningAlgorithms(), m), keys[spec].Public()
		mt, place := kms.MessageType("DIGEST"), hashOf(alg, message)
		if alg == "ML_DSA_SHAKE_256" {
			mt, place = "EXTERNAL_MU", mu(public.DER()[22:], message)
		}
		err := public.Verify(alg, mt, place, signature)
		switch alg {
		case "ED25519_SHA_512":
			err = public.Verify(alg, "RAW", message, signature)
		case "ED25519_PH_SHA_512":
		default:
			if raw := public.Verify(alg, "RAW", message, signature); raw != err {
				t.Errorf("%s: RAW %v, %s %v for %x of %x", alg, raw, mt, err, signature, message)
			}
		}
		if err != nil && err != crypto.ErrSignature {
			t.Errorf("%s: %v", alg, err)
		}
		if err == nil && strings.HasPrefix(string(alg), "ECDSA") {
			checkDER(t, signature)
		}
	})
}

// checkDER wants the encoding that DER has for a signature.
func checkDER(t *testing.T, signature []byte) {
	t.Helper()
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &rs); err != nil || len(rest) != 0 {
		t.Fatalf("%x was accepted: %v, %d bytes left", signature, err, len(rest))
	}
	if again, err := asn1.Marshal(rs); err != nil || !bytes.Equal(again, signature) {
		t.Errorf("%x was accepted, DER is %x, %v", signature, again, err)
	}
}

// FuzzDecryptOAEP: there is one error.
func FuzzDecryptOAEP(f *testing.F) {
	key := openFixture(f, "RSA_2048")
	algorithms := kms.KeySpec("RSA_2048").EncryptionAlgorithms()
	for i, alg := range algorithms {
		ciphertext, err := key.Public().Encrypt(alg, []byte("plaintext"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), ciphertext)
	}
	f.Fuzz(func(t *testing.T, n uint8, ciphertext []byte) {
		alg := pick(algorithms, n)
		got, err := key.Decrypt(alg, ciphertext)
		if err != nil && (err != crypto.ErrCiphertext || got != nil) {
			t.Errorf("%s: %x, %v", alg, got, err)
		}
		if len(got) > oaepLimits["RSA_2048"][alg] {
			t.Errorf("%s: a plaintext of %d bytes", alg, len(got))
		}
	})
}

// FuzzDeriveSharedSecret: a peer's key reaches the private one only if it is the encoding
// of a point on the same curve.
func FuzzDeriveSharedSecret(f *testing.F) {
	sizes := map[kms.KeySpec]int{"ECC_NIST_P256": 32, "ECC_NIST_P384": 48, "ECC_NIST_P521": 66}
	specs := []kms.KeySpec{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"}
	keys := openAll(f)
	for i := range specs {
		for _, other := range asymmetricSpecs {
			f.Add(uint8(i), []byte(fixture(f, other).Public))
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, peer []byte) {
		spec := pick(specs, n)
		_, parseErr := crypto.ParsePublicKey(spec, peer)
		got, err := keys[spec].DeriveSharedSecret(peer)
		if err != parseErr || err != nil && (err != crypto.ErrPublicKey || got != nil) {
			t.Errorf("%s: %x, %v; the key parses with %v", spec, got, err, parseErr)
		}
		if err == nil && len(got) != sizes[spec] {
			t.Errorf("%s: a secret of %d bytes", spec, len(got))
		}
	})
}

// FuzzDecapsulate: ciphertexts of the right length give what circl makes of them, genuine
// or not, and the others an error.
func FuzzDecapsulate(f *testing.F) {
	specs := []kms.KeySpec{"ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"}
	peers := []kem.Scheme{mlkem512.Scheme(), mlkem768.Scheme(), mlkem1024.Scheme()}
	ours, theirs := make([]*crypto.PrivateKey, len(specs)), make([]kem.PrivateKey, len(specs))
	for i, spec := range specs {
		key := generate(f, spec)
		ours[i] = key.open(f, spec)
		_, theirs[i] = peers[i].DeriveKeyPair(key.Secret)
		_, ciphertext := encapsulate(f, ours[i].Public())
		f.Add(uint8(i), ciphertext)
		f.Add(uint8(i), make([]byte, len(ciphertext)))
	}
	f.Fuzz(func(t *testing.T, n uint8, ciphertext []byte) {
		i := int(n) % len(specs)
		got, err := ours[i].Decapsulate(ciphertext)
		if len(ciphertext) != mlkemCiphertexts[specs[i]] {
			if err != crypto.ErrCiphertext || got != nil {
				t.Errorf("%s: %d bytes: %x, %v", specs[i], len(ciphertext), got, err)
			}
			return
		}
		want, peerErr := peers[i].Decapsulate(theirs[i], ciphertext)
		if err != nil || peerErr != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, %v, circl %x, %v", specs[i], got, err, want, peerErr)
		}
	})
}

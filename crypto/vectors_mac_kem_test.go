package crypto_test

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"errors"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// MACs that are truncated must not verify, and shorter keys than the hash not open.
func TestWycheproofHMAC(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file string
		spec kms.KeySpec
		want ran
	}{
		{"hmac_sha224", "HMAC_224", ran{"valid": 30, "invalid": 54, "truncated": 82, "short key": 6}},
		{"hmac_sha256", "HMAC_256", ran{"valid": 30, "invalid": 54, "truncated": 84, "short key": 6}},
		{"hmac_sha384", "HMAC_384", ran{"valid": 30, "invalid": 54, "truncated": 84, "short key": 6}},
		{"hmac_sha512", "HMAC_512", ran{"valid": 30, "invalid": 54, "truncated": 84, "short key": 6}},
	} {
		var file struct {
			TestGroups []struct {
				KeySize, TagSize int
				Tests            []struct {
					ID            int `json:"tcId"`
					Key, Msg, Tag hexBytes
					Result        string
				}
			}
		}
		readVectors(t, tc.file+"_test.json", &file)
		counts, alg := ran{}, tc.spec.MacAlgorithms()[0]
		for _, group := range file.TestGroups {
			for _, v := range group.Tests {
				key, err := crypto.OpenMACKey(tc.spec, bytes.Clone(v.Key))
				if group.KeySize < 8*macSizes[tc.spec] && errors.Is(err, crypto.ErrPrivateKey) {
					counts["short key"]++
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				kind := v.Result
				if group.TagSize < 8*macSizes[tc.spec] {
					kind = "truncated"
				}
				counts[kind]++
				var want error
				if kind != "valid" {
					want = crypto.ErrMAC
				}
				if err := key.VerifyMAC(alg, v.Msg, v.Tag); err != want {
					t.Errorf("%s: vector %d: %v, want %v", tc.file, v.ID, err, want)
				}
				got, err := key.MAC(alg, v.Msg)
				if err != nil || v.Result == "valid" && !bytes.HasPrefix(got, v.Tag) {
					t.Errorf("%s: vector %d: got %x, %v, want %x", tc.file, v.ID, got, err, v.Tag)
				}
			}
		}
		counts.want(t, tc.file, tc.want)
	}
}

// withHeader puts the beginning of the SubjectPublicKeyInfo of an ML key in front.
func withHeader(t *testing.T, spec kms.KeySpec, raw []byte) []byte {
	t.Helper()
	return append(bytes.Clone(fixture(t, spec).Public[:22]), raw...)
}

// The vectors' signatures were made without randomness, which Sign always adds; they
// verify under the key that the seed gives, by message and by μ.
func TestWycheproofMLDSASeeds(t *testing.T) {
	t.Parallel()
	for file, tc := range map[string]struct {
		spec kms.KeySpec
		want ran
	}{
		"mldsa_44_sign_seed": {"ML_DSA_44", ran{"message": 70, "mu": 82, "seed": 3, "invalid": 1}},
		"mldsa_65_sign_seed": {"ML_DSA_65", ran{"message": 80, "mu": 101, "seed": 3, "invalid": 1}},
		"mldsa_87_sign_seed": {"ML_DSA_87", ran{"message": 71, "mu": 92, "seed": 3, "invalid": 1}},
	} {
		var vectors struct {
			TestGroups []struct {
				PrivateSeed, PrivateKeyPKCS8, PublicKey hexBytes
				Tests                                   []struct {
					ID           int `json:"tcId"`
					Msg, Ctx, Mu *hexBytes
					Sig          hexBytes
					Result       string
				}
			}
		}
		readVectors(t, file+"_test.json", &vectors)
		counts := ran{}
		for _, group := range vectors.TestGroups {
			public := withHeader(t, tc.spec, group.PublicKey)
			key, err := crypto.OpenPrivateKey(tc.spec, bytes.Clone(group.PrivateSeed), public)
			if len(group.PrivateSeed) != 32 && errors.Is(err, crypto.ErrPrivateKey) {
				counts["seed"] += len(group.Tests)
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			// Not every group has one.
			if got, err := crypto.MarshalPKCS8(tc.spec, group.PrivateSeed); len(group.PrivateKeyPKCS8) != 0 && (err != nil || !bytes.Equal(got, group.PrivateKeyPKCS8)) {
				t.Errorf("%s: PKCS #8 is %x, %v, want %x", file, got, err, group.PrivateKeyPKCS8)
			}
			for _, v := range group.Tests {
				if v.Result != "valid" {
					counts[v.Result]++ // a context that is too long: KMS has none
					continue
				}
				if v.Msg != nil && v.Ctx == nil {
					counts["message"]++
					checkSignature(t, key.Public(), "ML_DSA_SHAKE_256", v.ID, *v.Msg, v.Sig, true)
				}
				if v.Mu != nil {
					counts["mu"]++
					if err := key.Public().Verify("ML_DSA_SHAKE_256", "EXTERNAL_MU", *v.Mu, v.Sig); err != nil {
						t.Errorf("%s: vector %d by μ: %v", file, v.ID, err)
					}
				}
			}
		}
		counts.want(t, file, tc.want)
	}
}

// mlkemVectors are the specs and the names of their files.
var mlkemVectors = map[string]kms.KeySpec{"mlkem_512": "ML_KEM_512", "mlkem_768": "ML_KEM_768", "mlkem_1024": "ML_KEM_1024"}

type mlkemVector struct {
	ID                int `json:"tcId"`
	Seed, EK, C, K, M hexBytes
	Result            string
}

func readMLKEM(t *testing.T, file string) (all []mlkemVector) {
	t.Helper()
	var vectors struct {
		TestGroups []struct{ Tests []mlkemVector }
	}
	readVectors(t, file+"_test.json", &vectors)
	for _, group := range vectors.TestGroups {
		all = append(all, group.Tests...)
	}
	return all
}

func TestWycheproofMLKEMDecapsulation(t *testing.T) {
	t.Parallel()
	want := map[string]ran{
		"mlkem_512":  {"valid": 160, "invalid": 20, "seed": 20},
		"mlkem_768":  {"valid": 161, "invalid": 20, "seed": 20},
		"mlkem_1024": {"valid": 162, "invalid": 20, "seed": 20},
	}
	for file, spec := range mlkemVectors {
		counts := ran{}
		for _, v := range readMLKEM(t, file) {
			key, err := crypto.OpenPrivateKey(spec, bytes.Clone(v.Seed), withHeader(t, spec, v.EK))
			if len(v.Seed) != 64 && v.Result == "invalid" && errors.Is(err, crypto.ErrPrivateKey) {
				counts["seed"]++
				continue
			}
			if err != nil {
				t.Fatalf("%s: vector %d: %v", file, v.ID, err)
			}
			counts[v.Result]++
			got, err := key.Decapsulate(v.C)
			if v.Result == "valid" && (err != nil || !bytes.Equal(got, v.K)) {
				t.Errorf("%s: vector %d: got %x, %v, want %x", file, v.ID, got, err, v.K)
			}
			if v.Result == "invalid" && err != crypto.ErrCiphertext {
				t.Errorf("%s: vector %d: %v", file, v.ID, err)
			}
		}
		counts.want(t, file, want[file])
	}
}

// Public keys that are not reduced or of another length do not parse; under the others
// the libraries that this package calls give what the randomness m must give.
func TestWycheproofMLKEMEncapsulation(t *testing.T) {
	t.Parallel()
	want := map[string]ran{
		"mlkem_512":  {"valid": 133, "invalid": 128},
		"mlkem_768":  {"valid": 133, "invalid": 132},
		"mlkem_1024": {"valid": 133, "invalid": 136},
	}
	for file, spec := range mlkemVectors {
		counts := ran{}
		for _, v := range readMLKEM(t, file+"_encaps") {
			counts[v.Result]++
			key, err := crypto.ParsePublicKey(spec, withHeader(t, spec, v.EK))
			if v.Result != "valid" {
				if !errors.Is(err, crypto.ErrPublicKey) {
					t.Errorf("%s: vector %d: %v", file, v.ID, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: vector %d: %v", file, v.ID, err)
			}
			secret, ciphertext := encapsulateWith(t, key, v.M)
			if !bytes.Equal(secret, v.K) || !bytes.Equal(ciphertext, v.C) {
				t.Errorf("%s: vector %d: got %x and %x, want %x and %x", file, v.ID, secret, ciphertext, v.K, v.C)
			}
		}
		counts.want(t, file, want[file])
	}
}

func encapsulateWith(t *testing.T, key *crypto.PublicKey, m []byte) (secret, ciphertext []byte) {
	t.Helper()
	raw, err := key.DER()[22:], error(nil)
	switch key.Spec() {
	case "ML_KEM_512":
		return crypto.Encapsulate512(key, m)
	case "ML_KEM_768":
		var ek *mlkem.EncapsulationKey768
		if ek, err = mlkem.NewEncapsulationKey768(raw); err == nil {
			secret, ciphertext, err = mlkemtest.Encapsulate768(ek, m)
		}
	default:
		var ek *mlkem.EncapsulationKey1024
		if ek, err = mlkem.NewEncapsulationKey1024(raw); err == nil {
			secret, ciphertext, err = mlkemtest.Encapsulate1024(ek, m)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return secret, ciphertext
}

func TestWycheproofMLKEMKeyGeneration(t *testing.T) {
	t.Parallel()
	for file, spec := range mlkemVectors {
		vectors := readMLKEM(t, file+"_keygen_seed")
		for _, v := range vectors {
			keyFixture{v.Seed, withHeader(t, spec, v.EK)}.open(t, spec)
		}
		if len(vectors) != 100 {
			t.Errorf("%s: ran %d vectors, want 100", file, len(vectors))
		}
	}
}

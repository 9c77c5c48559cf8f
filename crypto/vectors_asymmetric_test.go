package crypto_test

import (
	"bytes"
	stdcrypto "crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// ran counts vectors by what was expected of them, so that a changed file does not
// silently run less: the counts are those of the pinned version.
type ran map[string]int

func (r ran) want(t *testing.T, file string, want ran) {
	t.Helper()
	if !maps.Equal(r, want) {
		t.Errorf("%s: ran %v, want %v", file, r, want)
	}
}

type signatureVectors struct {
	TestGroups []struct {
		PublicKeyDER hexBytes `json:"publicKeyDer"`
		PublicKey    publicVector
		Tests        []struct {
			ID            int `json:"tcId"`
			Msg, Sig, Ctx hexBytes
			Result        string
		}
	}
}

// publicVector holds what the groups of RSA say of their key, and nothing of others'.
type publicVector struct{ PublicExponent hexBytes }

func (p *publicVector) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		return nil
	}
	type plain publicVector
	return json.Unmarshal(b, (*plain)(p))
}

// Every valid vector verifies and every other one does not, with one error. Of those that
// Wycheproof calls acceptable there are, in the files below, only PKCS #1 v1.5 signatures
// whose DigestInfo lacks its NULL: refused, because RFC 8017 §9.2 has one encoding.
// Signatures are tested in one direction here; what Sign makes is verified in
// TestSignatures, and where it is deterministic in TestWycheproofPKCS1Sign.
func TestWycheproofSignatures(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file string
		spec kms.KeySpec
		alg  kms.SigningAlgorithm
		want ran
	}{
		{"rsa_signature_2048_sha256", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", ran{"valid": 7, "acceptable": 1, "invalid": 249, "exponent 3": 2}},
		{"rsa_signature_2048_sha384", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_384", ran{"valid": 7, "acceptable": 1, "invalid": 250}},
		{"rsa_signature_2048_sha512", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512", ran{"valid": 7, "acceptable": 1, "invalid": 250, "exponent 3": 1}},
		{"rsa_signature_3072_sha256", "RSA_3072", "RSASSA_PKCS1_V1_5_SHA_256", ran{"valid": 7, "acceptable": 1, "invalid": 250, "exponent 3": 1}},
		{"rsa_signature_3072_sha384", "RSA_3072", "RSASSA_PKCS1_V1_5_SHA_384", ran{"valid": 7, "acceptable": 1, "invalid": 251}},
		{"rsa_signature_3072_sha512", "RSA_3072", "RSASSA_PKCS1_V1_5_SHA_512", ran{"valid": 7, "acceptable": 1, "invalid": 251, "exponent 3": 1}},
		{"rsa_signature_4096_sha256", "RSA_4096", "RSASSA_PKCS1_V1_5_SHA_256", ran{"valid": 7, "acceptable": 1, "invalid": 250}},
		{"rsa_signature_4096_sha384", "RSA_4096", "RSASSA_PKCS1_V1_5_SHA_384", ran{"valid": 7, "acceptable": 1, "invalid": 251}},
		{"rsa_signature_4096_sha512", "RSA_4096", "RSASSA_PKCS1_V1_5_SHA_512", ran{"valid": 7, "acceptable": 1, "invalid": 251}},
		{"rsa_pss_2048_sha256_mgf1_32", "RSA_2048", "RSASSA_PSS_SHA_256", ran{"valid": 63, "invalid": 45}},
		{"rsa_pss_2048_sha384_mgf1_48", "RSA_2048", "RSASSA_PSS_SHA_384", ran{"valid": 95, "invalid": 46}},
		{"rsa_pss_3072_sha256_mgf1_32", "RSA_3072", "RSASSA_PSS_SHA_256", ran{"valid": 63, "invalid": 45}},
		{"rsa_pss_4096_sha256_mgf1_32", "RSA_4096", "RSASSA_PSS_SHA_256", ran{"valid": 63, "invalid": 45}},
		{"rsa_pss_4096_sha384_mgf1_48", "RSA_4096", "RSASSA_PSS_SHA_384", ran{"valid": 95, "invalid": 46}},
		{"rsa_pss_4096_sha512_mgf1_64", "RSA_4096", "RSASSA_PSS_SHA_512", ran{"valid": 132, "invalid": 47}},
		{"ecdsa_secp256r1_sha256", "ECC_NIST_P256", "ECDSA_SHA_256", ran{"valid": 174, "invalid": 310}},
		{"ecdsa_secp384r1_sha384", "ECC_NIST_P384", "ECDSA_SHA_384", ran{"valid": 194, "invalid": 310}},
		{"ecdsa_secp521r1_sha512", "ECC_NIST_P521", "ECDSA_SHA_512", ran{"valid": 232, "invalid": 310}},
		{"ecdsa_secp256k1_sha256", "ECC_SECG_P256K1", "ECDSA_SHA_256", ran{"valid": 168, "invalid": 308}},
		{"ed25519", "ECC_NIST_EDWARDS25519", "ED25519_SHA_512", ran{"valid": 88, "invalid": 63}},
		{"mldsa_44_verify", "ML_DSA_44", "ML_DSA_SHAKE_256", ran{"valid": 75, "invalid": 94, "key": 4, "context": 7}},
		{"mldsa_65_verify", "ML_DSA_65", "ML_DSA_SHAKE_256", ran{"valid": 77, "invalid": 122, "key": 4, "context": 7}},
		{"mldsa_87_verify", "ML_DSA_87", "ML_DSA_SHAKE_256", ran{"valid": 69, "invalid": 161, "key": 4, "context": 7}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			var file signatureVectors
			readVectors(t, tc.file+"_test.json", &file)
			counts := ran{}
			for _, group := range file.TestGroups {
				key, err := crypto.ParsePublicKey(tc.spec, group.PublicKeyDER)
				if err != nil && !errors.Is(err, crypto.ErrPublicKey) {
					t.Fatal(err)
				}
				for _, v := range group.Tests {
					switch {
					case key == nil && bytes.Equal(group.PublicKey.PublicExponent, []byte{3}):
						counts["exponent 3"]++ // FIPS 186-5 §5.1 allows 65,537 and more
					case key == nil && v.Result == "invalid":
						counts["key"]++
					case key == nil:
						t.Errorf("vector %d: its key is refused", v.ID)
					case len(v.Ctx) != 0:
						counts["context"]++ // KMS has none
						checkSignature(t, key, tc.alg, v.ID, v.Msg, v.Sig, false)
					default:
						counts[v.Result]++
						checkSignature(t, key, tc.alg, v.ID, v.Msg, v.Sig, v.Result == "valid")
					}
				}
			}
			counts.want(t, tc.file, tc.want)
		})
	}
}

// checkSignature verifies a message and what may be submitted in its place.
func checkSignature(t *testing.T, key *crypto.PublicKey, alg kms.SigningAlgorithm, id int, msg, sig []byte, valid bool) {
	t.Helper()
	var want error
	if !valid {
		want = crypto.ErrSignature
	}
	verify := func(mt kms.MessageType, m []byte) {
		t.Helper()
		if err := key.Verify(alg, mt, m, sig); err != want {
			t.Errorf("vector %d: %s: %v, want %v", id, mt, err, want)
		}
	}
	verify("RAW", msg)
	switch {
	case alg == "ML_DSA_SHAKE_256":
		verify("EXTERNAL_MU", mu(key.DER()[22:], msg))
	case alg != "ED25519_SHA_512":
		verify("DIGEST", hashOf(alg, msg))
	}
}

// Of the PSS signatures with all kinds of parameters KMS takes those whose MGF1 has the
// message's hash and whose salt is as long as it.
func TestWycheproofOtherPSS(t *testing.T) {
	t.Parallel()
	sizes := map[string]int{"SHA-256": 32, "SHA-384": 48, "SHA-512": 64}
	for file, want := range map[string]ran{
		"rsa_pss_misc":                    {"valid": 3, "refused": 87, "other hash": 60},
		"rsa_pss_2048_sha256_mgf1_0":      {"valid": 1, "refused": 102},
		"rsa_pss_2048_sha256_mgf1sha1_20": {"refused": 108},
		"rsa_pss_4096_sha512_mgf1_32":     {"refused": 177},
	} {
		var vectors struct {
			TestGroups []struct {
				KeySize, SLen int
				SHA, MGFSHA   string
				PublicKeyDER  hexBytes `json:"publicKeyDer"`
				Tests         []struct {
					ID       int `json:"tcId"`
					Comment  string
					Msg, Sig hexBytes
				}
			}
		}
		readVectors(t, file+"_test.json", &vectors)
		counts := ran{}
		for _, group := range vectors.TestGroups {
			size, ok := sizes[group.SHA]
			if !ok {
				counts["other hash"] += len(group.Tests)
				continue
			}
			key := parsePublic(t, kms.KeySpec(fmt.Sprintf("RSA_%d", group.KeySize)), group.PublicKeyDER)
			alg := kms.SigningAlgorithm(fmt.Sprintf("RSASSA_PSS_SHA_%d", 8*size))
			for _, v := range group.Tests {
				// One vector is wrong for its group because it is right for KMS.
				kind, salt := "refused", fmt.Sprintf("s_len changed to %d", size)
				if group.MGFSHA == group.SHA && (group.SLen == size || v.Comment == salt) {
					kind = "valid"
				}
				counts[kind]++
				checkSignature(t, key, alg, v.ID, v.Msg, v.Sig, kind == "valid")
			}
		}
		counts.want(t, file, want)
	}
}

// Signatures that are the two numbers without DER (IEEE P1363) are not AWS's.
func TestWycheproofP1363(t *testing.T) {
	t.Parallel()
	for file, tc := range map[string]struct {
		spec kms.KeySpec
		alg  kms.SigningAlgorithm
		want int
	}{
		"ecdsa_secp256r1_sha256_p1363": {"ECC_NIST_P256", "ECDSA_SHA_256", 262},
		"ecdsa_secp384r1_sha384_p1363": {"ECC_NIST_P384", "ECDSA_SHA_384", 280},
		"ecdsa_secp521r1_sha512_p1363": {"ECC_NIST_P521", "ECDSA_SHA_512", 318},
		"ecdsa_secp256k1_sha256_p1363": {"ECC_SECG_P256K1", "ECDSA_SHA_256", 252},
	} {
		var vectors signatureVectors
		readVectors(t, file+"_test.json", &vectors)
		counts := ran{}
		for _, group := range vectors.TestGroups {
			key := parsePublic(t, tc.spec, group.PublicKeyDER)
			for _, v := range group.Tests {
				counts["refused"]++
				checkSignature(t, key, tc.alg, v.ID, v.Msg, v.Sig, false)
			}
		}
		counts.want(t, file, ran{"refused": tc.want})
	}
}

// PKCS #1 v1.5 has one signature for a message. The groups that are acceptable rather
// than valid use SHA-1, which KMS does not have, or the exponent 3.
func TestWycheproofPKCS1Sign(t *testing.T) {
	t.Parallel()
	algorithms := map[string]kms.SigningAlgorithm{
		"SHA-256": "RSASSA_PKCS1_V1_5_SHA_256", "SHA-384": "RSASSA_PKCS1_V1_5_SHA_384", "SHA-512": "RSASSA_PKCS1_V1_5_SHA_512",
	}
	for size, want := range map[int]ran{
		2048: {"valid": 24, "other hash": 16, "exponent 3": 3},
		3072: {"valid": 24, "exponent 3": 2},
		4096: {"valid": 24},
	} {
		spec := kms.KeySpec(fmt.Sprintf("RSA_%d", size))
		var file struct {
			TestGroups []struct {
				SHA             string
				PrivateKey      publicVector
				PrivateKeyPKCS8 hexBytes
				KeyDER          hexBytes `json:"keyDer"`
				Tests           []struct {
					ID       int `json:"tcId"`
					Msg, Sig hexBytes
				}
			}
		}
		readVectors(t, fmt.Sprintf("rsa_pkcs1_%d_sig_gen_test.json", size), &file)
		counts := ran{}
		for _, group := range file.TestGroups {
			alg, ok := algorithms[group.SHA]
			key, err := crypto.OpenPrivateKey(spec, bytes.Clone(group.PrivateKeyPKCS8), group.KeyDER)
			for _, v := range group.Tests {
				switch {
				case !ok:
					counts["other hash"]++
				case bytes.Equal(group.PrivateKey.PublicExponent, []byte{3}) && errors.Is(err, crypto.ErrPrivateKey):
					counts["exponent 3"]++
				case err != nil:
					t.Fatal(err)
				default:
					counts["valid"]++
					if got := signWith(t, key, alg, "RAW", v.Msg); !bytes.Equal(got, v.Sig) {
						t.Errorf("vector %d: got %x, want %x", v.ID, got, v.Sig)
					}
				}
			}
		}
		counts.want(t, string(spec), want)
	}
}

// publicOf is the SubjectPublicKeyInfo of a private key in PKCS #8.
func publicOf(t *testing.T, pkcs8 []byte) []byte {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.(stdcrypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

type oaepVectors struct {
	TestGroups []struct {
		KeySize         int
		SHA, MGFSHA     string
		PrivateKeyPKCS8 hexBytes
		Tests           []struct {
			ID             int `json:"tcId"`
			Msg, CT, Label hexBytes
			Result         string
		}
	}
}

// Vectors with a label must fail: KMS has none.
func TestWycheproofOAEP(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]ran{
		"rsa_oaep_2048_sha1_mgf1sha1":                  {"valid": 10, "invalid": 19, "label": 7},
		"rsa_oaep_2048_sha256_mgf1sha256":              {"valid": 10, "invalid": 19, "label": 8},
		"rsa_oaep_3072_sha256_mgf1sha256":              {"valid": 10, "invalid": 19, "label": 8},
		"rsa_oaep_4096_sha256_mgf1sha256":              {"valid": 10, "invalid": 19, "label": 8},
		"rsa_oaep_misc":                                {"valid": 18, "other parameters": 377},
		"rsa_three_primes_oaep_2048_sha1_mgf1sha1":     {"three primes": 36},
		"rsa_three_primes_oaep_4096_sha256_mgf1sha256": {"three primes": 36},
	} {
		var vectors oaepVectors
		readVectors(t, file+"_test.json", &vectors)
		counts := ran{}
		for _, group := range vectors.TestGroups {
			alg := map[string]kms.EncryptionAlgorithm{"SHA-1": "RSAES_OAEP_SHA_1", "SHA-256": "RSAES_OAEP_SHA_256"}[group.SHA]
			spec := kms.KeySpec(fmt.Sprintf("RSA_%d", group.KeySize))
			if alg == "" || group.SHA != group.MGFSHA || len(spec.EncryptionAlgorithms()) == 0 {
				counts["other parameters"] += len(group.Tests)
				continue
			}
			key, err := crypto.OpenPrivateKey(spec, bytes.Clone(group.PrivateKeyPKCS8), publicOf(t, group.PrivateKeyPKCS8))
			for _, v := range group.Tests {
				if file[:9] == "rsa_three" && errors.Is(err, crypto.ErrPrivateKey) {
					counts["three primes"]++
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				wantErr, kind := error(nil), v.Result
				if len(v.Label) != 0 {
					kind = "label"
				}
				if kind != "valid" {
					wantErr = crypto.ErrCiphertext
				}
				counts[kind]++
				got, err := key.Decrypt(alg, v.CT)
				if err != wantErr || err == nil && !bytes.Equal(got, v.Msg) {
					t.Errorf("%s: vector %d: got %x, %v, want %x, %v", file, v.ID, got, err, v.Msg, wantErr)
				}
			}
		}
		counts.want(t, file, want)
	}
}

// The acceptable vectors are points in compressed form, curves that are described instead
// of named, and SubjectPublicKeyInfo that is BER or has something in it that does not
// belong there. All are refused: a key has one encoding, so that nobody gets two answers
// about one.
func TestWycheproofECDH(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file  string
		spec  kms.KeySpec
		curve elliptic.Curve
		want  ran
	}{
		{"ecdh_secp256r1", "ECC_NIST_P256", elliptic.P256(), ran{"valid": 330, "acceptable": 230, "invalid": 52}},
		{"ecdh_secp384r1", "ECC_NIST_P384", elliptic.P384(), ran{"valid": 771, "acceptable": 230, "invalid": 46}},
		{"ecdh_secp521r1", "ECC_NIST_P521", elliptic.P521(), ran{"valid": 632, "acceptable": 228, "invalid": 56}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			var file struct {
				TestGroups []struct {
					Tests []struct {
						ID                      int `json:"tcId"`
						Public, Private, Shared hexBytes
						Result                  string
					}
				}
			}
			readVectors(t, tc.file+"_test.json", &file)
			counts := ran{}
			for _, group := range file.TestGroups {
				for _, v := range group.Tests {
					counts[v.Result]++
					key := openScalar(t, tc.spec, tc.curve, v.Private)
					got, err := key.DeriveSharedSecret(v.Public)
					if v.Result != "valid" {
						if err != crypto.ErrPublicKey || got != nil {
							t.Errorf("vector %d, %s: got %x, %v", v.ID, v.Result, got, err)
						}
						continue
					}
					if err != nil || !bytes.Equal(got, v.Shared) {
						t.Errorf("vector %d: got %x, %v, want %x", v.ID, got, err, v.Shared)
					}
				}
			}
			counts.want(t, tc.file, tc.want)
		})
	}
}

// openScalar opens the key of a big endian number, which may be shorter or longer than
// the curve's.
func openScalar(t *testing.T, spec kms.KeySpec, curve elliptic.Curve, scalar []byte) *crypto.PrivateKey {
	t.Helper()
	raw := make([]byte, (curve.Params().BitSize+7)/8)
	scalar = bytes.TrimLeft(scalar, "\x00")
	copy(raw[len(raw)-len(scalar):], scalar)
	key, err := ecdsa.ParseRawPrivateKey(curve, raw)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return keyFixture{secret, publicOf(t, secret)}.open(t, spec)
}

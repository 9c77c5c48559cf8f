package crypto_test

import (
	"bytes"
	stdcrypto "crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func signWith(t testing.TB, k *crypto.PrivateKey, alg kms.SigningAlgorithm, mt kms.MessageType, message []byte) []byte {
	t.Helper()
	signature, err := k.Sign(alg, mt, message)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", k.Spec(), alg, mt, err)
	}
	return signature
}

// hashOf is the hash that an algorithm's name ends in.
func hashOf(alg kms.SigningAlgorithm, message []byte) []byte {
	switch {
	case strings.HasSuffix(string(alg), "SHA_256"):
		sum := sha256.Sum256(message)
		return sum[:]
	case strings.HasSuffix(string(alg), "SHA_384"):
		sum := sha512.Sum384(message)
		return sum[:]
	case strings.HasSuffix(string(alg), "SHA_512"):
		sum := sha512.Sum512(message)
		return sum[:]
	}
	return nil
}

// signatureSizes are sizes in bytes, of ECDSA the largest (AWS: Sign, Signature).
var signatureSizes = map[kms.KeySpec]int{
	"RSA_2048": 256, "RSA_3072": 384, "RSA_4096": 512,
	"ECC_NIST_P256": 72, "ECC_NIST_P384": 104, "ECC_NIST_P521": 139, "ECC_SECG_P256K1": 72,
	"ECC_NIST_EDWARDS25519": 64, "ML_DSA_44": 2420, "ML_DSA_65": 3309, "ML_DSA_87": 4627,
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	message := []byte("a message of a client")
	for spec, size := range signatureSizes {
		t.Run(string(spec), func(t *testing.T) {
			t.Parallel()
			key := openFixture(t, spec)
			public := parsePublic(t, spec, key.Public().DER())
			for _, alg := range spec.SigningAlgorithms() {
				raw, digest := message, hashOf(alg, message)
				type way struct {
					mt kms.MessageType
					m  []byte
				}
				ways := []way{{"RAW", raw}, {"DIGEST", digest}}
				switch alg {
				case "ED25519_SHA_512":
					ways = ways[:1]
				case "ED25519_PH_SHA_512":
					ways = ways[1:]
				case "ML_DSA_SHAKE_256":
					ways[1] = way{"EXTERNAL_MU", mu(key.Public().DER()[22:], message)}
				}
				for _, signed := range ways {
					signature := signWith(t, key, alg, signed.mt, signed.m)
					if ecdsa := strings.HasPrefix(string(alg), "ECDSA"); len(signature) > size || len(signature) != size && !ecdsa {
						t.Errorf("%s: a signature of %d bytes, want %d", alg, len(signature), size)
					}
					for _, verified := range ways {
						if err := public.Verify(alg, verified.mt, verified.m, signature); err != nil {
							t.Errorf("%s: signed as %s, verified as %s: %v", alg, signed.mt, verified.mt, err)
						}
						checkRefusals(t, public, alg, verified.mt, verified.m, signature)
					}
				}
			}
		})
	}
}

// checkRefusals wants one error for whatever is wrong with a signature.
func checkRefusals(t *testing.T, k *crypto.PublicKey, alg kms.SigningAlgorithm, mt kms.MessageType, m, signature []byte) {
	t.Helper()
	refuse := func(name string, m, signature []byte) {
		t.Helper()
		if err := k.Verify(alg, mt, m, signature); !errors.Is(err, crypto.ErrSignature) {
			t.Errorf("%s %s: %s: %v", alg, mt, name, err)
		}
	}
	other := bytes.Clone(m)
	other[len(other)-1] ^= 1
	refuse("another message", other, signature)
	refuse("no signature", m, nil)
	refuse("a byte more", m, append(bytes.Clone(signature), 0))
	refuse("a byte less", m, signature[:len(signature)-1])
	refuse("zeros", m, make([]byte, len(signature)))
	for _, at := range []int{0, 1, len(signature) / 2, len(signature) - 1} {
		changed := bytes.Clone(signature)
		changed[at] ^= 0x40
		refuse("a flipped bit", m, changed)
	}
}

// Every algorithm that is not the spec's own is refused, with either half of the key.
func TestForeignAlgorithms(t *testing.T) {
	t.Parallel()
	var all []kms.SigningAlgorithm
	for _, spec := range asymmetricSpecs {
		all = append(all, spec.SigningAlgorithms()...)
	}
	all = append(all, "", "SM2DSA", "RSAES_OAEP_SHA_256")
	for _, spec := range asymmetricSpecs {
		key := openFixture(t, spec)
		for _, alg := range all {
			if slices.Contains(spec.SigningAlgorithms(), alg) {
				continue
			}
			if _, err := key.Sign(alg, "RAW", nil); !errors.Is(err, crypto.ErrAlgorithm) {
				t.Errorf("%s signed with %q: %v", spec, alg, err)
			}
			if err := key.Public().Verify(alg, "RAW", nil, nil); !errors.Is(err, crypto.ErrAlgorithm) {
				t.Errorf("%s verified with %q: %v", spec, alg, err)
			}
		}
		for _, alg := range []kms.EncryptionAlgorithm{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SYMMETRIC_DEFAULT", ""} {
			if slices.Contains(spec.EncryptionAlgorithms(), alg) {
				continue
			}
			if _, err := key.Decrypt(alg, nil); !errors.Is(err, crypto.ErrAlgorithm) {
				t.Errorf("%s decrypted with %q: %v", spec, alg, err)
			}
			if _, err := key.Public().Encrypt(alg, nil); !errors.Is(err, crypto.ErrAlgorithm) || key.Public().MaxPlaintext(alg) != 0 {
				t.Errorf("%s encrypted with %q: %v", spec, alg, err)
			}
		}
		if _, err := key.DeriveSharedSecret(nil); spec[:5] != "ECC_N" != errors.Is(err, crypto.ErrAlgorithm) && spec != "ECC_NIST_EDWARDS25519" {
			t.Errorf("%s: DeriveSharedSecret: %v", spec, err)
		}
		if _, err := key.Decapsulate(nil); spec[:6] != "ML_KEM" != errors.Is(err, crypto.ErrAlgorithm) {
			t.Errorf("%s: Decapsulate: %v", spec, err)
		}
		if _, _, err := key.Public().Encapsulate(); spec[:6] != "ML_KEM" != errors.Is(err, crypto.ErrAlgorithm) {
			t.Errorf("%s: Encapsulate: %v", spec, err)
		}
	}
}

// The rules of message types and lengths (AWS: Sign, MessageType).
func TestMessageTypes(t *testing.T) {
	t.Parallel()
	const any = -1
	for _, tc := range []struct {
		spec kms.KeySpec
		alg  kms.SigningAlgorithm
		// sizes of the message in bytes by type; a type that is not here is refused.
		sizes map[kms.MessageType]int
	}{
		{"RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", map[kms.MessageType]int{"RAW": any, "DIGEST": 32}},
		{"RSA_2048", "RSASSA_PKCS1_V1_5_SHA_384", map[kms.MessageType]int{"RAW": any, "DIGEST": 48}},
		{"RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512", map[kms.MessageType]int{"RAW": any, "DIGEST": 64}},
		{"RSA_2048", "RSASSA_PSS_SHA_256", map[kms.MessageType]int{"RAW": any, "DIGEST": 32}},
		{"RSA_2048", "RSASSA_PSS_SHA_384", map[kms.MessageType]int{"RAW": any, "DIGEST": 48}},
		{"RSA_2048", "RSASSA_PSS_SHA_512", map[kms.MessageType]int{"RAW": any, "DIGEST": 64}},
		{"ECC_NIST_P256", "ECDSA_SHA_256", map[kms.MessageType]int{"RAW": any, "DIGEST": 32}},
		{"ECC_SECG_P256K1", "ECDSA_SHA_256", map[kms.MessageType]int{"RAW": any, "DIGEST": 32}},
		{"ECC_NIST_P384", "ECDSA_SHA_384", map[kms.MessageType]int{"RAW": any, "DIGEST": 48}},
		{"ECC_NIST_P521", "ECDSA_SHA_512", map[kms.MessageType]int{"RAW": any, "DIGEST": 64}},
		{"ECC_NIST_EDWARDS25519", "ED25519_SHA_512", map[kms.MessageType]int{"RAW": any}},
		{"ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", map[kms.MessageType]int{"DIGEST": 64}},
		{"ML_DSA_44", "ML_DSA_SHAKE_256", map[kms.MessageType]int{"RAW": any, "EXTERNAL_MU": 64}},
		{"ML_DSA_65", "ML_DSA_SHAKE_256", map[kms.MessageType]int{"RAW": any, "EXTERNAL_MU": 64}},
		{"ML_DSA_87", "ML_DSA_SHAKE_256", map[kms.MessageType]int{"RAW": any, "EXTERNAL_MU": 64}},
	} {
		key := openFixture(t, tc.spec)
		for _, mt := range []kms.MessageType{"RAW", "DIGEST", "EXTERNAL_MU", "", "raw"} {
			for _, size := range []int{0, 1, 31, 32, 33, 47, 48, 49, 63, 64, 65, 4096} {
				want, taken := tc.sizes[mt]
				var wantErr error
				switch {
				case !taken:
					wantErr = crypto.ErrMessageType
				case want != any && want != size:
					wantErr = crypto.ErrMessageLength
				}
				message := make([]byte, size)
				if _, err := key.Sign(tc.alg, mt, message); !errors.Is(err, wantErr) {
					t.Errorf("%s: Sign of %d bytes %q: %v, want %v", tc.alg, size, mt, err, wantErr)
				}
				if wantErr == nil {
					wantErr = crypto.ErrSignature
				}
				if err := key.Public().Verify(tc.alg, mt, message, []byte{1}); !errors.Is(err, wantErr) {
					t.Errorf("%s: Verify of %d bytes %q: %v, want %v", tc.alg, size, mt, err, wantErr)
				}
			}
		}
	}
}

// The algorithms that are deterministic by definition, and those that are not.
func TestRandomisation(t *testing.T) {
	t.Parallel()
	for spec := range signatureSizes {
		key := openFixture(t, spec)
		for _, alg := range spec.SigningAlgorithms() {
			want := strings.HasPrefix(string(alg), "RSASSA_PKCS1") || strings.HasPrefix(string(alg), "ED25519")
			m := hashOf(alg, []byte("a message"))
			if m == nil {
				m = make([]byte, 64) // as long as μ
			}
			for _, mt := range []kms.MessageType{"RAW", "DIGEST", "EXTERNAL_MU"} {
				first, err := key.Sign(alg, mt, m)
				if errors.Is(err, crypto.ErrMessageType) {
					continue
				}
				if err != nil {
					t.Fatalf("%s %s: %v", alg, mt, err)
				}
				if same := bytes.Equal(first, signWith(t, key, alg, mt, m)); same != want {
					t.Errorf("%s %s %s: two signatures are the same: %v, want %v", spec, alg, mt, same, want)
				}
			}
		}
	}
}

// RFC 8032 §7.3, whose message has 3 bytes. AWS's DIGEST takes the message's place, so
// that the vector goes in where PH's output does.
func TestEd25519phVector(t *testing.T) {
	t.Parallel()
	seed := unhex(t, "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42")
	public := unhex(t, "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf")
	want := unhex(t, "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"+
		"31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406")
	secret := append(unhex(t, "302e020100300506032b657004220420"), seed...)
	der := append(unhex(t, "302a300506032b6570032100"), public...)
	key, err := crypto.OpenPrivateKey("ECC_NIST_EDWARDS25519", secret, der)
	if err != nil {
		t.Fatal(err)
	}
	abc := sha512.Sum512([]byte("abc"))
	if got, err := crypto.SignEd25519ph(key, abc[:]); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v, want %x", got, err, want)
	}
}

// The 64 bytes that are submitted as a DIGEST are Ed25519ph's message and hashed again
// (AWS: Sign, MessageType).
func TestEd25519phHashesTheDigest(t *testing.T) {
	t.Parallel()
	f := fixture(t, "ECC_NIST_EDWARDS25519")
	parsed, err := x509.ParsePKCS8PrivateKey(f.Secret)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha512.Sum512([]byte("a message of a client"))
	again := sha512.Sum512(digest[:])
	want, err := parsed.(ed25519.PrivateKey).Sign(nil, again[:], stdcrypto.SHA512)
	if err != nil {
		t.Fatal(err)
	}
	key := f.open(t, "ECC_NIST_EDWARDS25519")
	if got := signWith(t, key, "ED25519_PH_SHA_512", "DIGEST", digest[:]); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if err := key.Public().Verify("ED25519_PH_SHA_512", "DIGEST", digest[:], want); err != nil {
		t.Error(err)
	}
}

// Signatures on secp256k1 have s as it comes (AWS: Sign): above half of the order (SEC 2
// §2.4.1) in one of two, where DER puts a zero in front. Of 256, all or none would be so
// with a chance of 2^-255.
func TestSecp256k1SignaturesAreNotNormalised(t *testing.T) {
	t.Parallel()
	key, long := openFixture(t, "ECC_SECG_P256K1"), 0
	for i := range 256 {
		message := []byte{byte(i)}
		signature := signWith(t, key, "ECDSA_SHA_256", "RAW", message)
		if err := key.Public().Verify("ECDSA_SHA_256", "RAW", message, signature); err != nil {
			t.Errorf("%x: %v", signature, err)
		}
		if s := signature[4+signature[3]+2:]; len(s) > 32 {
			long++
		}
	}
	if long == 0 || long == 256 {
		t.Errorf("%d of 256 values of s are in the upper half", long)
	}
}

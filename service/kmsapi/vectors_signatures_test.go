package kmsapi_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// maxMessage is how many bytes a RAW message has at most (AWS: Sign, GenerateMac).
const maxMessage = 4096

// vectorGroup is one of Wycheproof's with its vectors; the members of the groups' key
// depend on the algorithm.
type vectorGroup[V any] struct {
	KeySize, TagSize int
	SHA, MGFSHA      string
	PublicKeyDER     hexBytes `json:"publicKeyDer"`
	PrivateKeyPKCS8  hexBytes
	Tests            []V
}

func readGroups[V any](t *testing.T, name string) []vectorGroup[V] {
	t.Helper()
	dir, err := vectorsDir()
	if err != nil {
		t.Fatalf("finding the Wycheproof vectors: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, name+"_test.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ TestGroups []vectorGroup[V] }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return file.TestGroups
}

type signatureVector struct {
	ID            int `json:"tcId"`
	Msg, Sig, Ctx hexBytes
	Result        string
}

// signatureFile is a file of vectors with the numbers of those of each result in the
// pinned version. Those that are called acceptable are PKCS #1 v1.5 signatures whose
// DigestInfo lacks its NULL: RFC 8017, section 9.2, has one encoding.
//
// Some cannot be asked, and are counted apart: "key" are public keys that no KMS key can
// have (exponent 3; lengths that ML-DSA does not have). Vectors with a "context" are asked
// without it, for KMS has none, and must be refused; "empty or too long" are messages that
// no type of message takes.
type signatureFile struct {
	name, spec, algorithm string
	want                  map[string]int
}

var signatureFiles = []signatureFile{
	{"rsa_signature_2048_sha256", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", map[string]int{"valid": 7, "acceptable": 1, "invalid": 249, "key": 2}},
	{"rsa_signature_2048_sha384", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_384", map[string]int{"valid": 7, "acceptable": 1, "invalid": 250}},
	{"rsa_signature_2048_sha512", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512", map[string]int{"valid": 7, "acceptable": 1, "invalid": 250, "key": 1}},
	{"rsa_signature_3072_sha256", "RSA_3072", "RSASSA_PKCS1_V1_5_SHA_256", map[string]int{"valid": 7, "acceptable": 1, "invalid": 250, "key": 1}},
	{"rsa_signature_3072_sha384", "RSA_3072", "RSASSA_PKCS1_V1_5_SHA_384", map[string]int{"valid": 7, "acceptable": 1, "invalid": 251}},
	{"rsa_signature_3072_sha512", "RSA_3072", "RSASSA_PKCS1_V1_5_SHA_512", map[string]int{"valid": 7, "acceptable": 1, "invalid": 251, "key": 1}},
	{"rsa_signature_4096_sha256", "RSA_4096", "RSASSA_PKCS1_V1_5_SHA_256", map[string]int{"valid": 7, "acceptable": 1, "invalid": 250}},
	{"rsa_signature_4096_sha384", "RSA_4096", "RSASSA_PKCS1_V1_5_SHA_384", map[string]int{"valid": 7, "acceptable": 1, "invalid": 251}},
	{"rsa_signature_4096_sha512", "RSA_4096", "RSASSA_PKCS1_V1_5_SHA_512", map[string]int{"valid": 7, "acceptable": 1, "invalid": 251}},
	{"rsa_pss_2048_sha256_mgf1_32", "RSA_2048", "RSASSA_PSS_SHA_256", map[string]int{"valid": 63, "invalid": 45}},
	{"rsa_pss_2048_sha384_mgf1_48", "RSA_2048", "RSASSA_PSS_SHA_384", map[string]int{"valid": 95, "invalid": 46}},
	{"rsa_pss_3072_sha256_mgf1_32", "RSA_3072", "RSASSA_PSS_SHA_256", map[string]int{"valid": 63, "invalid": 45}},
	{"rsa_pss_4096_sha256_mgf1_32", "RSA_4096", "RSASSA_PSS_SHA_256", map[string]int{"valid": 63, "invalid": 45}},
	{"rsa_pss_4096_sha384_mgf1_48", "RSA_4096", "RSASSA_PSS_SHA_384", map[string]int{"valid": 95, "invalid": 46}},
	{"rsa_pss_4096_sha512_mgf1_64", "RSA_4096", "RSASSA_PSS_SHA_512", map[string]int{"valid": 132, "invalid": 47}},
	{"ecdsa_secp256r1_sha256", "ECC_NIST_P256", "ECDSA_SHA_256", map[string]int{"valid": 174, "invalid": 310}},
	{"ecdsa_secp384r1_sha384", "ECC_NIST_P384", "ECDSA_SHA_384", map[string]int{"valid": 194, "invalid": 310}},
	{"ecdsa_secp521r1_sha512", "ECC_NIST_P521", "ECDSA_SHA_512", map[string]int{"valid": 232, "invalid": 310}},
	{"ecdsa_secp256k1_sha256", "ECC_SECG_P256K1", "ECDSA_SHA_256", map[string]int{"valid": 168, "invalid": 308}},
	{"ed25519", "ECC_NIST_EDWARDS25519", "ED25519_SHA_512", map[string]int{"valid": 84, "invalid": 63, "empty or too long": 4}},
	{"mldsa_44_verify", "ML_DSA_44", "ML_DSA_SHAKE_256", map[string]int{"valid": 75, "invalid": 94, "key": 4, "context": 7}},
	{"mldsa_65_verify", "ML_DSA_65", "ML_DSA_SHAKE_256", map[string]int{"valid": 77, "invalid": 122, "key": 4, "context": 7}},
	{"mldsa_87_verify", "ML_DSA_87", "ML_DSA_SHAKE_256", map[string]int{"valid": 69, "invalid": 161, "key": 4, "context": 7}},
}

// Of what is not valid, everything is the one refusal of signatures, except for those that
// the model does not let in because they are empty.
func TestWycheproofVerify(t *testing.T) {
	t.Parallel()
	for _, f := range signatureFiles {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p, ran := newPlanted(t, f.spec+" SIGN_VERIFY"), map[string]int{}
			for _, group := range readGroups[signatureVector](t, f.name) {
				if _, err := crypto.ParsePublicKey(kms.KeySpec(f.spec), group.PublicKeyDER); err != nil {
					ran["key"] += len(group.Tests)
					continue
				}
				// Verify opens no secret: what is planted as one is never looked at.
				key := p.plant(t, group.PublicKeyDER, group.PublicKeyDER)
				for _, v := range group.Tests {
					kind := v.Result
					if len(v.Ctx) != 0 {
						kind = "context"
					}
					if !f.verify(t, p, key, &v, kind == "valid") {
						kind = "empty or too long"
					}
					ran[kind]++
				}
			}
			wantRan(t, ran, f.want)
		})
	}
}

// verify asks about a vector's message in every form that the algorithm takes and that is
// not too long or empty, and tells whether there was one.
func (f *signatureFile) verify(t *testing.T, p *planted, key string, v *signatureVector, valid bool) (asked bool) {
	t.Helper()
	want := badSignature
	switch {
	case valid:
		want = success
	case len(v.Sig) == 0:
		want = constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=0 cap=0]' at 'signature' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	for kind, message := range f.forms(t, p, key, v.Msg) {
		if len(message) == 0 || len(message) > maxMessage {
			continue // the model's constraints refuse it
		}
		asked = true
		a := p.Call(t, testkit.Root, "Verify", obj{"KeyId": key, "Message": b64(message), "MessageType": kind, "Signature": b64(v.Sig), "SigningAlgorithm": f.algorithm})
		wantOutcome(t, a, want)
		if t.Failed() {
			t.Fatalf("vector %d, %s", v.ID, kind)
		}
		if valid && a.Body["SignatureValid"] != true {
			t.Errorf("vector %d, %s: got %v", v.ID, kind, a.Body)
		}
	}
	return asked
}

// forms are the message in every type that the algorithm takes.
func (f *signatureFile) forms(t *testing.T, p *planted, key string, message []byte) map[string][]byte {
	t.Helper()
	s, all := &signers{p.Solo, map[string]string{f.spec: key}}, map[string][]byte{}
	for _, c := range signingCases {
		if c.spec == f.spec && c.algorithm == f.algorithm {
			takes, _ := c.kinds()
			for _, kind := range takes {
				all[kind] = s.hashed(t, &c, kind, message)
			}
		}
	}
	return all
}

type macVector struct {
	ID            int `json:"tcId"`
	Key, Msg, Tag hexBytes
	Result        string
}

// Truncated MACs are refused, whatever they are called: KMS has none. Keys shorter than
// the hash cannot be KMS keys ("short key"), and empty messages are refused before.
func TestWycheproofVerifyMac(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]map[string]int{
		"hmac_sha224": {"valid": 30, "invalid": 54, "truncated": 82, "short key": 6},
		"hmac_sha256": {"valid": 30, "invalid": 54, "truncated": 84, "short key": 6},
		"hmac_sha384": {"valid": 30, "invalid": 54, "truncated": 84, "short key": 6},
		"hmac_sha512": {"valid": 30, "invalid": 54, "truncated": 84, "short key": 6},
	} {
		for _, c := range macCases {
			if strings.TrimPrefix(c.spec, "HMAC_") != strings.TrimPrefix(file, "hmac_sha") {
				continue
			}
			t.Run(file, func(t *testing.T) {
				t.Parallel()
				p, ran := newPlanted(t, c.spec+" GENERATE_VERIFY_MAC"), map[string]int{}
				for _, group := range readGroups[macVector](t, file) {
					for _, v := range group.Tests {
						kind := v.Result
						switch {
						case group.KeySize < 8*c.size:
							ran["short key"]++
							continue
						case group.TagSize < 8*c.size:
							kind = "truncated"
						}
						ran[kind]++
						p.verifyMac(t, c.algorithm, &v, kind == "valid")
					}
				}
				wantRan(t, ran, want)
			})
		}
	}
}

func (p *planted) verifyMac(t *testing.T, algorithm string, v *macVector, valid bool) {
	t.Helper()
	want, key := badMac, p.plant(t, v.Key, nil)
	if valid {
		want = success
	}
	if len(v.Msg) == 0 {
		want = constraint("Value at 'message' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	a := p.Call(t, testkit.Root, "VerifyMac", obj{"KeyId": key, "Message": b64(v.Msg), "Mac": b64(v.Tag), "MacAlgorithm": algorithm})
	wantOutcome(t, a, want)
	if valid && len(v.Msg) != 0 {
		made := p.Must(t, "GenerateMac", obj{"KeyId": key, "Message": b64(v.Msg), "MacAlgorithm": algorithm})
		if made["Mac"] != b64(v.Tag) {
			t.Errorf("vector %d: made %v, want %s", v.ID, made["Mac"], b64(v.Tag))
		}
	}
}

type oaepVector struct {
	ID             int `json:"tcId"`
	Msg, CT, Label hexBytes
	Result         string
}

// Vectors with a label are refused: KMS has none. Some cannot be asked, and are counted
// apart: "three primes" are keys of more primes than KMS keys have; "other parameters" are
// other moduli, other hash functions, and two different ones.
func TestWycheproofDecrypt(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]map[string]int{
		"rsa_oaep_2048_sha1_mgf1sha1":                  {"valid": 10, "invalid": 19, "label": 7},
		"rsa_oaep_2048_sha256_mgf1sha256":              {"valid": 10, "invalid": 19, "label": 8},
		"rsa_oaep_3072_sha256_mgf1sha256":              {"valid": 10, "invalid": 19, "label": 8},
		"rsa_oaep_4096_sha256_mgf1sha256":              {"valid": 10, "invalid": 19, "label": 8},
		"rsa_oaep_misc":                                {"valid": 18, "other parameters": 377},
		"rsa_three_primes_oaep_2048_sha1_mgf1sha1":     {"three primes": 36},
		"rsa_three_primes_oaep_4096_sha256_mgf1sha256": {"three primes": 36},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			models, ran := map[string]*planted{}, map[string]int{}
			for _, group := range readGroups[oaepVector](t, file) {
				c := oaepCaseOf(&group)
				switch {
				case c == nil:
					ran["other parameters"] += len(group.Tests)
					continue
				case strings.HasPrefix(file, "rsa_three_primes"):
					ran["three primes"] += len(group.Tests)
					continue
				}
				if models[c.spec] == nil {
					models[c.spec] = newPlanted(t, c.spec+" ENCRYPT_DECRYPT")
				}
				p := models[c.spec]
				key := p.plant(t, group.PrivateKeyPKCS8, publicOfPKCS8(t, group.PrivateKeyPKCS8))
				for _, v := range group.Tests {
					ran[p.decryptVector(t, c, key, &v)]++
				}
			}
			wantRan(t, ran, want)
		})
	}
}

// oaepCaseOf is the spec and the algorithm of a group, nil if AWS has none.
func oaepCaseOf(group *vectorGroup[oaepVector]) *oaepCase {
	algorithm := "RSAES_OAEP_" + strings.ReplaceAll(group.SHA, "-", "_")
	for i, c := range oaepCases {
		if 8*c.size == group.KeySize && c.algorithm == algorithm && group.SHA == group.MGFSHA {
			return &oaepCases[i]
		}
	}
	return nil
}

// decryptVector returns what the vector was counted as.
func (p *planted) decryptVector(t *testing.T, c *oaepCase, key string, v *oaepVector) (kind string) {
	t.Helper()
	kind = v.Result
	if len(v.Label) != 0 {
		kind = "label"
	}
	a := p.Call(t, testkit.Root, "Decrypt", obj{"KeyId": key, "CiphertextBlob": b64(v.CT), "EncryptionAlgorithm": c.algorithm})
	switch {
	case len(v.CT) == 0:
		wantOutcome(t, a, constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=0 cap=0]' at 'ciphertextBlob' failed to satisfy constraint: Member must have length greater than or equal to 1"))
	case kind != "valid":
		wantOutcome(t, a, invalidCiphertext)
	case a.Refusal != nil || !bytes.Equal(unb64(t, a.Body["Plaintext"]), v.Msg):
		t.Errorf("vector %d: got %v, %v, want %x", v.ID, a.Refusal, a.Body, v.Msg)
	}
	return kind
}

// publicOfPKCS8 is the SubjectPublicKeyInfo of a private RSA key.
func publicOfPKCS8(t *testing.T, pkcs8 []byte) []byte {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.(*rsa.PrivateKey).Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

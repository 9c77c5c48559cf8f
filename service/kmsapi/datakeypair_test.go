package kmsapi_test

import (
	"bytes"
	"crypto"
	"crypto/mlkem"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"

	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

const (
	newKeyPair = `{"KeyId":"alias/app","KeyPairSpec":"ECC_NIST_P256","EncryptionContext":{"App":"x","a:b":"y"}}`
	newKeyNone = `{"KeyId":"$KEY","KeyPairSpec":"ECC_NIST_P384"}`
)

// pairOperations make data key pairs.
var pairOperations = []string{"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"}

// The specs of data key pairs but SM2 (AWS: DataKeyPairSpec).
var pairKinds = strings.Fields("RSA_2048 RSA_3072 RSA_4096 ECC_NIST_P256 ECC_NIST_P384 ECC_NIST_P521 ECC_SECG_P256K1 ECC_NIST_EDWARDS25519 ML_KEM_512 ML_KEM_768 ML_KEM_1024")

// What every operation answers of every spec: the halves belong together, and the
// ciphertext is that of exactly the private key, under the same context only.
func TestDataKeyPairs(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	material := materialOf(t, s, key)
	for _, spec := range pairKinds {
		t.Run(spec, func(t *testing.T) {
			body := obj{"KeyId": key, "KeyPairSpec": spec, "EncryptionContext": obj{"a": "1"}}
			open, closed := s.Must(t, "GenerateDataKeyPair", body), s.Must(t, "GenerateDataKeyPairWithoutPlaintext", body)
			wantMembers(t, open, "PrivateKeyCiphertextBlob PrivateKeyPlaintext PublicKey KeyId KeyPairSpec KeyMaterialId")
			wantMembers(t, closed, "PrivateKeyCiphertextBlob PublicKey KeyId KeyPairSpec KeyMaterialId")
			if open["PublicKey"] == closed["PublicKey"] {
				t.Error("the same pair twice")
			}
			for _, made := range []obj{open, closed} {
				if made["KeyId"] != testkit.ARN(key) || made["KeyPairSpec"] != spec || made["KeyMaterialId"] != material {
					t.Errorf("got %v %v %v", made["KeyId"], made["KeyPairSpec"], made["KeyMaterialId"])
				}
				decrypt := obj{"CiphertextBlob": made["PrivateKeyCiphertextBlob"]}
				wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", decrypt), invalidCiphertext)
				private := s.Must(t, "Decrypt", with(decrypt, obj{"EncryptionContext": obj{"a": "1"}}))["Plaintext"]
				if p, ok := made["PrivateKeyPlaintext"]; ok && p != private {
					t.Error("the ciphertext holds another private key")
				}
				wantPair(t, spec, unb64(t, private), unb64(t, made["PublicKey"]))
			}
		})
	}
}

// wantPair checks with code of others, as far as there is any, that a private key is of
// the spec and that the public key is its other half.
func wantPair(t *testing.T, spec string, private, public []byte) {
	t.Helper()
	if spec == "ECC_SECG_P256K1" {
		wantSecp256k1(t, private, public)
		return
	}
	if strings.HasPrefix(spec, "ML_KEM_") {
		wantMLKEM(t, spec, private, public)
		return
	}
	parsed, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	half := parsed.(crypto.Signer).Public()
	der, err := x509.MarshalPKIXPublicKey(half)
	if err != nil || !bytes.Equal(der, public) || kindOf(half) != spec {
		t.Errorf("a key of kind %s, error %v, the same public key: %t", kindOf(half), err, bytes.Equal(der, public))
	}
	again, err := x509.MarshalPKCS8PrivateKey(parsed)
	if err != nil || !bytes.Equal(again, private) {
		t.Errorf("another encoding of the private key, or error %v", err)
	}
}

// The DER of a private key on secp256k1: PrivateKeyInfo with ecPublicKey and the curve's
// name (RFC 5958, RFC 5480; SEC 2: 1.3.132.0.10), around version 1 and 32 bytes (RFC
// 5915). The point stands in both halves.
func wantSecp256k1(t *testing.T, private, public []byte) {
	t.Helper()
	algorithm := unhex(t, "301006072a8648ce3d020106052b8104000a")
	if !bytes.Contains(private, algorithm) || !bytes.Contains(private, unhex(t, "0201010420")) {
		t.Error("not a private key on secp256k1")
	}
	if len(public) != 88 || !bytes.Contains(public[:23], algorithm) || !bytes.Contains(private, public[23:]) {
		t.Error("the halves do not belong together")
	}
}

// ML-KEM's private keys are seeds of 64 bytes: OCTET STRING with the context tag 0 and
// the seed (RFC 9935, section 6; arcs of the algorithms: section 3).
func wantMLKEM(t *testing.T, spec string, private, public []byte) {
	t.Helper()
	arc := map[string]string{"ML_KEM_512": "01", "ML_KEM_768": "02", "ML_KEM_1024": "03"}[spec]
	head := unhex(t, "3054020100300b06096086480165030404"+arc+"04428040")
	seed, ok := bytes.CutPrefix(private, head)
	if !ok || len(seed) != 64 {
		t.Fatalf("the private key has %d bytes, and another head", len(private))
	}
	raw := public[22:]
	switch spec {
	case "ML_KEM_768":
		k, err := mlkem.NewDecapsulationKey768(seed)
		if err != nil || !bytes.Equal(k.EncapsulationKey().Bytes(), raw) {
			t.Errorf("the halves do not belong together (%v)", err)
		}
	case "ML_KEM_1024":
		k, err := mlkem.NewDecapsulationKey1024(seed)
		if err != nil || !bytes.Equal(k.EncapsulationKey().Bytes(), raw) {
			t.Errorf("the halves do not belong together (%v)", err)
		}
	default:
		// The standard library has no ML-KEM-512: the opener compares the halves.
		if _, err := kmscrypto.OpenPrivateKey(kms.MLKEM512, bytes.Clone(seed), public); err != nil {
			t.Error(err)
		}
	}
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDataKeyPairRefusals(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, rsaKey, signing, external := s.NewKey(t), newRSA(t, s), newKeyOf(t, s, "ECC_NIST_P256 SIGN_VERIFY"), s.NewKey(t)
	s.SetOrigin(t, external, "EXTERNAL")
	tooLarge := validation("The encryption context is too large: its keys and values may have at most 8192 bytes together.")
	for _, op := range pairOperations {
		for _, row := range []struct {
			name string
			body obj
			want outcome
		}{
			{"SM2", obj{"KeyId": key, "KeyPairSpec": "SM2"}, unsupported("KeyPairSpec SM2 is not supported in this region")},
			{"under RSA", obj{"KeyId": rsaKey, "KeyPairSpec": "ECC_NIST_P256"}, badAlgorithm("SYMMETRIC_DEFAULT", "RSA_2048")},
			{"under a signing key", obj{"KeyId": signing, "KeyPairSpec": "ECC_NIST_P256"},
				outcome{"InvalidKeyUsageException", testkit.ARN(signing) + " key usage is SIGN_VERIFY which is not valid for " + op + "."}},
			{"under imported material", obj{"KeyId": external, "KeyPairSpec": "ECC_NIST_P256"}, success},
			{"a large context", obj{"KeyId": key, "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": obj{"k": strings.Repeat("x", 8192)}}, tooLarge},
			{"the largest context", obj{"KeyId": key, "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": obj{"k": strings.Repeat("x", 8191)}}, success},
		} {
			t.Run(op+" "+row.name, func(t *testing.T) { wantOutcome(t, s.Call(t, testkit.Root, op, row.body), row.want) })
		}
	}
}

// Pairs of RSA keys are made one after the other in the pool for heavy work.
func BenchmarkGenerateDataKeyPair(b *testing.B) {
	for _, spec := range []string{"ECC_NIST_P256", "ECC_NIST_EDWARDS25519", "ML_KEM_768", "RSA_2048"} {
		b.Run(spec, func(b *testing.B) {
			benchmarkKind(b, "GenerateDataKeyPair", "", `{"KeyId":"$KEY","KeyPairSpec":"`+spec+`"}`)
		})
	}
}

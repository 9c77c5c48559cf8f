package kmsapi_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// specCase is a row of AWS's table of key types: a spec with a usage, the member of
// KeyMetadata that has its algorithms, and those in their order (AWS: "Key spec
// reference", KeyMetadata).
type specCase struct{ spec, usage, member, algorithms string }

var specCases = []specCase{
	{"RSA_2048", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256"},
	{"RSA_2048", "SIGN_VERIFY", "SigningAlgorithms", rsaSigning},
	{"RSA_3072", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256"},
	{"RSA_3072", "SIGN_VERIFY", "SigningAlgorithms", rsaSigning},
	{"RSA_4096", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256"},
	{"RSA_4096", "SIGN_VERIFY", "SigningAlgorithms", rsaSigning},
	{"ECC_NIST_P256", "SIGN_VERIFY", "SigningAlgorithms", "ECDSA_SHA_256"},
	{"ECC_NIST_P256", "KEY_AGREEMENT", "KeyAgreementAlgorithms", "ECDH"},
	{"ECC_NIST_P384", "SIGN_VERIFY", "SigningAlgorithms", "ECDSA_SHA_384"},
	{"ECC_NIST_P384", "KEY_AGREEMENT", "KeyAgreementAlgorithms", "ECDH"},
	{"ECC_NIST_P521", "SIGN_VERIFY", "SigningAlgorithms", "ECDSA_SHA_512"},
	{"ECC_NIST_P521", "KEY_AGREEMENT", "KeyAgreementAlgorithms", "ECDH"},
	{"ECC_SECG_P256K1", "SIGN_VERIFY", "SigningAlgorithms", "ECDSA_SHA_256"},
	{"ECC_NIST_EDWARDS25519", "SIGN_VERIFY", "SigningAlgorithms", "ED25519_SHA_512 ED25519_PH_SHA_512"},
	{"HMAC_224", "GENERATE_VERIFY_MAC", "MacAlgorithms", "HMAC_SHA_224"},
	{"HMAC_256", "GENERATE_VERIFY_MAC", "MacAlgorithms", "HMAC_SHA_256"},
	{"HMAC_384", "GENERATE_VERIFY_MAC", "MacAlgorithms", "HMAC_SHA_384"},
	{"HMAC_512", "GENERATE_VERIFY_MAC", "MacAlgorithms", "HMAC_SHA_512"},
	{"ML_DSA_44", "SIGN_VERIFY", "SigningAlgorithms", "ML_DSA_SHAKE_256"},
	{"ML_DSA_65", "SIGN_VERIFY", "SigningAlgorithms", "ML_DSA_SHAKE_256"},
	{"ML_DSA_87", "SIGN_VERIFY", "SigningAlgorithms", "ML_DSA_SHAKE_256"},
	{"ML_KEM_512", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", "ML_KEM"},
	{"ML_KEM_768", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", "ML_KEM"},
	{"ML_KEM_1024", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", "ML_KEM"},
}

const rsaSigning = "RSASSA_PKCS1_V1_5_SHA_256 RSASSA_PKCS1_V1_5_SHA_384 RSASSA_PKCS1_V1_5_SHA_512 RSASSA_PSS_SHA_256 RSASSA_PSS_SHA_384 RSASSA_PSS_SHA_512"

// list is the algorithms as JSON.
func (c *specCase) list() string {
	return `["` + strings.ReplaceAll(c.algorithms, " ", `","`) + `"]`
}

// Keys of every spec and usage show what AWS's do: exactly one list of algorithms, and no
// key material (AWS: KeyMetadata). CreateKey, DescribeKey and the record of CreateKey
// agree; GetPublicKey shows the same of asymmetric keys.
func TestKeyTypes(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, c := range specCases {
		t.Run(c.spec+" "+c.usage, func(t *testing.T) {
			made := s.Call(t, testkit.Root, "CreateKey", obj{"KeySpec": c.spec, "KeyUsage": c.usage, "Description": "d"})
			wantOutcome(t, made, success)
			id := made.Body["KeyMetadata"].(obj)["KeyId"].(string)
			names := []string{"$ID", id, "$SPEC", c.spec, "$USAGE", c.usage, "$MEMBER", c.member, "$LIST", c.list()}
			const metadata = `"arn:aws:kms:us-east-1:111122223333:key/$ID"`
			wantJSON(t, made.Body, fill(`{"KeyMetadata":{"AWSAccountId":"111122223333","KeyId":"$ID","Arn":`+metadata+`,"CreationDate":1795521600.345,"Enabled":true,
				"Description":"d","KeyUsage":"$USAGE","KeyState":"Enabled","Origin":"AWS_KMS","KeyManager":"CUSTOMER","CustomerMasterKeySpec":"$SPEC","KeySpec":"$SPEC",
				"$MEMBER":$LIST,"MultiRegion":false}}`, names...))
			wantJSON(t, s.Must(t, "DescribeKey", obj{"KeyId": id}), string(made.Raw))
			shown := s.Record(t, made)["responseElements"].(obj)["keyMetadata"].(obj)
			wantJSON(t, shown[strings.ToLower(c.member[:1])+c.member[1:]], c.list())
			if _, ok := shown["currentKeyMaterialId"]; ok {
				t.Errorf("the record shows %v", shown)
			}
			c.checkPublic(t, s, id)
			c.checkRotation(t, s, id)
		})
	}
}

func (c *specCase) checkPublic(t *testing.T, s *testkit.Solo, id string) {
	t.Helper()
	if c.member == "MacAlgorithms" {
		wantOutcome(t, s.Call(t, testkit.Root, "GetPublicKey", obj{"KeyId": id}), unsupported(""))
		return
	}
	got := s.Must(t, "GetPublicKey", obj{"KeyId": id})
	der := unb64(t, got["PublicKey"])
	wantJSON(t, got, fill(`{"KeyId":"arn:aws:kms:us-east-1:111122223333:key/$ID","PublicKey":"$DER","CustomerMasterKeySpec":"$SPEC","KeySpec":"$SPEC","KeyUsage":"$USAGE",
		"$MEMBER":$LIST}`, "$ID", id, "$DER", b64(der), "$SPEC", c.spec, "$USAGE", c.usage, "$MEMBER", c.member, "$LIST", c.list()))
	// Sizes: FIPS 204 and 203 with 22 bytes before the raw key; secp256k1 with 23 (SEC 1).
	sizes := map[string]int{"ML_DSA_44": 1312 + 22, "ML_DSA_65": 1952 + 22, "ML_DSA_87": 2592 + 22, "ML_KEM_512": 800 + 22, "ML_KEM_768": 1184 + 22, "ML_KEM_1024": 1568 + 22,
		"ECC_SECG_P256K1": 65 + 23}
	if size := sizes[c.spec]; size != 0 {
		if len(der) != size {
			t.Errorf("the public key has %d bytes, want %d", len(der), size)
		}
		return
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	if kind := kindOf(key); kind != c.spec {
		t.Errorf("the public key is %s", kind)
	}
}

// kindOf names the spec of a key that package x509 knows.
func kindOf(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.E == 65537 {
			return fmt.Sprintf("RSA_%d", k.N.BitLen())
		}
	case *ecdsa.PublicKey:
		return "ECC_NIST_" + strings.ReplaceAll(k.Params().Name, "-", "")
	case ed25519.PublicKey:
		return "ECC_NIST_EDWARDS25519"
	}
	return fmt.Sprintf("%T", key)
}

// checkRotation: keys of these types do not rotate, and say so (AWS: "Rotating AWS KMS
// keys", GetKeyRotationStatus).
func (c *specCase) checkRotation(t *testing.T, s *testkit.Solo, id string) {
	t.Helper()
	wantJSON(t, s.Must(t, "GetKeyRotationStatus", obj{"KeyId": id}), `{"KeyId":"`+id+`","KeyRotationEnabled":false}`)
	before := s.Prune(t)
	for _, op := range []string{"EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand", "ListKeyRotations"} {
		wantOutcome(t, s.Call(t, testkit.Root, op, obj{"KeyId": id}), unsupported(""))
	}
	wantOutcome(t, s.Call(t, testkit.Root, "ListKeyRotations", obj{"KeyId": id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}), unsupported(""))
	if s.Prune(t) != before {
		t.Error("refused calls changed the state")
	}
}

func TestPublicKeyOfSymmetricKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	wantOutcome(t, s.Call(t, testkit.Root, "GetPublicKey", obj{"KeyId": s.NewKey(t)}), unsupported(""))
}

// A key that waits for its first material has no public key.
func TestPublicKeyBeforeTheImport(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	const id = "1234abcd-12ab-34cd-56ef-1234567890ab"
	s.Apply(t, fsm.CreateKey{Policy: rootPolicy, Key: fsm.Key{
		Account: testkit.Account, Region: testkit.Region, ID: id, Spec: kms.RSA2048, Usage: kms.SignVerify, Origin: kms.OriginExternal, Manager: kms.ManagerCustomer,
		State: kms.PendingImport, PolicyHash: sha256.Sum256([]byte(rootPolicy)),
	}})
	wantOutcome(t, s.Call(t, testkit.Root, "GetPublicKey", obj{"KeyId": id}), outcome{"KMSInvalidStateException", testkit.ARN(id) + " is pending import."})
	metadata := s.Must(t, "DescribeKey", obj{"KeyId": id})["KeyMetadata"].(obj)
	wantJSON(t, metadata["SigningAlgorithms"], `["`+strings.ReplaceAll(rsaSigning, " ", `","`)+`"]`)
	if _, ok := metadata["CurrentKeyMaterialId"]; ok || metadata["KeyState"] != "PendingImport" {
		t.Errorf("got %v", metadata)
	}
}

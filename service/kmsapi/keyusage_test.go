package kmsapi_test

import (
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// usageKinds is a kind of key of each usage.
var usageKinds = map[string]string{
	"ENCRYPT_DECRYPT": "", "SIGN_VERIFY": "ECC_NIST_P256 SIGN_VERIFY", "KEY_AGREEMENT": "ECC_NIST_P256 KEY_AGREEMENT",
	"GENERATE_VERIFY_MAC": "HMAC_256 GENERATE_VERIFY_MAC", "ENCAPSULATE_DECAPSULATE": "ML_KEM_512 ENCAPSULATE_DECAPSULATE",
}

// usageCases are the cryptographic operations, with the usage that each needs and a body
// that succeeds with a key of that usage (AWS: "Key spec reference"). $GOOD is a symmetric
// encryption key, $GOODBLOB its ciphertext.
var usageCases = []struct{ op, usage, body string }{
	{"Encrypt", "ENCRYPT_DECRYPT", `{"KeyId":"$KEY","Plaintext":"AA=="}`},
	{"Decrypt", "ENCRYPT_DECRYPT", `{"KeyId":"$KEY","CiphertextBlob":"$BLOB"}`},
	{"ReEncrypt", "ENCRYPT_DECRYPT", `{"SourceKeyId":"$KEY","CiphertextBlob":"$BLOB","DestinationKeyId":"$GOOD"}`},
	{"ReEncrypt", "ENCRYPT_DECRYPT", `{"CiphertextBlob":"$GOODBLOB","DestinationKeyId":"$KEY"}`},
	{"GenerateDataKey", "ENCRYPT_DECRYPT", `{"KeyId":"$KEY","KeySpec":"AES_256"}`},
	{"GenerateDataKeyWithoutPlaintext", "ENCRYPT_DECRYPT", `{"KeyId":"$KEY","KeySpec":"AES_256"}`},
	{"Sign", "SIGN_VERIFY", `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256"}`},
	{"Verify", "SIGN_VERIFY", `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256","Signature":"$SIGNATURE"}`},
	{"GenerateMac", "GENERATE_VERIFY_MAC", `{"KeyId":"$KEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256"}`},
	{"DeriveSharedSecret", "KEY_AGREEMENT", `{"KeyId":"$KEY","KeyAgreementAlgorithm":"ECDH","PublicKey":"` + generatorP256 + `"}`},
	{"Encapsulate", "ENCAPSULATE_DECAPSULATE", `{"KeyId":"$KEY","EncapsulationAlgorithm":"ML_KEM"}`},
	{"Decapsulate", "ENCAPSULATE_DECAPSULATE", `{"KeyId":"$KEY","SharedSecretCiphertextBlob":"$ENCAPSULATED","EncapsulationAlgorithm":"ML_KEM"}`},
	{"VerifyMac", "GENERATE_VERIFY_MAC", `{"KeyId":"$KEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256","Mac":"$MAC"}`},
}

// Every cryptographic operation works with keys of one usage, and refuses those of every
// other by its name. What the operation then needs is not looked at, but the key's state
// is before that.
func TestUsages(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	good := s.NewKey(t)
	for _, c := range usageCases {
		for usage, kind := range usageKinds {
			t.Run(c.op+" "+usage, func(t *testing.T) {
				key := newKeyOf(t, s, kind)
				want := keyUsage(testkit.ARN(key) + " key usage is " + usage + " which is not valid for " + c.op + ".")
				made := []string{"$SIGNATURE", "AA==", "$MAC", "AA==", "$ENCAPSULATED", "AA==", "$BLOB", s.NewBlob(t, good)}
				if usage == c.usage {
					want, made = success, newMade(t, s, c.op, key)
				}
				body := fill(fill(c.body, "$GOODBLOB", s.NewBlob(t, good), "$GOOD", good, "$KEY", key), made...)
				wantOutcome(t, s.Call(t, testkit.Root, c.op, body), want)
				s.Must(t, "DisableKey", obj{"KeyId": key})
				wantOutcome(t, s.Call(t, testkit.Root, c.op, body), outcome{"DisabledException", testkit.ARN(key) + " is disabled."})
			})
		}
	}
}

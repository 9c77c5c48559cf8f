package kmsapi_test

import (
	"bytes"
	stdcrypto "crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// details are the forty details in §9 of the behaviour document by their numbers. Each
// is shown at its shortest; the tests of the operations go further.
var details = map[int]struct {
	title string
	test  func(*testing.T, *testkit.Solo)
}{
	3:  {"all violations at once", testAllViolations},
	7:  {"KeyId is an ARN in answers", testAnswersARN},
	9:  {"ARN of another Region", testOtherRegion},
	10: {"alias and key not found", testNotFoundTexts},
	11: {"management takes no aliases", testManagementAliases},
	12: {"Decrypt without KeyId", testDecryptWithoutKey},
	13: {"wrong key and damaged ciphertext", testWrongAndDamaged},
	14: {"encryption context", testContext},
	15: {"related keys decrypt", testRelatedDecrypt},
	16: {"what Encrypt takes", testEncryptLimits},
	17: {"KeySpec or NumberOfBytes", testDataKeyLength},
	18: {"PKCS 8 and SPKI", testPairEncodings},
	19: {"digests are not hashed again", testDigests},
	20: {"signatures", testSignatureForms},
	21: {"failed Verify is an error", testFailedVerify},
	22: {"KeyUsage has no default", testNoUsage},
	23: {"one algorithm list", testAlgorithmLists},
	24: {"DeletionDate", testDeletionDate},
	25: {"CancelKeyDeletion leaves Disabled", testCancelled},
	26: {"aliases of keys that wait", testAliasesOfPending},
	27: {"alias rules", testAliasRules},
	28: {"rotation keeps the key", testRotationKeeps},
	29: {"completed rotations", testCompletedRotations},
	30: {"the same material again", testReimport},
	31: {"token and wrapping key", testImportTokens},
	32: {"tags", testTagRules},
	33: {"grants of one name", testNamedGrants},
	34: {"what grants hold", testGrantWidths},
	35: {"the root delegates", testDelegation},
	36: {"two sides", testTwoSides},
	37: {"lockout check", testLockout},
	38: {"foreign and unknown", testIndistinguishable},
	39: {"absent condition keys", testAbsentKeys},
	40: {"records", testRecordForms},
}

// elsewhere are the details that package httpapi tests, because only the bytes on the
// wire show them: status (1), Message and message (2), empty bodies (4), numbers (5),
// null and unknown members (6), session tokens (8).
var elsewhere = []int{1, 2, 4, 5, 6, 8}

func TestForty(t *testing.T) {
	t.Parallel()
	covered := append(slices.Collect(maps.Keys(details)), elsewhere...)
	slices.Sort(covered)
	want := make([]int, 40)
	for i := range want {
		want[i] = i + 1
	}
	if !slices.Equal(covered, want) {
		t.Errorf("tested are %v, not 1 to 40", covered)
	}
	for n, d := range details {
		t.Run(fmt.Sprintf("%02d %s", n, d.title), func(t *testing.T) {
			t.Parallel()
			d.test(t, testkit.Start(t))
		})
	}
}

func testAllViolations(t *testing.T, s *testkit.Solo) {
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": "", "Plaintext": bytesOf(4097), "EncryptionAlgorithm": "X"}),
		validation("3 validation errors detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1; "+
			"Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096; "+
			"Value 'X' at 'encryptionAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE]"))
	wantOutcome(t, s.Call(t, testkit.Root, "DescribeKey", obj{}), missing("keyId"))
	wantOutcome(t, s.Call(t, testkit.Root, "CreateKey", `{"Tags":[{"TagKey":"","TagValue":""}]}`),
		constraint("Value '' at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length greater than or equal to 1"))
}

func testAnswersARN(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	blob := s.NewBlob(t, key)
	for op, body := range map[string]obj{
		"Encrypt": {"KeyId": key, "Plaintext": "AA=="}, "Decrypt": {"CiphertextBlob": blob}, "GenerateDataKey": {"KeyId": key, "KeySpec": "AES_128"},
		"ReEncrypt": {"CiphertextBlob": blob, "DestinationKeyId": key}, "ScheduleKeyDeletion": {"KeyId": s.NewKey(t)},
	} {
		want := testkit.ARN(key)
		if op == "ScheduleKeyDeletion" {
			want = testkit.ARN(body["KeyId"].(string))
		}
		if got := s.Must(t, op, body); got["KeyId"] != want {
			t.Errorf("%s answers the KeyId %v, want %s", op, got["KeyId"], want)
		}
	}
	if got := metadata(t, s, key)["KeyId"]; got != key { // of the exceptions
		t.Errorf("DescribeKey shows %v", got)
	}
}

func testOtherRegion(t *testing.T, s *testkit.Solo) {
	key := s.NewKeyOf(t, testkit.Root.In("eu-west-1"))
	arn := strings.Replace(testkit.ARN(key), "us-east-1", "eu-west-1", 1)
	wantOutcome(t, s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": arn}), notFound("Invalid arn eu-west-1"))
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": arn, "Plaintext": "AA=="}), notFound("Invalid arn eu-west-1"))
	wantOutcome(t, s.Call(t, testkit.Root.In("eu-west-1"), "DescribeKey", obj{"KeyId": arn}), success)
}

func testNotFoundTexts(t *testing.T, s *testkit.Solo) {
	wantOutcome(t, s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": "alias/nope"}), notFound("Alias arn:aws:kms:us-east-1:111122223333:alias/nope is not found."))
	wantOutcome(t, s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": nobody}), notFound("Key 'arn:aws:kms:us-east-1:111122223333:key/"+nobody+"' does not exist"))
}

func testManagementAliases(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	s.NewAlias(t, "alias/app", key)
	for op, more := range map[string]obj{
		"EnableKey": {}, "DisableKey": {}, "TagResource": {"Tags": []obj{}}, "UntagResource": {"TagKeys": []string{}}, "ListResourceTags": {}, "ScheduleKeyDeletion": {}, "CancelKeyDeletion": {},
		"CreateGrant": {"GranteePrincipal": testkit.Account, "Operations": []string{"Decrypt"}}, "ListGrants": {}, "RevokeGrant": {"GrantId": noGrant},
		"GetKeyPolicy": {}, "PutKeyPolicy": {"Policy": rootPolicy}, "ListKeyPolicies": {}, "UpdateKeyDescription": {"Description": ""}, "GetKeyLastUsage": {},
		"EnableKeyRotation": {}, "DisableKeyRotation": {}, "GetKeyRotationStatus": {}, "RotateKeyOnDemand": {}, "ListKeyRotations": {}, "DeleteImportedKeyMaterial": {},
		"GetParametersForImport": {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"},
	} {
		wantOutcome(t, s.Call(t, testkit.Root, op, with(more, obj{"KeyId": "alias/app"})), notFound("Invalid keyId 'alias/app'"))
	}
	wantOutcome(t, s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": "alias/app"}), success)
}

func testDecryptWithoutKey(t *testing.T, s *testkit.Solo) {
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": s.NewBlob(t, s.NewKey(t))}), success)
	key := newRSA(t, s)
	const oaep = "RSAES_OAEP_SHA_256"
	sealed := s.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": "AA==", "EncryptionAlgorithm": oaep})["CiphertextBlob"]
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": sealed, "KeyId": key, "EncryptionAlgorithm": oaep}), success)
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": sealed, "EncryptionAlgorithm": oaep}), invalidCiphertext)
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": sealed}), invalidCiphertext)
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": sealed, "KeyId": key}), keyUsage("Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."))
}

func testWrongAndDamaged(t *testing.T, s *testkit.Solo) {
	key, other := s.NewKey(t), s.NewKey(t)
	blob := unb64(t, s.NewBlob(t, key))
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": b64(blob), "KeyId": other}), incorrectKey)
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": b64(blob), "EncryptionContext": obj{"a": "1"}}), outcome{"InvalidCiphertextException", ""})
	blob[len(blob)-1] ^= 1
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": b64(blob)}), outcome{"InvalidCiphertextException", ""})
}

func testContext(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	sealed := s.Must(t, "Encrypt", `{"KeyId":"`+key+`","Plaintext":"AA==","EncryptionContext":{"a":"1","b":"2"}}`)["CiphertextBlob"].(string)
	plain := s.NewBlob(t, key)
	for _, row := range []struct {
		blob, context string
		want          outcome
	}{
		{sealed, `{"b":"2","a":"1"}`, success}, {sealed, `{"A":"1","b":"2"}`, invalidCiphertext}, {sealed, `{"a":"1"}`, invalidCiphertext}, {sealed, `null`, invalidCiphertext},
		{plain, `null`, success}, {plain, `{}`, success},
	} {
		wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", `{"CiphertextBlob":"`+row.blob+`","EncryptionContext":`+row.context+`}`), row.want)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": newRSA(t, s), "Plaintext": "AA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256", "EncryptionContext": obj{"a": "1"}}),
		validation("An encryption context is not valid for asymmetric KMS keys."))
}

func testRelatedDecrypt(t *testing.T, s *testkit.Solo) {
	id := newPrimary(t, s, nil)
	s.Must(t, "ReplicateKey", obj{"KeyId": id, "ReplicaRegion": "eu-west-1"})
	eu, there := testkit.Root.In("eu-west-1"), "arn:aws:kms:eu-west-1:111122223333:key/"+id
	if got := s.MustAs(t, eu, "Decrypt", obj{"CiphertextBlob": s.NewBlob(t, id)}); got["KeyId"] != there || got["Plaintext"] != "aGVsbG8=" {
		t.Errorf("the replica answers %v", got)
	}
	back := s.MustAs(t, eu, "Encrypt", obj{"KeyId": there, "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	if got := s.Must(t, "Decrypt", obj{"CiphertextBlob": back}); got["KeyId"] != testkit.ARN(id) || got["Plaintext"] != "aGVsbG8=" {
		t.Errorf("the primary answers %v", got)
	}
}

func testEncryptLimits(t *testing.T, s *testkit.Solo) {
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": s.NewKey(t), "Plaintext": bytesOf(4096)}), success)
	for spec, most := range map[string]map[string]int{
		"RSA_2048": {"RSAES_OAEP_SHA_256": 190, "RSAES_OAEP_SHA_1": 214}, "RSA_3072": {"RSAES_OAEP_SHA_256": 318, "RSAES_OAEP_SHA_1": 342}, "RSA_4096": {"RSAES_OAEP_SHA_256": 446, "RSAES_OAEP_SHA_1": 470},
	} {
		key := newKeyOf(t, s, spec+" ENCRYPT_DECRYPT")
		for algorithm, n := range most {
			wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "EncryptionAlgorithm": algorithm, "Plaintext": bytesOf(n)}), success)
			wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "EncryptionAlgorithm": algorithm, "Plaintext": bytesOf(n + 1)}),
				validation(fmt.Sprintf("Algorithm %s and key spec %s cannot encrypt data larger than %d bytes.", algorithm, spec, n)))
			wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "EncryptionAlgorithm": algorithm, "Plaintext": bytesOf(4097)}),
				constraint("Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"))
		}
	}
}

func testDataKeyLength(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	neither := validation("Please specify either number of bytes or key spec.")
	wantOutcome(t, s.Call(t, testkit.Root, "GenerateDataKey", obj{"KeyId": key}), neither)
	wantOutcome(t, s.Call(t, testkit.Root, "GenerateDataKey", obj{"KeyId": key, "KeySpec": "AES_256", "NumberOfBytes": 32}), neither)
	const head = "1 validation error detected: Value 'AES_512' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: "
	wantOutcome(t, s.Call(t, testkit.Root, "GenerateDataKey", obj{"KeyId": key, "KeySpec": "AES_512"}),
		validation(head+"[RSA_2048, ECC_NIST_P384, ECC_NIST_P256, ECC_NIST_P521, HMAC_384, RSA_3072, ECC_SECG_P256K1, RSA_4096, SYMMETRIC_DEFAULT, HMAC_256, HMAC_224, HMAC_512, "+
			"SM2, ML_DSA_44, ML_DSA_65, ML_DSA_87, ECC_NIST_EDWARDS25519, ML_KEM_512, ML_KEM_768, ML_KEM_1024]")) // the published order, then that of the model
}

func testPairEncodings(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	for _, spec := range []string{"RSA_2048", "ECC_NIST_P256", "ECC_NIST_P521", "ECC_NIST_EDWARDS25519"} {
		made := s.Must(t, "GenerateDataKeyPair", obj{"KeyId": key, "KeyPairSpec": spec})
		private, err := x509.ParsePKCS8PrivateKey(unb64(t, made["PrivateKeyPlaintext"]))
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		public, err := x509.ParsePKIXPublicKey(unb64(t, made["PublicKey"]))
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		if !samePublic(private, public) {
			t.Errorf("%s: the keys are no pair", spec)
		}
		if got := s.Must(t, "Decrypt", obj{"CiphertextBlob": made["PrivateKeyCiphertextBlob"]})["Plaintext"]; got != made["PrivateKeyPlaintext"] {
			t.Errorf("%s: the ciphertext holds another private key", spec)
		}
	}
}

// samePublic tells whether the public key is the private one's.
func samePublic(private, public any) bool {
	switch private := private.(type) {
	case *rsa.PrivateKey:
		return private.PublicKey.Equal(public)
	case *ecdsa.PrivateKey:
		return private.PublicKey.Equal(public)
	case ed25519.PrivateKey:
		return private.Public().(ed25519.PublicKey).Equal(public)
	}
	return false
}

func testDigests(t *testing.T, s *testkit.Solo) {
	message := []byte("hello")
	d256, d384, d512 := sha256.Sum256(message), sha512.Sum384(message), sha512.Sum512(message)
	for _, row := range []struct {
		spec, algorithm string
		digest          []byte
	}{
		{"ECC_NIST_P256", "ECDSA_SHA_256", d256[:]}, {"ECC_NIST_P384", "ECDSA_SHA_384", d384[:]}, {"ECC_NIST_P521", "ECDSA_SHA_512", d512[:]}, {"RSA_2048", "RSASSA_PSS_SHA_256", d256[:]},
	} {
		sign := obj{"KeyId": newKeyOf(t, s, row.spec+" SIGN_VERIFY"), "SigningAlgorithm": row.algorithm, "MessageType": "DIGEST", "Message": b64(row.digest)}
		signature := s.Must(t, "Sign", sign)["Signature"]
		wantOutcome(t, s.Call(t, testkit.Root, "Verify", with(sign, obj{"MessageType": "RAW", "Message": b64(message), "Signature": signature})), success)
		wantOutcome(t, s.Call(t, testkit.Root, "Sign", with(sign, obj{"Message": b64(row.digest[1:])})), validation("Digest is invalid length for algorithm "+row.algorithm+"."))
		if strings.HasPrefix(row.spec, "RSA") {
			public := publicOf(t, s, sign["KeyId"].(string))
			key, err := x509.ParsePKIXPublicKey(public)
			if err != nil {
				t.Fatal(err)
			}
			if err := rsa.VerifyPSS(key.(*rsa.PublicKey), stdcrypto.SHA256, row.digest, unb64(t, signature), &rsa.PSSOptions{SaltLength: 32}); err != nil {
				t.Errorf("the salt has not 32 bytes: %v", err)
			}
		}
	}
	key := newKeyOf(t, s, "ECC_NIST_EDWARDS25519 SIGN_VERIFY")
	signed := s.Must(t, "Sign", obj{"KeyId": key, "SigningAlgorithm": "ED25519_PH_SHA_512", "MessageType": "DIGEST", "Message": b64(d512[:])})
	public, err := x509.ParsePKIXPublicKey(publicOf(t, s, key))
	if err != nil {
		t.Fatal(err)
	}
	again := sha512.Sum512(d512[:])
	if err := ed25519.VerifyWithOptions(public.(ed25519.PublicKey), again[:], unb64(t, signed["Signature"]), &ed25519.Options{Hash: stdcrypto.SHA512}); err != nil {
		t.Errorf("Ed25519ph over the digest's digest: %v", err)
	}
}

func testSignatureForms(t *testing.T, s *testkit.Solo) {
	for _, row := range []struct{ spec, algorithm string }{{"ECC_NIST_P256", "ECDSA_SHA_256"}, {"ECC_SECG_P256K1", "ECDSA_SHA_256"}, {"ECC_NIST_P521", "ECDSA_SHA_512"}} {
		sign := obj{"KeyId": newKeyOf(t, s, row.spec+" SIGN_VERIFY"), "SigningAlgorithm": row.algorithm, "Message": bytesOf(4096)}
		if signature := unb64(t, s.Must(t, "Sign", sign)["Signature"]); signature[0] != 0x30 || !bytes.Contains(signature[2:5], []byte{0x02}) {
			t.Errorf("%s: the signature %x is not DER", row.spec, signature)
		}
		wantOutcome(t, s.Call(t, testkit.Root, "Sign", with(sign, obj{"Message": bytesOf(4097)})),
			constraint("Value at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096"))
	}
	sign := obj{"KeyId": newKeyOf(t, s, "ML_DSA_44 SIGN_VERIFY"), "SigningAlgorithm": "ML_DSA_SHAKE_256"}
	wantOutcome(t, s.Call(t, testkit.Root, "Sign", with(sign, obj{"MessageType": "EXTERNAL_MU", "Message": bytesOf(64)})), success)
	for kind, n := range map[string]int{"EXTERNAL_MU": 63, "DIGEST": 32} {
		if a := s.Call(t, testkit.Root, "Sign", with(sign, obj{"MessageType": kind, "Message": bytesOf(n)})); a.Refusal == nil || a.Refusal.Code != "ValidationException" {
			t.Errorf("%s of %d bytes: got %v", kind, n, a.Refusal)
		}
	}
}

func testFailedVerify(t *testing.T, s *testkit.Solo) {
	sign := obj{"KeyId": newKeyFor(t, s, "Sign"), "Message": "aGVsbG8=", "SigningAlgorithm": "ECDSA_SHA_256"}
	signature := s.Must(t, "Sign", sign)["Signature"]
	mac := obj{"KeyId": newKeyFor(t, s, "GenerateMac"), "Message": "aGVsbG8=", "MacAlgorithm": "HMAC_SHA_256"}
	made := s.Must(t, "GenerateMac", mac)["Mac"]
	if got := s.Must(t, "Verify", with(sign, obj{"Signature": signature})); got["SignatureValid"] != true {
		t.Errorf("got %v", got)
	}
	if got := s.Must(t, "VerifyMac", with(mac, obj{"Mac": made})); got["MacValid"] != true {
		t.Errorf("got %v", got)
	}
	for _, more := range []obj{{"Message": "AA=="}, {"Signature": "AA==", "Mac": "AA=="}} {
		wantOutcome(t, s.Call(t, testkit.Root, "Verify", with(with(sign, obj{"Signature": signature}), more)), outcome{"KMSInvalidSignatureException", ""})
		wantOutcome(t, s.Call(t, testkit.Root, "VerifyMac", with(with(mac, obj{"Mac": made}), more)), outcome{"KMSInvalidMacException", ""})
	}
}

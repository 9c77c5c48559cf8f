package kmsapi_test

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// newImportKey creates a key of a spec that waits for its material.
func newImportKey(t testing.TB, s *testkit.Solo, spec, usage string) string {
	t.Helper()
	body := obj{"Origin": "EXTERNAL", "KeySpec": spec, "KeyUsage": usage}
	m := s.Must(t, "CreateKey", body)["KeyMetadata"].(obj)
	if m["KeyState"] != "PendingImport" || m["Enabled"] != false || m["Origin"] != "EXTERNAL" || m["CurrentKeyMaterialId"] != nil || m["ExpirationModel"] != nil {
		t.Errorf("the new key is %v", m)
	}
	return m["KeyId"].(string)
}

// wrapped returns the body of an import of the material, with fresh parameters.
func wrapped(t testing.TB, s *testkit.Solo, key, alg, spec string, material []byte) obj {
	t.Helper()
	return wrappedBy(t, s, testkit.Root, key, alg, spec, material)
}

func wrappedBy(t testing.TB, s *testkit.Solo, who testkit.Caller, key, alg, spec string, material []byte) obj {
	t.Helper()
	params := s.MustAs(t, who, "GetParametersForImport", obj{"KeyId": key, "WrappingAlgorithm": alg, "WrappingKeySpec": spec})
	token := params["ImportToken"].(string)
	if n := len(unb64(t, token)); n > 6144 {
		t.Errorf("the token has %d bytes", n)
	}
	return obj{"KeyId": key, "ImportToken": token, "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
		"EncryptedKeyMaterial": b64(wrap(t, unb64(t, params["PublicKey"]), alg, material))}
}

// wrap encrypts material as clients do.
func wrap(t testing.TB, public []byte, alg string, material []byte) []byte {
	t.Helper()
	key, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	newHash := func() hash.Hash { return sha256.New() }
	if strings.HasSuffix(alg, "SHA_1") {
		newHash = func() hash.Hash { return sha1.New() }
	}
	var tail []byte
	if strings.HasPrefix(alg, "RSA_AES") {
		ephemeral := make([]byte, 32)
		_, _ = rand.Read(ephemeral)
		material, tail = ephemeral, wrapKWP(t, ephemeral, material)
	}
	out, err := rsa.EncryptOAEP(newHash(), rand.Reader, key.(*rsa.PublicKey), material, nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, tail...)
}

// wrapKWP is RFC 5649 §4.1 for more than 8 bytes.
func wrapKWP(t testing.TB, key, material []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	buf := binary.BigEndian.AppendUint32([]byte{0xa6, 0x59, 0x59, 0xa6}, uint32(len(material)))
	buf = append(buf, material...)
	for len(buf)%8 != 0 {
		buf = append(buf, 0)
	}
	n := len(buf)/8 - 1
	var b [16]byte
	copy(b[:8], buf)
	for i := 1; i <= 6*n; i++ {
		r := buf[8*(1+(i-1)%n):][:8]
		copy(b[8:], r)
		block.Encrypt(b[:], b[:])
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^uint64(i))
		copy(r, b[8:])
	}
	copy(buf, b[:8])
	return buf
}

// The table of AWS's "Importing key material": which wrapping each spec takes.
func TestImportEverySpec(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		spec, usage string
		direct      bool
	}{
		{"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", true}, {"HMAC_224", "GENERATE_VERIFY_MAC", true}, {"HMAC_256", "GENERATE_VERIFY_MAC", true},
		{"HMAC_384", "GENERATE_VERIFY_MAC", true}, {"HMAC_512", "GENERATE_VERIFY_MAC", true},
		{"ECC_NIST_P256", "SIGN_VERIFY", true}, {"ECC_NIST_P384", "SIGN_VERIFY", true}, {"ECC_NIST_P521", "SIGN_VERIFY", false},
		{"ECC_SECG_P256K1", "SIGN_VERIFY", true}, {"ECC_NIST_EDWARDS25519", "SIGN_VERIFY", true},
		{"ECC_NIST_P256", "KEY_AGREEMENT", true}, {"ECC_NIST_P384", "KEY_AGREEMENT", true}, {"ECC_NIST_P521", "KEY_AGREEMENT", false},
		{"RSA_2048", "SIGN_VERIFY", false}, {"RSA_2048", "ENCRYPT_DECRYPT", false}, {"RSA_3072", "SIGN_VERIFY", false}, {"RSA_4096", "ENCRYPT_DECRYPT", false},
	} {
		t.Run(tt.spec+" "+tt.usage, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			key := newImportKey(t, s, tt.spec, tt.usage)
			material := bytes.Repeat([]byte{7}, 32)
			var public []byte
			if tt.spec != "SYMMETRIC_DEFAULT" {
				var err error
				if material, public, err = crypto.GenerateKey(kms.KeySpec(tt.spec)); err != nil {
					t.Fatal(err)
				}
			}
			for _, alg := range []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"} {
				if strings.HasPrefix(alg, "RSAES") && !tt.direct {
					a := s.Call(t, testkit.Root, "GetParametersForImport", obj{"KeyId": key, "WrappingAlgorithm": alg, "WrappingKeySpec": "RSA_2048"})
					if a.Refusal == nil || a.Refusal.Code != "UnsupportedOperationException" {
						t.Errorf("%s: got %+v", alg, a.Refusal)
					}
					continue
				}
				s.Must(t, "ImportKeyMaterial", wrapped(t, s, key, alg, "RSA_2048", material))
			}
			if m := s.Must(t, "DescribeKey", obj{"KeyId": key})["KeyMetadata"].(obj); m["KeyState"] != "Enabled" || m["ExpirationModel"] != "KEY_MATERIAL_DOES_NOT_EXPIRE" {
				t.Errorf("imported: %v", m)
			}
			s.Must(t, "DeleteImportedKeyMaterial", obj{"KeyId": key})
			if m := s.Must(t, "DescribeKey", obj{"KeyId": key})["KeyMetadata"].(obj); m["KeyState"] != "PendingImport" || m["ExpirationModel"] != nil {
				t.Errorf("deleted: %v", m)
			}
			if public != nil {
				if got := unb64(t, s.Must(t, "GetPublicKey", obj{"KeyId": key})["PublicKey"]); !bytes.Equal(got, public) {
					t.Error("the public key has gone with the material")
				}
			}
		})
	}
}

// The rows of refusals, in their order.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := newImportKey(t, s, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), newImportKey(t, s, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	first, second := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	body := func(material []byte) obj { return wrapped(t, s, key, "RSAES_OAEP_SHA_256", "RSA_2048", material) }
	good := body(first)
	refused := func(body, more obj, want outcome) {
		t.Helper()
		wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", with(body, more)), want)
	}
	refused(good, obj{"ExpirationModel": "KEY_MATERIAL_EXPIRES"}, validation("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"))
	refused(good, obj{"ValidTo": time.Now().Add(time.Hour).Unix()}, validation("A validTo date must not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE"))
	created := s.Must(t, "DescribeKey", obj{"KeyId": key})["KeyMetadata"].(obj)["CreationDate"].(float64)
	ends := func(at time.Duration) obj {
		return obj{"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": created + at.Seconds()}
	}
	refused(good, ends(-time.Hour), validation("The validTo date must be in the future."))
	refused(good, ends(366*24*time.Hour), validation("The validTo date must be within 365 days."))
	refused(with(good, obj{"KeyId": "arn:x"}), ends(-time.Hour), validation("The validTo date must be in the future."))
	refused(good, obj{"ImportToken": "AAAA"}, outcome{"InvalidImportTokenException", ""})
	refused(good, obj{"KeyId": other}, outcome{"InvalidImportTokenException", ""})
	refused(good, obj{"ImportToken": body(first)["ImportToken"]}, outcome{"InvalidCiphertextException", ""})
	refused(body(first[:31]), nil, outcome{"IncorrectKeyMaterialException", ""})
	refused(good, obj{"ImportType": "EXISTING_KEY_MATERIAL"}, outcome{"IncorrectKeyMaterialException", ""})
	id := s.Must(t, "ImportKeyMaterial", good)["KeyMaterialId"].(string)
	refused(body(second), nil, outcome{"IncorrectKeyMaterialException", ""})
	refused(good, obj{"ImportType": "NEW_KEY_MATERIAL"}, outcome{"IncorrectKeyMaterialException", ""})
	refused(good, obj{"KeyMaterialId": strings.Repeat("0", 64)}, outcome{"IncorrectKeyMaterialException", ""})
	refused(body(second), obj{"ImportType": "NEW_KEY_MATERIAL", "KeyMaterialId": id}, validation("KeyMaterialId is not valid with the ImportType NEW_KEY_MATERIAL."))
	s.Must(t, "ImportKeyMaterial", with(good, obj{"KeyMaterialId": id, "KeyMaterialDescription": "again"}))
	s.Must(t, "ImportKeyMaterial", with(body(second), obj{"ImportType": "NEW_KEY_MATERIAL"}))
	arn := "arn:aws:kms:us-east-1:" + s.Must(t, "DescribeKey", obj{"KeyId": key})["KeyMetadata"].(obj)["AWSAccountId"].(string) + ":key/" + key
	refused(body(bytes.Repeat([]byte{3}, 32)), obj{"ImportType": "NEW_KEY_MATERIAL"}, outcome{"KMSInvalidStateException", arn + " already has key material pending rotation."})
	list := s.Must(t, "ListKeyRotations", obj{"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"})["Rotations"].([]any)
	if len(list) != 2 || list[0].(obj)["KeyMaterialDescription"] != "again" || list[1].(obj)["KeyMaterialState"] != "PENDING_ROTATION" || list[1].(obj)["ImportState"] != "IMPORTED" {
		t.Errorf("materials: %v", list)
	}
	if list := s.Must(t, "ListKeyRotations", obj{"KeyId": key})["Rotations"].([]any); len(list) != 0 {
		t.Errorf("rotations: %v", list)
	}
	s.Must(t, "RotateKeyOnDemand", obj{"KeyId": key})

	hmac := newImportKey(t, s, "HMAC_256", "GENERATE_VERIFY_MAC")
	for name, value := range (obj{"ImportType": "NEW_KEY_MATERIAL", "KeyMaterialId": strings.Repeat("0", 64), "KeyMaterialDescription": "x"}) {
		refused(wrapped(t, s, hmac, "RSAES_OAEP_SHA_256", "RSA_2048", first), obj{name: value},
			outcome{"UnsupportedOperationException", "ImportType, KeyMaterialId and KeyMaterialDescription are valid only for symmetric encryption keys."})
	}
}

// Keys whose material kmsd made, and names that are none.
func TestImportOtherKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	for op, body := range map[string]obj{
		"GetParametersForImport":    {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"},
		"ImportKeyMaterial":         {"ImportToken": "AAAA", "EncryptedKeyMaterial": "AAAA", "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"},
		"DeleteImportedKeyMaterial": {},
	} {
		wantOutcome(t, s.Call(t, testkit.Root, op, with(body, obj{"KeyId": "arn:x"})), outcome{"InvalidArnException", "Invalid arn arn:x"})
		wantOutcome(t, s.Call(t, testkit.Root, op, with(body, obj{"KeyId": key})),
			outcome{"UnsupportedOperationException", testkit.ARN(key) + " origin is AWS_KMS which is not valid for this operation."})
	}
}

// No node uses material whose time is over, also before the leader has deleted it.
func TestImportExpiresAtUse(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := newImportKey(t, s, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	body := wrapped(t, s, key, "RSAES_OAEP_SHA_256", "RSA_2048", make([]byte, 32))
	s.Must(t, "ImportKeyMaterial", with(body, obj{"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": s.Now().Add(time.Minute).Unix()}))
	encrypt := obj{"KeyId": key, "Plaintext": "AA=="}
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", encrypt), success)
	s.Advance(time.Minute)
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", encrypt), outcome{"KMSInvalidStateException", testkit.ARN(key) + " is pending import."})
}

// The records have what AWS's table of contents says, and neither token nor material.
func TestImportRecords(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := newImportKey(t, s, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	body := wrapped(t, s, key, "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048", make([]byte, 32))
	values := []string{"$ID", key, "$ARN", testkit.ARN(key), "$TOKEN", body["ImportToken"].(string), "$WRAPPED", body["EncryptedKeyMaterial"].(string),
		"$M", crypto.MaterialID(key, make([]byte, 32)), "$SECONDS", "1795608000"} // 2026-11-25T12:00:00Z
	for _, row := range []recordCase{
		{op: "GetParametersForImport", body: `{"KeyId":"$ARN","WrappingAlgorithm":"RSAES_OAEP_SHA_1","WrappingKeySpec":"RSA_2048"}`, readOnly: true,
			request: `{"keyId":"$ARN","wrappingAlgorithm":"RSAES_OAEP_SHA_1","wrappingKeySpec":"RSA_2048"}`, response: `null`, res: `[` + keyResource + `]`},
		{op: "ImportKeyMaterial", body: `{"KeyId":"$ID","ImportToken":"$TOKEN","EncryptedKeyMaterial":"$WRAPPED","ExpirationModel":"KEY_MATERIAL_EXPIRES","ValidTo":$SECONDS,"ImportType":"NEW_KEY_MATERIAL","KeyMaterialDescription":"from outside"}`,
			request:  `{"keyId":"$ID","validTo":"Nov 25, 2026, 12:00:00 PM","expirationModel":"KEY_MATERIAL_EXPIRES","importType":"NEW_KEY_MATERIAL","keyMaterialDescription":"from outside"}`,
			response: `{"keyId":"$ARN","keyMaterialId":"$M"}`, res: `[` + keyResource + `]`},
		{op: "ImportKeyMaterial", body: `{"KeyId":"$ID","ImportToken":"$WRAPPED","EncryptedKeyMaterial":"$WRAPPED","ExpirationModel":"KEY_MATERIAL_DOES_NOT_EXPIRE"}`,
			request: `{"keyId":"$ID","expirationModel":"KEY_MATERIAL_DOES_NOT_EXPIRE"}`, res: `[` + keyResource + `]`, errorCode: "InvalidImportTokenException"},
		{op: "DeleteImportedKeyMaterial", body: `{"KeyId":"$ID","KeyMaterialId":"$M"}`, request: `{"keyId":"$ID","keyMaterialId":"$M"}`,
			response: `{"keyId":"$ARN","keyMaterialId":"$M"}`, res: `[` + keyResource + `]`},
		{op: "DeleteImportedKeyMaterial", body: `{"KeyId":"$ARN"}`, request: `{"keyId":"$ARN"}`, response: `{"keyId":"$ARN","keyMaterialId":"$M"}`, res: `[` + keyResource + `]`},
	} {
		t.Run(row.op+" "+row.errorCode, func(t *testing.T) { testRecord(t, s, row, values) })
	}
}

package service_test

import (
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// A call with two faults is answered for the one that is checked first (AWS KMS:
// order of checks). $ID is a key, $OFF a disabled one, $SIGN a disabled key for
// signing, $SIGNING an enabled one, $THEIRS a disabled key of another account, by
// ARN, $BLOB a ciphertext under $ID, and $OFFBLOB one under $OFF.
var orderCases = []struct{ first, second, op, body, want string }{
	{"syntax", "constraint", "Encrypt", `{"KeyId":"","Plaintext":7}`, "SerializationException"},
	{"constraint", "combination", "GenerateDataKey", `{"KeyId":""}`, "ValidationException"},
	{"constraint", "resolution", "Encrypt", `{"KeyId":"alias/nope","Plaintext":""}`, "ValidationException"},
	{"combination", "resolution", "GenerateDataKey", `{"KeyId":"alias/nope"}`, "ValidationException"},
	{"combination", "authorisation", "GenerateDataKey", `{"KeyId":"$THEIRS"}`, "ValidationException"},
	{"combination", "state", "CreateAlias", `{"AliasName":"app","TargetKeyId":"$OFF"}`, "ValidationException"},
	{"combination", "exists", "CreateAlias", `{"AliasName":"alias/aws/x","TargetKeyId":"alias/nope"}`, "NotAuthorizedException"},
	{"resolution", "grant token", "Encrypt", `{"KeyId":"alias/nope","Plaintext":"AA==","GrantTokens":["x"]}`, "NotFoundException"},
	{"resolution", "second key's authorisation", "ReEncrypt", `{"CiphertextBlob":"$BLOB","SourceKeyId":"alias/nope","DestinationKeyId":"$THEIRS"}`, "NotFoundException"},
	{"first key's state", "second key's resolution", "ReEncrypt", `{"CiphertextBlob":"$OFFBLOB","DestinationKeyId":"alias/nope"}`, "DisabledException"},
	{"authorisation", "state", "Encrypt", `{"KeyId":"$THEIRS","Plaintext":"AA=="}`, "AccessDeniedException"},
	{"authorisation", "ciphertext", "Decrypt", `{"KeyId":"$THEIRS","CiphertextBlob":"AA=="}`, "AccessDeniedException"},
	{"authorisation", "dry run", "Encrypt", `{"KeyId":"$THEIRS","Plaintext":"AA==","DryRun":true}`, "AccessDeniedException"},
	{"grant token", "state", "Encrypt", `{"KeyId":"$OFF","Plaintext":"AA==","GrantTokens":["x"]}`, "InvalidGrantTokenException"},
	{"state", "usage", "Encrypt", `{"KeyId":"$SIGN","Plaintext":"AA=="}`, "DisabledException"},
	{"state", "algorithm", "Encrypt", `{"KeyId":"$OFF","Plaintext":"AA==","EncryptionAlgorithm":"RSAES_OAEP_SHA_1"}`, "DisabledException"},
	{"state", "another key's ciphertext", "Decrypt", `{"KeyId":"$OFF","CiphertextBlob":"$BLOB"}`, "DisabledException"},
	{"state", "damage", "Decrypt", `{"KeyId":"$OFF","CiphertextBlob":"AA=="}`, "DisabledException"},
	{"usage", "algorithm", "Encrypt", `{"KeyId":"$SIGNING","Plaintext":"AA==","EncryptionAlgorithm":"RSAES_OAEP_SHA_1"}`, "InvalidKeyUsageException"},
	{"usage", "another key's ciphertext", "Decrypt", `{"KeyId":"$SIGNING","CiphertextBlob":"$BLOB"}`, "InvalidKeyUsageException"},
	{"algorithm", "damage", "Decrypt", `{"KeyId":"$ID","CiphertextBlob":"AA==","EncryptionAlgorithm":"RSAES_OAEP_SHA_1"}`, "InvalidKeyUsageException"},
	{"algorithm", "attestation", "Decrypt", `{"KeyId":"$ID","CiphertextBlob":"$BLOB","EncryptionAlgorithm":"RSAES_OAEP_SHA_1","Recipient":{}}`, "InvalidKeyUsageException"},
	{"algorithm", "dry run", "Encrypt", `{"KeyId":"$ID","Plaintext":"AA==","EncryptionAlgorithm":"RSAES_OAEP_SHA_1","DryRun":true}`, "InvalidKeyUsageException"},
	{"attestation", "damage", "Decrypt", `{"KeyId":"$ID","CiphertextBlob":"AA==","Recipient":{}}`, "ValidationException"},
	{"another key's ciphertext", "context", "Decrypt", `{"KeyId":"$ID","CiphertextBlob":"$OFFBLOB","EncryptionContext":{"a":"1"}}`, "IncorrectKeyException"},
	{"damage", "dry run", "Decrypt", `{"KeyId":"$ID","CiphertextBlob":"AA==","DryRun":true}`, "InvalidCiphertextException"},
	{"state", "exists", "CreateAlias", `{"AliasName":"alias/app","TargetKeyId":"$PENDING"}`, "KMSInvalidStateException"},
}

func orderNames(t *testing.T, s *testkit.Solo) []string {
	key, off, sign, signing, pending := s.NewKey(t), s.NewKey(t), s.NewKey(t), s.NewKey(t), s.NewKey(t)
	theirs := s.NewKeyOf(t, testkit.Other)
	s.NewAlias(t, "alias/app", key)
	names := []string{"$THEIRS", testkit.OtherARN(theirs), "$BLOB", s.NewBlob(t, key), "$OFFBLOB", s.NewBlob(t, off), "$OFF", off, "$SIGNING", signing, "$SIGN", sign, "$ID", key, "$PENDING", pending}
	for _, id := range []string{sign, signing} {
		s.SetType(t, id, "RSA_2048", "SIGN_VERIFY")
	}
	for _, id := range []string{off, sign, theirs} {
		s.SetState(t, id, "Disabled")
	}
	s.SetState(t, pending, "PendingDeletion")
	return names
}

func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	names := orderNames(t, s)
	for _, row := range orderCases {
		t.Run(row.op+" "+row.first+" before "+row.second, func(t *testing.T) {
			wantCode(t, s.Call(t, testkit.Root, row.op, fill(row.body, names)), row.want)
		})
	}
}

// Throttling comes after what needs no state and before everything else.
func TestThrottlingInTheOrder(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	names := orderNames(t, s)
	empty := s.Service.Fill()
	defer empty()
	before := s.Machine.Digest()
	for _, row := range []struct{ op, body, want string }{
		{"Encrypt", `{`, "SerializationException"},
		{"Encrypt", `{}`, "ValidationException"},
		{"CreateAlias", `{"AliasName":"alias/x"}`, "ValidationException"},
		{"GenerateDataKey", `{"KeyId":"$ID"}`, "ThrottlingException"},
		{"Encrypt", `{"KeyId":"alias/nope","Plaintext":"AA=="}`, "ThrottlingException"},
		{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA=="}`, "ThrottlingException"},
		{"CreateAlias", `{"AliasName":"app","TargetKeyId":"$ID"}`, "ThrottlingException"},
		{"CreateKey", `{}`, "ThrottlingException"},
	} {
		a := s.Call(t, testkit.Root, row.op, fill(row.body, names))
		wantCode(t, a, row.want)
		if rec := s.Record(t, a); rec["errorCode"] != row.want {
			t.Errorf("%s: recorded as %v", row.op, rec["errorCode"])
		}
	}
	if s.Machine.Digest() != before {
		t.Error("throttled calls changed the state")
	}
}

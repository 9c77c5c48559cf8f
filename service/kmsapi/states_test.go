package kmsapi_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// The columns of the matrix (AWS: "Key states of AWS KMS keys").
var states = strings.Fields("Enabled Disabled PendingDeletion PendingReplicaDeletion PendingImport Unavailable Creating Updating")

// The notes of the matrix: what a key in the state answers.
var notes = map[string]outcome{
	"ok": success,
	"1":  {"DisabledException", "$ARN is disabled."},
	"3":  {"KMSInvalidStateException", "$ARN is pending deletion."},
	"3r": {"KMSInvalidStateException", "$ARN is pending replica deletion."},
	"5":  {"KMSInvalidStateException", "$ARN is pending import."},
	"11": {"KMSInvalidStateException", "$ARN is unavailable."},
	"14": {"KMSInvalidStateException", "$ARN is creating."},
	"15": {"KMSInvalidStateException", "$ARN is updating."},
	"4":  {"KMSInvalidStateException", "$ARN is not pending deletion."},
	"6":  {"UnsupportedOperationException", "$ARN origin is EXTERNAL which is not valid for this operation."},
	"7":  {"UnsupportedOperationException", "$ARN is in a custom key store, which is not valid for this operation."},
}

// stateCase is a row: the operation's body with $KEY for the key in the state,
// $GOOD for an enabled one, $BLOB and $GOODBLOB for their ciphertexts, $ALIAS and
// $GOODALIAS for their aliases, and the note for each state.
type stateCase struct{ name, op, body, notes string }

var stateMatrix = []stateCase{
	//                                                                                              En Dis PD  PRD PImp Unav Cre Upd
	{"", "CreateAlias", `{"AliasName":"alias/new","TargetKeyId":"$KEY"}` /*                     */, "ok ok  3   3r  ok   ok   ok  ok"},
	{"", "CreateGrant", `{"KeyId":"$KEY","GranteePrincipal":"999999999999","Operations":["Decrypt"]}`, "ok 1   3   3r  5    ok   14  ok"},
	{"", "ListGrants", `{"KeyId":"$KEY"}` /*                                                    */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"", "RetireGrant", `{"KeyId":"$KEY","GrantId":"$GRANT"}` /*                                */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"", "RevokeGrant", `{"KeyId":"$KEY","GrantId":"$GRANT"}` /*                                */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"", "Encrypt", `{"KeyId":"$KEY","Plaintext":"aGVsbG8="}` /*                                */, "ok 1   3   3r  5    11   14  ok"},
	{"by the blob", "Decrypt", `{"CiphertextBlob":"$BLOB"}` /*                                  */, "ok 1   3   3r  5    11   14  ok"},
	{"by KeyId", "Decrypt", `{"CiphertextBlob":"$BLOB","KeyId":"$ALIAS"}` /*                    */, "ok 1   3   3r  5    11   14  ok"},
	{"", "GenerateDataKey", `{"KeyId":"$KEY","KeySpec":"AES_256"}` /*                           */, "ok 1   3   3r  5    11   14  ok"},
	{"", "GenerateDataKeyPair", `{"KeyId":"$KEY","KeyPairSpec":"ECC_NIST_P256"}` /*             */, "ok 1   3   3r  5    7    14  ok"},
	{"", "GenerateDataKeyPairWithoutPlaintext", `{"KeyId":"$KEY","KeyPairSpec":"ML_KEM_512"}` /**/, "ok 1   3   3r  5    7    14  ok"},
	{"", "GenerateDataKeyWithoutPlaintext", `{"KeyId":"$KEY","NumberOfBytes":1}` /*             */, "ok 1   3   3r  5    11   14  ok"},
	{"from", "ReEncrypt", `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$GOOD"}` /*            */, "ok 1   3   3r  5    11   14  ok"},
	{"to", "ReEncrypt", `{"CiphertextBlob":"$GOODBLOB","DestinationKeyId":"$KEY"}` /*           */, "ok 1   3   3r  5    11   14  ok"},
	{"", "Sign", `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256"}` /*  */, "ok 1   3   3r  5    11   14  ok"},
	{"", "Verify", `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256","Signature":"$SIGNATURE"}`, "ok 1   3   3r  5    11   14  ok"},
	{"", "GenerateMac", `{"KeyId":"$KEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256"}` /*           */, "ok 1   3   3r  5    11   14  ok"},
	{"", "VerifyMac", `{"KeyId":"$KEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256","Mac":"$MAC"}`, "ok 1   3   3r  5    11   14  ok"},
	{"", "DeriveSharedSecret", `{"KeyId":"$KEY","KeyAgreementAlgorithm":"ECDH","PublicKey":"` + generatorP256 + `"}`, "ok 1   3   3r  5    11   14  ok"},
	{"", "Encapsulate", `{"KeyId":"$KEY","EncapsulationAlgorithm":"ML_KEM"}` /*                       */, "ok 1   3   3r  5    11   14  ok"},
	{"", "Decapsulate", `{"KeyId":"$KEY","SharedSecretCiphertextBlob":"$ENCAPSULATED","EncapsulationAlgorithm":"ML_KEM"}`, "ok 1   3   3r  5    11   14  ok"},
	{"", "DeleteAlias", `{"AliasName":"$ALIAS"}` /*                                             */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"", "GetParametersForImport", `{"KeyId":"$KEY","WrappingAlgorithm":"RSAES_OAEP_SHA_256","WrappingKeySpec":"RSA_2048"}`, "ok ok  3   3r  ok   ok   14  15"},
	{"", "ImportKeyMaterial", `{"KeyId":"$KEY","ImportToken":"$TOKEN","EncryptedKeyMaterial":"$WRAPPED","ExpirationModel":"KEY_MATERIAL_DOES_NOT_EXPIRE"}`, "ok ok  3   3r  ok   ok   14  ok"},
	{"", "DeleteImportedKeyMaterial", `{"KeyId":"$KEY"}` /*                                     */, "ok ok  ok  ok  ok   ok   14  15"},
	{"", "DescribeKey", `{"KeyId":"$KEY"}` /*                                                   */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"", "GetKeyPolicy", `{"KeyId":"$KEY"}` /*                                                  */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"", "GetPublicKey", `{"KeyId":"$KEY"}` /*                                                  */, "ok ok  3   3r  ok   ok   14  ok"},
	{"", "ListAliases", `{"KeyId":"$KEY"}` /*                                                   */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"", "DisableKey", `{"KeyId":"$KEY"}` /*                                                    */, "ok ok  3   3r  5    ok   14  15"},
	{"", "EnableKey", `{"KeyId":"$KEY"}` /*                                                     */, "ok ok  3   3r  5    ok   14  15"},
	{"", "CancelKeyDeletion", `{"KeyId":"$KEY"}` /*                                             */, "4  4   ok  ok  4    4    4   4"},
	{"", "ScheduleKeyDeletion", `{"KeyId":"$KEY"}` /*                                           */, "ok ok  3   3r  ok   ok   ok  15"},
	{"", "EnableKeyRotation", `{"KeyId":"$KEY"}` /*                                             */, "ok 1   3   3r  6    7    14  ok"},
	{"", "DisableKeyRotation", `{"KeyId":"$KEY"}` /*                                            */, "ok 1   3   3r  6    7    14  ok"},
	{"", "GetKeyRotationStatus", `{"KeyId":"$KEY"}` /*                                          */, "ok ok  ok  ok  ok   7    ok  ok"},
	{"", "ListKeyRotations", `{"KeyId":"$KEY"}` /*                                              */, "ok ok  ok  ok  ok   7    ok  ok"},
	{"", "RotateKeyOnDemand", `{"KeyId":"$KEY"}` /*                                             */, "ok 1   3   3r  5    7    14  ok"},
	{"", "ReplicateKey", `{"KeyId":"$KEY","ReplicaRegion":"eu-west-1"}` /*                      */, "ok 1   3   3r  5    11   14  15"},
	{"", "UpdatePrimaryRegion", `{"KeyId":"$KEY","PrimaryRegion":"eu-west-1"}` /*               */, "ok 1   3   3r  5    11   14  ok"},
	{"", "TagResource", `{"KeyId":"$KEY","Tags":[{"TagKey":"a","TagValue":"b"}]}` /*            */, "ok ok  3   3r  ok   ok   ok  ok"},
	{"", "UntagResource", `{"KeyId":"$KEY","TagKeys":["a"]}` /*                                 */, "ok ok  3   3r  ok   ok   ok  ok"},
	{"", "UpdateKeyDescription", `{"KeyId":"$KEY","Description":"b"}` /*                        */, "ok ok  3   3r  ok   ok   ok  ok"},
	{"", "PutKeyPolicy", `{"KeyId":"$KEY","Policy":"$POLICY"}` /*                               */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"", "ListResourceTags", `{"KeyId":"$KEY"}` /*                                              */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"", "ListKeyPolicies", `{"KeyId":"$KEY"}` /*                                               */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"", "GetKeyLastUsage", `{"KeyId":"$KEY"}` /*                                               */, "ok ok  ok  ok  ok   ok   ok  ok"},
	{"new target", "UpdateAlias", `{"AliasName":"$GOODALIAS","TargetKeyId":"$KEY"}` /*          */, "ok ok  3   3r  ok   ok   ok  ok"},
	{"old target", "UpdateAlias", `{"AliasName":"$ALIAS","TargetKeyId":"$GOOD"}` /*             */, "ok ok  ok  ok  ok   ok   ok  ok"},
}

func TestKeyStates(t *testing.T) {
	t.Parallel()
	for _, row := range rowCases {
		without := slices.Contains([]string{"CreateKey", "GenerateRandom", "ListKeys", "ListRetirableGrants"}, row.name)
		if in := slices.ContainsFunc(stateMatrix, func(c stateCase) bool { return c.op == row.name }); in == without {
			t.Errorf("%s is in the matrix: %t", row.name, in)
		}
	}
	for column, state := range states {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			for _, row := range stateMatrix {
				note := strings.Fields(row.notes)[column]
				t.Run(row.op+" "+row.name, func(t *testing.T) { testState(t, s, row, state, notes[note]) })
			}
		})
	}
}

func testState(t *testing.T, s *testkit.Solo, row stateCase, state string, want outcome) {
	key, good := newKeyFor(t, s, row.op), newKeyFor(t, s, row.op)
	if strings.Contains(row.body, "$GOODBLOB") {
		row.body = fill(row.body, "$GOODBLOB", s.NewBlob(t, good))
	}
	body := fill(fill(row.body, newMade(t, s, row.op, key)...), "$KEY", key, "$GOODALIAS", s.NewAlias(t, "alias/good-"+good, good),
		"$GOOD", good, "$ALIAS", s.NewAlias(t, "alias/it-"+key, key), "alias/new", "alias/new-"+key, "$POLICY", strings.ReplaceAll(rootPolicy, `"`, `\"`))
	s.SetState(t, key, state)
	before := s.Prune(t)
	wantOutcome(t, s.Call(t, testkit.Root, row.op, body), outcome{want.code, fill(want.message, "$ARN", testkit.ARN(key))})
	if want != success && s.Prune(t) != before {
		t.Errorf("a refused call changed the state")
	}
}

func TestEnabledFollowsTheState(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	for _, state := range states {
		s.SetState(t, key, state)
		got := s.Must(t, "DescribeKey", obj{"KeyId": key})["KeyMetadata"].(obj)
		if got["KeyState"] != state || got["Enabled"] != (state == "Enabled") {
			t.Errorf("in state %s: KeyState %v, Enabled %v", state, got["KeyState"], got["Enabled"])
		}
	}
}

func TestDisableAndEnable(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	steps := []struct{ op, want string }{
		{"EnableKey", "Enabled"}, {"DisableKey", "Disabled"}, {"DisableKey", "Disabled"}, {"EnableKey", "Enabled"}, {"EnableKey", "Enabled"},
	}
	for i, step := range steps {
		a := s.Call(t, testkit.Root, step.op, obj{"KeyId": testkit.ARN(key)})
		wantOutcome(t, a, success)
		if len(a.Raw) != 0 {
			t.Errorf("step %d: the body is %q", i, a.Raw)
		}
		if got := s.Must(t, "DescribeKey", obj{"KeyId": key})["KeyMetadata"].(obj)["KeyState"]; got != step.want {
			t.Errorf("step %d: after %s the key is %v", i, step.op, got)
		}
	}
}

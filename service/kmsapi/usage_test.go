package kmsapi_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/internal/testkit"
)

// lastUsage returns the member KeyLastUsage of a key.
func lastUsage(t *testing.T, s *testkit.Solo, key string) any {
	t.Helper()
	return s.Must(t, "GetKeyLastUsage", obj{"KeyId": key})["KeyLastUsage"]
}

// eventID is the id of the call's one audit record.
func eventID(t *testing.T, s *testkit.Solo, a testkit.Answer) string {
	t.Helper()
	id, _ := s.Record(t, a)["eventID"].(string)
	return id
}

func TestGetKeyLastUsage(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.Advance(time.Hour)
	want := `{"KeyId":"$KEY","KeyCreationDate":1795521600.345,"TrackingStartDate":1795521600.345,"KeyLastUsage":$LAST}`
	for _, id := range []string{key, testkit.ARN(key)} {
		wantJSON(t, s.Must(t, "GetKeyLastUsage", obj{"KeyId": id}), fill(want, "$KEY", key, "$LAST", `{}`))
	}
	a := s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="})
	last := fill(`{"Operation":"Encrypt","Timestamp":1795525200.345,"CloudTrailEventId":"$EVENT","KmsRequestId":"$REQUEST"}`, "$EVENT", eventID(t, s, a), "$REQUEST", a.RequestID)
	s.Advance(time.Minute)
	for _, id := range []string{key, testkit.ARN(key)} {
		wantJSON(t, s.Must(t, "GetKeyLastUsage", obj{"KeyId": id}), fill(want, "$KEY", key, "$LAST", last))
	}
}

// usedBy are AWS's operations whose success is a key's use (AWS:
// KeyLastUsageTrackingOperation), with a body for those that are served; "by kind" is the example of
// the operation.
var usedBy = map[string]string{
	"Decrypt": `{"CiphertextBlob":"$BLOB"}`, "Encrypt": `{"KeyId":"$KEY","Plaintext":"AA=="}`, "GenerateDataKey": `{"KeyId":"$KEY","KeySpec":"AES_256"}`,
	"GenerateDataKeyPair": `{"KeyId":"$KEY","KeyPairSpec":"ECC_NIST_P521"}`, "GenerateDataKeyPairWithoutPlaintext": `{"KeyId":"$KEY","KeyPairSpec":"ML_KEM_1024"}`,
	"GenerateDataKeyWithoutPlaintext": `{"KeyId":"$KEY","NumberOfBytes":9}`, "ReEncrypt": `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$KEY"}`,
	"DeriveSharedSecret": "by kind", "GenerateMac": "by kind", "Sign": "by kind", "Verify": "by kind", "VerifyMac": "by kind",
	"Encapsulate": "by kind", "Decapsulate": "by kind",
}

// notUsing are the other operations in an order in which they succeed; those
// without a body name no key.
var notUsing = []struct{ op, body string }{
	{"CreateKey", ""}, {"ListKeys", ""}, {"GenerateRandom", ""},
	{"CreateAlias", `{"AliasName":"alias/app","TargetKeyId":"$KEY"}`}, {"UpdateAlias", `{"AliasName":"alias/app","TargetKeyId":"$KEY"}`}, {"DeleteAlias", `{"AliasName":"alias/app"}`},
	{"ListAliases", `{"KeyId":"$KEY"}`}, {"DescribeKey", `{"KeyId":"$KEY"}`}, {"GetPublicKey", `{"KeyId":"$KEY"}`}, {"GetKeyLastUsage", `{"KeyId":"$KEY"}`}, {"GetKeyPolicy", `{"KeyId":"$KEY"}`},
	{"ListKeyPolicies", `{"KeyId":"$KEY"}`}, {"GetKeyRotationStatus", `{"KeyId":"$KEY"}`}, {"ListKeyRotations", `{"KeyId":"$KEY"}`},
	{"EnableKeyRotation", `{"KeyId":"$KEY"}`}, {"DisableKeyRotation", `{"KeyId":"$KEY"}`}, {"RotateKeyOnDemand", `{"KeyId":"$KEY"}`},
	{"TagResource", `{"KeyId":"$KEY","Tags":[{"TagKey":"a","TagValue":"b"}]}`}, {"UntagResource", `{"KeyId":"$KEY","TagKeys":["a"]}`}, {"ListResourceTags", `{"KeyId":"$KEY"}`},
	{"CreateGrant", `{"KeyId":"$KEY","GranteePrincipal":"999999999999","Operations":["Decrypt"]}`}, {"ListGrants", `{"KeyId":"$KEY"}`}, {"ListRetirableGrants", ""},
	{"RetireGrant", `{"KeyId":"$KEY","GrantId":"$RETIRE"}`}, {"RevokeGrant", `{"KeyId":"$KEY","GrantId":"$REVOKE"}`},
	{"UpdateKeyDescription", `{"KeyId":"$KEY","Description":"d"}`}, {"DisableKey", `{"KeyId":"$KEY"}`}, {"EnableKey", `{"KeyId":"$KEY"}`},
	{"PutKeyPolicy", `{"KeyId":"$KEY","Policy":"` + strings.ReplaceAll(rootPolicy, `"`, `\"`) + `"}`},
	{"ScheduleKeyDeletion", `{"KeyId":"$KEY"}`}, {"CancelKeyDeletion", `{"KeyId":"$KEY"}`},
	{"ReplicateKey", "by kind"}, {"UpdatePrimaryRegion", "by kind"},
	{"GetParametersForImport", "by kind"}, {"ImportKeyMaterial", "by kind"}, {"DeleteImportedKeyMaterial", "by kind"},
}

// Every operation that is served uses the key or does not, as AWS says.
func TestWhichOperationsUse(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, idle := s.NewKey(t), s.NewKey(t)
	blob := s.NewBlob(t, key)
	grants := []string{"$RETIRE", newGrant(t, s, idle, testkit.Account, "Decrypt"), "$REVOKE", newGrant(t, s, idle, testkit.Account, "Decrypt")}
	said := map[string]bool{}
	for _, c := range notUsing {
		said[c.op] = true
		if c.body == "" {
			continue
		}
		idle, body := idle, fill(c.body, append(grants, "$KEY", idle)...)
		if kinds[c.op] != "" {
			idle, body = exampleOf(t, s, c.op)
		}
		wantOutcome(t, s.Call(t, testkit.Root, c.op, body), success)
		if last := lastUsage(t, s, idle); len(last.(obj)) != 0 {
			t.Fatalf("after %s: %v", c.op, last)
		}
	}
	for _, row := range rows() {
		body, uses := usedBy[row.Name]
		if uses == said[row.Name] {
			t.Errorf("%s must stand in one of the two lists", row.Name)
		}
		if !uses {
			continue
		}
		key, body := key, fill(body, "$KEY", key, "$BLOB", blob)
		if kinds[row.Name] != "" {
			key, body = exampleOf(t, s, row.Name)
		}
		s.Advance(time.Second)
		a := s.Call(t, testkit.Root, row.Name, body)
		wantOutcome(t, a, success)
		last, _ := lastUsage(t, s, key).(obj)
		if last["Operation"] != row.Name || last["KmsRequestId"] != a.RequestID || last["CloudTrailEventId"] != eventID(t, s, a) {
			t.Errorf("after %s: %v", row.Name, last)
		}
	}
}

// ReEncrypt uses both keys. Its one record tells of both, and so does its event.
func TestReEncryptUsesBothKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	from, to := s.NewKey(t), s.NewKey(t)
	blob := s.NewBlob(t, from)
	s.Advance(time.Second)
	a := s.Call(t, testkit.Root, "ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": to})
	want := fill(`{"Operation":"ReEncrypt","Timestamp":1795521601.345,"CloudTrailEventId":"$EVENT","KmsRequestId":"$REQUEST"}`, "$EVENT", eventID(t, s, a), "$REQUEST", a.RequestID)
	wantJSON(t, lastUsage(t, s, from), want)
	wantJSON(t, lastUsage(t, s, to), want)
}

// What was refused, was a dry run, or could not be recorded is no use.
func TestFailuresAreNoUses(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := s.NewKey(t), s.NewKey(t)
	blob := s.NewBlob(t, other)
	calls := []struct {
		op, body string
		want     outcome
	}{
		{"Encrypt", `{"KeyId":"$KEY","Plaintext":"AA==","DryRun":true}`, outcome{"DryRunOperationException", "The request would have succeeded, but the DryRun option is set."}},
		{"ReEncrypt", `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$KEY","DryRun":true}`, outcome{"DryRunOperationException", "The request would have succeeded, but the DryRun option is set."}},
		{"ReEncrypt", `{"CiphertextBlob":"$BLOB","SourceEncryptionContext":{"a":"b"},"DestinationKeyId":"$KEY"}`, outcome{"InvalidCiphertextException", ""}},
		{"Decrypt", `{"CiphertextBlob":"$BLOB","KeyId":"$KEY"}`, outcome{"IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."}},
		{"Encrypt", `{"KeyId":"$KEY"}`, missing("plaintext")},
	}
	for _, c := range calls {
		wantOutcome(t, s.Call(t, testkit.Root, c.op, fill(c.body, "$KEY", key, "$BLOB", blob)), c.want)
	}
	s.Trail.Fault = func(*audit.Record) error { return errors.New("broken") }
	if a := s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}); a.Err == nil {
		t.Errorf("an unrecorded call was answered: %+v", a)
	}
	s.Trail.Fault = nil
	s.Must(t, "DisableKey", obj{"KeyId": key})
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}), outcome{"DisabledException", testkit.ARN(key) + " is disabled."})
	if last := lastUsage(t, s, key); len(last.(obj)) != 0 {
		t.Errorf("the key was used: %v", last)
	}
}

// The replicated use is shown where it is later than the node's own, and the other
// way round.
func TestLastUsageIsTheLater(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	later := s.NewService()
	s.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="})
	s.Advance(time.Second)
	blob := s.NewBlob(t, key)
	s.Service.HandOver(t.Context())
	earlier := s.Service
	s.Service = later
	if got := lastUsage(t, s, key).(obj)["Timestamp"]; got != 1795521601.345 {
		t.Errorf("on another node: %v", got)
	}
	s.Advance(-time.Second) // a node whose clock is behind
	s.Must(t, "Decrypt", obj{"CiphertextBlob": blob})
	if got := lastUsage(t, s, key).(obj)["Operation"]; got != "Encrypt" {
		t.Errorf("an earlier use on this node took the place of the state's: %v", got)
	}
	s.Advance(2 * time.Second)
	s.Must(t, "Decrypt", obj{"CiphertextBlob": blob})
	if got := lastUsage(t, s, key).(obj)["Operation"]; got != "Decrypt" {
		t.Errorf("a later use on this node: %v", got)
	}
	s.Service = earlier
	if got := lastUsage(t, s, key).(obj)["Operation"]; got != "Encrypt" {
		t.Errorf("on the node that heard nothing of it yet: %v", got)
	}
}

// The errors that the model declares. DependencyTimeoutException is not among
// them: the answer depends on nothing outside of the node.
func TestGetKeyLastUsageErrors(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.NewAlias(t, "alias/app", key)
	call := func(id string) testkit.Answer { return s.Call(t, testkit.Root, "GetKeyLastUsage", obj{"KeyId": id}) }
	wantOutcome(t, call(nobody), notFound("Key '"+own+"key/"+nobody+"' does not exist"))
	wantOutcome(t, call("alias/app"), notFound("Invalid keyId 'alias/app'"))
	wantOutcome(t, call(own+"alias/app"), invalidArn(own+"alias/app"))
	wantOutcome(t, call("arn:aws:s3:::bucket"), invalidArn("arn:aws:s3:::bucket"))
	wantOutcome(t, s.Call(t, testkit.Other, "GetKeyLastUsage", obj{"KeyId": testkit.ARN(key)}), deniedTo(testkit.OtherAccount, "kms:GetKeyLastUsage", testkit.ARN(key)))
	s.Shut = func(uint64) error { return errors.New("broken") }
	if a := call(key); a.Refusal == nil || a.Refusal.Code != "KMSInternalException" || strings.Contains(a.Refusal.Message, "broken") {
		t.Errorf("a fault of the node: %+v", a)
	}
	s.Shut = nil
	for _, code := range []string{"NotFoundException", "InvalidArnException", "KMSInternalException"} {
		if !slices.Contains(testkit.Seen("GetKeyLastUsage"), code) {
			t.Errorf("no call was answered %s", code)
		}
	}
}

package kmsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/internal/testkit"
)

// The details about keys, grants, policies and records (TestForty).

func testNoUsage(t *testing.T, s *testkit.Solo) {
	for _, spec := range []string{"RSA_2048", "ECC_NIST_P256", "HMAC_256", "ML_DSA_44"} {
		wantOutcome(t, s.Call(t, testkit.Root, "CreateKey", obj{"KeySpec": spec}), validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."))
	}
	if m := s.Must(t, "CreateKey", `{}`)["KeyMetadata"].(obj); m["KeyUsage"] != "ENCRYPT_DECRYPT" {
		t.Errorf("the default is %v", m)
	}
}

func testAlgorithmLists(t *testing.T, s *testkit.Solo) {
	lists := []string{"EncryptionAlgorithms", "SigningAlgorithms", "MacAlgorithms", "KeyAgreementAlgorithms", "EncapsulationAlgorithms"}
	for kind, list := range map[string]string{
		"": "EncryptionAlgorithms", "RSA_2048 ENCRYPT_DECRYPT": "EncryptionAlgorithms", "RSA_2048 SIGN_VERIFY": "SigningAlgorithms", "HMAC_384 GENERATE_VERIFY_MAC": "MacAlgorithms",
		"ECC_NIST_P256 KEY_AGREEMENT": "KeyAgreementAlgorithms", "ML_KEM_768 ENCAPSULATE_DECAPSULATE": "EncapsulationAlgorithms",
	} {
		m := metadata(t, s, newKeyOf(t, s, kind))
		for _, name := range lists {
			if _, has := m[name]; has != (name == list) {
				t.Errorf("%s: %s is %v", kind, name, m[name])
			}
		}
		if m["CustomerMasterKeySpec"] != m["KeySpec"] || m["KeySpec"] == nil || m["MultiRegion"] != false {
			t.Errorf("%s: %v", kind, m)
		}
	}
}

func testDeletionDate(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	has := func(key string) (dated, windowed bool) {
		m := metadata(t, s, key)
		return m["DeletionDate"] != nil, m["PendingDeletionWindowInDays"] != nil
	}
	if dated, windowed := has(key); dated || windowed {
		t.Error("an enabled key has a date")
	}
	s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": key})
	if dated, windowed := has(key); !dated || windowed {
		t.Errorf("pending deletion: %v", metadata(t, s, key))
	}
	s.Must(t, "CancelKeyDeletion", obj{"KeyId": key})
	if dated, windowed := has(key); dated || windowed {
		t.Errorf("cancelled: %v", metadata(t, s, key))
	}
	primary := s.Must(t, "CreateKey", `{"MultiRegion":true}`)["KeyMetadata"].(obj)["KeyId"].(string)
	s.Apply(t, fsm.ReplicateKey{Account: testkit.Account, Region: "us-east-1", KeyID: primary, ReplicaRegion: "eu-west-1", Created: 1, Policy: iam.DefaultKeyPolicy(testkit.Account)})
	s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": primary, "PendingWindowInDays": 8})
	if m := metadata(t, s, primary); m["KeyState"] != "PendingReplicaDeletion" || m["DeletionDate"] != nil || m["PendingDeletionWindowInDays"] != 8.0 {
		t.Errorf("pending replica deletion: %v", m)
	}
}

func testCancelled(t *testing.T, s *testkit.Solo) {
	for key, want := range map[string]string{s.NewKey(t): "Disabled", newKeyOf(t, s, imported): "PendingImport"} {
		s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": key})
		s.Must(t, "CancelKeyDeletion", obj{"KeyId": key})
		if m := metadata(t, s, key); m["KeyState"] != want || m["Enabled"] != false {
			t.Errorf("cancelled: %v, want %s", m, want)
		}
	}
}

func testAliasesOfPending(t *testing.T, s *testkit.Solo) {
	key, other := s.NewKey(t), s.NewKey(t)
	s.NewAlias(t, "alias/moved", key)
	s.NewAlias(t, "alias/deleted", key)
	s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": key})
	pending := outcome{"KMSInvalidStateException", testkit.ARN(key) + " is pending deletion."}
	wantOutcome(t, s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": "alias/moved"}), success)
	wantOutcome(t, s.Call(t, testkit.Root, "CreateAlias", obj{"AliasName": "alias/new", "TargetKeyId": key}), pending)
	wantOutcome(t, s.Call(t, testkit.Root, "UpdateAlias", obj{"AliasName": "alias/moved", "TargetKeyId": other}), success)
	wantOutcome(t, s.Call(t, testkit.Root, "UpdateAlias", obj{"AliasName": "alias/moved", "TargetKeyId": key}), pending)
	wantOutcome(t, s.Call(t, testkit.Root, "DeleteAlias", obj{"AliasName": "alias/deleted"}), success)
}

func testAliasRules(t *testing.T, s *testkit.Solo) {
	key, second, hmac := s.NewKey(t), s.NewKey(t), newKeyFor(t, s, "GenerateMac")
	for _, op := range []string{"CreateAlias", "UpdateAlias", "DeleteAlias"} {
		wantOutcome(t, s.Call(t, testkit.Root, op, obj{"AliasName": "alias/aws/ebs", "TargetKeyId": key}), outcome{"NotAuthorizedException", ""})
	}
	s.NewAlias(t, "alias/app", key)
	wantOutcome(t, s.Call(t, testkit.Root, "UpdateAlias", obj{"AliasName": "alias/app", "TargetKeyId": second}), success)
	wantOutcome(t, s.Call(t, testkit.Root, "UpdateAlias", obj{"AliasName": "alias/app", "TargetKeyId": hmac}), validation("Alias arn:aws:kms:us-east-1:111122223333:alias/app cannot be changed from "+
		testkit.ARN(second)+" to "+testkit.ARN(hmac)+". The current and new key must be the same type and have the same key usage."))
	encrypts, signs, other := newRSA(t, s), newKeyOf(t, s, "RSA_2048 SIGN_VERIFY"), newKeyFor(t, s, "Sign")
	s.NewAlias(t, "alias/rsa", signs)
	wantOutcome(t, s.Call(t, testkit.Root, "UpdateAlias", obj{"AliasName": "alias/rsa", "TargetKeyId": other}), success)
	if a := s.Call(t, testkit.Root, "UpdateAlias", obj{"AliasName": "alias/rsa", "TargetKeyId": encrypts}); a.Refusal == nil || a.Refusal.Code != "ValidationException" {
		t.Errorf("another usage: got %v", a.Refusal)
	}
}

func testRotationKeeps(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	s.NewAlias(t, "alias/app", key)
	first, old := materialOf(t, s, key), s.NewBlob(t, key)
	s.Must(t, "RotateKeyOnDemand", obj{"KeyId": key})
	second := rotateNow(t, s, key)
	if m := metadata(t, s, "alias/app"); m["KeyId"] != key || m["CurrentKeyMaterialId"] != second || first == second {
		t.Errorf("after the rotation: %v", m)
	}
	if got := s.Must(t, "Decrypt", obj{"CiphertextBlob": old}); got["KeyMaterialId"] != first || got["Plaintext"] != "aGVsbG8=" {
		t.Errorf("the old ciphertext gives %v", got)
	}
	moved := s.Must(t, "ReEncrypt", obj{"CiphertextBlob": old, "DestinationKeyId": key})
	if moved["SourceKeyMaterialId"] != first || moved["DestinationKeyMaterialId"] != second {
		t.Errorf("ReEncrypt answers %v", moved)
	}
	s.Must(t, "EnableKeyRotation", obj{"KeyId": key})
	s.Advance(oneDay)
	wantOutcome(t, s.Call(t, testkit.Root, "EnableKeyRotation", obj{"KeyId": key}), success)
	if got := status(t, s, key)["NextRotationDate"]; got != began+366*86400 {
		t.Errorf("the next rotation is at %v", got)
	}
}

func testCompletedRotations(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	first := materialOf(t, s, key)
	list := func(more obj) []string {
		return column(s.Must(t, "ListKeyRotations", with(more, obj{"KeyId": key}))["Rotations"], "KeyMaterialId")
	}
	all := obj{"IncludeKeyMaterial": "ALL_KEY_MATERIAL"}
	if got := list(nil); len(got) != 0 {
		t.Errorf("before any rotation: %v", got)
	}
	s.Must(t, "RotateKeyOnDemand", obj{"KeyId": key})
	if got := list(nil); len(got) != 0 {
		t.Errorf("while one runs: %v", got)
	}
	second := rotateNow(t, s, key)
	if got := list(nil); !slices.Equal(got, []string{second}) {
		t.Errorf("completed: %v", got)
	}
	if got := list(all); !slices.Equal(got, []string{first, second}) {
		t.Errorf("all: %v", got)
	}
}

func testReimport(t *testing.T, s *testkit.Solo) {
	key := newKeyOf(t, s, imported)
	body := func(b byte, more obj) obj {
		return with(wrapped(t, s, key, "RSAES_OAEP_SHA_256", "RSA_2048", slices.Repeat([]byte{b}, 32)), more)
	}
	expires := obj{"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": s.Now().Add(time.Hour).Unix()}
	wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", body(1, expires)), success)
	wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", body(2, nil)), outcome{"IncorrectKeyMaterialException", ""})
	wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", body(2, obj{"ImportType": "NEW_KEY_MATERIAL"})), success)
	k, _ := s.Machine.View().Key(testkit.Region, key)
	s.Advance(2 * time.Hour)
	s.Apply(t, fsm.DeleteExpiredKeyMaterial{Account: k.Account, Region: k.Region, KeyID: key, MaterialID: k.CurrentMaterial, ValidTo: k.NextExpiry})
	if m := metadata(t, s, key); m["KeyState"] != "PendingImport" {
		t.Errorf("expired: %v", m)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", body(3, nil)), outcome{"IncorrectKeyMaterialException", ""})
	wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", body(1, nil)), success)
	if m := metadata(t, s, key); m["KeyState"] != "Enabled" {
		t.Errorf("imported again: %v", m)
	}
}

func testImportTokens(t *testing.T, s *testkit.Solo) {
	key, other := newKeyOf(t, s, imported), newKeyOf(t, s, imported)
	body := wrapped(t, s, key, "RSAES_OAEP_SHA_256", "RSA_2048", make([]byte, 32))
	wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", with(body, obj{"KeyId": other})), outcome{"InvalidImportTokenException", ""})
	theirs := wrapped(t, s, other, "RSAES_OAEP_SHA_256", "RSA_2048", make([]byte, 32))
	wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", with(body, obj{"ImportToken": theirs["ImportToken"]})), outcome{"InvalidImportTokenException", ""})
	s.Advance(24*time.Hour + time.Second)
	wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", body), outcome{"ExpiredImportTokenException", ""})

	ecc := newImportKey(t, s, "ECC_NIST_P256", "SIGN_VERIFY")
	pair := s.Must(t, "GenerateDataKeyPair", obj{"KeyId": s.NewKey(t), "KeyPairSpec": "ECC_NIST_P256"})
	pkcs8 := unb64(t, pair["PrivateKeyPlaintext"])
	wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", wrapped(t, s, ecc, "RSAES_OAEP_SHA_256", "RSA_2048", pkcs8[36:68])), outcome{"IncorrectKeyMaterialException", ""}) // the scalar alone
	wantOutcome(t, s.Call(t, testkit.Root, "ImportKeyMaterial", wrapped(t, s, ecc, "RSAES_OAEP_SHA_256", "RSA_2048", pkcs8)), success)
	if got := s.Must(t, "GetPublicKey", obj{"KeyId": ecc})["PublicKey"]; got != pair["PublicKey"] {
		t.Error("another key was imported")
	}
}

func testTagRules(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	tag := func(name, value string) outcome {
		a := s.Call(t, testkit.Root, "TagResource", obj{"KeyId": key, "Tags": []obj{{"TagKey": name, "TagValue": value}}})
		if a.Refusal != nil {
			return outcome{a.Refusal.Code, a.Refusal.Message}
		}
		return success
	}
	for _, value := range []string{"1", "2"} {
		if got := tag("a", value); got != success {
			t.Errorf("got %v", got)
		}
	}
	wantJSON(t, s.Must(t, "ListResourceTags", obj{"KeyId": key}), `{"Tags":[{"TagKey":"a","TagValue":"2"}],"Truncated":false}`)
	for _, name := range []string{"aws:x", "AWS:x"} {
		if got := tag(name, "1"); got != tagRefusal("Tags beginning with aws: are reserved") {
			t.Errorf("%s: got %v", name, got)
		}
	}
	wantOutcome(t, s.Call(t, testkit.Root, "UntagResource", obj{"KeyId": key, "TagKeys": []string{"absent"}}), success)
}

func testNamedGrants(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	body := with(granting(key, testkit.Account, "Decrypt"), obj{"Name": "app"})
	first, again := s.Must(t, "CreateGrant", body), s.Must(t, "CreateGrant", body)
	if first["GrantId"] != again["GrantId"] || first["GrantToken"] == again["GrantToken"] {
		t.Errorf("got %v, then %v", first, again)
	}
	if other := s.Must(t, "CreateGrant", with(body, obj{"Operations": []string{"Encrypt"}})); other["GrantId"] == first["GrantId"] {
		t.Error("other parameters gave the same grant")
	}
	unnamed := newGrant(t, s, key, testkit.Account, "Decrypt")
	a := s.Call(t, testkit.Root, "ListGrants", obj{"KeyId": key})
	if name, ok := entries(t, s, key)[unnamed]["Name"]; !ok || name != "" {
		t.Errorf("the grant without a name shows %v", name)
	}
	if strings.Contains(string(a.Raw), "Token") || strings.Contains(string(a.Raw), first["GrantToken"].(string)) {
		t.Errorf("ListGrants shows a token: %s", a.Raw)
	}
}

func testGrantWidths(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", granting(key, testkit.Account, "Sign")), validation("Sign is not supported for this key"))
	who, _ := s.NewUser(t, testkit.Account, "alice")
	parent := granting(key, "arn:aws:iam::111122223333:user/alice", "CreateGrant Decrypt")
	parent["Constraints"] = obj{"EncryptionContextSubset": obj{"a": "1"}}
	s.Must(t, "CreateGrant", parent)
	denied := deniedUser("alice", "kms:CreateGrant", testkit.ARN(key), "because no identity-based policy allows the kms:CreateGrant action")
	for _, row := range []struct {
		operations, constraint string
		want                   outcome
	}{
		{"Decrypt", `{"EncryptionContextSubset":{"a":"1"}}`, success}, {"Decrypt", `{"EncryptionContextEquals":{"a":"1","b":"2"}}`, success},
		{"Decrypt", `null`, denied}, {"Decrypt", `{"EncryptionContextSubset":{"b":"1"}}`, denied}, {"Encrypt", `{"EncryptionContextSubset":{"a":"1"}}`, denied},
		{"Decrypt Encrypt", `{"EncryptionContextSubset":{"a":"1"}}`, denied},
	} {
		body := granting(key, "999999999999", row.operations)
		if row.constraint != "null" {
			body["Constraints"] = parse(t, row.constraint)
		}
		wantOutcome(t, s.Call(t, who, "CreateGrant", body), row.want)
	}
}

func testDelegation(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	arn, encrypt := testkit.ARN(key), obj{"KeyId": key, "Plaintext": "AA=="}
	nobody, _ := s.NewUser(t, testkit.Account, "nobody")
	admin, _ := s.NewUser(t, testkit.Account, "admin", allowing("kms:*", "*", ""))
	wantOutcome(t, s.Call(t, nobody, "Encrypt", encrypt), deniedUser("nobody", "kms:Encrypt", arn, "because no identity-based policy allows the kms:Encrypt action"))
	wantOutcome(t, s.Call(t, admin, "Encrypt", encrypt), success)
	s.Must(t, "PutKeyPolicy", obj{"KeyId": key, "BypassPolicyLockoutSafetyCheck": true, "Policy": policyOf(lets("Allow", "arn:aws:iam::111122223333:user/nobody", "kms:Encrypt", ""))})
	wantOutcome(t, s.Call(t, nobody, "Encrypt", encrypt), success)
	wantOutcome(t, s.Call(t, admin, "Encrypt", encrypt), deniedUser("admin", "kms:Encrypt", arn, "because no resource-based policy allows the kms:Encrypt action"))
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", encrypt), accessDenied("User: arn:aws:iam::111122223333:root is not authorized to perform: kms:Encrypt on resource: "+arn+" because no resource-based policy allows the kms:Encrypt action"))
}

func testTwoSides(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	arn := testkit.ARN(key)
	encrypt := obj{"KeyId": arn, "Plaintext": "AA=="}
	neither, _ := s.NewUser(t, testkit.OtherAccount, "neither")
	may, _ := s.NewUser(t, testkit.OtherAccount, "may", allowing("kms:*", arn, ""))
	denied := func(name, action, why string) outcome {
		return accessDenied("User: arn:aws:iam::444455556666:user/" + name + " is not authorized to perform: " + action + " on resource: " + arn + why)
	}
	wantOutcome(t, s.Call(t, may, "Encrypt", encrypt), denied("may", "kms:Encrypt", threeReasons))
	letAccount(t, s, testkit.Root, key, testkit.Account, testkit.OtherAccount)
	wantOutcome(t, s.Call(t, may, "Encrypt", encrypt), success)
	wantOutcome(t, s.Call(t, neither, "Encrypt", encrypt), denied("neither", "kms:Encrypt", " because no identity-based policy allows the kms:Encrypt action"))
	wantOutcome(t, s.Call(t, may, "DescribeKey", obj{"KeyId": arn}), success)
	for _, op := range []string{"EnableKey", "GetKeyPolicy", "ListResourceTags", "ScheduleKeyDeletion", "EnableKeyRotation", "GetKeyLastUsage"} {
		wantOutcome(t, s.Call(t, may, op, obj{"KeyId": arn}), denied("may", "kms:"+op, threeReasons))
	}
}

func testLockout(t *testing.T, s *testkit.Solo) {
	locked := outcome{"MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future."}
	s.NewUser(t, testkit.Account, "V")
	maker, _ := s.NewUser(t, testkit.Account, "maker", allowing("kms:CreateKey", "*", ""))
	delegating := policyOf(lets("Allow", "arn:aws:iam::111122223333:root", "kms:*", ""))
	mine := policyOf(lets("Allow", "arn:aws:iam::111122223333:user/maker", "kms:*", ""))
	for _, who := range []testkit.Caller{testkit.Root, maker} {
		wantOutcome(t, s.Call(t, who, "CreateKey", obj{"Policy": onlyV}), locked)
		wantOutcome(t, s.Call(t, who, "CreateKey", obj{"Policy": onlyV, "BypassPolicyLockoutSafetyCheck": true}), success)
	}
	// The same policies let the root user in and not this caller, or the other way round.
	wantOutcome(t, s.Call(t, testkit.Root, "CreateKey", obj{"Policy": delegating}), success)
	wantOutcome(t, s.Call(t, maker, "CreateKey", obj{"Policy": delegating}), locked)
	wantOutcome(t, s.Call(t, testkit.Root, "CreateKey", obj{"Policy": mine}), locked)
	wantOutcome(t, s.Call(t, maker, "CreateKey", obj{"Policy": mine}), success)
	primary := newPrimary(t, s, nil)
	for policy, want := range map[string]outcome{onlyV: locked, mine: locked, delegating: success} {
		wantOutcome(t, s.Call(t, testkit.Root, "ReplicateKey", obj{"KeyId": primary, "ReplicaRegion": "eu-west-1", "Policy": policy}), want)
	}
}

func testIndistinguishable(t *testing.T, s *testkit.Solo) {
	theirs := s.NewKeyOf(t, testkit.Other)
	for _, arn := range []string{testkit.OtherARN(theirs), testkit.OtherARN(nobody), "arn:aws:kms:us-east-1:999999999999:key/" + nobody} {
		wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": arn, "Plaintext": "AA=="}), deniedTo(testkit.Account, "kms:Encrypt", arn))
		wantOutcome(t, s.Call(t, testkit.Root, "EnableKey", obj{"KeyId": arn}), deniedTo(testkit.Account, "kms:EnableKey", arn))
	}
}

func testAbsentKeys(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	arn, app := testkit.ARN(key), obj{"app": "x"}
	for i, row := range []struct {
		operator, name, value string
		context               obj
		want                  bool
	}{
		{"StringEquals", "kms:EncryptionContext:app", "x", nil, false},
		{"StringNotEquals", "kms:EncryptionContext:app", "x", nil, true},
		{"StringNotLike", "kms:EncryptionContext:app", "x", nil, true},
		{"StringEqualsIfExists", "kms:EncryptionContext:app", "x", nil, true},
		{"ForAllValues:StringEquals", "kms:EncryptionContextKeys", "app", nil, true},
		{"ForAnyValue:StringEquals", "kms:EncryptionContextKeys", "app", nil, false},
		{"Null", "kms:EncryptionContextKeys", "true", nil, true},
		{"StringEquals", "kms:EncryptionContext:APP", "x", app, true},
		{"StringEquals", "kms:EncryptionContext:app", "X", app, false},
		{"StringNotEquals", "kms:EncryptionContext:App", "x", app, false},
		{"ForAllValues:StringEquals", "kms:EncryptionContextKeys", "APP", app, false},
		{"ForAnyValue:StringEqualsIgnoreCase", "kms:EncryptionContextKeys", "APP", app, true},
	} {
		name := fmt.Sprint("u", i)
		who, _ := s.NewUser(t, testkit.Account, name, allowing("kms:Encrypt", arn, condition(row.operator, row.name, row.value)))
		want := success
		if !row.want {
			want = deniedUser(name, "kms:Encrypt", arn, "because no identity-based policy allows the kms:Encrypt action")
		}
		wantOutcome(t, s.Call(t, who, "Encrypt", obj{"KeyId": key, "Plaintext": "AA==", "EncryptionContext": row.context}), want)
	}
}

func testRecordForms(t *testing.T, s *testkit.Solo) {
	key := s.NewKey(t)
	sealed := s.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": "cGxhaW50ZXh0IG9mIGRldGFpbCA0MA=="})["CiphertextBlob"]
	rec := s.Record(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": sealed}))
	if response, ok := rec["responseElements"]; !ok || response != nil || rec["readOnly"] != true || rec["managementEvent"] != true || rec["eventCategory"] != "Management" {
		t.Errorf("Decrypt is recorded as %v", rec)
	}
	rec = s.Record(t, s.Call(t, testkit.Root, "ScheduleKeyDeletion", obj{"KeyId": key, "PendingWindowInDays": 7}))
	if got := rec["responseElements"].(obj)["deletionDate"]; got != "Dec 1, 2026, 12:00:00 PM" || rec["readOnly"] != false {
		t.Errorf("ScheduleKeyDeletion is recorded as %v", rec)
	}
	theirs := s.NewKeyOf(t, testkit.Other)
	letAccount(t, s, testkit.Other, theirs, testkit.OtherAccount, testkit.Account)
	data := s.Call(t, testkit.Root, "GenerateDataKey", obj{"KeyId": testkit.OtherARN(theirs), "KeySpec": "AES_256"})
	records, accounts := recipients(t, s, data)
	if !slices.Equal(accounts, []string{testkit.Account, testkit.OtherAccount}) {
		t.Fatalf("recorded for %v", accounts)
	}
	wantShared(t, records, testkit.Account, rootIdentity)
	if s.CountInTrail(t, "cGxhaW50ZXh0IG9mIGRldGFpbCA0MA") != 0 || s.CountInTrail(t, data.Body["Plaintext"].(string)) != 0 {
		t.Error("the log holds a plaintext")
	}
}

package kmsapi_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/internal/testkit"
)

var mrkPattern = regexp.MustCompile(`^mrk-[0-9a-f]{32}$`)

// TestCreateMultiRegionKey makes a primary of every spec that AWS has (behaviour of
// CreateKey with MultiRegion).
func TestCreateMultiRegionKey(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, body := range []string{
		`{"MultiRegion":true}`,
		`{"MultiRegion":true,"KeySpec":"HMAC_256","KeyUsage":"GENERATE_VERIFY_MAC"}`,
		`{"MultiRegion":true,"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY"}`,
		`{"MultiRegion":true,"KeySpec":"ML_DSA_44","KeyUsage":"SIGN_VERIFY"}`,
		`{"MultiRegion":true,"KeySpec":"ML_KEM_768","KeyUsage":"ENCAPSULATE_DECAPSULATE"}`,
	} {
		m := s.Must(t, "CreateKey", body)["KeyMetadata"].(obj)
		id := m["KeyId"].(string)
		if !mrkPattern.MatchString(id) || m["MultiRegion"] != true || m["KeyState"] != "Enabled" {
			t.Errorf("%s: got %v", body, m)
		}
		want := strings.ReplaceAll(`{"MultiRegionKeyType":"PRIMARY","PrimaryKey":{"Arn":"$ARN","Region":"us-east-1"},"ReplicaKeys":[]}`, "$ARN", testkit.ARN(id))
		wantJSON(t, m["MultiRegionConfiguration"], want)
		wantJSON(t, metadata(t, s, id)["MultiRegionConfiguration"], want)
	}
}

// TestRelatedKeys uses a primary in us-east-1 and a replica in eu-west-1: either opens
// the other's blobs under its own ARN, and what is not shared stays apart (§4.11 of
// the behaviour, details 15 and 24).
func TestRelatedKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	id := s.Must(t, "CreateKey", `{"MultiRegion":true,"Description":"first"}`)["KeyMetadata"].(obj)["KeyId"].(string)
	s.Must(t, "EnableKeyRotation", obj{"KeyId": id, "RotationPeriodInDays": 90})
	replicate(t, s, id, "eu-west-1")
	here, there := testkit.ARN(id), inRegion(testkit.ARN(id), "eu-west-1")
	eu := abroad

	blob := s.NewBlob(t, id)
	if got := s.MustAs(t, eu, "Decrypt", obj{"CiphertextBlob": blob}); got["KeyId"] != there {
		t.Errorf("decrypted there with %v, want %s", got["KeyId"], there)
	}
	back := s.MustAs(t, eu, "Encrypt", obj{"KeyId": id, "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	if got := s.Must(t, "Decrypt", obj{"CiphertextBlob": back, "KeyId": here}); got["KeyId"] != here || got["Plaintext"] != "aGVsbG8=" {
		t.Errorf("decrypted here: %v", got)
	}
	wantOutcome(t, s.Call(t, eu, "DescribeKey", obj{"KeyId": here}), notFound("Invalid arn us-east-1"))

	m := s.MustAs(t, eu, "DescribeKey", obj{"KeyId": id})["KeyMetadata"].(obj)
	if m["Arn"] != there || m["Description"] != "" {
		t.Errorf("the replica: %v", m)
	}
	wantJSON(t, m["MultiRegionConfiguration"], fill(`{"MultiRegionKeyType":"REPLICA","PrimaryKey":{"Arn":"$HERE","Region":"us-east-1"},
		"ReplicaKeys":[{"Arn":"$THERE","Region":"eu-west-1"}]}`, "$HERE", here, "$THERE", there))

	status := s.MustAs(t, eu, "GetKeyRotationStatus", obj{"KeyId": id})
	if status["KeyRotationEnabled"] != true || status["RotationPeriodInDays"] != 90.0 {
		t.Errorf("the replica's rotation: %v", status)
	}
	for _, op := range []string{"EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"} {
		wantOutcome(t, s.Call(t, eu, op, obj{"KeyId": id}), unsupported(there+" is a multi-region replica key."))
	}

	wantJSON(t, s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": id, "PendingWindowInDays": 9}),
		`{"KeyId":"`+here+`","KeyState":"PendingReplicaDeletion","PendingWindowInDays":9}`)
	m = metadata(t, s, id)
	if _, dated := m["DeletionDate"]; dated || m["PendingDeletionWindowInDays"] != 9.0 {
		t.Errorf("the primary that waits: %v", m)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": blob}), outcome{"KMSInvalidStateException", here + " is pending replica deletion."})
	s.MustAs(t, eu, "Decrypt", obj{"CiphertextBlob": blob})
	wantJSON(t, s.Must(t, "CancelKeyDeletion", obj{"KeyId": id}), `{"KeyId":"`+here+`"}`)
}

// Related keys of every kind do each other's work: what one signs, wraps or encapsulates,
// the other verifies and opens, and both show one public key.
func TestRelatedKeysOfEveryKind(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	hello := obj{"Message": "aGVsbG8="}
	for kind, row := range map[string]struct {
		spec, usage   string
		make, check   string
		parameters    obj
		passed, shown string // the members that the second call gets of the first, and that both answer
	}{
		"symmetric": {"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "GenerateDataKey", "Decrypt", obj{}, "CiphertextBlob", "Plaintext"},
		"RSA":       {"RSA_2048", "ENCRYPT_DECRYPT", "Encrypt", "Decrypt", obj{"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}, "CiphertextBlob", ""},
		"ECC":       {"ECC_NIST_P256", "SIGN_VERIFY", "Sign", "Verify", with(hello, obj{"SigningAlgorithm": "ECDSA_SHA_256"}), "Signature", ""},
		"ML-DSA":    {"ML_DSA_44", "SIGN_VERIFY", "Sign", "Verify", with(hello, obj{"SigningAlgorithm": "ML_DSA_SHAKE_256"}), "Signature", ""},
		"HMAC":      {"HMAC_256", "GENERATE_VERIFY_MAC", "GenerateMac", "VerifyMac", with(hello, obj{"MacAlgorithm": "HMAC_SHA_256"}), "Mac", ""},
		"ECDH":      {"ECC_NIST_P256", "KEY_AGREEMENT", "DeriveSharedSecret", "DeriveSharedSecret", obj{"KeyAgreementAlgorithm": "ECDH", "PublicKey": generatorP256}, "", "SharedSecret"},
		"ML-KEM":    {"ML_KEM_768", "ENCAPSULATE_DECAPSULATE", "Encapsulate", "Decapsulate", obj{"EncapsulationAlgorithm": "ML_KEM"}, "SharedSecretCiphertextBlob", "SharedSecret"},
	} {
		t.Run(kind, func(t *testing.T) {
			key := newPrimary(t, s, obj{"KeySpec": row.spec, "KeyUsage": row.usage})
			replicate(t, s, key, "eu-west-1")
			for _, order := range [][2]testkit.Caller{{testkit.Root, abroad}, {abroad, testkit.Root}} {
				first := with(row.parameters, obj{"KeyId": key})
				switch row.make {
				case "Encrypt":
					first["Plaintext"] = "aGVsbG8="
				case "GenerateDataKey":
					first["KeySpec"] = "AES_256"
				}
				made := s.MustAs(t, order[0], row.make, first)
				second := with(row.parameters, obj{"KeyId": key})
				if row.passed != "" {
					second[row.passed] = made[row.passed]
				}
				got := s.MustAs(t, order[1], row.check, second)
				if got["KeyId"] != inRegion(testkit.ARN(key), order[1].Region) || made["KeyId"] != inRegion(testkit.ARN(key), order[0].Region) {
					t.Errorf("the keys are %v and %v", made["KeyId"], got["KeyId"])
				}
				if row.shown != "" && made[row.shown] != got[row.shown] {
					t.Errorf("%s gave %v, %s %v", row.make, made[row.shown], row.check, got[row.shown])
				}
			}
			if row.spec == "SYMMETRIC_DEFAULT" || row.usage == "GENERATE_VERIFY_MAC" {
				return
			}
			if here, there := s.Must(t, "GetPublicKey", obj{"KeyId": key}), s.MustAs(t, abroad, "GetPublicKey", obj{"KeyId": key}); here["PublicKey"] != there["PublicKey"] {
				t.Errorf("the public keys differ: %v, %v", here, there)
			}
		})
	}
}

// A rotation reaches every Region at once, also of replicas that are made later: all
// encrypt with the newest material, and open what any generation encrypted.
func TestRotationAcrossRegions(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := newPrimary(t, s, nil)
	replicate(t, s, key, "eu-west-1")
	materials, blobs := []string{materialOf(t, s, key)}, []any{s.NewBlob(t, key)}
	for range 3 {
		s.Advance(oneDay)
		s.Must(t, "RotateKeyOnDemand", obj{"KeyId": key})
		if got := s.MustAs(t, abroad, "GetKeyRotationStatus", obj{"KeyId": key}); got["OnDemandRotationStartDate"] == nil {
			t.Errorf("the replica's status while it rotates: %v", got)
		}
		materials = append(materials, rotateNow(t, s, key))
		blobs = append(blobs, s.MustAs(t, abroad, "Encrypt", obj{"KeyId": key, "Plaintext": "aGVsbG8="})["CiphertextBlob"])
	}
	replicate(t, s, key, "ap-south-1")
	list := s.Must(t, "ListKeyRotations", obj{"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"})
	if n := len(list["Rotations"].([]any)); n != 4 {
		t.Fatalf("%d generations are listed", n)
	}
	for _, region := range []string{"us-east-1", "eu-west-1", "ap-south-1"} {
		who := testkit.Root.In(region)
		for i, blob := range blobs {
			got := s.MustAs(t, who, "Decrypt", obj{"CiphertextBlob": blob})
			if got["KeyMaterialId"] != materials[i] || got["Plaintext"] != "aGVsbG8=" || got["KeyId"] != inRegion(testkit.ARN(key), region) {
				t.Errorf("%s, generation %d: %v", region, i, got)
			}
		}
		if m := metadataIn(t, s, region, key); m["CurrentKeyMaterialId"] != materials[3] {
			t.Errorf("%s encrypts with %v", region, m["CurrentKeyMaterialId"])
		}
		if diff := cmp.Diff(s.MustAs(t, who, "ListKeyRotations", obj{"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}), list); diff != "" {
			t.Errorf("%s lists other rotations: %s", region, diff)
		}
	}
}

// A primary waits for its replicas to end before its own waiting period begins; what they
// share ends with the last of them (§4.7 and §4.11 of the behaviour, detail 24).
func TestDeletionAcrossRegions(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := newPrimary(t, s, nil)
	replicate(t, s, key, "eu-west-1")
	replicate(t, s, key, "ap-south-1")
	s.Must(t, "CreateAlias", obj{"AliasName": "alias/app", "TargetKeyId": key})
	s.MustAs(t, abroad, "CreateAlias", obj{"AliasName": "alias/app", "TargetKeyId": key})
	blob := s.NewBlob(t, key)
	wantJSON(t, s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": key, "PendingWindowInDays": 9}),
		`{"KeyId":"`+testkit.ARN(key)+`","KeyState":"PendingReplicaDeletion","PendingWindowInDays":9}`)
	s.Must(t, "CancelKeyDeletion", obj{"KeyId": key})
	if got := metadata(t, s, key)["KeyState"]; got != "Disabled" {
		t.Errorf("cancelled: %v", got)
	}
	s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": key, "PendingWindowInDays": 9})
	destroy(t, s, "eu-west-1", key)
	wantOutcome(t, s.Call(t, abroad, "DescribeKey", obj{"KeyId": "alias/app"}), notFound("Alias arn:aws:kms:eu-west-1:111122223333:alias/app is not found."))
	wantOutcome(t, s.Call(t, abroad, "Decrypt", obj{"CiphertextBlob": blob}), deniedBlob("111122223333", "kms:Decrypt"))
	s.Advance(100 * oneDay)
	m := metadata(t, s, key)
	if m["KeyState"] != "PendingReplicaDeletion" || m["DeletionDate"] != nil || len(m["MultiRegionConfiguration"].(obj)["ReplicaKeys"].([]any)) != 1 {
		t.Errorf("with a replica left: %v", m)
	}
	s.MustAs(t, testkit.Root.In("ap-south-1"), "Decrypt", obj{"CiphertextBlob": blob})
	destroy(t, s, "ap-south-1", key)
	m = metadata(t, s, key)
	if m["KeyState"] != "PendingDeletion" || m["DeletionDate"] != began+(8+100+8+9)*86400 || m["PendingDeletionWindowInDays"] != nil {
		t.Errorf("with no replica left: %v", m)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": "eu-west-1"}), outcome{"KMSInvalidStateException", testkit.ARN(key) + " is pending deletion."})
	s.Advance(2 * oneDay)
	finish(t, s, "us-east-1", key)
	wantOutcome(t, s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": key}), notFound("Key '"+testkit.ARN(key)+"' does not exist"))
	if list, _ := s.Machine.View().Materials(key, 0, 10); len(list) != 0 {
		t.Errorf("%d materials are left", len(list))
	}
}

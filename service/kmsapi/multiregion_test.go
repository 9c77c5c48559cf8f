package kmsapi_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
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
	s.Apply(t, fsm.ReplicateKey{Account: testkit.Account, Region: "us-east-1", KeyID: id, ReplicaRegion: "eu-west-1", Created: 1, Policy: iam.DefaultKeyPolicy(testkit.Account)})
	here, there := testkit.ARN(id), strings.Replace(testkit.ARN(id), "us-east-1", "eu-west-1", 1)
	eu := testkit.Root.In("eu-west-1")

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

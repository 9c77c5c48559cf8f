package kmsapi_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// importIn imports material into the key of a Region.
func importIn(t testing.TB, s *testkit.Solo, region, key string, material []byte, more obj) testkit.Answer {
	t.Helper()
	who := testkit.Root.In(region)
	return s.Call(t, who, "ImportKeyMaterial", with(wrappedBy(t, s, who, key, "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048", material), more))
}

// generation are the bytes of a material.
func generation(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

// materialsIn are the states of the materials that a key of a Region has.
func materialsIn(t testing.TB, s *testkit.Solo, region, key string) (out []string) {
	t.Helper()
	list := s.MustAs(t, testkit.Root.In(region), "ListKeyRotations", obj{"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"})
	for _, e := range list["Rotations"].([]any) {
		out = append(out, e.(obj)["KeyMaterialState"].(string)+" "+e.(obj)["ImportState"].(string))
	}
	return out
}

// wantMaterials compares the state of a key with that of each of its materials.
func wantMaterials(t *testing.T, s *testkit.Solo, region, key, state string, materials ...string) {
	t.Helper()
	if got := metadataIn(t, s, region, key)["KeyState"]; got != state {
		t.Errorf("the key in %s is %v, want %s", region, got, state)
	}
	if got := materialsIn(t, s, region, key); !slices.Equal(got, materials) {
		t.Errorf("%s has %q, want %q", region, got, materials)
	}
}

// Related keys of imported material each import the same bytes (AWS: "Importing key
// material", multi-Region keys): a replica starts without, takes the primary's alone, and
// loses its own alone.
func TestImportAcrossRegions(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	const us, eu = "us-east-1", "eu-west-1"
	key := newPrimary(t, s, obj{"Origin": "EXTERNAL"})
	wantOutcome(t, s.Call(t, testkit.Root, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": eu}), outcome{"KMSInvalidStateException", testkit.ARN(key) + " is pending import."})
	wantOutcome(t, importIn(t, s, us, key, generation(1), nil), success)
	m := s.Must(t, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": eu})["ReplicaKeyMetadata"].(obj)
	if m["KeyState"] != "Creating" || m["Origin"] != "EXTERNAL" || m["ExpirationModel"] != nil {
		t.Errorf("the new replica: %v", m)
	}
	there, blob := inRegion(testkit.ARN(key), eu), s.NewBlob(t, key)
	waiting := outcome{"KMSInvalidStateException", there + " is pending import."}
	decrypts := func(want outcome) {
		t.Helper()
		wantOutcome(t, s.Call(t, abroad, "Decrypt", obj{"CiphertextBlob": blob}), want)
	}
	wantMaterials(t, s, eu, key, "PendingImport", "CURRENT PENDING_IMPORT")
	decrypts(waiting)
	wantOutcome(t, importIn(t, s, eu, key, generation(1), obj{"ImportType": "NEW_KEY_MATERIAL"}), unsupported(there+" is a multi-region replica key."))
	wantOutcome(t, importIn(t, s, eu, key, generation(9), nil), outcome{"IncorrectKeyMaterialException", ""})
	// A token is for one key: the primary's is not the replica's.
	wantOutcome(t, s.Call(t, abroad, "ImportKeyMaterial", wrapped(t, s, key, "RSAES_OAEP_SHA_256", "RSA_2048", generation(1))), outcome{"InvalidImportTokenException", ""})
	wantOutcome(t, importIn(t, s, eu, key, generation(1), obj{"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": s.Now().Add(time.Hour).Unix()}), success)
	wantMaterials(t, s, eu, key, "Enabled", "CURRENT IMPORTED")
	decrypts(success)
	s.Advance(2 * time.Hour) // each key's material expires by itself
	decrypts(waiting)
	s.Must(t, "Decrypt", obj{"CiphertextBlob": blob})
	wantOutcome(t, importIn(t, s, eu, key, generation(1), obj{"ImportType": "EXISTING_KEY_MATERIAL"}), success)
	decrypts(success)
	s.MustAs(t, abroad, "DeleteImportedKeyMaterial", obj{"KeyId": key})
	wantMaterials(t, s, eu, key, "PendingImport", "CURRENT PENDING_IMPORT")
	wantMaterials(t, s, us, key, "Enabled", "CURRENT IMPORTED")
	wantOutcome(t, s.Call(t, testkit.Root, "UpdatePrimaryRegion", obj{"KeyId": key, "PrimaryRegion": eu}), waiting)
	wantOutcome(t, importIn(t, s, eu, key, generation(1), nil), success)
	s.Must(t, "UpdatePrimaryRegion", obj{"KeyId": key, "PrimaryRegion": eu})
	wantOutcome(t, importIn(t, s, us, key, generation(4), obj{"ImportType": "NEW_KEY_MATERIAL"}), unsupported(testkit.ARN(key)+" is a multi-region replica key."))
	wantOutcome(t, importIn(t, s, eu, key, generation(4), obj{"ImportType": "NEW_KEY_MATERIAL"}), success)
}

// New material waits until every related key has imported it; then one rotation makes it
// current everywhere. The primary's loss of it is everybody's.
func TestImportedRotationAcrossRegions(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	const us, eu, awaited = "us-east-1", "eu-west-1", "PENDING_MULTI_REGION_IMPORT_AND_ROTATION "
	key := newPrimary(t, s, obj{"Origin": "EXTERNAL"})
	wantOutcome(t, importIn(t, s, us, key, generation(1), nil), success)
	replicate(t, s, key, eu)
	wantOutcome(t, importIn(t, s, eu, key, generation(1), nil), success)
	first := s.NewBlob(t, key)
	wantOutcome(t, importIn(t, s, us, key, generation(2), obj{"ImportType": "NEW_KEY_MATERIAL", "KeyMaterialDescription": "second"}), success)
	wantMaterials(t, s, us, key, "Enabled", "CURRENT IMPORTED", awaited+"IMPORTED")
	wantMaterials(t, s, eu, key, "Enabled", "CURRENT IMPORTED", awaited+"PENDING_IMPORT")
	wantOutcome(t, s.Call(t, testkit.Root, "RotateKeyOnDemand", obj{"KeyId": key}),
		outcome{"KMSInvalidStateException", "No available key material pending rotation for the key: " + testkit.ARN(key) + "."})
	wantOutcome(t, importIn(t, s, eu, key, generation(2), nil), success)
	wantMaterials(t, s, us, key, "Enabled", "CURRENT IMPORTED", "PENDING_ROTATION IMPORTED")
	wantOutcome(t, s.Call(t, abroad, "RotateKeyOnDemand", obj{"KeyId": key}), unsupported(inRegion(testkit.ARN(key), eu)+" is a multi-region replica key."))
	s.Must(t, "RotateKeyOnDemand", obj{"KeyId": key})
	rotateImported(t, s, key)
	newest := s.MustAs(t, abroad, "Encrypt", obj{"KeyId": key, "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	for _, who := range []testkit.Caller{testkit.Root, abroad} {
		wantMaterials(t, s, who.Region, key, "Enabled", "NON_CURRENT IMPORTED", "CURRENT IMPORTED")
		for n, blob := range []any{first, newest} {
			if got := s.MustAs(t, who, "Decrypt", obj{"CiphertextBlob": blob}); got["KeyMaterialId"] != crypto.MaterialID(key, generation(byte(n+1))) {
				t.Errorf("%s, generation %d: %v", who.Region, n+1, got)
			}
		}
		list := s.MustAs(t, who, "ListKeyRotations", obj{"KeyId": key})["Rotations"].([]any)
		if len(list) != 1 || list[0].(obj)["KeyMaterialDescription"] != "second" || list[0].(obj)["RotationType"] != "ON_DEMAND" {
			t.Errorf("%s lists %v", who.Region, list)
		}
	}
	wantOutcome(t, importIn(t, s, us, key, generation(3), obj{"ImportType": "NEW_KEY_MATERIAL"}), success)
	wantOutcome(t, importIn(t, s, eu, key, generation(3), nil), success)
	third := obj{"KeyId": key, "KeyMaterialId": crypto.MaterialID(key, generation(3))}
	s.MustAs(t, abroad, "DeleteImportedKeyMaterial", third)
	wantMaterials(t, s, us, key, "Enabled", "NON_CURRENT IMPORTED", "CURRENT IMPORTED", awaited+"IMPORTED")
	s.Must(t, "DeleteImportedKeyMaterial", third)
	wantMaterials(t, s, eu, key, "Enabled", "NON_CURRENT IMPORTED", "CURRENT IMPORTED")
}

// rotateImported carries the rotation out that was asked for, as the leader's due work
// does.
func rotateImported(t *testing.T, s *testkit.Solo, key string) {
	t.Helper()
	k, _ := s.Machine.View().Key(testkit.Region, key)
	at, _, ok := k.DueRotation()
	if !ok {
		t.Fatalf("no rotation of %s is due", key)
	}
	s.Apply(t, fsm.RotateImportedKey{Account: k.Account, Region: k.Region, KeyID: k.ID, MaterialID: k.PendingMaterial, Due: at})
}

// Keys of other kinds have one material, and a replica shows the public key before it has
// the private one.
func TestImportOtherKindsAcrossRegions(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, kind := range []struct{ spec, usage string }{{"ECC_NIST_P256", "SIGN_VERIFY"}, {"HMAC_256", "GENERATE_VERIFY_MAC"}} {
		key := newPrimary(t, s, obj{"Origin": "EXTERNAL", "KeySpec": kind.spec, "KeyUsage": kind.usage})
		material := generation(5)
		if kind.spec != "HMAC_256" {
			var err error
			if material, _, err = crypto.GenerateKey(kms.KeySpec(kind.spec)); err != nil {
				t.Fatal(err)
			}
		}
		wantOutcome(t, importIn(t, s, "us-east-1", key, material, nil), success)
		replicate(t, s, key, "eu-west-1")
		if kind.spec != "HMAC_256" {
			public := s.Must(t, "GetPublicKey", obj{"KeyId": key})["PublicKey"]
			if got := s.MustAs(t, abroad, "GetPublicKey", obj{"KeyId": key})["PublicKey"]; got != public {
				t.Errorf("%s: the waiting replica shows %v", kind.spec, got)
			}
		}
		other := generation(6)
		if kind.spec != "HMAC_256" {
			other, _, _ = crypto.GenerateKey(kms.KeySpec(kind.spec))
		}
		wantOutcome(t, importIn(t, s, "eu-west-1", key, other, nil), outcome{"IncorrectKeyMaterialException", ""})
		wantOutcome(t, importIn(t, s, "eu-west-1", key, material, nil), success)
		if kind.spec == "HMAC_256" {
			mac := obj{"KeyId": key, "Message": "aGVsbG8=", "MacAlgorithm": "HMAC_SHA_256"}
			s.MustAs(t, abroad, "VerifyMac", with(mac, obj{"Mac": s.Must(t, "GenerateMac", mac)["Mac"]}))
			continue
		}
		sign := obj{"KeyId": key, "Message": "aGVsbG8=", "SigningAlgorithm": "ECDSA_SHA_256"}
		s.Must(t, "Verify", with(sign, obj{"Signature": s.MustAs(t, abroad, "Sign", sign)["Signature"]}))
	}
}

package kmsapi_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/service/kmsapi"
)

// macCases are the HMAC specs, with their algorithm and its hash (AWS: "HMAC keys").
var macCases = []struct {
	spec, algorithm string
	size            int // bytes of the key and of the MAC
	hash            func() hash.Hash
}{
	{"HMAC_224", "HMAC_SHA_224", 28, sha256.New224},
	{"HMAC_256", "HMAC_SHA_256", 32, sha256.New},
	{"HMAC_384", "HMAC_SHA_384", 48, sha512.New384},
	{"HMAC_512", "HMAC_SHA_512", 64, sha512.New},
}

var badMac = outcome{"KMSInvalidMacException", ""}

// secretOf opens the material of a key.
func secretOf(t *testing.T, s *testkit.Solo, key string) []byte {
	t.Helper()
	view := s.Machine.View()
	k, _ := view.Key(testkit.Region, key)
	m, _ := view.Material(key, k.CurrentMaterial)
	secret, err := s.Keyring.Open(kmsapi.MaterialPurpose, key+"/"+m.ID, m.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// A MAC is the whole one of RFC 2104 under the key, and verifies; nothing else does.
func TestMacs(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, c := range macCases {
		t.Run(c.spec, func(t *testing.T) {
			key, other := newKeyOf(t, s, c.spec+" GENERATE_VERIFY_MAC"), newKeyOf(t, s, c.spec+" GENERATE_VERIFY_MAC")
			secret := secretOf(t, s, key)
			if len(secret) != c.size {
				t.Fatalf("the key has %d bytes, want %d", len(secret), c.size)
			}
			for _, n := range []int{1, 63, 64, 65, 127, 128, 129, 4096} {
				message := bytes.Repeat([]byte{0xa5}, n)
				want := hmac.New(c.hash, secret)
				want.Write(message)
				mac := want.Sum(nil)
				body := obj{"KeyId": key, "Message": b64(message), "MacAlgorithm": c.algorithm}
				names := []string{"$ARN", testkit.ARN(key), "$MAC", b64(mac), "$ALG", c.algorithm}
				wantJSON(t, s.Must(t, "GenerateMac", body), fill(`{"KeyId":"$ARN","Mac":"$MAC","MacAlgorithm":"$ALG"}`, names...))
				wantJSON(t, s.Must(t, "VerifyMac", with(body, obj{"Mac": b64(mac)})), fill(`{"KeyId":"$ARN","MacValid":true,"MacAlgorithm":"$ALG"}`, names...))
				for _, bad := range [][]byte{
					flipped(mac, 0), flipped(mac, c.size-1), mac[:c.size-1], mac[:1], append(slices.Clone(mac), 0), make([]byte, c.size), make([]byte, 6144),
				} {
					wantOutcome(t, s.Call(t, testkit.Root, "VerifyMac", with(body, obj{"Mac": b64(bad)})), badMac)
				}
				wantOutcome(t, s.Call(t, testkit.Root, "VerifyMac", with(body, obj{"Mac": b64(mac), "KeyId": other})), badMac)
				wantOutcome(t, s.Call(t, testkit.Root, "VerifyMac", with(body, obj{"Mac": b64(mac), "Message": b64(flipped(message, n-1))})), badMac)
			}
		})
	}
}

// Every algorithm belongs to one spec.
func TestMacAlgorithms(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, c := range macCases {
		key := newKeyOf(t, s, c.spec+" GENERATE_VERIFY_MAC")
		for _, other := range macCases {
			want, verified := success, badMac
			if other.algorithm != c.algorithm {
				want = keyUsage("Algorithm " + other.algorithm + " is incompatible with key spec " + c.spec + ".")
				verified = want
			}
			body := obj{"KeyId": key, "Message": "AA==", "MacAlgorithm": other.algorithm}
			wantOutcome(t, s.Call(t, testkit.Root, "GenerateMac", body), want)
			wantOutcome(t, s.Call(t, testkit.Root, "VerifyMac", with(body, obj{"Mac": "AA=="})), verified)
		}
	}
}

// MACs outlive the process.
func TestMacsAfterARestart(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	_, body := exampleOf(t, s, "VerifyMac")
	s.Service = s.NewService() // with an empty cache
	wantOutcome(t, s.Call(t, testkit.Root, "VerifyMac", body), success)
}

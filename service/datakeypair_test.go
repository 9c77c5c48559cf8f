package service_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kmsd/kmsd/internal/testkit"
)

// Where RSA keys cannot be made, overload is said at once; everything else goes on, and so
// do dry runs, which make none.
func TestDataKeyPairsUnderLoad(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	empty := s.Service.FillPool("heavy")
	for _, op := range []string{"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"} {
		for _, spec := range []string{"RSA_2048", "RSA_3072", "RSA_4096"} {
			wantAnswer(t, s.Call(t, testkit.Root, op, obj{"KeyId": key, "KeyPairSpec": spec}), "ThrottlingException", throttledText)
			wantCode(t, s.Call(t, testkit.Root, op, obj{"KeyId": key, "KeyPairSpec": spec, "DryRun": true}), "DryRunOperationException")
		}
		for spec := range strings.FieldsSeq("ECC_NIST_P256 ECC_NIST_P384 ECC_NIST_P521 ECC_SECG_P256K1 ECC_NIST_EDWARDS25519 ML_KEM_512 ML_KEM_768 ML_KEM_1024") {
			wantCode(t, s.Call(t, testkit.Root, op, obj{"KeyId": key, "KeyPairSpec": spec}), "")
		}
	}
	wantCode(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}), "")
	empty()
	wantCode(t, s.Call(t, testkit.Root, "GenerateDataKeyPair", obj{"KeyId": key, "KeyPairSpec": "RSA_2048"}), "")
}

// A call that waits until it may make a key keeps nobody's place, waits for a while only,
// and gives its places back.
func TestDataKeyPairsKeepNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		key := s.NewKey(t)
		s.Service.Limit("read", 1)
		leave := s.Service.Hold("heavy")
		body := obj{"KeyId": key, "KeyPairSpec": "RSA_2048"}
		made := make(chan testkit.Answer, 1)
		go func() { made <- s.Call(t, testkit.Root, "GenerateDataKeyPair", body) }()
		synctest.Wait()
		wantCode(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}), "")
		wantAnswer(t, <-made, "ThrottlingException", throttledText)
		go func() { made <- s.Call(t, testkit.Root, "GenerateDataKeyPair", body) }()
		synctest.Wait()
		leave()
		wantCode(t, <-made, "")
		for range 2 {
			wantCode(t, s.Call(t, testkit.Root, "GenerateDataKeyPairWithoutPlaintext", body), "")
			wantCode(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}), "")
		}
	})
}

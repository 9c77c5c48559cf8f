package service_test

import (
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// RSA's own operations wait for each other only: neither the making of keys nor symmetric
// work takes their places, nor do they take those.
func TestRSAStarvesNobody(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	sym := s.NewKey(t)
	rsa := s.Must(t, "CreateKey", obj{"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"})["KeyMetadata"].(obj)["KeyId"].(string)
	const oaep = "RSAES_OAEP_SHA_256"
	sealed := s.Must(t, "Encrypt", obj{"KeyId": rsa, "Plaintext": "AA==", "EncryptionAlgorithm": oaep})["CiphertextBlob"]
	calls := []struct {
		op, pool string
		body     obj
	}{
		{"Encrypt", "rsa", obj{"KeyId": rsa, "Plaintext": "AA==", "EncryptionAlgorithm": oaep}},
		{"Decrypt", "rsa", obj{"KeyId": rsa, "CiphertextBlob": sealed, "EncryptionAlgorithm": oaep}},
		{"ReEncrypt", "rsa", obj{"SourceKeyId": rsa, "CiphertextBlob": sealed, "SourceEncryptionAlgorithm": oaep, "DestinationKeyId": sym}},
		{"ReEncrypt", "rsa", obj{"CiphertextBlob": s.NewBlob(t, sym), "DestinationKeyId": rsa, "DestinationEncryptionAlgorithm": oaep}},
		{"Encrypt", "read", obj{"KeyId": sym, "Plaintext": "AA=="}},
		{"GenerateDataKey", "read", obj{"KeyId": sym, "KeySpec": "AES_256"}},
	}
	for _, full := range []string{"rsa", "read", "heavy", "write"} {
		empty := s.Service.FillPool(full)
		for _, c := range calls {
			want := ""
			if c.pool == full {
				want = "ThrottlingException"
			}
			wantCode(t, s.Call(t, testkit.Root, c.op, c.body), want)
		}
		empty()
	}
}

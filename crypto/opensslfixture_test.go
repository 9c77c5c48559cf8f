package crypto_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/kmsd/kmsd/kms"
)

// opensslOutputs were made once by OpenSSL 3.0 (pkeyutl -sign -rawin, -encrypt and
// -derive) with the keys of openssl_keys.json. The build tag "openssl" has the tests that
// run OpenSSL itself, and in both directions.
type opensslOutputs struct {
	Message     hexBytes // what was signed, and what was encrypted
	Signatures  map[kms.KeySpec]map[kms.SigningAlgorithm]hexBytes
	Ciphertexts map[kms.KeySpec]map[kms.EncryptionAlgorithm]hexBytes
	Agreements  map[kms.KeySpec]struct{ Peer, Secret hexBytes }
}

func TestOpenSSLOutputs(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/openssl_outputs.json")
	if err != nil {
		t.Fatal(err)
	}
	var out opensslOutputs
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	counts := ran{}
	for spec, signatures := range out.Signatures {
		key := openFixture(t, spec)
		for alg, signature := range signatures {
			counts["signatures"]++
			checkSignature(t, key.Public(), alg, 0, out.Message, signature, true)
			checkSignature(t, key.Public(), alg, 0, out.Message[1:], signature, false)
		}
		for alg, ciphertext := range out.Ciphertexts[spec] {
			counts["ciphertexts"]++
			if got, err := key.Decrypt(alg, ciphertext); err != nil || !bytes.Equal(got, out.Message) {
				t.Errorf("%s %s: got %x, %v, want %x", spec, alg, got, err, out.Message)
			}
		}
		if agreement, ok := out.Agreements[spec]; ok {
			counts["agreements"]++
			if got, err := key.DeriveSharedSecret(agreement.Peer); err != nil || !bytes.Equal(got, agreement.Secret) {
				t.Errorf("%s: got %x, %v, want %x", spec, got, err, agreement.Secret)
			}
		}
	}
	// Six for each RSA spec, one for each other; two; the NIST curves.
	counts.want(t, "openssl_outputs.json", ran{"signatures": 23, "ciphertexts": 6, "agreements": 3})
}

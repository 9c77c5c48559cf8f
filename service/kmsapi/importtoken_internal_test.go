package kmsapi

import (
	"bytes"
	"encoding/asn1"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// Whatever a token may hold, sealed or not: it is opened or refused, with its key alone,
// and what is opened is what one would seal.
func FuzzOpenImportToken(f *testing.F) {
	keyring := crypto.NewKeyring("11111111-1111-4111-8111-111111111111", crypto.NewRoot())
	term, err := keyring.NewTerm(1)
	if err != nil {
		f.Fatal(err)
	}
	if err := keyring.Load(map[uint32][]byte{1: term}); err != nil {
		f.Fatal(err)
	}
	arn := kms.KeyARN("us-east-1", "111122223333", "1234abcd-12ab-34cd-56ef-1234567890ab")
	plain, err := asn1.Marshal(importToken{Spec: "RSA_2048", Algorithm: "RSAES_OAEP_SHA_256", Expires: 1, Private: []byte("private")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, true)
	f.Add(plain[:len(plain)-1], true)
	f.Add(append(bytes.Clone(plain), 0), true)
	f.Add([]byte("kmsd"), false)
	f.Fuzz(func(t *testing.T, text []byte, sealed bool) {
		if sealed {
			if text, err = keyring.Seal(ImportTokenPurpose, arn, text); err != nil {
				t.Fatal(err)
			}
		}
		token, err := openImportToken(keyring, arn, text)
		if err != nil {
			return
		}
		again, err := token.seal(keyring, arn)
		if err != nil || !sealed {
			t.Fatalf("opened was what nobody sealed, or error %v", err)
		}
		same, err := openImportToken(keyring, arn, again)
		if err != nil || same.Spec != token.Spec || same.Algorithm != token.Algorithm || same.Expires != token.Expires || !bytes.Equal(same.Private, token.Private) {
			t.Errorf("%+v became %+v, error %v", token, same, err)
		}
		if _, err := openImportToken(keyring, arn+"0", text); err == nil {
			t.Error("another key takes the token")
		}
	})
}

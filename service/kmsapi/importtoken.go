package kmsapi

import (
	"encoding/asn1"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// ImportTokenPurpose is the purpose under which import tokens are sealed. The key's ARN
// is their name there.
const ImportTokenPurpose = "kmsd/import-token/v1"

// maxImportToken bounds an import token, in bytes (AWS: ImportKeyMaterial, ImportToken).
const maxImportToken = 6144

// importToken is what an import token holds: the state keeps nothing of it. It is sealed
// under the keyring, so that every node can open it and nobody else.
type importToken struct {
	Spec      string `asn1:"utf8"` // the wrapping key's
	Algorithm string `asn1:"utf8"`
	Expires   int64  // milliseconds since 1970
	Private   []byte // the wrapping key, as crypto.GenerateKey made it
}

// seal returns the token as the client keeps it.
func (t *importToken) seal(keyring *crypto.Keyring, arn string) ([]byte, error) {
	plain, err := asn1.Marshal(*t)
	if err != nil {
		return nil, err
	}
	defer crypto.Wipe(plain)
	return keyring.Seal(ImportTokenPurpose, arn, plain)
}

// openImportToken opens a key's token, of which the caller wipes Private. Errors:
// InvalidImportTokenException.
func openImportToken(keyring *crypto.Keyring, arn string, sealed []byte) (*importToken, error) {
	invalid := &kms.Error{Code: kms.CodeInvalidImportToken}
	if len(sealed) > maxImportToken {
		return nil, invalid
	}
	plain, err := keyring.Open(ImportTokenPurpose, arn, sealed)
	if err != nil {
		return nil, invalid
	}
	defer crypto.Wipe(plain)
	t := new(importToken)
	if rest, err := asn1.Unmarshal(plain, t); err != nil || len(rest) != 0 {
		return nil, invalid
	}
	return t, nil
}

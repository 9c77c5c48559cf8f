package kmsapi

import (
	"context"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

// dataKeySizes are the lengths of data keys by their spec, in bytes (AWS:
// DataKeySpec).
var dataKeySizes = map[string]int{"AES_128": 16, "AES_256": 32}

var errNoLength = &kms.Error{Code: kms.CodeValidation, Message: "Please specify either number of bytes or key spec."}

func checkDataKey(spec string, bytes *int, context map[string]string) error {
	if (spec == "") == (bytes == nil) {
		return errNoLength
	}
	return checkContext(context)
}

func dataKeyParams(p *audit.Params, keyID, spec string, bytes *int, context map[string]string) {
	p.String("keyId", keyID)
	if spec != "" {
		p.String("keySpec", spec)
	}
	audit.OptInt(p, "numberOfBytes", bytes)
	p.Map("encryptionContext", context)
}

// dataKey makes a data key and its ciphertext.
func (a *api) dataKey(r *service.Request, spec string, bytes *int, context map[string]string) (plaintext, blob []byte, err error) {
	key := &r.Keys[0]
	if err := checkAlgorithm(symmetricDefault, key, nil); err != nil {
		return nil, nil, err
	}
	size := dataKeySizes[spec]
	if bytes != nil {
		size = *bytes
	}
	plaintext = crypto.Random(size)
	blob, err = a.seal(r, key, symmetricDefault, context, plaintext)
	if err != nil {
		return nil, nil, err
	}
	r.Record.Additional.String("keyMaterialId", key.CurrentMaterial)
	return plaintext, blob, nil
}

func (a *api) generateDataKey(_ context.Context, r *service.Request, in *wire.GenerateDataKeyRequest) (*wire.GenerateDataKeyResponse, error) {
	recipient, err := recipientOf(r, in.Recipient)
	if err != nil {
		return nil, err
	}
	plaintext, blob, err := a.dataKey(r, in.KeySpec, in.NumberOfBytes, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	key := &r.Keys[0]
	plaintext, sealed, err := sealFor(recipient, plaintext)
	return &wire.GenerateDataKeyResponse{
		CiphertextBlob: blob, Plaintext: plaintext, CiphertextForRecipient: sealed, KeyId: &key.ARN, KeyMaterialId: unlessFor(recipient, &key.CurrentMaterial),
	}, err
}

func (a *api) generateDataKeyWithoutPlaintext(_ context.Context, r *service.Request, in *wire.GenerateDataKeyWithoutPlaintextRequest) (*wire.GenerateDataKeyWithoutPlaintextResponse, error) {
	plaintext, blob, err := a.dataKey(r, in.KeySpec, in.NumberOfBytes, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	crypto.Wipe(plaintext)
	key := &r.Keys[0]
	return &wire.GenerateDataKeyWithoutPlaintextResponse{CiphertextBlob: blob, KeyId: &key.ARN, KeyMaterialId: &key.CurrentMaterial}, nil
}

// checkRandom demands the length, which the model leaves optional.
func checkRandom(in *wire.GenerateRandomRequest) error {
	if in.NumberOfBytes == nil {
		return errNoLength
	}
	return nil
}

func generateRandom(_ context.Context, r *service.Request, in *wire.GenerateRandomRequest) (*wire.GenerateRandomResponse, error) {
	if in.CustomKeyStoreId != nil {
		return nil, errNoKeyStore
	}
	recipient, err := recipientOf(r, in.Recipient)
	if err != nil {
		return nil, err
	}
	plaintext, sealed, err := sealFor(recipient, crypto.Random(*in.NumberOfBytes))
	return &wire.GenerateRandomResponse{Plaintext: plaintext, CiphertextForRecipient: sealed}, err
}

// errNoKeyStore is the answer to every custom key store id: there are none.
var errNoKeyStore = &kms.Error{Code: kms.CodeCustomKeyStoreNotFound, Message: "The custom key store does not exist."}

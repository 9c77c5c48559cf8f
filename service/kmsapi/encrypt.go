package kmsapi

import (
	"context"
	"slices"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

// symmetricDefault is the one encryption algorithm of symmetric keys, and what a
// request without an algorithm means.
const symmetricDefault = "SYMMETRIC_DEFAULT"

func algorithmOr(sent string) string {
	if sent == "" {
		return symmetricDefault
	}
	return sent
}

// checkAlgorithm checks that the algorithm of the request belongs to the key's
// spec.
func checkAlgorithm(sent string, key *service.Key) error {
	if algorithm := algorithmOr(sent); algorithm != symmetricDefault || key.Spec != kms.SymmetricDefault {
		return &kms.Error{Code: kms.CodeInvalidKeyUsage,
			Message: "Algorithm " + algorithm + " is incompatible with key spec " + string(key.Spec) + "."}
	}
	return nil
}

// checkContext bounds an encryption context.
func checkContext(context map[string]string) error {
	size := 0
	for k, v := range context {
		size += len(k) + len(v)
	}
	if size > crypto.MaxContext {
		return crypto.ErrContextTooLarge
	}
	return nil
}

// checkRecipient refuses attestation documents: a self-hosted service knows no
// root certificate that could have signed one. Ignoring the document would hand
// out the plaintext that it was sent to protect.
func checkRecipient(recipient *wire.RecipientInfo) error {
	if recipient == nil {
		return nil
	}
	return invalid("The attestation document could not be verified: no root certificate of attestation documents is configured.")
}

// seal encrypts under the key's current material.
func (a *api) seal(r *service.Request, key *service.Key, context map[string]string, plaintext []byte) ([]byte, error) {
	canonical, err := crypto.CanonicalContext(context)
	if err != nil {
		return nil, err
	}
	h, ok, err := a.material(r, key.ID, key.CurrentMaterial)
	if err != nil {
		return nil, err
	}
	if !ok {
		panic("kmsd: usable key without material")
	}
	defer h.Release()
	return h.Opened().Encrypt(nil, canonical, plaintext)
}

// open decrypts the ciphertext that names the key. Whatever is wrong with it, the
// answer and the work are the same.
func (a *api) open(r *service.Request, key *service.Key, context map[string]string, ciphertext []byte) (plaintext []byte, materialID string, err error) {
	canonical, err := crypto.CanonicalContext(context)
	if err != nil {
		return nil, "", err
	}
	if key.BlobErr != nil {
		return nil, "", invalidCiphertext(crypto.DummyDecrypt(canonical, ciphertext))
	}
	if key.Blob.KeyID != key.ID {
		return nil, "", errIncorrectKey
	}
	h, ok, err := a.material(r, key.ID, key.Blob.MaterialID)
	if err != nil {
		return nil, "", err
	}
	if !ok {
		return nil, "", invalidCiphertext(crypto.DummyDecrypt(canonical, ciphertext))
	}
	defer h.Release()
	plaintext, err = h.Opened().Decrypt(nil, canonical, key.Blob)
	if err != nil {
		return nil, "", invalidCiphertext(err)
	}
	return plaintext, h.Opened().ID(), nil
}

var errIncorrectKey = &kms.Error{Code: kms.CodeIncorrectKey,
	Message: "The key ID in the request does not identify a CMK that can perform this operation."}

// invalidCiphertext is the answer to every ciphertext that cannot be decrypted.
func invalidCiphertext(error) error { return &kms.Error{Code: kms.CodeInvalidCiphertext} }

func (a *api) encrypt(_ context.Context, r *service.Request, in *wire.EncryptRequest) (*wire.EncryptResponse, error) {
	key := &r.Keys[0]
	if err := checkAlgorithm(in.EncryptionAlgorithm, key); err != nil {
		return nil, err
	}
	blob, err := a.seal(r, key, in.EncryptionContext, in.Plaintext)
	if err != nil {
		return nil, err
	}
	return &wire.EncryptResponse{CiphertextBlob: blob, KeyId: &key.ARN, EncryptionAlgorithm: symmetricDefault}, nil
}

// ignoreCiphertext is the DryRunModifier that leaves the ciphertext out of a dry
// run.
const ignoreCiphertext = "IGNORE_CIPHERTEXT"

// checkCiphertext holds what Decrypt and ReEncrypt demand of the ciphertext
// beyond the model.
func checkCiphertext(blob []byte, dryRun *bool, modifiers []string, keyID *string, keyMember string) error {
	if len(modifiers) > 0 && (!isTrue(dryRun) || keyID == nil) {
		return invalid("DryRunModifiers can be specified only together with DryRun and " + keyMember + ".")
	}
	if blob == nil && !slices.Contains(modifiers, ignoreCiphertext) {
		return invalid("1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null")
	}
	return nil
}

func checkDecrypt(in *wire.DecryptRequest) error {
	if err := checkCiphertext(in.CiphertextBlob, in.DryRun, in.DryRunModifiers, in.KeyId, "KeyId"); err != nil {
		return err
	}
	return checkContext(in.EncryptionContext)
}

// decryptBlob is the ciphertext, unless a dry run leaves it out.
func decryptBlob(in *wire.DecryptRequest) []byte {
	if slices.Contains(in.DryRunModifiers, ignoreCiphertext) {
		return nil
	}
	return in.CiphertextBlob
}

func (a *api) decrypt(_ context.Context, r *service.Request, in *wire.DecryptRequest) (*wire.DecryptResponse, error) {
	key := &r.Keys[0]
	if err := checkAlgorithm(in.EncryptionAlgorithm, key); err != nil {
		return nil, err
	}
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	blob := decryptBlob(in)
	if blob == nil {
		return &wire.DecryptResponse{}, nil
	}
	plaintext, materialID, err := a.open(r, key, in.EncryptionContext, blob)
	if err != nil {
		return nil, err
	}
	r.Record.Additional.String("keyMaterialId", materialID)
	return &wire.DecryptResponse{Plaintext: plaintext, KeyId: &key.ARN, EncryptionAlgorithm: symmetricDefault, KeyMaterialId: &materialID}, nil
}

func checkReEncrypt(in *wire.ReEncryptRequest) error {
	if err := checkCiphertext(in.CiphertextBlob, in.DryRun, in.DryRunModifiers, in.SourceKeyId, "SourceKeyId"); err != nil {
		return err
	}
	if err := checkContext(in.SourceEncryptionContext); err != nil {
		return err
	}
	return checkContext(in.DestinationEncryptionContext)
}

func reEncryptBlob(in *wire.ReEncryptRequest) []byte {
	if slices.Contains(in.DryRunModifiers, ignoreCiphertext) {
		return nil
	}
	return in.CiphertextBlob
}

func reEncryptParams(in *wire.ReEncryptRequest, p *audit.Params) {
	p.String("sourceEncryptionAlgorithm", algorithmOr(in.SourceEncryptionAlgorithm))
	p.Map("sourceEncryptionContext", in.SourceEncryptionContext)
	p.OptString("sourceKeyId", in.SourceKeyId)
	p.String("destinationKeyId", in.DestinationKeyId)
	p.String("destinationEncryptionAlgorithm", algorithmOr(in.DestinationEncryptionAlgorithm))
	p.Map("destinationEncryptionContext", in.DestinationEncryptionContext)
}

func (a *api) reEncrypt(_ context.Context, r *service.Request, in *wire.ReEncryptRequest) (*wire.ReEncryptResponse, error) {
	from, to := &r.Keys[0], &r.Keys[1]
	if err := checkAlgorithm(in.SourceEncryptionAlgorithm, from); err != nil {
		return nil, err
	}
	if err := checkAlgorithm(in.DestinationEncryptionAlgorithm, to); err != nil {
		return nil, err
	}
	blob := reEncryptBlob(in)
	if blob == nil {
		return &wire.ReEncryptResponse{}, nil
	}
	plaintext, materialID, err := a.open(r, from, in.SourceEncryptionContext, blob)
	if err != nil {
		return nil, err
	}
	defer crypto.Wipe(plaintext)
	sealed, err := a.seal(r, to, in.DestinationEncryptionContext, plaintext)
	if err != nil {
		return nil, err
	}
	r.Record.Additional.String("sourceKeyMaterialId", materialID)
	r.Record.Additional.String("destinationKeyMaterialId", to.CurrentMaterial)
	return &wire.ReEncryptResponse{
		CiphertextBlob: sealed, SourceKeyId: &from.ARN, KeyId: &to.ARN,
		SourceEncryptionAlgorithm: symmetricDefault, DestinationEncryptionAlgorithm: symmetricDefault,
		SourceKeyMaterialId: &materialID, DestinationKeyMaterialId: &to.CurrentMaterial,
	}, nil
}

package kmsapi

import (
	"context"
	"slices"
	"strconv"

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

// checkAlgorithm checks that the algorithm of the request belongs to the key's spec, and
// that a context is given to symmetric keys only: no other algorithm authenticates one.
func checkAlgorithm(sent string, key *service.Key, context map[string]string) error {
	if err := checkSpec(kms.EncryptionAlgorithm(algorithmOr(sent)), key, key.Spec.EncryptionAlgorithms()); err != nil {
		return err
	}
	if len(context) > 0 && key.Spec.Asymmetric() {
		return invalid("An encryption context is not valid for asymmetric KMS keys.")
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

// seal encrypts under the key's current material, with an algorithm that checkAlgorithm
// let pass.
func (a *api) seal(r *service.Request, key *service.Key, algorithm string, context map[string]string, plaintext []byte) ([]byte, error) {
	if key.Spec.Asymmetric() {
		return a.sealPublic(r, key, kms.EncryptionAlgorithm(algorithm), plaintext)
	}
	canonical, err := crypto.CanonicalContext(context)
	if err != nil {
		return nil, err
	}
	h, err := a.currentMaterial(r, key)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	return h.Opened().Encrypt(nil, canonical, plaintext)
}

// sealPublic encrypts with the public key. How much fits depends on key and algorithm.
func (a *api) sealPublic(r *service.Request, key *service.Key, algorithm kms.EncryptionAlgorithm, plaintext []byte) ([]byte, error) {
	h, err := a.publicKey(r, key)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	if most := h.Opened().MaxPlaintext(algorithm); len(plaintext) > most {
		return nil, invalid("Algorithm " + string(algorithm) + " and key spec " + string(key.Spec) + " cannot encrypt data larger than " + strconv.Itoa(most) + " bytes.")
	}
	return h.Opened().Encrypt(algorithm, plaintext)
}

// open decrypts a ciphertext with an algorithm that checkAlgorithm let pass. Whatever is
// wrong with the ciphertext, the answer and the work are the same. The plaintext is the
// caller's, who wipes it unless it is the answer. Only symmetric keys have a material id.
func (a *api) open(r *service.Request, key *service.Key, algorithm string, context map[string]string, ciphertext []byte) (plaintext []byte, materialID *string, err error) {
	if key.Spec.Asymmetric() {
		plaintext, err = a.openPrivate(r, key, kms.EncryptionAlgorithm(algorithm), ciphertext)
		return plaintext, nil, err
	}
	canonical, err := crypto.CanonicalContext(context)
	if err != nil {
		return nil, nil, err
	}
	if key.BlobErr != nil {
		return nil, nil, invalidCiphertext(crypto.DummyDecrypt(canonical, ciphertext))
	}
	if key.Blob.KeyID != key.ID {
		return nil, nil, errIncorrectKey
	}
	h, ok, err := a.material(r, key, key.Blob.MaterialID)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, invalidCiphertext(crypto.DummyDecrypt(canonical, ciphertext))
	}
	defer h.Release()
	plaintext, err = h.Opened().Decrypt(nil, canonical, key.Blob)
	if err != nil {
		return nil, nil, invalidCiphertext(err)
	}
	return plaintext, new(h.Opened().ID()), nil
}

// openPrivate decrypts with the private key. Such a ciphertext names no key.
func (a *api) openPrivate(r *service.Request, key *service.Key, algorithm kms.EncryptionAlgorithm, ciphertext []byte) ([]byte, error) {
	h, err := a.privateKey(r, key)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	plaintext, err := h.Opened().Decrypt(algorithm, ciphertext)
	if err != nil {
		return nil, invalidCiphertext(err)
	}
	return plaintext, nil
}

var errIncorrectKey = &kms.Error{Code: kms.CodeIncorrectKey,
	Message: "The key ID in the request does not identify a CMK that can perform this operation."}

// invalidCiphertext is the answer to every ciphertext that cannot be decrypted.
func invalidCiphertext(error) error { return &kms.Error{Code: kms.CodeInvalidCiphertext} }

func (a *api) encrypt(_ context.Context, r *service.Request, in *wire.EncryptRequest) (*wire.EncryptResponse, error) {
	key, algorithm := &r.Keys[0], algorithmOr(in.EncryptionAlgorithm)
	if err := checkAlgorithm(algorithm, key, in.EncryptionContext); err != nil {
		return nil, err
	}
	blob, err := a.seal(r, key, algorithm, in.EncryptionContext, in.Plaintext)
	if err != nil {
		return nil, err
	}
	return &wire.EncryptResponse{CiphertextBlob: blob, KeyId: &key.ARN, EncryptionAlgorithm: algorithm}, nil
}

// shownMaterial is the id of the material that seal uses, which only symmetric keys show.
func shownMaterial(key *service.Key) *string {
	if key.Spec.Asymmetric() {
		return nil
	}
	return &key.CurrentMaterial
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
	key, algorithm := &r.Keys[0], algorithmOr(in.EncryptionAlgorithm)
	if err := checkAlgorithm(algorithm, key, in.EncryptionContext); err != nil {
		return nil, err
	}
	recipient, err := recipientOf(r, in.Recipient)
	if err != nil {
		return nil, err
	}
	blob := decryptBlob(in)
	if blob == nil {
		return &wire.DecryptResponse{}, nil
	}
	plaintext, materialID, err := a.open(r, key, algorithm, in.EncryptionContext, blob)
	if err != nil {
		return nil, err
	}
	r.Record.Additional.OptString("keyMaterialId", materialID)
	plaintext, sealed, err := sealFor(recipient, plaintext)
	return &wire.DecryptResponse{
		Plaintext: plaintext, CiphertextForRecipient: sealed, KeyId: &key.ARN, EncryptionAlgorithm: algorithm, KeyMaterialId: unlessFor(recipient, materialID),
	}, err
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

// reEncrypt works between any two kinds of keys. What is wrong with the source is
// answered before what is wrong with the destination, where both need no work.
func (a *api) reEncrypt(_ context.Context, r *service.Request, in *wire.ReEncryptRequest) (*wire.ReEncryptResponse, error) {
	from, to := &r.Keys[0], &r.Keys[1]
	fromAlgorithm, toAlgorithm := algorithmOr(in.SourceEncryptionAlgorithm), algorithmOr(in.DestinationEncryptionAlgorithm)
	if err := checkAlgorithm(fromAlgorithm, from, in.SourceEncryptionContext); err != nil {
		return nil, err
	}
	if err := checkAlgorithm(toAlgorithm, to, in.DestinationEncryptionContext); err != nil {
		return nil, err
	}
	blob := reEncryptBlob(in)
	if blob == nil {
		return &wire.ReEncryptResponse{}, nil
	}
	plaintext, fromMaterial, err := a.open(r, from, fromAlgorithm, in.SourceEncryptionContext, blob)
	if err != nil {
		return nil, err
	}
	defer crypto.Wipe(plaintext)
	sealed, err := a.seal(r, to, toAlgorithm, in.DestinationEncryptionContext, plaintext)
	if err != nil {
		return nil, err
	}
	toMaterial := shownMaterial(to)
	r.Record.Additional.OptString("sourceKeyMaterialId", fromMaterial)
	r.Record.Additional.OptString("destinationKeyMaterialId", toMaterial)
	return &wire.ReEncryptResponse{
		CiphertextBlob: sealed, SourceKeyId: &from.ARN, KeyId: &to.ARN,
		SourceEncryptionAlgorithm: fromAlgorithm, DestinationEncryptionAlgorithm: toAlgorithm,
		SourceKeyMaterialId: fromMaterial, DestinationKeyMaterialId: toMaterial,
	}, nil
}

package kmsapi

import (
	"context"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func (a *api) dataKeyPairRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GenerateDataKeyPairRequest, wire.GenerateDataKeyPairResponse]{
			Service: serviceName, Name: "GenerateDataKeyPair",
			QuotaFor: func(in *wire.GenerateDataKeyPairRequest) service.Quota { return service.QuotaOfPair(in.KeyPairSpec) },
			Keys: []service.KeyRule[wire.GenerateDataKeyPairRequest]{
				within(usePair(func(in *wire.GenerateDataKeyPairRequest) string { return in.KeyId }, "kms:GenerateDataKeyPair",
					func(in *wire.GenerateDataKeyPairRequest, key string) []string {
						return pairEncryption(key, in.KeyPairSpec, in.EncryptionContext)
					}), func(in *wire.GenerateDataKeyPairRequest) map[string]string { return in.EncryptionContext }),
			},
			Check: func(in *wire.GenerateDataKeyPairRequest) error {
				return checkDataKeyPair(in.KeyPairSpec, in.EncryptionContext)
			},
			DryRun:      func(in *wire.GenerateDataKeyPairRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.GenerateDataKeyPairRequest) []string { return in.GrantTokens },
			Params: func(in *wire.GenerateDataKeyPairRequest, p *audit.Params) {
				dataKeyPairParams(p, in.KeyId, in.KeyPairSpec, in.EncryptionContext)
			},
			Recipient: func(in *wire.GenerateDataKeyPairRequest) []byte { return attestationOf(in.Recipient) },
			Read:      a.generateDataKeyPair,
		}.Row(),
		service.Op[wire.GenerateDataKeyPairWithoutPlaintextRequest, wire.GenerateDataKeyPairWithoutPlaintextResponse]{
			Service: serviceName, Name: "GenerateDataKeyPairWithoutPlaintext",
			QuotaFor: func(in *wire.GenerateDataKeyPairWithoutPlaintextRequest) service.Quota {
				return service.QuotaOfPair(in.KeyPairSpec)
			},
			Keys: []service.KeyRule[wire.GenerateDataKeyPairWithoutPlaintextRequest]{
				within(usePair(func(in *wire.GenerateDataKeyPairWithoutPlaintextRequest) string { return in.KeyId }, "kms:GenerateDataKeyPairWithoutPlaintext",
					func(in *wire.GenerateDataKeyPairWithoutPlaintextRequest, key string) []string {
						return pairEncryption(key, in.KeyPairSpec, in.EncryptionContext)
					}), func(in *wire.GenerateDataKeyPairWithoutPlaintextRequest) map[string]string {
					return in.EncryptionContext
				}),
			},
			Check: func(in *wire.GenerateDataKeyPairWithoutPlaintextRequest) error {
				return checkDataKeyPair(in.KeyPairSpec, in.EncryptionContext)
			},
			DryRun:      func(in *wire.GenerateDataKeyPairWithoutPlaintextRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.GenerateDataKeyPairWithoutPlaintextRequest) []string { return in.GrantTokens },
			Params: func(in *wire.GenerateDataKeyPairWithoutPlaintextRequest, p *audit.Params) {
				dataKeyPairParams(p, in.KeyId, in.KeyPairSpec, in.EncryptionContext)
			},
			Read: a.generateDataKeyPairWithoutPlaintext,
		}.Row(),
	}
}

// usePair is use, for keys that must not be in a custom key store either: what that
// answers comes before the store's own state.
func usePair[In any](id func(*In) string, action string, conditions func(*In, string) []string) service.KeyRule[In] {
	rule := use(kms.EncryptDecrypt, id, action, conditions)
	rule.States = service.Rotatable
	return rule
}

// checkDataKeyPair checks what needs no state.
func checkDataKeyPair(spec string, context map[string]string) error {
	if spec == "SM2" {
		return unsupported("KeyPairSpec SM2 is not supported in this region")
	}
	return checkContext(context)
}

func dataKeyPairParams(p *audit.Params, keyID, spec string, context map[string]string) {
	p.String("keyId", keyID)
	p.String("keyPairSpec", spec)
	p.Map("encryptionContext", context)
}

// dataKeyPair is a key pair for use outside of kmsd.
type dataKeyPair struct {
	public  []byte // DER SubjectPublicKeyInfo
	private []byte // DER PKCS#8
	blob    []byte // private, encrypted
}

// dataKeyPair makes a key pair and the ciphertext of its private key, which the caller
// wipes unless it is the answer. A dry run makes none: all that can be wrong with it is
// known before.
func (a *api) dataKeyPair(ctx context.Context, r *service.Request, spec kms.KeySpec, context map[string]string, dryRun bool) (pair dataKeyPair, err error) {
	key := &r.Keys[0]
	if key.State == kms.Unavailable {
		return pair, unsupported(key.ARN + " is in a custom key store, which is not valid for this operation.")
	}
	if err := checkAlgorithm(symmetricDefault, key, nil); err != nil {
		return pair, err
	}
	canonical, err := crypto.CanonicalContext(context)
	if err != nil {
		return pair, err
	}
	h, err := a.currentMaterial(r, key)
	if err != nil {
		return pair, err
	}
	defer h.Release()
	if dryRun {
		return pair, nil
	}
	if pair.private, pair.public, err = newPair(ctx, r, spec); err != nil {
		return pair, err
	}
	pair.blob, err = h.Opened().Encrypt(nil, canonical, pair.private)
	return pair, err
}

// newPair makes a key of the spec, which leaves the service in PKCS#8 only.
func newPair(ctx context.Context, r *service.Request, spec kms.KeySpec) (private, public []byte, err error) {
	var secret []byte
	defer func() { crypto.Wipe(secret) }() // also where the call finds no place after the work
	public, err = making(ctx, r, spec, func() (public []byte, err error) {
		secret, public, err = crypto.GenerateKey(spec)
		return public, err
	})
	if err != nil {
		return nil, nil, err
	}
	private, err = crypto.MarshalPKCS8(spec, secret)
	return private, public, err
}

func (a *api) generateDataKeyPair(ctx context.Context, r *service.Request, in *wire.GenerateDataKeyPairRequest) (*wire.GenerateDataKeyPairResponse, error) {
	recipient, err := recipientOf(r, in.Recipient)
	if err != nil {
		return nil, err
	}
	pair, err := a.dataKeyPair(ctx, r, kms.KeySpec(in.KeyPairSpec), in.EncryptionContext, isTrue(in.DryRun))
	if err != nil {
		return nil, err
	}
	key := &r.Keys[0]
	private, sealed, err := sealFor(recipient, pair.private)
	return &wire.GenerateDataKeyPairResponse{
		PrivateKeyCiphertextBlob: pair.blob, PrivateKeyPlaintext: private, CiphertextForRecipient: sealed, PublicKey: pair.public,
		KeyId: &key.ARN, KeyPairSpec: in.KeyPairSpec, KeyMaterialId: &key.CurrentMaterial,
	}, err
}

func (a *api) generateDataKeyPairWithoutPlaintext(ctx context.Context, r *service.Request, in *wire.GenerateDataKeyPairWithoutPlaintextRequest) (*wire.GenerateDataKeyPairWithoutPlaintextResponse, error) {
	pair, err := a.dataKeyPair(ctx, r, kms.KeySpec(in.KeyPairSpec), in.EncryptionContext, isTrue(in.DryRun))
	if err != nil {
		return nil, err
	}
	crypto.Wipe(pair.private)
	key := &r.Keys[0]
	return &wire.GenerateDataKeyPairWithoutPlaintextResponse{
		PrivateKeyCiphertextBlob: pair.blob, PublicKey: pair.public,
		KeyId: &key.ARN, KeyPairSpec: in.KeyPairSpec, KeyMaterialId: &key.CurrentMaterial,
	}, nil
}

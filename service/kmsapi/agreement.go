package kmsapi

import (
	"context"
	"errors"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func (a *api) agreementRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.DeriveSharedSecretRequest, wire.DeriveSharedSecretResponse]{
			Service: serviceName, Name: "DeriveSharedSecret", QuotaOf: func(kms.KeySpec) service.Quota { return service.QuotaECC },
			Keys: []service.KeyRule[wire.DeriveSharedSecretRequest]{use(kms.KeyAgreement, func(in *wire.DeriveSharedSecretRequest) string { return in.KeyId }, "kms:DeriveSharedSecret",
				func(in *wire.DeriveSharedSecretRequest, key string) []string {
					return parameter(key, "kms:keyagreementalgorithm", in.KeyAgreementAlgorithm)
				})},
			DryRun:      func(in *wire.DeriveSharedSecretRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.DeriveSharedSecretRequest) []string { return in.GrantTokens },
			Params: func(in *wire.DeriveSharedSecretRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				p.String("keyAgreementAlgorithm", in.KeyAgreementAlgorithm)
			},
			Recipient: func(in *wire.DeriveSharedSecretRequest) []byte { return attestationOf(in.Recipient) },
			Read:      a.deriveSharedSecret,
		}.Row(),
	}
}

// deriveSharedSecret answers the secret shared with the owner of the public key in the
// request. Every public key that is not one on the key's curve is refused alike.
func (a *api) deriveSharedSecret(_ context.Context, r *service.Request, in *wire.DeriveSharedSecretRequest) (*wire.DeriveSharedSecretResponse, error) {
	key := &r.Keys[0]
	if err := checkSpec(kms.KeyAgreementAlgorithm(in.KeyAgreementAlgorithm), key, key.Spec.KeyAgreementAlgorithms()); err != nil {
		return nil, err
	}
	recipient, err := recipientOf(r, in.Recipient)
	if err != nil {
		return nil, err
	}
	h, err := a.privateKey(r, key)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	secret, err := h.Opened().DeriveSharedSecret(in.PublicKey)
	switch {
	case errors.Is(err, crypto.ErrPublicKey):
		return nil, invalid("The public key is not a DER-encoded SubjectPublicKeyInfo of a point on the curve of key spec " + string(key.Spec) + ".")
	case err != nil:
		return nil, err
	}
	secret, sealed, err := sealFor(recipient, secret)
	return &wire.DeriveSharedSecretResponse{
		KeyId: &key.ARN, SharedSecret: secret, CiphertextForRecipient: sealed, KeyAgreementAlgorithm: in.KeyAgreementAlgorithm, KeyOrigin: string(key.Origin),
	}, err
}

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

// encapsulationRows have no request quota: AWS publishes none for ML-KEM keys.
func (a *api) encapsulationRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.EncapsulateRequest, wire.EncapsulateResponse]{
			Service: serviceName, Name: "Encapsulate",
			Keys:        []service.KeyRule[wire.EncapsulateRequest]{use(kms.EncapsulateDecapsulate, func(in *wire.EncapsulateRequest) string { return in.KeyId }, "kms:Encapsulate", nil)},
			DryRun:      func(in *wire.EncapsulateRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.EncapsulateRequest) []string { return in.GrantTokens },
			Params: func(in *wire.EncapsulateRequest, p *audit.Params) {
				encapsulationParams(p, in.KeyId, in.EncapsulationAlgorithm)
			},
			Read: a.encapsulate,
		}.Row(),
		service.Op[wire.DecapsulateRequest, wire.DecapsulateResponse]{
			Service: serviceName, Name: "Decapsulate",
			Keys:        []service.KeyRule[wire.DecapsulateRequest]{use(kms.EncapsulateDecapsulate, func(in *wire.DecapsulateRequest) string { return in.KeyId }, "kms:Decapsulate", nil)},
			DryRun:      func(in *wire.DecapsulateRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.DecapsulateRequest) []string { return in.GrantTokens },
			Params: func(in *wire.DecapsulateRequest, p *audit.Params) {
				encapsulationParams(p, in.KeyId, in.EncapsulationAlgorithm)
			},
			Read: a.decapsulate,
		}.Row(),
	}
}

func encapsulationParams(p *audit.Params, keyID, algorithm string) {
	p.String("keyId", keyID)
	p.String("encapsulationAlgorithm", algorithm)
}

func checkEncapsulation(algorithm string, key *service.Key) error {
	return checkSpec(kms.EncapsulationAlgorithm(algorithm), key, key.Spec.EncapsulationAlgorithms())
}

func (a *api) encapsulate(_ context.Context, r *service.Request, in *wire.EncapsulateRequest) (*wire.EncapsulateResponse, error) {
	key := &r.Keys[0]
	if err := checkEncapsulation(in.EncapsulationAlgorithm, key); err != nil {
		return nil, err
	}
	h, err := a.publicKey(r, key)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	secret, blob, err := h.Opened().Encapsulate()
	if err != nil {
		return nil, err
	}
	return &wire.EncapsulateResponse{
		KeyId: &key.ARN, SharedSecret: secret, SharedSecretCiphertextBlob: blob, EncapsulationAlgorithm: in.EncapsulationAlgorithm,
	}, nil
}

// decapsulate refuses a ciphertext of another length than the key spec's, and nothing
// else: any other one gives a secret, which is that of Encapsulate only if the ciphertext
// is its own (FIPS 203 §6.3).
func (a *api) decapsulate(_ context.Context, r *service.Request, in *wire.DecapsulateRequest) (*wire.DecapsulateResponse, error) {
	key := &r.Keys[0]
	if err := checkEncapsulation(in.EncapsulationAlgorithm, key); err != nil {
		return nil, err
	}
	h, err := a.privateKey(r, key)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	secret, err := h.Opened().Decapsulate(in.SharedSecretCiphertextBlob)
	switch {
	case errors.Is(err, crypto.ErrCiphertext):
		return nil, invalidCiphertext(err)
	case err != nil:
		return nil, err
	}
	return &wire.DecapsulateResponse{KeyId: &key.ARN, SharedSecret: secret, EncapsulationAlgorithm: in.EncapsulationAlgorithm}, nil
}

package kmsapi

import (
	"context"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func publicKeyRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GetPublicKeyRequest, wire.GetPublicKeyResponse]{
			Service: serviceName, Name: "GetPublicKey",
			Keys: []service.KeyRule[wire.GetPublicKeyRequest]{{
				ID:      func(in *wire.GetPublicKeyRequest) string { return in.KeyId },
				Aliases: true, Action: "kms:GetPublicKey", CrossAccount: true, States: service.Complete,
				Granted: granted[wire.GetPublicKeyRequest](kms.GrantGetPublicKey, nil),
			}},
			GrantTokens: func(in *wire.GetPublicKeyRequest) []string { return in.GrantTokens },
			Params:      func(in *wire.GetPublicKeyRequest, p *audit.Params) { p.String("keyId", in.KeyId) },
			Read:        getPublicKey,
		}.Row(),
	}
}

// getPublicKey shows the public key as it was stored: it was parsed, or made, before. A
// key whose material has not been imported yet has none.
func getPublicKey(_ context.Context, r *service.Request, _ *wire.GetPublicKeyRequest) (*wire.GetPublicKeyResponse, error) {
	key := &r.Keys[0]
	if !key.Spec.Asymmetric() {
		return nil, &kms.Error{Code: kms.CodeUnsupportedOperation}
	}
	if key.CurrentMaterial == "" {
		return nil, &kms.Error{Code: kms.CodeInvalidState, Message: key.ARN + " is pending import."}
	}
	can := algorithmsOf(key.Key)
	return &wire.GetPublicKeyResponse{
		KeyId: &key.ARN, PublicKey: current(r, key).Public,
		CustomerMasterKeySpec: string(key.Spec), KeySpec: string(key.Spec), KeyUsage: string(key.Usage),
		EncryptionAlgorithms: can.encryption, SigningAlgorithms: can.signing,
		KeyAgreementAlgorithms: can.keyAgreement, EncapsulationAlgorithms: can.encapsulation,
	}, nil
}

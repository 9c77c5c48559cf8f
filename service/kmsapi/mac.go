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

func (a *api) macRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GenerateMacRequest, wire.GenerateMacResponse]{
			Service: serviceName, Name: "GenerateMac", Quota: service.QuotaSymmetric,
			Keys: []service.KeyRule[wire.GenerateMacRequest]{use(kms.GenerateVerifyMac, func(in *wire.GenerateMacRequest) string { return in.KeyId }, "kms:GenerateMac",
				func(in *wire.GenerateMacRequest, key string) []string {
					return parameter(key, "kms:macalgorithm", in.MacAlgorithm)
				})},
			DryRun:      func(in *wire.GenerateMacRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.GenerateMacRequest) []string { return in.GrantTokens },
			Params:      func(in *wire.GenerateMacRequest, p *audit.Params) { macParams(p, in.KeyId, in.MacAlgorithm) },
			Read:        a.generateMac,
		}.Row(),
		service.Op[wire.VerifyMacRequest, wire.VerifyMacResponse]{
			Service: serviceName, Name: "VerifyMac", Quota: service.QuotaSymmetric,
			Keys: []service.KeyRule[wire.VerifyMacRequest]{use(kms.GenerateVerifyMac, func(in *wire.VerifyMacRequest) string { return in.KeyId }, "kms:VerifyMac",
				func(in *wire.VerifyMacRequest, key string) []string {
					return parameter(key, "kms:macalgorithm", in.MacAlgorithm)
				})},
			DryRun:      func(in *wire.VerifyMacRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.VerifyMacRequest) []string { return in.GrantTokens },
			Params:      func(in *wire.VerifyMacRequest, p *audit.Params) { macParams(p, in.KeyId, in.MacAlgorithm) },
			Read:        a.verifyMac,
		}.Row(),
	}
}

func macParams(p *audit.Params, keyID, algorithm string) {
	p.String("keyId", keyID)
	p.String("macAlgorithm", algorithm)
}

func (a *api) generateMac(_ context.Context, r *service.Request, in *wire.GenerateMacRequest) (*wire.GenerateMacResponse, error) {
	key, algorithm := &r.Keys[0], kms.MacAlgorithm(in.MacAlgorithm)
	if err := checkSpec(algorithm, key, key.Spec.MacAlgorithms()); err != nil {
		return nil, err
	}
	h, err := a.macKey(r, key)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	mac, err := h.Opened().MAC(algorithm, in.Message)
	if err != nil {
		return nil, err
	}
	return &wire.GenerateMacResponse{Mac: mac, MacAlgorithm: in.MacAlgorithm, KeyId: &key.ARN}, nil
}

// verifyMac answers for the message's MAC only: all others are one error (AWS:
// VerifyMac).
func (a *api) verifyMac(_ context.Context, r *service.Request, in *wire.VerifyMacRequest) (*wire.VerifyMacResponse, error) {
	key, algorithm := &r.Keys[0], kms.MacAlgorithm(in.MacAlgorithm)
	if err := checkSpec(algorithm, key, key.Spec.MacAlgorithms()); err != nil {
		return nil, err
	}
	h, err := a.macKey(r, key)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	switch err := h.Opened().VerifyMAC(algorithm, in.Message, in.Mac); {
	case errors.Is(err, crypto.ErrMAC):
		return nil, &kms.Error{Code: kms.CodeKMSInvalidMac}
	case err != nil:
		return nil, err
	}
	return &wire.VerifyMacResponse{KeyId: &key.ARN, MacValid: new(true), MacAlgorithm: in.MacAlgorithm}, nil
}

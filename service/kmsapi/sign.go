package kmsapi

import (
	"cmp"
	"context"
	"errors"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func (a *api) signRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.SignRequest, wire.SignResponse]{
			Service: serviceName, Name: "Sign", QuotaOf: service.QuotaOfKey,
			Keys: []service.KeyRule[wire.SignRequest]{use(kms.SignVerify, func(in *wire.SignRequest) string { return in.KeyId }, "kms:Sign",
				func(in *wire.SignRequest, key string) []string {
					return signing(key, in.SigningAlgorithm, in.MessageType)
				})},
			DryRun:      func(in *wire.SignRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.SignRequest) []string { return in.GrantTokens },
			Params: func(in *wire.SignRequest, p *audit.Params) {
				signingParams(p, in.KeyId, in.MessageType, in.SigningAlgorithm)
			},
			Read: a.sign,
		}.Row(),
		service.Op[wire.VerifyRequest, wire.VerifyResponse]{
			Service: serviceName, Name: "Verify", QuotaOf: service.QuotaOfKey,
			Keys: []service.KeyRule[wire.VerifyRequest]{use(kms.SignVerify, func(in *wire.VerifyRequest) string { return in.KeyId }, "kms:Verify",
				func(in *wire.VerifyRequest, key string) []string {
					return signing(key, in.SigningAlgorithm, in.MessageType)
				})},
			DryRun:      func(in *wire.VerifyRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.VerifyRequest) []string { return in.GrantTokens },
			Params: func(in *wire.VerifyRequest, p *audit.Params) {
				signingParams(p, in.KeyId, in.MessageType, in.SigningAlgorithm)
			},
			Read: a.verify,
		}.Row(),
	}
}

// messageType is what a request's message is: RAW where it does not say.
func messageType(sent string) kms.MessageType {
	return cmp.Or(kms.MessageType(sent), kms.MessageRaw)
}

func signingParams(p *audit.Params, keyID, sent, algorithm string) {
	p.String("keyId", keyID)
	p.String("messageType", string(messageType(sent)))
	p.String("signingAlgorithm", algorithm)
}

func (a *api) sign(_ context.Context, r *service.Request, in *wire.SignRequest) (*wire.SignResponse, error) {
	key, algorithm := &r.Keys[0], kms.SigningAlgorithm(in.SigningAlgorithm)
	if err := checkSpec(algorithm, key, key.Spec.SigningAlgorithms()); err != nil {
		return nil, err
	}
	h, err := a.privateKey(r, key)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	kind := messageType(in.MessageType)
	signature, err := h.Opened().Sign(algorithm, kind, in.Message)
	if err != nil {
		return nil, signingError(err, algorithm, kind)
	}
	return &wire.SignResponse{KeyId: &key.ARN, Signature: signature, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// verify answers for valid signatures only: all others are one error (AWS: Verify).
func (a *api) verify(_ context.Context, r *service.Request, in *wire.VerifyRequest) (*wire.VerifyResponse, error) {
	key, algorithm := &r.Keys[0], kms.SigningAlgorithm(in.SigningAlgorithm)
	if err := checkSpec(algorithm, key, key.Spec.SigningAlgorithms()); err != nil {
		return nil, err
	}
	h, err := a.publicKey(r, key)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	kind := messageType(in.MessageType)
	if err := h.Opened().Verify(algorithm, kind, in.Message, in.Signature); err != nil {
		return nil, signingError(err, algorithm, kind)
	}
	return &wire.VerifyResponse{KeyId: &key.ARN, SignatureValid: new(true), SigningAlgorithm: in.SigningAlgorithm}, nil
}

// signingError turns what package crypto finds wrong into the answer for the client.
func signingError(err error, algorithm kms.SigningAlgorithm, kind kms.MessageType) error {
	switch {
	case errors.Is(err, crypto.ErrMessageType):
		return invalid("MessageType " + string(kind) + " is not valid for algorithm " + string(algorithm) + ".")
	case errors.Is(err, crypto.ErrMessageLength):
		return invalid("Digest is invalid length for algorithm " + string(algorithm) + ".")
	case errors.Is(err, crypto.ErrSignature):
		return &kms.Error{Code: kms.CodeKMSInvalidSignature}
	}
	return err
}

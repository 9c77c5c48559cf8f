package kmsapi

import (
	"cmp"
	"context"
	"math"
	"strconv"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func rotationRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.EnableKeyRotationRequest, service.None]{
			Service: serviceName, Name: "EnableKeyRotation",
			Keys: []service.KeyRule[wire.EnableKeyRotationRequest]{{
				ID: func(in *wire.EnableKeyRotationRequest) string { return in.KeyId }, Action: "kms:EnableKeyRotation", States: service.Schedulable,
				Conditions: func(in *wire.EnableKeyRotationRequest, key string) []string {
					return number(key, "kms:rotationperiodindays", in.RotationPeriodInDays)
				},
			}},
			Params: func(in *wire.EnableKeyRotationRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				audit.OptInt(p, "rotationPeriodInDays", in.RotationPeriodInDays)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.EnableKeyRotationRequest) (fsm.Args, *service.None, error) {
				return setRotation(r, rotationPeriod(in))
			},
		}.Row(),
		service.Op[wire.DisableKeyRotationRequest, service.None]{
			Service: serviceName, Name: "DisableKeyRotation",
			Keys:   manage(func(in *wire.DisableKeyRotationRequest) string { return in.KeyId }, "kms:DisableKeyRotation", service.Schedulable),
			Params: func(in *wire.DisableKeyRotationRequest, p *audit.Params) { p.String("keyId", in.KeyId) },
			Write: func(_ context.Context, r *service.Request, _ *wire.DisableKeyRotationRequest) (fsm.Args, *service.None, error) {
				return setRotation(r, 0)
			},
		}.Row(),
		service.Op[wire.GetKeyRotationStatusRequest, wire.GetKeyRotationStatusResponse]{
			Service: serviceName, Name: "GetKeyRotationStatus",
			Keys: []service.KeyRule[wire.GetKeyRotationStatusRequest]{{
				ID:     func(in *wire.GetKeyRotationStatusRequest) string { return in.KeyId },
				Action: "kms:GetKeyRotationStatus", CrossAccount: true, States: service.AnyState,
			}},
			Params: func(in *wire.GetKeyRotationStatusRequest, p *audit.Params) { p.String("keyId", in.KeyId) },
			Read:   getKeyRotationStatus,
		}.Row(),
		service.Op[wire.RotateKeyOnDemandRequest, wire.RotateKeyOnDemandResponse]{
			Service: serviceName, Name: "RotateKeyOnDemand", Once: true,
			Keys:   manage(func(in *wire.RotateKeyOnDemandRequest) string { return in.KeyId }, "kms:RotateKeyOnDemand", service.Rotatable),
			Params: func(in *wire.RotateKeyOnDemandRequest, p *audit.Params) { p.String("keyId", in.KeyId) },
			Write:  rotateKeyOnDemand, Repeat: rotatedOnDemand,
		}.Row(),
		service.Op[wire.ListKeyRotationsRequest, wire.ListKeyRotationsResponse]{
			Service: serviceName, Name: "ListKeyRotations",
			Keys: manage(func(in *wire.ListKeyRotationsRequest) string { return in.KeyId }, "kms:ListKeyRotations", service.AnyState),
			Params: func(in *wire.ListKeyRotationsRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				if in.IncludeKeyMaterial != "" {
					p.String("includeKeyMaterial", in.IncludeKeyMaterial)
				}
				audit.OptInt(p, "limit", in.Limit)
				p.OptString("marker", in.Marker)
			},
			Read: listKeyRotations,
		}.Row(),
	}
}

// defaultPeriod is how often keys rotate whose period is not given, in days (AWS:
// EnableKeyRotation).
const defaultPeriod = 365

func rotationPeriod(in *wire.EnableKeyRotationRequest) int {
	if in.RotationPeriodInDays == nil {
		return defaultPeriod
	}
	return *in.RotationPeriodInDays
}

// checkRotates refuses a key whose kind never rotates (AWS: "Rotating AWS KMS
// keys"). Keys of imported material do so on demand only, those of custom key
// stores not at all.
func checkRotates(key *service.Key, origins ...kms.Origin) error {
	switch {
	case key.Spec != kms.SymmetricDefault:
		return &kms.Error{Code: kms.CodeUnsupportedOperation}
	case key.State == kms.Unavailable:
		return unsupported(key.ARN + " is in a custom key store, which is not valid for this operation.")
	}
	for _, o := range origins {
		if key.Origin == o {
			return nil
		}
	}
	return unsupported(key.ARN + " origin is " + string(key.Origin) + " which is not valid for this operation.")
}

// setRotation is EnableKeyRotation, and with the period 0 DisableKeyRotation.
func setRotation(r *service.Request, days int) (fsm.Args, *service.None, error) {
	key := &r.Keys[0]
	if err := cmp.Or(checkRotates(key, kms.OriginKMS), refuseReplica(key.Key)); err != nil {
		return nil, nil, err
	}
	r.Record.ResponseElements.String("keyId", key.ARN)
	return fsm.SetKeyRotation{Account: key.Account, Region: key.Region, KeyID: key.ID, Period: uint16(days)}, nil, nil
}

// getKeyRotationStatus answers for every kind of key: one that never rotates says
// so.
func getKeyRotationStatus(_ context.Context, r *service.Request, _ *wire.GetKeyRotationStatusRequest) (*wire.GetKeyRotationStatusResponse, error) {
	key := &r.Keys[0]
	if key.State == kms.Unavailable {
		return nil, checkRotates(key, key.Origin)
	}
	out := &wire.GetKeyRotationStatusResponse{KeyId: &key.ID, KeyRotationEnabled: new(false)}
	if key.State == kms.PendingDeletion || key.State == kms.PendingReplicaDeletion {
		return out, nil
	}
	primary := r.View.Primary(key.Key)
	if primary.RotationPeriod != 0 {
		out.KeyRotationEnabled = new(true)
		out.RotationPeriodInDays = new(int(primary.RotationPeriod))
		out.NextRotationDate = new(time.UnixMilli(primary.NextRotation).UTC())
	}
	if primary.OnDemandStart != 0 {
		out.OnDemandRotationStartDate = new(time.UnixMilli(primary.OnDemandStart).UTC())
	}
	return out, nil
}

// rotateKeyOnDemand only asks for the rotation. As on AWS, it happens after the
// answer: the leader then makes the material.
func rotateKeyOnDemand(_ context.Context, r *service.Request, _ *wire.RotateKeyOnDemandRequest) (fsm.Args, *wire.RotateKeyOnDemandResponse, error) {
	key := &r.Keys[0]
	if err := cmp.Or(checkRotates(key, kms.OriginKMS, kms.OriginExternal), refuseReplica(key.Key)); err != nil {
		return nil, nil, err
	}
	if key.Origin == kms.OriginExternal && !r.View.PendingEverywhere(key.Key) {
		return nil, nil, &kms.Error{Code: kms.CodeInvalidState, Message: "No available key material pending rotation for the key: " + key.ARN + "."}
	}
	r.Record.ResponseElements.String("keyId", key.ARN)
	return fsm.RotateKeyOnDemand{Account: key.Account, Region: key.Region, KeyID: key.ID}, &wire.RotateKeyOnDemandResponse{KeyId: &key.ID}, nil
}

// rotatedOnDemand answers a RotateKeyOnDemand that was applied before.
func rotatedOnDemand(r *service.Request, once *fsm.Once) (*wire.RotateKeyOnDemandResponse, error) {
	k, err := repeatedKey(r, once)
	if err != nil {
		return nil, err
	}
	r.Record.ResponseElements.String("keyId", k.ARN())
	return &wire.RotateKeyOnDemandResponse{KeyId: &k.ID}, nil
}

const (
	allKeyMaterial = "ALL_KEY_MATERIAL"

	currentMaterial = "CURRENT"
	earlierMaterial = "NON_CURRENT"
	pendingMaterial = "PENDING_ROTATION"
	// awaitedMaterial is pending and not imported into every key of a set.
	awaitedMaterial = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
)

// listKeyRotations lists the materials that a key rotated to, the oldest first,
// and its first one where the call asks for it.
func listKeyRotations(_ context.Context, r *service.Request, in *wire.ListKeyRotationsRequest) (*wire.ListKeyRotationsResponse, error) {
	key := &r.Keys[0]
	if err := checkRotates(key, kms.OriginKMS, kms.OriginExternal); err != nil {
		return nil, err
	}
	page := page{operation: "ListKeyRotations", owner: key.Account + "/" + r.Region + "/" + key.ID + "/" + in.IncludeKeyMaterial}
	from, err := firstMaterial(page, in)
	if err != nil {
		return nil, err
	}
	list, more := r.View.Materials(key.MaterialOwner(), from, limit(in.Limit, 100, 1000))
	if n := len(list); n > 0 && list[n-1].Pending && in.IncludeKeyMaterial != allKeyMaterial {
		list = list[:n-1] // always the last
	}
	out := &wire.ListKeyRotationsResponse{Rotations: make([]wire.RotationsListEntry, len(list)), Truncated: &more}
	for i, m := range list {
		out.Rotations[i] = rotationEntry(key, m)
		if m.Pending && !r.View.PendingEverywhere(key.Key) {
			out.Rotations[i].KeyMaterialState = awaitedMaterial
		}
	}
	if more {
		out.NextMarker = page.marker(strconv.FormatUint(uint64(list[len(list)-1].Seq), 10))
	}
	return out, nil
}

// firstMaterial is the number of the material that the page starts with.
func firstMaterial(p page, in *wire.ListKeyRotationsRequest) (uint32, error) {
	after, err := p.after(in.Marker)
	switch {
	case err != nil:
		return 0, err
	case after == "" && in.IncludeKeyMaterial == allKeyMaterial:
		return 0, nil
	case after == "":
		return 1, nil
	}
	seq, err := strconv.ParseUint(after, 10, 32)
	if err != nil || seq == math.MaxUint32 {
		return 0, badMarker(*in.Marker)
	}
	return uint32(seq) + 1, nil
}

func rotationEntry(key *service.Key, m *fsm.Material) wire.RotationsListEntry {
	e := wire.RotationsListEntry{KeyId: &key.ID, KeyMaterialId: &m.ID, KeyMaterialState: earlierMaterial, RotationType: string(m.RotationType)}
	switch {
	case m.ID == key.CurrentMaterial:
		e.KeyMaterialState = currentMaterial
	case m.Pending:
		e.KeyMaterialState = pendingMaterial
	}
	if key.Origin == kms.OriginExternal {
		e.ImportState = "PENDING_IMPORT"
		if m.Present() {
			e.ImportState = "IMPORTED"
			e.ExpirationModel, e.ValidTo = expiration(m.ValidTo)
		}
		if m.Description != "" {
			e.KeyMaterialDescription = &m.Description
		}
	}
	if m.Rotated != 0 {
		e.RotationDate = new(time.UnixMilli(m.Rotated).UTC())
	}
	return e
}

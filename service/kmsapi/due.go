package kmsapi

import (
	"fmt"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// Due returns the work on keys that is done without a request.
func Due(cfg Config) []*service.DueWork {
	a := &api{keyring: cfg.Keyring, materials: cfg.Materials}
	return []*service.DueWork{
		{Event: "DeleteKey", Find: dueDeletions, Due: deletionDue, Plan: deleteKey},
		{Event: "DeleteExpiredKeyMaterial", Find: (*fsm.View).DueExpiries, Due: (*fsm.Key).DueExpiry, Plan: a.deleteExpired},
		{Event: "RotateKey", Find: (*fsm.View).DueRotations, Due: rotationDue, Plan: a.rotateKey, Elsewhere: synchronized},
	}
}

// deletionGrace lies between a key's DeletionDate and its end, in milliseconds: no
// key goes early because clocks are set. AWS lets a day pass at most.
const deletionGrace = int64(time.Hour / time.Millisecond)

func dueDeletions(v *fsm.View, at int64, limit int) []*fsm.Key {
	return v.DueDeletions(at-deletionGrace, limit)
}

func deletionDue(k *fsm.Key) (at int64, ok bool) {
	return k.DeletionDate + deletionGrace, k.State == kms.PendingDeletion
}

// deleteKey ends a key whose waiting period is over (CloudTrail: DeleteKey).
func deleteKey(_ *fsm.View, k *fsm.Key, _ int64, details *audit.Params) (fsm.Args, error) {
	details.String("keyId", k.ID)
	return fsm.DeleteKey{Account: k.Account, Region: k.Region, KeyID: k.ID, DeletionDate: k.DeletionDate}, nil
}

// rotationDue is when the key's next rotation is due: at once when it was asked for.
func rotationDue(k *fsm.Key) (at int64, ok bool) {
	at, kind, ok := k.DueRotation()
	if kind == kms.RotationOnDemand {
		at = 0
	}
	return at, ok
}

// rotateKey gives a key new material (CloudTrail: RotateKey).
func (a *api) rotateKey(_ *fsm.View, k *fsm.Key, now int64, details *audit.Params) (fsm.Args, error) {
	due, kind, _ := k.DueRotation()
	if k.Origin == kms.OriginExternal {
		rotationDetails(k, kind, k.PendingMaterial, details)
		return fsm.RotateImportedKey{Account: k.Account, Region: k.Region, KeyID: k.ID, MaterialID: k.PendingMaterial, Due: due}, nil
	}
	material, err := a.newMaterial(k.ID, k.Spec, now)
	if err != nil {
		return nil, err
	}
	rotationDetails(k, kind, material.ID, details)
	return fsm.RotateKey{Account: k.Account, Region: k.Region, KeyID: k.ID, Type: kind, Due: due, Material: *material}, nil
}

func rotationDetails(k *fsm.Key, kind kms.RotationType, next string, details *audit.Params) {
	details.String("rotationType", string(kind))
	details.String("keyOrigin", string(k.Origin))
	details.String("previousKeyMaterialId", k.CurrentMaterial)
	details.String("currentKeyMaterialId", next)
	details.String("keyId", k.ID)
}

// deleteExpired ends the material of a key that expires first (CloudTrail:
// DeleteExpiredKeyMaterial).
func (a *api) deleteExpired(v *fsm.View, k *fsm.Key, _ int64, details *audit.Params) (fsm.Args, error) {
	list, _ := v.Materials(k.MaterialOwner(), 0, maxMaterials)
	for _, m := range list {
		if m.ValidTo == k.NextExpiry {
			details.String("keyId", k.ID)
			details.String("keyMaterialId", m.ID)
			return fsm.DeleteExpiredKeyMaterial{Account: k.Account, Region: k.Region, KeyID: k.ID, MaterialID: m.ID, ValidTo: m.ValidTo}, nil
		}
	}
	return nil, fmt.Errorf("kmsd: no material of key %s expires when it says", k.ID)
}

// maxMaterials is more than a key of imported material has: its first, one for each
// rotation on demand, and a pending one.
const maxMaterials = 32

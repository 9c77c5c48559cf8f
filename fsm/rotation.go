package fsm

import (
	"errors"

	"github.com/kmsd/kmsd/kms"
)

const (
	// The period of automatic rotation, in days (AWS: EnableKeyRotation).
	minRotationPeriod = 90
	maxRotationPeriod = 2560
	// maxOnDemandRotations bounds the rotations on demand over a key's life; no
	// setting changes it (AWS: "Resource quotas").
	maxOnDemandRotations = 25
	// rotationNear is how close an automatic rotation may be for one on demand to be
	// refused, in milliseconds (AWS: RotateKeyOnDemand, ConflictException).
	rotationNear = 20 * 60 * 1000
)

// Dates of rotations are by the leader's clock, which the command carries, and not by
// the machine's time: that never goes back, so that a clock which was once far ahead
// for a moment would move every schedule after it.

// SetKeyRotation is EnableKeyRotation and DisableKeyRotation. Enabling counts the
// period from the moment of the call, also where rotation is enabled already.
type SetKeyRotation struct {
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	KeyID   string `cbor:"3,keyasint"`
	// Period is in days; 0 ends automatic rotation.
	Period uint16 `cbor:"4,keyasint"`
}

func (SetKeyRotation) command() (Type, uint8) { return TypeSetKeyRotation, 1 }

func (c SetKeyRotation) check() error {
	if c.Period != 0 && (c.Period < minRotationPeriod || c.Period > maxRotationPeriod) {
		return errors.New("not a period of rotation")
	}
	return checkKeyRef(c.Account, c.Region, c.KeyID)
}

func setKeyRotation(t *txn, c *SetKeyRotation) (*kms.Error, error) {
	k, refusal := t.rotatingKey(c.Account, c.Region, c.KeyID)
	if refusal != nil {
		return refusal, nil
	}
	changed := *k
	changed.RotationPeriod, changed.NextRotation = c.Period, 0
	if c.Period != 0 {
		changed.NextRotation = t.meta.Time + int64(c.Period)*day
	}
	t.put(tableKeys, &changed)
	return nil, nil
}

// rotatingKey returns the account's key if it is of a kind that rotates and in a
// state in which its rotation can be managed. Which kinds rotate automatically,
// the leader decides, because no key changes its kind.
func (t *txn) rotatingKey(account, region, id string) (*Key, *kms.Error) {
	k, refusal := t.key(account, region, id)
	if refusal == nil {
		refusal = refuseState(k, kms.PendingDeletion, kms.PendingReplicaDeletion, kms.PendingImport, kms.Creating)
	}
	switch {
	case refusal != nil:
	case k.State == kms.Disabled:
		refusal = &kms.Error{Code: kms.CodeDisabled, Message: k.ARN() + " is disabled."}
	case k.Spec != kms.SymmetricDefault:
		refusal = &kms.Error{Code: kms.CodeUnsupportedOperation}
	case k.Replica:
		refusal = &kms.Error{Code: kms.CodeUnsupportedOperation, Message: k.ARN() + " is a multi-region replica key."}
	}
	return k, refusal
}

// RotateKeyOnDemand asks for a rotation, which the leader then carries out.
type RotateKeyOnDemand struct {
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	KeyID   string `cbor:"3,keyasint"`
}

func (RotateKeyOnDemand) command() (Type, uint8) { return TypeRotateKeyOnDemand, 1 }

func (c RotateKeyOnDemand) check() error { return checkKeyRef(c.Account, c.Region, c.KeyID) }

func rotateKeyOnDemand(t *txn, c *RotateKeyOnDemand) (*kms.Error, error) {
	k, refusal := t.rotatingKey(c.Account, c.Region, c.KeyID)
	switch {
	case refusal != nil:
	case k.OnDemandCount >= maxOnDemandRotations:
		refusal = limitExceeded("You have exceeded the number of on-demand rotations allowed for this KMS key.")
	case k.Origin == kms.OriginExternal && !t.pendingEverywhere(k):
		refusal = &kms.Error{Code: kms.CodeInvalidState, Message: "No available key material pending rotation for the key: " + k.ARN() + "."}
	case k.OnDemandStart != 0:
		refusal = conflicting("An on-demand rotation of " + k.ARN() + " is in progress.")
	case k.RotationPeriod != 0 && k.NextRotation-t.meta.Time <= rotationNear:
		refusal = conflicting("An automatic rotation of " + k.ARN() + " is in progress or due within 20 minutes.")
	}
	if refusal != nil {
		return refusal, nil
	}
	asked := *k
	asked.OnDemandStart = max(t.meta.Time, 1)
	asked.OnDemandCount++
	t.put(tableKeys, &asked)
	t.made = []string{k.ID}
	return nil, nil
}

// RotateKey gives a key, and all that are related to it, new material, which encrypts
// from then on. Due is the date
// that the leader acted on: the key's NextRotation or OnDemandStart. It is refused
// when that is not the key's due rotation any more, so that none is carried out
// twice; and an automatic one before its date.
type RotateKey struct {
	Account  string           `cbor:"1,keyasint"`
	Region   string           `cbor:"2,keyasint"`
	KeyID    string           `cbor:"3,keyasint"`
	Type     kms.RotationType `cbor:"4,keyasint"`
	Due      int64            `cbor:"5,keyasint"` // milliseconds since 1970
	Material Material         `cbor:"6,keyasint"`
}

func (RotateKey) command() (Type, uint8) { return TypeRotateKey, 1 }

func (c RotateKey) check() error {
	m := &c.Material
	switch {
	case m.KeyID != c.KeyID || len(m.ID) != 64 || len(m.Sealed) == 0 || m.ModIndex != 0:
		return errors.New("a rotation without a material of the key")
	case m.Seq != 0 || m.Rotated != 0 || m.RotationType != "":
		return errors.New("a rotation that says itself when it happens")
	case m.ValidTo != 0 || m.Description != "" || m.Pending || m.Region != "":
		return errors.New("a rotation to material that was imported")
	case len(m.Public) != 0:
		return errors.New("a rotation of an asymmetric key")
	case c.Type != kms.RotationAutomatic && c.Type != kms.RotationOnDemand:
		return errors.New("an unknown type of rotation")
	}
	return checkKeyRef(c.Account, c.Region, c.KeyID)
}

func rotateKey(t *txn, c *RotateKey) (*kms.Error, error) {
	k, refusal := t.key(c.Account, c.Region, c.KeyID)
	if refusal != nil {
		return refusal, nil
	}
	at, kind, ok := k.DueRotation()
	early := c.Type == kms.RotationAutomatic && t.meta.Time < c.Due
	if !ok || k.Origin != kms.OriginKMS || at != c.Due || kind != c.Type || early {
		return &kms.Error{Code: kms.CodeConflict, Message: "No such rotation of " + k.ARN() + " is due."}, nil
	}
	if t.state.get(tableMaterials, k.ID, c.Material.ID[:materialPrefix]) != nil {
		t.conflict = true
		return nil, nil
	}
	m := c.Material
	m.Seq, m.Rotated, m.RotationType = t.nextSeq(k.ID), t.meta.Time, c.Type
	rotated := *k
	rotated.CurrentMaterial = m.ID
	rotated.advance(c.Type, t.meta.Time)
	t.put(tableMaterials, &m)
	t.put(tableKeys, &rotated)
	for _, other := range t.related(k) {
		if other.Region != k.Region {
			changed := *other
			changed.CurrentMaterial = m.ID
			t.put(tableKeys, &changed)
		}
	}
	return nil, nil
}

// advance moves the key's schedule past a rotation that happened now. A rotation
// on demand leaves the automatic schedule alone; an automatic one keeps its days,
// unless the next is past already because the key was not enabled for so long.
func (k *Key) advance(kind kms.RotationType, now int64) {
	if kind == kms.RotationOnDemand {
		k.OnDemandStart = 0
		return
	}
	period := int64(k.RotationPeriod) * day
	k.NextRotation += period
	if k.NextRotation <= now {
		k.NextRotation = now + period
	}
}

// nextSeq is the number of the next material of a key, by its MaterialOwner.
func (t *txn) nextSeq(owner string) uint32 {
	o, _ := t.state.owned(materialsByKey, owner)
	if o == nil {
		return 0
	}
	_, last, ok := o.tree.Max()
	if !ok {
		return 0
	}
	return last.(*Material).Seq + 1
}

package fsm

import (
	"errors"
	"slices"

	"github.com/kmsd/kmsd/kms"
)

// Materials of keys of origin EXTERNAL come and go (AWS: "Importing key material"). A
// material that was deleted or has expired stays as a record without its secret: its id
// is what the same bytes are recognised by, and its public key goes on being shown. One
// that waits for a rotation is not the key's yet, and leaves no trace when it is deleted.

// Present tells whether the material's secret is there.
func (m *Material) Present() bool { return len(m.Sealed) != 0 }

// ImportExpired tells whether a key of origin EXTERNAL lacks a material at a time, in
// milliseconds since 1970, whatever its state says: work that is due may be late.
func (k *Key) ImportExpired(now int64) bool {
	return k.Incomplete || k.ValidTo != 0 && k.ValidTo <= now
}

// DueExpiry returns the earliest end of any of the key's materials, in milliseconds
// since 1970; ok is false when none ends.
func (k *Key) DueExpiry() (at int64, ok bool) { return k.NextExpiry, k.NextExpiry != 0 }

// ImportKeyMaterial brings a key of origin EXTERNAL a material: its first, a new one
// that waits for a rotation (New), or one that it had. The leader has compared the
// material's id with the key's; apply does so again.
type ImportKeyMaterial struct {
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	KeyID   string `cbor:"3,keyasint"`
	// Material has ValidTo, and no Description: that is kept where Description is nil.
	Material    Material `cbor:"4,keyasint"`
	Description *string  `cbor:"5,keyasint,omitempty"`
	New         bool     `cbor:"6,keyasint,omitempty"`
}

func (ImportKeyMaterial) command() (Type, uint8) { return TypeImportKeyMaterial, 1 }

func (c ImportKeyMaterial) check() error {
	m := &c.Material
	switch {
	case m.KeyID != c.KeyID || len(m.ID) != 64 || len(m.Sealed) == 0 || m.ModIndex != 0:
		return errors.New("an import without a material of the key")
	case m.Seq != 0 || m.Rotated != 0 || m.RotationType != "" || m.Pending || m.Description != "" || m.ValidTo < 0:
		return errors.New("an import that says what apply decides")
	}
	return checkKeyRef(c.Account, c.Region, c.KeyID)
}

func importKeyMaterial(t *txn, c *ImportKeyMaterial) (*kms.Error, error) {
	k, refusal := t.importingKey(c.Account, c.Region, c.KeyID)
	if refusal == nil {
		refusal = refuseState(k, kms.PendingDeletion, kms.PendingReplicaDeletion, kms.Creating)
	}
	if refusal != nil {
		return refusal, nil
	}
	if (len(c.Material.Public) != 0) != k.Spec.Asymmetric() {
		return &kms.Error{Code: kms.CodeIncorrectKeyMaterial}, nil
	}
	materials, changed := t.materials(k.ID), *k
	m, refusal := c.place(t, &changed, materials)
	if refusal != nil {
		return refusal, nil
	}
	if i := slices.IndexFunc(materials, func(have *Material) bool { return have.ID == m.ID }); i >= 0 {
		materials[i] = m
	} else {
		materials = append(materials, m)
	}
	changed.associate(materials)
	t.put(tableMaterials, m)
	t.put(tableKeys, &changed)
	t.made = []string{k.ID, m.ID}
	return nil, nil
}

// place returns the material as the key will hold it.
func (c *ImportKeyMaterial) place(t *txn, k *Key, materials []*Material) (*Material, *kms.Error) {
	m := c.Material
	if c.Description != nil {
		m.Description = *c.Description
	}
	have := t.state.get(tableMaterials, k.ID, m.ID[:materialPrefix])
	switch {
	case have != nil && (c.New || have.(*Material).ID != m.ID):
		return nil, &kms.Error{Code: kms.CodeIncorrectKeyMaterial}
	case have != nil:
		old := have.(*Material)
		m.Seq, m.Rotated, m.RotationType, m.Pending, m.Created = old.Seq, old.Rotated, old.RotationType, old.Pending, old.Created
		if c.Description == nil {
			m.Description = old.Description
		}
		return &m, nil
	case k.CurrentMaterial == "":
		k.CurrentMaterial = m.ID
		return &m, nil
	case !c.New || k.Spec != kms.SymmetricDefault:
		return nil, &kms.Error{Code: kms.CodeIncorrectKeyMaterial}
	case k.PendingMaterial != "":
		return nil, &kms.Error{Code: kms.CodeInvalidState, Message: k.ARN() + " already has key material pending rotation."}
	}
	m.Seq, m.Pending = t.nextSeq(k.ID), true
	return &m, nil
}

// importingKey returns the account's key if its material is imported.
func (t *txn) importingKey(account, region, id string) (*Key, *kms.Error) {
	k, refusal := t.key(account, region, id)
	if refusal == nil && k.Origin != kms.OriginExternal {
		refusal = &kms.Error{Code: kms.CodeUnsupportedOperation,
			Message: k.ARN() + " origin is " + string(k.Origin) + " which is not valid for this operation."}
	}
	return k, refusal
}

func (t *txn) materials(keyID string) (out []*Material) {
	for _, rec := range t.owned(materialsByKey, keyID) {
		out = append(out, rec.(*Material))
	}
	return out
}

// associate makes the key say what follows from its materials. It is usable only while
// all but a pending one are there. A key that waits for its deletion goes on waiting.
func (k *Key) associate(materials []*Material) {
	k.ValidTo, k.NextExpiry, k.PendingMaterial, k.Incomplete = 0, 0, "", false
	for _, m := range materials {
		if m.ValidTo != 0 {
			k.NextExpiry = earliest(k.NextExpiry, m.ValidTo)
		}
		switch {
		case m.Pending:
			k.PendingMaterial = m.ID
		case !m.Present():
			k.Incomplete = true
		case m.ValidTo != 0:
			k.ValidTo = earliest(k.ValidTo, m.ValidTo)
		}
	}
	if k.PendingMaterial == "" {
		k.OnDemandStart = 0
	}
	switch {
	case k.State == kms.PendingImport && !k.Incomplete && k.CurrentMaterial != "":
		k.State = kms.Enabled
	case k.Incomplete && (k.State == kms.Enabled || k.State == kms.Disabled):
		k.State = kms.PendingImport
	}
}

// earliest is the earlier of two dates of which the first may be none.
func earliest(a, b int64) int64 {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// DeleteImportedKeyMaterial destroys an imported material. One that is not there is no
// error. MaterialID is empty for a key that never had any.
type DeleteImportedKeyMaterial struct {
	Account    string `cbor:"1,keyasint"`
	Region     string `cbor:"2,keyasint"`
	KeyID      string `cbor:"3,keyasint"`
	MaterialID string `cbor:"4,keyasint,omitempty"`
}

func (DeleteImportedKeyMaterial) command() (Type, uint8) { return TypeDeleteImportedKeyMaterial, 1 }

func (c DeleteImportedKeyMaterial) check() error {
	if len(c.MaterialID) != 0 && len(c.MaterialID) != 64 {
		return errors.New("not a material's id")
	}
	return checkKeyRef(c.Account, c.Region, c.KeyID)
}

func deleteImportedKeyMaterial(t *txn, c *DeleteImportedKeyMaterial) (*kms.Error, error) {
	k, refusal := t.importingKey(c.Account, c.Region, c.KeyID)
	if refusal == nil {
		refusal = refuseState(k, kms.Creating, kms.Updating)
	}
	if refusal != nil {
		return refusal, nil
	}
	t.made = []string{k.ID, c.MaterialID}
	t.deleteMaterial(k, c.MaterialID)
	return nil, nil
}

// deleteMaterial destroys the secret of a key's material, if it is there.
func (t *txn) deleteMaterial(k *Key, id string) {
	materials := t.materials(k.ID)
	i := slices.IndexFunc(materials, func(m *Material) bool { return m.ID == id && m.Present() })
	if i < 0 {
		return
	}
	if m := materials[i]; m.Pending {
		t.drop(tableMaterials, m)
		materials = slices.Delete(materials, i, i+1)
	} else {
		gone := *m
		gone.Sealed, gone.ValidTo = nil, 0
		t.put(tableMaterials, &gone)
		materials[i] = &gone
	}
	changed := *k
	changed.associate(materials)
	t.put(tableKeys, &changed)
	t.erase(k.ID)
}

// DeleteExpiredKeyMaterial destroys a material whose time is over. The leader proposes
// it once a majority's clocks agree. It is refused unless the material still ends on
// this very date, and the command's time has reached it.
type DeleteExpiredKeyMaterial struct {
	Account    string `cbor:"1,keyasint"`
	Region     string `cbor:"2,keyasint"`
	KeyID      string `cbor:"3,keyasint"`
	MaterialID string `cbor:"4,keyasint"`
	ValidTo    int64  `cbor:"5,keyasint"` // milliseconds since 1970
}

func (DeleteExpiredKeyMaterial) command() (Type, uint8) { return TypeDeleteExpiredKeyMaterial, 1 }

func (c DeleteExpiredKeyMaterial) check() error {
	if len(c.MaterialID) != 64 || c.ValidTo <= 0 {
		return errors.New("not a material that expires")
	}
	return checkKeyRef(c.Account, c.Region, c.KeyID)
}

func deleteExpiredKeyMaterial(t *txn, c *DeleteExpiredKeyMaterial) (*kms.Error, error) {
	k, refusal := t.importingKey(c.Account, c.Region, c.KeyID)
	if refusal != nil {
		return refusal, nil
	}
	m, ok := t.state.get(tableMaterials, k.ID, c.MaterialID[:materialPrefix]).(*Material)
	if !ok || m.ID != c.MaterialID || m.ValidTo != c.ValidTo || t.meta.Time < c.ValidTo {
		return &kms.Error{Code: kms.CodeConflict, Message: "No such key material of " + k.ARN() + " has expired."}, nil
	}
	t.deleteMaterial(k, m.ID)
	return nil, nil
}

// RotateImportedKey makes the pending material of a key its current one, which
// RotateKeyOnDemand asked for. Due is as RotateKey's.
type RotateImportedKey struct {
	Account    string `cbor:"1,keyasint"`
	Region     string `cbor:"2,keyasint"`
	KeyID      string `cbor:"3,keyasint"`
	MaterialID string `cbor:"4,keyasint"`
	Due        int64  `cbor:"5,keyasint"` // milliseconds since 1970
}

func (RotateImportedKey) command() (Type, uint8) { return TypeRotateImportedKey, 1 }

func (c RotateImportedKey) check() error {
	if len(c.MaterialID) != 64 {
		return errors.New("not a material's id")
	}
	return checkKeyRef(c.Account, c.Region, c.KeyID)
}

func rotateImportedKey(t *txn, c *RotateImportedKey) (*kms.Error, error) {
	k, refusal := t.importingKey(c.Account, c.Region, c.KeyID)
	if refusal != nil {
		return refusal, nil
	}
	at, kind, ok := k.DueRotation()
	materials := t.materials(k.ID)
	i := slices.IndexFunc(materials, func(m *Material) bool { return m.ID == c.MaterialID && m.Pending })
	if !ok || at != c.Due || kind != kms.RotationOnDemand || i < 0 {
		return &kms.Error{Code: kms.CodeConflict, Message: "No such rotation of " + k.ARN() + " is due."}, nil
	}
	m, rotated := *materials[i], *k
	m.Pending, m.Rotated, m.RotationType = false, t.meta.Time, kind
	materials[i] = &m
	rotated.CurrentMaterial = m.ID
	rotated.advance(kind, t.meta.Time)
	rotated.associate(materials)
	t.put(tableMaterials, &m)
	t.put(tableKeys, &rotated)
	return nil, nil
}

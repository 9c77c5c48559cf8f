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
	case m.Seq != 0 || m.Rotated != 0 || m.RotationType != "" || m.Pending || m.Description != "" || m.Region != "" || m.ValidTo < 0:
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
	changed := *k
	m, refusal := c.place(t, &changed)
	if refusal != nil {
		return refusal, nil
	}
	t.putMaterial(&changed, m)
	t.announce(&changed, m)
	t.made = []string{k.ID, m.ID}
	return nil, nil
}

// putMaterial gives a key a material, or puts it in the place of the one with its id.
func (t *txn) putMaterial(k *Key, m *Material) {
	materials := t.materials(k)
	if i := indexOf(materials, m.ID); i >= 0 {
		materials[i] = m
	} else {
		materials = append(materials, m)
	}
	k.associate(materials)
	t.put(tableMaterials, m)
	t.put(tableKeys, k)
}

func indexOf(materials []*Material, id string) int {
	return slices.IndexFunc(materials, func(m *Material) bool { return m.ID == id })
}

// place returns the material as the key will hold it.
func (c *ImportKeyMaterial) place(t *txn, k *Key) (*Material, *kms.Error) {
	m := c.Material
	m.Region = k.materialRegion()
	if c.Description != nil {
		m.Description = *c.Description
	}
	have := t.state.get(tableMaterials, k.MaterialOwner(), m.ID[:materialPrefix])
	switch {
	case c.New && k.Replica:
		return nil, &kms.Error{Code: kms.CodeUnsupportedOperation, Message: k.ARN() + " is a multi-region replica key."}
	case have != nil && (c.New || have.(*Material).ID != m.ID):
		return nil, &kms.Error{Code: kms.CodeIncorrectKeyMaterial}
	case have != nil:
		old := have.(*Material)
		m.Seq, m.Rotated, m.RotationType, m.Pending, m.Created = old.Seq, old.Rotated, old.RotationType, old.Pending, old.Created
		if c.Description == nil {
			m.Description = old.Description
		}
		return &m, nil
	case k.Replica:
		return nil, &kms.Error{Code: kms.CodeIncorrectKeyMaterial}
	case k.CurrentMaterial == "":
		k.CurrentMaterial = m.ID
		return &m, nil
	case !c.New || k.Spec != kms.SymmetricDefault:
		return nil, &kms.Error{Code: kms.CodeIncorrectKeyMaterial}
	case k.PendingMaterial != "":
		return nil, &kms.Error{Code: kms.CodeInvalidState, Message: k.ARN() + " already has key material pending rotation."}
	}
	m.Seq, m.Pending = t.nextSeq(k.MaterialOwner()), true
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

func (t *txn) materials(k *Key) (out []*Material) {
	for _, rec := range t.owned(materialsByKey, k.MaterialOwner()) {
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

// deleteMaterial destroys the secret of a key's material, if it is there. A pending one
// goes from the related keys, too, unless the key is a replica.
func (t *txn) deleteMaterial(k *Key, id string) {
	materials := t.materials(k)
	i := indexOf(materials, id)
	switch {
	case i < 0:
	case materials[i].Pending && !k.Replica:
		t.dropPending(k, id)
	case materials[i].Present():
		gone, changed := *materials[i], *k
		gone.Sealed, gone.ValidTo = nil, 0
		t.putMaterial(&changed, &gone)
		t.erase(k.ID)
		if gone.Pending {
			t.holdRotation(k)
		}
	}
}

// dropPending destroys the pending material of a key and of its related keys.
func (t *txn) dropPending(k *Key, id string) {
	for _, each := range t.set(k) {
		materials, changed := t.materials(each), *each
		if i := indexOf(materials, id); i >= 0 {
			t.drop(tableMaterials, materials[i])
			materials = slices.Delete(materials, i, i+1)
		}
		changed.associate(materials)
		t.put(tableKeys, &changed)
	}
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
	m, ok := t.state.get(tableMaterials, k.MaterialOwner(), c.MaterialID[:materialPrefix]).(*Material)
	if !ok || m.ID != c.MaterialID || m.ValidTo != c.ValidTo || t.meta.Time < c.ValidTo {
		return &kms.Error{Code: kms.CodeConflict, Message: "No such key material of " + k.ARN() + " has expired."}, nil
	}
	t.deleteMaterial(k, m.ID)
	return nil, nil
}

// RotateImportedKey makes the pending material of a key the current one, of all that are
// related to it, too, which RotateKeyOnDemand asked for. Due is as RotateKey's.
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
	if !ok || at != c.Due || kind != kms.RotationOnDemand || k.PendingMaterial != c.MaterialID || !t.pendingEverywhere(k) {
		return &kms.Error{Code: kms.CodeConflict, Message: "No such rotation of " + k.ARN() + " is due."}, nil
	}
	for _, each := range t.set(k) {
		materials, rotated := t.materials(each), *each
		m := *materials[indexOf(materials, c.MaterialID)]
		m.Pending, m.Rotated, m.RotationType = false, t.meta.Time, kind
		rotated.CurrentMaterial = m.ID
		rotated.OnDemandStart = 0
		t.putMaterial(&rotated, &m)
	}
	return nil, nil
}

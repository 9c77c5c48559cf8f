package fsm

import "github.com/kmsd/kmsd/kms"

// Multi-Region keys of origin EXTERNAL share no material: each of them has its own records
// of the set's materials, and imports the same bytes (AWS: "Importing key material",
// multi-Region keys). All keys of a set know the same materials, under the same ids, with
// the same numbers and descriptions; what differs is whether a material is there, and
// when it expires. The primary brings new ones.

// set returns the keys that share a fate: the related keys of a multi-Region key, or the
// key alone.
func (t *txn) set(k *Key) []*Key {
	if related := t.related(k); len(related) > 0 {
		return related
	}
	return []*Key{k}
}

// awaited is a material as a related key in another Region knows it before it imports it.
func (m *Material) awaited(region string) *Material {
	out := *m
	out.Region, out.Sealed, out.ValidTo = region, nil, 0
	return &out
}

// announce lets the related keys know a material that k imports, and its description.
func (t *txn) announce(k *Key, m *Material) {
	for _, other := range t.related(k) {
		if other.Region == k.Region {
			continue
		}
		known, changed := m.awaited(other.Region), *other
		if have, ok := t.state.get(tableMaterials, other.MaterialOwner(), m.ID[:materialPrefix]).(*Material); ok {
			if have.Description == m.Description {
				continue
			}
			described := *have
			described.Description = m.Description
			known = &described
		}
		t.putMaterial(&changed, known)
	}
}

// awaitMaterials lets a new replica wait for the materials of its primary.
func (t *txn) awaitMaterials(replica, primary *Key) {
	if primary.Origin != kms.OriginExternal {
		return
	}
	materials := t.materials(primary)
	for i, m := range materials {
		materials[i] = m.awaited(replica.Region)
		t.put(tableMaterials, materials[i])
	}
	replica.State = kms.PendingImport
	replica.associate(materials)
	t.holdRotation(primary)
}

// pendingEverywhere tells whether a key has a pending material which all keys of its set
// have imported.
func (t *txn) pendingEverywhere(k *Key) bool {
	for _, each := range t.set(k) {
		materials := t.materials(each)
		if i := indexOf(materials, k.PendingMaterial); i < 0 || !materials[i].Present() {
			return false
		}
	}
	return true
}

// holdRotation ends a rotation on demand that was asked for and lacks its material in a
// Region.
func (t *txn) holdRotation(k *Key) {
	for _, other := range t.related(k) {
		if other.OnDemandStart != 0 {
			held := *other
			held.OnDemandStart = 0
			t.put(tableKeys, &held)
		}
	}
}

// PendingEverywhere tells whether a key has a pending imported material which all keys of
// its set have imported.
func (v *View) PendingEverywhere(k *Key) bool {
	set := v.Related(k)
	if len(set) == 0 {
		set = []*Key{k}
	}
	for _, each := range set {
		if m, ok := v.Material(each.MaterialOwner(), k.PendingMaterial); !ok || !m.Present() {
			return false
		}
	}
	return true
}

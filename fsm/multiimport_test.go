package fsm_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// createImportedMRK returns the arguments of a multi-Region primary in us-east-1 that
// waits for its import.
func createImportedMRK() fsm.CreateKey {
	c := createMRK()
	c.Key.Origin, c.Key.State, c.Key.CurrentMaterial, c.Material = kms.OriginExternal, kms.PendingImport, "", nil
	return c
}

// mrkMaterial is the id of the n-th material.
func mrkMaterial(n int) string { return materialID(fmt.Sprint("imported ", n)) }

func importMRK(region string, n int, fresh bool, description string) fsm.ImportKeyMaterial {
	c := fsm.ImportKeyMaterial{Account: account, Region: region, KeyID: mrkID, New: fresh,
		Material: fsm.Material{KeyID: mrkID, ID: mrkMaterial(n), Created: start, Sealed: fmt.Appendf(nil, "%s %d", region, n)}}
	if description != "" {
		c.Description = &description
	}
	return c
}

func forgetMRK(region string, n int) fsm.DeleteImportedKeyMaterial {
	return fsm.DeleteImportedKeyMaterial{Account: account, Region: region, KeyID: mrkID, MaterialID: mrkMaterial(n)}
}

func rotateImportedMRK(region string, n int, due int64) fsm.RotateImportedKey {
	return fsm.RotateImportedKey{Account: account, Region: region, KeyID: mrkID, MaterialID: mrkMaterial(n), Due: due}
}

// populatedImports is a set whose keys import their materials.
func populatedImports(t *testing.T) *driver {
	d := started(t, nil)
	d.ok(createImportedMRK())
	d.ok(importMRK(region, 1, true, "the first"))
	d.ok(replicate(region, "eu-west-1"))
	d.ok(importMRK(region, 2, true, ""))
	d.ok(importMRK("eu-west-1", 1, false, ""))
	return d
}

// TestImportedSet tells what the keys of a set share of imported materials: all but the
// bytes and when they expire.
func TestImportedSet(t *testing.T) {
	t.Parallel()
	const us, eu = "us-east-1", "eu-west-1"
	d := started(t, nil)
	d.ok(createImportedMRK())
	d.refused(replicate(us, eu), kms.CodeInvalidState, mrkARN(us)+" is pending import.")
	d.ok(importMRK(us, 1, true, "the first"))
	d.ok(replicate(us, eu))
	if k := d.mrk(eu); k.State != kms.PendingImport || k.CurrentMaterial != mrkMaterial(1) || !k.Incomplete {
		t.Errorf("the new replica: %+v", k)
	}
	material := func(region string, n int) *fsm.Material {
		t.Helper()
		k := d.mrk(region)
		m, ok := d.View().Material(k.MaterialOwner(), mrkMaterial(n))
		if !ok {
			t.Fatalf("%s does not know material %d", region, n)
		}
		return m
	}
	if m := material(eu, 1); m.Present() || m.Description != "the first" {
		t.Errorf("the replica waits for %+v", m)
	}
	d.refused(importMRK(eu, 1, true, ""), kms.CodeUnsupportedOperation, mrkARN(eu)+" is a multi-region replica key.")
	d.refused(importMRK(eu, 2, false, ""), kms.CodeIncorrectKeyMaterial, "")
	expiring := importMRK(eu, 1, false, "renamed")
	expiring.Material.ValidTo = start + day
	d.ok(expiring)
	if here, there := material(us, 1), material(eu, 1); here.Description != "renamed" || here.ValidTo != 0 || there.ValidTo != start+day || string(there.Sealed) != "eu-west-1 1" || string(here.Sealed) != "us-east-1 1" {
		t.Errorf("imported: %+v and %+v", here, there)
	}
	if k := d.mrk(eu); k.State != kms.Enabled || k.ValidTo != start+day || d.mrk(us).ValidTo != 0 {
		t.Errorf("after the replica's import: %+v", k)
	}

	noneReady := "No available key material pending rotation for the key: " + mrkARN(us) + "."
	d.ok(importMRK(us, 2, true, ""))
	d.refused(onDemandMRK(us), kms.CodeInvalidState, noneReady)
	d.ok(importMRK(eu, 2, false, ""))
	d.ok(onDemandMRK(us))
	d.ok(forgetMRK(eu, 2)) // of the replica alone, and with it what was asked for
	if k := d.mrk(us); k.OnDemandStart != 0 || k.State != kms.Enabled || k.PendingMaterial != mrkMaterial(2) || d.mrk(eu).State != kms.Enabled {
		t.Errorf("after the replica has lost the pending material: %+v", k)
	}
	d.refused(onDemandMRK(us), kms.CodeInvalidState, noneReady)
	d.ok(importMRK(eu, 2, false, ""))
	d.ok(onDemandMRK(us))
	asked := d.time
	d.ok(replicate(us, "ap-south-1")) // it waits for both materials
	d.refused(rotateImportedMRK(us, 2, asked), kms.CodeConflict, "No such rotation of "+mrkARN(us)+" is due.")
	d.ok(importMRK("ap-south-1", 2, false, ""))
	d.ok(importMRK("ap-south-1", 1, false, ""))
	d.ok(onDemandMRK(us))
	d.ok(rotateImportedMRK(us, 2, d.time))
	for _, region := range mrkRegions {
		if k := d.mrk(region); k.CurrentMaterial != mrkMaterial(2) || k.PendingMaterial != "" || k.State != kms.Enabled || material(region, 2).RotationType != kms.RotationOnDemand {
			t.Errorf("%s has rotated to %+v", region, k)
		}
	}

	d.ok(importMRK(us, 3, true, ""))
	d.ok(importMRK(eu, 3, false, ""))
	d.ok(forgetMRK(us, 3)) // of all
	k := d.mrk(eu)
	if _, ok := d.View().Material(k.MaterialOwner(), mrkMaterial(3)); ok || k.PendingMaterial != "" {
		t.Error("the primary's pending material has stayed in the replica")
	}
	d.ok(forgetMRK(us, 1))
	if d.mrk(us).State != kms.PendingImport || d.mrk(eu).State != kms.Enabled || !material("ap-south-1", 1).Present() {
		t.Error("a loss of the primary's material reached its replicas")
	}
}

// importedSet is what AWS's guide says of the materials of a set.
type importedSet struct {
	primary string
	present map[string]map[int]bool // by Region of a key, and material
	owned   map[int]bool
	pending int // 0 is none
	current int
	asked   bool
	rotated int
}

func (m *importedSet) enabled(region string) bool {
	if m.present[region] == nil {
		return false
	}
	for n := range m.owned {
		if !m.present[region][n] {
			return false
		}
	}
	return len(m.owned) > 0
}

func (m *importedSet) ready() bool {
	for _, have := range m.present {
		if !have[m.pending] {
			return false
		}
	}
	return m.pending != 0
}

func (m *importedSet) step(t *testing.T, d *driver, r *rand.Rand) {
	at, to, n := mrkRegions[r.IntN(3)], mrkRegions[r.IntN(3)], 1+r.IntN(5)
	primary, enabled, exists := at == m.primary, m.enabled(at), m.present[at] != nil
	try := func(allowed bool, args fsm.Args) bool {
		t.Helper()
		if res := d.do(args); (res.Err == nil) != allowed {
			t.Fatalf("%+v: got %v, the model says %t: %+v", args, res.Err, allowed, m)
		}
		return allowed
	}
	switch r.IntN(9) {
	case 0:
		if at != to && try(primary && enabled && m.present[to] == nil, replicate(at, to)) {
			m.present[to] = map[int]bool{}
		}
	case 1:
		if at != to && try(primary && enabled && m.enabled(to), promote(at, to)) {
			m.primary = to
		}
	case 2, 3, 4:
		m.imports(try, at, n, r.IntN(3) == 0)
	case 5:
		if try(exists, forgetMRK(at, n)) {
			m.lose(at, n)
		}
	case 6:
		if try(primary && enabled && m.ready() && !m.asked && m.rotated < 25, onDemandMRK(at)) {
			m.asked, m.rotated = true, m.rotated+1
		}
	case 7:
		due := d.mrk(m.primary).OnDemandStart
		if try(primary && enabled && m.ready() && m.asked, rotateImportedMRK(at, max(m.pending, 1), due)) {
			m.owned[m.pending], m.current, m.pending, m.asked = true, m.pending, 0, false
		}
	case 8:
		if !primary && try(exists, scheduleMRK(at, d.time+1+7*day)) {
			date := d.time + 7*day
			d.till(date + hour).ok(deleteMRK(at, date))
			delete(m.present, at)
		}
	}
	m.asked = m.asked && m.ready()
}

func (m *importedSet) imports(try func(bool, fsm.Args) bool, at string, n int, fresh bool) {
	known := m.owned[n] || m.pending == n
	allowed := m.present[at] != nil
	switch {
	case !allowed:
	case at != m.primary:
		allowed = known && !fresh
	case m.current != 0:
		allowed = known != fresh && (known || m.pending == 0)
	}
	if !try(allowed, importMRK(at, n, fresh, "")) {
		return
	}
	switch {
	case m.current == 0:
		m.current, m.owned[n] = n, true
	case !known:
		m.pending = n
	}
	m.present[at][n] = true
}

func (m *importedSet) lose(at string, n int) {
	delete(m.present[at], n)
	if m.pending != n || at != m.primary {
		return
	}
	m.pending = 0
	for _, have := range m.present {
		delete(have, n)
	}
}

func (m *importedSet) check(t *testing.T, d *driver) {
	t.Helper()
	v := d.View()
	for _, region := range mrkRegions {
		k, ok := v.Key(region, mrkID)
		if ok != (m.present[region] != nil) {
			t.Fatalf("there is a key in %s: %t", region, ok)
		}
		if !ok {
			continue
		}
		if (k.State == kms.Enabled) != m.enabled(region) || k.Replica != (region != m.primary) || (k.PendingMaterial != "") != (m.pending != 0) ||
			m.current != 0 && k.CurrentMaterial != mrkMaterial(m.current) || k.OnDemandStart != 0 != (m.asked && region == m.primary) || v.PendingEverywhere(k) != m.ready() {
			t.Fatalf("%s: the key is %+v, the model %+v", region, k, m)
		}
		have := map[int]bool{}
		for n := 1; n <= 5; n++ {
			rec, known := v.Material(k.MaterialOwner(), mrkMaterial(n))
			if known != (m.owned[n] || m.pending == n) {
				t.Fatalf("%s knows material %d: %t, the model %+v", region, n, known, m)
			}
			if known && rec.Present() {
				have[n] = true
			}
		}
		if !maps.Equal(have, m.present[region]) {
			t.Fatalf("%s has %v, the model %+v", region, have, m)
		}
	}
}

// TestImportedSetModel compares random lives of sets of imported materials with the model,
// with a snapshot in the middle.
func TestImportedSetModel(t *testing.T) {
	t.Parallel()
	rotated := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 11))
		d := started(t, nil)
		d.ok(createImportedMRK())
		m := &importedSet{primary: "us-east-1", present: map[string]map[int]bool{"us-east-1": {}}, owned: map[int]bool{}}
		for n := range 250 {
			m.step(t, d, r)
			m.check(t, d)
			if n == 100 {
				restored := restore(t, persist(t, d.Machine))
				equal(t, restored, d.Machine)
				d.Machine = restored
			}
		}
		rotated += m.rotated
	}
	if rotated < 20 {
		t.Errorf("%d rotations: the sequences prove too little", rotated)
	}
}

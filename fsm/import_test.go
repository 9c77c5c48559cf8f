package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// createImported returns the i-th key as one that waits for its import.
func createImported(i int) fsm.CreateKey {
	c := createKey(i)
	c.Key.Origin, c.Key.State, c.Key.CurrentMaterial, c.Material = kms.OriginExternal, kms.PendingImport, "", nil
	return c
}

// importMaterial imports the n-th material of a key; description "" keeps what there is.
func importMaterial(key, n int, fresh bool, validTo int64, description string) fsm.ImportKeyMaterial {
	c := fsm.ImportKeyMaterial{Account: account, Region: region, KeyID: keyID(key), New: fresh,
		Material: fsm.Material{KeyID: keyID(key), ID: generation(key, n), Created: start, Sealed: fmt.Appendf(nil, "sealed %d", n), ValidTo: validTo}}
	if description != "" {
		c.Description = &description
	}
	return c
}

func deleteMaterial(key, n int) fsm.DeleteImportedKeyMaterial {
	return fsm.DeleteImportedKeyMaterial{Account: account, Region: region, KeyID: keyID(key), MaterialID: generation(key, n)}
}

func expireMaterial(key, n int, validTo int64) fsm.DeleteExpiredKeyMaterial {
	return fsm.DeleteExpiredKeyMaterial{Account: account, Region: region, KeyID: keyID(key), MaterialID: generation(key, n), ValidTo: validTo}
}

func rotateImported(key, n int, due int64) fsm.RotateImportedKey {
	return fsm.RotateImportedKey{Account: account, Region: region, KeyID: keyID(key), MaterialID: generation(key, n), Due: due}
}

// TestImportLife lives through AWS's "Importing key material": the first material, its
// expiry, the same bytes again, a second one and the rotation to it.
func TestImportLife(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createImported(1))
	state := func(want kms.KeyState) {
		t.Helper()
		if k := d.key(1); k.State != want {
			t.Errorf("the key is %s, want %s", k.State, want)
		}
	}
	d.ok(importMaterial(1, 1, true, start+day, ""))
	state(kms.Enabled)
	d.refused(importMaterial(1, 1, true, 0, ""), kms.CodeIncorrectKeyMaterial, "")
	d.refused(importMaterial(1, 2, false, 0, ""), kms.CodeIncorrectKeyMaterial, "")
	d.refused(onDemand(1), kms.CodeInvalidState, "No available key material pending rotation for the key: "+keyARN(1)+".")
	late := "No such key material of " + keyARN(1) + " has expired."
	d.refused(expireMaterial(1, 1, start+day), kms.CodeConflict, late)
	if due := d.View().DueExpiries(start+day-1, 9); len(due) != 0 {
		t.Errorf("%d keys expire early", len(due))
	}
	if due := d.View().DueExpiries(start+day, 9); len(due) != 1 {
		t.Errorf("%d keys expire, want 1", len(due))
	}
	d.till(start + day).ok(expireMaterial(1, 1, start+day))
	state(kms.PendingImport)
	if e := d.View().Erasure(); e == nil || e.ModIndex != d.Index() {
		t.Errorf("the expiry is no erasure: %+v", e)
	}
	d.refused(expireMaterial(1, 1, start+day), kms.CodeConflict, late)
	d.ok(importMaterial(1, 1, false, 0, ""))
	state(kms.Enabled)

	d.ok(importMaterial(1, 2, true, 0, ""))
	d.refused(importMaterial(1, 3, true, 0, ""), kms.CodeInvalidState, keyARN(1)+" already has key material pending rotation.")
	d.ok(onDemand(1))
	asked := d.time
	d.refused(rotateImported(1, 2, asked-1), kms.CodeConflict, "No such rotation of "+keyARN(1)+" is due.")
	d.ok(rotateImported(1, 2, asked))
	if k := d.key(1); k.CurrentMaterial != generation(1, 2) || k.OnDemandStart != 0 || k.PendingMaterial != "" {
		t.Errorf("rotated: %+v", k)
	}
	d.ok(deleteMaterial(1, 1))
	state(kms.PendingImport) // also without its earlier material
	d.ok(deleteMaterial(1, 1))
	d.ok(scheduleDeletion(1, d.time+1+7*day))
	d.refused(importMaterial(1, 1, false, 0, ""), kms.CodeInvalidState, keyARN(1)+" is pending deletion.")
	d.ok(deleteMaterial(1, 2))
	state(kms.PendingDeletion)
	d.ok(cancelDeletion(1))
	state(kms.PendingImport)
	d.ok(importMaterial(1, 1, false, 0, ""))
	state(kms.PendingImport)
	d.ok(importMaterial(1, 2, false, 0, ""))
	state(kms.Enabled)
	d.ok(setState(1, false))
	d.ok(importMaterial(1, 2, false, 0, ""))
	state(kms.Disabled)
}

func TestImportOther(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	origin := keyARN(1) + " origin is AWS_KMS which is not valid for this operation."
	for _, args := range []fsm.Args{importMaterial(1, 1, true, 0, ""), deleteMaterial(1, 1), expireMaterial(1, 1, 1), rotateImported(1, 1, 1)} {
		d.refused(args, kms.CodeUnsupportedOperation, origin)
	}
	hmac := createImported(2)
	hmac.Key.Spec, hmac.Key.Usage = kms.HMAC256, kms.GenerateVerifyMac
	d.ok(hmac)
	d.ok(importMaterial(2, 1, true, 0, ""))
	d.refused(importMaterial(2, 2, true, 0, ""), kms.CodeIncorrectKeyMaterial, "")
	signing := createImported(3)
	signing.Key.Spec, signing.Key.Usage = kms.ECCNistP256, kms.SignVerify
	d.ok(signing)
	d.refused(importMaterial(3, 1, true, 0, ""), kms.CodeIncorrectKeyMaterial, "")
	public := importMaterial(3, 1, true, 0, "")
	public.Material.Public = []byte("public key")
	d.ok(public)
	d.ok(deleteMaterial(3, 1))
	if m, ok := d.View().Material(keyID(3), generation(3, 1)); !ok || m.Present() || string(m.Public) != "public key" {
		t.Errorf("the deleted material is %+v", m)
	}
}

// modelKey is what AWS's guide says of a key with imported materials, and no more.
type modelKey struct {
	present, owned map[int]bool // by material; owned are those that belong to the key
	pending        int          // 0 is none
	current        int
	validTo        map[int]int64
}

func (m *modelKey) enabled() bool {
	for n := range m.owned {
		if !m.present[n] {
			return false
		}
	}
	return len(m.owned) > 0
}

// TestImportRandom compares random imports, expiries, deletions and rotations with the
// model.
func TestImportRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 7))
		d := started(t, nil)
		d.ok(createImported(1))
		m := &modelKey{present: map[int]bool{}, owned: map[int]bool{}, validTo: map[int]int64{}}
		for step := range 120 {
			m.step(d, r)
			k := d.key(1)
			if (k.State == kms.Enabled) != m.enabled() || (k.PendingMaterial != "") != (m.pending != 0) ||
				m.current != 0 && k.CurrentMaterial != generation(1, m.current) {
				t.Fatalf("seed %d, step %d: the key is %+v, the model %+v", seed, step, k, m)
			}
		}
	}
}

func (m *modelKey) step(d *driver, r *rand.Rand) {
	n := 1 + r.IntN(4)
	switch r.IntN(5) {
	case 0, 1:
		m.imports(d, n, r.IntN(2) == 0, []int64{0, d.time + 50}[r.IntN(2)])
	case 2:
		d.ok(deleteMaterial(1, n))
		m.lose(n)
	case 3:
		date := m.validTo[n]
		if d.till(d.time + 20); date == 0 {
			date = d.time
		}
		res := d.do(expireMaterial(1, n, date))
		due := m.validTo[n] != 0 && m.validTo[n] <= d.time
		if (res.Err == nil) != due {
			d.t.Fatalf("expiry of %d: %v, the model says %v", n, res.Err, due)
		}
		if due {
			m.lose(n)
		}
	case 4:
		res := d.do(onDemand(1))
		if k := d.key(1); res.Err == nil {
			d.ok(rotateImported(1, m.pending, k.OnDemandStart))
			m.owned[m.pending], m.current, m.pending = true, m.pending, 0
		} else if m.enabled() && m.pending != 0 && k.OnDemandCount < 25 {
			d.t.Fatalf("a rotation was refused: %v", res.Err)
		}
	}
}

func (m *modelKey) imports(d *driver, n int, fresh bool, validTo int64) {
	res := d.do(importMaterial(1, n, fresh, validTo, ""))
	known := m.owned[n] || m.pending == n
	want := known != fresh && (known || m.pending == 0)
	if m.current == 0 {
		want = true
	}
	if (res.Err == nil) != want {
		d.t.Fatalf("import of %d (new %v): %v, the model says %v: %+v", n, fresh, res.Err, want, m)
	}
	if !want {
		return
	}
	switch {
	case m.current == 0:
		m.current, m.owned[n] = n, true
	case !known:
		m.pending = n
	}
	m.present[n], m.validTo[n] = true, validTo
}

func (m *modelKey) lose(n int) {
	delete(m.present, n)
	delete(m.validTo, n)
	if m.pending == n {
		m.pending = 0
	}
}

package service_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// importKey makes a key of origin EXTERNAL.
func importKey(t testing.TB, s *testkit.Solo) string {
	t.Helper()
	return keyID(s.Call(t, testkit.Root, "CreateKey", obj{"Origin": "EXTERNAL"}))
}

// importMaterial brings a key a material, nobody's, that ends on a date, or never for the
// zero time.
func importMaterial(t testing.TB, s *testkit.Solo, id, digit string, isNew bool, ends time.Time) (materialID string) {
	t.Helper()
	m := fsm.Material{KeyID: id, ID: strings.Repeat(digit, 64), Created: s.Now().UnixMilli(), Sealed: []byte{1}}
	if !ends.IsZero() {
		m.ValidTo = ends.UnixMilli()
	}
	s.Apply(t, fsm.ImportKeyMaterial{Account: testkit.Account, Region: testkit.Region, KeyID: id, Material: m, New: isNew})
	return m.ID
}

// Imported material ends when the majority's clocks say so, once, with a record; a key
// without one that ends is left alone (CloudTrail: DeleteExpiredKeyMaterial).
func TestImportedMaterialExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		known := false
		s.Clocks = func() (time.Time, bool) { return s.Now(), known }
		id, other := importKey(t, s), importKey(t, s)
		material := importMaterial(t, s, id, "a", true, s.Now().Add(day))
		importMaterial(t, s, other, "b", true, time.Time{})
		stop := leads(t, s, s.Service)
		defer func() { stop() }()
		wantEvents := func(want int) {
			t.Helper()
			if n := len(s.Events(t, "DeleteExpiredKeyMaterial")); n != want {
				t.Fatalf("%d materials have expired, want %d", n, want)
			}
		}
		pass(s, 2*day)
		wantEvents(0) // while the clocks are not known
		stop()
		known = true
		stop = leads(t, s, s.Service)
		pass(s, 0)
		pass(s, day)
		wantEvents(1)
		wantSame(t, stateOf(t, s, id), kms.PendingImport)
		wantSame(t, stateOf(t, s, other), kms.Enabled)
		m, ok := s.Machine.View().Material(id, material)
		if !ok || m.Present() {
			t.Error("the secret of the expired material is still there")
		}
		wantSame(t, s.Events(t, "DeleteExpiredKeyMaterial")[0]["serviceEventDetails"], any(obj{"keyId": id, "keyMaterialId": material}))
	})
}

// Renewed before its end, the material stays.
func TestRenewedMaterialStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		id := importKey(t, s)
		importMaterial(t, s, id, "a", true, s.Now().Add(day))
		defer leads(t, s, s.Service)()
		pass(s, day-time.Hour)
		importMaterial(t, s, id, "a", false, s.Now().Add(10*day))
		pass(s, 5*day)
		wantSame(t, stateOf(t, s, id), kms.Enabled)
		pass(s, 6*day)
		wantSame(t, stateOf(t, s, id), kms.PendingImport)
	})
}

// A rotation on demand of imported material goes to the one that waits for it.
func TestImportedMaterialRotates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		id := importKey(t, s)
		first, second := importMaterial(t, s, id, "a", true, time.Time{}), importMaterial(t, s, id, "b", true, time.Time{})
		wantSame(t, key(t, s, id).CurrentMaterial, first)
		rotateOnDemand(t, s, id)
		stop := leads(t, s, s.Service)
		pass(s, 0)
		stop()
		wantSame(t, key(t, s, id).CurrentMaterial, second)
		wantSame(t, s.Events(t, "RotateKey")[0]["serviceEventDetails"], any(obj{
			"rotationType": "ON_DEMAND", "keyOrigin": "EXTERNAL", "previousKeyMaterialId": first, "currentKeyMaterialId": second, "keyId": id,
		}))
	})
}

package fsm_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// TestErasure: the last command that destroyed secrets is remembered, with its
// time, and says whose they were.
func TestErasure(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	erased := func(what string, r fsm.Result, want ...string) {
		t.Helper()
		if r.Err != nil || r.Conflict || !slices.Equal(r.Erased, want) {
			t.Errorf("%s: got %+v, want %v erased", what, r, want)
		}
		got := d.View().Erasure()
		if diff := cmp.Diff(got, &fsm.Erasure{Versioned: fsm.Versioned{ModIndex: r.Index}, Time: d.time}); diff != "" {
			t.Errorf("%s: -got+want:\n%s", what, diff)
		}
	}
	d.ok(createKey(1))
	d.ok(createKey(2))
	if e := d.View().Erasure(); e != nil {
		t.Errorf("before any: got %+v", e)
	}
	erased("a root credential", d.do(resetRoot("AKIAI44QH8DHBEXAMPLE")), "AKIAIOSFODNN7EXAMPLE")

	d.ok(onDemand(1))
	d.ok(rotate(1, 1, kms.RotationOnDemand, d.time))
	date := d.time + 1 + 7*day
	d.ok(scheduleDeletion(1, date))
	d.till(date + hour)
	erased("a key with two materials", d.do(deleteKey(1, date)), keyID(1))

	last := d.View().Erasure()
	refused := d.do(deleteKey(2, date))
	conflict := d.do(resetRoot("AKIAI44QH8DHBEXAMPLE"))
	d.ok(setState(2, false))
	if refused.Err == nil || refused.Erased != nil || !conflict.Conflict || conflict.Erased != nil {
		t.Errorf("a refusal and a conflict: got %+v, %+v", refused, conflict)
	}
	if diff := cmp.Diff(d.View().Erasure(), last); diff != "" {
		t.Errorf("what destroys nothing: -got+want:\n%s", diff)
	}
}

// TestNothingErased: what has no secrets leaves no erasure behind.
func TestNothingErased(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	first := resetRoot("AKIAFIRST")
	first.Account, first.AccessKey.Account = "444455556666", "444455556666"
	d.ok(first) // the account's root user had no credential
	empty := createKey(1)
	empty.Key.Origin, empty.Key.State, empty.Key.CurrentMaterial, empty.Material = kms.OriginExternal, kms.PendingImport, "", nil
	d.ok(empty)
	date := d.time + 1 + 7*day
	d.ok(scheduleDeletion(1, date))
	r := d.till(date + hour).do(deleteKey(1, date))
	if r.Err != nil || r.Erased != nil || d.View().Erasure() != nil {
		t.Errorf("got %+v, %+v", r, d.View().Erasure())
	}
}

package fsm_test

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

func TestOnce(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	key := fsm.ReqKey{1}
	meta := fsm.Meta{RequestID: "first", Audit: []byte("record")}
	first := d.with(key, meta, createKey(1))
	if first.Repeat != nil || first.Index != 2 {
		t.Fatalf("first: got %+v", first)
	}
	digest := d.Digest()
	meta.RequestID = "second"
	second := d.with(key, meta, createKey(2))
	if second.Repeat == nil || second.Index != 2 || second.Repeat.Index != 2 || second.Repeat.RequestID != "first" ||
		!cmp.Equal(second.Repeat.IDs, []string{keyID(1)}) {
		t.Errorf("second: got %+v, want a repeat of index 2", second)
	}
	if d.Digest() != digest {
		t.Error("a repeat changed the state")
	}
	v := d.View()
	if o, ok := v.Once(key); !ok || o.Index != 2 || v.MaxIndex() != 2 || len(v.Reads()) != 0 {
		t.Errorf("Once: got %+v, MaxIndex %d, reads %v", o, v.MaxIndex(), v.Reads())
	}
	if _, ok := v.Once(fsm.ReqKey{2}); ok {
		t.Error("Once finds a request that never was")
	}
}

// TestOnceRepeatBeatsConflict: the first application changed what the retry's
// preconditions name.
func TestOnceRepeatBeatsConflict(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	v := d.View()
	v.Key(region, keyID(1))
	meta := fsm.Meta{Reads: v.Reads()}
	if r := d.with(fsm.ReqKey{1}, meta, setState(1, false)); r.Conflict || r.Repeat != nil {
		t.Fatalf("first: got %+v", r)
	}
	if r := d.with(fsm.ReqKey{1}, meta, setState(1, false)); r.Repeat == nil {
		t.Errorf("retry: got %+v, want a repeat", r)
	}
	if r := d.with(fsm.ReqKey{2}, meta, setState(1, true)); !r.Conflict {
		t.Errorf("another request: got %+v, want a conflict", r)
	}
}

// TestOnceStoresAppliedOnly: refusals and conflicts may be tried again.
func TestOnceStoresAppliedOnly(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	if r := d.with(fsm.ReqKey{1}, fsm.Meta{}, setState(1, true)); r.Err == nil {
		t.Fatalf("got %+v, want a refusal", r)
	}
	stale := fsm.Meta{Reads: []fsm.Read{{Table: 8, ID: region + "/" + keyID(1), ModIndex: 1}}}
	if r := d.with(fsm.ReqKey{1}, stale, createKey(1)); !r.Conflict {
		t.Fatalf("got %+v, want a conflict", r)
	}
	if r := d.with(fsm.ReqKey{1}, fsm.Meta{}, createKey(1)); r.Repeat != nil || r.Err != nil || r.Conflict {
		t.Errorf("got %+v, want success", r)
	}
	for range 2 { // the zero key is never remembered
		if r := d.with(fsm.ReqKey{}, fsm.Meta{}, setState(1, true)); r.Repeat != nil {
			t.Errorf("zero key: got %+v, want no repeat", r)
		}
	}
}

func TestOnceAge(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	at := func(time int64, key byte) fsm.Result {
		d.time = time - 1
		return d.with(fsm.ReqKey{key}, fsm.Meta{}, fsm.PruneAudit{})
	}
	at(start+1000, 1)
	at(start+2000, 2)
	if r := at(start+1000+fsm.OnceAge, 1); r.Repeat == nil {
		t.Errorf("after 15 minutes: got %+v, want a repeat", r)
	}
	if r := at(start+1001+fsm.OnceAge, 1); r.Repeat != nil {
		t.Errorf("after 15 minutes and 1 ms: got %+v, want a new application", r)
	}
	if r := at(start, 2); r.Repeat == nil {
		t.Errorf("with a clock behind: got %+v, want a repeat", r)
	}
	at(start+10*fsm.OnceAge, 3)
	if n := d.TableSizes()["once"]; n != 1 {
		t.Errorf("entries after a quiet time: got %d, want 1", n)
	}
	if _, ok := d.View().Once(fsm.ReqKey{1}); ok {
		t.Error("View.Once finds an expired entry")
	}
}

// TestOnceSweep: one command removes 64 expired entries at most, and those that
// it leaves are not found.
func TestOnceSweep(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	for i := range 200 {
		d.with(fsm.ReqKey{1, byte(i)}, fsm.Meta{}, fsm.PruneAudit{})
	}
	d.time += 2 * fsm.OnceAge
	d.ok(fsm.PruneAudit{})
	if n := d.TableSizes()["once"]; n != 136 {
		t.Errorf("entries after one command: got %d, want 136", n)
	}
	if r := d.with(fsm.ReqKey{1, 199}, fsm.Meta{}, fsm.PruneAudit{}); r.Repeat != nil {
		t.Errorf("expired entry: got %+v, want a new application", r)
	}
}

// TestOnceCount: the oldest entries go when there are more than 200,000.
func TestOnceCount(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	keyOf := func(i int) (k fsm.ReqKey) {
		binary.BigEndian.PutUint64(k[8:], uint64(i+1))
		return k
	}
	d.BulkOnce(199_990, keyOf)
	for i := range 30 {
		d.with(keyOf(199_990+i), fsm.Meta{}, fsm.PruneAudit{})
	}
	if n := d.TableSizes()["once"]; n != 200_000 {
		t.Errorf("entries: got %d, want 200000", n)
	}
	v := d.View()
	for i, want := range map[int]bool{0: false, 19: false, 20: true, 200_019: true} {
		if _, ok := v.Once(keyOf(i)); ok != want {
			t.Errorf("entry %d: found %v, want %v", i, ok, want)
		}
	}
}

func TestPendingAudit(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.with(fsm.ReqKey{1}, fsm.Meta{Audit: []byte("created")}, createKey(1)) // index 2
	d.with(fsm.ReqKey{2}, fsm.Meta{Audit: []byte("refused")}, setState(9, true))
	d.with(fsm.ReqKey{1}, fsm.Meta{Audit: []byte("repeated")}, createKey(1))
	d.with(fsm.ReqKey{3}, fsm.Meta{Audit: []byte("conflicted"), Reads: []fsm.Read{{Table: 5, ID: account, ModIndex: 99}}}, createKey(2))
	d.ok(setState(1, false)) // internal: no record
	d.with(fsm.ReqKey{4}, fsm.Meta{Audit: []byte("enabled")}, setState(1, true))

	v := d.View()
	want := []fsm.PendingAudit{
		{Index: 2, Record: []byte("created")},
		{Index: 3, Record: []byte("refused"), Err: &kms.Error{Code: kms.CodeNotFound, Message: "Key '" + keyARN(9) + "' does not exist"}},
		{Index: 7, Record: []byte("enabled")},
	}
	if diff := cmp.Diff(v.PendingAudit(0, 10), want); diff != "" {
		t.Errorf("-got+want:\n%s", diff)
	}
	if diff := cmp.Diff(v.PendingAudit(2, 1), want[1:2]); diff != "" {
		t.Errorf("one after 2: -got+want:\n%s", diff)
	}
	if v.MaxIndex() != 0 || len(v.Reads()) != 0 {
		t.Errorf("MaxIndex %d, reads %v: want none", v.MaxIndex(), v.Reads())
	}
	d.with(fsm.ReqKey{}, fsm.Meta{Recorded: []uint64{2, 2, 5, 7}}, fsm.PruneAudit{})
	if diff := cmp.Diff(d.View().PendingAudit(0, 10), want[1:2]); diff != "" {
		t.Errorf("after pruning: -got+want:\n%s", diff)
	}
	// What is durable is durable, whatever becomes of the command that says so.
	d.with(fsm.ReqKey{4}, fsm.Meta{Recorded: []uint64{3}}, setState(1, true))
	if p := d.View().PendingAudit(0, 10); len(p) != 0 {
		t.Errorf("after a repeat that carried the index: got %v, want none", p)
	}
}

// TestRefusalLeavesAuditOnly compares all tables before and after a refusal.
func TestRefusalLeavesAuditOnly(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	before := d.TableDigests()
	r := d.with(fsm.ReqKey{1}, fsm.Meta{Audit: []byte("record")}, setState(1, true))
	after := d.TableDigests()
	if r.Err == nil || before["pendingAudit"] == after["pendingAudit"] {
		t.Fatalf("got %+v, want a refusal with a pending record", r)
	}
	before["pendingAudit"] = after["pendingAudit"]
	if diff := cmp.Diff(after, before); diff != "" {
		t.Errorf("-got+want:\n%s", diff)
	}
}

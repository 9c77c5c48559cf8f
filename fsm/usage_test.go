package fsm_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
)

// used returns a use of the i-th key of the tests.
func used(i int, operation string, at int64, event string) fsm.Usage {
	return fsm.Usage{Region: region, KeyID: keyID(i), Operation: operation, Time: at, EventID: event, RequestID: "request of " + event}
}

func recordUsage(uses ...fsm.Usage) fsm.RecordUsage { return fsm.RecordUsage{Entries: uses} }

// wantUsed compares the known use of the i-th key but for its index.
func wantUsed(t *testing.T, m *fsm.Machine, i int, want *fsm.Usage) {
	t.Helper()
	got, exists := m.View().Usage(region, keyID(i))
	if got != nil {
		plain := *got
		plain.ModIndex = 0
		got = &plain
	}
	if !exists || !cmp.Equal(got, want) {
		t.Errorf("use of key %d: got %+v, %v, want %+v", i, got, exists, want)
	}
}

func TestRecordUsage(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createKey(2))
	wantUsed(t, d.Machine, 1, nil)
	first, other := used(1, "Encrypt", 5000, "e1"), used(2, "Decrypt", 4000, "e2")
	d.ok(recordUsage(first, other))
	wantUsed(t, d.Machine, 1, &first)
	wantUsed(t, d.Machine, 2, &other)
	for _, tt := range []struct {
		name string
		use  fsm.Usage
		kept bool
	}{
		{"an earlier one", used(1, "Decrypt", 4999, "e9"), false},
		{"the same one", used(1, "Encrypt", 5000, "e1"), false},
		{"one of the same time and a smaller event", used(1, "Decrypt", 5000, "e0"), false},
		{"one of the same time and a greater event", used(1, "Decrypt", 5000, "e3"), true},
		{"a later one", used(1, "ReEncrypt", 5001, "e0"), true},
	} {
		want := first
		if tt.kept {
			want, first = tt.use, tt.use
		}
		before := d.TableDigests()["usage"]
		d.ok(recordUsage(tt.use))
		wantUsed(t, d.Machine, 1, &want)
		if changed := d.TableDigests()["usage"] != before; changed != tt.kept {
			t.Errorf("%s: the table changed: %v, want %v", tt.name, changed, tt.kept)
		}
	}
}

// In whichever order uses arrive, the same remains.
func TestRecordUsageInAnyOrder(t *testing.T) {
	t.Parallel()
	uses := []fsm.Usage{used(1, "Encrypt", 7, "b"), used(1, "Decrypt", 7, "c"), used(1, "Sign", 6, "d"), used(1, "Verify", 7, "a")}
	for shift := range uses {
		d := started(t, nil)
		d.ok(createKey(1))
		for i := range uses {
			d.ok(recordUsage(uses[(i+shift)%len(uses)]))
		}
		wantUsed(t, d.Machine, 1, &uses[1])
	}
}

// Uses of keys that do not exist, here or in this Region, are passed over, the
// others of the command are kept.
func TestRecordUsageOfNoKey(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(2))
	elsewhere := used(2, "Encrypt", 5, "e")
	elsewhere.Region = "eu-west-1"
	known := used(2, "Decrypt", 4, "e")
	d.ok(recordUsage(elsewhere, used(1, "Encrypt", 5, "e"), known))
	wantUsed(t, d.Machine, 2, &known)
	if n := d.TableSizes()["usage"]; n != 1 {
		t.Errorf("%d uses are kept, want 1", n)
	}
	for what, id := range map[string][2]string{"a key of another Region": {"eu-west-1", keyID(2)}, "no key": {region, keyID(1)}} {
		if u, exists := d.View().Usage(id[0], id[1]); u != nil || exists {
			t.Errorf("%s: got %+v, %v", what, u, exists)
		}
	}
}

// A deleted key's use goes with it; another key's stays.
func TestDeletedKeysUsage(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	for i := 1; i <= 2; i++ {
		d.ok(createKey(i))
	}
	gone, kept := used(1, "Encrypt", 5, "e"), used(2, "Encrypt", 5, "e")
	d.ok(recordUsage(gone, kept))
	date := d.time + 1 + 7*day
	d.ok(scheduleDeletion(1, date))
	wantUsed(t, d.Machine, 1, &gone)
	d.time = date + hour
	d.ok(deleteKey(1, date))
	wantUsed(t, d.Machine, 2, &kept)
	if n := d.TableSizes()["usage"]; n != 1 {
		t.Errorf("%d uses are kept, want 1", n)
	}
	d.ok(recordUsage(gone)) // what a node gathered before
	if n := d.TableSizes()["usage"]; n != 1 {
		t.Errorf("the use of a deleted key came back: %d uses, want 1", n)
	}
}

// A look at a key's use decides nothing and waits for nothing.
func TestViewUsage(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(recordUsage(used(1, "Encrypt", 5, "e")))
	v := d.View()
	v.Usage(region, keyID(1))
	v.Usage(region, keyID(2))
	if v.MaxIndex() != 0 || len(v.Reads()) != 0 {
		t.Errorf("MaxIndex %d, reads %v; want none", v.MaxIndex(), v.Reads())
	}
	if u, exists := v.Usage("", region+"/"+keyID(1)); u != nil || exists {
		t.Errorf("shifted parts: got %+v, %v", u, exists)
	}
}

func TestRecordUsageRefuses(t *testing.T) {
	t.Parallel()
	change := func(f func(*fsm.Usage)) fsm.RecordUsage {
		u := used(1, "Encrypt", 5, "e")
		f(&u)
		return recordUsage(u)
	}
	many := make([]fsm.Usage, fsm.MaxUsages+1)
	for i := range many {
		many[i] = used(i, "Encrypt", 5, "e")
	}
	one := used(1, "Encrypt", 5, "e")
	for name, c := range map[string]fsm.RecordUsage{
		"nothing":          {},
		"too many":         recordUsage(many...),
		"twice":            recordUsage(one, one),
		"out of order":     recordUsage(used(2, "Encrypt", 5, "e"), one),
		"key id":           change(func(u *fsm.Usage) { u.KeyID = "x" }),
		"Region":           change(func(u *fsm.Usage) { u.Region = "" }),
		"no operation":     change(func(u *fsm.Usage) { u.Operation = "" }),
		"long operation":   change(func(u *fsm.Usage) { u.Operation = strings.Repeat("x", 65) }),
		"long event id":    change(func(u *fsm.Usage) { u.EventID = strings.Repeat("x", 65) }),
		"long request id":  change(func(u *fsm.Usage) { u.RequestID = strings.Repeat("x", 65) }),
		"not UTF-8":        change(func(u *fsm.Usage) { u.EventID = "\xff" }),
		"negative time":    change(func(u *fsm.Usage) { u.Time = -1 }),
		"index":            change(func(u *fsm.Usage) { u.ModIndex = 1 }),
		"the second alone": recordUsage(one, fsm.Usage{Region: region, KeyID: keyID(2)}),
	} {
		if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, c); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// The longest uses of the longest command fit, with the longest list of durable
// records beside them.
func TestRecordUsageFits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 64)
	c := fsm.RecordUsage{}
	for i := range fsm.MaxUsages {
		c.Entries = append(c.Entries, fsm.Usage{
			Region: strings.Repeat("a", 28) + "-b-1", KeyID: keyID(i), Operation: long, Time: 1<<63 - 1, EventID: long, RequestID: long,
		})
	}
	meta := fsm.Meta{Time: start}
	for i := range 512 {
		meta.Recorded = append(meta.Recorded, 1<<63+uint64(i))
	}
	if _, err := fsm.NewCommand(fsm.ReqKey{}, meta, c); err != nil {
		t.Error(err)
	}
}

func TestUsageOrder(t *testing.T) {
	t.Parallel()
	a, b := used(1, "Encrypt", 5, "a"), used(1, "Encrypt", 5, "b")
	later := used(1, "Encrypt", 6, "0")
	for _, pair := range [][2]fsm.Usage{{b, a}, {later, a}, {later, b}} {
		if !pair[0].After(&pair[1]) || pair[1].After(&pair[0]) || pair[0].After(&pair[0]) {
			t.Errorf("%+v is not after %+v alone", pair[0], pair[1])
		}
	}
	east, west := used(2, "Encrypt", 1, "a"), used(1, "Encrypt", 1, "a")
	west.Region = "us-west-1"
	if a.Compare(&east) >= 0 || east.Compare(&west) >= 0 || west.Compare(&a) <= 0 || a.Compare(&b) != 0 {
		t.Errorf("%+v, %+v and %+v are out of order", a, east, west)
	}
}

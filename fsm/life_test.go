package fsm_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

func scheduleDeletion(key int, date int64) fsm.ScheduleKeyDeletion {
	return fsm.ScheduleKeyDeletion{Account: account, Region: region, KeyID: keyID(key), Window: 7, DeletionDate: date}
}

func cancelDeletion(key int) fsm.CancelKeyDeletion {
	return fsm.CancelKeyDeletion{Account: account, Region: region, KeyID: keyID(key)}
}

func deleteKey(key int, date int64) fsm.DeleteKey {
	return fsm.DeleteKey{Account: account, Region: region, KeyID: keyID(key), DeletionDate: date}
}

func tagKey(key int, pairs ...string) fsm.TagKey {
	c := fsm.TagKey{Account: account, Region: region, KeyID: keyID(key)}
	for pair := range slices.Chunk(pairs, 2) {
		c.Tags = append(c.Tags, fsm.Tag{Key: pair[0], Value: pair[1]})
	}
	return c
}

func untagKey(key int, keys ...string) fsm.UntagKey {
	return fsm.UntagKey{Account: account, Region: region, KeyID: keyID(key), Keys: keys}
}

func rotateEvery(key int, days uint16) fsm.SetKeyRotation {
	return fsm.SetKeyRotation{Account: account, Region: region, KeyID: keyID(key), Period: days}
}

func onDemand(key int) fsm.RotateKeyOnDemand {
	return fsm.RotateKeyOnDemand{Account: account, Region: region, KeyID: keyID(key)}
}

// rotate returns the n-th rotation of a key.
func rotate(key, n int, kind kms.RotationType, due int64) fsm.RotateKey {
	return fsm.RotateKey{Account: account, Region: region, KeyID: keyID(key), Type: kind, Due: due,
		Material: fsm.Material{KeyID: keyID(key), ID: generation(key, n), Created: start, Sealed: fmt.Appendf(nil, "sealed %d", n)}}
}

// generation is the id of the material of a key's n-th rotation.
func generation(key, n int) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%d of %s", n, keyID(key)))
	return hex.EncodeToString(h[:])
}

// key returns the i-th key of the tests.
func (d *driver) key(i int) fsm.Key {
	d.t.Helper()
	k, ok := d.View().Key(region, keyID(i))
	if !ok {
		d.t.Fatalf("there is no key %d", i)
	}
	return *k
}

// till lets the next command carry the time.
func (d *driver) till(time int64) *driver {
	d.time = time - 1
	return d
}

// TestDeletion lives through the states of AWS's "Deleting AWS KMS keys": a
// waiting period, and an end that is neither early nor half.
func TestDeletion(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	sizes := d.TableSizes()
	for i := 1; i <= 2; i++ {
		d.ok(createKey(i))
		d.ok(createAlias(fmt.Sprint("of", i), i))
	}
	date := d.time + 1 + 7*day
	d.refused(scheduleDeletion(1, date-1), kms.CodeValidation, "The deletion date lies within the waiting period.")
	date = d.time + 1 + 7*day
	d.ok(scheduleDeletion(1, date))
	if k := d.key(1); k.State != kms.PendingDeletion || k.DeletionDate != date || k.PendingWindow != 7 {
		t.Errorf("scheduled: got %+v", k)
	}

	pending := keyARN(1) + " is pending deletion."
	for _, args := range []fsm.Args{
		scheduleDeletion(1, date+30*day), setState(1, true), setState(1, false), createAlias("new", 1), tagKey(1, "a", "b"), untagKey(1, "team"),
		rotateEvery(1, 90), rotateEvery(1, 0), onDemand(1),
		fsm.SetKeyDescription{Account: account, Region: region, KeyID: keyID(1), Description: "x"},
		deleteKey(1, date), deleteKey(1, date-1),
	} {
		d.refused(args, kms.CodeInvalidState, pending)
	}
	d.till(date+hour-1).refused(deleteKey(1, date), kms.CodeInvalidState, pending)
	d.refused(deleteKey(1, date-day), kms.CodeInvalidState, pending)
	d.ok(deleteKey(1, date))

	v := d.View()
	if _, ok := v.Key(region, keyID(1)); ok {
		t.Error("the key is still there")
	}
	if _, ok := v.Material(keyID(1), materialID(keyID(1))); ok {
		t.Error("the material is still there")
	}
	if _, ok := v.Alias(account, region, "alias/of1"); ok {
		t.Error("the alias is still there")
	}
	if tags := v.Tags(region, keyID(1)); tags != nil {
		t.Errorf("tags %v are still there", tags)
	}
	if _, ok := v.PolicyText(sha256.Sum256([]byte(policy1))); !ok {
		t.Error("the policy that another key has is gone")
	}
	d.refused(deleteKey(1, date), kms.CodeNotFound, "Key '"+keyARN(1)+"' does not exist")
	if ids, _ := v.ListKeys(account, region, "", 10); !slices.Equal(ids, []string{keyID(2)}) {
		t.Errorf("keys: %v", ids)
	}

	date = d.time + 1 + 7*day
	d.ok(scheduleDeletion(2, date))
	d.till(date + hour).ok(deleteKey(2, date))
	sizes["erasures"] = 1 // that they were destroyed is remembered
	if diff := cmp.Diff(d.TableSizes(), sizes); diff != "" {
		t.Errorf("keys that were made and destroyed left something behind: -got+want:\n%s", diff)
	}
}

func TestCancelDeletion(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.refused(cancelDeletion(1), kms.CodeInvalidState, keyARN(1)+" is not pending deletion.")
	d.ok(rotateEvery(1, 90))
	next := d.key(1).NextRotation
	date := d.time + 1 + 7*day
	d.ok(scheduleDeletion(1, date))
	d.ok(cancelDeletion(1))
	if k := d.key(1); k.State != kms.Disabled || k.DeletionDate != 0 || k.PendingWindow != 0 || k.RotationPeriod != 90 || k.NextRotation != next {
		t.Errorf("cancelled: got %+v", k)
	}
	d.refused(cancelDeletion(1), kms.CodeInvalidState, keyARN(1)+" is not pending deletion.")
	// A deletion that the leader decided on before the cancellation comes too late.
	d.till(date+hour).refused(deleteKey(1, date), kms.CodeInvalidState, keyARN(1)+" is not pending deletion.")
	// Nor does a later schedule make the old date good.
	later := d.time + 1 + 7*day
	d.ok(scheduleDeletion(1, later))
	d.till(later+hour-10).refused(deleteKey(1, date), kms.CodeInvalidState, keyARN(1)+" is pending deletion.")
}

func TestCancelDeletionWithoutMaterial(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	c := createKey(1)
	c.Key.Origin, c.Key.State, c.Key.CurrentMaterial, c.Material = kms.OriginExternal, kms.PendingImport, "", nil
	d.ok(c)
	d.ok(scheduleDeletion(1, d.time+1+7*day))
	d.ok(cancelDeletion(1))
	if k := d.key(1); k.State != kms.PendingImport {
		t.Errorf("cancelled without material: %s, want PendingImport", k.State)
	}
}

func TestDescription(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	set := fsm.SetKeyDescription{Account: account, Region: region, KeyID: keyID(1), Description: "other"}
	d.ok(set)
	if k := d.key(1); k.Description != "other" {
		t.Errorf("description %q", k.Description)
	}
	index := d.key(1).ModIndex
	d.ok(set)
	if k := d.key(1); k.ModIndex != index {
		t.Error("the same description again changed the key")
	}
	set.KeyID = keyID(9)
	d.refused(set, kms.CodeNotFound, "Key '"+keyARN(9)+"' does not exist")
}

func TestTags(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	want := func(pairs ...string) {
		t.Helper()
		if diff := cmp.Diff(d.View().Tags(region, keyID(1)), tagKey(1, pairs...).Tags, cmpopts.IgnoreUnexported(fsm.Tag{})); diff != "" {
			t.Errorf("tags: -got+want:\n%s", diff)
		}
	}
	d.ok(tagKey(1, "env", "prod", "Team", "x"))
	want("team", "payments", "env", "prod", "Team", "x")
	d.ok(untagKey(1, "env", "absent"))
	want("team", "payments", "Team", "x")
	d.ok(untagKey(1))
	want("team", "payments", "Team", "x")
	var many []string
	for i := range 48 {
		many = append(many, fmt.Sprint(i), "")
	}
	d.ok(tagKey(1, many...)) // 50 in all
	d.refused(tagKey(1, "one", "more"), kms.CodeTag, "Too many tags")
	d.ok(tagKey(1, "team", "another value"))
	d.ok(untagKey(1, "team", "Team"))
	want(many...)
	for i := range 48 {
		d.ok(untagKey(1, fmt.Sprint(i)))
	}
	want()
	if n := d.TableSizes()["tags"]; n != 0 {
		t.Errorf("%d records of tags, want none", n)
	}
	d.refused(tagKey(9, "a", "b"), kms.CodeNotFound, "Key '"+keyARN(9)+"' does not exist")
	d.refused(untagKey(9, "a"), kms.CodeNotFound, "Key '"+keyARN(9)+"' does not exist")
}

// TestAutomaticRotation rotates on the day for years, from a leader that is a
// little late each time.
func TestAutomaticRotation(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(rotateEvery(1, 90))
	first := d.time
	for n := 1; n <= 40; n++ {
		due := first + int64(n)*90*day
		if k := d.key(1); k.NextRotation != due {
			t.Fatalf("rotation %d is due at %d, want %d", n, k.NextRotation, due)
		}
		const notDue = "No such rotation of arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-000000000001 is due."
		d.till(due-1).refused(rotate(1, n, kms.RotationAutomatic, due), kms.CodeConflict, notDue)
		d.till(due + int64(n)*1000).ok(rotate(1, n, kms.RotationAutomatic, due))
		d.refused(rotate(1, n, kms.RotationAutomatic, due), kms.CodeConflict, notDue)
		d.refused(rotate(1, n+1000, kms.RotationAutomatic, due), kms.CodeConflict, notDue)
		if k := d.key(1); k.CurrentMaterial != generation(1, n) {
			t.Fatalf("after rotation %d the current material is %s", n, k.CurrentMaterial)
		}
	}
	checkMaterials(t, d, 1, 41)
}

// checkMaterials checks that a key has so many materials, in the order in which
// they came.
func checkMaterials(t *testing.T, d *driver, key, count int) {
	t.Helper()
	list, more := d.View().Materials(keyID(key), 0, count)
	if len(list) != count || more {
		t.Fatalf("%d materials, more %t, want %d", len(list), more, count)
	}
	for n, m := range list {
		want := generation(key, n)
		if n == 0 {
			want = materialID(keyID(key))
		}
		if m.ID != want || m.Seq != uint32(n) || (m.Rotated == 0) != (n == 0) || (m.RotationType == "") != (n == 0) {
			t.Errorf("material %d: got %+v", n, m)
		}
		if n > 0 && m.Rotated < list[n-1].Rotated {
			t.Errorf("material %d is older than the one before", n)
		}
	}
	if half, more := d.View().Materials(keyID(key), uint32(count/2), 1); len(half) != 1 || half[0].Seq != uint32(count/2) || !more {
		t.Errorf("from the middle: got %v, more %t", half, more)
	}
}

func TestRotationSchedule(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(rotateEvery(1, 365))
	if k := d.key(1); k.RotationPeriod != 365 || k.NextRotation != d.time+365*day {
		t.Errorf("enabled: got %+v", k)
	}
	d.till(d.time + 100*day).ok(rotateEvery(1, 90))
	if k := d.key(1); k.RotationPeriod != 90 || k.NextRotation != d.time+90*day {
		t.Errorf("enabled again: got %+v", k)
	}
	due := d.key(1).NextRotation
	d.ok(setState(1, false))
	d.refused(rotateEvery(1, 90), kms.CodeDisabled, keyARN(1)+" is disabled.")
	d.refused(rotateEvery(1, 0), kms.CodeDisabled, keyARN(1)+" is disabled.")
	d.till(due + 200*day)
	if got := d.View().DueRotations(d.time, 10); len(got) != 0 {
		t.Errorf("a disabled key is due: %v", got)
	}
	d.do(rotate(1, 1, kms.RotationAutomatic, due))
	if k := d.key(1); k.CurrentMaterial != materialID(keyID(1)) {
		t.Error("a disabled key was rotated")
	}
	// Enabled again, the overdue rotation runs at once, and the next a period later.
	d.ok(setState(1, true))
	if got := d.View().DueRotations(d.time, 10); len(got) != 1 || got[0].NextRotation != due {
		t.Errorf("overdue: got %v", got)
	}
	d.ok(rotate(1, 1, kms.RotationAutomatic, due))
	if k := d.key(1); k.NextRotation != d.time+90*day {
		t.Errorf("after an overdue rotation: got %+v, want the next at %d", k, d.time+90*day)
	}
	d.ok(rotateEvery(1, 0))
	if k := d.key(1); k.RotationPeriod != 0 || k.NextRotation != 0 {
		t.Errorf("disabled: got %+v", k)
	}
	if got := d.View().DueRotations(math.MaxInt64, 10); len(got) != 0 {
		t.Errorf("something is due: %v", got)
	}
}

func TestOnDemandRotation(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(rotateEvery(1, 90))
	d.ok(onDemand(1))
	asked := d.time
	if k := d.key(1); k.OnDemandStart != asked || k.OnDemandCount != 1 || k.CurrentMaterial != materialID(keyID(1)) {
		t.Errorf("asked for: got %+v", k)
	}
	d.refused(onDemand(1), kms.CodeConflict, "An on-demand rotation of "+keyARN(1)+" is in progress.")
	d.ok(rotateEvery(1, 0)) // what was asked for goes on
	d.ok(rotateEvery(1, 90))
	next := d.key(1).NextRotation
	d.ok(createKey(9))
	d.ok(rotateEvery(9, 90))
	if got := numbers(d.View().DueRotations(0, 10)); !slices.Equal(got, []int{1}) {
		t.Fatalf("due at once: got %v, want 1", got)
	}
	if got := numbers(d.View().DueRotations(math.MaxInt64, 10)); !slices.Equal(got, []int{1, 9}) {
		t.Fatalf("due: got %v, want 1, 9", got)
	}
	d.ok(rotate(1, 1, kms.RotationOnDemand, asked))
	if k := d.key(1); k.OnDemandStart != 0 || k.NextRotation != next || k.CurrentMaterial != generation(1, 1) {
		t.Errorf("rotated: got %+v", k)
	}
	for n := 2; n <= 25; n++ {
		d.ok(onDemand(1))
		asked := d.time
		d.till(asked - 1).ok(rotate(1, n, kms.RotationOnDemand, asked)) // the next leader's clock is behind
		d.till(asked + 1)
	}
	d.refused(onDemand(1), kms.CodeLimitExceeded, "You have exceeded the number of on-demand rotations allowed for this KMS key.")
	checkMaterials(t, d, 1, 26)

	d.ok(createKey(2))
	d.ok(rotateEvery(2, 90))
	next = d.key(2).NextRotation
	d.till(next-20*60_000).refused(onDemand(2), kms.CodeConflict, "An automatic rotation of "+keyARN(2)+" is in progress or due within 20 minutes.")
	d.ok(createKey(3))
	d.ok(setState(3, false))
	d.refused(onDemand(3), kms.CodeDisabled, keyARN(3)+" is disabled.")
}

func TestOnDemandRotationNearTheAutomaticOne(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(rotateEvery(1, 90))
	d.till(d.key(1).NextRotation - 20*60_000 - 1).ok(onDemand(1))
}

// A clock that was a year ahead for a moment moves the machine's time for ever, and
// no schedule.
func TestRotationAfterAWrongClock(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createKey(2))
	d.ok(rotateEvery(1, 90))
	now := d.time
	due := d.key(1).NextRotation
	d.till(now + 365*day).ok(setState(2, true))
	d.till(now + 1).ok(rotateEvery(2, 90))
	if k := d.key(2); k.NextRotation != now+1+90*day {
		t.Errorf("next rotation at %d, want %d", k.NextRotation, now+1+90*day)
	}
	d.till(now + 2).ok(onDemand(2))
	if k := d.key(2); k.OnDemandStart != now+2 {
		t.Errorf("asked for at %d, want %d", k.OnDemandStart, now+2)
	}
	d.till(due-1).refused(rotate(1, 1, kms.RotationAutomatic, due), kms.CodeConflict, "No such rotation of "+keyARN(1)+" is due.")
	d.till(due + 5).ok(rotate(1, 1, kms.RotationAutomatic, due))
	if k := d.key(1); k.NextRotation != due+90*day {
		t.Errorf("next rotation at %d, want %d", k.NextRotation, due+90*day)
	}
	if m, _ := d.View().Material(keyID(1), generation(1, 1)); m.Rotated != due+5 {
		t.Errorf("rotated at %d, want %d", m.Rotated, due+5)
	}
}

// TestDue checks that the lists hold exactly what is due, in the order of the
// dates, also after a snapshot.
func TestDue(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	base := d.time
	for i := 1; i <= 9; i++ {
		d.ok(createKey(i))
	}
	dates := map[int]int64{}
	for _, i := range []int{3, 1, 2} {
		dates[i] = base + int64(10*i)*day
		d.ok(scheduleDeletion(i, dates[i]))
	}
	for _, i := range []int{6, 4, 5} {
		d.ok(rotateEvery(i, uint16(90+i)))
	}
	for _, m := range []*fsm.Machine{d.Machine, restore(t, persist(t, d.Machine))} {
		v := m.View()
		for _, tt := range []struct {
			before int64
			limit  int
			want   []int
		}{{dates[1] - 1, 9, nil}, {dates[1], 9, []int{1}}, {dates[3], 9, []int{1, 2, 3}}, {dates[3], 2, []int{1, 2}}} {
			if got := numbers(v.DueDeletions(tt.before, tt.limit)); !slices.Equal(got, tt.want) {
				t.Errorf("deletions before %d, at most %d: got %v, want %v", tt.before, tt.limit, got, tt.want)
			}
		}
		if got := numbers(v.DueRotations(base+200*day, 9)); !slices.Equal(got, []int{4, 5, 6}) {
			t.Errorf("rotations: got %v, want 4, 5, 6", got)
		}
		if got := numbers(v.DueRotations(base+95*day, 9)); !slices.Equal(got, []int{4}) {
			t.Errorf("rotations within 95 days: got %v, want 4", got)
		}
		if got := numbers(v.DueRotations(math.MaxInt64, 1)); !slices.Equal(got, []int{4}) {
			t.Errorf("next rotation: got %v, want 4", got)
		}
	}
	d.ok(cancelDeletion(1))
	if got := numbers(d.View().DueDeletions(dates[3], 9)); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("after a cancellation: got %v, want 2, 3", got)
	}
}

func numbers(keys []*fsm.Key) (out []int) {
	for _, k := range keys {
		var n int
		_, _ = fmt.Sscanf(k.ID[24:], "%x", &n)
		out = append(out, n)
	}
	return out
}

// TestLifeCommandsCheck refuses arguments that no state could accept.
func TestLifeCommandsCheck(t *testing.T) {
	t.Parallel()
	with := func(change func(*fsm.RotateKey)) fsm.RotateKey {
		c := rotate(1, 1, kms.RotationOnDemand, start)
		change(&c)
		return c
	}
	short, long := scheduleDeletion(1, start), scheduleDeletion(1, start)
	short.Window, long.Window = 6, 31
	elsewhere := onDemand(1)
	elsewhere.Region = "Nowhere"
	scheduled := createKey(1)
	scheduled.Key.RotationPeriod = 90
	for i, args := range []fsm.Args{
		short, long, scheduleDeletion(1, 0), rotateEvery(1, 89), rotateEvery(1, 2561), elsewhere, scheduled,
		with(func(c *fsm.RotateKey) { c.Type = "" }), with(func(c *fsm.RotateKey) { c.Type = "IMPORT" }),
		with(func(c *fsm.RotateKey) { c.Material.KeyID = keyID(2) }), with(func(c *fsm.RotateKey) { c.Material.Sealed = nil }),
		with(func(c *fsm.RotateKey) { c.Material.Seq = 1 }), with(func(c *fsm.RotateKey) { c.Material.ID = "abc" }),
		with(func(c *fsm.RotateKey) { c.Material.Rotated = 1 }),
	} {
		if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{Time: start}, args); err == nil {
			t.Errorf("case %d: %+v was taken", i, args)
		}
	}
}

// TestRotationTakenMaterial: the leader draws again.
func TestRotationTakenMaterial(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(onDemand(1))
	c := rotate(1, 1, kms.RotationOnDemand, d.time)
	c.Material.ID = materialID(keyID(1))
	if r := d.do(c); !r.Conflict {
		t.Errorf("got %+v, want a conflict", r)
	}
}

package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

const mrkID = "mrk-1234abcd12ab34cd56ef1234567890ab"

// mrkRegions are the Regions of the tests of multi-Region keys, in their order.
var mrkRegions = []string{"ap-south-1", "eu-west-1", "us-east-1"}

func mrkARN(region string) string {
	return "arn:aws:kms:" + region + ":111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
}

// createMRK returns the arguments of a multi-Region primary in us-east-1.
func createMRK() fsm.CreateKey {
	c := createKey(1)
	c.Key.ID, c.Key.MultiRegion, c.Key.CurrentMaterial = mrkID, true, materialID(mrkID)
	c.Material.KeyID, c.Material.ID = mrkID, materialID(mrkID)
	return c
}

func replicate(from, to string) fsm.ReplicateKey {
	return fsm.ReplicateKey{Account: account, Region: from, KeyID: mrkID, ReplicaRegion: to, Created: start + 5, Description: "replica",
		Policy: policy1, Tags: []fsm.Tag{{Key: "site", Value: to}}}
}

func promote(from, to string) fsm.UpdatePrimaryRegion {
	return fsm.UpdatePrimaryRegion{Account: account, Region: from, KeyID: mrkID, PrimaryRegion: to}
}

func scheduleMRK(region string, date int64) fsm.ScheduleKeyDeletion {
	return fsm.ScheduleKeyDeletion{Account: account, Region: region, KeyID: mrkID, Window: 7, DeletionDate: date}
}

func cancelMRK(region string) fsm.CancelKeyDeletion {
	return fsm.CancelKeyDeletion{Account: account, Region: region, KeyID: mrkID}
}

func deleteMRK(region string, date int64) fsm.DeleteKey {
	return fsm.DeleteKey{Account: account, Region: region, KeyID: mrkID, DeletionDate: date}
}

func switchMRK(region string, enabled bool) fsm.SetKeyState {
	return fsm.SetKeyState{Account: account, Region: region, KeyID: mrkID, Enabled: enabled}
}

func onDemandMRK(region string) fsm.RotateKeyOnDemand {
	return fsm.RotateKeyOnDemand{Account: account, Region: region, KeyID: mrkID}
}

func rotateMRK(region string, n int, due int64) fsm.RotateKey {
	id := materialID(fmt.Sprint(mrkID, n))
	return fsm.RotateKey{Account: account, Region: region, KeyID: mrkID, Type: kms.RotationOnDemand, Due: due,
		Material: fsm.Material{KeyID: mrkID, ID: id, Created: start, Sealed: []byte("sealed")}}
}

func (d *driver) mrk(region string) fsm.Key {
	d.t.Helper()
	k, ok := d.View().Key(region, mrkID)
	if !ok {
		d.t.Fatalf("there is no key in %s", region)
	}
	return *k
}

// TestMultiRegionRefusals holds the commands against AWS's rules for multi-Region
// keys.
func TestMultiRegionRefusals(t *testing.T) {
	t.Parallel()
	const us, eu, ap = "us-east-1", "eu-west-1", "ap-south-1"
	d := started(t, nil)
	d.refused(replicate(us, eu), kms.CodeNotFound, "Key '"+mrkARN(us)+"' does not exist")
	d.ok(createMRK())
	d.refused(promote(us, eu), kms.CodeNotFound, "Key '"+mrkARN(eu)+"' does not exist")
	d.ok(replicate(us, eu))
	d.refused(replicate(us, eu), kms.CodeAlreadyExists, "Unable to replicate key "+mrkARN(us)+" to region eu-west-1, as it already exist.")
	d.refused(replicate(eu, ap), kms.CodeUnsupportedOperation, mrkARN(eu)+" is not a multi-region primary key.")
	d.refused(promote(eu, us), kms.CodeUnsupportedOperation, mrkARN(eu)+" is not a multi-region primary key.")
	d.refused(onDemandMRK(eu), kms.CodeUnsupportedOperation, mrkARN(eu)+" is a multi-region replica key.")
	d.refused(fsm.SetKeyRotation{Account: account, Region: eu, KeyID: mrkID}, kms.CodeUnsupportedOperation, mrkARN(eu)+" is a multi-region replica key.")

	d.ok(switchMRK(eu, false))
	d.refused(promote(us, eu), kms.CodeDisabled, mrkARN(eu)+" is disabled.")
	d.ok(switchMRK(us, false))
	d.refused(replicate(us, ap), kms.CodeDisabled, mrkARN(us)+" is disabled.")
	d.ok(scheduleMRK(eu, d.time+1+7*day))
	d.ok(switchMRK(us, true))
	d.refused(promote(us, eu), kms.CodeInvalidState, mrkARN(eu)+" is pending deletion.")
	d.refused(replicate(us, eu), kms.CodeAlreadyExists, "Unable to replicate key "+mrkARN(us)+" to region eu-west-1, as it already exist.")
	d.ok(scheduleMRK(us, d.time+1+7*day))
	d.refused(replicate(us, ap), kms.CodeInvalidState, mrkARN(us)+" is pending replica deletion.")
	d.refused(deleteMRK(us, 0), kms.CodeInvalidState, mrkARN(us)+" is pending replica deletion.")
	d.refused(scheduleMRK(us, d.time+1+7*day), kms.CodeInvalidState, mrkARN(us)+" is pending replica deletion.")
	d.ok(cancelMRK(us))
	if k := d.mrk(us); k.State != kms.Disabled || k.PendingWindow != 0 {
		t.Errorf("cancelled: %+v", k)
	}
}

// TestReplica tells what a replica shares with its primary and what it does not.
func TestReplica(t *testing.T) {
	t.Parallel()
	const us, eu = "us-east-1", "eu-west-1"
	d := started(t, nil)
	d.ok(createMRK())
	d.ok(fsm.SetKeyRotation{Account: account, Region: us, KeyID: mrkID, Period: 90})
	d.ok(onDemandMRK(us))
	d.ok(replicate(us, eu))
	p, r := d.mrk(us), d.mrk(eu)
	if !r.Replica || p.Replica || r.Spec != p.Spec || r.Usage != p.Usage || r.Origin != p.Origin || r.CurrentMaterial != p.CurrentMaterial || r.State != kms.Enabled {
		t.Errorf("shared: primary %+v, replica %+v", p, r)
	}
	if r.Description != "replica" || r.Created != start+5 || r.RotationPeriod != 0 || r.OnDemandStart != 0 {
		t.Errorf("its own: %+v", r)
	}
	if tags := d.View().Tags(eu, mrkID); !slices.Equal(tags, []fsm.Tag{{Key: "site", Value: eu}}) {
		t.Errorf("tags: %v", tags)
	}
	if got := d.View().Primary(&r); got.Region != us {
		t.Errorf("the primary is in %s", got.Region)
	}

	d.ok(promote(us, eu))
	was, is := d.mrk(us), d.mrk(eu)
	if !was.Replica || was.RotationPeriod != 0 || was.NextRotation != 0 || was.OnDemandStart != 0 || was.OnDemandCount != 0 {
		t.Errorf("no longer primary: %+v", was)
	}
	if is.Replica || is.RotationPeriod != 90 || is.NextRotation != p.NextRotation || is.OnDemandStart != p.OnDemandStart || is.OnDemandCount != 1 {
		t.Errorf("promoted: %+v", is)
	}
	d.ok(rotateMRK(eu, 1, p.OnDemandStart))
	if a, b := d.mrk(us).CurrentMaterial, d.mrk(eu).CurrentMaterial; a != b || a != materialID(mrkID+"1") {
		t.Errorf("rotated: %s and %s", a, b)
	}
}

// A set has a bound, because every well-formed name is a Region.
func TestRelatedKeysAreBounded(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createMRK())
	for i := range 99 {
		d.ok(replicate("us-east-1", fmt.Sprintf("eu-north-%d", i)))
	}
	d.refused(replicate("us-east-1", "eu-west-1"), kms.CodeLimitExceeded, "You have exceeded the number of related multi-Region keys allowed for this KMS key.")
	k := d.mrk("eu-north-7")
	if related := d.View().Related(&k); len(related) != 100 || d.View().Primary(&k).Region != "us-east-1" {
		t.Errorf("there are %d related keys", len(related))
	}
}

// mrkModel is what AWS's document says of a set, by Regions.
type mrkModel struct {
	primary string
	states  map[string]kms.KeyState
	dates   map[string]int64
	current string
}

// check compares the machine with the model.
func (m *mrkModel) check(t *testing.T, d *driver) {
	t.Helper()
	v := d.View()
	for _, region := range mrkRegions {
		k, ok := v.Key(region, mrkID)
		state, exists := m.states[region]
		switch {
		case ok != exists:
			t.Fatalf("%s: there is a key: %t, want %t", region, ok, exists)
		case !ok:
		case k.State != state || k.Replica != (region != m.primary) || k.DeletionDate != m.dates[region] || k.CurrentMaterial != m.current:
			t.Fatalf("%s: got %+v, want %s, primary in %s, deletion at %d, material %s", region, k, state, m.primary, m.dates[region], m.current)
		}
	}
	if _, ok := v.Material(mrkID, m.current); ok != (len(m.states) > 0) {
		t.Fatalf("there is material: %t, with %d keys", ok, len(m.states))
	}
}

// try applies args, which must succeed just when the model allows it.
func (m *mrkModel) try(t *testing.T, d *driver, allowed bool, args fsm.Args) bool {
	t.Helper()
	before := d.Digest()
	r := d.do(args)
	if (r.Err == nil) != allowed {
		t.Fatalf("%+v: got %v, allowed %t", args, r.Err, allowed)
	}
	if !allowed && d.Digest() != before {
		t.Fatalf("%+v: a refusal changed the state", args)
	}
	return allowed
}

// step applies one random command to machine and model.
func (m *mrkModel) step(t *testing.T, d *driver, r *rand.Rand, n int) {
	at, to := mrkRegions[r.IntN(3)], mrkRegions[r.IntN(3)]
	state, other := m.states[at], m.states[to]
	primary := at == m.primary && state == kms.Enabled
	waits := state == kms.PendingDeletion || state == kms.PendingReplicaDeletion
	switch r.IntN(7) {
	case 0:
		if at != to && m.try(t, d, primary && other == "", replicate(at, to)) {
			m.states[to] = kms.Enabled
		}
	case 1:
		if at != to && m.try(t, d, primary && other == kms.Enabled, promote(at, to)) {
			m.primary = to
		}
	case 2:
		enable := r.IntN(3) > 0
		if m.try(t, d, state != "" && !waits, switchMRK(at, enable)) {
			m.states[at] = map[bool]kms.KeyState{true: kms.Enabled, false: kms.Disabled}[enable]
		}
	case 3:
		date := d.time + 1 + 7*day
		if !m.try(t, d, state != "" && !waits, scheduleMRK(at, date)) {
			return
		}
		m.states[at], m.dates[at] = kms.PendingDeletion, date
		if at == m.primary && len(m.states) > 1 {
			m.states[at] = kms.PendingReplicaDeletion
			delete(m.dates, at)
		}
	case 4:
		if m.try(t, d, waits, cancelMRK(at)) {
			m.states[at] = kms.Disabled
			delete(m.dates, at)
		}
	case 5:
		m.destroy(t, d, at)
	case 6:
		if d.mayRotate(m, at) && m.try(t, d, primary, onDemandMRK(at)) {
			d.ok(rotateMRK(at, n, d.time))
			m.current = materialID(fmt.Sprint(mrkID, n))
		}
	}
}

// mayRotate tells whether the bound on rotations of a key's life is not reached.
func (d *driver) mayRotate(m *mrkModel, at string) bool {
	k, ok := d.View().Key(m.primary, mrkID)
	return at != m.primary || ok && k.OnDemandCount < 25
}

// destroy lets the waiting period of a key pass and ends it.
func (m *mrkModel) destroy(t *testing.T, d *driver, at string) {
	date := m.dates[at]
	d.till(max(d.time+1, date+hour))
	if !m.try(t, d, m.states[at] == kms.PendingDeletion, deleteMRK(at, date)) {
		return
	}
	delete(m.states, at)
	delete(m.dates, at)
	if m.states[m.primary] == kms.PendingReplicaDeletion && len(m.states) == 1 {
		m.states[m.primary], m.dates[m.primary] = kms.PendingDeletion, d.time+7*day
	}
}

// TestMultiRegionModel compares random lives of sets of related keys with a simple
// model, with a snapshot in the middle.
func TestMultiRegionModel(t *testing.T) {
	t.Parallel()
	ended := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		d := started(t, nil)
		d.ok(createMRK())
		m := &mrkModel{primary: "us-east-1", states: map[string]kms.KeyState{"us-east-1": kms.Enabled}, dates: map[string]int64{}, current: materialID(mrkID)}
		for n := range 250 {
			m.step(t, d, r, n)
			m.check(t, d)
			if n == 100 {
				restored := restore(t, persist(t, d.Machine))
				equal(t, restored, d.Machine)
				d.Machine = restored
			}
		}
		if len(m.states) == 0 {
			ended++
		}
	}
	if ended == 0 {
		t.Error("no set came to its end: the sequences prove too little")
	}
}

package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
)

func ptr[T any](v T) *T { return &v }

// throttle returns settings that bound two quotas.
func throttle() *fsm.Throttle {
	return &fsm.Throttle{Rates: []fsm.Rate{{Quota: "CreateKey", Milli: 5_000}, {Quota: "symmetric", Milli: 250}}}
}

// settings are the settings in force, without their index.
func settings(d *driver) fsm.Config {
	c := d.View().Config()
	c.ModIndex = 0
	return c
}

func wantSettings(t *testing.T, d *driver, want fsm.Config) {
	t.Helper()
	if diff := cmp.Diff(settings(d), want, ignoreBlank); diff != "" {
		t.Errorf("settings: -got+want:\n%s", diff)
	}
}

// TestSetConfig changes some settings and leaves the others alone.
func TestSetConfig(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	wantSettings(t, d, fsm.Config{KeysPerRegion: 100_000, AliasesPerKey: 50})
	d.ok(fsm.SetConfig{KeysPerRegion: ptr[uint32](7)})
	wantSettings(t, d, fsm.Config{KeysPerRegion: 7, AliasesPerKey: 50})
	d.ok(fsm.SetConfig{AliasesPerKey: ptr[uint32](100_000), Throttle: &fsm.Throttle{AWS: true}})
	wantSettings(t, d, fsm.Config{KeysPerRegion: 7, AliasesPerKey: 100_000, Throttle: &fsm.Throttle{AWS: true}})
	d.ok(fsm.SetConfig{Throttle: throttle()})
	wantSettings(t, d, fsm.Config{KeysPerRegion: 7, AliasesPerKey: 100_000, Throttle: throttle()})
	d.ok(fsm.SetConfig{KeysPerRegion: ptr[uint32](10_000_000)})
	wantSettings(t, d, fsm.Config{KeysPerRegion: 10_000_000, AliasesPerKey: 100_000, Throttle: throttle()})
	d.ok(fsm.SetConfig{Throttle: &fsm.Throttle{}})
	wantSettings(t, d, fsm.Config{KeysPerRegion: 10_000_000, AliasesPerKey: 100_000})

	restored := &driver{Machine: restore(t, persist(t, d.Machine)), t: t, time: d.time}
	wantSettings(t, restored, fsm.Config{KeysPerRegion: 10_000_000, AliasesPerKey: 100_000})
}

// TestThrottleInView: the request rates are what the last command made them, also
// after a snapshot and in views of before. They are no precondition and delay no
// answer.
func TestThrottleInView(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	want := func(m *fsm.Machine, throttle *fsm.Throttle, since uint64) *fsm.Throttle {
		t.Helper()
		v := m.View()
		got, at := v.Throttle()
		if diff := cmp.Diff(got, throttle, ignoreBlank); diff != "" || at != since {
			t.Errorf("since %d, want %d: -got+want:\n%s", at, since, diff)
		}
		if v.MaxIndex() != 0 || len(v.Reads()) != 0 {
			t.Errorf("the answer depends on index %d and %v", v.MaxIndex(), v.Reads())
		}
		return got
	}
	want(fsm.New(), nil, 0)
	want(d.Machine, nil, 1)
	before := d.View()
	set := d.ok(fsm.SetConfig{Throttle: throttle()})
	first := want(d.Machine, throttle(), set)
	if got, _ := before.Throttle(); got != nil {
		t.Errorf("a view of before has %+v", got)
	}
	want(restore(t, persist(t, d.Machine)), throttle(), set)

	// What is the same stays the same: nobody begins to count anew.
	d.ok(fsm.SetConfig{Throttle: throttle()})
	if again := want(d.Machine, throttle(), set); again != first {
		t.Error("the same rates replaced the rates")
	}
	set = d.ok(fsm.SetConfig{KeysPerRegion: ptr[uint32](3), Throttle: throttle()})
	if again := want(d.Machine, throttle(), set); again != first {
		t.Error("another setting replaced the rates")
	}
	set = d.ok(fsm.SetConfig{Throttle: &fsm.Throttle{AWS: true}})
	want(d.Machine, &fsm.Throttle{AWS: true}, set)
	set = d.ok(fsm.SetConfig{Throttle: &fsm.Throttle{}})
	want(d.Machine, nil, set)
}

// TestSettingsConflict: who decides from the settings is told that they changed,
// and who does not is not.
func TestSettingsConflict(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	v, blind := d.View(), d.View()
	v.Config()
	blind.Throttle()
	d.ok(fsm.SetConfig{Throttle: throttle()})
	change := fsm.SetConfig{AliasesPerKey: ptr[uint32](9)}
	if r := d.with(fsm.ReqKey{}, fsm.Meta{Reads: v.Reads()}, change); !r.Conflict {
		t.Errorf("got %+v, want a conflict", r)
	}
	if r := d.with(fsm.ReqKey{}, fsm.Meta{Reads: blind.Reads()}, change); r.Conflict || r.Err != nil {
		t.Errorf("got %+v, want success", r)
	}
}

// TestSettingsInForce: the next command is decided by the new quotas.
func TestSettingsInForce(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createAlias("a", 1))
	d.ok(fsm.SetConfig{KeysPerRegion: ptr[uint32](1), AliasesPerKey: ptr[uint32](1)})
	const keys = "You have exceeded the number of KMS keys allowed for this account and Region."
	const aliases = "You have exceeded the number of aliases allowed for this KMS key."
	d.refused(createKey(2), "LimitExceededException", keys)
	d.refused(createAlias("b", 1), "LimitExceededException", aliases)
	d.ok(fsm.SetConfig{KeysPerRegion: ptr[uint32](2), AliasesPerKey: ptr[uint32](2)})
	d.ok(createKey(2))
	d.ok(createAlias("b", 1))
	// Below what is in use: nothing is taken away, and only more is refused.
	d.ok(setState(2, false))
	d.ok(fsm.SetConfig{KeysPerRegion: ptr[uint32](1)})
	d.refused(setState(2, true), "LimitExceededException", keys)
	d.ok(setState(1, true))
}

// TestSetConfigRefuses what no state could accept.
func TestSetConfigRefuses(t *testing.T) {
	t.Parallel()
	rates := func(r ...fsm.Rate) fsm.SetConfig { return fsm.SetConfig{Throttle: &fsm.Throttle{Rates: r}} }
	many := fsm.Throttle{}
	for i := range 257 {
		many.Rates = append(many.Rates, fsm.Rate{Quota: fmt.Sprintf("%03d", i), Milli: 1000})
	}
	for name, c := range map[string]fsm.SetConfig{
		"nothing":        {},
		"no keys":        {KeysPerRegion: ptr[uint32](0)},
		"too many keys":  {KeysPerRegion: ptr[uint32](10_000_001)},
		"no aliases":     {AliasesPerKey: ptr[uint32](0)},
		"many aliases":   {AliasesPerKey: ptr[uint32](100_001)},
		"both":           {Throttle: &fsm.Throttle{AWS: true, Rates: throttle().Rates}},
		"no quota":       rates(fsm.Rate{Milli: 1000}),
		"long quota":     rates(fsm.Rate{Quota: strings.Repeat("x", 65), Milli: 1000}),
		"too slow":       rates(fsm.Rate{Quota: "x", Milli: 9}),
		"too fast":       rates(fsm.Rate{Quota: "x", Milli: 1_000_000_001}),
		"not sorted":     rates(fsm.Rate{Quota: "b", Milli: 1000}, fsm.Rate{Quota: "a", Milli: 1000}),
		"twice":          rates(fsm.Rate{Quota: "a", Milli: 1000}, fsm.Rate{Quota: "a", Milli: 1000}),
		"too many rates": {Throttle: &many},
		"not UTF-8":      rates(fsm.Rate{Quota: "\xff", Milli: 1000}),
	} {
		if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, c); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	many.Rates = many.Rates[:256]
	d := started(t, nil)
	d.ok(fsm.SetConfig{Throttle: &many})
	d.ok(rates(fsm.Rate{Quota: strings.Repeat("x", 64), Milli: 10}, fsm.Rate{Quota: "y", Milli: 1_000_000_000}))
}

// TestNewThrottle sorts.
func TestNewThrottle(t *testing.T) {
	t.Parallel()
	given := []fsm.Rate{{Quota: "symmetric", Milli: 250}, {Quota: "CreateKey", Milli: 5_000}}
	if diff := cmp.Diff(fsm.NewThrottle(given), throttle(), ignoreBlank); diff != "" {
		t.Errorf("-got+want:\n%s", diff)
	}
	if given[0].Quota != "symmetric" {
		t.Error("the list that was given changed")
	}
}

package fsm_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kmsd/kmsd/fsm"
)

var ignoreBlank = cmpopts.IgnoreUnexported(fsm.Read{}, fsm.Tag{}, fsm.Rate{})

func TestViewReadSet(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	created := d.ok(createKey(1))
	aliased := d.ok(createAlias("a", 1))
	v := d.View()
	if v.MaxIndex() != 0 || v.Index() != 3 || v.Time() != d.time || len(v.Reads()) != 0 {
		t.Fatalf("a new view: MaxIndex %d, Index %d, Time %d", v.MaxIndex(), v.Index(), v.Time())
	}
	step := func(what string, wantMax uint64) {
		t.Helper()
		if v.MaxIndex() != wantMax {
			t.Errorf("MaxIndex after %s: got %d, want %d", what, v.MaxIndex(), wantMax)
		}
	}
	v.Account(account)
	step("Account", 1)
	v.Key(region, keyID(1))
	step("Key", created)
	v.Tags(region, keyID(1))
	v.Material(keyID(1), materialID(keyID(1)))
	v.Alias(account, region, "alias/a")
	step("Alias", aliased)
	v.Account(account)
	v.Meta()
	v.AccessKey("AKIAIOSFODNN7EXAMPLE")
	v.Account("000000000000")
	v.Node("node-a")
	v.Removed("node-a")
	v.JoinToken("token")
	v.Authority()
	v.GossipKeys()
	v.Config()
	want := []fsm.Read{
		{Table: 5, ID: account, ModIndex: 1},
		{Table: 8, ID: region + "/" + keyID(1), ModIndex: created},
		{Table: 10, ID: region + "/" + keyID(1), ModIndex: created},
		{Table: 9, ID: keyID(1) + "/" + materialID(keyID(1))[:32], ModIndex: created},
		{Table: 11, ID: account + "/" + region + "/alias/a", ModIndex: aliased},
		{Table: 1, ID: "cluster", ModIndex: 1},
		{Table: 6, ID: "AKIAIOSFODNN7EXAMPLE", ModIndex: 1},
		{Table: 5, ID: "000000000000"},
		{Table: 3, ID: "node-a", ModIndex: 1},
		{Table: 14, ID: "node-a"},
		{Table: 15, ID: "token"},
		{Table: 16, ID: "ca"},
		{Table: 17, ID: "gossip"},
		{Table: 2, ID: "config", ModIndex: 1},
	}
	if diff := cmp.Diff(v.Reads(), want, ignoreBlank); diff != "" {
		t.Errorf("read set: -got+want:\n%s", diff)
	}
	k, _ := v.Key(region, keyID(1))
	v.PolicyText(k.PolicyHash)
	v.ListKeys(account, region, "", 10)
	v.ListAliases(account, region, "", 10)
	v.Nodes()
	v.JoinTokens()
	if got := len(v.Reads()); got != len(want) {
		t.Errorf("lists and policies entered the read set: %d entries, want %d", got, len(want))
	}
	if r := d.with(fsm.ReqKey{}, fsm.Meta{Reads: v.Reads()}, setState(1, false)); r.Conflict {
		t.Error("a fresh read set conflicts")
	}
	if r := d.with(fsm.ReqKey{}, fsm.Meta{Reads: v.Reads()}, setState(1, true)); !r.Conflict {
		t.Error("a stale read set does not conflict")
	}
}

// TestViewMiss: that something is absent may be the effect of a write that is
// not stable yet.
func TestViewMiss(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createAlias("a", 1))
	deleted := d.ok(fsm.DeleteAlias{Account: account, Region: region, Name: "alias/a"})
	reads := map[string]func(v *fsm.View){
		"Alias":          func(v *fsm.View) { v.Alias(account, region, "alias/a") },
		"ListAliases":    func(v *fsm.View) { v.ListAliases(account, region, "", 10) },
		"ListKeyAliases": func(v *fsm.View) { v.ListKeyAliases(account, region, keyID(1), "", 10) },
	}
	for name, read := range reads {
		v := d.View()
		if read(v); v.MaxIndex() != deleted {
			t.Errorf("%s: got MaxIndex %d, want %d", name, v.MaxIndex(), deleted)
		}
	}
	for range 3 {
		d.ok(fsm.PruneAudit{})
	}
	var buf bytes.Buffer
	if err := d.Snapshot().Persist(&buf); err != nil {
		t.Fatal(err)
	}
	restored := fsm.New()
	if err := restored.Restore(&buf); err != nil {
		t.Fatal(err)
	}
	for name, read := range reads { // the deletion is forgotten: any index up to the snapshot's is possible
		v := restored.View()
		if read(v); v.MaxIndex() != d.Index() {
			t.Errorf("%s, restored: got MaxIndex %d, want %d", name, v.MaxIndex(), d.Index())
		}
	}
	v := d.View()
	v.Alias(account, region, "alias/a")
	again := d.ok(createAlias("a", 1))
	if r := d.with(fsm.ReqKey{}, fsm.Meta{Reads: v.Reads()}, setState(1, false)); !r.Conflict {
		t.Error("a record that came does not conflict with its absence")
	}
	if v := d.View(); true {
		if v.ListKeyAliases(account, region, keyID(1), "", 0); v.MaxIndex() != again {
			t.Errorf("ListKeyAliases: got MaxIndex %d, want %d", v.MaxIndex(), again)
		}
	}
}

// TestViewIsolation: a view does not move.
func TestViewIsolation(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	v := d.View()
	d.ok(createKey(2))
	d.ok(setState(1, false))
	if k, _ := v.Key(region, keyID(1)); k.State != "Enabled" {
		t.Errorf("state in the old view: got %s", k.State)
	}
	if _, ok := v.Key(region, keyID(2)); ok {
		t.Error("the old view shows a later key")
	}
	if ids, _ := v.ListKeys(account, region, "", 10); !cmp.Equal(ids, []string{keyID(1)}) {
		t.Errorf("keys in the old view: got %v", ids)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	d := started(t, &fsm.Config{AliasesPerKey: 1000})
	rng := rand.New(rand.NewPCG(1, 2))
	order := rng.Perm(300)
	var want []string
	for _, i := range order {
		d.ok(createKey(i))
		d.ok(createAlias(fmt.Sprintf("%04d", i), i))
		want = append(want, keyID(i))
	}
	slices.Sort(want)
	v := d.View()
	for _, limit := range []int{1, 7, 100, 299, 300, 301} {
		var got []string
		after, pages := "", 0
		for more := true; more; pages++ {
			var ids []string
			if ids, more = v.ListKeys(account, region, after, limit); len(ids) > 0 {
				after = ids[len(ids)-1]
			}
			got = append(got, ids...)
		}
		if !slices.Equal(got, want) || pages != (len(want)+limit-1)/limit {
			t.Errorf("limit %d: got %d keys on %d pages", limit, len(got), pages)
		}
	}
	if ids, more := v.ListKeys(account, region, "", 0); len(ids) != 0 || !more {
		t.Errorf("limit 0: got %v, %v, want none and more", ids, more)
	}
	if ids, more := v.ListKeys(account, region, "", -1); len(ids) != 0 || more {
		t.Errorf("limit -1: got %v, %v, want none", ids, more)
	}
	if ids, more := v.ListKeys(account, "eu-west-1", "", 10); len(ids) != 0 || more {
		t.Errorf("another Region: got %v, %v, want none", ids, more)
	}
	aliases, more := v.ListAliases(account, region, "alias/0100", 2) // the marker itself is not listed
	if len(aliases) != 2 || aliases[0].Name != "alias/0101" || aliases[1].Name != "alias/0102" || !more {
		t.Errorf("ListAliases: got %v, %v", aliases, more)
	}
	d.ok(fsm.DeleteAlias{Account: account, Region: region, Name: "alias/0100"})
	aliases, _ = d.View().ListAliases(account, region, "alias/0100", 1) // a marker survives its record
	if len(aliases) != 1 || aliases[0].Name != "alias/0101" {
		t.Errorf("ListAliases after the marker's alias went: got %v", aliases)
	}
	aliases, more = v.ListKeyAliases(account, region, keyID(5), "", 10)
	if len(aliases) != 1 || aliases[0].Name != "alias/0005" || more {
		t.Errorf("ListKeyAliases: got %v, %v", aliases, more)
	}
}

// TestViewShiftedParts: the parts of an id do not run into each other.
func TestViewShiftedParts(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createAlias("a", 1))
	v := d.View()
	if a, ok := v.Alias(account+"/"+region, "alias", "a"); ok {
		t.Errorf("Alias: got %+v", a)
	}
	if k, ok := v.Key("", region+"/"+keyID(1)); ok {
		t.Errorf("Key: got %+v", k)
	}
}

// TestLookupsDoNotAllocate: what every request reads costs the view's own
// allocation only.
func TestLookupsDoNotAllocate(t *testing.T) {
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createAlias("a", 1))
	id, material := keyID(1), materialID(keyID(1))
	got := testing.AllocsPerRun(100, func() {
		v := d.View()
		v.AccessKey("AKIAIOSFODNN7EXAMPLE")
		v.Account(account)
		v.Alias(account, region, "alias/a")
		k, _ := v.Key(region, id)
		v.Material(id, material)
		v.PolicyText(k.PolicyHash)
		v.Once(fsm.ReqKey{1})
	})
	if got > 1 {
		t.Errorf("got %v allocations, want 1", got)
	}
}

// TestSeed: the shards' seed is the cluster's own, and spreads names evenly.
func TestSeed(t *testing.T) {
	t.Parallel()
	seeds := map[[16]byte]bool{fsm.New().Seed(): true}
	for _, wrapped := range []string{"wrapped", "wrapped", "otherwise"} {
		m, g := fsm.New(), genesis()
		g.Keyring[0].Wrapped = []byte(wrapped)
		m.Apply(1, command(t, fsm.ReqKey{}, fsm.Meta{}, g))
		seeds[m.Seed()] = true
	}
	if len(seeds) != 3 {
		t.Errorf("got %d seeds of no cluster and two keyrings, want 3", len(seeds))
	}
	d := started(t, &fsm.Config{AliasesPerKey: 1 << 20})
	d.ok(createKey(1))
	for i := range 2000 {
		d.ok(createAlias(fmt.Sprintf("name-%d", i), 1))
	}
	if n := d.LongestLeaf(); n > 6 { // 2,000 names in 16,384 leaves
		t.Errorf("longest leaf: got %d aliases", n)
	}
}

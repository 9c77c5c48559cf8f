package fsm_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

func TestGenesisWithAuthority(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	if v := d.View(); v.Authority() != nil || v.GossipKeys() != nil {
		t.Errorf("a genesis without: got %+v, %+v", v.Authority(), v.GossipKeys())
	}
	d = &driver{Machine: fsm.New(), t: t, time: start}
	d.ok(genesisWithMembers())
	v := d.View()
	wantA, wantG := authority(), gossipKeys()
	wantA.ModIndex, wantG.ModIndex = 1, 1
	if diff := cmp.Diff(v.Authority(), &wantA); diff != "" {
		t.Errorf("Authority: -got+want:\n%s", diff)
	}
	if diff := cmp.Diff(v.GossipKeys(), &wantG); diff != "" {
		t.Errorf("GossipKeys: -got+want:\n%s", diff)
	}
}

// TestSetRecords replaces the single records, under preconditions as every
// command.
func TestSetRecords(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	v := d.View()
	v.Authority()
	v.GossipKeys()
	d.ok(fsm.SetAuthority{Authority: authority()})
	d.ok(fsm.SetGossipKeys{GossipKeys: gossipKeys()})
	stale := fsm.Meta{Reads: v.Reads()}
	fewer := fsm.GossipKeys{Keys: [][]byte{[]byte("sealed 2")}}
	for _, args := range []fsm.Args{fsm.SetAuthority{Authority: rotating()}, fsm.SetGossipKeys{GossipKeys: fewer}} {
		if r := d.with(fsm.ReqKey{}, stale, args); !r.Conflict {
			t.Errorf("%T on a stale view: got %+v, want a conflict", args, r)
		}
	}
	wantA, wantG := rotating(), fewer
	wantA.ModIndex = d.ok(fsm.SetAuthority{Authority: rotating()})
	wantG.ModIndex = d.ok(fsm.SetGossipKeys{GossipKeys: fewer})
	v = d.View()
	if diff := cmp.Diff(v.Authority(), &wantA); diff != "" {
		t.Errorf("Authority: -got+want:\n%s", diff)
	}
	if diff := cmp.Diff(v.GossipKeys(), &wantG); diff != "" {
		t.Errorf("GossipKeys: -got+want:\n%s", diff)
	}
}

func TestAuthorityRefusals(t *testing.T) {
	t.Parallel()
	change := func(f func(*fsm.Authority)) fsm.Args {
		a := rotating()
		f(&a)
		return fsm.SetAuthority{Authority: a}
	}
	gossip := func(f func(*fsm.GossipKeys)) fsm.Args {
		g := gossipKeys()
		f(&g)
		return fsm.SetGossipKeys{GossipKeys: g}
	}
	refuseArgs(t, map[string]fsm.Args{
		"no certificate":        change(func(a *fsm.Authority) { a.Current.Cert, a.Trusted[0] = nil, nil }),
		"no key":                change(func(a *fsm.Authority) { a.Current.SealedKey = nil }),
		"no API certificate":    change(func(a *fsm.Authority) { a.API.Cert = nil }),
		"no API key":            change(func(a *fsm.Authority) { a.API.SealedKey = nil }),
		"nobody trusted":        change(func(a *fsm.Authority) { a.Trusted = nil }),
		"current not first":     change(func(a *fsm.Authority) { a.Trusted[0], a.Trusted[1] = a.Trusted[1], a.Trusted[0] }),
		"empty certificate":     change(func(a *fsm.Authority) { a.Trusted = append(a.Trusted, nil) }),
		"nine trusted":          change(func(a *fsm.Authority) { a.Trusted = append(a.Trusted, make([][]byte, 7)...) }),
		"the API's trusted":     change(func(a *fsm.Authority) { a.Trusted = append(a.Trusted, a.API.Cert) }),
		"next without key":      change(func(a *fsm.Authority) { a.Next.SealedKey = nil }),
		"next not trusted":      change(func(a *fsm.Authority) { a.Trusted = a.Trusted[:1] }),
		"indexed":               change(func(a *fsm.Authority) { a.ModIndex = 1 }),
		"gossip without keys":   gossip(func(g *fsm.GossipKeys) { g.Keys = nil }),
		"gossip past its keys":  gossip(func(g *fsm.GossipKeys) { g.Primary = 2 }),
		"gossip before its key": gossip(func(g *fsm.GossipKeys) { g.Primary = -1 }),
		"empty gossip key":      gossip(func(g *fsm.GossipKeys) { g.Keys[0] = nil }),
		"nine gossip keys":      gossip(func(g *fsm.GossipKeys) { g.Keys = make([][]byte, 9) }),
		"indexed gossip keys":   gossip(func(g *fsm.GossipKeys) { g.ModIndex = 1 }),
	})
}

// TestResetRootCredential ends every access key of the account's root user, and
// nobody else's.
func TestResetRootCredential(t *testing.T) {
	t.Parallel()
	const first, second, third, foreign = "AKIAIOSFODNN7EXAMPLE", "AKIASECOND", "AKIATHIRD", "AKIAFOREIGN"
	g := genesis()
	other, more := g.AccessKeys[0], g.AccessKeys[0]
	other.ID, other.Account, other.UniqueID = foreign, "444455556666", "444455556666"
	more.ID = second
	g.AccessKeys = append(g.AccessKeys, other, more)
	d := &driver{Machine: fsm.New(), t: t, time: start}
	d.ok(g)

	if r := d.do(resetRoot(second)); !r.Conflict {
		t.Errorf("a taken id: got %+v, want a conflict", r)
	}
	unknown := resetRoot(third)
	unknown.Account, unknown.AccessKey.Account = "999999999999", "999999999999"
	d.refused(unknown, "NotFoundException", "The account 999999999999 does not exist.")

	before := d.View()
	before.AccessKey(first)
	r := d.with(fsm.ReqKey{1}, fsm.Meta{}, resetRoot(third))
	d.checkAccessKeys(map[string]bool{first: false, second: false, third: true, foreign: true})
	k, _ := d.View().AccessKey(third)
	if k == nil || k.ModIndex != r.Index || string(k.Secret) != "another sealed secret" || k.Type != kms.PrincipalRoot {
		t.Errorf("the new access key: got %+v", k)
	}
	if once, ok := d.View().Once(fsm.ReqKey{1}); !ok || !cmp.Equal(once.IDs, []string{third}) {
		t.Errorf("Once: got %+v, want the access key's id", once)
	}
	// A call of the old credential that was decided before does not land after.
	if r := d.with(fsm.ReqKey{}, fsm.Meta{Reads: before.Reads()}, createKey(1)); !r.Conflict {
		t.Errorf("a command of the old credential: got %+v, want a conflict", r)
	}
	d.ok(resetRoot(first))
	d.checkAccessKeys(map[string]bool{first: true, second: false, third: false, foreign: true})
}

func (d *driver) checkAccessKeys(want map[string]bool) {
	d.t.Helper()
	v := d.View()
	for id, there := range want {
		if _, ok := v.AccessKey(id); ok != there {
			d.t.Errorf("access key %s: found %v, want %v", id, ok, there)
		}
	}
}

func TestResetRootCredentialRefusals(t *testing.T) {
	t.Parallel()
	change := func(f func(*fsm.ResetRootCredential)) fsm.Args {
		c := resetRoot("AKIATHIRD")
		f(&c)
		return c
	}
	refuseArgs(t, map[string]fsm.Args{
		"no account":        change(func(c *fsm.ResetRootCredential) { c.Account, c.AccessKey.Account = "", "" }),
		"another account's": change(func(c *fsm.ResetRootCredential) { c.AccessKey.Account = "444455556666" }),
		"not root's":        change(func(c *fsm.ResetRootCredential) { c.AccessKey.Type = "IAMUser" }),
		"no id":             change(func(c *fsm.ResetRootCredential) { c.AccessKey.ID = "" }),
		"no secret":         change(func(c *fsm.ResetRootCredential) { c.AccessKey.Secret = nil }),
		"inactive":          change(func(c *fsm.ResetRootCredential) { c.AccessKey.Status = fsm.StatusInactive }),
		"indexed":           change(func(c *fsm.ResetRootCredential) { c.AccessKey.ModIndex = 1 }),
	})
}

package fsm_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
)

// withToken returns a started machine with a token for many nodes. Its members
// are node-a (key 1, next key 9) and node-b (key 2).
func withToken(t testing.TB) *driver {
	t.Helper()
	d := started(t, nil)
	d.ok(tokenCreate("token", 100))
	return d
}

// member returns a member, which must exist.
func (d *driver) member(id string) fsm.NodeRecord {
	d.t.Helper()
	n, ok := d.View().Node(id)
	if !ok {
		d.t.Fatalf("%s is not a member", id)
	}
	return *n
}

func (d *driver) usesLeft() uint32 {
	d.t.Helper()
	j, ok := d.View().JoinToken("token")
	if !ok {
		d.t.Fatal("the token is gone")
	}
	return j.Uses
}

func TestNodeAdmit(t *testing.T) {
	t.Parallel()
	d := withToken(t)
	index := d.ok(nodeAdmit("token", "node-c", 3))
	want := fsm.NodeRecord{Versioned: fsm.Versioned{ModIndex: index}, ID: "node-c", SPKI: [32]byte{3},
		Address: "node-c.example:7777", APIAddress: "node-c.example:8443", Version: 2, CertIssuer: [32]byte{6}, Added: d.time}
	if diff := cmp.Diff(d.member("node-c"), want); diff != "" {
		t.Errorf("-got+want:\n%s", diff)
	}
	var ids []string
	for _, n := range d.View().Nodes() {
		ids = append(ids, n.ID)
	}
	if want := []string{"node-a", "node-b", "node-c"}; !cmp.Equal(ids, want) {
		t.Errorf("Nodes: got %v, want %v", ids, want)
	}
}

// TestNodeAdmitAgain: a join that lost its answer is repeated, whatever became of
// the token.
func TestNodeAdmitAgain(t *testing.T) {
	t.Parallel()
	d := withToken(t)
	d.ok(nodeAdmit("token", "node-c", 3))
	d.ok(fsm.NodeHello{ID: "node-c", Address: "elsewhere:1", Version: 3})
	before := d.member("node-c")
	d.ok(nodeAdmit("token", "node-c", 3))
	if got := d.member("node-c"); got != before {
		t.Errorf("admitted again: got %+v, want the same record %+v", got, before)
	}
	if n := d.usesLeft(); n != 99 {
		t.Errorf("uses left: got %d, want 99", n)
	}
	reissued := nodeAdmit("token", "node-c", 3)
	reissued.Node.CertIssuer = [32]byte{7}
	index := d.ok(reissued)
	before.ModIndex, before.CertIssuer = index, [32]byte{7}
	if got := d.member("node-c"); got != before {
		t.Errorf("admitted again by another authority: got %+v, want %+v", got, before)
	}
	d.ok(fsm.TokenDelete{ID: "token"})
	d.ok(reissued)
}

func TestNodeAdmitRefusals(t *testing.T) {
	t.Parallel()
	d := withToken(t)
	d.ok(nodeAdmit("token", "node-c", 3))
	d.ok(nodeRemove("node-c"))
	tests := []struct {
		id   string
		key  byte
		text string
	}{
		{"node-a", 3, "The node node-a is a member with another key."},
		{"node-a", 9, "The node node-a is a member with another key."},
		{"node-d", 1, "The key of the node node-d is the key of the node node-a."},
		{"node-d", 9, "The key of the node node-d is the key of the node node-a."}, // its next key
		{"node-d", 2, "The key of the node node-d is the key of the node node-b."},
		{"node-c", 3, "The node node-c was removed from this cluster. Wipe its data directory and join again."},
		{"node-c", 4, "The node node-c was removed from this cluster. Wipe its data directory and join again."},
	}
	for _, tt := range tests {
		d.refused(nodeAdmit("token", tt.id, tt.key), "ConflictException", tt.text)
	}
	if n := d.usesLeft(); n != 99 {
		t.Errorf("uses left: got %d, want 99", n)
	}
}

// A node must support the version that the cluster has when it is admitted. One
// that was admitted before may repeat its join: its state stops it if it must.
func TestNodeAdmitVersion(t *testing.T) {
	t.Parallel()
	d := withToken(t)
	d.ok(nodeAdmit("token", "node-c", 3)) // it supports version 2
	d.ok(fsm.VersionBump{Version: 2})
	d.ok(nodeAdmit("token", "node-d", 4))
	d.ok(fsm.VersionBump{Version: 3})
	d.refused(nodeAdmit("token", "node-e", 5), "ConflictException",
		"The node supports cluster versions up to 2, the cluster has version 3. Install a newer release on the node.")
	d.ok(nodeAdmit("token", "node-c", 3))
	newer := nodeAdmit("token", "node-e", 5)
	newer.Node.Version = 3
	d.ok(newer)
	if n := d.usesLeft(); n != 97 {
		t.Errorf("uses left: got %d, want 97", n)
	}
}

func TestNodeRenewal(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	b := d.member("node-b")
	step := func(args fsm.Args, change func(*fsm.NodeRecord)) {
		t.Helper()
		before := b
		index := d.ok(args)
		if change(&b); b != before {
			b.ModIndex = index
		}
		if diff := cmp.Diff(d.member("node-b"), b); diff != "" {
			t.Errorf("%+v: -got+want:\n%s", args, diff)
		}
	}
	next := func(key byte) func(*fsm.NodeRecord) { return func(n *fsm.NodeRecord) { n.NextSPKI = [32]byte{key} } }
	same := func(*fsm.NodeRecord) {}
	step(fsm.NodeRenew{ID: "node-b", NextSPKI: [32]byte{3}}, next(3))
	step(fsm.NodeRenew{ID: "node-b", NextSPKI: [32]byte{3}}, same)
	step(fsm.NodeRenew{ID: "node-b", NextSPKI: [32]byte{4}}, next(4)) // another one: the first was lost
	step(fsm.NodeRenew{ID: "node-b", NextSPKI: [32]byte{2}}, next(0)) // taken back
	step(fsm.NodeRenew{ID: "node-b", NextSPKI: [32]byte{4}}, next(4))
	renewed := fsm.NodeRenewed{ID: "node-b", SPKI: [32]byte{4}, CertIssuer: [32]byte{8}}
	step(renewed, func(n *fsm.NodeRecord) { n.SPKI, n.NextSPKI, n.CertIssuer = [32]byte{4}, [32]byte{}, [32]byte{8} })
	step(renewed, same)
	renewed.CertIssuer = [32]byte{9}
	step(renewed, func(n *fsm.NodeRecord) { n.CertIssuer = [32]byte{9} })
	step(fsm.NodeRenew{ID: "node-b", NextSPKI: [32]byte{5}}, next(5))
	step(renewed, same) // late: the renewal that is under way stays

	const unannounced = "The node node-b has not announced this key."
	d.refused(fsm.NodeRenewed{ID: "node-b", SPKI: [32]byte{2}}, "ConflictException", unannounced)
	d.refused(fsm.NodeRenewed{ID: "node-b", SPKI: [32]byte{7}}, "ConflictException", unannounced)
	for _, key := range []byte{1, 9} {
		d.refused(fsm.NodeRenew{ID: "node-b", NextSPKI: [32]byte{key}}, "ConflictException",
			"The next key of the node node-b is a key of the node node-a.")
	}
	d.ok(fsm.NodeRenew{ID: "node-a", NextSPKI: [32]byte{2}}) // a key that was given up is nobody's
}

func TestNodeHello(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	want := d.member("node-b")
	hello := fsm.NodeHello{ID: "node-b", Address: "b.example:7777", APIAddress: "b.example:8443", Version: 3}
	want.ModIndex = d.ok(hello)
	want.Address, want.APIAddress, want.Version = "b.example:7777", "b.example:8443", 3
	d.ok(hello)
	if got := d.member("node-b"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestUnknownMember(t *testing.T) {
	t.Parallel()
	d := withToken(t)
	d.ok(nodeAdmit("token", "node-c", 3))
	d.ok(nodeRemove("node-c"))
	for _, id := range []string{"node-x", "node-c"} {
		for _, args := range []fsm.Args{
			fsm.NodeRenew{ID: id, NextSPKI: [32]byte{3}},
			fsm.NodeRenewed{ID: id, SPKI: [32]byte{3}},
			fsm.NodeHello{ID: id, Address: "c:1"},
			nodeRemove(id),
		} {
			d.refused(args, "NotFoundException", "The node "+id+" is not a member of this cluster.")
		}
	}
}

func TestNodeRemove(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	if _, ok := d.View().Removed("node-a"); ok {
		t.Error("a member is found among the removed")
	}
	index := d.ok(nodeRemove("node-a"))
	v := d.View()
	want := fsm.RemovedNode{Versioned: fsm.Versioned{ModIndex: index}, ID: "node-a", SPKI: [32]byte{1}, Removed: d.time,
		Statement: []byte("statement of node-a")}
	if got, ok := v.Removed("node-a"); !ok || !cmp.Equal(*got, want) {
		t.Errorf("Removed: got %+v, want %+v", got, want)
	}
	if _, ok := v.Node("node-a"); ok || len(v.Nodes()) != 1 {
		t.Errorf("the members after the removal: %v", v.Nodes())
	}
	d.refused(nodeRemove("node-b"), "ConflictException", "The node node-b is the last member of this cluster.")
}

func TestMemberRefusals(t *testing.T) {
	t.Parallel()
	change := func(f func(*fsm.NodeAdmit)) fsm.Args {
		c := nodeAdmit("token", "node-c", 3)
		f(&c)
		return c
	}
	long := strings.Repeat("x", 265)
	refuseArgs(t, map[string]fsm.Args{
		"admit by no token":      change(func(c *fsm.NodeAdmit) { c.TokenID = "" }),
		"admit nobody":           change(func(c *fsm.NodeAdmit) { c.Node.ID = "" }),
		"admit a path":           change(func(c *fsm.NodeAdmit) { c.Node.ID = "../x" }),
		"admit without a key":    change(func(c *fsm.NodeAdmit) { c.Node.SPKI = [32]byte{} }),
		"admit with two keys":    change(func(c *fsm.NodeAdmit) { c.Node.NextSPKI = [32]byte{1} }),
		"admit without address":  change(func(c *fsm.NodeAdmit) { c.Node.Address = "" }),
		"admit with a long one":  change(func(c *fsm.NodeAdmit) { c.Node.APIAddress = long }),
		"admit with a date":      change(func(c *fsm.NodeAdmit) { c.Node.Added = start }),
		"admit indexed":          change(func(c *fsm.NodeAdmit) { c.Node.ModIndex = 1 }),
		"renew nobody":           fsm.NodeRenew{NextSPKI: [32]byte{1}},
		"renew to nothing":       fsm.NodeRenew{ID: "node-a"},
		"renewed nobody":         fsm.NodeRenewed{SPKI: [32]byte{1}},
		"renewed to nothing":     fsm.NodeRenewed{ID: "node-a"},
		"hello of nobody":        fsm.NodeHello{Address: "a:1"},
		"hello from nowhere":     fsm.NodeHello{ID: "node-a"},
		"hello from far away":    fsm.NodeHello{ID: "node-a", Address: long},
		"remove nobody":          nodeRemove(""),
		"remove without a word":  fsm.NodeRemove{ID: "node-a"},
		"remove with many words": fsm.NodeRemove{ID: "node-a", Statement: make([]byte, 1025)},
		"bump to nothing":        fsm.VersionBump{},
	})
}

func TestVersionBump(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	index := d.ok(fsm.VersionBump{Version: 3})
	d.ok(fsm.VersionBump{Version: 3})
	d.refused(fsm.VersionBump{Version: 2}, "ConflictException", "The cluster version is 3 and never goes down.")
	got := d.View().Meta()
	want := fsm.Cluster{Versioned: fsm.Versioned{ModIndex: index}, ClusterID: genesis().ClusterID, ClusterVersion: 3,
		OperatorAccount: account, RecoveryRecipient: "age1recipient"}
	if *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	none := &driver{Machine: fsm.New(), t: t, time: start}
	none.refused(fsm.VersionBump{Version: 2}, "NotFoundException", "There is no cluster yet.")
}

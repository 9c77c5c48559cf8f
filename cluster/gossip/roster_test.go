package gossip_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster/gossip"
)

func TestRosterAdmits(t *testing.T) {
	t.Parallel()
	member := func(id string) bool { return id == node2 }
	good := func() (string, string, string) { return node2, "10.0.0.2:7", "two.example:7" }
	r := gossip.NewRoster(node1, member)
	id, packets, addr := good()
	if err := r.NotifyAlive(gossip.NodeOf(id, packets, addr, 1)); err != nil {
		t.Errorf("a member: %v", err)
	}
	if err := r.NotifyAlive(gossip.NodeOf(node1, packets, addr, 1)); err != nil {
		t.Errorf("the node itself: %v", err)
	}
	for name, packets := range map[string]string{
		"port 0": "10.0.0.2:0", "unspecified": "0.0.0.0:7", "multicast": "224.0.0.1:7",
		"unspecified, IPv6": "[::]:7", "multicast, IPv6": "[ff02::1]:7", "mapped": "[::ffff:0.0.0.0]:7",
	} {
		if err := r.NotifyAlive(gossip.NodeOf(id, packets, addr, 1)); err == nil {
			t.Errorf("%s: admitted", name)
		}
	}
	if err := r.NotifyAlive(gossip.NodeOf(node3, packets, addr, 1)); err == nil {
		t.Error("a stranger was admitted")
	}
	for _, meta := range []string{"", "{}", "null", "[]", `{"a":1}`, `{"a":"host"}`, `{"a":"h:1","p":"x"}`, `{"a":"h:1"} `} {
		n := gossip.NodeOf(id, packets, addr, 1)
		n.Meta = []byte(meta)
		err := r.NotifyAlive(n)
		if want := strings.HasPrefix(meta, `{"a":"h:1"}`); (err == nil) != want {
			t.Errorf("metadata %q: %v", meta, err)
		}
	}
	any := gossip.NewRoster(node1, nil)
	for _, name := range []string{"", "node-2", node2 + "x", strings.ToUpper(node2)} {
		if err := any.NotifyAlive(gossip.NodeOf(name, packets, addr, 1)); err == nil {
			t.Errorf("name %q: admitted", name)
		}
	}
	if _, ok := any.Member(node2); ok {
		t.Error("a node was known before memberlist took it")
	}
}

func TestRosterIsBounded(t *testing.T) {
	t.Parallel()
	r := gossip.NewRoster(node1, nil)
	for i := range 10 * gossip.MaxMembers {
		n := gossip.NodeOf(fmt.Sprintf("aaaaaaaa-aaaa-4aaa-8aaa-%012x", i), "10.0.0.2:7", "two.example:7", 1)
		if err := r.NotifyAlive(n); (err == nil) != (i < gossip.MaxMembers) {
			t.Fatalf("name %d: %v", i, err)
		}
		if i%2 == 0 && i < gossip.MaxMembers {
			r.NotifyJoin(n)
		}
	}
	if got := r.Size(); got != gossip.MaxMembers {
		t.Errorf("%d names, want %d", got, gossip.MaxMembers)
	}
	// The dead of long ago make room, the living do not.
	r.Age(time.Hour)
	admitted := 0
	for i := range gossip.MaxMembers {
		n := gossip.NodeOf(fmt.Sprintf("bbbbbbbb-aaaa-4aaa-8aaa-%012x", i), "10.0.0.2:7", "two.example:7", 1)
		if r.NotifyAlive(n) == nil {
			admitted++
		}
	}
	if admitted != gossip.MaxMembers/2 || r.Size() != gossip.MaxMembers {
		t.Errorf("%d admitted of %d places, %d names", admitted, gossip.MaxMembers/2, r.Size())
	}
}

// The hint follows the latest start of a node, whatever order the news comes in.
func TestRosterPrefersTheLatestStart(t *testing.T) {
	t.Parallel()
	r := gossip.NewRoster(node1, nil)
	at := func(host string, started int64) func(func(n *member)) {
		n := gossip.NodeOf(node2, "10.0.0.2:7", host+":7", started)
		return func(f func(*member)) {
			if err := r.NotifyAlive(n); err != nil {
				t.Fatal(err)
			}
			f(n)
		}
	}
	want := func(step, host string, alive bool) {
		t.Helper()
		m, ok := r.Member(node2)
		if !ok || m.Addr != host+":7" || m.Alive != alive {
			t.Errorf("%s: %+v, %t; want %s, alive %t", step, m, ok, host, alive)
		}
	}
	at("first", 10)(r.NotifyJoin)
	want("join", "first", true)
	conflict := func(n *member) { r.NotifyConflict(nil, n) }
	at("second", 20)(conflict)
	want("news in a conflict", "second", true)
	at("first", 10)(conflict)
	want("old news in a conflict", "second", true)
	at("first", 10)(r.NotifyUpdate)
	want("old news in an update", "second", true)
	at("first", 10)(r.NotifyLeave)
	want("the old address is dead", "second", false)
	at("second", 20)(r.NotifyJoin)
	want("joined at the new one", "second", true)
	at("second", 20)(r.NotifyLeave)
	at("third", 5)(r.NotifyJoin) // its clock was set back
	want("an earlier start after death", "third", true)
}

func TestMetaRoundTrip(t *testing.T) {
	t.Parallel()
	for _, m := range []gossip.Meta{{}, {APIAddress: "[2001:db8::1]:443", Version: 1<<32 - 1}, {APIAddress: "api.example:1"}} {
		b, err := gossip.EncodeMeta("n.example:65535", m, 1<<62)
		if err != nil {
			t.Fatal(err)
		}
		addr, got, started, err := gossip.ParseMeta(b)
		if err != nil || addr != "n.example:65535" || got != m || started != 1<<62 {
			t.Errorf("%s: %s %+v %d %v, want %+v", b, addr, got, started, err, m)
		}
	}
	// A later version may say more.
	if _, _, _, err := gossip.ParseMeta([]byte(`{"a":"h:1","s":3,"new":[1]}`)); err != nil {
		t.Errorf("an unknown field: %v", err)
	}
}

func FuzzMeta(f *testing.F) {
	f.Add([]byte(`{"a":"h:1","p":"[::1]:2","v":3,"s":4}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, m, started, err := gossip.ParseMeta(b)
		if err != nil {
			return
		}
		if len(b) > 512 || !json.Valid(b) || !gossip.ValidAddr(addr) {
			t.Errorf("%q was taken", b)
		}
		again, err := gossip.EncodeMeta(addr, m, started)
		if err != nil && len(again) <= 512 && bytes.Contains(b, []byte(addr)) {
			t.Errorf("%q is read but not written: %v", b, err)
		}
	})
}

func TestValidAddr(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"10.0.0.1:1": true, "host:65535": true, "a.b-c_d.example:7": true, "[2001:db8::1]:7": true, "127.0.0.1:7": true,
		"": false, ":7": false, "host": false, "host:": false, "host:0": false, "host:65536": false, "host:http": false,
		"0.0.0.0:7": false, "[::]:7": false, "224.0.0.1:7": false, "[fe80::1%eth0]:7": false, "ho st:7": false,
		"host/x:7": false, "-host:7": false, "2001:db8::1:7": false, "host\n:7": false,
		strings.Repeat("a", 254) + ":7": false,
	} {
		if got := gossip.ValidAddr(addr); got != want {
			t.Errorf("ValidAddr(%q) = %t, want %t", addr, got, want)
		}
	}
}

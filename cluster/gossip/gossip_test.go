package gossip_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster/gossip"
	"github.com/kmsd/kmsd/internal/testport"
)

func TestMembersFindEachOther(t *testing.T) {
	t.Parallel()
	want := map[string]gossip.Meta{
		node1: {APIAddress: "one.example:8443", Version: 1},
		node2: {APIAddress: "two.example:8443", Version: 2},
		node3: {},
	}
	nodes := map[string]*node{}
	for id, m := range want {
		nodes[id] = start(t, id, func(c *gossip.Config) { c.Meta = func() gossip.Meta { return m } })
	}
	nodes[node2].join(t, nodes[node1])
	nodes[node3].join(t, nodes[node1])
	for _, n := range nodes {
		for id, meta := range want {
			await(t, "the member is known", func() bool { return n.sees(id) })
			m, _ := n.Member(id)
			if m.Meta != meta || m.Addr != nodes[id].addr {
				t.Errorf("member %s is %+v, want %s %+v", id, m, nodes[id].addr, meta)
			}
			if addr, ok := n.Addr(id); addr != m.Addr || !ok {
				t.Errorf("Addr = %s, %t, want %s", addr, ok, m.Addr)
			}
		}
		if got := n.metric(t, "kmsd_gossip_alive_members", ""); got != 3 {
			t.Errorf("%v members alive, want 3", got)
		}
		await(t, "packets are exchanged", func() bool {
			return n.metric(t, "kmsd_gossip_packets_received_total", "") > 3 &&
				n.metric(t, "kmsd_gossip_packets_sent_total", "") > 3
		})
		if got := n.metric(t, "kmsd_gossip_packets_dropped_total", ""); got != 0 {
			t.Errorf("%v packets dropped, want none", got)
		}
	}
	if addr, ok := nodes[node1].Addr("aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa4"); ok {
		t.Errorf("an unknown node is at %s", addr)
	}
	if alive, known := nodes[node1].Alive("nobody"); alive || known {
		t.Errorf("an unknown node: alive %t, known %t", alive, known)
	}
}

func TestDeathIsNoticed(t *testing.T) {
	t.Parallel()
	a, b, c := start(t, node1, nil), start(t, node2, nil), start(t, node3, nil)
	b.join(t, a)
	c.join(t, a)
	await(t, "all know each other", func() bool {
		return a.sees(node2) && a.sees(node3) && b.sees(node1) && b.sees(node3)
	})
	c.stop()
	await(t, "the dead member is noticed", func() bool { return a.seesDead(node3) && b.seesDead(node3) })
	if !a.sees(node2) || !b.sees(node1) {
		t.Error("the living do not see each other")
	}
	if addr, ok := a.Addr(node3); addr != c.addr || !ok {
		t.Errorf("Addr of the dead member = %s, %t; want its last, %s", addr, ok, c.addr)
	}
}

func TestLeaveIsToldAtOnce(t *testing.T) {
	t.Parallel()
	a, b := start(t, node1, nil), start(t, node2, nil)
	b.join(t, a)
	await(t, "a knows b", func() bool { return a.sees(node2) })
	if err := b.Leave(patience); err != nil {
		t.Fatal(err)
	}
	await(t, "b has left", func() bool { return a.seesDead(node2) })
	if _, err := b.Join([]string{a.addr}); !errors.Is(err, gossip.ErrClosed) {
		t.Errorf("Join after Leave: %v, want ErrClosed", err)
	}
	b.stop()
	// It may come back elsewhere at once.
	b2 := start(t, node2, nil)
	b2.join(t, a)
	await(t, "b is back", func() bool { return a.sees(node2) && gossip.AddressSeen(a.Gossip, node2) == b2.addr })
}

func TestLeaveIsBounded(t *testing.T) {
	t.Parallel()
	a, b := start(t, node1, nil), start(t, node2, nil)
	b.join(t, a)
	await(t, "b knows a", func() bool { return b.sees(node1) })
	a.stop()
	began := time.Now()
	_ = b.Leave(50 * time.Millisecond) // somebody may have been told, or not
	if took := time.Since(began); took > patience {
		t.Errorf("Leave took %v", took)
	}
}

// A member that comes back at another address while the others still believe it
// alive at the old one.
func TestChangedAddressIsFound(t *testing.T) {
	t.Parallel()
	a, b, c := start(t, node1, nil), start(t, node2, nil), start(t, node3, nil)
	b.join(t, a)
	c.join(t, a)
	await(t, "all know each other", func() bool { return a.sees(node3) && b.sees(node3) && c.sees(node2) })
	c.stop()
	c2 := start(t, node3, nil)
	c2.join(t, a)
	for _, n := range []*node{a, b} {
		await(t, "the new address is hinted", func() bool { addr, _ := n.Addr(node3); return addr == c2.addr })
		await(t, "packets go there", func() bool {
			return n.sees(node3) && gossip.AddressSeen(n.Gossip, node3) == c2.addr
		})
		if addr, _ := n.Addr(node3); addr != c2.addr {
			t.Errorf("Addr = %s, want %s", addr, c2.addr)
		}
	}
}

func TestJoinIsRetried(t *testing.T) {
	t.Parallel()
	p := openPort(t, testport.Addr(t), plain)
	addr := p.addr
	p.close()
	a, b := start(t, node1, nil), start(t, node2, nil)
	n, err := a.Join([]string{addr, b.addr})
	if n != 1 || err == nil || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), b.addr) {
		t.Fatalf("Join = %d, %v; want 1 and an error that names %s only", n, err, addr)
	}
	startOn(t, openPort(t, addr, plain), node3, nil)
	await(t, "the late member is found", func() bool { return a.sees(node3) && b.sees(node3) })
}

// Two parts of a cluster that lost sight of each other find together by the known
// addresses, without any Join.
func TestKnownAddressesAreTriedWhenMissing(t *testing.T) {
	t.Parallel()
	var known atomic.Pointer[[]string]
	known.Store(&[]string{})
	peers := func(c *gossip.Config) { c.Peers = func() []string { return *known.Load() } }
	a, b, c := start(t, node1, peers), start(t, node2, peers), start(t, node3, peers)
	known.Store(&[]string{a.addr, b.addr, c.addr, "", "nonsense"})
	for _, n := range []*node{a, b, c} {
		await(t, "the others are found", func() bool { return n.sees(node1) && n.sees(node2) && n.sees(node3) })
	}
}

func TestJoinByName(t *testing.T) {
	t.Parallel()
	a, b := start(t, node1, nil), start(t, node2, nil)
	_, number, err := net.SplitHostPort(a.addr)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := b.Join([]string{"localhost:" + number}); n != 1 || err != nil {
		t.Fatalf("Join = %d, %v", n, err)
	}
	if !b.sees(node1) {
		t.Error("the member was not joined")
	}
}

func TestNamesAreAdvertisedAsNames(t *testing.T) {
	t.Parallel()
	a := start(t, node1, nil)
	b := start(t, node2, func(c *gossip.Config) {
		_, number, _ := net.SplitHostPort(c.Bind)
		c.Advertise = "does-not-resolve.invalid:" + number
	})
	b.join(t, a)
	await(t, "a knows b", func() bool { return a.sees(node2) })
	want := "does-not-resolve.invalid:" + b.addr[strings.LastIndexByte(b.addr, ':')+1:]
	if addr, _ := a.Addr(node2); addr != want {
		t.Errorf("Addr = %s, want %s", addr, want)
	}
	if got := gossip.AddressSeen(a.Gossip, node2); got != b.addr {
		t.Errorf("packets go to %s, want the bound address %s", got, b.addr)
	}
}

func TestStrangersAreIgnored(t *testing.T) {
	t.Parallel()
	a := start(t, node1, func(c *gossip.Config) { c.Known = func(id string) bool { return id == node2 } })
	b, c := start(t, node2, nil), start(t, node3, nil)
	b.join(t, a)
	c.join(t, a)
	await(t, "the member is known", func() bool { return a.sees(node2) })
	await(t, "the stranger's claim is refused", func() bool {
		return a.metric(t, "kmsd_gossip_claims_refused_total", "") > 0
	})
	if _, known := a.Alive(node3); known {
		t.Error("the stranger is known")
	}
}

func TestOtherClustersStreamsAreRefused(t *testing.T) {
	t.Parallel()
	a := start(t, node1, nil)
	b := start(t, node2, func(c *gossip.Config) { c.ClusterID = clusterB })
	if n, err := b.Join([]string{a.addr}); n != 0 || err == nil {
		t.Errorf("Join = %d, %v; want a refusal", n, err)
	}
	if _, known := a.Alive(node2); known {
		t.Error("the other cluster's node is known")
	}
	if _, known := b.Alive(node1); known {
		t.Error("the other cluster's node knows this one")
	}
}

func TestMetaChangesWhileRunning(t *testing.T) {
	t.Parallel()
	var meta atomic.Pointer[gossip.Meta]
	meta.Store(&gossip.Meta{Version: 1})
	a := start(t, node1, nil)
	b := start(t, node2, func(c *gossip.Config) { c.Meta = func() gossip.Meta { return *meta.Load() } })
	b.join(t, a)
	shows := func(version uint32) func() bool {
		return func() bool { m, _ := a.Member(node2); return m.Meta.Version == version }
	}
	await(t, "version 1", shows(1))
	meta.Store(&gossip.Meta{Version: 2, APIAddress: "b.example:443"})
	await(t, "version 2", shows(2))
	// What is too large is not told; the old stays, and gossip goes on.
	meta.Store(&gossip.Meta{Version: 3, APIAddress: strings.Repeat("x", 600) + ":443"})
	before := a.metric(t, "kmsd_gossip_packets_received_total", "")
	await(t, "gossip goes on", func() bool {
		return a.metric(t, "kmsd_gossip_packets_received_total", "") > before+3
	})
	if m, _ := a.Member(node2); m.Meta.Version != 2 || m.Meta.APIAddress != "b.example:443" {
		t.Errorf("metadata = %+v, want version 2's", m.Meta)
	}
	meta.Store(&gossip.Meta{Version: 4})
	await(t, "version 4", shows(4))
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	p := openPort(t, testport.Addr(t), plain)
	t.Cleanup(p.close)
	for name, change := range map[string]func(*gossip.Config){
		"no node ID":            func(c *gossip.Config) { c.NodeID = "" },
		"node ID is no UUID":    func(c *gossip.Config) { c.NodeID = "node-1" },
		"no cluster ID":         func(c *gossip.Config) { c.ClusterID = "" },
		"no keys":               func(c *gossip.Config) { c.Keys = nil },
		"short key":             func(c *gossip.Config) { c.Keys = [][]byte{key(1), key(1)[:16]} },
		"too many keys":         func(c *gossip.Config) { c.Keys = make([][]byte, 9) },
		"no dialler":            func(c *gossip.Config) { c.Dial = nil },
		"no streams":            func(c *gossip.Config) { c.Accept = nil },
		"no logger":             func(c *gossip.Config) { c.Logger = nil },
		"bind without port":     func(c *gossip.Config) { c.Bind = "127.0.0.1" },
		"advertise port 0":      func(c *gossip.Config) { c.Advertise = "127.0.0.1:0" },
		"advertise everything":  func(c *gossip.Config) { c.Advertise = "0.0.0.0:7" },
		"nothing to advertise":  func(c *gossip.Config) { c.Bind, c.Advertise = ":0", "" },
		"someone else's number": func(c *gossip.Config) { c.Bind = "192.0.2.1:1" },
		"API address": func(c *gossip.Config) {
			c.Meta = func() gossip.Meta { return gossip.Meta{APIAddress: "no port"} }
		},
	} {
		cfg := gossip.Config{
			NodeID: node1, ClusterID: clusterA, Bind: "127.0.0.1:0", Keys: [][]byte{key(1)},
			Dial: dialPlain, Accept: p.accept, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		}
		change(&cfg)
		if g, err := gossip.Start(cfg); err == nil {
			t.Errorf("%s: started", name)
			_ = g.Close()
		}
	}
}

func TestOversizedMetaIsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 240) + ".example:65000"
	_, err := gossip.Start(gossip.Config{
		NodeID: node1, ClusterID: clusterA, Bind: "127.0.0.1:0", Advertise: long, Keys: [][]byte{key(1)},
		Dial: dialPlain, Accept: make(chan net.Conn), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Meta: func() gossip.Meta { return gossip.Meta{APIAddress: long, Version: 1} },
	})
	if !errors.Is(err, gossip.ErrMeta) {
		t.Errorf("Start: %v, want ErrMeta", err)
	}
}

func TestJoinRefusesWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	a := start(t, node1, nil)
	for _, addr := range []string{"", "host", "host:", ":1", "host:0", "host:70000", "0.0.0.0:1", "a b:1", "name/1.2.3.4:5"} {
		if n, err := a.Join([]string{addr}); n != 0 || err == nil {
			t.Errorf("Join(%q) = %d, %v; want an error", addr, n, err)
		}
	}
	if _, err := a.Join(make([]string, 65)); err == nil {
		t.Error("65 addresses were taken")
	}
	if n, err := a.Join(nil); n != 0 || err != nil {
		t.Errorf("Join(nil) = %d, %v", n, err)
	}
}

// After Close the port is free, nothing of the configuration is called and calls
// say so.
func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	var calls, running atomic.Int64
	called := func() { calls.Add(1) }
	b := start(t, node2, nil)
	hung := make(chan struct{}, 1)
	a := start(t, node1, func(c *gossip.Config) {
		c.Peers = func() []string { called(); return []string{b.addr, "192.0.2.1:7"} }
		c.Meta = func() gossip.Meta { called(); return gossip.Meta{} }
		c.Known = func(string) bool { called(); return true }
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			called()
			running.Add(1)
			defer running.Add(-1)
			if addr == b.addr {
				return dialPlain(ctx, addr)
			}
			select {
			case hung <- struct{}{}:
			default:
			}
			<-ctx.Done() // a peer that never answers
			return nil, ctx.Err()
		}
	})
	await(t, "a sees b", func() bool { return a.sees(node2) })
	<-hung
	began := time.Now()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	before := calls.Load()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("Close took %v", took)
	}
	if n := running.Load(); n != 0 {
		t.Errorf("%d dials run after Close", n)
	}
	u, err := net.ListenPacket("udp", a.addr)
	if err != nil {
		t.Errorf("the port is not free: %v", err)
	} else {
		_ = u.Close()
	}
	if err := a.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := a.Join([]string{b.addr}); !errors.Is(err, gossip.ErrClosed) {
		t.Errorf("Join: %v, want ErrClosed", err)
	}
	if err := a.Leave(time.Second); !errors.Is(err, gossip.ErrClosed) {
		t.Errorf("Leave: %v, want ErrClosed", err)
	}
	await(t, "b notices", func() bool { return b.seesDead(node1) })
	if n := calls.Load(); n != before {
		t.Errorf("%d calls after Close", n-before)
	}
}

package gossip_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kmsd/kmsd/cluster/gossip"
	"github.com/kmsd/kmsd/internal/testport"
)

const (
	clusterA = "11111111-1111-4111-8111-111111111111"
	clusterB = "22222222-2222-4222-8222-222222222222"
	node1    = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa1"
	node2    = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa2"
	node3    = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa3"
)

// patience bounds every wait; the machine may be busy.
const patience = 30 * time.Second

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// TestMain checks that nothing runs on after the tests. memberlist's last probe
// ends by itself.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(5 * time.Second)
	for err := goleak.Find(); code == 0 && err != nil; err = goleak.Find() {
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// await polls until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("not in time: " + what)
		}
	}
}

// A port is a cluster port: TCP and UDP of one number on loopback.
type port struct {
	addr     string
	accept   chan net.Conn
	listener net.Listener
	done     chan struct{}
	wg       sync.WaitGroup
}

// A wrap makes a stream of an accepted connection; an error refuses it.
type wrap func(net.Conn) (net.Conn, error)

func plain(c net.Conn) (net.Conn, error) { return c, nil }

// openPort listens at addr, where UDP is free as well.
func openPort(t *testing.T, addr string, server wrap) *port {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &port{addr: addr, accept: make(chan net.Conn), listener: l, done: make(chan struct{})}
	p.wg.Go(func() { p.serve(server) })
	return p
}

func (p *port) serve(server wrap) {
	for {
		raw, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() {
			_ = raw.SetDeadline(time.Now().Add(patience))
			c, err := server(raw)
			if err != nil {
				_ = raw.Close()
				return
			}
			select {
			case p.accept <- c:
			case <-p.done:
				_ = c.Close()
			}
		})
	}
}

func (p *port) close() {
	close(p.done)
	_ = p.listener.Close()
	p.wg.Wait()
}

func dialPlain(ctx context.Context, addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
}

// A node is a member under test.
type node struct {
	*gossip.Gossip
	addr     string
	registry *prometheus.Registry
	port     *port
	once     sync.Once
}

// start runs a member; change may alter its configuration.
func start(t *testing.T, id string, change func(*gossip.Config)) *node {
	t.Helper()
	return startOn(t, openPort(t, testport.Addr(t), plain), id, change)
}

func startOn(t *testing.T, p *port, id string, change func(*gossip.Config)) *node {
	t.Helper()
	n := &node{addr: p.addr, port: p, registry: prometheus.NewRegistry()}
	cfg := gossip.Config{
		NodeID: id, ClusterID: clusterA, Bind: n.addr, Advertise: n.addr, Keys: [][]byte{key(1)},
		Dial: dialPlain, Accept: p.accept, Registerer: n.registry,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)).With("node", id[len(id)-1:]),
	}
	if change != nil {
		change(&cfg)
	}
	g, err := gossip.Start(gossip.Fast(cfg))
	if err != nil {
		p.close()
		t.Fatal(err)
	}
	n.Gossip = g
	t.Cleanup(n.stop)
	return n
}

// stop ends the member as if its process were killed.
func (n *node) stop() {
	n.once.Do(func() {
		_ = n.Close()
		n.port.close()
	})
}

// join joins the others. What they say is known to n when it returns; that they
// know n is to be awaited, because they merge after they have answered.
func (n *node) join(t *testing.T, others ...*node) {
	t.Helper()
	var addrs []string
	for _, o := range others {
		addrs = append(addrs, o.addr)
	}
	if got, err := n.Join(addrs); got != len(addrs) || err != nil {
		t.Fatalf("Join: %d of %d, %v", got, len(addrs), err)
	}
}

func (n *node) sees(id string) bool {
	alive, known := n.Alive(id)
	return alive && known
}

func (n *node) seesDead(id string) bool {
	alive, known := n.Alive(id)
	return !alive && known
}

// metric returns the sum of a metric's values whose label, if one is given, has
// that value.
func (n *node) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func (n *node) dropped(t *testing.T, reason string) float64 {
	t.Helper()
	return n.metric(t, "kmsd_gossip_packets_dropped_total", reason)
}

// send puts packets on the wire to a member, from a stranger's socket.
func (n *node) send(t *testing.T, packets ...[]byte) {
	t.Helper()
	c, err := net.Dial("udp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, p := range packets {
		// A full buffer of the kernel's is as good as a lost packet.
		if _, err := c.Write(p); err != nil && !errors.Is(err, io.ErrShortWrite) {
			t.Log(err)
		}
	}
}

// msgpack encodes what memberlist's messages consist of: maps of names to numbers
// and short texts.
func msgpack(fields ...any) []byte {
	out := []byte{0x80 | byte(len(fields)/2)}
	for _, f := range fields {
		switch v := f.(type) {
		case string:
			out = append(append(out, 0xd9, byte(len(v))), v...)
		case uint32:
			out = append(out, 0xce, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		}
	}
	return out
}

// member is a node as memberlist hands it over.
type member = memberlist.Node

// fuzzed is a member whose packets are not limited.
func fuzzed(t testing.TB) *node {
	t.Helper()
	registry := prometheus.NewRegistry()
	g, err := gossip.Start(gossip.Fast(gossip.Config{
		NodeID: node1, ClusterID: clusterA, Bind: "127.0.0.1:0", Keys: [][]byte{key(1)}, Registerer: registry,
		Dial:   func(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody") },
		Accept: make(chan net.Conn), Logger: slog.New(slog.DiscardHandler),
	}))
	if err != nil {
		t.Fatal(err)
	}
	gossip.Unhurried(g)
	return &node{Gossip: g, registry: registry}
}

// deadMessage says that a node is dead.
func deadMessage(id, from string, incarnation uint32) []byte {
	return append([]byte{5}, msgpack("Incarnation", incarnation, "Node", id, "From", from)...)
}

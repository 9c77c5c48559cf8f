package cluster_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster"
)

// A slowRoad leads to the nodes, but keeps what is first sent over a connection for a
// while, as a machine does that has no time for handshakes.
type slowRoad struct {
	t     *testing.T
	delay time.Duration
	wg    sync.WaitGroup

	mu    sync.Mutex
	gates map[string]net.Listener // guarded by mu; by the address behind it
	conns []net.Conn              // guarded by mu
	over  bool                    // guarded by mu
}

func newSlowRoad(t *testing.T, delay time.Duration) *slowRoad {
	r := &slowRoad{t: t, delay: delay, gates: map[string]net.Listener{}}
	t.Cleanup(r.close)
	return r
}

// to returns the address that leads to another one.
func (r *slowRoad) to(addr string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return addr
	}
	l := r.gates[addr]
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			r.t.Error(err)
			return addr
		}
		r.gates[addr] = l
		r.wg.Go(func() { r.serve(l, addr) })
	}
	return l.Addr().String()
}

func (r *slowRoad) serve(l net.Listener, addr string) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.pass(from, addr) })
	}
}

func (r *slowRoad) pass(from net.Conn, addr string) {
	defer from.Close()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	r.mu.Lock()
	r.conns = append(r.conns, from, to)
	over := r.over
	r.mu.Unlock()
	if over {
		return
	}
	first := make([]byte, 4096)
	n, err := from.Read(first)
	<-time.After(r.delay)
	if _, failed := to.Write(first[:n]); err != nil || failed != nil {
		return
	}
	r.wg.Go(func() {
		_, _ = io.Copy(from, to)
		_ = from.Close()
	})
	_, _ = io.Copy(to, from)
}

func (r *slowRoad) close() {
	r.mu.Lock()
	r.over = true
	for _, l := range r.gates {
		_ = l.Close()
	}
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// Handshakes take longer than a Beat may: the Beats come through all the same, once
// there are connections.
func TestBeatsAfterSlowHandshakes(t *testing.T) {
	t.Parallel()
	road := newSlowRoad(t, time.Second)
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) {
		direct := cfg.Resolve
		if direct == nil {
			return // for Init
		}
		cfg.Resolve = func(id string) (string, bool) {
			addr, ok := direct(id)
			if !ok {
				return "", false
			}
			return road.to(addr), true
		}
	})
	c.ready()
	c.forward(1)
	c.wantEqual()
}

// Raft reaches the members and the Beats do not: another node leads soon.
func TestLeaderWhoseBeatsAreLost(t *testing.T) {
	t.Parallel()
	var net inmemNetwork
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) { cfg.SetTransport(net.transport) })
	c.ready()
	lead, others := c.split()
	c.isolate(lead, true) // from what does not go through Raft
	until(t, "another node leads and serves", func() bool { return c.leader() != lead })
	c.forward(others[0])
	c.isolate(lead, false)
	c.ready()
	c.wantEqual()
}

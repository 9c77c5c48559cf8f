package integration_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A proxy passes TCP connections on to a node. It can lose a reply: it waits until
// one has come back from the node and ends the connection instead of passing it
// on, so that the request was executed and the client does not know.
type proxy struct {
	t        *testing.T
	listener net.Listener
	target   string
	lose     atomic.Bool  // the next reply
	lost     atomic.Int64 // replies that were
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; nil after the end
}

// newProxy starts a proxy that ends with the test.
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, listener: l, target: target, conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.serve)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) endpoint() string { return "http://" + p.listener.Addr().String() }

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.wg.Wait()
}

// keep enters a connection for close. It reports false after the end.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		_ = c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		if !p.keep(client) {
			return
		}
		p.wg.Go(func() { p.pass(client) })
	}
}

func (p *proxy) pass(client net.Conn) {
	defer client.Close()
	node, err := net.Dial("tcp", p.target)
	if err != nil {
		p.t.Errorf("the proxy cannot reach the node: %v", err)
		return
	}
	defer node.Close()
	if !p.keep(node) {
		return
	}
	p.wg.Go(func() {
		_, _ = io.Copy(node, client)
		_ = node.Close()
	})
	reply := make([]byte, 64<<10)
	for {
		n, err := node.Read(reply)
		if n > 0 && p.lose.CompareAndSwap(true, false) {
			p.lost.Add(1)
			return
		}
		if _, failed := client.Write(reply[:n]); err != nil || failed != nil {
			return
		}
	}
}

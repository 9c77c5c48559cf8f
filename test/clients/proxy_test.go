package clients_test

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// lossy is a load balancer in front of the nodes that loses replies: it passes a
// request on, waits until the node has answered, and closes the connection
// instead of passing the answer back. Each connection goes to the next node, so
// that the retry reaches another one.
type lossy struct {
	listener net.Listener

	mu    sync.Mutex
	next  int // node of the next connection
	lose  int // replies still to lose
	lost  int // replies lost
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// newLossy starts a proxy, which ends with the test.
func newLossy(t *testing.T) *lossy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &lossy{listener: listener, conns: map[net.Conn]struct{}{}}
	l.wg.Go(l.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		l.mu.Lock()
		for conn := range l.conns {
			_ = conn.Close()
		}
		l.mu.Unlock()
		l.wg.Wait()
	})
	return l
}

// endpoint is what clients use as the URL of the service.
func (l *lossy) endpoint() string { return "http://" + l.listener.Addr().String() }

// arm makes the proxy lose the next replies.
func (l *lossy) arm(replies int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose, l.lost = replies, 0
}

// losses is how many replies were lost since arm.
func (l *lossy) losses() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

func (l *lossy) serve() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		node, err := net.Dial("tcp", strings.TrimPrefix(dev.endpoints[l.pick()], "http://"))
		if err != nil {
			_ = client.Close()
			continue
		}
		l.hold(client, node)
		l.wg.Go(func() { l.pass(node, client, func() bool { return false }) })
		l.wg.Go(func() { l.pass(client, node, l.loses) })
	}
}

func (l *lossy) pick() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	node := l.next
	l.next = (l.next + 1) % nodes
	return node
}

// loses tells whether the reply that has arrived is to be lost.
func (l *lossy) loses() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lose == 0 {
		return false
	}
	l.lose--
	l.lost++
	return true
}

func (l *lossy) hold(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range conns {
		l.conns[conn] = struct{}{}
	}
}

// pass copies until the connection ends or what arrived is to be lost, and then
// closes both sides.
func (l *lossy) pass(to, from net.Conn, drop func() bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && drop() {
			return
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

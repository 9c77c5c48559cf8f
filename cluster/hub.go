package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
)

const (
	// handshakeTimeout bounds dialling and the TLS handshake of a connection.
	handshakeTimeout = 5 * time.Second
	// maxStrangers is how many connections may be in their handshake at once. What
	// comes beyond is closed: members try again.
	maxStrangers = 256
	// maxConns bounds the connections that are past their handshake, from all
	// members together.
	maxConns = 4096
	// keepAlive finds dead peers behind idle connections.
	keepAlive = 15 * time.Second
)

// errNoAddress is returned by dial when nobody knows where the node is.
var errNoAddress = errors.New("the node's address is not known")

// A hub is the node's cluster port: one listener for all protocols, and all
// connections in both directions, so that none outlives it.
type hub struct {
	self      string // node ID
	log       *slog.Logger
	listener  net.Listener
	creds     func() *trust.Credentials
	accept    trust.Accept
	member    trust.Accept // as the state of a living leader has it
	wall      func() time.Time
	resolve   func(nodeID string) []string // where a member may be, the likeliest place first
	strangers chan struct{}                // a token for each handshake
	raft      chan net.Conn
	gossip    chan net.Conn
	protocols []string                              // of members
	rpc       func(peer trust.Identity, c net.Conn) // serves until the connection ends
	join      func(c *tls.Conn)                     // serves a node that is no member
	done      chan struct{}
	boot      func() time.Duration

	mu     sync.Mutex
	conns  map[*conn]struct{}       // guarded by mu; nil once closed
	heard  map[string]*atomic.Int64 // guarded by mu; by member: boot time in ns of the last bytes from it
	served sync.WaitGroup
}

// A conn is a verified connection that the hub knows.
type conn struct {
	*tls.Conn
	h    *hub
	peer trust.Identity // zero for a node that is no member
	// remembered tells that the peer was accepted by this node's memory and not by the
	// state of a living leader.
	remembered bool
	heard      *atomic.Int64 // nil for a node that is no member
}

// Read notes that the peer is heard.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.heard != nil {
		c.heard.Store(int64(c.h.boot()))
	}
	return n, err
}

// Close ends the connection.
func (c *conn) Close() error {
	c.h.mu.Lock()
	delete(c.h.conns, c)
	c.h.mu.Unlock()
	// The notice that the protocol wants written may not wait for a peer that reads
	// nothing.
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	return c.Conn.Close()
}

var errClosed = errors.New("the node is shutting down")

func newHub(self string, l net.Listener, creds func() *trust.Credentials, accept trust.Accept, cfg *Config) *hub {
	protocols := []string{trust.ProtocolRaft, trust.ProtocolRPC}
	if cfg.Gossip {
		protocols = append(protocols, trust.ProtocolGossip)
	}
	return &hub{
		protocols: protocols,
		self:      self, log: cfg.Logger, listener: l, creds: creds, accept: accept,
		wall: cfg.Clock.Wall, boot: cfg.Clock.Boot,
		strangers: make(chan struct{}, maxStrangers), raft: make(chan net.Conn), gossip: make(chan net.Conn),
		done: make(chan struct{}), conns: map[*conn]struct{}{}, heard: map[string]*atomic.Int64{},
	}
}

// start begins to accept. rpc must be set.
func (h *hub) start() { h.served.Go(h.serve) }

func (h *hub) serve() {
	for {
		c, err := h.listener.Accept()
		if err != nil {
			select {
			case <-h.done:
				return
			case <-time.After(10 * time.Millisecond): // out of file descriptors: wait for some
				h.log.Warn("accepting a connection on the cluster port", "err", err)
				continue
			}
		}
		select {
		case h.strangers <- struct{}{}:
			h.served.Go(func() { h.welcome(c) })
		default:
			_ = c.Close()
		}
	}
}

// welcome shakes hands with whoever connected and hands the connection to its
// protocol.
func (h *hub) welcome(raw net.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	go func() { // a handshake does not hold up the node's end
		select {
		case <-h.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	tc := tls.Server(raw, h.creds().Listen(h.accept, h.wall, h.protocols...))
	err := tc.HandshakeContext(ctx)
	<-h.strangers
	if !stop() || err != nil {
		_ = raw.Close()
		h.log.Warn("connection to the cluster port refused", "remote", raw.RemoteAddr().String(), "err", err)
		return
	}
	cancel()
	c, err := h.track(tc)
	if err != nil {
		return
	}
	h.route(c)
}

func (h *hub) route(c *conn) {
	switch c.ConnectionState().NegotiatedProtocol {
	case trust.ProtocolJoin:
		defer c.Close()
		h.join(c.Conn)
	case trust.ProtocolRPC:
		defer c.Close()
		h.rpc(c.peer, c)
	case trust.ProtocolGossip:
		h.pass(h.gossip, c)
	default:
		h.pass(h.raft, c)
	}
}

// pass hands a connection to whom it is for.
func (h *hub) pass(to chan<- net.Conn, c *conn) {
	select {
	case to <- c:
	case <-h.done:
		_ = c.Close()
	}
}

// review ends the connections with those who may not stay.
func (h *hub) review(mayStay func(peer trust.Identity, remembered bool) bool) {
	h.mu.Lock()
	var gone []*conn
	for c := range h.conns {
		if c.peer.NodeID != "" && !mayStay(c.peer, c.remembered) {
			gone = append(gone, c)
		}
	}
	h.mu.Unlock()
	for _, c := range gone {
		h.log.Info("closing a connection with a node that is no member any more", "node", c.peer.NodeID)
		_ = c.NetConn().Close() // whoever uses it learns so and calls Close
	}
}

// track adds a connection to those that end with the hub.
func (h *hub) track(tc *tls.Conn) (*conn, error) {
	c := &conn{Conn: tc, h: h}
	if cs := tc.ConnectionState(); cs.NegotiatedProtocol != trust.ProtocolJoin {
		peer, err := trust.Peer(cs)
		if err != nil {
			_ = tc.NetConn().Close()
			return nil, err
		}
		c.peer, c.remembered = peer, !h.member(peer.NodeID, peer.SPKI)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns == nil || len(h.conns) >= maxConns {
		_ = tc.NetConn().Close()
		return nil, errClosed
	}
	h.conns[c] = struct{}{}
	c.heard = h.ear(c.peer.NodeID)
	// Again, now that review sees the connection: the peer may have been removed after
	// the handshake asked.
	if c.peer.NodeID != "" && !h.accept(c.peer.NodeID, c.peer.SPKI) {
		delete(h.conns, c)
		_ = tc.NetConn().Close()
		return nil, trust.ErrRefused
	}
	return c, nil
}

// ear returns where it is noted when a member was heard, nil for a node that is none.
// h.mu is held.
func (h *hub) ear(nodeID string) *atomic.Int64 {
	if nodeID == "" {
		return nil
	}
	at := h.heard[nodeID]
	if at == nil {
		at = new(atomic.Int64)
		h.heard[nodeID] = at
	}
	return at
}

// heardWithin tells whether a member was heard so long ago at most, over whichever
// protocol. The handshake has proved who spoke.
func (h *hub) heardWithin(nodeID string, now, ago time.Duration) bool {
	h.mu.Lock()
	at := h.heard[nodeID]
	h.mu.Unlock()
	return at != nil && at.Load() > 0 && now-time.Duration(at.Load()) <= ago
}

// dial connects to a node for one protocol. The connection is verified to be with
// that node.
func (h *hub) dial(ctx context.Context, nodeID, protocol string) (*conn, error) {
	places := h.resolve(nodeID)
	if len(places) == 0 {
		return nil, fmt.Errorf("dialling %s: %w", nodeID, errNoAddress)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	var errs []error
	for i, addr := range places {
		c, err := h.dialAt(ctx, addr, nodeID, protocol, len(places)-i)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dialAt tries one place. share is how many are left to share the time with.
func (h *hub) dialAt(ctx context.Context, addr, nodeID, protocol string, share int) (*conn, error) {
	if end, ok := ctx.Deadline(); ok && share > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(share))
		defer cancel()
	}
	raw, err := (&net.Dialer{KeepAlive: keepAlive}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dialling %s: %w", nodeID, err)
	}
	tc := tls.Client(raw, h.creds().Client(protocol, nodeID, h.accept, h.wall))
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("handshake with %s: %w", nodeID, err)
	}
	return h.track(tc)
}

// Close stops listening and ends every connection. It waits for what the hub
// itself started.
func (h *hub) Close() error {
	h.mu.Lock()
	conns := h.conns
	h.conns = nil
	if conns != nil {
		close(h.done)
	}
	h.mu.Unlock()
	if conns == nil {
		return nil
	}
	err := h.listener.Close()
	for c := range conns {
		_ = c.NetConn().Close() // at once, without the protocol's farewell
	}
	h.served.Wait()
	return err
}

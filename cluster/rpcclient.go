package cluster

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
)

// An rpcPool sends requests to members, each over a connection of its own while
// it lasts, and keeps idle connections. Safe for concurrent use.
type rpcPool struct {
	dial func(ctx context.Context, nodeID, protocol string) (net.Conn, error)
	// limit bounds the connections to one member; who comes beyond waits.
	limit int

	mu    sync.Mutex
	peers map[string]*rpcPeer // guarded by mu
}

type rpcPeer struct {
	slots chan struct{} // a token for each request under way
	idle  []net.Conn    // guarded by the pool's mu
}

func newRPCPool(h *hub, limit int) *rpcPool {
	return &rpcPool{
		dial: func(ctx context.Context, nodeID, protocol string) (net.Conn, error) {
			c, err := h.dial(ctx, nodeID, protocol)
			if err != nil {
				return nil, err // not c: a nil *conn is no nil net.Conn
			}
			return c, nil
		},
		limit: limit, peers: map[string]*rpcPeer{},
	}
}

// call sends one request and waits for its reply until ctx ends. With fresh it
// dials and forgets the idle connections: after a restart of the other side they
// are all dead. An error means that there is no reply; sent tells whether the
// request may have arrived all the same.
func (p *rpcPool) call(ctx context.Context, nodeID string, kind rpcKind, body []byte, fresh bool) (status rpcStatus, reply []byte, sent bool, err error) {
	peer := p.peer(nodeID)
	select {
	case peer.slots <- struct{}{}:
		defer func() { <-peer.slots }()
	case <-ctx.Done():
		return 0, nil, false, ctx.Err()
	}
	c, err := p.get(ctx, nodeID, peer, fresh)
	if err != nil {
		return 0, nil, false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	status, reply, err = exchange(ctx, c, kind, body)
	if !stop() || err != nil {
		_ = c.Close()
		if err == nil {
			return status, reply, true, nil
		}
		return 0, nil, true, fmt.Errorf("calling %s: %w", nodeID, err)
	}
	p.put(peer, c)
	return status, reply, true, nil
}

func exchange(ctx context.Context, c net.Conn, kind rpcKind, body []byte) (rpcStatus, []byte, error) {
	left := maxTimeLeft
	if d, ok := ctx.Deadline(); ok {
		left = time.Until(d)
	}
	if err := writeRequest(c, kind, left, body); err != nil {
		return 0, nil, err
	}
	return readReply(c)
}

func (p *rpcPool) peer(nodeID string) *rpcPeer {
	p.mu.Lock()
	defer p.mu.Unlock()
	peer := p.peers[nodeID]
	if peer == nil {
		peer = &rpcPeer{slots: make(chan struct{}, p.limit)}
		p.peers[nodeID] = peer
	}
	return peer
}

func (p *rpcPool) get(ctx context.Context, nodeID string, peer *rpcPeer, fresh bool) (net.Conn, error) {
	p.mu.Lock()
	if fresh {
		for _, c := range peer.idle {
			defer c.Close()
		}
		peer.idle = nil
	}
	if n := len(peer.idle); n > 0 {
		c := peer.idle[n-1]
		peer.idle = peer.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return p.dial(ctx, nodeID, trust.ProtocolRPC)
}

// connect sees to an idle connection for the next call, and dials if there is none.
// With fresh it dials in any case.
func (p *rpcPool) connect(ctx context.Context, nodeID string, fresh bool) error {
	peer := p.peer(nodeID)
	c, err := p.get(ctx, nodeID, peer, fresh)
	if err == nil {
		p.put(peer, c)
	}
	return err
}

// put keeps a connection for the next request. The hub closes it at the end.
func (p *rpcPool) put(peer *rpcPeer, c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	peer.idle = append(peer.idle, c)
}

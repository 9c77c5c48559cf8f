package gossip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// ErrClosed is returned by calls after Close, and by Join after Leave.
var ErrClosed = errors.New("gossip: closed")

// A Gossip is this node's part in gossip. Safe for concurrent use.
type Gossip struct {
	cfg       Config
	address   string // told to others
	started   int64  // milliseconds since 1970
	transport *transport
	roster    *roster
	meta      *metaSource
	log       *logWriter
	metrics   *metrics
	list      *memberlist.Memberlist

	ctx    context.Context // ends the maintenance
	cancel context.CancelFunc
	loop   sync.WaitGroup
	kick   chan struct{}

	mu      sync.Mutex
	pending map[string]bool // guarded by mu: addresses of Join that did not answer

	life   sync.Mutex // serializes Leave and Close
	closed bool       // guarded by life
}

// Start binds the port and takes part. It contacts nobody by itself; call Join,
// or give Peers, whose addresses are tried within a second. It fails for a
// configuration that is incomplete, ErrMeta, and when the port cannot be bound; a
// name that cannot be resolved is no failure.
func Start(cfg Config) (*Gossip, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	keys, err := newRing(cfg.ClusterID, cfg.Keys)
	if err != nil {
		return nil, err
	}
	cfg.Keys = nil // the ring has them
	g := &Gossip{
		cfg: cfg, started: time.Now().UnixMilli(), meta: &metaSource{}, log: newLogWriter(cfg.Logger),
		kick: make(chan struct{}, 1), pending: map[string]bool{},
	}
	g.roster = &roster{self: cfg.NodeID, known: cfg.Known, records: map[string]*record{}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if err := g.open(keys); err != nil {
		g.cancel()
		return nil, err
	}
	g.loop.Go(g.maintain)
	return g, nil
}

func (g *Gossip) open(keys *ring) error {
	udp, bound, err := listen(g.cfg.Bind)
	if err != nil {
		return err
	}
	var at netip.AddrPort
	if at, g.address, err = advertised(g.ctx, &g.cfg, bound); err != nil {
		_ = udp.Close()
		return err
	}
	encoded, err := g.describe()
	if err != nil {
		_ = udp.Close()
		return err
	}
	g.meta.encoded.Store(&encoded)
	if g.metrics, err = newMetrics(g.cfg.Registerer, g.roster.alive); err != nil {
		_ = udp.Close()
		return fmt.Errorf("gossip: registering metrics: %w", err)
	}
	g.roster.refused = g.metrics.refused.Inc
	g.transport = newTransport(context.Background(), &g.cfg, udp, at, keys, g.metrics)
	g.transport.start()
	if g.list, err = memberlist.Create(g.cfg.memberlist(g.transport, g.roster, g.meta, g.log)); err != nil {
		_ = g.transport.Shutdown()
		g.metrics.unregister()
		return fmt.Errorf("gossip: %w", err)
	}
	return nil
}

// Addr returns where the node may be dialled, host:port, as it last said itself.
// The host may be a DNS name, to be resolved at each dial. false: gossip has not
// heard of it. A hint: the handshake decides who answers, and the stored address
// stays worth a try.
func (g *Gossip) Addr(nodeID string) (string, bool) {
	m, ok := g.roster.member(nodeID)
	return m.Addr, ok
}

// Alive tells whether the node seems alive, and whether gossip has heard of it at
// all. A hint: a live node may seem dead for some seconds, and for as long as a
// holder of the key says so.
func (g *Gossip) Alive(nodeID string) (alive, known bool) {
	m, ok := g.roster.member(nodeID)
	return m.Alive, ok
}

// Member returns all that gossip says of a node. Hints, all of it.
func (g *Gossip) Member(nodeID string) (Member, bool) { return g.roster.member(nodeID) }

// SetKeys replaces the gossip keys from the next packet on: the first seals, all
// open. To rotate without losing a packet, every member sets {old, new}, then, when
// all have, {new, old}, and when all have that, {new}. The keys are copied. It
// fails for no keys, more than 8, or one that is not 32 bytes; nothing is changed
// then.
func (g *Gossip) SetKeys(keys [][]byte) error {
	r, err := newRing(g.cfg.ClusterID, keys)
	if err != nil {
		return err
	}
	g.transport.keys.Store(r)
	return nil
}

// Leave tells the others that this node goes on purpose, which spares them the
// wait for its death and lets it come back elsewhere at once. It waits at most
// timeout for somebody to be told, at least a millisecond; a failure is only
// slower for them. The node cannot join again; call Close next.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.life.Lock()
	defer g.life.Unlock()
	if g.closed {
		return ErrClosed
	}
	g.cancel()
	if err := g.list.Leave(max(timeout, time.Millisecond)); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	return nil
}

// Close ends gossip without telling anybody. When it returns, the port is free, no
// stream is open and no function of the Config is running or will be called. It
// may be called many times.
func (g *Gossip) Close() error {
	g.life.Lock()
	defer g.life.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.log.silent.Store(true)
	g.cancel()
	err := g.list.Shutdown()
	g.loop.Wait()
	g.metrics.unregister()
	return err
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/gossip"
	"github.com/kmsd/kmsd/cluster/lease"
	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/durable"
	"github.com/kmsd/kmsd/internal/failpoint"
)

const (
	// drainTimeout bounds the wait for what is under way when a node stops.
	drainTimeout = 2 * time.Second
	// forwardConns bounds the calls that one node forwards to another at a time.
	forwardConns = 128
)

// Handlers are what the service above does for the cluster.
type Handlers struct {
	// Execute runs a forwarded call on the leader and returns the reply and the
	// index that the reply depends on. kms.ErrNotLeader, kms.ErrOutcomeUnknown and
	// kms.ErrUnavailable make the forwarding node try again with the same bytes; a
	// *kms.Error travels back as it is, any other error without its text. Required.
	Execute func(ctx context.Context, call []byte) (reply []byte, index uint64, err error)
	// Lead runs while this node leads an open term, in a goroutine of its own, and
	// must return soon after ctx ends. opened is the index of the entry that opened
	// the term: every command before it is of an earlier term. nil for none.
	Lead func(ctx context.Context, opened uint64)
	// Erased tells that the secrets of these keys and access keys were destroyed, so
	// that nothing of them stays in memory; nil for all that is not in the state any
	// more, whatever it is. It is called once the state without them is published, and
	// must not block. nil for none.
	Erased func(ids []string)
}

// A Node is one running member of a cluster. Its methods are safe for concurrent
// use.
type Node struct {
	cfg     Config
	log     *slog.Logger
	clock   Clock
	metrics *metrics

	dir       dataDir
	lock      *durable.Lock
	file      nodeFile
	id        string
	clusterID string
	inc       uint64
	started   time.Duration                   // on the boot clock
	vouched   atomic.Pointer[map[string]peer] // by node ID
	root      *kmscrypto.Root
	keyring   *kmscrypto.Keyring
	creds     atomic.Pointer[trust.Credentials]

	machine *fsm.Machine
	applied watermark // published by the machine
	stable  watermark // acknowledged
	fate    *fate
	raft    *raft.Raft
	store   *raftDB
	logs    raft.LogStore // store, watched and cached, as Raft uses it
	snaps   raft.SnapshotStore
	hub     *hub
	beats   *rpcPool
	calls   *rpcPool
	notice  notice

	ctx       context.Context // ends when the node stops or fails
	cancel    context.CancelFunc
	work      sync.WaitGroup // what runs until ctx ends
	drained   chan struct{}  // closed when Raft has stopped
	drain     sync.WaitGroup
	erasures  chan struct{} // wakes who clears the disk
	proposals gate          // commands whose proposer waits
	futures   gate          // Raft's futures that are not answered
	closing   atomic.Bool
	contact   chan struct{} // closed at the first contact with a leader
	contacted sync.Once
	closed    sync.Once
	end       error // of Close

	handlers Handlers // written before served is closed
	served   chan struct{}

	caught    chan struct{} // closed once this node has the state of a leader it heard
	catching  sync.Once
	remembers watermark  // index of the state whose members are written down
	trusts    watermark  // index of the record of authorities that is trusted, durably
	identity  sync.Mutex // held while the certificate or the authorities change
	strangers *limiter
	hints     atomic.Pointer[gossip.Gossip] // nil while there is none
	median    atomic.Pointer[clockReading]  // of the members' wall clocks; nil: not known
	space     atomic.Pointer[diskSpace]
	stain     atomic.Pointer[Stain] // nil: the disk is clear of destroyed secrets, as far as is known
	departing sync.Mutex            // held by Leave
	leaving   atomic.Bool           // it serves nothing more
	left      atomic.Bool           // its keys and its log are erased at the end

	transferring atomic.Int64 // boot time in ns since which Raft says so; 0: it does not
	lead         atomic.Pointer[leadership]
	fresh        atomic.Pointer[lease.Freshness]
	freshened    watermark    // counts the changes of fresh
	freshEnd     atomic.Int64 // boot time in ns until which this node was or is fresh

	mu       sync.Mutex     // one critical section for all of the Beats' bookkeeping
	follower lease.Follower // guarded by mu
}

// Open starts the node in a directory that Init or JoinCluster made: it takes the directory's
// lock, opens the seal, starts Raft and listens. It does not wait for a leader.
// Serve must follow. ctx bounds the opening of the seal. What the directory holds may
// be fatal for this build: then the error is an *ExitError.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	// Before the lock, which makes a file: a directory that is no node's stays as it
	// is.
	if err := dataDir(cfg.DataDir).mustBelong(); err != nil {
		return nil, err
	}
	lock, err := durable.LockDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, clock: cfg.Clock, dir: dataDir(cfg.DataDir), lock: lock,
		machine: fsm.New(), drained: make(chan struct{}), served: make(chan struct{}),
		contact: make(chan struct{}), caught: make(chan struct{}), erasures: make(chan struct{}, 1),
		strangers: newLimiter(),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.fate = newFate(n.log, func() {
		n.fresh.Store(nil)
		n.cancel()
	})
	n.started = n.clock.Boot()
	if err := n.open(ctx); err != nil {
		n.abandon()
		err = fmt.Errorf("opening the node in %s: %w", cfg.DataDir, err)
		if code, why := n.FatalError(); why != nil {
			return nil, &ExitError{code, fmt.Errorf("%w: %w", err, why)}
		}
		return nil, err
	}
	return n, nil
}

func (n *Node) open(ctx context.Context) error {
	if err := n.openIdentity(ctx); err != nil {
		return err
	}
	n.measureDisk()
	listener, err := net.Listen("tcp", n.cfg.ListenAddr)
	if err != nil {
		return err
	}
	n.hub = newHub(n.id, listener, n.creds.Load, n.accept, &n.cfg)
	n.hub.resolve, n.hub.member = n.resolve, n.knows
	n.hub.rpc, n.hub.join = n.serveRPC, n.serveJoin
	n.beats, n.calls = newRPCPool(n.hub, 1), newRPCPool(n.hub, forwardConns)
	if n.metrics, err = newMetrics(n, n.cfg.Registerer); err != nil {
		return err
	}
	if err := n.openRaft(); err != nil {
		return err
	}
	n.work.Go(n.watchLeadership)
	n.work.Go(n.dropFirst)
	n.work.Go(n.followState)
	n.work.Go(n.renew)
	n.work.Go(n.greet)
	n.work.Go(n.watchBelonging)
	n.work.Go(n.watchMachine)
	n.work.Go(n.purging)
	if n.cfg.Gossip {
		n.work.Go(n.gossiping)
	}
	n.hub.start()
	return nil
}

// openIdentity reads who this node is, and the keys.
func (n *Node) openIdentity(ctx context.Context) error {
	err := errors.Join(durable.RemoveTemporary(string(n.dir)),
		durable.RemoveTemporary(n.dir.path(dirTLS)), durable.RemoveTemporary(n.dir.path(dirSeal)), n.dir.clearRaft())
	if err != nil {
		return err
	}
	if n.file, err = n.dir.start(); err != nil {
		return err
	}
	n.id, n.clusterID, n.inc = n.file.NodeID, n.file.ClusterID, n.file.Starts
	n.log = n.log.With("node", n.id)
	n.fate.log = n.log
	peers, err := n.dir.peers()
	if err != nil {
		return err
	}
	n.vouched.Store(&peers)
	if n.root, err = n.dir.unseal(ctx, n.cfg.Seal, n.file); err != nil {
		return err
	}
	n.keyring = kmscrypto.NewKeyring(n.clusterID, n.root)
	creds, err := n.dir.credentials(n.file, n.root)
	if err != nil {
		return err
	}
	n.creds.Store(creds)
	return nil
}

// openRaft starts Raft over what the directory holds.
func (n *Node) openRaft() error {
	notify := make(chan bool)
	config := n.raftConfig(notify)
	if err := n.openStores(config); err != nil {
		return err
	}
	stable := &stableStore{n.store, n.fate.fail}
	transport := n.transport(config)
	founding, err := n.bootstrap(config, n.logs, stable, n.snaps, transport)
	if err != nil {
		return errors.Join(err, transport.Close())
	}
	n.drain.Go(func() { n.drainNotices(notify, n.drained) })
	first := *config
	if !founding && len(*n.vouched.Load()) > 1 {
		first.HeartbeatTimeout *= raftPatience
		first.ElectionTimeout *= raftPatience
	}
	n.raft, err = raft.NewRaft(&first, n.applier(), n.logs, stable, n.snaps, transport)
	if err != nil {
		return errors.Join(err, transport.Close())
	}
	n.work.Go(func() { n.losePatience(config) })
	return nil
}

// openStores opens the log and the snapshots.
func (n *Node) openStores(config *raft.Config) (err error) {
	if n.store, err = openRaftDB(n.dir.path(dirRaft)); err != nil {
		return err
	}
	var base raft.LogStore = n.store
	if n.cfg.hooks.store != nil {
		base = n.cfg.hooks.store(base)
	}
	watched := &logStore{LogStore: base, leads: func() bool { return n.lead.Load() != nil }, fail: n.fate.fail, hang: n.cfg.hooks.hang}
	if n.logs, err = raft.NewLogCache(raftCache, watched); err != nil {
		return err
	}
	n.snaps, err = raft.NewFileSnapshotStoreWithLogger(n.dir.path(dirRaft), raftSnapshots, config.Logger)
	if err != nil {
		return err
	}
	if failpoint.On {
		n.snaps = failpointSnapshots{n.snaps}
	}
	return n.checkLog()
}

// losePatience sets Raft's timeouts to what they are once a leader is known.
func (n *Node) losePatience(config *raft.Config) {
	select {
	case <-n.contact:
	case <-n.ctx.Done():
		return
	}
	settings := n.raft.ReloadableConfig()
	settings.HeartbeatTimeout, settings.ElectionTimeout = config.HeartbeatTimeout, config.ElectionTimeout
	if err := n.raft.ReloadConfig(settings); err != nil {
		n.log.Error("setting Raft's timeouts", "err", err)
	}
}

// catchUp says that this node has the state of the leader that it hears, or leads
// itself. Only now is it known that the cluster's version is none of its past.
func (n *Node) catchUp() {
	n.catching.Do(func() {
		if err := n.versions().tooOld(n.clusterVersion()); err != nil {
			n.fate.fail(ExitUndecodable, err)
		}
		close(n.caught)
	})
}

func (n *Node) isCaughtUp() bool {
	select {
	case <-n.caught:
		return true
	default:
		return false
	}
}

// metLeader says that a leader is known, perhaps this node.
func (n *Node) metLeader() { n.contacted.Do(func() { close(n.contact) }) }

func (n *Node) transport(config *raft.Config) raftTransport {
	if n.cfg.hooks.transport != nil {
		return serialTransport{n.cfg.hooks.transport(n.id)}
	}
	return newRaftTransport(n.hub, config.Logger)
}

func (n *Node) applier() *applier {
	return &applier{
		machine: n.machine, keyring: n.keyring, fate: n.fate, builds: n.versions(), applied: n.onApplied,
		erased: func(ids []string) {
			n.forgetErased(ids)
			nudge(n.erasures)
		},
	}
}

// forgetErased has what was destroyed dropped from memory. Before Serve nothing of
// it is there.
func (n *Node) forgetErased(ids []string) {
	select {
	case <-n.served:
	default:
		return
	}
	if n.handlers.Erased != nil {
		n.handlers.Erased(ids)
	}
}

// onApplied tells everybody that the machine has published index.
func (n *Node) onApplied(index uint64) {
	n.applied.Raise(index)
	l := n.lead.Load()
	if l == nil {
		return
	}
	n.mu.Lock()
	l.lease.Applied(index, n.clock.Boot())
	n.mu.Unlock()
	l.kickAll()
	l.advance()
}

// bootstrap makes the cluster's first configuration on its first node, once: only
// while the file of the first command is there and Raft's store is empty. Any node
// that has lost its store is refused: it might vote a second time. founding tells
// that this node has no past, so that no leader can be there that it would disturb.
func (n *Node) bootstrap(config *raft.Config, logs raft.LogStore, stable raft.StableStore, snaps raft.SnapshotStore, transport raft.Transport) (founding bool, err error) {
	has, err := raft.HasExistingState(logs, stable, snaps)
	if err != nil || has {
		return false, err
	}
	fresh, err := n.dir.has(fileGenesis)
	joining, other := n.dir.has(fileJoined)
	switch {
	case err != nil || other != nil:
		return false, errors.Join(err, other)
	case joining:
		return false, nil // a leader will add it and send the configuration
	case !fresh:
		return false, fmt.Errorf("the Raft log is missing: %w", errWipe)
	case !n.file.Bootstrap:
		return true, nil // the first node will bring the configuration
	}
	var members raft.Configuration
	for id := range *n.vouched.Load() {
		members.Servers = append(members.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id),
		})
	}
	return true, raft.BootstrapCluster(config, logs, stable, snaps, transport, members)
}

// Serve gives the node its handlers. It must be called once.
func (n *Node) Serve(h Handlers) {
	n.handlers = h
	close(n.served)
}

// ID returns the node's ID, ClusterID the cluster's, both UUIDs.
func (n *Node) ID() string { return n.id }

// ClusterID returns the cluster's ID.
func (n *Node) ClusterID() string { return n.clusterID }

// Addr returns where the cluster port listens.
func (n *Node) Addr() net.Addr { return n.hub.listener.Addr() }

// Keyring returns the cluster's keyring, which follows the applied state.
func (n *Node) Keyring() *kmscrypto.Keyring { return n.keyring }

package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/internal/failpoint"
)

// Config is how to open a node.
type Config struct {
	// DataDir is a directory that Init made. Required.
	DataDir string
	// Seal opens the root key. Required.
	Seal seal.Sealer
	// ListenAddr is where the cluster port listens, host:port; port 0 lets the
	// kernel choose (see Node.Addr). Required.
	ListenAddr string
	// Advertise is where other members reach the cluster port, host:port; the host may
	// be a name, which is resolved at each dial. Empty: the cluster is told nothing,
	// and Resolve is required.
	Advertise string
	// APIAddress is where clients reach this node; it is shown to operators.
	APIAddress string
	// Resolve returns where to dial a member now. It is called at each dial, from
	// many goroutines; false means that nobody knows yet. nil: a member is where it
	// said that it is, where gossip says, or where it was found before.
	Resolve func(nodeID string) (addr string, ok bool)
	// Gossip makes the node take part in gossip, over UDP on the cluster port's number
	// and over the port itself. Without it a node whose address changed is found only
	// because it finds another one. It needs Advertise.
	Gossip bool
	// Peers are addresses, host:port, at which members may be while this node hears no
	// leader, beside those where it looks anyway. Whoever answers must prove to be a
	// member. They are needed when all members have moved.
	Peers []string
	// Logger takes the node's log. Required.
	Logger *slog.Logger
	// Registerer takes the node's metrics; nil for none. Nodes that share a registry
	// need a label each (prometheus.WrapRegistererWith).
	Registerer prometheus.Registerer
	// Clock is the node's time; nil for the machine's.
	Clock Clock

	hooks hooks
}

// hooks are where tests of this package put faults.
type hooks struct {
	tune    func(*raft.Config)
	store   func(raft.LogStore) raft.LogStore
	beat    func(context.Context) // runs before a Beat is handled
	hang    time.Duration         // instead of storeHang
	hash    time.Duration         // instead of hashEvery
	renew   time.Duration         // instead of renewEvery
	promote time.Duration         // instead of promoteAfter
	lonely  time.Duration         // instead of lonely
	goodbye time.Duration         // instead of goodbyeTimeout
	purge   purgeHooks
	disk    func() diskSpace
	// versions replaces what the build supports.
	versions versions
	// transport replaces the network's.
	transport func(nodeID string) raftTransport
}

type purgeHooks struct {
	every, look, retry, patience time.Duration // instead of the constants
	// at runs after each step of a purge; an error ends it there.
	at func(step string) error
}

func (c *Config) validate() error {
	switch {
	case c.DataDir == "":
		return errors.New("cluster: no data directory")
	case c.Seal == nil:
		return errors.New("cluster: no seal")
	case c.Resolve == nil && c.Advertise == "":
		return errors.New("cluster: neither an address to advertise nor a resolver")
	case c.Logger == nil:
		return errors.New("cluster: no logger")
	}
	if _, _, err := net.SplitHostPort(c.ListenAddr); err != nil {
		return errors.New("cluster: the listening address is not host:port")
	}
	if c.Gossip && c.Advertise == "" {
		return errors.New("cluster: gossip needs an address to advertise")
	}
	for _, addr := range c.Peers {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return errors.New("cluster: a member's address is not host:port")
		}
	}
	if _, _, err := net.SplitHostPort(c.Advertise); c.Advertise != "" && err != nil {
		return errors.New("cluster: the address to advertise is not host:port")
	}
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
	c.hooks.complete(c)
	return nil
}

// complete sets what no test has set.
func (h *hooks) complete(c *Config) {
	for d, standard := range map[*time.Duration]time.Duration{
		&h.hang: storeHang, &h.hash: hashEvery, &h.renew: renewEvery,
		&h.promote: promoteAfter, &h.lonely: lonely, &h.goodbye: goodbyeTimeout,
		&h.purge.every: purgeEvery, &h.purge.look: purgeLook, &h.purge.retry: purgeRetry, &h.purge.patience: purgePatience,
	} {
		if *d == 0 {
			*d = standard
		}
	}
	if h.versions.newest == 0 {
		h.versions = ofBuild
	}
	if h.purge.at == nil {
		h.purge.at = func(string) error { return nil }
	}
	if h.disk == nil {
		h.disk = func() diskSpace { return statDisk(c.DataDir) }
	}
}

// Raft's settings, the profile "default": with fsync times of some 10 ms a node
// that waits for its disk is not taken for a dead one. They belong together and
// with the Beat.
const (
	raftHeartbeat     = 500 * time.Millisecond // also the election timeout
	raftLeaderLease   = 500 * time.Millisecond
	raftCommit        = 5 * time.Millisecond // how late followers learn of a commit, up to twice this
	raftBatch         = 256                  // entries
	raftSnapInterval  = 60 * time.Second
	raftSnapThreshold = 8192  // entries
	raftTrailing      = 16384 // entries: must cover the time to send and restore a snapshot
	raftCache         = 1024  // entries
	raftSnapshots     = 2     // kept: the second one if the first is damaged
	// raftPatience multiplies the timeouts until the first contact with a leader, so
	// that nodes that start together do not start elections against each other.
	raftPatience = 3
)

func (n *Node) raftConfig(notify chan<- bool) *raft.Config {
	c := raft.DefaultConfig()
	c.ProtocolVersion = 3
	c.LocalID = raft.ServerID(n.id)
	c.HeartbeatTimeout = raftHeartbeat
	c.ElectionTimeout = raftHeartbeat
	c.LeaderLeaseTimeout = raftLeaderLease
	c.CommitTimeout = raftCommit
	c.MaxAppendEntries = raftBatch
	c.BatchApplyCh = true
	c.PreVoteDisabled = false
	c.SnapshotInterval = raftSnapInterval
	c.SnapshotThreshold = raftSnapThreshold
	c.TrailingLogs = raftTrailing
	c.ShutdownOnRemove = true
	c.NoLegacyTelemetry = true
	c.NotifyCh = notify
	c.Logger = newRaftLogger(n.log, n.closing.Load)
	if failpoint.Setting("snapshots") {
		c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 50*time.Millisecond, 8, 4
	}
	if failpoint.Setting("hasty") {
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 100*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond
	}
	if n.cfg.hooks.tune != nil {
		n.cfg.hooks.tune(c)
	}
	return c
}

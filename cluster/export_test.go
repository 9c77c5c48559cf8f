package cluster

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/fsm"
)

// The faults and settings that tests put into a node.

func (c *Config) SetStore(f func(raft.LogStore) raft.LogStore) { c.hooks.store = f }
func (c *Config) SetBeat(f func(context.Context))              { c.hooks.beat = f }
func (c *Config) SetHang(d time.Duration)                      { c.hooks.hang = d }
func (c *Config) SetHashEvery(d time.Duration)                 { c.hooks.hash = d }

// SetTune changes Raft's settings, after what has changed them before.
func (c *Config) SetTune(f func(*raft.Config)) {
	before := c.hooks.tune
	c.hooks.tune = func(r *raft.Config) {
		if before != nil {
			before(r)
		}
		f(r)
	}
}

func (c *Config) SetTransport(f func(nodeID string) raft.LoopbackTransport) {
	c.hooks.transport = func(id string) raftTransport { return f(id) }
}

func (c *Config) SetRenewEvery(d time.Duration)   { c.hooks.renew = d }
func (c *Config) SetPromoteAfter(d time.Duration) { c.hooks.promote = d }
func (c *Config) SetLeaveDrain(d time.Duration)   { c.hooks.drain = d }
func (c *Config) SetLonely(d time.Duration)       { c.hooks.lonely = d }
func (c *Config) SetGoodbye(d time.Duration)      { c.hooks.goodbye = d }

// SetVersions replaces the cluster versions that the build supports. Creating aliases
// comes with cluster version 2 then.
func (c *Config) SetVersions(oldest, newest uint32)     { c.hooks.versions = testVersions(oldest, newest) }
func (c *JoinConfig) SetVersions(oldest, newest uint32) { c.versions = testVersions(oldest, newest) }

func testVersions(oldest, newest uint32) versions {
	return versions{oldest, newest, func(cmd fsm.Command) uint32 {
		if cmd.Type == fsm.TypeCreateAlias {
			return 2
		}
		return cmd.Since()
	}}
}

// SetPurge sets how often a node looks for what was destroyed, and how often it
// clears its disk; 0 for what they are.
func (c *Config) SetPurge(look, every time.Duration) {
	c.hooks.purge.look, c.hooks.purge.every = look, every
}

// SetPurgeRetry sets how long a node waits after an attempt that failed.
func (c *Config) SetPurgeRetry(d time.Duration) { c.hooks.purge.retry = d }

// SetPurgeStep sets what runs after every step of clearing the disk.
func (c *Config) SetPurgeStep(f func(step string) error) { c.hooks.purge.at = f }

// SetDisk replaces the measurement of the disk.
func (c *Config) SetDisk(f func() (free, total uint64)) {
	c.hooks.disk = func() diskSpace {
		free, total := f()
		return diskSpace{free, total}
	}
}

// Credentials are what the node shows to its peers now.
func (n *Node) Credentials() *trust.Credentials { return n.creds.Load() }

// Resolved lists where the node would dial a member.
func (n *Node) Resolved(id string) []string { return n.resolve(id) }

// Hint is where gossip believes a member to be.
func (n *Node) Hint(id string) string { return n.hint(id) }

// KeptGossipKeys is how many keys of gossip the node has written down, and the index
// of the record that they are from.
func (n *Node) KeptGossipKeys() (count int, modIndex uint64, err error) {
	kept, err := n.dir.readGossipKeys(n.id, n.root)
	if err != nil || kept == nil {
		return 0, 0, err
	}
	return len(kept.Keys), kept.ModIndex, nil
}

// MeasureDisk looks at the disk now.
func (n *Node) MeasureDisk() { n.measureDisk() }

// Decide proposes a command of the leader's own.
func (n *Node) Decide(ctx context.Context, args fsm.Args) (uint64, error) {
	return n.decide(ctx, args, nil)
}

// Manage makes the leader's next change of members, version or authorities, as it
// does four times a second. more tells that it did one.
func (n *Node) Manage(ctx context.Context) (more bool, err error) {
	l, err := n.leading(ctx)
	if err != nil {
		return false, err
	}
	l.members.Lock()
	defer l.members.Unlock()
	return l.change(ctx)
}

// Handshake connects to a member for kmsd-rpc/1 with credentials.
func Handshake(ctx context.Context, addr string, c *trust.Credentials, nodeID string) error {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer raw.Close()
	tc := tls.Client(raw, c.Client(trust.ProtocolRPC, nodeID, func(string, [32]byte) bool { return true }, nil))
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	// TLS 1.3 tells the client of a refusal only with the first record.
	if err := writeRequest(tc, kindMembers, time.Second, nil); err != nil {
		return err
	}
	_, _, err = readReply(tc)
	return err
}

func (n *Node) Log() raft.LogStore       { return n.logs }
func (n *Node) Raft() *raft.Raft         { return n.raft }
func (n *Node) Machine() *fsm.Machine    { return n.machine }
func (n *Node) Applied() uint64          { return n.applied.Load() }
func (n *Node) Stable() uint64           { return n.stable.Load() }
func (n *Node) Now() time.Duration       { return n.clock.Boot() }
func (n *Node) Classify(err error) error { return n.classify(err) }

// WaitApplied waits until the node has applied index.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	return n.applied.Wait(ctx, index)
}

// CutConnections closes every connection of the node, as a network fault would.
func (n *Node) CutConnections() {
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	for c := range n.hub.conns {
		_ = c.NetConn().Close()
	}
}

// ProposeRaw proposes bytes as a log entry.
func (n *Node) ProposeRaw(ctx context.Context, entry []byte) error {
	_, _, err := n.commit(ctx, entry)
	return err
}

var (
	BoltOptions  = boltOptions
	ReadRequest  = readRequest
	ReadReply    = readReply
	WriteRequest = writeRequest
	WriteReply   = writeReply
	DecodeBeat   = decodeBeat
	EncodeBeat   = encodeBeat
	DecodeReply  = decodeReply
	EncodeReply  = encodeReply
	SealEntry    = sealEntry
)

const MaxFrame = maxFrame

// RaftConfig returns the settings of a node's Raft.
func RaftConfig(id string) *raft.Config {
	n := &Node{id: id, log: slog.New(slog.DiscardHandler)}
	return n.raftConfig(nil)
}

// Accept is the handshake's question.
func (n *Node) Accept(nodeID string, spki [32]byte) bool { return n.accept(nodeID, spki) }

// SystemBoot reads the machine's boot clock.
func SystemBoot() time.Duration { return systemClock{}.Boot() }

// Serial wraps a transport as Open does.
func Serial(t raft.LoopbackTransport) raft.Transport { return serialTransport{t} }

// WatchedStore wraps a log as Open does.
func WatchedStore(l raft.LogStore) raft.LogStore { return &logStore{LogStore: l} }

// PurgeHour numbers the hours of the node, whose beginnings are spread.
func (n *Node) PurgeHour(t time.Time) int64 { return (&purger{n: n}).hour(t) }

// RaftDB is the file of Raft's log.
type RaftDB = raftDB

var (
	OpenRaftDB   = openRaftDB
	ErrUncertain = errUncertain
)

// Used is how many bytes of the file are in use.
func (s *raftDB) Used() (uint64, error) { return s.used() }

// Rewrite replaces the file. at may be nil.
func (s *raftDB) Rewrite(ctx context.Context, at func(step string) error) error {
	if at == nil {
		at = func(string) error { return nil }
	}
	_, err := s.rewrite(ctx, at)
	return err
}

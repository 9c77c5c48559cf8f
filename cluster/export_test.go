package cluster

import (
	"context"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/fsm"
)

// The faults and settings that tests put into a node.

func (c *Config) SetTune(f func(*raft.Config))                 { c.hooks.tune = f }
func (c *Config) SetStore(f func(raft.LogStore) raft.LogStore) { c.hooks.store = f }
func (c *Config) SetBeat(f func(context.Context))              { c.hooks.beat = f }
func (c *Config) SetHang(d time.Duration)                      { c.hooks.hang = d }
func (c *Config) SetHashEvery(d time.Duration)                 { c.hooks.hash = d }
func (c *Config) SetTransport(f func(nodeID string) raft.LoopbackTransport) {
	c.hooks.transport = func(id string) raftTransport { return f(id) }
}

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

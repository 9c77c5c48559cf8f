package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/trust"
)

const (
	// raftTimeout bounds one exchange of Raft, in which the other side may write to
	// its disk.
	raftTimeout = 10 * time.Second
	// raftPool is how many idle connections to a member Raft keeps.
	raftPool = 3
)

// A raftTransport is what is needed of a transport of hashicorp/raft.
type raftTransport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// serialTransport takes two things from a transport that run beside Raft's own
// order of events and break it.
//
// The fast path for heartbeats: one of a higher term changes term and state under a
// leader that is just appending to its log, a safety violation (hashicorp/raft#695).
// The interface allows a transport to ignore the handler; heartbeats then queue with
// everything else.
//
// Pipelined replication: when a follower has refused entries once, the goroutine
// that replicates to it can wait for ever for one that has ended. Its heartbeats go
// on, so the follower stays without entries and without an election, and Raft does
// not shut down (hashicorp/raft#612).
type serialTransport struct{ raftTransport }

// AppendEntriesPipeline declines; Raft then sends one request after the other.
func (serialTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// SetHeartbeatHandler does nothing.
func (serialTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// RequestVote, RequestPreVote and TimeoutNow go over a connection that the pool may
// have kept since before the other side was restarted. An election or a hand-over that
// such a connection spoils costs the cluster an election timeout; what replicates, Raft
// repeats by itself.

// RequestVote implements raft.Transport.
func (t serialTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return overLive(func() error { return t.raftTransport.RequestVote(id, target, args, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (t serialTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return overLive(func() error { return t.raftTransport.RequestPreVote(id, target, args, resp) })
}

// TimeoutNow implements raft.Transport.
func (t serialTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return overLive(func() error { return t.raftTransport.TimeoutNow(id, target, args, resp) })
}

// overLive repeats an exchange while the pool has connections that have ended. The
// other side may get it twice: it votes for the same candidate again, or stands for
// election again.
func overLive(exchange func() error) (err error) {
	for range raftPool + 1 {
		if err = exchange(); !isEnded(err) {
			return err
		}
	}
	return err
}

// isEnded tells whether an error says that the other side has ended the connection.
// The codec of Raft's messages wraps in its own way.
func isEnded(err error) bool {
	if wrapped, ok := err.(interface{ Cause() error }); ok {
		err = wrapped.Cause()
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// newRaftTransport runs Raft over the cluster port.
func newRaftTransport(h *hub, log hclog.Logger) raftTransport {
	t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider:   byID{},
		Logger:                  log,
		Stream:                  streamLayer{h},
		MaxPool:                 raftPool,
		Timeout:                 raftTimeout,
		MsgpackUseNewTimeFormat: true,
	})
	return serialTransport{t}
}

// byID makes a member's ID its address for Raft, so that nothing which Raft has
// written down can say where to connect: the hub finds the place at each dial and
// the handshake decides who answered. It also makes Raft's record of a vote,
// which holds the candidate's address, name the candidate itself.
type byID struct{}

// ServerAddr implements raft.ServerAddressProvider.
func (byID) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	return raft.ServerAddress(id), nil
}

// streamLayer implements raft.StreamLayer.
type streamLayer struct{ h *hub }

func (s streamLayer) Accept() (net.Conn, error) {
	select {
	case c := <-s.h.raft:
		return c, nil
	case <-s.h.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept by closing the whole hub: without Raft there is no node.
func (s streamLayer) Close() error { return s.h.Close() }

func (s streamLayer) Addr() net.Addr { return nodeAddr(s.h.self) }

func (s streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.h.dial(ctx, string(address), trust.ProtocolRaft)
}

// nodeAddr is a node's ID as a net.Addr.
type nodeAddr string

func (nodeAddr) Network() string  { return "kmsd" }
func (a nodeAddr) String() string { return string(a) }

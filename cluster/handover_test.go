package cluster_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
)

// A place is where Raft listens in one process after the other, each at a port of its
// own.
type place struct {
	mu  sync.Mutex
	now *processLayer // guarded by mu
}

func (p *place) current() *processLayer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// A processLayer is the network of one process. Its end takes all connections along.
type processLayer struct {
	net.Listener
	at *place // dialled by this process

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func newProcessLayer(t *testing.T, at *place) *processLayer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &processLayer{Listener: l, at: at}
}

func (l *processLayer) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	return c, err
}

func (l *processLayer) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	return err
}

func (l *processLayer) Dial(_ raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", l.at.current().Addr().String(), timeout)
}

// answering starts a process at the place that answers what it is asked, once together
// are asked at the same time.
func (p *place) answering(t *testing.T, together int) *raft.NetworkTransport {
	t.Helper()
	l := newProcessLayer(t, nil)
	p.mu.Lock()
	p.now = l
	p.mu.Unlock()
	transport := raft.NewNetworkTransport(l, 1, raftPatience, io.Discard)
	stop := make(chan struct{})
	var answers sync.WaitGroup
	answers.Go(func() {
		var waiting []raft.RPC
		for {
			select {
			case rpc := <-transport.Consumer():
				waiting = append(waiting, rpc)
			case <-stop:
				return
			}
			if len(waiting) < together {
				continue
			}
			for _, rpc := range waiting {
				switch rpc.Command.(type) {
				case *raft.RequestPreVoteRequest:
					rpc.Respond(&raft.RequestPreVoteResponse{Granted: true}, nil)
				case *raft.TimeoutNowRequest:
					rpc.Respond(&raft.TimeoutNowResponse{}, nil)
				default:
					rpc.Respond(&raft.RequestVoteResponse{Granted: true}, nil)
				}
			}
			waiting = nil
		}
	})
	t.Cleanup(func() {
		close(stop)
		answers.Wait()
		_ = transport.Close()
	})
	return transport
}

// raftPatience is how long Raft waits for an answer.
const raftPatience = 30 * time.Second

// TestConnectionsOfAProcessThatHasEnded checks that what an election and a hand-over
// send arrives although all connections that Raft kept end at a process that is gone.
func TestConnectionsOfAProcessThatHasEnded(t *testing.T) {
	t.Parallel()
	const kept = 3
	for name, send := range map[string]func(t raft.Transport) error{
		"RequestVote": func(t raft.Transport) error {
			return t.RequestVote("b", "b", &raft.RequestVoteRequest{}, new(raft.RequestVoteResponse))
		},
		"RequestPreVote": func(t raft.Transport) error {
			return t.(raft.WithPreVote).RequestPreVote("b", "b", &raft.RequestPreVoteRequest{}, new(raft.RequestPreVoteResponse))
		},
		"TimeoutNow": func(t raft.Transport) error {
			return t.TimeoutNow("b", "b", &raft.TimeoutNowRequest{}, new(raft.TimeoutNowResponse))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := new(place)
			before := other.answering(t, kept)
			own := raft.NewNetworkTransport(newProcessLayer(t, other), kept, raftPatience, io.Discard)
			t.Cleanup(func() { _ = own.Close() })
			ours := cluster.Serial(networkLoopback{own})
			var asked sync.WaitGroup
			for range kept {
				asked.Go(func() {
					if err := send(ours); err != nil {
						t.Error(err)
					}
				})
			}
			asked.Wait()
			_ = before.Close()
			after := other.answering(t, 1)
			if err := send(ours); err != nil {
				t.Errorf("after a restart of the other side: %v", err)
			}
			_ = after.Close()
			if err := send(ours); err == nil {
				t.Error("what nobody got has succeeded")
			}
		})
	}
}

// networkLoopback makes Raft's transport what Serial takes.
type networkLoopback struct{ *raft.NetworkTransport }

func (networkLoopback) Connect(raft.ServerAddress, raft.Transport) {}
func (networkLoopback) Disconnect(raft.ServerAddress)              {}
func (networkLoopback) DisconnectAll()                             {}

// messages keeps what nodes log.
type messages struct {
	slog.Handler
	mu   *sync.Mutex
	text *[]string // guarded by mu
}

func newMessages(t *testing.T) messages {
	return messages{testLog(t, 0).Handler(), new(sync.Mutex), new([]string)}
}

func (m messages) Enabled(context.Context, slog.Level) bool { return true }

func (m messages) Handle(ctx context.Context, r slog.Record) error {
	m.mu.Lock()
	*m.text = append(*m.text, r.Message)
	m.mu.Unlock()
	return m.Handler.Handle(ctx, r)
}

func (m messages) WithAttrs(a []slog.Attr) slog.Handler {
	m.Handler = m.Handler.WithAttrs(a)
	return m
}

func (m messages) has(text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(*m.text, func(s string) bool { return strings.Contains(s, text) })
}

const stopsAsLeader = "this node stops as the leader"

// TestHandOverToWhoCanBeReached checks that a leader that stops tries another voter
// when the first one has gone without its noticing yet.
func TestHandOverToWhoCanBeReached(t *testing.T) {
	t.Parallel()
	said := newMessages(t)
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) { cfg.Logger = slog.New(said) })
	c.ready()
	c.forward(0)
	lead := c.leader()
	heirs := c.followers()
	slices.SortFunc(heirs, func(a, b int) int { return strings.Compare(c.founded.NodeIDs[a], c.founded.NodeIDs[b]) })
	c.isolate(heirs[0], true)
	c.stop(lead)
	if said.has(stopsAsLeader) {
		t.Error("the leadership was not handed over")
	}
	until(t, "the other voter leads", func() bool { return c.nodes[heirs[1]].Status().Leads })
	c.isolate(heirs[0], false)
	c.start(lead)
	c.ready()
	c.wantEqual()
}

// TestLastOneStops checks that a leader whose members have stopped before it looks
// for no heir.
func TestLastOneStops(t *testing.T) {
	t.Parallel()
	said := newMessages(t)
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) { cfg.Logger = slog.New(said) })
	c.ready()
	lead := c.leader()
	var stopping sync.WaitGroup
	for _, i := range c.followers() {
		stopping.Go(func() { c.stop(i) })
	}
	stopping.Wait()
	began := c.nodes[lead].Now()
	n := c.nodes[lead]
	c.stop(lead)
	if took := n.Now() - began; took > patience/2 {
		t.Errorf("stopping took %v", took)
	}
	if said.has("handing the leadership") {
		t.Error("it tried to hand the leadership over")
	}
}

package cluster_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// A load makes keys through some nodes until it is ended.
type load struct {
	c     *testCluster
	stop  context.CancelFunc
	wg    sync.WaitGroup
	count atomic.Int64
	mu    sync.Mutex
	acked []string // guarded by mu
}

func (c *testCluster) startLoad(nodes ...int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{c: c, stop: cancel}
	for _, i := range nodes {
		n := c.nodes[i]
		l.wg.Go(func() {
			for ctx.Err() == nil {
				id := newKeyID()
				if _, err := n.Forward(ctx, []byte(id)); err != nil {
					select { // a node that stops refuses at once
					case <-ctx.Done():
					case <-time.After(5 * time.Millisecond):
					}
					continue
				}
				l.mu.Lock()
				l.acked = append(l.acked, id)
				l.mu.Unlock()
				l.count.Add(1)
			}
		})
	}
	return l
}

// more waits until n further keys are acknowledged.
func (l *load) more(n int64) {
	l.c.t.Helper()
	want := l.count.Load() + n
	until(l.c.t, "acknowledged writes", func() bool { return l.count.Load() >= want })
}

func (l *load) end() []string {
	l.stop()
	l.wg.Wait()
	return l.acked
}

// An opened log records which commands were written in which term.
type orderStore struct {
	raft.LogStore
	mu    sync.Mutex
	first map[uint64]fsm.Type // guarded by mu; by term, the genesis left out
}

// skipLast leaves the term out that the log ends with: its first command is there.
func (s *orderStore) skipLast(t *testing.T) {
	last, err := s.LastIndex()
	if err != nil {
		t.Error(err)
	}
	var l raft.Log
	if last > 0 && s.GetLog(last, &l) == nil {
		s.first[l.Term] = fsm.TypeLeaderOpen
	}
}

func (s *orderStore) StoreLogs(logs []*raft.Log) error {
	s.mu.Lock()
	for _, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		kind := kindOf(l)
		if _, seen := s.first[l.Term]; !seen && kind != fsm.TypeGenesis {
			s.first[l.Term] = kind
		}
	}
	s.mu.Unlock()
	return s.LogStore.StoreLogs(logs)
}

func TestLeaderStopsUnderLoad(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var stores []*orderStore
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) {
		cfg.SetStore(func(l raft.LogStore) raft.LogStore {
			s := &orderStore{LogStore: l, first: map[uint64]fsm.Type{}}
			s.skipLast(t)
			mu.Lock()
			stores = append(stores, s)
			mu.Unlock()
			return s
		})
	})
	c.ready()
	for range 2 {
		lead, others := c.split()
		l := c.startLoad(others...)
		l.more(20)
		c.stop(lead)
		c.leader()
		l.more(20)
		acked := l.end()
		c.wantKeys(acked)
		c.start(lead)
		c.ready()
		c.wantKeys(acked)
		c.wantEqual()
	}
	for _, s := range stores {
		s.mu.Lock()
		for term, kind := range s.first {
			if kind != fsm.TypeLeaderOpen {
				t.Errorf("term %d begins with command %d, want LeaderOpen", term, kind)
			}
		}
		s.mu.Unlock()
	}
}

func TestIsolatedLeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.ready()
	lead, others := c.split()
	old := c.nodes[lead]
	before := c.forward(lead)
	c.isolate(lead, true)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := old.Forward(ctx, []byte(newKeyID())); !errors.Is(err, kms.ErrOutcomeUnknown) && !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("a write on the isolated leader: %v", err)
	}
	until(t, "the isolated leader to stop serving", func() bool { return old.Ready() != nil })
	if _, err := old.View(t.Context()); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("View on the isolated leader: %v, want ErrUnavailable", err)
	}
	after := c.forward(others[0])
	c.isolate(lead, false)
	c.ready()
	c.wantKeys([]string{before, after})
	c.wantEqual()
}

func TestIsolatedFollowerStopsServing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.ready()
	lead, others := c.split()
	f := others[0]
	n := c.nodes[f]
	start := n.Now()
	c.isolate(f, true)
	if _, err := n.View(t.Context()); err != nil {
		t.Logf("already stale: %v", err) // on a slow machine
	}
	until(t, "the isolated node to stop serving", func() bool { return n.Ready() != nil })
	if _, err := n.View(t.Context()); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("View on the isolated node: %v, want ErrUnavailable", err)
	}
	if took := n.Now() - start; took > 15*time.Second {
		t.Errorf("the isolated node was refusing only after %v, want about 2 s", took)
	}
	id := c.forward(lead)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := n.Forward(ctx, []byte(newKeyID())); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("Forward from the isolated node: %v, want ErrUnavailable: nothing was delivered", err)
	}
	c.isolate(f, false)
	c.ready()
	c.wantKeys([]string{id})
}

func TestSilentFollower(t *testing.T) {
	t.Parallel()
	var silent atomic.Int64 // node + 1
	speak := make(chan struct{})
	c := newCluster(t, 3, all(calm, func(i int, cfg *cluster.Config) {
		cfg.SetBeat(func(context.Context) {
			if silent.Load() == int64(i)+1 {
				<-speak
			}
		})
	}))
	release := sync.OnceFunc(func() { close(speak) })
	defer release()
	c.ready()
	lead, others := c.split()
	f := others[0]
	silent.Store(int64(f) + 1)
	id := c.forward(lead) // waits for about a second
	until(t, "the silent node to stop serving", func() bool { return c.nodes[f].Ready() != nil })
	if _, err := c.nodes[f].View(t.Context()); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("View on the silent node: %v, want ErrUnavailable", err)
	}
	// Once it is known to be silent, nobody waits for it: a write would take a second.
	until(t, "writes that wait for nobody", func() bool {
		start := c.nodes[lead].Now()
		for range 10 {
			c.forward(lead)
		}
		return c.nodes[lead].Now()-start < 8*time.Second
	})
	silent.Store(0)
	release()
	c.ready()
	if !c.has(f, id) {
		t.Error("the node serves again without the key")
	}
}

func TestRestartOfAllFromDisk(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.ready()
	l := c.startLoad(0, 1, 2)
	l.more(30)
	acked := l.end()
	starts := c.nodes[1].Status().Starts
	c.stopAll()
	for i := range c.dirs {
		c.start(i) // on ports that the kernel chooses anew
	}
	c.ready()
	c.wantKeys(acked)
	c.wantEqual()
	if got := c.nodes[1].Status().Starts; got != starts+1 {
		t.Errorf("starts = %d, want %d", got, starts+1)
	}
	c.forward(0)
}

func TestSnapshotAndTruncatedLog(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) {
		cfg.SetTune(func(r *raft.Config) { r.TrailingLogs, r.SnapshotThreshold = 2, 1<<40 })
	})
	c.ready()
	_, others := c.split()
	away := others[0]
	c.stop(away)
	l := c.startLoad(c.leader())
	l.more(40)
	for i, n := range c.nodes {
		if n != nil {
			if err := n.Raft().Snapshot().Error(); err != nil { // while writes go on
				t.Fatalf("snapshot on node %d: %v", i, err)
			}
		}
	}
	l.more(5)
	acked := l.end()
	c.start(away) // gets a snapshot: the entries that it lacks are gone
	c.ready()
	c.wantKeys(acked)
	c.wantEqual()
	c.stopAll()
	for i := range c.dirs {
		c.start(i) // from snapshots
	}
	c.ready()
	c.wantKeys(acked)
	c.wantEqual()
}

// An inmemNetwork carries Raft's messages between the nodes of one cluster.
type inmemNetwork struct {
	mu         sync.Mutex
	transports map[string]*raft.InmemTransport // guarded by mu; by node
}

// transport returns a node's end, connected to all others.
func (n *inmemNetwork) transport(id string) raft.LoopbackTransport {
	_, tr := raft.NewInmemTransport(raft.ServerAddress(id))
	n.mu.Lock()
	if n.transports == nil {
		n.transports = map[string]*raft.InmemTransport{}
	}
	n.transports[id] = tr
	n.mu.Unlock()
	n.connect()
	return tr
}

// connect connects all nodes with each other.
func (n *inmemNetwork) connect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, tr := range n.transports {
		for other, o := range n.transports {
			if other != id {
				tr.Connect(raft.ServerAddress(other), o)
			}
		}
	}
}

// cut takes one node off.
func (n *inmemNetwork) cut(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other, tr := range n.transports {
		if other != id {
			tr.Disconnect(raft.ServerAddress(id))
		}
	}
	n.transports[id].DisconnectAll()
}

// A node that Raft does not reach learns of no new term. The Beats of the new
// term's leader do reach it, and must not make it serve its old state.
func TestBeatsOfATermThatRaftDoesNotKnow(t *testing.T) {
	t.Parallel()
	var net inmemNetwork
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) { cfg.SetTransport(net.transport) })
	c.ready()
	lead := c.leader()
	for net.cut(c.founded.NodeIDs[lead]); !c.nodes[lead].Status().Leads; net.cut(c.founded.NodeIDs[lead]) {
		net.connect() // another one was elected meanwhile
		lead = c.leader()
	}
	until(t, "the leader that Raft cannot reach to stop serving", func() bool { return c.nodes[lead].Ready() != nil })
	after := c.forward((lead + 1) % 3)
	for range 3 {
		if v, err := c.nodes[lead].View(t.Context()); !errors.Is(err, kms.ErrUnavailable) {
			_, ok := v.Key(region, after)
			t.Errorf("View: %v, want ErrUnavailable (it has the key: %v)", err, ok)
		}
	}
}

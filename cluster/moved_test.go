package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/internal/testport"
)

// A movable cluster's nodes listen where addrs says, and tell each other by
// themselves where that is.
type movable struct {
	*testCluster
	addrs [3]string
	hints [3][]string // what an operator has told each node
}

func newMovable(t *testing.T, adapt func(i int, cfg *cluster.Config)) *movable {
	t.Helper()
	m := new(movable)
	for i := range m.addrs {
		m.addrs[i] = testport.Addr(t)
	}
	m.testCluster = newCluster(t, 3, func(i int, cfg *cluster.Config) {
		quick(i, cfg)
		cfg.Resolve, cfg.ListenAddr, cfg.Advertise, cfg.Gossip = nil, m.addrs[i], m.addrs[i], true
		cfg.Peers = m.hints[i]
		if adapt != nil {
			adapt(i, cfg)
		}
	})
	m.ready()
	return m
}

// unsent stops all nodes, and leaves entries in the log of one that the others lack.
// It returns that node. No snapshot is there: nobody has a state at the next start.
func (m *movable) unsent() int {
	m.t.Helper()
	for {
		m.ready()
		lead := m.leader()
		n := m.nodes[lead]
		l := m.startLoad(lead)
		l.more(5)
		var both sync.WaitGroup
		var others []*raft.Raft
		for i, other := range m.nodes {
			if i != lead {
				others = append(others, other.Raft())
				both.Go(func() { m.stop(i) })
			}
		}
		both.Wait()
		l.end()
		if n.Raft().LastIndex() > max(others[0].LastIndex(), others[1].LastIndex()) {
			m.stop(lead)
			return lead
		}
		for i := range m.nodes { // it was not quick enough
			if i != lead {
				m.start(i)
			}
		}
	}
}

// Only one node can win the election, and it is the one that the others can reach
// and that cannot reach them.
func TestMovedMembersAreFoundByTheirNextLeader(t *testing.T) {
	t.Parallel()
	m := newMovable(t, nil)
	longest := m.unsent()
	for i := range m.addrs {
		if i != longest {
			m.addrs[i] = testport.Addr(t)
		}
	}
	for i := range m.dirs {
		m.start(i)
	}
	m.ready()
	m.forward(longest)
	m.wantEqual()
}

// Everybody has moved. The operator names the address of one node to the others, or
// of some node to each.
func TestAllMembersMove(t *testing.T) {
	t.Parallel()
	for name, hints := range map[string][3][]int{
		"one is named":        {{}, {0}, {0}},
		"a chain":             {{1}, {2}, {}},
		"one names the rest":  {{}, {}, {0, 1}},
		"all of them are all": {{0, 1, 2}, {0, 1, 2}, {0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMovable(t, nil)
			id := m.forward(0)
			m.unsent()
			for i := range m.addrs {
				m.addrs[i] = testport.Addr(t)
			}
			for i, named := range hints {
				m.hints[i] = []string{"127.0.0.1:1"} // nobody is there
				for _, j := range named {
					m.hints[i] = append(m.hints[i], m.addrs[j])
				}
			}
			for i := range m.dirs {
				m.start(i)
			}
			m.ready()
			m.wantKeys([]string{id})
			for _, n := range m.nodes {
				for j, other := range m.founded.NodeIDs {
					until(t, "the state has the new addresses", func() bool {
						r, ok := n.Machine().View().Node(other)
						return ok && r.Address == m.addrs[j]
					})
				}
			}
			m.hints = [3][]string{} // they are needed once
			m.stopAll()
			for i := range m.dirs {
				m.start(i)
			}
			m.ready()
			m.wantEqual()
		})
	}
}

// While a member was away, all others have moved and renewed their keys: it
// recognises nobody, and nobody is where it looks. It moves as well.
func TestMemberReturnsToMovedAndRenewedMembers(t *testing.T) {
	t.Parallel()
	var clock steppedClock
	m := newMovable(t, func(_ int, cfg *cluster.Config) {
		cfg.Clock = &clock
		cfg.SetRenewEvery(20 * time.Millisecond)
	})
	lead := m.leader()
	away := (lead + 1) % 3
	old := map[string][32]byte{}
	for _, r := range m.nodes[lead].Machine().View().Nodes() {
		old[r.ID] = r.SPKI
	}
	m.stop(away)
	id := m.forward(lead)
	clock.ahead.Store(int64(trust.NodeLife * 85 / 100))
	until(t, "the others have renewed their keys", func() bool {
		for _, r := range m.nodes[m.leader()].Machine().View().Nodes() {
			if r.ID != m.founded.NodeIDs[away] && (r.SPKI == old[r.ID] || r.NextSPKI != [32]byte{}) {
				return false
			}
		}
		return true
	})
	for i := range m.nodes { // one after the other, as an operator would
		if i == away {
			continue
		}
		m.stop(i)
		m.addrs[i] = testport.Addr(t)
		m.start(i)
		m.ready()
		until(t, "the others know the new address", func() bool {
			for _, n := range m.nodes {
				if n == nil {
					continue
				}
				if r, ok := n.Machine().View().Node(m.founded.NodeIDs[i]); !ok || r.Address != m.addrs[i] {
					return false
				}
			}
			return true
		})
	}
	m.addrs[away] = testport.Addr(t)
	m.hints[away] = []string{"127.0.0.1:1", m.addrs[lead]}
	m.start(away)
	m.ready()
	m.wantKeys([]string{id})
	m.wantEqual()
}

// The keys that a node writes down follow the state; without them, or with a file that
// was damaged, it waits for the leader as it did at its very first start.
func TestKeptGossipKeys(t *testing.T) {
	t.Parallel()
	m := newMovable(t, nil)
	kept := func() {
		t.Helper()
		for i, n := range m.nodes {
			if n == nil {
				continue
			}
			until(t, fmt.Sprintf("node %d writes gossip's keys down", i), func() bool {
				count, index, err := n.KeptGossipKeys()
				if err != nil {
					t.Fatal(err)
				}
				rec := n.Machine().View().GossipKeys()
				return rec != nil && index == rec.ModIndex && count == len(rec.Keys)
			})
		}
	}
	kept()
	lead := m.leader()
	gone := (lead + 1) % 3
	old := m.nodes[lead].Credentials().Issuer()
	if err := m.nodes[lead].RemovePeer(t.Context(), m.founded.NodeIDs[gone], false); err != nil {
		t.Fatal(err)
	}
	m.wantEnded(gone, cluster.ErrRemoved, false)
	m.rotated(old)
	kept()
	m.stopAll()
	other := 3 - lead - gone
	if err := os.WriteFile(filepath.Join(m.dirs[lead], "gossip.keys"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(m.dirs[other], "gossip.keys")); err != nil {
		t.Fatal(err)
	}
	m.start(lead)
	m.start(other)
	m.ready()
	until(t, "gossip", func() bool {
		return m.nodes[lead].Hint(m.founded.NodeIDs[other]) == m.addrs[other] && m.nodes[other].Hint(m.founded.NodeIDs[lead]) == m.addrs[lead]
	})
	for _, i := range []int{lead, other} {
		n := m.nodes[i]
		until(t, "the keys are written down again", func() bool {
			count, _, err := n.KeptGossipKeys()
			return err == nil && count == 1
		})
	}
}

package cluster_test

import (
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/fsm"
)

// kindOf returns the type of the command in a log entry (crypto.EntryHeader).
func kindOf(l *raft.Log) fsm.Type { return fsm.Type(uint16(l.Data[5])<<8 | uint16(l.Data[6])) }

// A genesisStore cannot write the cluster's first command, and counts it.
type genesisStore struct {
	raft.LogStore
	broken bool
	seen   *atomic.Int64
}

func (s *genesisStore) StoreLogs(logs []*raft.Log) error {
	for _, l := range logs {
		if l.Type == raft.LogCommand && kindOf(l) == fsm.TypeGenesis {
			if s.broken {
				return errDisk
			}
			s.seen.Add(1)
		}
	}
	return s.LogStore.StoreLogs(logs)
}

// The node that bootstraps fails before it has committed the cluster's first
// command: whoever leads next commits it, and it stands in the log once.
func TestFirstLeaderFailsBeforeTheGenesis(t *testing.T) {
	t.Parallel()
	seen := make([]atomic.Int64, 3)
	c := newCluster(t, 3, func(i int, cfg *cluster.Config) {
		cfg.SetStore(func(l raft.LogStore) raft.LogStore { return &genesisStore{l, i == 0, &seen[i]} })
	})
	wantFatal(t, c.nodes[0], cluster.ExitRestart)
	c.stop(0)
	c.ready()
	id := c.forward(1)
	if !c.has(2, id) {
		t.Error("node 2 lacks the key")
	}
	for i := 1; i < 3; i++ {
		if n := seen[i].Load(); n != 1 {
			t.Errorf("node %d wrote the genesis %d times, want once", i, n)
		}
	}
}

package cluster_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
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

// An entry other than the cluster's first one, sealed before the keyring has a term,
// would stop every node that applies it, at each start.
func TestNothingIsSealedWithAnEmptyKeyring(t *testing.T) {
	t.Parallel()
	k := kmscrypto.NewKeyring("11111111-1111-4111-8111-111111111111", kmscrypto.NewRoot())
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{Time: 1}, &fsm.LeaderOpen{Term: 2, NodeID: "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.SealEntry(k, 1, cmd); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("sealing with an empty keyring: %v, want ErrUnavailable", err)
	}
	wrapped, err := k.NewTerm(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Load(map[uint32][]byte{1: wrapped}); err != nil {
		t.Fatal(err)
	}
	entry, err := cluster.SealEntry(k, 1, cmd)
	if err != nil {
		t.Fatal(err)
	}
	if h, _, err := k.OpenEntry(entry); err != nil || h.Term != 1 {
		t.Errorf("the entry is sealed under term %d, %v; want term 1", h.Term, err)
	}
}

package cluster_test

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// kindOf returns the type of the command in a log entry (crypto.EntryHeader).
func kindOf(l *raft.Log) fsm.Type { return fsm.Type(uint16(l.Data[5])<<8 | uint16(l.Data[6])) }

// A genesisStore cannot write the cluster's first command.
type genesisStore struct{ raft.LogStore }

func (s *genesisStore) StoreLogs(logs []*raft.Log) error {
	for _, l := range logs {
		if isGenesis(l) {
			return errDisk
		}
	}
	return s.LogStore.StoreLogs(logs)
}

func isGenesis(l *raft.Log) bool { return l.Type == raft.LogCommand && kindOf(l) == fsm.TypeGenesis }

// countGeneses counts the cluster's first command in a log.
func countGeneses(t *testing.T, log raft.LogStore) (n int) {
	t.Helper()
	first, err := log.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err := log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := log.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		if isGenesis(&l) {
			n++
		}
	}
	return n
}

// The node that bootstraps fails before it has committed the cluster's first
// command: whoever leads next commits it, and it stands in the log once.
func TestFirstLeaderFailsBeforeTheGenesis(t *testing.T) {
	t.Parallel()
	logs := make([]raft.LogStore, 3)
	c := newCluster(t, 3, func(i int, cfg *cluster.Config) {
		cfg.SetStore(func(l raft.LogStore) raft.LogStore {
			if logs[i] = l; i == 0 {
				return &genesisStore{l}
			}
			return l
		})
	})
	wantFatal(t, c.nodes[0], cluster.ExitRestart)
	c.stop(0)
	c.ready()
	id := c.forward(1)
	if !c.has(2, id) {
		t.Error("node 2 lacks the key")
	}
	for i := 1; i < 3; i++ {
		if n := countGeneses(t, logs[i]); n != 1 {
			t.Errorf("the log of node %d has the genesis %d times, want once", i, n)
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

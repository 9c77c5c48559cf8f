package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// wantFatal waits for a node's fatal condition and checks that it serves nothing.
func wantFatal(t *testing.T, n *cluster.Node, code int) error {
	t.Helper()
	select {
	case <-n.Fatal():
	case <-time.After(patience):
		t.Fatal("no fatal condition")
	}
	got, err := n.FatalError()
	if got != code || err == nil {
		t.Errorf("FatalError = %d, %v; want %d", got, err, code)
	}
	if _, err := n.View(t.Context()); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("View after the failure: %v, want ErrUnavailable", err)
	}
	if _, _, err := n.Propose(t.Context(), createKey(newKeyID())); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("Propose after the failure: %v, want ErrUnavailable", err)
	}
	if n.Ready() == nil || n.Settle(t.Context(), 1) == nil {
		t.Error("ready after the failure")
	}
	return err
}

func TestHealthyNodeIsNotFatal(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	c.ready()
	if code, err := c.nodes[0].FatalError(); code != 0 || err != nil {
		t.Errorf("FatalError = %d, %v", code, err)
	}
}

func TestEntryThatDoesNotOpenStopsEveryNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, calm)
	c.ready()
	c.forward(0)
	entry := bytes.Repeat([]byte{1, 'S', 'E', 'C', 'R', 'E', 'T'}, 40)
	lead := c.nodes[0]
	var before *fsm.Snapshot
	until(t, "the entry is in the log", func() bool {
		before = lead.Machine().Snapshot()
		if err := lead.ProposeRaw(t.Context(), entry); err == nil {
			t.Error("the entry was accepted")
		}
		code, _ := lead.FatalError()
		return code != 0 // else it did not lead just then
	})
	for _, n := range c.nodes {
		err := wantFatal(t, n, cluster.ExitUndecodable)
		if strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), "280 bytes") {
			t.Errorf("the error is %q, want the length and not the bytes", err)
		}
		// Perhaps a new term began just before the entry.
		if n.Machine().Index() == before.Index() && n.Machine().Digest() != before.Digest() {
			t.Error("the state changed")
		}
		if got := n.Machine().Digest(); got != lead.Machine().Digest() {
			t.Errorf("the states differ: %x", got)
		}
		if err := n.Raft().Snapshot().Error(); err == nil {
			t.Error("a snapshot was taken although an entry is not applied")
		}
	}
}

func TestUnknownCommandsAreFatal(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]kmscrypto.EntryHeader{
		"a command of the future":         {ClusterVersion: 1, Type: 60000, Version: 1},
		"a version of the future":         {ClusterVersion: 1, Type: uint16(fsm.TypeHashCheck), Version: 200},
		"a cluster version of the future": {ClusterVersion: 2, Type: uint16(fsm.TypeHashCheck), Version: 1},
		"a second genesis's type":         {ClusterVersion: 1, Type: uint16(fsm.TypeGenesis), Version: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 1, nil)
			c.ready()
			entry, err := c.nodes[0].Keyring().SealEntry(header, []byte{0x80})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.nodes[0].ProposeRaw(t.Context(), entry); err == nil {
				t.Error("the entry was accepted")
			}
			wantFatal(t, c.nodes[0], cluster.ExitUndecodable)
		})
	}
}

// A brokenStore fails or hangs once it is told to.
type brokenStore struct {
	raft.LogStore
	fault *atomic.Int32
	hang  chan struct{}
}

const (
	faultError = 1
	faultHang  = 2
)

var errDisk = errors.New("input/output error")

func (s *brokenStore) StoreLogs(logs []*raft.Log) error {
	switch s.fault.Load() {
	case faultError:
		return errDisk
	case faultHang:
		<-s.hang
	}
	return s.LogStore.StoreLogs(logs)
}

func TestStoreErrorsOnTheLeader(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]int32{"error": faultError, "hang": faultHang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faults := make([]atomic.Int32, 3)
			hang := make(chan struct{})
			c := newCluster(t, 3, all(calm, func(i int, cfg *cluster.Config) {
				cfg.SetStore(func(l raft.LogStore) raft.LogStore { return &brokenStore{l, &faults[i], hang} })
			}))
			c.ready()
			id := c.forward(0)
			const lead = 0
			n := c.nodes[lead]
			faults[lead].Store(fault)
			var err error
			until(t, "Propose takes the command", func() bool {
				_, _, err = n.Propose(t.Context(), createKey(newKeyID()))
				code, _ := n.FatalError()
				return code != 0 || !errors.Is(err, kms.ErrNotLeader) // it may lose the term just then
			})
			if !errors.Is(err, kms.ErrOutcomeUnknown) && !errors.Is(err, kms.ErrNotLeader) {
				t.Errorf("Propose: %v, want ErrOutcomeUnknown", err)
			}
			if err := wantFatal(t, n, cluster.ExitRestart); fault == faultError && !errors.Is(err, errDisk) {
				t.Errorf("FatalError: %v, want the store's", err)
			}
			close(hang)
			faults[lead].Store(0)
			c.stop(lead) // as the process would end
			c.forward(1)
			c.start(lead)
			c.ready()
			if !c.has(lead, id) {
				t.Error("the key is gone")
			}
			c.wantEqual()
		})
	}
}

func TestDifferentStateIsFatal(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(_ int, cfg *cluster.Config) { cfg.SetHashEvery(20 * time.Millisecond) })
	c.ready()
	n := c.nodes[0]
	first, _ := n.Machine().Check()
	until(t, "two checks", func() bool {
		index, _ := n.Machine().Check()
		return first != 0 && index > first || func() bool { first, _ = n.Machine().Check(); return false }()
	})
	select {
	case <-n.Fatal():
		t.Fatal(n.FatalError())
	default:
	}
	until(t, "a false check to be compared", func() bool {
		index, digest := n.Machine().Check()
		digest[0]++
		cmd, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, &fsm.HashCheck{PrevIndex: index, PrevDigest: digest})
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = n.Propose(t.Context(), cmd) // perhaps the node's own check came between
		code, _ := n.FatalError()
		return code != 0
	})
	if err := wantFatal(t, n, cluster.ExitUndecodable); !errors.Is(err, fsm.ErrDiverged) {
		t.Errorf("FatalError: %v, want ErrDiverged", err)
	}
}

func TestNodesCompareTheirStates(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(_ int, cfg *cluster.Config) { cfg.SetHashEvery(30 * time.Millisecond) })
	c.ready()
	l := c.startLoad(0, 1)
	l.more(30)
	l.end()
	for i, n := range c.nodes {
		until(t, fmt.Sprintf("node %d compares its state", i), func() bool {
			index, _ := n.Machine().Check()
			return index > 0
		})
		if code, err := n.FatalError(); code != 0 {
			t.Errorf("node %d: %v", i, err)
		}
	}
	c.wantEqual()
}

func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(_ int, cfg *cluster.Config) {
		cfg.SetTune(func(r *raft.Config) { r.TrailingLogs = 1 })
	})
	c.ready()
	ids := []string{c.forward(0), c.forward(0)}
	if err := c.nodes[0].Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	c.stop(0)
	files, err := filepath.Glob(filepath.Join(c.dirs[0], "raft", "snapshots", "*", "state.bin"))
	if err != nil || len(files) == 0 {
		t.Fatalf("snapshots: %v, %v", files, err)
	}
	for _, f := range files {
		flipByte(t, f)
	}
	if n, err := cluster.Open(t.Context(), c.config(0)); err == nil {
		_ = n.Close(t.Context())
		t.Error("a node with damaged snapshots opened")
	}
	for _, f := range files {
		flipByte(t, f) // back
	}
	c.start(0)
	c.ready()
	c.wantKeys(ids)
}

package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/kmsd/kmsd/internal/failpoint"
)

const (
	// storeHang is how long the leader's disk may take for one write before the
	// leader gives up: a leader whose disk hangs goes on sending heartbeats, so
	// nobody would be elected in its place (hashicorp/raft#503, #614).
	storeHang = 5 * time.Second
	// hangSteps divide it.
	hangSteps = 10
	// storeLock is how long opening waits for another process to leave raft.db. The
	// data directory's lock is held already, so nobody should be there.
	storeLock  = 5 * time.Second
	raftDBFile = "raft.db"
)

func boltOptions(path string) raftboltdb.Options {
	return raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:        storeLock,
			FreelistType:   bbolt.FreelistMapType,
			NoFreelistSync: true, // it is rebuilt at start; written, it costs with each write
		},
		NoSync:                  false,
		MsgpackUseNewTimeFormat: true,
	}
}

// logStore is the one below Raft's cache.
//
// It says that it is monotonic: otherwise a follower whose log diverges from a
// snapshot's keeps the diverging part and asks for the snapshot for ever
// (hashicorp/raft#697). And it watches: Raft logs an error of its store and goes
// on, this node does not.
type logStore struct {
	raft.LogStore
	leads func() bool
	fail  func(code int, err error)
	hang  time.Duration
}

// IsMonotonic implements raft.MonotonicLogStore.
func (s *logStore) IsMonotonic() bool { return true }

func (s *logStore) FirstIndex() (uint64, error) {
	i, err := s.LogStore.FirstIndex()
	return i, s.check("reading the first index of the log", err)
}

func (s *logStore) LastIndex() (uint64, error) {
	i, err := s.LogStore.LastIndex()
	return i, s.check("reading the last index of the log", err)
}

func (s *logStore) GetLog(index uint64, log *raft.Log) error {
	return s.check("reading the log", s.LogStore.GetLog(index, log))
}

func (s *logStore) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

func (s *logStore) StoreLogs(logs []*raft.Log) error {
	done := make(chan struct{})
	defer close(done)
	watch := time.AfterFunc(s.hang/hangSteps, func() { s.watch(done) })
	defer watch.Stop()
	err := s.LogStore.StoreLogs(logs)
	if failpoint.On && err == nil {
		for _, l := range logs {
			logStored.Hit(describe(l))
		}
	}
	return s.check("writing to the log", err)
}

// watch stops the node if it leads and the write that began a step ago takes much
// longer. It counts steps: the time in which the whole process was stopped, with its
// machine perhaps, is none of the disk's and counts as one or two.
func (s *logStore) watch(done <-chan struct{}) {
	step := time.NewTicker(s.hang / hangSteps)
	defer step.Stop()
	for range hangSteps - 1 {
		select {
		case <-step.C:
		case <-done:
			return
		}
	}
	select {
	case <-done:
	default:
		if s.leads() {
			s.fail(ExitRestart, fmt.Errorf("writing to the log took longer than %v on the leader", s.hang))
		}
	}
}

func (s *logStore) DeleteRange(first, last uint64) error {
	err := s.LogStore.DeleteRange(first, last)
	logTruncated.Hit("")
	return s.check("truncating the log", err)
}

func (s *logStore) check(doing string, err error) error {
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		s.fail(ExitRestart, fmt.Errorf("%s: %w", doing, err))
	}
	return err
}

// stableStore watches Raft's term and vote.
type stableStore struct {
	raft.StableStore
	fail func(code int, err error)
}

func (s *stableStore) Set(key, val []byte) error {
	return s.check(key, s.StableStore.Set(key, val))
}

func (s *stableStore) SetUint64(key []byte, val uint64) error {
	return s.check(key, s.StableStore.SetUint64(key, val))
}

func (s *stableStore) check(key []byte, err error) error {
	if failpoint.On && err == nil {
		variableStored.Hit(string(key))
	}
	if err != nil {
		s.fail(ExitRestart, fmt.Errorf("writing the term or vote: %w", err))
	}
	return err
}

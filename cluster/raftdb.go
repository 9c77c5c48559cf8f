package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// A raftDB is the file raft.db: Raft's log and its durable variables, term and vote
// among them. bbolt never overwrites what is deleted in it; rewrite moves what lives
// to a new file, while Raft goes on.
//
// Every operation holds mu for reading from its beginning to its end. Who holds it
// for writing is alone: nothing is being written or read, and everything that was
// acknowledged lies in the file.
type raftDB struct {
	path string
	mu   sync.RWMutex
	bolt *raftboltdb.BoltStore // guarded by mu
	// lost is set, for ever, when nobody knows which file the next start will find.
	// Guarded by mu.
	lost error

	noted sync.Mutex
	vars  map[string]bool // names of the variables that the file holds; guarded by noted
	// changed is the lowest index of the log's tail that was written or deleted since
	// rewrite asked last; 0: none was. Guarded by noted.
	changed uint64
}

var (
	_ raft.LogStore    = (*raftDB)(nil)
	_ raft.StableStore = (*raftDB)(nil)
)

// openRaftDB opens the file in dir, or makes it. Every write is followed by
// fdatasync before it counts.
func openRaftDB(dir string) (*raftDB, error) {
	s := &raftDB{path: filepath.Join(dir, raftDBFile), vars: map[string]bool{}}
	if err := s.readVars(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", raftDBFile, err)
	}
	var err error
	if s.bolt, err = raftboltdb.New(boltOptions(s.path)); err != nil {
		return nil, fmt.Errorf("opening %s: %w", raftDBFile, err)
	}
	return s, nil
}

// boltVars is where raft-boltdb keeps the variables.
const boltVars = "conf"

// readVars notes the variables' names, which raft-boltdb does not list.
func (s *raftDB) readVars() error {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	db, err := bbolt.Open(s.path, 0, &bbolt.Options{Timeout: storeLock, ReadOnly: true})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(boltVars))
		if b == nil {
			return nil
		}
		return b.ForEach(func(name, _ []byte) error {
			s.vars[string(name)] = true
			return nil
		})
	})
	return errors.Join(err, db.Close())
}

// use runs an operation on the file.
func (s *raftDB) use(op func(*raftboltdb.BoltStore) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.lost != nil {
		return s.lost
	}
	return op(s.bolt)
}

// FirstIndex implements raft.LogStore.
func (s *raftDB) FirstIndex() (i uint64, err error) {
	err = s.use(func(b *raftboltdb.BoltStore) error { i, err = b.FirstIndex(); return err })
	return i, err
}

// LastIndex implements raft.LogStore.
func (s *raftDB) LastIndex() (i uint64, err error) {
	err = s.use(func(b *raftboltdb.BoltStore) error { i, err = b.LastIndex(); return err })
	return i, err
}

// GetLog implements raft.LogStore.
func (s *raftDB) GetLog(index uint64, log *raft.Log) error {
	return s.use(func(b *raftboltdb.BoltStore) error { return b.GetLog(index, log) })
}

// StoreLog implements raft.LogStore.
func (s *raftDB) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (s *raftDB) StoreLogs(logs []*raft.Log) error {
	return s.use(func(b *raftboltdb.BoltStore) error {
		if len(logs) > 0 {
			defer s.note(logs[0].Index)
		}
		return b.StoreLogs(logs)
	})
}

// DeleteRange implements raft.LogStore. What is deleted at the log's beginning is
// no change of its tail.
func (s *raftDB) DeleteRange(first, last uint64) error {
	return s.use(func(b *raftboltdb.BoltStore) error {
		begin, err := b.FirstIndex()
		if err != nil {
			return err
		}
		if first > begin {
			defer s.note(first)
		}
		return b.DeleteRange(first, last)
	})
}

// note tells rewrite, after the change, from which index on the tail changed.
func (s *raftDB) note(index uint64) {
	s.noted.Lock()
	defer s.noted.Unlock()
	if s.changed == 0 || index < s.changed {
		s.changed = index
	}
}

// takeChanged returns from where on the tail changed since the last call; 0: it did
// not.
func (s *raftDB) takeChanged() uint64 {
	s.noted.Lock()
	defer s.noted.Unlock()
	index := s.changed
	s.changed = 0
	return index
}

// Set implements raft.StableStore.
func (s *raftDB) Set(name, value []byte) error {
	return s.use(func(b *raftboltdb.BoltStore) error {
		s.noteVar(name)
		return b.Set(name, value)
	})
}

// SetUint64 implements raft.StableStore.
func (s *raftDB) SetUint64(name []byte, value uint64) error {
	return s.use(func(b *raftboltdb.BoltStore) error {
		s.noteVar(name)
		return b.SetUint64(name, value)
	})
}

func (s *raftDB) noteVar(name []byte) {
	s.noted.Lock()
	defer s.noted.Unlock()
	s.vars[string(name)] = true
}

// Get implements raft.StableStore.
func (s *raftDB) Get(name []byte) (value []byte, err error) {
	err = s.use(func(b *raftboltdb.BoltStore) error { value, err = b.Get(name); return err })
	return value, err
}

// GetUint64 implements raft.StableStore.
func (s *raftDB) GetUint64(name []byte) (value uint64, err error) {
	err = s.use(func(b *raftboltdb.BoltStore) error { value, err = b.GetUint64(name); return err })
	return value, err
}

// used is how many bytes of the file are in use.
func (s *raftDB) used() (bytes uint64, err error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0, err
	}
	err = s.use(func(b *raftboltdb.BoltStore) error {
		bytes = uint64(max(0, info.Size()-int64(b.Stats().FreeAlloc)))
		return nil
	})
	return bytes, err
}

// hasVars tells whether Raft has ever used the file.
func (s *raftDB) hasVars() bool {
	s.noted.Lock()
	defer s.noted.Unlock()
	return len(s.vars) > 0
}

// Close closes the file.
func (s *raftDB) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bolt.Close()
}

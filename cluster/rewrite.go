package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/kmsd/kmsd/internal/durable"
)

const (
	// rewriteBatch and rewriteBytes bound what one transaction copies.
	rewriteBatch = 1024    // entries
	rewriteBytes = 4 << 20 // of their data
	// rewriteTail is how many entries may be left to copy while nobody writes.
	rewriteTail = 64
	// rewritePasses is how often the new file may fall behind before that is an
	// error.
	rewritePasses = 100
)

// A rewriting is a new raft.db that grows beside the one in use.
type rewriting struct {
	db   *raftDB
	path string // of the new file, until it is moved
	to   *raftboltdb.BoltStore
	next uint64 // the log below it is copied
}

// rewrite replaces the file by one that holds what is in the log, the variables,
// and nothing else. The log is copied while Raft goes on. For the last entries, the
// variables and the change of the name everybody waits, for a few writes' time,
// which rewrite returns.
//
// A crash leaves the old file or the new one under the name. The new one is durable
// before it gets the name and holds then all that the old one does; nothing is
// acknowledged from then on until the name is durable, too. Should that fail,
// errUncertain comes back and every later operation fails: one of two files is there at
// the next start, each good.
func (s *raftDB) rewrite(ctx context.Context, at func(step string) error) (pause time.Duration, err error) {
	w, err := s.startRewrite()
	if err != nil {
		return 0, fmt.Errorf("starting a new %s: %w", raftDBFile, err)
	}
	defer w.abandon()
	if err := w.follow(ctx); err != nil {
		return 0, fmt.Errorf("copying %s: %w", raftDBFile, err)
	}
	if err := at("copied"); err != nil {
		return 0, err
	}
	return w.exchange(ctx, at)
}

func (s *raftDB) startRewrite() (*rewriting, error) {
	path, err := durable.Reserve(s.path)
	if err != nil {
		return nil, err
	}
	to, err := raftboltdb.New(boltOptions(path))
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &rewriting{db: s, path: path, to: to}, nil
}

// abandon drops the file that is not in use.
func (w *rewriting) abandon() {
	_ = w.to.Close()
	_ = os.Remove(w.path) // gone if the new file was moved; what is left over is removed at the next start
}

var errBusy = errors.New("the log grows faster than it can be copied")

// follow copies until little is missing.
func (w *rewriting) follow(ctx context.Context) error {
	for range rewritePasses {
		copied, err := w.copy(ctx, w.db)
		if err != nil {
			return err
		}
		if copied <= rewriteTail {
			return nil
		}
	}
	return errBusy
}

// copy copies what the log has that is not copied yet, or has changed since, and
// returns how many entries. The log may change meanwhile: what it loses at its
// beginning is skipped; what it loses at its end the next call finds.
func (w *rewriting) copy(ctx context.Context, from raft.LogStore) (copied int, err error) {
	if changed := w.db.takeChanged(); changed > 0 && changed < w.next {
		if err := w.to.DeleteRange(changed, w.next-1); err != nil {
			return 0, err
		}
		w.next = changed
	}
	first, last, err := bounds(from)
	if err != nil {
		return 0, err
	}
	w.next = max(w.next, first)
	for w.next <= last {
		batch, err := w.read(from, last)
		if err != nil {
			return copied, err
		}
		if len(batch) == 0 { // the entry was deleted
			w.next++
			continue
		}
		if err := errors.Join(ctx.Err(), w.to.StoreLogs(batch)); err != nil {
			return copied, err
		}
		copied += len(batch)
		w.next += uint64(len(batch))
	}
	return copied, nil
}

// read returns entries from next on: a transaction's worth, at most to last, and
// none if the next one is not there any more.
func (w *rewriting) read(from raft.LogStore, last uint64) (batch []*raft.Log, err error) {
	size := 0
	for i := w.next; i <= last && len(batch) < rewriteBatch && size < rewriteBytes; i++ {
		log := new(raft.Log)
		if err := from.GetLog(i, log); errors.Is(err, raft.ErrLogNotFound) {
			break
		} else if err != nil {
			return nil, err
		}
		batch = append(batch, log)
		size += len(log.Data)
	}
	return batch, nil
}

// bounds returns the first and the last index of a log; 1 and 0 for an empty one.
func bounds(log raft.LogStore) (first, last uint64, err error) {
	first, err = log.FirstIndex()
	last, other := log.LastIndex()
	if first == 0 || last == 0 {
		first, last = 1, 0
	}
	return first, last, errors.Join(err, other)
}

// exchange puts the new file in the old one's place while nobody uses either, and
// returns for how long everybody had to wait.
func (w *rewriting) exchange(ctx context.Context, at func(step string) error) (pause time.Duration, err error) {
	s := w.db
	s.mu.Lock()
	defer s.mu.Unlock()
	start := time.Now()
	if err := w.complete(ctx); err != nil {
		return 0, fmt.Errorf("completing the new %s: %w", raftDBFile, err)
	}
	if err := at("complete"); err != nil {
		return 0, err
	}
	if err := errors.Join(durable.Rename(w.path, s.path), at("renamed")); err != nil {
		s.lost = fmt.Errorf("%w: %w", errUncertain, err)
		return 0, s.lost
	}
	s.bolt, w.to = w.to, s.bolt // abandon closes the old file, which has no name any more
	return time.Since(start), nil
}

// errUncertain is returned when the new file may or may not have the name.
var errUncertain = errors.New("nobody knows which " + raftDBFile + " the next start will find")

// complete makes the new file hold exactly what the old one does. Nobody writes.
func (w *rewriting) complete(ctx context.Context) error {
	old := w.db.bolt
	if _, err := w.copy(ctx, old); err != nil {
		return err
	}
	if err := w.trim(old); err != nil {
		return err
	}
	for name := range w.db.vars {
		if err := copyVar(w.to, old, []byte(name)); err != nil {
			return err
		}
	}
	return nil
}

// trim deletes what the old file has no more at the log's beginning, and checks
// that both logs are the same range.
func (w *rewriting) trim(old *raftboltdb.BoltStore) error {
	first, last, err := bounds(old)
	if err != nil {
		return err
	}
	from, to, err := bounds(w.to)
	if err != nil {
		return err
	}
	switch {
	case last == 0 && to > 0:
		err = w.to.DeleteRange(from, to)
	case from < first && to > 0:
		err = w.to.DeleteRange(from, first-1)
	}
	if err != nil {
		return err
	}
	if from, to, err = bounds(w.to); err == nil && (from != first || to != last) {
		err = fmt.Errorf("the log is %d to %d, the copy is %d to %d", first, last, from, to)
	}
	return err
}

// copyVar copies a variable unless it is there already.
func copyVar(to, from *raftboltdb.BoltStore, name []byte) error {
	value, err := from.Get(name)
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return nil // it could not be written
	}
	if err != nil {
		return err
	}
	if had, err := to.Get(name); err == nil && bytes.Equal(had, value) {
		return nil
	}
	return to.Set(name, value)
}

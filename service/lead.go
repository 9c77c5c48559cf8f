package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
)

// recorded is the set of log entries whose audit records are durable here while
// replicated state still keeps a copy of them. Commands carry the set along; an
// entry leaves it once such a command was applied.
type recorded struct {
	mu      sync.Mutex
	indexes map[uint64]bool // guarded by mu
}

// maxRecorded bounds what one command carries.
const maxRecorded = 512

func (s *recorded) add(index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.indexes == nil {
		s.indexes = map[uint64]bool{}
	}
	s.indexes[index] = true
}

func (s *recorded) has(index uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.indexes[index]
}

// list returns the smallest members in order, at most maxRecorded.
func (s *recorded) list() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Sorted(maps.Keys(s.indexes))
	return list[:min(len(list), maxRecorded)]
}

func (s *recorded) forget(indexes []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range indexes {
		delete(s.indexes, i)
	}
}

// pruneEvery is how often a leader without other writes tells the members which
// audit records are durable.
const pruneEvery = time.Minute

// Lead does the work of the leader of one term until ctx ends: what is due by
// itself, and the audit records of commands that were committed and may not have
// been recorded. First those of earlier leaders, then what this one could not record
// itself. Such a record can stand in two nodes' logs; both copies carry the same
// eventID.
//
// opened is the index of the entry that opened the term: all entries before it
// were proposed by other terms, none after it was.
func (s *Service) Lead(ctx context.Context, opened uint64) {
	var due sync.WaitGroup
	due.Go(func() { s.workDue(ctx) })
	defer due.Wait()
	for !s.recoverRecords(ctx, opened) {
		if !wait(ctx, time.Second) {
			return
		}
	}
	old := opened // entries up to here are older than any call under way
	for wait(ctx, pruneEvery) {
		s.recoverRecords(ctx, old)
		s.prune(ctx)
		if view, err := s.cluster.View(ctx); err == nil {
			old = view.Index()
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// recoverRecords reports whether everything up to the index is recorded, but for
// what this build cannot decode.
func (s *Service) recoverRecords(ctx context.Context, last uint64) bool {
	view, err := s.cluster.View(ctx)
	if err != nil {
		return false
	}
	const page = 100
	for after := uint64(0); ; {
		pending := view.PendingAudit(after, page)
		for _, p := range pending {
			if p.Index > last {
				return true
			}
			if err := s.recoverRecord(ctx, p); err != nil {
				s.log.Error("audit record of a committed command not written", "index", p.Index, "error", err)
				if !errors.Is(err, audit.ErrEncoding) {
					return false
				}
			}
			after = p.Index
		}
		if len(pending) < page {
			return true
		}
	}
}

func (s *Service) recoverRecord(ctx context.Context, p fsm.PendingAudit) error {
	if s.recorded.has(p.Index) {
		return nil
	}
	record, err := audit.DecodeRecord(p.Record)
	if err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	record.Err = p.Err
	if err := s.trail.Append(ctx, record); err != nil {
		return err
	}
	s.recorded.add(p.Index)
	return nil
}

// prune lets replicated state drop the copies of records that are durable.
func (s *Service) prune(ctx context.Context) {
	indexes := s.recorded.list()
	if len(indexes) == 0 {
		return
	}
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{Time: s.now().UnixMilli(), Recorded: indexes}, &fsm.PruneAudit{})
	if err == nil {
		_, _, err = s.cluster.Propose(ctx, cmd)
	}
	if err != nil {
		s.log.Warn("audit records not pruned from replicated state", "error", err)
		return
	}
	s.recorded.forget(indexes)
}

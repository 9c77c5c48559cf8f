package audit

import (
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// maxBatch is where the writer stops collecting waiting records for one write,
// in bytes.
const maxBatch = 1 << 20

// A writer is what the writer's goroutine alone touches.
type writer struct {
	chain chain
	size  int64    // of the current file, in bytes
	batch []*entry // being written
	buf   []byte   // their lines
}

// run is the only goroutine that writes. It ends when the log is closed and the
// queue is empty.
func (l *Log) run() {
	defer close(l.stopped)
	for {
		select {
		case e := <-l.queue:
			l.commit(e)
		case done := <-l.reopening:
			done <- l.reopen()
		case <-l.closing:
			for e := l.next(); e != nil; e = l.next() {
				l.commit(e)
			}
			return
		}
	}
}

// next returns a waiting entry, or nil.
func (l *Log) next() *entry {
	select {
	case e := <-l.queue:
		return e
	default:
		return nil
	}
}

// commit writes first and all that wait behind it with one write, and tells their
// appenders.
func (l *Log) commit(first *entry) {
	l.w.batch = l.w.batch[:0]
	size := 0
	for e := first; e != nil; e = l.next() {
		l.w.batch = append(l.w.batch, e)
		if size += len(e.line); size >= maxBatch {
			break
		}
	}
	err := l.writeBatch()
	for i, e := range l.w.batch {
		e.done <- err
		l.w.batch[i] = nil
	}
}

func (l *Log) writeBatch() error {
	if f := l.failure.Load(); f != nil {
		return f.err
	}
	l.w.buf = l.w.buf[:0]
	first := l.w.chain.seq + 1
	for _, e := range l.w.batch {
		l.w.buf = l.w.chain.seal(l.w.buf, e.line)
	}
	size := int64(len(l.w.buf))
	if l.w.size > 0 && l.w.size+size > l.cfg.MaxFileBytes {
		if err := l.rotate(first); err != nil {
			return l.fail("beginning the next audit file", err)
		}
	}
	if err := l.writeOut(l.w.buf); err != nil {
		return l.fail("writing audit records", err)
	}
	l.w.size += size
	if l.cfg.Sync {
		if err := l.syncSegment(l.current.Load()); err != nil {
			return err
		}
	}
	l.metrics.records.Add(float64(len(l.w.batch)))
	l.metrics.bytes.Add(float64(size))
	l.setHead(l.w.chain)
	return nil
}

// writeOut hands b to the kernel in one write.
func (l *Log) writeOut(b []byte) error {
	seg := l.current.Load()
	began := l.write.begin(l)
	n, err := seg.file.Write(b)
	l.metrics.write.Observe(l.write.end(l, began).Seconds())
	seg.dirty.Store(true)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// rotate makes the current file durable before the next one exists, so that a
// crash can tear the newest file only.
func (l *Log) rotate(first uint64) error {
	seg := l.current.Load()
	if err := l.syncSegment(seg); err != nil {
		return err
	}
	if err := seg.close(); err != nil {
		return err
	}
	return l.begin(first)
}

// begin makes a new file whose first line will have the given sequence number.
func (l *Log) begin(first uint64) error {
	name := newLogFile(first, l.cfg.Now()).name
	f, err := l.cfg.open(filepath.Join(l.cfg.Dir, name), true)
	if err != nil {
		return err
	}
	l.current.Store(&segment{file: f})
	l.w.size = 0
	return syncDir(l.cfg.Dir)
}

// continueChain opens the file in which the log goes on.
func (l *Log) continueChain() error {
	p, err := findPlace(l.cfg.Dir, l.cfg.Logger)
	if err != nil {
		return err
	}
	l.w.chain, l.w.size = p.chain, p.size
	l.setHead(p.chain)
	if p.name == "" {
		return l.begin(p.chain.seq + 1)
	}
	f, err := l.cfg.open(filepath.Join(l.cfg.Dir, p.name), false)
	if err != nil {
		return err
	}
	l.current.Store(&segment{file: f})
	return f.Sync() // what a killed process wrote may not have reached the disk
}

func (l *Log) setHead(c chain) {
	l.headMu.Lock()
	l.head = c
	l.headMu.Unlock()
}

// reopen is Reopen on the writer's goroutine. What closing the failed file
// returns says nothing new.
func (l *Log) reopen() error {
	if l.failure.Load() == nil {
		return nil
	}
	_ = l.current.Load().close()
	if err := l.continueChain(); err != nil {
		return fmt.Errorf("%w: reopening audit log: %w", ErrUnhealthy, err)
	}
	l.failure.Store(nil)
	l.cfg.Logger.Info("audit: the log was reopened", "dir", l.cfg.Dir)
	return nil
}

// fail makes the log unhealthy. The first failure is reported and stays.
func (l *Log) fail(doing string, cause error) error {
	f := &failure{err: fmt.Errorf("%w: %s: %w", ErrUnhealthy, doing, cause)}
	if l.failure.CompareAndSwap(nil, f) {
		l.cfg.Logger.Error("audit: the log has failed, calls are refused until it is reopened",
			"dir", l.cfg.Dir, "doing", doing, "err", cause)
	}
	return f.err
}

// syncEvery makes written records durable once per interval. It runs beside the
// writer, so that no append waits for it.
func (l *Log) syncEvery() {
	tick := time.NewTicker(l.cfg.SyncInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = l.syncSegment(l.current.Load()) // reported by fail
		case <-l.stopped:
			return
		}
	}
}

// syncSegment makes a file's lines durable; on failure the log is unhealthy.
func (l *Log) syncSegment(seg *segment) error {
	seg.mu.Lock()
	defer seg.mu.Unlock()
	if seg.closed || !seg.dirty.Swap(false) {
		return nil
	}
	began := l.fsync.begin(l)
	err := seg.file.Sync()
	l.metrics.fsync.Observe(l.fsync.end(l, began).Seconds())
	if err != nil {
		return l.fail("syncing audit records", err)
	}
	return nil
}

// A segment is an open file. Writes need no lock, because one goroutine writes
// and closes; the lock keeps fsync and close apart.
type segment struct {
	file   file
	dirty  atomic.Bool // written since the last fsync began
	mu     sync.Mutex
	closed bool // guarded by mu
}

// close syncs what was written and closes the file. Closing again does nothing.
func (s *segment) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.dirty.Swap(false) {
		err = s.file.Sync()
	}
	if closeErr := s.file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// A stall watches one kind of I/O: since is when it began, in nanoseconds since
// the log's start and never 0, or 0 between two.
type stall struct{ since atomic.Int64 }

func (s *stall) begin(l *Log) time.Duration {
	began := max(l.cfg.Now().Sub(l.start), 1)
	s.since.Store(int64(began))
	return began
}

func (s *stall) end(l *Log, began time.Duration) time.Duration {
	s.since.Store(0)
	return l.cfg.Now().Sub(l.start) - began
}

// duration returns how long the present I/O has been going on.
func (s *stall) duration(l *Log) time.Duration {
	began := s.since.Load()
	if began == 0 {
		return 0
	}
	return l.cfg.Now().Sub(l.start) - time.Duration(began)
}

package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Config says where and how a Log writes. Zero values stand for the defaults.
type Config struct {
	// Dir holds the files. It is made with mode 0700 if it is absent. Required. One
	// Log at a time may use it.
	Dir string
	// Sync makes Append wait for fsync. Otherwise a power failure can take the
	// records of the last SyncInterval; the death of the process alone takes none.
	Sync bool
	// MaxFileBytes is the size at which the next file is begun: 64 MiB.
	MaxFileBytes int64
	// MaxQueue is the number of records that may wait to be written: 4,096. Callers
	// beyond it wait for room until their context ends.
	MaxQueue int
	// SyncInterval is the time after which written records are on the disk, apart
	// from the time that fsync takes: 1 s. Without meaning when Sync is set.
	SyncInterval time.Duration
	// Now is the clock, for the names of files and to notice a hanging disk:
	// time.Now.
	Now func() time.Time
	// Logger hears of failures and of what a crash left behind: nobody.
	Logger *slog.Logger
	// Registerer receives the log's metrics while it is open: nobody.
	Registerer prometheus.Registerer

	open func(path string, create bool) (file, error)
}

func (c Config) withDefaults() Config {
	if c.MaxFileBytes <= 0 {
		c.MaxFileBytes = 64 << 20
	}
	if c.MaxQueue <= 0 {
		c.MaxQueue = 4096
	}
	if c.SyncInterval <= 0 {
		c.SyncInterval = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.open == nil {
		c.open = openAppend
	}
	return c
}

// ErrUnhealthy is returned when the log cannot keep records: a write or an fsync
// failed, or one has been hanging for 10 s. Whoever gets it refuses the call.
var ErrUnhealthy = errors.New("kmsd: the audit log cannot keep records")

// ErrClosed is returned after Close.
var ErrClosed = errors.New("kmsd: the audit log is closed")

// ErrTooLarge is returned for a record whose line would exceed 1 MiB, or whose encoding
// would exceed 256 KiB.
var ErrTooLarge = errors.New("kmsd: the audit record is too large")

// stallLimit is how long a write or an fsync may take before the log counts as
// unhealthy. A disk that hangs reports no error.
const stallLimit = 10 * time.Second

// A Log appends records to files in one directory. All methods may be called
// from any goroutine.
type Log struct {
	cfg     Config
	dir     *os.File // holds the lock
	metrics *metrics
	start   time.Time

	queue     chan *entry
	reopening chan chan error
	closing   chan struct{} // closed by Close
	stopped   chan struct{} // closed by the writer when it is done
	syncer    sync.WaitGroup
	closeOnce sync.Once
	closeErr  error // owned by closeOnce

	entries sync.Pool // of *entry
	failure atomic.Pointer[failure]
	write   stall
	fsync   stall

	w       writer // owned by the writer's goroutine
	current atomic.Pointer[segment]

	headMu sync.Mutex
	head   chain // guarded by headMu
}

// A failure is why the log refuses records.
type failure struct{ err error }

// An entry is a record on its way to the writer.
type entry struct {
	line []byte
	done chan error // capacity 1: the writer never waits for an appender
}

// keepLine bounds the line buffers that are kept for reuse, in bytes.
const keepLine = 16 << 10

// Open opens the log in cfg.Dir, or begins one. It checks the newest file and
// continues the chain behind its last whole record; what a crash left behind that
// is moved to a file beside it. It fails with a *BreakError when the newest file
// was changed, and when another Log uses the directory.
func Open(cfg Config) (*Log, error) {
	l := &Log{
		cfg:       cfg.withDefaults(),
		reopening: make(chan chan error),
		closing:   make(chan struct{}),
		stopped:   make(chan struct{}),
	}
	l.queue = make(chan *entry, l.cfg.MaxQueue)
	l.start = l.cfg.Now()
	l.entries.New = func() any { return &entry{done: make(chan error, 1)} }
	if err := l.acquire(); err != nil {
		return nil, fmt.Errorf("opening audit log: %w", err)
	}
	go l.run()
	if !l.cfg.Sync {
		l.syncer.Go(l.syncEvery)
	}
	return l, nil
}

// acquire takes the lock, the file and the metrics, or nothing.
func (l *Log) acquire() (err error) {
	if err := makeDir(l.cfg.Dir); err != nil {
		return err
	}
	if l.dir, err = lockDir(l.cfg.Dir); err != nil {
		return err
	}
	if err = l.continueChain(); err == nil {
		l.metrics, err = newMetrics(l.cfg.Registerer, func() bool { return l.Healthy() != nil })
	}
	if err != nil {
		return errors.Join(err, l.closeFiles())
	}
	return nil
}

func (l *Log) closeFiles() error {
	var err error
	if seg := l.current.Load(); seg != nil {
		err = seg.close()
	}
	return errors.Join(err, l.dir.Close())
}

// Append writes a record, its copies and what stands in other Regions. It returns nil when the kernel has taken all
// of their lines (with Config.Sync: when the disk has); records that wait at the same
// time share one write. It keeps nothing of r. After an error some of the lines may be
// there.
//
// After an error the caller must not release what the record stands for. The
// errors are ErrUnhealthy, ErrClosed, ErrTooLarge and the end of ctx. ctx bounds
// the wait, not the record: one that is waiting to be written still may be.
func (l *Log) Append(ctx context.Context, r *Record) error {
	if err := l.Healthy(); err != nil {
		return err
	}
	if copies, there := r.copies(), r.elsewhere(); len(copies) > 0 || len(there) > 0 {
		return l.appendAll(ctx, r, copies, there)
	}
	e := l.entries.Get().(*entry)
	e.line = r.AppendJSON(e.line[:0])
	if e.tooLarge() {
		return ErrTooLarge
	}
	if err := l.enqueue(ctx, e); err != nil {
		return err
	}
	return l.await(ctx, e)
}

// appendAll writes a record with its copies and what stands in other Regions: all of
// them wait, then the first error counts.
func (l *Log) appendAll(ctx context.Context, r *Record, copies []Copy, there []Elsewhere) error {
	var all []*entry
	add := func(line func(dst []byte) []byte) {
		e := l.entries.Get().(*entry)
		e.line = line(e.line[:0])
		all = append(all, e)
	}
	add(r.AppendJSON)
	for _, c := range copies {
		add(func(dst []byte) []byte { return r.appendCopy(dst, c) })
	}
	for i := range there {
		add(func(dst []byte) []byte { return r.appendElsewhere(dst, &there[i]) })
	}
	if slices.ContainsFunc(all, (*entry).tooLarge) {
		return ErrTooLarge
	}
	for _, e := range all {
		if err := l.enqueue(ctx, e); err != nil {
			return err
		}
	}
	for _, e := range all {
		if err := l.await(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (e *entry) tooLarge() bool { return len(e.line)+maxLink > maxLine }

func (l *Log) enqueue(ctx context.Context, e *entry) error {
	select {
	case l.queue <- e:
		return nil
	default:
	}
	select {
	case l.queue <- e:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for room in the audit log: %w", context.Cause(ctx))
	case <-l.stopped:
		return ErrClosed
	}
}

func (l *Log) await(ctx context.Context, e *entry) error {
	select {
	case err := <-e.done:
		return l.finish(e, err)
	case <-ctx.Done():
		return fmt.Errorf("waiting for the audit log: %w", context.Cause(ctx))
	case <-l.stopped:
	}
	select {
	case err := <-e.done:
		return l.finish(e, err)
	default: // it entered the queue when the writer had left
		return ErrClosed
	}
}

// finish takes back an entry that the writer has let go.
func (l *Log) finish(e *entry, err error) error {
	if cap(e.line) <= keepLine {
		l.entries.Put(e)
	}
	return err
}

// Healthy returns nil if Append can be expected to succeed, and otherwise why
// not: ErrUnhealthy with its cause, or ErrClosed. It costs no I/O. A write must
// not be proposed while it returns an error.
func (l *Log) Healthy() error {
	if f := l.failure.Load(); f != nil {
		return f.err
	}
	if d := max(l.write.duration(l), l.fsync.duration(l)); d > stallLimit {
		return fmt.Errorf("%w: the disk has not answered for %v", ErrUnhealthy, d.Round(time.Second))
	}
	select {
	case <-l.closing:
		return ErrClosed
	default:
		return nil
	}
}

// Head returns the last written line's sequence number (0: none) and its SHA-256.
// Kept elsewhere, they prove later that no newer line of that time was cut off.
func (l *Log) Head() (seq uint64, hash [32]byte) {
	l.headMu.Lock()
	defer l.headMu.Unlock()
	return l.head.seq, l.head.hash
}

// Reopen ends a failure: it opens the files anew, as Open does, and continues
// behind the last whole record on them. Lines whose Append failed but which
// reached the file whole stay there. On an error the log stays unhealthy. It does
// nothing to a healthy log.
func (l *Log) Reopen(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case l.reopening <- done:
	case <-ctx.Done():
		return fmt.Errorf("reopening audit log: %w", context.Cause(ctx))
	case <-l.stopped:
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("reopening audit log: %w", context.Cause(ctx))
	}
}

// Close writes what is waiting, syncs and closes the files. Later Appends return
// ErrClosed. Closing again returns the same result.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		close(l.closing)
		<-l.stopped
		l.syncer.Wait()
		l.closeErr = l.closeFiles()
		l.metrics.unregister(l.cfg.Registerer)
	})
	return l.closeErr
}

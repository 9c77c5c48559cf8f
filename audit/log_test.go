package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kmsd/kmsd/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a log that is closed at the test's end.
func open(t testing.TB, cfg audit.Config) *audit.Log {
	t.Helper()
	l, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // tests that care close it themselves
	return l
}

func closeLog(t testing.TB, l *audit.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// record returns the i-th record of a test.
func record(i int) *audit.Record {
	r := decrypt()
	r.EventID = fmt.Sprintf("event-%d", i)
	return r
}

func appendRecords(t testing.TB, l *audit.Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := l.Append(t.Context(), record(i)); err != nil {
			t.Fatalf("Append %d: %v", i, err)
		}
	}
}

// verify demands an intact log with n records and returns its summary.
func verify(t testing.TB, dir string, n int) audit.Summary {
	t.Helper()
	sum, err := audit.Verify(dir)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	if sum.Records != uint64(n) {
		t.Fatalf("Verify: %d records, want %d", sum.Records, n)
	}
	return sum
}

// files returns the paths of a log's files in order.
func files(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "audit-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLinesAreChained(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "node0", "audit")
	l := open(t, audit.Config{Dir: dir, Now: func() time.Time { return time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC) }})
	appendRecords(t, l, 0, 3)
	path := filepath.Join(dir, "audit-00000000000000000001-20240501T120000Z.jsonl")
	lines := strings.SplitAfter(string(read(t, path)), "\n")
	if len(lines) != 4 || lines[3] != "" {
		t.Fatalf("got %d lines, want 3", len(lines)-1)
	}
	prev := strings.Repeat("0", 64)
	for i, line := range lines[:3] {
		json := string(record(i).AppendJSON(nil))
		want := fmt.Sprintf("%s,\"kmsd\":{\"seq\":%d,\"prev\":\"%s\"}}\n", json[:len(json)-1], i+1, prev)
		if line != want {
			t.Errorf("line %d:\n got %s\nwant %s", i+1, line, want)
		}
		sum := sha256.Sum256([]byte(strings.TrimSuffix(line, "\n")))
		prev = hex.EncodeToString(sum[:])
	}
	seq, hash := l.Head()
	if got := hex.EncodeToString(hash[:]); seq != 3 || got != prev {
		t.Errorf("Head() = %d, %s; want 3, %s", seq, got, prev)
	}
	closeLog(t, l)
	if sum := verify(t, dir, 3); sum != (audit.Summary{Files: 1, Records: 3, Head: prev}) {
		t.Errorf("Verify: %+v", sum)
	}
	for name, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Dir(dir): 0o700 | os.ModeDir, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

func TestEmptyLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		closeLog(t, open(t, audit.Config{Dir: dir}))
		if sum := verify(t, dir, 0); sum.Files != 1 || sum.Head != strings.Repeat("0", 64) {
			t.Errorf("Verify: %+v", sum)
		}
	}
}

func TestChainContinuesOverRestartsAndFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 5 {
		l := open(t, audit.Config{Dir: dir, MaxFileBytes: 4000})
		appendRecords(t, l, 10*round, 10*round+10)
		closeLog(t, l)
		verify(t, dir, 10*round+10)
	}
	paths := files(t, dir)
	if len(paths) < 10 {
		t.Errorf("%d files of at most 4000 bytes for 50 records", len(paths))
	}
	for _, path := range paths {
		if n := len(read(t, path)); n > 4000 {
			t.Errorf("%s has %d bytes", path, n)
		}
	}
	all := string(bytes.Join(func() (b [][]byte) {
		for _, path := range paths {
			b = append(b, read(t, path))
		}
		return b
	}(), nil))
	for i := range 50 {
		if n := strings.Count(all, fmt.Sprintf(`"event-%d"`, i)); n != 1 {
			t.Errorf("record %d stands there %d times", i, n)
		}
	}
}

func TestClockStepsBackBetweenFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for range 5 {
		l := open(t, audit.Config{Dir: dir, MaxFileBytes: 1, Now: func() time.Time { return now }})
		appendRecords(t, l, 0, 2)
		closeLog(t, l)
		now = now.Add(-time.Hour)
	}
	if sum := verify(t, dir, 10); sum.Files != 10 {
		t.Errorf("%d files, want 10", sum.Files)
	}
}

func TestConcurrentAppends(t *testing.T) {
	t.Parallel()
	for _, sync := range []bool{false, true} {
		dir := t.TempDir()
		l := open(t, audit.Config{Dir: dir, Sync: sync, MaxFileBytes: 40_000, MaxQueue: 4})
		concurrently(16, func(g int) {
			for i := range 20 {
				if err := l.Append(t.Context(), record(100*g+i)); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
		})
		closeLog(t, l)
		verify(t, dir, 320)
	}
}

// concurrently runs f on n goroutines.
func concurrently(n int, f func(g int)) {
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() { f(g) })
	}
	wg.Wait()
}

func TestOneLogPerDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	if _, err := audit.Open(audit.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second Open: %v", err)
	}
	closeLog(t, l)
	open(t, audit.Config{Dir: dir})
}

func TestClose(t *testing.T) {
	t.Parallel()
	l := open(t, audit.Config{Dir: t.TempDir()})
	closeLog(t, l)
	closeLog(t, l)
	for name, err := range map[string]error{
		"Append": l.Append(t.Context(), record(0)), "Healthy": l.Healthy(), "Reopen": l.Reopen(t.Context()),
	} {
		if !errors.Is(err, audit.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// Appends that race with Close are written or refused, never forgotten.
func TestCloseDuringAppends(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir, MaxQueue: 2})
	var mu sync.Mutex
	written := 0
	concurrently(9, func(g int) {
		if g == 8 {
			closeLog(t, l)
			return
		}
		for i := range 50 {
			switch err := l.Append(t.Context(), record(i)); {
			case err == nil:
				mu.Lock()
				written++
				mu.Unlock()
			case !errors.Is(err, audit.ErrClosed):
				t.Errorf("Append: %v", err)
			}
		}
	})
	verify(t, dir, written)
}

func TestTooLargeRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	r := record(0)
	for range 6000 {
		r.Resources = append(r.Resources, key(strings.Repeat("x", 200)))
	}
	if err := l.Append(t.Context(), r); !errors.Is(err, audit.ErrTooLarge) {
		t.Errorf("Append: %v, want ErrTooLarge", err)
	}
	if err := l.Healthy(); err != nil {
		t.Errorf("Healthy: %v", err)
	}
	r.Resources = r.Resources[:4000]
	if err := l.Append(t.Context(), r); err != nil {
		t.Errorf("Append of a smaller one: %v", err)
	}
	closeLog(t, l)
	verify(t, dir, 1)
}

// What waits while a write is going on shares the next one; what finds no room,
// or waits for longer than its context lives, is told so.
func TestWaitingRecordsShareOneWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		cfg := audit.Config{Dir: dir, MaxQueue: 5}
		cfg.SetOpen(disk.open)
		l := open(t, cfg)
		release := disk.hold()
		results := make(chan error, 6)
		add := func(ctx context.Context, i int) { go func() { results <- l.Append(ctx, record(i)) }() }
		add(t.Context(), 0)
		synctest.Wait() // the writer has it, and hangs
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for i := 1; i < 5; i++ {
			add(t.Context(), i)
		}
		add(impatient, 5)
		synctest.Wait()
		if n := l.Waiting(); n != 5 {
			t.Fatalf("%d records wait, want 5", n)
		}
		full, cancelFull := context.WithTimeout(t.Context(), time.Second)
		defer cancelFull()
		if err := l.Append(full, record(6)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Append to a full queue: %v", err)
		}
		if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Append with a short deadline: %v", err)
		}
		close(release)
		for range 5 {
			if err := <-results; err != nil {
				t.Errorf("Append: %v", err)
			}
		}
		if got := disk.counted().writes; got != 2 {
			t.Errorf("%d writes, want 2", got)
		}
		closeLog(t, l)
	})
	verify(t, dir, 6) // the impatient one's record was in the queue already
}

func TestSyncWithinInterval(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		cfg := audit.Config{Dir: dir}
		cfg.SetOpen(disk.open)
		l := open(t, cfg)
		appendRecords(t, l, 0, 10)
		before := disk.counted().syncs
		<-time.After(time.Second + time.Millisecond)
		synctest.Wait()
		if got := disk.counted().syncs - before; got != 1 {
			t.Errorf("%d fsyncs in the second after 10 records, want 1", got)
		}
		<-time.After(10 * time.Second)
		synctest.Wait()
		if got := disk.counted().syncs - before; got != 1 {
			t.Errorf("%d fsyncs although nothing was written, want 1", got)
		}
		appendRecords(t, l, 10, 11)
		closeLog(t, l)
		if got := disk.counted().syncs - before; got != 2 {
			t.Errorf("%d fsyncs after Close, want 2", got)
		}
	})
}

func TestSyncBeforeAppendReturns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := newDisk()
	cfg := audit.Config{Dir: dir, Sync: true}
	cfg.SetOpen(disk.open)
	l := open(t, cfg)
	for i := range 5 {
		appendRecords(t, l, i, i+1)
		if got := disk.counted(); got.syncs != i+1 || got.writes != i+1 {
			t.Errorf("after record %d: %+v", i+1, got)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir, Sync: true, Registerer: reg})
	if _, err := audit.Open(audit.Config{Dir: t.TempDir(), Registerer: reg}); err == nil {
		t.Error("a second log on the same registry was opened")
	}
	appendRecords(t, l, 0, 3)
	want := map[string]float64{
		"kmsd_audit_records_total": 3, "kmsd_audit_bytes_total": float64(len(read(t, files(t, dir)[0]))),
		"kmsd_audit_write_seconds": 3, "kmsd_audit_fsync_seconds": 3, "kmsd_audit_unhealthy": 0,
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		m := f.GetMetric()[0]
		got := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		if got != want[f.GetName()] {
			t.Errorf("%s = %v, want %v", f.GetName(), got, want[f.GetName()])
		}
		delete(want, f.GetName())
	}
	if len(want) > 0 {
		t.Errorf("not registered: %v", want)
	}
	closeLog(t, l)
	closeLog(t, open(t, audit.Config{Dir: dir, Registerer: reg})) // Close unregistered them
}

package audit_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/audit"
)

// newLog writes n records, at most perFile bytes a file, and returns the directory.
func newLog(t testing.TB, n int, perFile int64) string {
	t.Helper()
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir, MaxFileBytes: perFile})
	appendRecords(t, l, 0, n)
	closeLog(t, l)
	return dir
}

// A crash may cut the last line anywhere, with or without files before it.
func TestTornTail(t *testing.T) {
	t.Parallel()
	for _, perFile := range []int64{1 << 20, 1} {
		whole := newLog(t, 2, perFile)
		paths := files(t, whole)
		last := read(t, paths[len(paths)-1])
		begin := bytes.LastIndexByte(last[:len(last)-1], '\n') + 1
		for size := begin; size < len(last); size += 79 {
			dir := t.TempDir()
			for _, path := range paths {
				write(t, filepath.Join(dir, filepath.Base(path)), read(t, path))
			}
			torn := filepath.Join(dir, filepath.Base(paths[len(paths)-1]))
			write(t, torn, last[:size])
			if sum := verify(t, dir, 1); sum.Torn != int64(size-begin) {
				t.Errorf("Verify of a line cut at %d: Torn = %d", size-begin, sum.Torn)
			}
			var logged bytes.Buffer
			l := open(t, audit.Config{Dir: dir, MaxFileBytes: perFile, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
			appendRecords(t, l, 1, 3)
			closeLog(t, l)
			verify(t, dir, 3)
			if size == begin {
				continue
			}
			if got := read(t, torn+".torn"); !bytes.Equal(got, last[begin:size]) {
				t.Errorf("cut at %d: kept %q", size-begin, got)
			}
			if !strings.Contains(logged.String(), "what a crash left") {
				t.Errorf("cut at %d: logged %q", size-begin, logged.String())
			}
		}
	}
}

// Blocks that never reached the disk read as zeros, also in front of later ones
// that did.
func TestHoleInTail(t *testing.T) {
	t.Parallel()
	dir := newLog(t, 4, 1<<20)
	path := files(t, dir)[0]
	b := read(t, path)
	lines := bytes.SplitAfter(b, []byte("\n"))
	at := len(lines[0]) + len(lines[1]) + 7
	clear(b[at : at+300])
	write(t, path, b)
	wantBreak(t, dir, path, 3)
	l := open(t, audit.Config{Dir: dir})
	appendRecords(t, l, 2, 4)
	closeLog(t, l)
	verify(t, dir, 4)
	if got := read(t, path+".torn"); !bytes.Equal(got, b[at-7:]) {
		t.Errorf("kept %d bytes, want %d", len(got), len(b)-at+7)
	}
}

// A second crash keeps what the first one left.
func TestTornTwice(t *testing.T) {
	t.Parallel()
	dir := newLog(t, 1, 1<<20)
	path := files(t, dir)[0]
	good := read(t, path)
	for _, rest := range []string{"first", "second"} {
		write(t, path, append(bytes.Clone(good), rest...))
		closeLog(t, open(t, audit.Config{Dir: dir}))
	}
	if got := string(read(t, path+".torn")); got != "firstsecond" {
		t.Errorf("kept %q", got)
	}
}

// Open continues nothing that was changed: it would bury the evidence.
func TestOpenRefusesChangedFile(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, dir string, paths []string){
		"changed line": func(t *testing.T, _ string, paths []string) {
			write(t, paths[1], bytes.Replace(read(t, paths[1]), []byte("event-4"), []byte("event-5"), 1))
		},
		"foreign line": func(t *testing.T, _ string, paths []string) {
			write(t, paths[1], append(read(t, paths[1]), "{}\n"...))
		},
		"renamed file": func(t *testing.T, dir string, paths []string) {
			name := filepath.Join(dir, "audit-00000000000000000009-20240501T120000Z.jsonl")
			if err := os.Rename(paths[1], name); err != nil {
				t.Fatal(err)
			}
		},
		"empty file that does not follow": func(t *testing.T, dir string, _ []string) {
			write(t, filepath.Join(dir, "audit-00000000000000000099-20240501T120000Z.jsonl"), nil)
		},
		"empty file behind an empty file": func(t *testing.T, dir string, _ []string) {
			write(t, filepath.Join(dir, "audit-00000000000000000007-20240501T120000Z.jsonl"), nil)
			write(t, filepath.Join(dir, "audit-00000000000000000008-20240501T120000Z.jsonl"), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newLog(t, 6, 2600)
			paths := files(t, dir)
			if len(paths) < 2 {
				t.Fatalf("%d files", len(paths))
			}
			change(t, dir, paths[len(paths)-2:])
			var broken *audit.BreakError
			if _, err := audit.Open(audit.Config{Dir: dir}); !errors.As(err, &broken) {
				t.Errorf("Open: %v, want a BreakError", err)
			}
		})
	}
}

package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/audit"
)

// wantBreak demands that Verify names the file and the line (0: the whole file).
func wantBreak(t *testing.T, dir, path string, line int) {
	t.Helper()
	_, err := audit.Verify(dir)
	var broken *audit.BreakError
	if !errors.As(err, &broken) {
		t.Fatalf("Verify: %v, want a BreakError", err)
	}
	if broken.File != filepath.Base(path) || broken.Line != line {
		t.Errorf("Verify: %v; want %s line %d", err, filepath.Base(path), line)
	}
	if !strings.Contains(err.Error(), broken.File) {
		t.Errorf("%q does not name the file", err)
	}
}

func TestVerifyFindsTampering(t *testing.T) {
	t.Parallel()
	// Eight records, two per file.
	type edit func(lines [][]byte) [][]byte
	for name, tt := range map[string]struct {
		file int
		edit edit // nil: the file is removed
		want [2]int
	}{
		"changed line": {1, func(l [][]byte) [][]byte {
			l[0] = bytes.Replace(l[0], []byte("event-2"), []byte("event-9"), 1)
			return l
		}, [2]int{1, 2}},
		"changed last line of a file": {1, func(l [][]byte) [][]byte {
			l[1] = bytes.Replace(l[1], []byte("event-3"), []byte("event-9"), 1)
			return l
		}, [2]int{2, 1}},
		"changed first line of all": {0, func(l [][]byte) [][]byte {
			l[0] = bytes.Replace(l[0], []byte("event-0"), []byte("event-9"), 1)
			return l
		}, [2]int{0, 2}},
		"changed link":         {1, func(l [][]byte) [][]byte { l[0][len(l[0])-5] ^= 1; return l }, [2]int{1, 1}},
		"removed line":         {1, func(l [][]byte) [][]byte { return l[1:] }, [2]int{1, 1}},
		"removed last line":    {1, func(l [][]byte) [][]byte { return l[:1] }, [2]int{2, 0}},
		"swapped lines":        {1, func(l [][]byte) [][]byte { slices.Reverse(l); return l }, [2]int{1, 1}},
		"repeated line":        {1, func(l [][]byte) [][]byte { return append(l[:1:1], l...) }, [2]int{1, 2}},
		"inserted JSON":        {1, func(l [][]byte) [][]byte { return slices.Insert(l, 1, []byte("{}\n")) }, [2]int{1, 2}},
		"inserted empty line":  {1, func(l [][]byte) [][]byte { return slices.Insert(l, 1, []byte("\n")) }, [2]int{1, 2}},
		"inserted long line":   {1, func(l [][]byte) [][]byte { return slices.Insert(l, 1, bytes.Repeat([]byte("x"), 2<<20)) }, [2]int{1, 2}},
		"joined lines":         {1, func(l [][]byte) [][]byte { l[0] = l[0][:len(l[0])-1]; return l }, [2]int{1, 1}},
		"torn line in between": {1, func(l [][]byte) [][]byte { l[1] = l[1][:50]; return l }, [2]int{1, 2}},
		"emptied file":         {1, func([][]byte) [][]byte { return nil }, [2]int{2, 0}},
		"removed file":         {1, nil, [2]int{2, 0}},
		"removed first file":   {0, nil, [2]int{1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newLog(t, 8, 2600)
			paths := files(t, dir)
			if len(paths) != 4 {
				t.Fatalf("%d files, want 4", len(paths))
			}
			if tt.edit == nil {
				if err := os.Remove(paths[tt.file]); err != nil {
					t.Fatal(err)
				}
			} else {
				lines := bytes.SplitAfter(read(t, paths[tt.file]), []byte("\n"))
				write(t, paths[tt.file], bytes.Join(tt.edit(lines[:len(lines)-1]), nil))
			}
			wantBreak(t, dir, paths[tt.want[0]], tt.want[1])
		})
	}
}

// A whole file that comes again under a later number is found.
func TestVerifyFindsAddedFile(t *testing.T) {
	t.Parallel()
	dir := newLog(t, 4, 2600)
	paths := files(t, dir)
	added := filepath.Join(dir, "audit-00000000000000000005-20240501T120000Z.jsonl")
	write(t, added, read(t, paths[0]))
	wantBreak(t, dir, added, 1)
	twin := filepath.Join(dir, "audit-00000000000000000001-29990501T120000Z.jsonl")
	write(t, twin, read(t, paths[0]))
	wantBreak(t, dir, twin, 0)
}

// A changed bit breaks the chain or, in the last line, changes the head.
func TestVerifyFindsAnyBit(t *testing.T) {
	t.Parallel()
	dir := newLog(t, 2, 1<<20)
	path := files(t, dir)[0]
	good := verify(t, dir, 2)
	b := read(t, path)
	for i := 0; i < len(b); i += 5 {
		b[i] ^= 1 << (i % 8)
		write(t, path, b)
		if sum, err := audit.Verify(dir); err == nil && sum == good {
			t.Errorf("flipping a bit of byte %d went unnoticed", i)
		}
		b[i] ^= 1 << (i % 8)
	}
}

// What a chain cannot show is shown by the head.
func TestHeadShowsCutTail(t *testing.T) {
	t.Parallel()
	dir := newLog(t, 4, 2600)
	good := verify(t, dir, 4)
	paths := files(t, dir)
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	if sum := verify(t, dir, 2); sum.Head == good.Head {
		t.Error("the head is the same although the newest records are missing")
	}
}

func TestVerifyIgnoresOtherFiles(t *testing.T) {
	t.Parallel()
	dir := newLog(t, 1, 1<<20)
	for _, name := range []string{"README", "audit-1.jsonl", "audit-00000000000000000001-x.jsonl", "audit-0000000000000000000x-20240501T120000Z.jsonl",
		"audit-00000000000000000001-20240501T120000Z.jsonl.torn", "audit-00000000000000000001-20240501T120000Z.jsonl.gz", "xaudit-.jsonl"} {
		write(t, filepath.Join(dir, name), []byte("x"))
	}
	verify(t, dir, 1)
	closeLog(t, open(t, audit.Config{Dir: dir}))
}

func TestVerifyWhileWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir, MaxFileBytes: 8000})
	concurrently(2, func(g int) {
		for i := range 40 {
			if g == 0 {
				appendRecords(t, l, i, i+1)
			} else if _, err := audit.Verify(dir); err != nil {
				t.Errorf("Verify: %v", err)
			}
		}
	})
	closeLog(t, l)
	verify(t, dir, 40)
}

func TestVerifyWithoutDirectory(t *testing.T) {
	t.Parallel()
	if _, err := audit.Verify(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Verify: %v", err)
	}
}

// What is accepted as lines of a log is exactly what writing them again gives.
func FuzzScan(f *testing.F) {
	f.Add(read(f, files(f, newLog(f, 2, 1<<20))[0]))
	f.Add([]byte(`{"a":1,"kmsd":{"seq":1,"prev":"` + strings.Repeat("0", 64) + "\"}}\n"))
	f.Add([]byte(`{"kmsd":{"seq":1,"prev":"` + strings.Repeat("0", 64) + "\"}}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		good, err := audit.Scan(b)
		if broken := (*audit.BreakError)(nil); err != nil && (!errors.As(err, &broken) || broken.Offset != good) {
			t.Errorf("got %v, want a BreakError at %d", err, good)
		}
		if (err == nil) != (good == int64(len(b))) {
			t.Errorf("%d of %d bytes are good, but the error is %v", good, len(b), err)
		}
		if again := audit.Reseal(b[:good]); !bytes.Equal(again, b[:good]) {
			t.Errorf("written again:\n%q\nwant\n%q", again, b[:good])
		}
	})
}

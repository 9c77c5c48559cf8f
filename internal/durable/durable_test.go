package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kmsd/kmsd/internal/durable"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	got := names(t, dir)
	if len(got) != len(want) {
		t.Fatalf("%s holds %q, want %q", dir, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s holds %q, want %q", dir, got, want)
		}
	}
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %o, want %o", path, got, want)
	}
}

func TestWriteFileReplacesAndRestrictsTheMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "current")
	if err := os.WriteFile(path, []byte("a longer old content"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"one", "", "three"} {
		if err := durable.WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != content {
			t.Errorf("got %q, want %q", got, content)
		}
	}
	wantMode(t, path, 0o600)
	wantNames(t, filepath.Dir(path), "current")
}

func TestWriteFileReplacesALinkAndNotItsTarget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := durable.WriteFile(target, []byte("target")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, target); got != "target" {
		t.Errorf("the target holds %q, want it unchanged", got)
	}
	if got := read(t, link); got != "new" {
		t.Errorf("the path holds %q, want %q", got, "new")
	}
}

func TestWriteFileFailuresLeaveNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := durable.WriteFile(filepath.Join(dir, "absent", "f"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: got %v, want fs.ErrNotExist", err)
	}
	occupied := filepath.Join(dir, "occupied")
	if err := os.MkdirAll(filepath.Join(occupied, "child"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(occupied, []byte("x")); err == nil {
		t.Error("replacing a directory by a file succeeded")
	}
	wantNames(t, dir, "occupied")
}

func TestCreateFileRefusesWhatExists(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "root.sealed")
	if err := durable.CreateFile(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := durable.CreateFile(path, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	if got := read(t, path); got != "first" {
		t.Errorf("got %q, want %q", got, "first")
	}
	wantMode(t, path, 0o600)
	wantNames(t, filepath.Dir(path), "root.sealed")
}

func TestFileIsInvisibleUntilCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "snapshot")
	f, err := durable.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"a", "b"} {
		if _, err := f.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the path exists before Commit: %v", err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort() // as deferred by callers
	if got := read(t, path); got != "ab" {
		t.Errorf("got %q, want %q", got, "ab")
	}
}

func TestAbortedFileCannotBeCommitted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := durable.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	wantNames(t, dir)
	if _, err := f.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write: got %v, want os.ErrClosed", err)
	}
	if err := f.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Commit: got %v, want os.ErrClosed", err)
	}
	wantNames(t, dir)
}

func TestReserve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "raft.db")
	if err := durable.WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	first, err := durable.Reserve(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := durable.Reserve(path)
	if err != nil || first == second {
		t.Fatalf("got %s, %v twice", second, err)
	}
	if got := read(t, first); got != "" {
		t.Errorf("the new file holds %q", got)
	}
	wantMode(t, first, 0o600)
	if err := os.WriteFile(first, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Rename(first, path); err != nil {
		t.Fatal(err)
	}
	if err := durable.RemoveTemporary(dir); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, "raft.db")
	if got := read(t, path); got != "new" {
		t.Errorf("got %q, want %q", got, "new")
	}
	if _, err := durable.Reserve(filepath.Join(dir, "absent", "f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: got %v, want fs.ErrNotExist", err)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := durable.WriteFile(path, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := durable.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	wantNames(t, dir)
	if err := durable.WriteFile(path, nil); err != nil {
		t.Fatal(err)
	}
	if err := durable.Remove(dir); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("removing a directory that holds a file: got %v, want ENOTEMPTY", err)
	}
}

func TestRemoveTemporary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := durable.Create(filepath.Join(dir, "left-over")); err != nil {
		t.Fatal(err)
	}
	for _, keep := range []string{"kept", ".hidden", "a.tmp-1"} {
		if err := durable.WriteFile(filepath.Join(dir, keep), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".d.tmp-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.RemoveTemporary(dir); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, ".d.tmp-1", ".hidden", "a.tmp-1", "kept")
	if err := durable.RemoveTemporary(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: got %v, want fs.ErrNotExist", err)
	}
}

func TestReadPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "root.sealed")
	if err := durable.WriteFile(path, []byte("12345")); err != nil {
		t.Fatal(err)
	}
	got, err := durable.ReadPrivate(path, 5)
	if err != nil || string(got) != "12345" {
		t.Errorf("got %q, %v, want 12345", got, err)
	}
	if _, err := durable.ReadPrivate(path, 4); err == nil {
		t.Error("a file longer than the limit was read")
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := durable.ReadPrivate(path, 5); !errors.Is(err, durable.ErrNotPrivate) {
			t.Errorf("mode %o: got %v, want ErrNotPrivate", mode, err)
		}
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{dir, pipe} {
		if _, err := durable.ReadPrivate(p, 5); !errors.Is(err, durable.ErrNotPrivate) {
			t.Errorf("%s: got %v, want ErrNotPrivate", p, err)
		}
	}
	if _, err := durable.ReadPrivate(filepath.Join(dir, "absent"), 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(deep); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"a", "a/b", "a/b/c"} {
		wantMode(t, filepath.Join(root, d), 0o700)
	}
	if err := os.Chmod(filepath.Join(root, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(filepath.Join(root, "a")); err != nil {
		t.Fatal(err)
	}
	wantMode(t, filepath.Join(root, "a"), 0o755)
	if err := durable.MkdirAll("/"); err != nil {
		t.Errorf("the root directory: %v", err)
	}
}

func TestMkdirAllRefusesFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := durable.WriteFile(path, nil); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, filepath.Join(path, "sub")} {
		if err := durable.MkdirAll(dir); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: got %v, want ENOTDIR", dir, err)
		}
	}
}

func TestSyncDirOfNothing(t *testing.T) {
	t.Parallel()
	if err := durable.SyncDir(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	from, to := filepath.Join(root, "new", "snap.tmp"), filepath.Join(root, "snapshots", "snap")
	for _, d := range []string{from, filepath.Dir(to)} {
		if err := durable.MkdirAll(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.WriteFile(filepath.Join(from, "state"), []byte("s")); err != nil {
		t.Fatal(err)
	}
	if err := durable.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(to, "state")); got != "s" {
		t.Errorf("got %q, want s", got)
	}
	wantNames(t, filepath.Dir(from))
	same := filepath.Join(root, "snapshots", "renamed")
	if err := durable.Rename(to, same); err != nil {
		t.Fatal(err)
	}
	if err := durable.Rename(to, same); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

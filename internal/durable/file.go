package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kmsd/kmsd/internal/failpoint"
)

// The steps of this package after which a process can be made to end.
var (
	fileSynced  = failpoint.New("file synced")
	fileInPlace = failpoint.New("file in place")
	fileMoved   = failpoint.New("file moved")
	fileRemoved = failpoint.New("file removed")
	dirMade     = failpoint.New("directory made")
	dirSynced   = failpoint.New("directory synced")
)

// tempMark is part of the name of every temporary file: ".<name>.tmp-<random>".
const tempMark = ".tmp-"

// File is a file under construction. It has a temporary name beside its final
// one until Commit or CommitNew. It belongs to one goroutine.
type File struct {
	tmp  *os.File
	path string
}

// Create starts a file that will stand at path. Nothing is visible there before
// Commit. The caller ends with Commit, CommitNew or Abort; deferring Abort is
// always right.
func Create(path string) (*File, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+tempMark+"*")
	if err != nil {
		return nil, fmt.Errorf("creating a temporary file: %w", err)
	}
	return &File{tmp: tmp, path: path}, nil
}

// Reserve makes an empty temporary file beside path and returns its name, for who
// writes a file by its name and moves it to path with Rename when it is complete
// and synced. What a crash leaves behind, RemoveTemporary deletes.
func Reserve(path string) (string, error) {
	f, err := Create(path)
	if err != nil {
		return "", err
	}
	return f.tmp.Name(), f.tmp.Close()
}

// Write appends p.
func (f *File) Write(p []byte) (int, error) { return f.tmp.Write(p) }

// Commit makes the file durable and moves it to its path, in place of a file
// that stands there. After an error from the last step, the sync of the
// directory, the new content may already be visible but not yet durable.
func (f *File) Commit() error { return f.commit(os.Rename) }

// CommitNew is Commit for a path that must not exist: it fails with an error
// that matches fs.ErrExist, and leaves what stands there alone.
func (f *File) CommitNew() error { return f.commit(os.Link) }

func (f *File) commit(publish func(from, to string) error) error {
	defer f.Abort()
	if err := f.tmp.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", f.path, err)
	}
	fileSynced.HitFile(f.path)
	if err := f.tmp.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", f.path, err)
	}
	if err := publish(f.tmp.Name(), f.path); err != nil {
		return fmt.Errorf("publishing %s: %w", f.path, err)
	}
	fileInPlace.HitFile(f.path)
	return SyncDir(filepath.Dir(f.path))
}

// Abort drops the temporary file. After Commit it has nothing to do.
func (f *File) Abort() {
	// Nothing depends on the temporary file any more: what cannot be removed is
	// left for RemoveTemporary.
	_ = f.tmp.Close()
	_ = os.Remove(f.tmp.Name())
}

// WriteFile replaces the file at path, or creates it, with data.
func WriteFile(path string, data []byte) error {
	return writeFile(path, data, (*File).Commit)
}

// CreateFile writes data to path, which must not exist: it fails with an error
// that matches fs.ErrExist, and leaves what stands there alone.
func CreateFile(path string, data []byte) error {
	return writeFile(path, data, (*File).CommitNew)
}

func writeFile(path string, data []byte, commit func(*File) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return commit(f)
}

// Remove deletes the file or the empty directory at path. A path that does not
// exist is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fileRemoved.HitFile(path)
	return SyncDir(filepath.Dir(path))
}

// RemoveTemporary deletes the temporary files that a crash left in dir. Only the
// process that holds the lock of the data directory may call it, before it
// writes anything.
func RemoveTemporary(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") || !strings.Contains(e.Name(), tempMark) || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// ErrNotPrivate is returned when a file is readable or writable by anybody but
// its owner, or is no regular file.
var ErrNotPrivate = errors.New("not a regular file that only its owner may read and write (mode 0600)")

// ReadPrivate returns the content of the file at path, at most limit bytes. It
// fails with ErrNotPrivate when the group or others have any permission on it,
// before it reads anything.
func ReadPrivate(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for a writer
		return nil, fmt.Errorf("%s: %w", path, ErrNotPrivate)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: %w", path, ErrNotPrivate)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, limit)
	}
	return data, nil
}

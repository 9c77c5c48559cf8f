package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// SyncDir makes the entries of dir durable: files made, renamed and removed in
// it. Callers that make files in another way than through this package call it
// afterwards.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening a directory to sync it: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	dirSynced.HitFile(dir)
	return nil
}

// MkdirAll makes dir and the parents that it lacks, each durable before the next
// is made inside it. A directory that exists keeps its mode.
func MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return syncExisting(dir)
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if err := MkdirAll(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, DirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dirMade.HitFile(dir)
	return SyncDir(parent)
}

// syncExisting makes the entry of a directory that exists durable. The process
// that made it may have died before it could; the directories above were synced
// before this one was made. A parent that may not be read was not written by
// this user either.
func syncExisting(dir string) error {
	err := SyncDir(filepath.Dir(dir))
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// Rename moves a file, or a directory with all that it holds, to a new path on
// the same file system. What is moved must be durable already. A file at the new
// path is replaced, and so is an empty directory by a directory.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	fileMoved.HitFile(to)
	// The new entry first: should the second sync be lost, the name stands
	// twice, which is better than not at all.
	if err := SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return SyncDir(filepath.Dir(from))
}

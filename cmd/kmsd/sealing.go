package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kmsd/kmsd/crypto/seal"
)

// sealFile is the kind of seal that this version has.
// What follows another kind may be a secret: it is never shown.
const sealFile = "file"

// sealPath returns the path of the seal's key file.
func (c *Config) sealPath() (string, error) {
	if c.Seal == "" {
		return "", errors.New("--seal is required, for example --seal file:/etc/kmsd/seal.key")
	}
	kind, path, named := strings.Cut(c.Seal, ":")
	switch {
	case !named:
		return "", errors.New("--seal must be file:PATH")
	case kind != sealFile:
		return "", fmt.Errorf("--seal: this version knows file:PATH, not the kind %q", kind)
	case path == "":
		return "", errors.New("--seal: file: needs a path")
	}
	return filepath.Abs(path)
}

// validateSeal holds that the key file is not among what it protects.
func (c *Config) validateSeal() error {
	path, err := c.sealPath()
	if err != nil {
		return err
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return err
	}
	_, _, inside, err := between(data, path)
	if err == nil && inside {
		err = errors.New("--seal: the key file must lie outside the data directory: together they are every key")
	}
	return err
}

// between follows the symbolic links of a directory and a path as far as they
// exist and tells whether the path lies in the directory.
func between(dir, path string) (realDir, realPath string, inside bool, err error) {
	if realDir, err = realPathOf(dir); err != nil {
		return "", "", false, err
	}
	if realPath, err = realPathOf(path); err != nil {
		return "", "", false, err
	}
	rel, err := filepath.Rel(realDir, realPath)
	return realDir, realPath, err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)), err
}

// realPathOf follows the symbolic links of the part of path that exists.
func realPathOf(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
		return real, err
	}
	parent, err := realPathOf(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

// sealOnDataDisk tells whether the key file lies, or will lie, on the data
// directory's file system.
func (c *Config) sealOnDataDisk() (bool, error) {
	path, err := c.sealPath()
	if err != nil {
		return false, err
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return false, err
	}
	dir, file, _, err := between(data, path)
	if err != nil {
		return false, err
	}
	a, err := device(dir)
	if err != nil {
		return false, err
	}
	b, err := device(file)
	return a == b, err
}

// device returns the file system of the nearest part of path that exists.
func device(path string) (uint64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		return device(filepath.Dir(path))
	}
	if err != nil {
		return 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("%s: its file system is not known", path)
	}
	return uint64(stat.Dev), nil
}

// mayUseSeal refuses a key file on the data directory's file system unless that
// was allowed.
func (c *Config) mayUseSeal() error {
	same, err := c.sealOnDataDisk()
	if err == nil && same && !c.SealOnSameDisk {
		err = errors.New("--seal: the key file lies on the data directory's file system: whoever takes that disk has every key. Name a path on another medium, or give --seal-on-same-disk")
	}
	return err
}

// openSeal opens the seal. create makes the key file where it is missing.
func (c *Config) openSeal(create bool) (seal.Sealer, error) {
	path, err := c.sealPath()
	if err == nil {
		err = c.mayUseSeal()
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(path); create && errors.Is(err, fs.ErrNotExist) {
		return seal.CreateFile(path)
	}
	return seal.OpenFile(path)
}

// mustBeEmpty refuses a directory that holds anything. One that is absent is empty.
func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty: a node's directory is made once. If kmsd init was interrupted, so that no node.json is there, remove it and run kmsd init again", dir)
	}
	return nil
}

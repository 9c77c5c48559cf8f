package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a seal whose key is a file of 32 bytes that its owner alone may read.
// The file is worth every key of the cluster to whoever also has the data
// directory: it belongs on another medium.
type File struct{ b *box }

var _ Sealer = (*File)(nil)

// CreateFile makes a key file of 32 random bytes with mode 0600 and returns its
// seal. When it returns, the file survives a loss of power. It fails when path
// exists, of which errors.Is(err, fs.ErrExist) tells, or its directory does not.
func CreateFile(path string) (*File, error) {
	b := &box{kind: "file", key: newKey()}
	if err := writeNew(path, b.key[:]); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("creating the seal's key file: %s is there already: use it as it is, or name another path: %w", path, fs.ErrExist)
		}
		return nil, fmt.Errorf("creating the seal's key file: %w", err)
	}
	return &File{b: b}, nil
}

// OpenFile reads the key file at path. It refuses one that group or others may
// read, write or execute, that is no regular file, or that has not 32 bytes.
func OpenFile(path string) (*File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening the seal's key file: %s does not exist: mount the medium that holds it, or restore it from its backup: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the seal's key file: %w", err)
	}
	defer f.Close()
	// The open file is examined, not the path: nobody can swap it in between.
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening the seal's key file: %w", err)
	}
	if err := checkFile(path, info); err != nil {
		return nil, err
	}
	b := &box{kind: "file"}
	if _, err := io.ReadFull(f, b.key[:]); err != nil {
		return nil, fmt.Errorf("reading the seal's key file %s: %w", path, err)
	}
	return &File{b: b}, nil
}

func checkFile(path string, info fs.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("kmsd: the seal's key file %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("kmsd: the seal's key file %s has mode %04o, so that others than its owner may use it: run chmod 600 %s, and consider who may have read it", path, info.Mode().Perm(), path)
	case info.Size() != keySize:
		return fmt.Errorf("kmsd: the seal's key file %s has %d bytes, not %d: restore it from its backup", path, info.Size(), keySize)
	}
	return nil
}

// writeNew creates path with exactly these bytes, or not at all: they are written
// and synced under a temporary name, linked to path (which fails if it exists),
// and the directory is synced so that the name lasts too.
func writeNew(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".seal-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name()), syncDir(dir)) }()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Link(tmp.Name(), path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Seal implements Sealer.
func (f *File) Seal(_ context.Context, rootKey, aad []byte) ([]byte, error) {
	return f.b.seal(rootKey, aad)
}

// Open implements Sealer.
func (f *File) Open(_ context.Context, sealed, aad []byte) ([]byte, error) {
	return f.b.open(sealed, aad)
}

// Kind returns "file".
func (*File) Kind() string { return "file" }

package seal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/kmsd/kmsd/internal/durable"
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
	key := newKey()
	if err := durable.CreateFile(path, key); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("creating the seal's key file: %s is there already: use it as it is, or name another path: %w", path, fs.ErrExist)
		}
		return nil, fmt.Errorf("creating the seal's key file: %w", err)
	}
	return &File{b: newBox(kindFile, key)}, nil
}

// OpenFile reads the key file at path. It refuses one that group or others have
// any permission on, of which errors.Is(err, durable.ErrNotPrivate) tells, and
// one that has not 32 bytes.
func OpenFile(path string) (*File, error) {
	key, err := durable.ReadPrivate(path, keySize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("opening the seal's key file: mount the medium that holds it, or restore it from its backup: %w", err)
	case errors.Is(err, durable.ErrNotPrivate):
		return nil, fmt.Errorf("opening the seal's key file: run chmod 600 on it, and consider who may have read it: %w", err)
	case err != nil:
		return nil, fmt.Errorf("opening the seal's key file: restore it from its backup: %w", err)
	case len(key) != keySize:
		return nil, fmt.Errorf("kmsd: the seal's key file %s has %d bytes, not %d: restore it from its backup", path, len(key), keySize)
	}
	return &File{b: newBox(kindFile, key)}, nil
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
func (*File) Kind() string { return kindFile }

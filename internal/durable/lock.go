package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockName is the file in a locked directory that carries the lock. It is never
// removed: a process that waits for the old file and one that makes a new file
// would both believe that they hold the lock.
const lockName = "lock"

// ErrLocked is returned by LockDir when another process, or this one, holds the
// lock.
var ErrLocked = errors.New("the directory is in use by another process")

// Lock is the exclusive use of a directory.
type Lock struct{ f *os.File }

// LockDir takes the exclusive lock of dir (flock on the file "lock" in it) or
// fails with ErrLocked at once. The kernel drops the lock when the process ends,
// however it ends. The lock is advisory and local to the machine: two machines
// that mount one network file system are not kept apart.
func LockDir(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, FileMode)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return &Lock{f: f}, nil
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Release gives the directory up. The lock may not be used afterwards.
func (l *Lock) Release() error { return l.f.Close() }

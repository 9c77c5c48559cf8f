package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kmsd/kmsd/internal/durable"
)

// lockEnv makes the test binary take the lock of the named directory and exit
// with 0 when it got it, 3 when it was held and 1 otherwise.
const lockEnv = "DURABLE_TEST_LOCK_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(lockEnv); dir != "" {
		_, err := durable.LockDir(dir)
		switch {
		case err == nil:
			os.Exit(0)
		case errors.Is(err, durable.ErrLocked):
			os.Exit(3)
		default:
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// lockElsewhere returns the exit code of another process that tries the lock.
func lockElsewhere(t *testing.T, dir string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockEnv+"="+dir)
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func TestLockDirKeepsOthersOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := durable.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := durable.LockDir(dir); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("a second lock in this process: got %v, want ErrLocked", err)
	}
	if got := lockElsewhere(t, dir); got != 3 {
		t.Errorf("another process exits with %d, want 3 (held)", got)
	}
	wantMode(t, filepath.Join(dir, "lock"), 0o600)
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if got := lockElsewhere(t, dir); got != 0 {
		t.Errorf("another process exits with %d, want 0 (free)", got)
	}
	again, err := durable.LockDir(dir)
	if err != nil {
		t.Fatalf("after the other process ended: %v", err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestLockDirNeedsTheDirectory(t *testing.T) {
	t.Parallel()
	if _, err := durable.LockDir(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

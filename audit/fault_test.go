package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/audit"
)

// Every way in which the disk can fail: the append fails, the log stays refused
// although the disk works again, and Reopen, or opening anew, continues an intact
// chain that holds everything acknowledged.
func TestDiskFaults(t *testing.T) {
	t.Parallel()
	lineLen := len(record(0).AppendJSON(nil)) + 100 // a whole line fits
	for name, tt := range map[string]struct {
		fault fault
		sync  bool
		max   int64
		cause error
		kept  int // records of failed appends that are in the file
	}{
		"write fails":              {fault: fault{call: "write", err: syscall.EIO}, cause: syscall.EIO},
		"disk is full":             {fault: fault{call: "write", err: syscall.ENOSPC, keep: 100}, cause: syscall.ENOSPC},
		"short write":              {fault: fault{call: "write", keep: 100}, cause: io.ErrShortWrite},
		"error after all is there": {fault: fault{call: "write", err: syscall.EIO, keep: lineLen}, cause: syscall.EIO, kept: 1},
		"fsync fails":              {fault: fault{call: "sync", err: syscall.EIO}, sync: true, cause: syscall.EIO, kept: 1},
		"next file cannot be made": {fault: fault{call: "open", err: syscall.ENOSPC}, max: 1, cause: syscall.ENOSPC},
		"fsync before next file":   {fault: fault{call: "sync", err: syscall.EIO}, max: 1, cause: syscall.EIO},
	} {
		for _, reopen := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, reopen %v", name, reopen), func(t *testing.T) {
				t.Parallel()
				dir, disk := t.TempDir(), newDisk()
				var logged bytes.Buffer
				cfg := audit.Config{Dir: dir, Sync: tt.sync, MaxFileBytes: tt.max, SyncInterval: time.Hour, Logger: slog.New(slog.NewTextHandler(&logged, nil))}
				cfg.SetOpen(disk.open)
				l := open(t, cfg)
				appendRecords(t, l, 0, 2)
				disk.fail(tt.fault)
				if err := l.Append(t.Context(), record(2)); !errors.Is(err, audit.ErrUnhealthy) || !errors.Is(err, tt.cause) {
					t.Fatalf("Append: %v, want ErrUnhealthy and %v", err, tt.cause)
				}
				if err := l.Reopen(t.Context()); tt.fault.call != "write" && !errors.Is(err, audit.ErrUnhealthy) {
					t.Errorf("Reopen of a broken disk: %v", err)
				}
				disk.fail(fault{})
				if tt.fault.call != "write" {
					for what, err := range map[string]error{"Append": l.Append(t.Context(), record(3)), "Healthy": l.Healthy()} {
						if !errors.Is(err, audit.ErrUnhealthy) {
							t.Errorf("%s after the failure: %v, want ErrUnhealthy", what, err)
						}
					}
				}
				if reopen {
					if err := l.Reopen(t.Context()); err != nil {
						t.Fatalf("Reopen: %v", err)
					}
				} else {
					closeLog(t, l)
					l = open(t, cfg)
				}
				if err := l.Healthy(); err != nil {
					t.Errorf("Healthy afterwards: %v", err)
				}
				appendRecords(t, l, 4, 6)
				closeLog(t, l)
				verify(t, dir, 4+tt.kept)
				if n := strings.Count(logged.String(), "the log has failed"); n != 1 {
					t.Errorf("the failure was logged %d times:\n%s", n, logged.String())
				}
			})
		}
	}
}

// Without Sync, a failing fsync shows after the append has returned.
func TestFsyncFailsInBackground(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		cfg := audit.Config{Dir: dir}
		cfg.SetOpen(disk.open)
		l := open(t, cfg)
		disk.fail(fault{call: "sync", err: syscall.EIO})
		appendRecords(t, l, 0, 1)
		<-time.After(1001 * time.Millisecond)
		synctest.Wait()
		for what, err := range map[string]error{"Append": l.Append(t.Context(), record(1)), "Healthy": l.Healthy()} {
			if !errors.Is(err, audit.ErrUnhealthy) || !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: %v, want ErrUnhealthy and EIO", what, err)
			}
		}
		disk.fail(fault{})
		if err := l.Reopen(t.Context()); err != nil {
			t.Errorf("Reopen: %v", err)
		}
		appendRecords(t, l, 1, 2)
		closeLog(t, l)
	})
	verify(t, dir, 2)
}

// A disk that hangs returns no error; the log notices all the same.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		cfg := audit.Config{Dir: dir}
		cfg.SetOpen(disk.open)
		l := open(t, cfg)
		release := disk.hold()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := l.Append(ctx, record(0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Append: %v, want the deadline", err)
		}
		if err := l.Healthy(); err != nil {
			t.Errorf("Healthy after 5 s: %v", err)
		}
		<-time.After(6 * time.Second)
		for what, err := range map[string]error{"Append": l.Append(t.Context(), record(1)), "Healthy": l.Healthy()} {
			if !errors.Is(err, audit.ErrUnhealthy) {
				t.Errorf("%s after 11 s: %v, want ErrUnhealthy", what, err)
			}
		}
		close(release)
		synctest.Wait()
		if err := l.Healthy(); err != nil {
			t.Errorf("Healthy after the write has returned: %v", err)
		}
		closeLog(t, l)
	})
	verify(t, dir, 1)
}

func TestReopenOfHealthyLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	appendRecords(t, l, 0, 1)
	if err := l.Reopen(t.Context()); err != nil {
		t.Errorf("Reopen: %v", err)
	}
	appendRecords(t, l, 1, 2)
	closeLog(t, l)
	verify(t, dir, 2)
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notDir := dir + "/file"
	write(t, notDir, nil)
	if _, err := audit.Open(audit.Config{Dir: notDir + "/audit"}); err == nil {
		t.Error("Open below a file: no error")
	}
	disk := newDisk()
	disk.fail(fault{call: "open", err: os.ErrPermission})
	cfg := audit.Config{Dir: dir}
	cfg.SetOpen(disk.open)
	if _, err := audit.Open(cfg); !errors.Is(err, os.ErrPermission) {
		t.Errorf("Open: %v", err)
	}
	open(t, audit.Config{Dir: dir}) // the failed Open left no lock
}

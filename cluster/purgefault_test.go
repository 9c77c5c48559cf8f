package cluster_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/cluster"
)

// TestDamagedSnapshotsAreReplaced before what they hold is deleted anywhere else,
// and what Raft does not list goes, too.
func TestDamagedSnapshotsAreReplaced(t *testing.T) {
	t.Parallel()
	var clock steppedClock
	c := newCluster(t, 1, func(_ int, cfg *cluster.Config) {
		cfg.Clock = &clock
		cfg.SetPurge(5*time.Millisecond, 0)
	})
	c.ready()
	ids := []string{c.forward(0)}
	d := c.doom()
	index := c.destroy(d)
	n := c.nodes[0]
	if err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, f := range intact(t, c.dirs[0]) {
		flipByte(t, f)
	}
	snapshots := filepath.Join(c.dirs[0], "raft", "snapshots")
	for _, name := range []string{"1-2-1700000000000", "1-3-1700000000000.tmp"} {
		dir := filepath.Join(snapshots, name)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "state.bin"), d.sealed, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	clock.ahead.Add(int64(time.Hour))
	c.awaitCleared(0, index)
	c.wantGone(0, d)
	if left := intact(t, c.dirs[0]); len(left) != 2 {
		t.Errorf("snapshots: %v, want two", left)
	}
	c.stop(0)
	dir := filepath.Join(snapshots, fmt.Sprintf("9-%d-1700000000000.tmp", index+1000)) // interrupted by the end of the process
	left := filepath.Join(c.dirs[0], "raft", ".raft.db.tmp-123")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(left, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.ready()
	c.wantKeys(ids)
	for _, path := range []string{dir, left} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

// TestNoRoomToClearTheDisk: a copy must not fill the disk. Metrics and status tell
// that it is not clear, and since when.
func TestNoRoomToClearTheDisk(t *testing.T) {
	t.Parallel()
	var free atomic.Uint64
	const total = 1 << 30
	free.Store(total/20 + 1000)
	reg := prometheus.NewRegistry()
	begun := time.Now().Truncate(time.Millisecond)
	c := newCluster(t, 1, func(i int, cfg *cluster.Config) {
		purgeAtOnce(i, cfg)
		cfg.Registerer = reg
		cfg.SetDisk(func() (uint64, uint64) { return free.Load(), total })
		cfg.SetPurgeStep(func(step string) error {
			if free.Load() < total/2 {
				t.Errorf("step %s without room", step)
			}
			return nil
		})
	})
	c.ready()
	index := c.resetRoot()
	const onDisk, purges = "kmsd_cluster_destroyed_secrets_on_disk_seconds", "kmsd_cluster_purges_total"
	if got := gather(t, reg)[onDisk]; got > time.Since(begun).Seconds() {
		t.Errorf("%s = %v, want less", onDisk, got)
	}
	until(t, "the node waits for room", func() bool { return gather(t, reg)[purges] == 1 }) // postponed
	s := c.nodes[0].Status().Stain
	if s == nil || s.Index != index || s.Since.Before(begun) || s.Since.After(time.Now()) {
		t.Errorf("Stain = %+v, want index %d after %v", s, index, begun)
	}
	if got := gather(t, reg)[onDisk]; got <= 0 {
		t.Errorf("%s = %v, want more", onDisk, got)
	}
	free.Store(total / 2)
	c.nodes[0].MeasureDisk()
	c.awaitCleared(0, index)
	if got := gather(t, reg)[onDisk]; got != 0 {
		t.Errorf("%s = %v after the disk was cleared", onDisk, got)
	}
}

// TestFailedStepIsRepeated, whichever it is, and the node serves all the time.
func TestFailedStepIsRepeated(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	failed := map[string]bool{}
	broken := errors.New("input/output error")
	c := newCluster(t, 1, func(i int, cfg *cluster.Config) {
		purgeAtOnce(i, cfg)
		cfg.SetPurgeRetry(time.Millisecond)
		cfg.SetPurgeStep(func(step string) error {
			mu.Lock()
			defer mu.Unlock()
			if step == "renamed" || failed[step] {
				return nil
			}
			failed[step] = true
			return broken
		})
	})
	c.ready()
	d := c.doom()
	id := c.forward(0)
	index := c.destroy(d)
	c.awaitCleared(0, index)
	c.wantGone(0, d)
	c.wantKeys([]string{id})
	mu.Lock()
	defer mu.Unlock()
	if len(failed) != 6 {
		t.Errorf("failed at %v", failed)
	}
}

// TestUncertainNameStopsTheNode: after the new file may have got its name and may
// not have, nothing is acknowledged any more.
func TestUncertainNameStopsTheNode(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	c := newCluster(t, 1, func(i int, cfg *cluster.Config) {
		purgeAtOnce(i, cfg)
		cfg.SetPurgeStep(func(step string) error {
			if step == "renamed" && broken.Load() {
				return errDisk
			}
			return nil
		})
	})
	c.ready()
	id := c.forward(0)
	index := c.resetRoot()
	err := wantFatal(t, c.nodes[0], cluster.ExitRestart)
	if !errors.Is(err, cluster.ErrUncertain) || !errors.Is(err, errDisk) || !strings.HasPrefix(err.Error(), "nobody knows") {
		t.Errorf("FatalError: %v", err) // told by who noticed, not by the next one who writes
	}
	broken.Store(false)
	c.stop(0)
	c.start(0)
	c.ready()
	c.wantKeys([]string{id})
	c.awaitCleared(0, index)
}

// TestMissingFilesAreRefused: a log without the snapshot that it follows, snapshots
// without term and vote.
func TestMissingFilesAreRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, purgeAtOnce)
	c.ready()
	id := c.forward(0)
	c.awaitCleared(0, c.resetRoot())
	c.stop(0)
	whole := c.dirs[0]
	for name, want := range map[string]string{"raft/snapshots": "no snapshot can be read", "raft/raft.db": "the Raft log is missing"} {
		c.dirs[0] = filepath.Join(t.TempDir(), "node")
		copyDir(t, whole, c.dirs[0])
		if err := os.RemoveAll(filepath.Join(c.dirs[0], filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
		if n, err := cluster.Open(t.Context(), c.config(0)); err == nil {
			_ = n.Close(t.Context())
			t.Errorf("a node without %s opened", name)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "wiped") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	c.dirs[0] = whole
	c.start(0)
	c.ready()
	c.wantKeys([]string{id})
}

package cluster_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/kmsd/kmsd/cluster"
)

// TestDestroyedKeyIsGoneFromEveryDisk, and so is a root credential that was replaced.
func TestDestroyedKeyIsGoneFromEveryDisk(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, purgeAtOnce)
	c.ready()
	ids := []string{c.forward(0), c.forward(1)}
	d := c.doom()
	ids = append(ids, c.forward(2))
	for i, n := range c.nodes {
		if err := errors.Join(n.WaitApplied(t.Context(), c.nodes[c.leader()].Applied()), n.Snapshot(t.Context())); err != nil {
			t.Fatal(err)
		}
		c.wantThere(i, d)
	}
	index := c.destroy(d)
	for i := range c.nodes {
		c.awaitCleared(i, index)
		c.wantGone(i, d)
		first, err := c.nodes[i].Log().FirstIndex()
		if err != nil || first < index {
			t.Errorf("node %d: the log begins at %d, %v; want %d or later", i, first, err, index)
		}
		if n := len(intact(t, c.dirs[i])); n != 2 {
			t.Errorf("node %d: %d snapshots are left, want two", i, n)
		}
	}
	ids = append(ids, c.forward(0))
	c.wantKeys(ids)

	// The first root credential came with the first log entry.
	view := c.nodes[c.leader()].Machine().View()
	root, _ := view.AccessKey("AKIAIOSFODNN7EXAMPLE")
	index = c.resetRoot()
	first := &doomed{sealed: root.Secret}
	for i := range c.nodes {
		c.awaitCleared(i, index)
		c.wantGone(i, first)
	}
	c.wantEqual()
	for i := range c.nodes {
		c.stop(i)
	}
	for i := range c.nodes {
		c.start(i)
	}
	c.ready()
	ids = append(ids, c.forward(1))
	c.wantKeys(ids)
	c.wantEqual()
}

// intact lists the snapshots below dir.
func intact(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "state.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// raftVars reads Raft's durable variables from a file that nobody has open.
func raftVars(t *testing.T, dir string) map[string]string {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "raft", "raft.db"), 0, &bbolt.Options{ReadOnly: true, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	out := map[string]string{}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("conf")).ForEach(func(k, v []byte) error {
			out[string(k)] = string(v)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCrashWhileTheDiskIsCleared takes an image of the files after every step, and
// starts a node from each: nothing is lost, term and vote are what they were, and
// the disk is clear in the end.
func TestCrashWhileTheDiskIsCleared(t *testing.T) {
	t.Parallel()
	images := map[string]string{}
	var steps []string
	var armed atomic.Bool
	var c *testCluster
	c = newCluster(t, 1, func(i int, cfg *cluster.Config) {
		purgeAtOnce(i, cfg)
		cfg.SetPurgeStep(func(step string) error {
			if armed.Load() {
				steps, images[step] = append(steps, step), filepath.Join(t.TempDir(), "image")
				copyDir(t, c.dirs[0], images[step])
			}
			return nil
		})
	})
	c.ready()
	ids := []string{c.forward(0)}
	d := c.doom()
	if err := c.nodes[0].Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, c.forward(0))
	c.wantThere(0, d)
	armed.Store(true)
	index := c.destroy(d)
	c.awaitCleared(0, index)
	armed.Store(false)
	c.wantGone(0, d)
	c.stop(0)
	want := raftVars(t, c.dirs[0])
	if want["CurrentTerm"] == "" || want["LastVoteTerm"] == "" || want["LastVoteCand"] == "" {
		t.Errorf("Raft's variables: %q", want)
	}
	if diff := cmp.Diff(steps, []string{"snapshots", "dropped", "cut", "copied", "complete", "renamed", "rewritten"}); diff != "" {
		t.Errorf("steps: -got+want:\n%s", diff)
	}
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			c.t, c.dirs[0] = t, images[step]
			defer c.stop(0)
			if got, want := d.inLog(t, images[step]), step != "renamed" && step != "rewritten"; got != want {
				t.Errorf("the log entry is in the files: %v, want %v", got, want)
			}
			if diff := cmp.Diff(raftVars(t, images[step]), want); diff != "" {
				t.Errorf("Raft's variables: -got+want:\n%s", diff)
			}
			c.start(0)
			c.ready()
			c.wantKeys(ids)
			c.awaitCleared(0, index)
			c.wantGone(0, d)
			wantAlone(t, filepath.Join(images[step], "raft"))
			c.forward(0)
		})
	}
}

// TestMemberThatWasDownClearsItsDiskLater: the leader keeps what a member lacks for
// twelve hours. The member then gets a snapshot, and clears its own disk.
func TestMemberThatWasDownClearsItsDiskLater(t *testing.T) {
	t.Parallel()
	var clock steppedClock
	c := newCluster(t, 3, func(i int, cfg *cluster.Config) {
		calm(i, cfg)
		cfg.Clock = &clock
		cfg.SetPurge(5*time.Millisecond, 0)
	})
	c.ready()
	ids := []string{c.forward(0)}
	d := c.doom()
	lead, others := c.split()
	away, other := others[0], others[1]
	for i, n := range c.nodes {
		until(t, "the key is everywhere", func() bool { return c.has(i, d.keyID) })
		if err := n.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.stop(away)
	index := c.destroy(d)
	until(t, "the nodes know that their disks are not clear", func() bool {
		return c.nodes[other].Status().Stain != nil && c.nodes[lead].Status().Stain != nil
	})
	if s := c.nodes[lead].Status().Stain; s.Index != index {
		t.Errorf("the leader's disk is stained at %d, want %d", s.Index, index)
	}

	clock.ahead.Add(int64(time.Hour))
	c.awaitCleared(other, index)
	c.wantGone(other, d)
	clock.ahead.Add(int64(10 * time.Hour))
	ids = append(ids, c.forward(lead))
	there, did := d.inLog(t, c.dirs[lead]), cleared(t, c.dirs[lead]) >= index
	if c.leader() == lead && (!there || did) {
		t.Errorf("the leader has cleared its disk although a member lacks entries")
	}

	clock.ahead.Add(int64(2 * time.Hour))
	c.awaitCleared(lead, index)
	c.wantGone(lead, d)
	if !d.inLog(t, c.dirs[away]) {
		t.Error("the disk of the member that is down changes by itself")
	}
	c.start(away)
	c.ready()
	ids = append(ids, c.forward(away))
	c.wantKeys(ids)
	c.awaitCleared(away, index)
	c.wantGone(away, d)
	c.wantEqual()
}

// TestWritesGoOnWhileDisksAreCleared, all the time and on all nodes.
func TestWritesGoOnWhileDisksAreCleared(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, purgeAtOnce)
	c.ready()
	term := c.nodes[c.leader()].Status().Term
	var mu sync.Mutex
	var ids []string
	var writers sync.WaitGroup
	done := make(chan struct{})
	for i, n := range c.nodes {
		writers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				id := newKeyID()
				if _, err := n.Forward(t.Context(), []byte(id)); err != nil {
					if n.Status().Term == term { // without an election, which a busy machine may bring
						t.Errorf("a write through node %d failed: %v", i, err)
					}
					continue
				}
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
			}
		})
	}
	for range 5 {
		index := c.resetRoot()
		for i := range c.nodes {
			until(t, fmt.Sprintf("node %d clears its disk", i), func() bool { return cleared(t, c.dirs[i]) >= index })
		}
	}
	close(done)
	writers.Wait()
	c.wantEqual()
	c.wantKeys(ids)
	for i := range c.nodes {
		c.stop(i)
		c.start(i)
		c.ready()
	}
	c.wantKeys(ids)
	c.wantEqual()
}

package cluster_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
)

// A logModel is what a raft.db must hold.
type logModel struct {
	first, last uint64 // last < first: the log is empty
	logs        map[uint64]*raft.Log
	vars        map[string]string
}

func newLogModel() *logModel {
	return &logModel{first: 1, logs: map[uint64]*raft.Log{}, vars: map[string]string{}}
}

func openRaftDB(t *testing.T, dir string) *cluster.RaftDB {
	t.Helper()
	db, err := cluster.OpenRaftDB(dir)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// entry makes an entry whose bytes are those of no other.
func entry(index, term uint64, size int) *raft.Log {
	data := bytes.Repeat(fmt.Appendf(nil, "<%d in %d>", index, term), 1+size/12)
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: data, AppendedAt: time.Unix(int64(index), int64(term)).UTC()}
}

// append stores entries with consecutive indexes from at on, in place of what is
// there.
func (m *logModel) append(t *testing.T, db *cluster.RaftDB, at, term uint64, count, size int) {
	t.Helper()
	if overwrites := at+uint64(count) > m.last; at <= m.last && (!overwrites || term%3 > 0) {
		if err := db.DeleteRange(at, m.last); err != nil {
			t.Error(err)
		}
		for ; m.last >= at; m.last-- {
			delete(m.logs, m.last)
		}
		m.set(t, db, "between", term) // time in which a copy finds the log without its end
	}
	var logs []*raft.Log
	for i := range uint64(count) {
		logs = append(logs, entry(at+i, term, size))
	}
	if err := db.StoreLogs(logs); err != nil {
		t.Error(err)
	}
	if m.last < m.first {
		m.first = at
	}
	for _, l := range logs {
		m.logs[l.Index], m.last = l, l.Index
	}
}

// cut deletes the log's beginning up to an index.
func (m *logModel) cut(t *testing.T, db raft.LogStore, upTo uint64) {
	t.Helper()
	if err := db.DeleteRange(m.first, upTo); err != nil {
		t.Error(err)
	}
	for ; m.first <= min(upTo, m.last); m.first++ {
		delete(m.logs, m.first)
	}
}

func (m *logModel) set(t *testing.T, db *cluster.RaftDB, name string, value uint64) {
	t.Helper()
	var err error
	if text := fmt.Sprint(value); value%2 == 0 {
		m.vars[name] = string(binary.BigEndian.AppendUint64(nil, value))
		err = db.SetUint64([]byte(name), value)
	} else {
		m.vars[name] = text
		err = db.Set([]byte(name), []byte(text))
	}
	if err != nil {
		t.Error(err)
	}
}

// check compares a raft.db with the model.
func (m *logModel) check(t *testing.T, db *cluster.RaftDB) {
	t.Helper()
	first, err := db.FirstIndex()
	last, other := db.LastIndex()
	if err := errors.Join(err, other); err != nil {
		t.Fatal(err)
	}
	wantFirst, wantLast := m.first, m.last
	if m.last < m.first {
		wantFirst, wantLast = 0, 0
	}
	if first != wantFirst || last != wantLast {
		t.Errorf("the log is %d to %d, want %d to %d", first, last, wantFirst, wantLast)
	}
	got := map[uint64]*raft.Log{}
	for i := min(first, m.first); i <= max(last, m.last); i++ {
		var l raft.Log
		if err := db.GetLog(i, &l); err == nil {
			l.AppendedAt = l.AppendedAt.UTC()
			got[i] = &l
		} else if !errors.Is(err, raft.ErrLogNotFound) {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(got, m.logs); diff != "" {
		t.Errorf("log: -got+want:\n%s", diff)
	}
	for name, want := range m.vars {
		value, err := db.Get([]byte(name))
		if err != nil || string(value) != want {
			t.Errorf("variable %s: got %q, %v; want %q", name, value, err, want)
		}
	}
	if _, err := db.Get([]byte("no such name")); err == nil || err.Error() != "not found" { // Raft compares the text
		t.Errorf("a variable that was never set: %v", err)
	}
}

// wantAlone checks that no file lies beside raft.db, where the snapshots may be.
func wantAlone(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "raft.db" && e.Name() != "snapshots" {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// TestRewriteWhileRaftWrites rewrites the file again and again while another
// goroutine does to the log all that Raft does.
func TestRewriteWhileRaftWrites(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	db, m := openRaftDB(t, dir), newLogModel()
	ctx, stop := context.WithCancel(t.Context())
	rewrites := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if err := db.Rewrite(t.Context(), nil); err != nil {
				t.Errorf("rewriting: %v", err)
				break
			}
		}
		rewrites <- n
	}()
	for step := range uint64(240) {
		term := 1 + step/10
		switch op := rng.IntN(12); {
		case op < 5:
			m.append(t, db, m.last+1, term, 1+rng.IntN(40), rng.IntN(3000))
		case op < 8 && m.last > m.first:
			at := m.last
			for at > m.first && rng.IntN(4) > 0 { // the last entry, a few, or the whole log
				at -= min(at-m.first, 1+rng.Uint64N(8))
			}
			m.append(t, db, at, term, 1+rng.IntN(10), rng.IntN(300))
		case op == 8 && m.last > m.first:
			m.cut(t, db, m.first+rng.Uint64N(m.last-m.first+1))
		case op == 9 && step%4 == 0: // after a snapshot from the leader the log begins elsewhere
			m.cut(t, db, m.last)
			m.append(t, db, m.last+1+rng.Uint64N(50), term, 1+rng.IntN(5), 100)
		default:
			m.set(t, db, []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand", "of the future"}[rng.IntN(4)], step)
		}
	}
	stop()
	if n := <-rewrites; n < 3 {
		t.Errorf("only %d rewritings took place", n)
	}
	m.append(t, db, m.last+1, 99, 3, 100)
	m.set(t, db, "CurrentTerm", 99)
	m.check(t, db)
	wantAlone(t, dir)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openRaftDB(t, dir) // the file that has the name is the one that was written to
	m.check(t, db)
	if err := errors.Join(db.Rewrite(t.Context(), nil), db.Close()); err != nil { // knows the variables' names from the file
		t.Fatal(err)
	}
	db = openRaftDB(t, dir)
	defer db.Close()
	m.check(t, db)
}

// TestRewriteLeavesNothingBehind: bytes of deleted entries are in the file until it
// is rewritten.
func TestRewriteLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, m := openRaftDB(t, dir), newLogModel()
	defer db.Close()
	m.append(t, db, 1, 1, 50, 2000)
	secret := m.logs[7].Data
	m.append(t, db, 51, 2, 50, 2000)
	m.cut(t, db, 50)
	if !fileHolds(t, filepath.Join(dir, "raft.db"), secret) {
		t.Fatal("deleting overwrites: this test shows nothing")
	}
	before := fileSize(t, filepath.Join(dir, "raft.db"))
	if used, err := db.Used(); err != nil || used < 50*2000 || used > uint64(before)-50*2000 {
		t.Errorf("%d of %d bytes are used, %v; want about half", used, before, err)
	}
	if err := db.Rewrite(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if fileHolds(t, filepath.Join(dir, "raft.db"), secret) {
		t.Error("a deleted entry is still in the file")
	}
	if after := fileSize(t, filepath.Join(dir, "raft.db")); after > before {
		t.Errorf("the file has grown from %d to %d bytes", before, after)
	}
	m.check(t, db)
	m.cut(t, db, m.last) // an empty log
	if err := db.Rewrite(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	m.check(t, db)
	m.append(t, db, m.last+1, 3, 5, 10)
	m.check(t, db)
}

func fileHolds(t *testing.T, path string, what []byte) bool {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.Contains(data, what)
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// copyDir copies a directory with all that it holds.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o600)
	})
	if err != nil {
		t.Errorf("copying %s: %v", from, err)
	}
}

// TestRewriteCrash looks at the files at every step as a crash would leave them.
func TestRewriteCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, m := openRaftDB(t, dir), newLogModel()
	m.append(t, db, 1, 1, 100, 500)
	m.cut(t, db, 60)
	m.set(t, db, "CurrentTerm", 7)
	m.set(t, db, "LastVoteTerm", 6)
	images := map[string]string{}
	err := db.Rewrite(t.Context(), func(step string) error {
		images[step] = filepath.Join(t.TempDir(), "image")
		copyDir(t, dir, images[step])
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if len(images) != 3 {
		t.Errorf("steps: %v", images)
	}
	for step, image := range images {
		db := openRaftDB(t, image)
		m.check(t, db)
		if err := errors.Join(db.Rewrite(t.Context(), nil), db.Close()); err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}
}

// TestRewriteFails before the new file has the name, and nothing has changed; after,
// and nothing is written to either.
func TestRewriteFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, m := openRaftDB(t, dir), newLogModel()
	m.append(t, db, 1, 1, 20, 100)
	m.set(t, db, "CurrentTerm", 2)
	broken := errors.New("input/output error")
	failAt := func(where string) func(string) error {
		return func(step string) error {
			if step == where {
				return broken
			}
			return nil
		}
	}
	for i, step := range []string{"copied", "complete"} {
		if err := db.Rewrite(t.Context(), failAt(step)); !errors.Is(err, broken) || errors.Is(err, cluster.ErrUncertain) {
			t.Errorf("%s: got %v", step, err)
		}
		wantAlone(t, dir)
		m.append(t, db, m.last+1, 2, 3, 10)
		m.set(t, db, "CurrentTerm", uint64(i)+3)
		m.check(t, db)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := db.Rewrite(ended, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: got %v", err)
	}

	if err := db.Rewrite(t.Context(), failAt("renamed")); !errors.Is(err, broken) || !errors.Is(err, cluster.ErrUncertain) {
		t.Errorf("renamed: got %v", err)
	}
	_, first := db.FirstIndex()
	_, last := db.LastIndex()
	_, text := db.Get([]byte("CurrentTerm"))
	_, number := db.GetUint64([]byte("CurrentTerm"))
	for what, err := range map[string]error{
		"FirstIndex": first, "LastIndex": last, "Get": text, "GetUint64": number,
		"GetLog": db.GetLog(1, new(raft.Log)), "StoreLog": db.StoreLog(entry(m.last+1, 9, 1)), "DeleteRange": db.DeleteRange(1, 2),
		"Set": db.Set([]byte("CurrentTerm"), nil), "SetUint64": db.SetUint64([]byte("CurrentTerm"), 9),
		"rewrite": db.Rewrite(t.Context(), nil),
	} {
		if !errors.Is(err, cluster.ErrUncertain) {
			t.Errorf("%s afterwards: got %v, want ErrUncertain", what, err)
		}
	}
	wantAlone(t, dir)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openRaftDB(t, dir)
	defer db.Close()
	m.check(t, db)
}

// TestRewriteCatchesUp with what happens to the log after it was copied.
func TestRewriteCatchesUp(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testing.T, *logModel, *cluster.RaftDB){
		"appended":             func(t *testing.T, m *logModel, db *cluster.RaftDB) { m.append(t, db, 101, 2, 10, 10) },
		"overwritten":          func(t *testing.T, m *logModel, db *cluster.RaftDB) { m.append(t, db, 90, 3, 11, 10) },
		"last one overwritten": func(t *testing.T, m *logModel, db *cluster.RaftDB) { m.append(t, db, 100, 3, 1, 10) },
		"end replaced":         func(t *testing.T, m *logModel, db *cluster.RaftDB) { m.append(t, db, 80, 2, 3, 10) },
		"all replaced":         func(t *testing.T, m *logModel, db *cluster.RaftDB) { m.append(t, db, 41, 2, 3, 10) },
		"beginning deleted":    func(t *testing.T, m *logModel, db *cluster.RaftDB) { m.cut(t, db, 70) },
		"all deleted":          func(t *testing.T, m *logModel, db *cluster.RaftDB) { m.cut(t, db, 100) },
		"begun elsewhere": func(t *testing.T, m *logModel, db *cluster.RaftDB) {
			m.cut(t, db, 100)
			m.append(t, db, 500, 4, 3, 10)
		},
		"variables": func(t *testing.T, m *logModel, db *cluster.RaftDB) {
			m.set(t, db, "CurrentTerm", 9)
			m.set(t, db, "LastVoteTerm", 8)
		},
		"everything": func(t *testing.T, m *logModel, db *cluster.RaftDB) {
			m.append(t, db, 101, 2, 10, 10)
			m.append(t, db, 60, 3, 20, 10)
			m.cut(t, db, 65)
			m.append(t, db, 75, 6, 5, 10)
			m.set(t, db, "CurrentTerm", 12)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			db, m := openRaftDB(t, dir), newLogModel()
			m.append(t, db, 1, 1, 100, 100)
			m.cut(t, db, 40)
			m.set(t, db, "CurrentTerm", 7)
			err := db.Rewrite(t.Context(), func(step string) error {
				if step == "copied" {
					change(t, m, db)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			m.check(t, db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = openRaftDB(t, dir)
			defer db.Close()
			m.check(t, db)
		})
	}
}

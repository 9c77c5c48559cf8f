package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/crypto/seal"
)

// openIn opens the node in a directory, which must fail.
func openIn(t *testing.T, dir string) error {
	t.Helper()
	n, err := cluster.Open(t.Context(), cluster.Config{
		DataDir: dir, Seal: seal.NewMemory(), ListenAddr: "127.0.0.1:0", Advertise: "node.example:7777", Logger: testLog(t, 0),
	})
	if err == nil {
		_ = n.Close(t.Context())
		t.Fatal("the directory opens as a node's")
	}
	return err
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What joining has left that was interrupted is no node's, and joining goes on with it.
func TestInterruptedJoin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "join.json", "{}")
	if err := openIn(t, dir); !errors.Is(err, cluster.ErrJoining) {
		t.Errorf("Open: %v, want ErrJoining", err)
	}
	c := newCluster(t, 1, quick)
	c.ready()
	cfg := c.joinConfig(c.token(nil), 0)
	write(t, cfg.DataDir, ".join.json.tmp-1", "half")
	if err := cluster.JoinCluster(t.Context(), cfg); err != nil {
		t.Errorf("joining where a temporary file was left: %v", err)
	}
}

// A node that has left and could not erase its keys does so when it is started again.
// One that others have removed keeps them.
func TestInterruptedLeave(t *testing.T) {
	t.Parallel()
	for text, kept := range map[string]bool{
		"node a of cluster b\nstatement 00\nleft\n": false, "node a of cluster b\nstatement 00\n": true,
	} {
		dir := t.TempDir()
		write(t, dir, "REMOVED", text)
		for _, name := range []string{"seal/current", "tls/node.key", "raft/raft.db", "audit/a"} {
			write(t, dir, name, "x")
		}
		if err := openIn(t, dir); !errors.Is(err, cluster.ErrRemoved) {
			t.Errorf("Open: %v, want ErrRemoved", err)
		}
		for _, name := range []string{"seal", "tls", "raft"} {
			if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != kept {
				t.Errorf("%q: %s: %v, want it kept: %v", text, name, err, kept)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "audit", "a")); err != nil {
			t.Errorf("the audit log: %v", err)
		}
	}
}

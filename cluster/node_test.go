package cluster_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/durable"
)

func flipByte(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInitRefuses(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	node := func(dir string) cluster.InitNode { return cluster.InitNode{DataDir: dir, Seal: seal.NewMemory()} }
	fail := errors.New("no account")
	for _, tt := range []struct {
		name  string
		cfg   cluster.InitConfig
		cause error
	}{
		{"a directory with something in it", cluster.InitConfig{Nodes: []cluster.InitNode{node(full)}, Genesis: genesis}, nil},
		{"two nodes", cluster.InitConfig{Nodes: []cluster.InitNode{node(t.TempDir()), node(t.TempDir())}, Genesis: genesis}, nil},
		{"no nodes", cluster.InitConfig{Genesis: genesis}, nil},
		{"a genesis that fails", cluster.InitConfig{Nodes: []cluster.InitNode{node(t.TempDir())},
			Genesis: func(*fsm.Genesis, *kmscrypto.Keyring) error { return fail }}, fail},
	} {
		tt.cfg.Now = time.Now()
		if _, err := cluster.Init(t.Context(), tt.cfg); err == nil || tt.cause != nil && !errors.Is(err, tt.cause) {
			t.Errorf("%s: Init = %v", tt.name, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		spoil  func(t *testing.T, c *testCluster, cfg *cluster.Config)
		target error
	}{
		{"a directory without a node", func(t *testing.T, _ *testCluster, cfg *cluster.Config) { cfg.DataDir = t.TempDir() }, cluster.ErrNoNode},
		{"an unfinished init", func(t *testing.T, c *testCluster, _ *cluster.Config) { remove(t, c.dirs[0], "node.json") }, cluster.ErrNoNode},
		{"another seal", func(_ *testing.T, _ *testCluster, cfg *cluster.Config) { cfg.Seal = seal.NewMemory() }, nil},
		{"a damaged root key", func(t *testing.T, c *testCluster, _ *cluster.Config) {
			files, _ := filepath.Glob(filepath.Join(c.dirs[0], "seal", "root.*.sealed"))
			flipByte(t, files[0])
		}, nil},
		{"a damaged node key", func(t *testing.T, c *testCluster, _ *cluster.Config) {
			flipByte(t, filepath.Join(c.dirs[0], "tls", "node.key"))
		}, nil},
		{"a lost log", func(t *testing.T, c *testCluster, _ *cluster.Config) { remove(t, c.dirs[0], "raft/raft.db") }, nil},
		{"no resolver", func(_ *testing.T, _ *testCluster, cfg *cluster.Config) { cfg.Resolve = nil }, nil},
		{"no address", func(_ *testing.T, _ *testCluster, cfg *cluster.Config) { cfg.ListenAddr = "localhost" }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 1, nil)
			c.ready()
			until(t, "the genesis file to go", func() bool {
				_, err := os.Stat(filepath.Join(c.dirs[0], "genesis"))
				return os.IsNotExist(err)
			})
			c.stop(0)
			cfg := c.config(0)
			tt.spoil(t, c, &cfg)
			n, err := cluster.Open(t.Context(), cfg)
			if err == nil {
				_ = n.Close(t.Context())
				t.Fatal("opened")
			}
			if tt.target != nil && !errors.Is(err, tt.target) {
				t.Errorf("Open: %v, want %v", err, tt.target)
			}
		})
	}
}

func TestOpenLeavesAnEmptyDirectoryEmpty(t *testing.T) {
	t.Parallel()
	c := found(t, 1, nil)
	cfg := c.config(0)
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "absent")} {
		cfg.DataDir = dir
		if _, err := cluster.Open(t.Context(), cfg); !errors.Is(err, cluster.ErrNoNode) {
			t.Errorf("Open: %v, want ErrNoNode", err)
		}
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			t.Errorf("Open left %v", entries)
		}
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}

func TestOpenTakesTheDirectorysLock(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	if _, err := cluster.Open(t.Context(), c.config(0)); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("a second Open: %v, want ErrLocked", err)
	}
}

func TestNothingSecretStandsInTheFiles(t *testing.T) {
	t.Parallel()
	c := found(t, 1, nil)
	for _, name := range []string{"tls/node.key", "genesis"} {
		data, err := os.ReadFile(filepath.Join(c.dirs[0], name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trust.ParseKey(data); err == nil || strings.Contains(string(data), "PRIVATE") {
			t.Errorf("%s holds a private key in the clear", name)
		}
	}
	err := filepath.WalkDir(c.dirs[0], func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && d.Type().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A member that this node only remembers is accepted until the node has caught up
// with the state, which does not name it.
func TestRememberedMembersAreAcceptedUntilCaughtUp(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	c.ready()
	c.stop(0)
	const gone = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
	path := filepath.Join(c.dirs[0], "peers.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var peers []map[string]string
	if err := json.Unmarshal(data, &peers); err != nil {
		t.Fatal(err)
	}
	peers = append(peers, map[string]string{"nodeId": gone, "spki": strings.Repeat("ab", 32)})
	if data, err = json.Marshal(peers); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	n := c.start(0)
	var spki [32]byte
	for i := range spki {
		spki[i] = 0xab
	}
	if n.Accept(gone, [32]byte{1}) {
		t.Error("a remembered member is accepted with another key")
	}
	c.ready()
	if n.Accept(gone, spki) {
		t.Error("a member that the state does not name is accepted")
	}
	if n.Accept(n.ID(), spki) {
		t.Error("a member is accepted with another key")
	}
}

func TestCertificateIsRenewedInTime(t *testing.T) {
	t.Parallel()
	c := found(t, 1, nil)
	clock := &shiftedClock{ahead: trust.NodeLife * 8 / 10}
	cert := filepath.Join(c.dirs[0], "tls", "node.crt")
	read := func() string {
		data, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := read()
	c.start(0)
	c.ready()
	c.stop(0)
	if read() != before {
		t.Error("a fresh certificate was renewed")
	}
	c.adapt = func(_ int, cfg *cluster.Config) { cfg.Clock = clock }
	n := c.start(0)
	until(t, "the certificate is renewed", func() bool { return read() != before })
	until(t, "the state has the new key", func() bool {
		r, _ := n.Machine().View().Node(n.ID())
		return r != nil && r.SPKI == n.Credentials().Identity().SPKI && r.NextSPKI == [32]byte{}
	})
	after := read()
	c.stop(0)
	c.start(0)
	c.ready()
	if read() != after {
		t.Error("a fresh certificate was renewed again")
	}
}

// A shiftedClock is a machine's whose wall clock is ahead.
type shiftedClock struct{ ahead time.Duration }

func (c *shiftedClock) Boot() time.Duration { return cluster.SystemBoot() }
func (c *shiftedClock) Wall() time.Time     { return time.Now().Add(c.ahead) }

// Two clusters that find each other's ports never mix.
func TestTwoClustersDoNotMix(t *testing.T) {
	t.Parallel()
	a, b := newCluster(t, 3, nil), newCluster(t, 1, nil)
	a.ready()
	b.ready()
	_, others := a.split()
	away := others[0]
	a.stop(away)
	a.mu.Lock()
	a.addrs[a.founded.NodeIDs[away]] = b.nodes[0].Addr().String()
	a.mu.Unlock()
	raw, err := net.Dial("tcp", b.nodes[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := raw.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, raw); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the port keeps a connection that speaks HTTP")
	}
	_ = raw.Close()
	idA := a.forward(a.leader())
	idB := b.forward(0)
	if b.has(0, idA) || a.has(a.leader(), idB) {
		t.Error("the clusters have each other's keys")
	}
	for _, m := range a.nodes[a.leader()].Status().Members {
		if m.ID == a.founded.NodeIDs[away] && m.Last.Applied >= a.nodes[a.leader()].Applied() {
			t.Error("the other cluster's node answered for the member")
		}
	}
}

// gather returns the first value of every metric.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return got
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	c := newCluster(t, 1, func(_ int, cfg *cluster.Config) { cfg.Registerer = reg })
	c.ready()
	c.forward(0)
	for _, name := range []string{
		"kmsd_cluster_leader", "kmsd_cluster_ready", "kmsd_cluster_term", "kmsd_cluster_applied_index",
		"kmsd_cluster_stable_index", "kmsd_cluster_proposals_total", "kmsd_cluster_propose_seconds",
	} {
		until(t, name+" is more than 0", func() bool { return gather(t, reg)[name] > 0 })
	}
	c.stop(0)
	c.start(0) // registers again
}

func TestLeadIsCalledForATermAndEndsWithIt(t *testing.T) {
	t.Parallel()
	c := found(t, 1, nil)
	n, err := cluster.Open(t.Context(), c.config(0))
	if err != nil {
		t.Fatal(err)
	}
	led, ended := make(chan uint64, 1), make(chan struct{})
	n.Serve(cluster.Handlers{Lead: leadUntilDone(led, ended)})
	select {
	case opened := <-led:
		if opened == 0 || n.Applied() < opened {
			t.Errorf("opened = %d, applied %d", opened, n.Applied())
		}
	case <-time.After(patience):
		t.Error("Lead was not called")
	}
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	default:
		t.Error("Lead runs on after Close")
	}
}

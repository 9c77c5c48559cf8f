package cluster_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/kmsd/kmsd/cluster"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

const (
	account = "123456789012"
	region  = "eu-central-1"
	// patience bounds every wait of a test; none takes that long when all is well.
	patience = 3 * time.Minute
)

// atOnce is how many tests run in parallel, unless -parallel says otherwise: they wait
// for elections most of the time.
const atOnce = 6

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// A testCluster is a cluster in this process, on loopback.
type testCluster struct {
	t       *testing.T
	founded *cluster.Founded
	dirs    []string
	seals   []seal.Sealer
	adapt   func(i int, cfg *cluster.Config)

	nodes   []*cluster.Node // nil while stopped
	cutting sync.WaitGroup

	skips           atomic.Int64 // how often a leader went on without a member
	refusedRenewals atomic.Int64

	mu     sync.Mutex
	addrs  map[string]string            // guarded by mu
	cut    map[string]bool              // guarded by mu; these find nobody and nobody finds them
	after  func(*cluster.Node, error)   // guarded by mu; runs when a call was executed
	erased func(node int, ids []string) // guarded by mu; is told what the handlers are
}

func testLog(t *testing.T, node int) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil)).With("i", node)
}

// A skipHandler counts how often a leader has said that it goes on without a member, and
// a node that its certificate was not renewed.
type skipHandler struct {
	slog.Handler
	skips, renewals *atomic.Int64
}

func (h skipHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "writes go on without a member") {
		h.skips.Add(1)
	}
	if r.Message == "renewing the node's certificate" {
		h.renewals.Add(1)
	}
	return h.Handler.Handle(ctx, r)
}

func (h skipHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return skipHandler{h.Handler.WithAttrs(attrs), h.skips, h.renewals}
}

// unhurried gives Raft the time that a busy machine needs to keep a leader: the nodes of
// all tests that run share its processors and its disk. Real processes are tested with
// Raft's real settings.
func unhurried(r *raft.Config) {
	r.HeartbeatTimeout, r.ElectionTimeout, r.LeaderLeaseTimeout = 1500*time.Millisecond, 1500*time.Millisecond, 1500*time.Millisecond
}

// calm is for tests in which no other node may come to lead, however busy the machine
// is: node 0 does while it runs, since the others wait for a leader five times as long.
// It may still lose a term and win the next one.
func calm(i int, cfg *cluster.Config) {
	cfg.SetTune(func(r *raft.Config) {
		if i > 0 {
			r.HeartbeatTimeout, r.ElectionTimeout = 5*r.HeartbeatTimeout, 5*r.ElectionTimeout
		}
	})
}

// all adapts a configuration in several ways.
func all(adapt ...func(int, *cluster.Config)) func(int, *cluster.Config) {
	return func(i int, cfg *cluster.Config) {
		for _, a := range adapt {
			a(i, cfg)
		}
	}
}

// newCluster makes a cluster and starts its nodes. adapt may be nil.
func newCluster(t *testing.T, size int, adapt func(i int, cfg *cluster.Config)) *testCluster {
	t.Helper()
	c := found(t, size, adapt)
	for i := range size {
		c.start(i)
	}
	return c
}

// found makes the directories of a cluster. Its nodes are not started.
func found(t *testing.T, size int, adapt func(i int, cfg *cluster.Config)) *testCluster {
	t.Helper()
	c := &testCluster{t: t, adapt: adapt, addrs: map[string]string{}, cut: map[string]bool{}, nodes: make([]*cluster.Node, size)}
	base := t.TempDir()
	var nodes []cluster.InitNode
	for i := range size {
		c.dirs = append(c.dirs, filepath.Join(base, fmt.Sprintf("node%d", i)))
		c.seals = append(c.seals, seal.NewMemory())
		var cfg cluster.Config
		if adapt != nil {
			adapt(i, &cfg)
		}
		nodes = append(nodes, cluster.InitNode{DataDir: c.dirs[i], Seal: c.seals[i], Advertise: cfg.Advertise, APIAddress: cfg.APIAddress})
	}
	var err error
	c.founded, err = cluster.Init(t.Context(), cluster.InitConfig{Nodes: nodes, Now: time.Now(), Genesis: genesis})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stopAll)
	return c
}

func genesis(g *fsm.Genesis, k *kmscrypto.Keyring) error {
	secret, err := k.Seal("access-key", "AKIAIOSFODNN7EXAMPLE", []byte("a secret"))
	if err != nil {
		return err
	}
	g.OperatorAccount = account
	g.Accounts = []fsm.Account{{ID: account, Status: fsm.StatusActive}}
	g.AccessKeys = []fsm.AccessKey{{
		ID: "AKIAIOSFODNN7EXAMPLE", Account: account, Type: kms.PrincipalRoot, UniqueID: account,
		Status: fsm.StatusActive, SecretTerm: 1, Secret: secret,
	}}
	return nil
}

func (c *testCluster) start(i int) *cluster.Node {
	c.t.Helper()
	n, err := cluster.Open(c.t.Context(), c.config(i))
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.addrs[n.ID()] = n.Addr().String()
	c.mu.Unlock()
	c.nodes[i] = n
	n.Serve(cluster.Handlers{
		Execute: func(ctx context.Context, call []byte) ([]byte, uint64, error) {
			return c.execute(ctx, n, string(call))
		},
		Erased: func(ids []string) { c.noteErased(i, ids) },
	})
	return n
}

func (c *testCluster) config(i int) cluster.Config {
	cfg := cluster.Config{
		DataDir: c.dirs[i], Seal: c.seals[i], ListenAddr: "127.0.0.1:0",
		Resolve: func(id string) (string, bool) { return c.resolve(i, id) },
		Logger:  slog.New(skipHandler{testLog(c.t, i).Handler(), &c.skips, &c.refusedRenewals}),
	}
	cfg.SetTune(unhurried)
	if c.adapt != nil {
		c.adapt(i, &cfg)
	}
	return cfg
}

func (c *testCluster) resolve(from int, to string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, ok := c.addrs[to]
	return addr, ok && !c.cut[c.founded.NodeIDs[from]] && !c.cut[to]
}

// isolate takes node i off the network, or puts it back. What was being dialled at
// that moment is cut as soon as it stands.
func (c *testCluster) isolate(i int, cut bool) {
	id, n := c.founded.NodeIDs[i], c.nodes[i]
	c.mu.Lock()
	c.cut[id] = cut
	c.mu.Unlock()
	if !cut {
		return
	}
	n.CutConnections()
	c.cutting.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			c.mu.Lock()
			still := c.cut[id]
			c.mu.Unlock()
			if !still {
				return
			}
			n.CutConnections()
		}
	})
}

// afterExecute has f run when a node has executed a call, before it replies.
func (c *testCluster) afterExecute(f func(n *cluster.Node, err error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = f
}

func (c *testCluster) onErased(f func(node int, ids []string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erased = f
}

func (c *testCluster) noteErased(i int, ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.erased != nil {
		c.erased(i, ids)
	}
}

// stop stops a node gracefully.
func (c *testCluster) stop(i int) {
	c.t.Helper()
	n := c.nodes[i]
	if n == nil {
		return
	}
	c.nodes[i] = nil
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		stacks := make([]byte, 1<<20)
		c.t.Errorf("closing node %d: %v\n%s", i, err, stacks[:runtime.Stack(stacks, true)])
	}
}

func (c *testCluster) stopAll() {
	c.mu.Lock()
	clear(c.cut)
	c.mu.Unlock()
	c.cutting.Wait()
	var all sync.WaitGroup
	for i := range c.nodes {
		all.Go(func() { c.stop(i) })
	}
	all.Wait()
}

// execute is a service of one operation: it makes the key whose id is the call.
// Repetitions of a call are recognised by the id.
func (c *testCluster) execute(ctx context.Context, n *cluster.Node, id string) ([]byte, uint64, error) {
	reply, index, err := serve(ctx, n, id)
	c.mu.Lock()
	after := c.after
	c.mu.Unlock()
	if after != nil {
		after(n, err)
	}
	return reply, index, err
}

func serve(ctx context.Context, n *cluster.Node, id string) ([]byte, uint64, error) {
	if strings.HasPrefix(id, "refuse ") {
		return nil, 0, &kms.Error{Code: kms.CodeNotFound, Message: id}
	}
	if id == "fail" {
		return nil, 0, errors.New("a text with secrets")
	}
	view, err := n.View(ctx)
	if err != nil {
		return nil, 0, err
	}
	if once, ok := view.Once(reqKey(id)); ok {
		return []byte("repeated " + id), once.Index, nil
	}
	result, index, err := n.Propose(ctx, createKey(id))
	switch {
	case err != nil:
		return nil, 0, err
	case result.Repeat != nil:
		return []byte("repeated " + id), index, nil
	case result.Err != nil || result.Conflict:
		return nil, 0, fmt.Errorf("unexpected result %+v", result)
	}
	return []byte("made " + id), index, nil
}

func reqKey(id string) fsm.ReqKey {
	sum := sha256.Sum256([]byte(id))
	return fsm.ReqKey(sum[:16])
}

func newKeyID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func createKey(id string) fsm.Command {
	material := kmscrypto.MaterialID(id, make([]byte, 32))
	const policy = "{}"
	cmd, err := fsm.NewCommand(reqKey(id), fsm.Meta{Time: 1}, &fsm.CreateKey{
		Key: fsm.Key{
			Account: account, Region: region, ID: id, Spec: kms.SymmetricDefault, Usage: kms.EncryptDecrypt,
			Origin: kms.OriginKMS, Manager: kms.ManagerCustomer, State: kms.Enabled,
			PolicyHash: sha256.Sum256([]byte(policy)), CurrentMaterial: material,
		},
		Material: &fsm.Material{KeyID: id, ID: material, Sealed: []byte{1}},
		Policy:   policy,
	})
	if err != nil {
		panic(err)
	}
	return cmd
}

// until polls ok, which the state of a node decides, until it is true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// retryable tells whether a client would try again: nothing was proposed, or nobody
// knows.
func retryable(err error) bool {
	return errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrNotLeader) || errors.Is(err, kms.ErrOutcomeUnknown)
}

// insist tries again, as clients do, while the cluster is busy with itself. It returns
// the error that trying again does not help with.
func insist(t *testing.T, what string, f func() error) error {
	t.Helper()
	var err error
	until(t, what, func() bool {
		if err = f(); retryable(err) {
			t.Logf("%s: %v", what, err)
			return false
		}
		return true
	})
	return err
}

// view returns what node i serves.
func (c *testCluster) view(i int) *fsm.View {
	c.t.Helper()
	var v *fsm.View
	if err := insist(c.t, fmt.Sprintf("View on node %d", i), func() (err error) {
		v, err = c.nodes[i].View(c.t.Context())
		return err
	}); err != nil {
		c.t.Fatalf("View on node %d: %v", i, err)
	}
	return v
}

// ready waits until every running node serves.
func (c *testCluster) ready() {
	c.t.Helper()
	for _, n := range c.nodes {
		if n != nil {
			until(c.t, "node serves", func() bool { return n.Ready() == nil })
		}
	}
}

// leader waits for a leader that serves.
func (c *testCluster) leader() int {
	c.t.Helper()
	found := -1
	until(c.t, "a leader", func() bool {
		for i, n := range c.nodes {
			if n != nil && n.Status().Leads && n.Ready() == nil {
				found = i
				return true
			}
		}
		return false
	})
	return found
}

// split returns the leader and the other running nodes.
func (c *testCluster) split() (lead int, others []int) {
	c.t.Helper()
	lead = c.leader()
	for i, n := range c.nodes {
		if n != nil && i != lead {
			others = append(others, i)
		}
	}
	return lead, others
}

// followers returns the running nodes but the leader.
func (c *testCluster) followers() []int {
	c.t.Helper()
	_, others := c.split()
	return others
}

// forward makes a key through node i and returns its id.
func (c *testCluster) forward(i int) string {
	c.t.Helper()
	id := newKeyID()
	var reply []byte
	err := insist(c.t, fmt.Sprintf("Forward through node %d", i), func() (err error) {
		reply, err = c.nodes[i].Forward(c.t.Context(), []byte(id))
		return err
	})
	if err != nil || !strings.HasSuffix(string(reply), id) {
		c.t.Fatalf("Forward through node %d: %q, %v", i, reply, err)
	}
	return id
}

// has tells whether node i serves the key.
func (c *testCluster) has(i int, id string) bool {
	c.t.Helper()
	_, ok := c.view(i).Key(region, id)
	return ok
}

// seenAtOnce makes a key through a node and checks that every node serves it from
// then on.
func (c *testCluster) seenAtOnce(through int) {
	c.t.Helper()
	c.wantKeys([]string{c.forward(through)})
}

// wantKeys checks that every running node has the keys: at once, but for members that a
// leader did not wait for, which may serve their old state for up to a second.
func (c *testCluster) wantKeys(ids []string) {
	c.t.Helper()
	for i, n := range c.nodes {
		if n == nil {
			continue
		}
		lost := 0
		look := func() bool {
			lost = len(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return c.has(i, id) }))
			return lost == 0
		}
		if !look() && c.skips.Load() > 0 {
			until(c.t, fmt.Sprintf("node %d has the acknowledged keys", i), look)
		}
		if lost > 0 {
			c.t.Errorf("node %d lacks %d of %d acknowledged keys", i, lost, len(ids))
		}
	}
}

// wantEqual waits until the running nodes have applied the same and compares their
// states.
func (c *testCluster) wantEqual() {
	c.t.Helper()
	lead := c.nodes[c.leader()]
	want := lead.Machine().Snapshot()
	for i, n := range c.nodes {
		if n == nil {
			continue
		}
		until(c.t, fmt.Sprintf("node %d applies %d", i, want.Index()), func() bool { return n.Applied() >= want.Index() })
		if got := n.Machine().Snapshot(); got.Index() == want.Index() && got.Digest() != want.Digest() {
			c.t.Errorf("node %d has another state at index %d", i, got.Index())
		}
	}
}

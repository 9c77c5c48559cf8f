package testkit

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/service/kmsapi"
)

// Patience bounds every wait for a Cluster; none takes that long when all is well.
const Patience = 2 * time.Minute

// Cluster is real nodes in this process, on loopback, each with the service on it, an
// audit log that can be made to fail and a clock that the test sets.
type Cluster struct {
	Nodes []*ClusterNode

	t      *testing.T
	ids    []string
	change func(*ClusterNode, *service.Config) // nil for no change
	ahead  atomic.Int64                        // of all wall clocks, in nanoseconds

	mu    sync.Mutex
	addrs map[string]string // guarded by mu; by node ID
}

// ClusterNode is a member of a Cluster.
type ClusterNode struct {
	*cluster.Node // nil while it is stopped
	Service       *service.Service
	Trail         *Trail
	Clock         *Clock

	dir, audit string
	seal       seal.Sealer
}

// Clock is a node's clock. It runs, and somebody sets it.
type Clock struct {
	all  *atomic.Int64
	own  atomic.Int64 // of the wall clock, in nanoseconds
	boot atomic.Int64 // in nanoseconds
}

var began = time.Now()

// Boot returns the time since the process began, and what RunLonger added.
func (c *Clock) Boot() time.Duration {
	return time.Since(began) + time.Duration(c.boot.Load())
}

// Wall returns the wall clock.
func (c *Clock) Wall() time.Time {
	return time.Now().Add(time.Duration(c.all.Load() + c.own.Load()))
}

// Set sets the clock ahead of those of the other nodes.
func (c *Clock) Set(ahead time.Duration) { c.own.Store(int64(ahead)) }

// RunLonger lets the machine have run for longer. Only a node that is alone can bear
// that while it runs.
func (c *Clock) RunLonger(d time.Duration) { c.boot.Add(int64(d)) }

// StartCluster starts nodes and waits until they serve. They end with the test.
func StartCluster(t *testing.T, size int) *Cluster {
	t.Helper()
	return StartClusterWith(t, size, nil)
}

// StartClusterWith is StartCluster with services that are made as change wants them,
// each time that a node starts.
func StartClusterWith(t *testing.T, size int, change func(*ClusterNode, *service.Config)) *Cluster {
	t.Helper()
	c := &Cluster{t: t, change: change, addrs: map[string]string{}}
	cfg := cluster.InitConfig{Now: time.Now(), Genesis: c.genesis}
	for range size {
		base := t.TempDir()
		n := &ClusterNode{dir: filepath.Join(base, "data"), audit: filepath.Join(base, "audit"), seal: seal.NewMemory(), Clock: &Clock{all: &c.ahead}}
		c.Nodes = append(c.Nodes, n)
		cfg.Nodes = append(cfg.Nodes, cluster.InitNode{DataDir: n.dir, Seal: n.seal})
		trail, err := audit.Open(audit.Config{Dir: n.audit, Logger: slog.New(slog.DiscardHandler)})
		check(t, err)
		n.Trail = &Trail{Log: trail}
		t.Cleanup(func() { _ = trail.Close() })
	}
	founded, err := cluster.Init(t.Context(), cfg)
	check(t, err)
	c.ids = founded.NodeIDs
	t.Cleanup(c.stopAll)
	for i := range size {
		c.Start(i)
	}
	c.Ready()
	return c
}

func (c *Cluster) genesis(g *fsm.Genesis, k *crypto.Keyring) error {
	secret, err := k.Seal(service.SecretPurpose, AccessKey, []byte("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
	if err != nil {
		return err
	}
	g.OperatorAccount = Account
	g.Accounts = []fsm.Account{{ID: Account, Status: fsm.StatusActive}}
	g.AccessKeys = []fsm.AccessKey{{ID: AccessKey, Account: Account, Type: kms.PrincipalRoot, UniqueID: Account,
		Status: fsm.StatusActive, SecretTerm: 1, Secret: secret}}
	return nil
}

// Start starts a node that is stopped.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	n := c.Nodes[i]
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(c.t.Output(), nil)).With("i", i)
	}
	node, err := cluster.Open(c.t.Context(), cluster.Config{
		DataDir: n.dir, Seal: n.seal, ListenAddr: "127.0.0.1:0", Clock: n.Clock, Resolve: c.resolve, Logger: log,
	})
	check(c.t, err)
	c.mu.Lock()
	c.addrs[c.ids[i]] = node.Addr().String()
	c.mu.Unlock()
	config := kmsapi.Config{Keyring: node.Keyring(), Materials: crypto.NewMaterialCache(1000)}
	cfg := service.Config{
		Cluster: node, Keys: node.Keyring(), Trail: n.Trail, Rows: kmsapi.Rows(config), Due: kmsapi.Due(config), Managed: kmsapi.Managed(config),
		Logger: log, Now: n.Clock.Wall, DuePoll: 20 * time.Millisecond,
	}
	n.Node = node
	if c.change != nil {
		c.change(n, &cfg)
	}
	n.Service = service.New(cfg)
	node.Serve(cluster.Handlers{Execute: n.Service.Execute, Lead: n.Service.Lead})
}

func (c *Cluster) resolve(id string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, ok := c.addrs[id]
	return addr, ok
}

// Stop stops a node.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	node := c.Nodes[i].Node
	if node == nil {
		return
	}
	c.Nodes[i].Node = nil
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := node.Close(ctx); err != nil {
		c.t.Errorf("stopping node %d: %v", i, err)
	}
}

func (c *Cluster) stopAll() {
	var all sync.WaitGroup
	for i := range c.Nodes {
		all.Go(func() { c.Stop(i) })
	}
	all.Wait()
}

// Pass moves all wall clocks.
func (c *Cluster) Pass(d time.Duration) { c.ahead.Add(int64(d)) }

// Until polls ok, which the nodes decide, until it is true.
func (c *Cluster) Until(what string, ok func() bool) {
	c.t.Helper()
	if !Eventually(ok) {
		c.t.Fatalf("waited in vain: %s", what)
	}
}

// Eventually polls ok until it is true, and returns false when Patience ends before.
func Eventually(ok func() bool) bool {
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		}
	}
	return true
}

// Ready waits until every running node serves.
func (c *Cluster) Ready() {
	c.t.Helper()
	for _, n := range c.Nodes {
		if n.Node != nil {
			c.Until("a node serves", func() bool { return n.Ready() == nil })
		}
	}
}

// Leader waits for a leader that serves and returns its number.
func (c *Cluster) Leader() int {
	c.t.Helper()
	found := -1
	c.Until("a leader", func() bool {
		for i, n := range c.Nodes {
			if n.Node != nil && n.Status().Leads && n.Ready() == nil {
				found = i
			}
		}
		return found >= 0
	})
	return found
}

// View waits for a node to serve and returns its state.
func (c *Cluster) View(i int) *fsm.View {
	c.t.Helper()
	var view *fsm.View
	c.Until("a view", func() bool {
		v, err := c.Nodes[i].Node.View(c.t.Context())
		view = v
		return err == nil
	})
	return view
}

// Must makes a KMS call through a node until it is answered. Anything but success
// fails the test.
func (c *Cluster) Must(i int, op string, body JSON) JSON {
	c.t.Helper()
	out, refusal := c.Do(i, op, body)
	if refusal != nil {
		c.t.Fatalf("%s: %v", op, refusal)
	}
	return out
}

// Do makes a KMS call of Account's root user through a node, again under the same
// invocation id while nothing was done or nobody knows what was, as SDKs do. It returns
// the answer's object, nil for an empty body, or the refusal. Any goroutine may call it.
func (c *Cluster) Do(i int, op string, body JSON) (out JSON, refusal *kms.Error) {
	return c.DoAs(i, Root, op, body)
}

// DoAs is Do by another caller.
func (c *Cluster) DoAs(i int, who Caller, op string, body JSON) (out JSON, refusal *kms.Error) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	var raw []byte
	invocation := service.NewUUID()
	answered := Eventually(func() bool {
		raw, err = c.call(c.Nodes[i], who, op, text, invocation)
		refusal, _ = kms.AsError(err)
		return err == nil || kms.Info(refusal.Code).Fault == kms.FaultClient
	})
	switch {
	case err != nil:
		if !answered {
			c.t.Errorf("%s is not answered: %v", op, err)
		}
		return nil, refusal
	case len(raw) > 0 && json.Unmarshal(raw, &out) != nil:
		c.t.Errorf("%s answered %q", op, raw)
	}
	return out, nil
}

func (c *Cluster) call(n *ClusterNode, who Caller, op string, body []byte, invocation string) ([]byte, error) {
	session, err := n.Service.Open(c.t.Context())
	if err != nil {
		return nil, err
	}
	_, principal, ok := session.Secret(who.AccessKey, who.Token)
	if !ok {
		return nil, kms.ErrUnavailable
	}
	return session.Do(c.t.Context(), &service.Call{
		Service: "kms", Operation: op, Body: body, Region: who.Region, Principal: principal, SessionToken: who.Token,
		Source: Source, RequestID: service.NewUUID(), InvocationID: invocation,
	})
}

// Apply applies a command behind the services' backs, through whichever node leads.
func (c *Cluster) Apply(args fsm.Args) {
	c.t.Helper()
	var key fsm.ReqKey
	rand.Read(key[:])
	cmd, err := fsm.NewCommand(key, fsm.Meta{Time: time.Now().UnixMilli()}, args)
	check(c.t, err)
	c.Until("a command is applied", func() bool {
		result, _, err := c.Nodes[c.Leader()].Propose(c.t.Context(), cmd)
		if err == nil && (result.Err != nil || result.Conflict || result.Fatal != nil) {
			c.t.Fatalf("applying %T: %+v", args, result)
		}
		return err == nil
	})
}

// NewKey creates a key through a node and returns its id.
func (c *Cluster) NewKey(i int) string {
	c.t.Helper()
	return c.Must(i, "CreateKey", JSON{})["KeyMetadata"].(JSON)["KeyId"].(string)
}

// Events returns the records of a kind of event without a request in all nodes' audit
// logs.
func (c *Cluster) Events(name string) (out []JSON) {
	c.t.Helper()
	for _, n := range c.Nodes {
		out = append(out, eventsIn(c.t, n.audit, name)...)
	}
	return out
}

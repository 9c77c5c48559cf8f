package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kmsd/kmsd/cluster"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/durable"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// devCluster is a whole cluster in this process.
type devCluster struct {
	members []*member
	root    credential
	log     *slog.Logger
	remove  func() error // of temporary data

	mu    sync.Mutex
	addrs map[string]string // guarded by mu: node id → cluster address
}

// devFile is <data>/dev.json: what a restart needs to know of the cluster. It
// holds no secret.
type devFile struct {
	Account     string   `json:"account"`
	AccessKeyID string   `json:"accessKeyId"`
	NodeIDs     []string `json:"nodeIds"`
}

// startDev makes or opens the cluster and starts its nodes.
func startDev(ctx context.Context, d *devCmd, log *slog.Logger) (_ *devCluster, err error) {
	dir, remove, err := d.dataDir()
	if err != nil {
		return nil, err
	}
	c := &devCluster{log: log, remove: remove, addrs: map[string]string{}}
	defer func() {
		if err != nil {
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), devStop)
			defer cancel()
			err = errors.Join(err, c.stop(stopping))
		}
	}()
	sealer, err := d.sealer(dir)
	if err != nil {
		return nil, err
	}
	file, err := d.found(ctx, dir, sealer)
	if err != nil {
		return nil, err
	}
	for i, id := range file.NodeIDs {
		if err := c.startNode(ctx, d, i, id, nodeDir(dir, i), sealer); err != nil {
			return nil, fmt.Errorf("starting node %d: %w", i, err)
		}
	}
	return c, c.readRoot(ctx, d, file)
}

func nodeDir(dir string, i int) string { return filepath.Join(dir, "node"+strconv.Itoa(i)) }

// sealer returns what protects the root key: memory for a cluster that ends with
// the process, otherwise a key file beside the nodes' directories.
func (d *devCmd) sealer(dir string) (seal.Sealer, error) {
	if d.Data == "" {
		return seal.NewMemory(), nil
	}
	path := filepath.Join(dir, "seal.key")
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return seal.CreateFile(path)
	}
	return seal.OpenFile(path)
}

const devFileName = "dev.json"

// found returns the cluster's description, after making the cluster where there
// is none.
func (d *devCmd) found(ctx context.Context, dir string, sealer seal.Sealer) (devFile, error) {
	path := filepath.Join(dir, devFileName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d.initialize(ctx, dir, sealer)
	}
	var file devFile
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	switch {
	case err != nil:
		return devFile{}, fmt.Errorf("reading %s: %w", path, err)
	case file.Account != d.Account:
		return devFile{}, fmt.Errorf("the cluster in %s belongs to account %s: give --account %s", dir, file.Account, file.Account)
	case len(file.NodeIDs) != d.Nodes:
		return devFile{}, fmt.Errorf("the cluster in %s has %d nodes: give --nodes %d", dir, len(file.NodeIDs), len(file.NodeIDs))
	}
	return file, nil
}

// initialize makes the cluster. The description is written last: a crash before
// leaves directories that the next start refuses and names.
func (d *devCmd) initialize(ctx context.Context, dir string, sealer seal.Sealer) (devFile, error) {
	root := credential{d.AccessKeyID, d.SecretAccessKey}
	if root.id == "" {
		root = newCredential()
	}
	nodes := make([]cluster.InitNode, d.Nodes)
	for i := range nodes {
		nodes[i] = cluster.InitNode{DataDir: nodeDir(dir, i), Seal: sealer}
	}
	now := time.Now()
	founded, err := cluster.Init(ctx, cluster.InitConfig{
		Nodes: nodes, Now: now,
		Genesis: func(g *fsm.Genesis, keyring *kmscrypto.Keyring) error {
			return addOperator(g, keyring, d.Account, root, now)
		},
	})
	if err != nil {
		return devFile{}, fmt.Errorf("making the cluster: %w", err)
	}
	file := devFile{Account: d.Account, AccessKeyID: root.id, NodeIDs: founded.NodeIDs}
	text, err := json.Marshal(file)
	if err != nil {
		return devFile{}, err
	}
	return file, durable.WriteFile(filepath.Join(dir, devFileName), text)
}

// addOperator puts the operator account and its root user's access key into the
// cluster's first command.
func addOperator(g *fsm.Genesis, keyring *kmscrypto.Keyring, account string, root credential, now time.Time) error {
	sealed, err := keyring.Seal(service.SecretPurpose, root.id, []byte(root.secret))
	if err != nil {
		return fmt.Errorf("sealing the root credential: %w", err)
	}
	g.OperatorAccount = account
	g.Accounts = []fsm.Account{{ID: account, Created: now.UnixMilli(), Status: fsm.StatusActive}}
	g.AccessKeys = []fsm.AccessKey{{
		ID: root.id, Account: account, Type: kms.PrincipalRoot, UniqueID: account,
		Status: fsm.StatusActive, Created: now.UnixMilli(), SecretTerm: 1, Secret: sealed,
	}}
	return nil
}

// startNode starts node i with listeners on loopback.
func (c *devCluster) startNode(ctx context.Context, d *devCmd, i int, id, dir string, sealer seal.Sealer) error {
	api, err := net.Listen("tcp", d.apiAddr(i))
	if err != nil {
		return err
	}
	metrics, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, api.Close())
	}
	m, err := openMember(ctx, memberConfig{
		dataDir: dir, seal: sealer, api: []net.Listener{api}, metrics: metrics,
		clusterAddr: "127.0.0.1:0", resolve: c.resolve, auditDir: filepath.Join(dir, "audit"), log: c.log, usageEvery: d.usageEvery,
	})
	if err != nil {
		return errors.Join(err, api.Close(), metrics.Close())
	}
	c.mu.Lock()
	c.addrs[id] = m.node.Addr().String()
	c.mu.Unlock()
	m.serve(ctx)
	c.members = append(c.members, m)
	c.log.Info("node started", "index", i, "endpoint", c.endpoint(i), "metrics", "http://"+metrics.Addr().String()+"/metrics", "node", id)
	return nil
}

// apiAddr is the address of node i's API.
func (d *devCmd) apiAddr(i int) string {
	host, port, _ := net.SplitHostPort(d.Listen) // checked by Validate
	n, _ := strconv.Atoi(port)
	if n != 0 {
		n += i
	}
	return net.JoinHostPort(host, strconv.Itoa(n))
}

func (c *devCluster) endpoint(i int) string {
	return "http://" + c.members[i].cfg.api[0].Addr().String()
}

// resolve finds a member's cluster port, which the kernel chose.
func (c *devCluster) resolve(nodeID string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, ok := c.addrs[nodeID]
	return addr, ok
}

// readyPoll is how often a starting cluster looks whether it is ready.
const readyPoll = 20 * time.Millisecond

// awaitReady returns when every node may serve.
func (c *devCluster) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for _, m := range c.members {
		for {
			err := m.service.Ready(ctx)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the cluster did not become ready: %w", err)
			case <-m.node.Fatal():
				code, err := m.node.FatalError()
				return &exitError{code, err}
			case <-tick.C:
			}
		}
	}
	return nil
}

// readRoot finds the root credential in the cluster's state, which alone keeps
// the secret.
func (c *devCluster) readRoot(ctx context.Context, d *devCmd, file devFile) error {
	starting, cancel := context.WithTimeout(ctx, devStart)
	defer cancel()
	if err := c.awaitReady(starting); err != nil {
		return err
	}
	node := c.members[0].node
	view, err := node.View(starting)
	if err != nil {
		return err
	}
	key, ok := view.AccessKey(file.AccessKeyID)
	if !ok {
		return fmt.Errorf("access key %s of %s does not exist", file.AccessKeyID, devFileName)
	}
	secret, err := node.Keyring().Open(service.SecretPurpose, key.ID, key.Secret)
	if err != nil {
		return fmt.Errorf("opening the root credential: %w", err)
	}
	c.root = credential{key.ID, string(secret)}
	if d.AccessKeyID != "" && c.root != (credential{d.AccessKeyID, d.SecretAccessKey}) {
		return errors.New("KMSD_ROOT_ACCESS_KEY_ID and KMSD_ROOT_SECRET_ACCESS_KEY are not the credential that this cluster was made with")
	}
	return nil
}

// watch returns when ctx ends, or when a member cannot go on.
func (c *devCluster) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, len(c.members))
	for _, m := range c.members {
		go func() { ends <- m.watch(ctx) }()
	}
	err := <-ends
	cancel()
	for range len(c.members) - 1 {
		<-ends
	}
	return err
}

// stop ends all members and removes temporary data. The leader comes last: it need
// not look for a member to hand over to.
func (c *devCluster) stop(ctx context.Context) error {
	followers, leaders := c.members, []*member(nil)
	if i := slices.IndexFunc(c.members, func(m *member) bool { return m.node.Status().Leads }); i >= 0 {
		followers, leaders = slices.Delete(slices.Clone(c.members), i, i+1), c.members[i:i+1]
	}
	return errors.Join(stopAll(ctx, followers), stopAll(ctx, leaders), c.remove())
}

// stopAll ends members at once.
func stopAll(ctx context.Context, members []*member) error {
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { errs[i] = m.stop(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

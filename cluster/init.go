package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/durable"
)

// InitConfig says how to make a cluster.
type InitConfig struct {
	// Nodes are the first members, 1, 3 or 5. The first one bootstraps.
	Nodes []InitNode
	// Genesis completes the cluster's first command: what a cluster knows of itself
	// (identity, version, members, keyring, authorities, gossip key) is filled in
	// already. The keyring seals
	// the secrets of records under term 1. Required.
	Genesis func(g *fsm.Genesis, keyring *kmscrypto.Keyring) error
	// Now is the wall clock's time, for certificates and records. Required.
	Now time.Time
	// Announce is called when everything is written but what makes the directories
	// nodes': whoever is told the cluster's secrets is told before a node can start
	// without anybody knowing them. They are worth nothing unless Init succeeds, which it
	// does not when Announce fails. nil: nobody is told.
	Announce func(*Founded) error
}

// InitNode is one member to be made.
type InitNode struct {
	// DataDir is the member's directory. It must be empty or absent.
	DataDir string
	// Seal protects the root key on the member's disk.
	Seal seal.Sealer
	// Advertise is where the other members reach the cluster port, host:port; the
	// host may be a name. Required unless all nodes are given a Resolve function.
	Advertise string
	// APIAddress is where clients reach the member; empty if it is not to be shown.
	APIAddress string
}

// A Founded cluster is what Init made.
type Founded struct {
	ClusterID string
	NodeIDs   []string // in the order of InitConfig.Nodes
}

// Init makes a cluster: identities, authority, certificates, root key, keyring and
// the first command, written into one directory for each member. No member may
// run. When it fails, the directories that it had begun have no node.json and Open
// refuses them; they are left for the caller to remove.
func Init(ctx context.Context, cfg InitConfig) (*Founded, error) {
	if n := len(cfg.Nodes); n != 1 && n != 3 && n != 5 {
		return nil, fmt.Errorf("a cluster begins with 1, 3 or 5 nodes, not %d", n)
	}
	f, err := newFounder(cfg)
	if err != nil {
		return nil, err
	}
	for i := range cfg.Nodes {
		if err := f.writeNode(ctx, i); err != nil {
			return nil, fmt.Errorf("making %s: %w", cfg.Nodes[i].DataDir, err)
		}
	}
	out := &Founded{ClusterID: f.clusterID}
	for _, m := range f.members {
		out.NodeIDs = append(out.NodeIDs, m.file.NodeID)
	}
	if cfg.Announce != nil {
		if err := cfg.Announce(out); err != nil {
			return nil, err
		}
	}
	// Last, and the bootstrapping node after the others: from here on it may start.
	for i := len(f.members) - 1; i >= 0; i-- {
		if err := dataDir(cfg.Nodes[i].DataDir).writeJSON(fileNode, f.members[i].file); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// A founder holds what the members of a new cluster share.
type founder struct {
	cfg       InitConfig
	clusterID string
	authority *trust.Authority
	root      *kmscrypto.Root
	entry     []byte // the sealed genesis
	members   []member
}

type member struct {
	file nodeFile
	key  *ecdsa.PrivateKey
	cert []byte
	spki [32]byte
}

func newFounder(cfg InitConfig) (*founder, error) {
	f := &founder{cfg: cfg, clusterID: newUUID(), root: kmscrypto.NewRoot()}
	var err error
	if f.authority, err = trust.NewAuthority(f.clusterID, cfg.Now); err != nil {
		return nil, err
	}
	for i := range cfg.Nodes {
		m, err := f.newMember(i)
		if err != nil {
			return nil, err
		}
		f.members = append(f.members, m)
	}
	f.entry, err = f.sealGenesis()
	return f, err
}

func (f *founder) newMember(i int) (m member, err error) {
	m.file = nodeFile{Format: nodeFormat, ClusterID: f.clusterID, NodeID: newUUID(), Bootstrap: i == 0}
	if m.key, err = trust.NewKey(); err != nil {
		return m, err
	}
	if m.cert, err = f.authority.Issue(m.file.NodeID, &m.key.PublicKey, f.cfg.Now); err != nil {
		return m, err
	}
	creds, err := trust.NewCredentials(m.cert, m.key, trust.EncodeBundle([][]byte{f.authority.Certificate()}))
	if err != nil {
		return m, err
	}
	m.spki = creds.Identity().SPKI
	return m, nil
}

// sealGenesis makes the first log entry. It is sealed under term 0, because it is
// what brings term 1.
func (f *founder) sealGenesis() ([]byte, error) {
	first := kmscrypto.NewKeyring(f.clusterID, f.root)
	wrapped, err := first.NewTerm(1)
	if err != nil {
		return nil, err
	}
	now := f.cfg.Now.UnixMilli()
	g := fsm.Genesis{
		ClusterID: f.clusterID, ClusterVersion: fsm.NewestVersion,
		Keyring: []fsm.KeyringTerm{{Term: 1, Wrapped: wrapped, Created: now}},
	}
	for i, m := range f.members {
		g.Nodes = append(g.Nodes, fsm.NodeRecord{
			ID: m.file.NodeID, SPKI: m.spki, Added: now, CertIssuer: f.authority.SPKI(), Version: fsm.NewestVersion,
			Address: f.cfg.Nodes[i].Advertise, APIAddress: f.cfg.Nodes[i].APIAddress,
		})
	}
	records := kmscrypto.NewKeyring(f.clusterID, f.root)
	if err := records.Load(map[uint32][]byte{1: wrapped}); err != nil {
		return nil, err
	}
	if err := f.addAuthorities(&g, records); err != nil {
		return nil, err
	}
	if err := f.cfg.Genesis(&g, records); err != nil {
		return nil, fmt.Errorf("completing the cluster's first command: %w", err)
	}
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{Time: now}, &g)
	if err != nil {
		return nil, err
	}
	return sealEntry(first, fsm.NewestVersion, cmd)
}

// addAuthorities puts the authorities and the first gossip key into the first
// command.
func (f *founder) addAuthorities(g *fsm.Genesis, keyring *kmscrypto.Keyring) error {
	current, err := sealAuthority(keyring, f.authority)
	if err != nil {
		return err
	}
	api, err := newAPIAuthority(keyring, f.cfg.Now)
	if err != nil {
		return err
	}
	key, err := newGossipKey(keyring)
	if err != nil {
		return err
	}
	g.Authority = &fsm.Authority{Current: current, Trusted: [][]byte{current.Cert}, API: api}
	g.GossipKeys = &fsm.GossipKeys{Keys: [][]byte{key}}
	return nil
}

// writeNode writes everything of a member but node.json.
func (f *founder) writeNode(ctx context.Context, i int) error {
	dir, m := dataDir(f.cfg.Nodes[i].DataDir), &f.members[i]
	if err := mustBeEmpty(string(dir)); err != nil {
		return err
	}
	return dir.writeIdentity(ctx, identityFiles{
		file: m.file, seal: f.cfg.Nodes[i].Seal, root: f.root, key: m.key, cert: m.cert,
		bundle: trust.EncodeBundle([][]byte{f.authority.Certificate()}), peers: f.peers(), first: fileGenesis, entry: f.entry,
	})
}

// identityFiles is everything of a member but node.json.
type identityFiles struct {
	file   nodeFile
	seal   seal.Sealer
	root   *kmscrypto.Root
	key    *ecdsa.PrivateKey
	cert   []byte // PEM
	bundle []byte // PEM
	peers  map[string]peer
	first  string // name of the file that allows the first start
	entry  []byte // its content
}

// writeIdentity makes a member's directory. node.json, which makes it a node's, is
// left for the caller to write last.
func (d dataDir) writeIdentity(ctx context.Context, f identityFiles) error {
	for _, name := range []string{dirTLS, dirSeal, dirRaft} {
		if err := durable.MkdirAll(d.path(name)); err != nil {
			return err
		}
	}
	return errors.Join(
		d.sealRoot(ctx, f.seal, f.file, f.root),
		d.write(fileAuthority, f.bundle),
		d.write(fileCert, f.cert),
		d.writeKey(fileKey, f.file.NodeID, f.key, f.root),
		d.write(f.first, f.entry),
		d.writePeers(f.peers),
	)
}

func (f *founder) peers() map[string]peer {
	out := map[string]peer{}
	for i, m := range f.members {
		out[m.file.NodeID] = peer{spki: m.spki, address: f.cfg.Nodes[i].Advertise}
	}
	return out
}

func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("the directory is not empty")
	}
	return nil
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

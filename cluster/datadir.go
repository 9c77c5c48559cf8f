package cluster

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/internal/durable"
)

// The files of a node. All but node.json, peers.json, the certificates and
// seal/current are sealed.
const (
	fileNode      = "node.json"
	filePeers     = "peers.json"
	fileGenesis   = "genesis" // the first log entry, until it is applied
	fileCert      = "tls/node.crt"
	fileKey       = "tls/node.key"
	fileAuthority = "tls/ca.pem"
	fileCAKey     = "tls/ca.key"
	fileCurrent   = "seal/current" // names the root key
	dirRaft       = "raft"
	maxFile       = 1 << 20 // bytes of any of them

	purposeNodeKey = "kmsd/node-key/v1"
	purposeCAKey   = "kmsd/ca-key/v1"
	rootAAD        = "kmsd/root/v1"
	nodeFormat     = 1
)

// dataDir is a node's directory.
type dataDir string

// nodeFile is node.json. It is written last when a directory is made: a directory
// without it is no node's.
type nodeFile struct {
	Format    int    `json:"format"`
	ClusterID string `json:"clusterId"`
	NodeID    string `json:"nodeId"`
	// Starts counts the starts of this node. Peers tell by it that a Beat's answer
	// comes from another process than the last one.
	Starts uint64 `json:"starts"`
	// Bootstrap tells that this node may make the cluster out of its first members,
	// once, while the file genesis is there.
	Bootstrap bool `json:"bootstrap,omitempty"`
}

// peerFile is an element of peers.json: the members that this node accepts until
// it has caught up with the state.
type peerFile struct {
	NodeID string `json:"nodeId"`
	SPKI   string `json:"spki"` // hexadecimal
}

func (d dataDir) path(name string) string { return filepath.Join(string(d), filepath.FromSlash(name)) }

func (d dataDir) read(name string) ([]byte, error) {
	return durable.ReadPrivate(d.path(name), maxFile)
}

func (d dataDir) write(name string, data []byte) error { return durable.WriteFile(d.path(name), data) }

func (d dataDir) readJSON(name string, into any) error {
	data, err := d.read(name)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	return nil
}

func (d dataDir) writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return d.write(name, append(data, '\n'))
}

// ErrNoNode is returned by Open for a directory that holds no node.
var ErrNoNode = errors.New("the directory holds no node of a cluster")

func (d dataDir) mustBeNode() error {
	_, err := os.Stat(d.path(fileNode))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", string(d), ErrNoNode)
	}
	return err
}

// start reads node.json and counts this start, durably, before anybody hears of
// it.
func (d dataDir) start() (nodeFile, error) {
	var f nodeFile
	if err := d.readJSON(fileNode, &f); err != nil {
		return f, err
	}
	if f.Format != nodeFormat {
		return f, fmt.Errorf("%s has format %d, this build reads %d", fileNode, f.Format, nodeFormat)
	}
	f.Starts++
	return f, d.writeJSON(fileNode, f)
}

func (d dataDir) peers() (map[string][32]byte, error) {
	var list []peerFile
	if err := d.readJSON(filePeers, &list); err != nil {
		return nil, err
	}
	out := make(map[string][32]byte, len(list))
	for _, p := range list {
		b, err := hex.DecodeString(p.SPKI)
		if err != nil || len(b) != 32 {
			return nil, fmt.Errorf("reading %s: a malformed key hash", filePeers)
		}
		out[p.NodeID] = [32]byte(b)
	}
	return out, nil
}

func (d dataDir) writePeers(list []peerFile) error { return d.writeJSON(filePeers, list) }

// sealRoot puts the root key under the node's own seal.
func (d dataDir) sealRoot(ctx context.Context, s seal.Sealer, f nodeFile, root *kmscrypto.Root) error {
	sealed, err := s.Seal(ctx, root.Bytes(), f.rootAAD(root.ID()))
	if err != nil {
		return fmt.Errorf("sealing the root key: %w", err)
	}
	if err := d.write(rootFile(root.ID()), sealed); err != nil {
		return err
	}
	return d.write(fileCurrent, []byte(root.ID()+"\n"))
}

// unseal opens the root key with the node's own seal.
func (d dataDir) unseal(ctx context.Context, s seal.Sealer, f nodeFile) (*kmscrypto.Root, error) {
	current, err := d.read(fileCurrent)
	if err != nil {
		return nil, err
	}
	id := strings.TrimSpace(string(current))
	if _, err := hex.DecodeString(id); err != nil {
		return nil, fmt.Errorf("%s names no root key", fileCurrent)
	}
	sealed, err := d.read(rootFile(id))
	if err != nil {
		return nil, err
	}
	key, err := s.Open(ctx, sealed, f.rootAAD(id))
	if err != nil {
		return nil, fmt.Errorf("unsealing the root key: %w", err)
	}
	root, err := kmscrypto.ParseRoot(key)
	if err != nil {
		return nil, err
	}
	if root.ID() != id {
		return nil, fmt.Errorf("the seal gave root key %s instead of %s", root.ID(), id)
	}
	return root, nil
}

func rootFile(id string) string { return "seal/root." + id + ".sealed" }

func (f *nodeFile) rootAAD(rootID string) []byte {
	return []byte(rootAAD + "\x00" + f.ClusterID + "\x00" + f.NodeID + "\x00" + rootID)
}

func (d dataDir) readGenesis() ([]byte, error) { return d.read(fileGenesis) }

func (d dataDir) hasGenesis() (bool, error) {
	_, err := os.Stat(d.path(fileGenesis))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// credentials reads the node's certificate and key.
func (d dataDir) credentials(f nodeFile, root *kmscrypto.Root) (*trust.Credentials, error) {
	cert, err := d.read(fileCert)
	if err != nil {
		return nil, err
	}
	authority, err := d.read(fileAuthority)
	if err != nil {
		return nil, err
	}
	sealed, err := d.read(fileKey)
	if err != nil {
		return nil, err
	}
	der, err := root.Open(purposeNodeKey, f.NodeID, sealed)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", fileKey, err)
	}
	defer kmscrypto.Wipe(der)
	key, err := trust.ParseKey(der)
	if err != nil {
		return nil, err
	}
	creds, err := trust.NewCredentials(cert, key, authority)
	if err != nil {
		return nil, err
	}
	if id := creds.Identity(); id.NodeID != f.NodeID || id.ClusterID != f.ClusterID {
		return nil, fmt.Errorf("%s is for node %s of cluster %s", fileCert, id.NodeID, id.ClusterID)
	}
	return creds, nil
}

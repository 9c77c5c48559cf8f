package cluster

import (
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
	fileNextKey   = "tls/next.key" // of a certificate that is being renewed
	fileCurrent   = "seal/current" // names the root key
	fileJoined    = "joined"       // empty; until the node has the cluster's state
	filePending   = "join.json"    // a join that is under way
	fileGossip    = "gossip.keys"  // gossip's keys, until the node has the cluster's state
	fileErased    = "erased.json"  // how far the disk is clear of destroyed secrets
	fileRemoved   = "REMOVED"
	dirTLS        = "tls"
	dirSeal       = "seal"
	dirRaft       = "raft"
	maxFile       = 1 << 20 // bytes of any of them

	purposeNodeKey = "kmsd/node-key/v1"
	purposeKept    = "kmsd/gossip-kept/v1"
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

// peerFile is an element of peers.json: the members that this node accepts, and
// where it looks for them, until it has caught up with the state.
type peerFile struct {
	NodeID string `json:"nodeId"`
	SPKI   string `json:"spki"`           // hexadecimal
	Next   string `json:"next,omitempty"` // of a key that is about to replace it
	// Address is where the member was reached last: host:port.
	Address string `json:"address,omitempty"`
}

// A peer is a member that this node remembers.
type peer struct {
	spki    [32]byte
	next    [32]byte // of a key that is about to replace it; zero for none
	address string   // "" if it was not known
}

// owns tells whether a public key is the member's, or is about to be.
func (p peer) owns(spki [32]byte) bool {
	return spki == p.spki || p.next != [32]byte{} && spki == p.next
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

// ErrJoining is returned by Open for a directory in which joining was begun and not
// finished. JoinCluster takes it up.
var ErrJoining = errors.New("joining was interrupted: join again, with the same directory")

// ErrRemoved is returned for the directory of a node that was removed from its
// cluster, or has left it. FatalError gives it, with exit code 0, when a running
// node learns so.
var ErrRemoved = errors.New("this node was removed from its cluster: wipe its data directory before you join again")

// mustBelong refuses a directory that is no node's, or not any more.
func (d dataDir) mustBelong() error {
	removed, err := d.has(fileRemoved)
	if err != nil || removed {
		return errors.Join(err, d.finishLeaving(), ErrRemoved)
	}
	if node, err := d.has(fileNode); err != nil || node {
		return err
	}
	pending, err := d.has(filePending)
	switch {
	case err != nil:
		return err
	case pending:
		return fmt.Errorf("%s: %w", string(d), ErrJoining)
	default:
		return fmt.Errorf("%s: %w", string(d), ErrNoNode)
	}
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

func (d dataDir) peers() (map[string]peer, error) {
	var list []peerFile
	if err := d.readJSON(filePeers, &list); err != nil {
		return nil, err
	}
	out := make(map[string]peer, len(list))
	for _, p := range list {
		spki, ok := parseHash(p.SPKI)
		next, fine := parseHash(p.Next)
		if !ok || !fine && p.Next != "" {
			return nil, fmt.Errorf("reading %s: a malformed key hash", filePeers)
		}
		out[p.NodeID] = peer{spki, next, p.Address}
	}
	return out, nil
}

// parseHash reads the hexadecimal form of a hash. Anything else gives zero.
func parseHash(text string) (hash [32]byte, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(hash) {
		return hash, false
	}
	return [32]byte(b), true
}

func (d dataDir) writePeers(peers map[string]peer) error {
	list := make([]peerFile, 0, len(peers))
	for _, id := range slices.Sorted(maps.Keys(peers)) {
		p := peers[id]
		f := peerFile{NodeID: id, SPKI: hex.EncodeToString(p.spki[:]), Address: p.address}
		if p.next != [32]byte{} {
			f.Next = hex.EncodeToString(p.next[:])
		}
		list = append(list, f)
	}
	return d.writeJSON(filePeers, list)
}

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

// has tells whether a file is there.
func (d dataDir) has(name string) (bool, error) {
	_, err := os.Stat(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// credentials reads the node's certificate and key. A renewal that was interrupted
// is finished, or forgotten if the new certificate was not written.
func (d dataDir) credentials(f nodeFile, root *kmscrypto.Root) (*trust.Credentials, error) {
	creds, err := d.readCredentials(f, root, fileKey)
	next, other := d.has(fileNextKey)
	switch {
	case other != nil:
		return nil, other
	case next && errors.Is(err, trust.ErrOtherKey):
		if creds, err = d.readCredentials(f, root, fileNextKey); err == nil {
			err = durable.Rename(d.path(fileNextKey), d.path(fileKey))
		}
	case next && err == nil:
		err = durable.Remove(d.path(fileNextKey))
	}
	if err != nil {
		return nil, err
	}
	if id := creds.Identity(); id.NodeID != f.NodeID || id.ClusterID != f.ClusterID {
		return nil, fmt.Errorf("%s is for node %s of cluster %s", fileCert, id.NodeID, id.ClusterID)
	}
	return creds, nil
}

func (d dataDir) readCredentials(f nodeFile, root *kmscrypto.Root, keyFile string) (*trust.Credentials, error) {
	cert, err := d.read(fileCert)
	if err != nil {
		return nil, err
	}
	bundle, err := d.read(fileAuthority)
	if err != nil {
		return nil, err
	}
	sealed, err := d.read(keyFile)
	if err != nil {
		return nil, err
	}
	der, err := root.Open(purposeNodeKey, f.NodeID, sealed)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", keyFile, err)
	}
	defer kmscrypto.Wipe(der)
	key, err := trust.ParseKey(der)
	if err != nil {
		return nil, err
	}
	return trust.NewCredentials(cert, key, bundle)
}

// writeKey seals a node's private key under the root key.
func (d dataDir) writeKey(name, nodeID string, key *ecdsa.PrivateKey, root *kmscrypto.Root) error {
	der, err := trust.MarshalKey(key)
	if err != nil {
		return err
	}
	defer kmscrypto.Wipe(der)
	return d.write(name, root.Seal(purposeNodeKey, nodeID, der))
}

// readGossipKeys returns nil if there are none.
func (d dataDir) readGossipKeys(nodeID string, root *kmscrypto.Root) (*keptKeys, error) {
	if has, err := d.has(fileGossip); err != nil || !has {
		return nil, err
	}
	sealed, err := d.read(fileGossip)
	if err != nil {
		return nil, err
	}
	plain, err := root.Open(purposeKept, nodeID, sealed)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", fileGossip, err)
	}
	defer kmscrypto.Wipe(plain)
	kept := new(keptKeys)
	if err := decodeCBOR(plain, kept); err != nil {
		return nil, fmt.Errorf("reading %s: %w", fileGossip, err)
	}
	return kept, nil
}

func (d dataDir) writeGossipKeys(nodeID string, root *kmscrypto.Root, k *keptKeys) error {
	plain := encodeCBOR(k)
	defer kmscrypto.Wipe(plain)
	return d.write(fileGossip, root.Seal(purposeKept, nodeID, plain))
}

// markLeft ends the file REMOVED of a node that has left: its keys and its log are to
// be erased. A node that others have removed keeps them until it is wiped.
const markLeft = "left\n"

// finishLeaving erases what a node that has left could not erase because it ended
// before.
func (d dataDir) finishLeaving() error {
	text, err := d.read(fileRemoved)
	if err != nil || !strings.HasSuffix(string(text), "\n"+markLeft) {
		return err
	}
	lock, err := durable.LockDir(string(d))
	if err != nil {
		return err
	}
	return errors.Join(d.erase(), lock.Release())
}

// erase removes what a node that has left must not leave behind: keys and log.
func (d dataDir) erase() error {
	var errs []error
	for _, name := range []string{dirSeal, dirTLS, dirRaft, fileGossip} {
		errs = append(errs, os.RemoveAll(d.path(name)))
	}
	return errors.Join(append(errs, durable.SyncDir(string(d)))...)
}

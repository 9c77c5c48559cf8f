package testkit

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/fsm"
)

// A Loot is what a thief makes of a copy of a member's data directory and of the key
// file of its seal. The copy was made while the node did not run.
type Loot struct {
	ClusterID, NodeID string
	// Key is the member's private key.
	Key *ecdsa.PrivateKey

	dir    string
	root   *kmscrypto.Root
	papers *Papers
	issuer [32]byte
}

// Steal opens what can be opened.
func Steal(ctx context.Context, dataDir, sealFile string) (*Loot, error) {
	l := &Loot{dir: dataDir}
	if err := l.open(ctx, sealFile); err != nil {
		return nil, fmt.Errorf("stealing the node in %s: %w", dataDir, err)
	}
	return l, nil
}

// Papers are the member's own: its key and the certificate on its disk.
func (l *Loot) Papers() *Papers { return l.papers }

// Issuer returns the hash of the public key of the authority that has issued the
// certificate.
func (l *Loot) Issuer() [32]byte { return l.issuer }

func (l *Loot) open(ctx context.Context, sealFile string) error {
	var node struct{ ClusterID, NodeID string }
	text, err := l.read("node.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &node); err != nil {
		return err
	}
	l.ClusterID, l.NodeID = node.ClusterID, node.NodeID
	if err := l.unseal(ctx, sealFile); err != nil {
		return err
	}
	sealed, err := l.read("tls/node.key")
	if err != nil {
		return err
	}
	der, err := l.root.Open("kmsd/node-key/v1", l.NodeID, sealed)
	if err != nil {
		return err
	}
	if l.Key, err = trust.ParseKey(der); err != nil {
		return err
	}
	cert, err := l.read("tls/node.crt")
	if err != nil {
		return err
	}
	bundle, err := l.read("tls/ca.pem")
	if err != nil {
		return err
	}
	creds, err := trust.NewCredentials(cert, l.Key, bundle)
	if err != nil {
		return err
	}
	l.issuer = creds.Issuer()
	l.papers, err = newPapers(cert, l.Key)
	return err
}

func (l *Loot) read(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(l.dir, filepath.FromSlash(name)))
}

func (l *Loot) unseal(ctx context.Context, sealFile string) error {
	current, err := l.read("seal/current")
	if err != nil {
		return err
	}
	id := strings.TrimSpace(string(current))
	sealed, err := l.read("seal/root." + id + ".sealed")
	if err != nil {
		return err
	}
	sealer, err := seal.OpenFile(sealFile)
	if err != nil {
		return err
	}
	secret, err := sealer.Open(ctx, sealed, []byte(strings.Join([]string{"kmsd/root/v1", l.ClusterID, l.NodeID, id}, "\x00")))
	if err != nil {
		return err
	}
	l.root, err = kmscrypto.ParseRoot(secret)
	return err
}

// Authorities opens the snapshots and the log, and returns what signs certificates
// in the last state that they give: the authority of the nodes, and the one of the
// API as if it were such a one.
func (l *Loot) Authorities() (nodes, api *Authority, err error) {
	r := &replay{machine: fsm.New(), keyring: kmscrypto.NewKeyring(l.ClusterID, l.root)}
	if err := r.run(filepath.Join(l.dir, "raft")); err != nil {
		return nil, nil, fmt.Errorf("opening the state in %s: %w", l.dir, err)
	}
	rec := r.machine.View().Authority()
	if rec == nil {
		return nil, nil, fmt.Errorf("the state in %s has no authority", l.dir)
	}
	if nodes, err = r.authority("kmsd/ca/v1", &rec.Current); err != nil {
		return nil, nil, err
	}
	api, err = r.authority("kmsd/api-ca/v1", &rec.API)
	return nodes, api, err
}

// A replay makes the state of a directory in which no node runs, as its Raft would.
type replay struct {
	machine *fsm.Machine
	keyring *kmscrypto.Keyring
}

func (r *replay) authority(purpose string, rec *fsm.AuthorityKey) (*trust.Authority, error) {
	key, err := r.keyring.Open(purpose, r.keyring.ClusterID(), rec.SealedKey)
	if err != nil {
		return nil, err
	}
	return trust.LoadAuthority(r.keyring.ClusterID(), rec.Cert, key)
}

func (r *replay) run(dir string) error {
	if err := r.snapshot(dir); err != nil {
		return err
	}
	store, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, "raft.db"), MsgpackUseNewTimeFormat: true})
	if err != nil {
		return err
	}
	defer store.Close()
	last, err := store.LastIndex()
	if err != nil {
		return err
	}
	for index := r.machine.Index() + 1; index <= last; index++ {
		var log raft.Log
		if err := store.GetLog(index, &log); err != nil {
			return err
		}
		if err := r.apply(&log); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
	}
	return nil
}

// snapshot restores the newest one, if there is any.
func (r *replay) snapshot(dir string) error {
	store, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
	if err != nil {
		return err
	}
	list, err := store.List()
	if err != nil || len(list) == 0 {
		return err
	}
	_, stream, err := store.Open(list[0].ID)
	if err != nil {
		return err
	}
	defer stream.Close()
	plain, err := r.keyring.OpenStream(stream)
	if err != nil {
		return err
	}
	if err := r.machine.Restore(plain); err != nil {
		return err
	}
	return r.load()
}

func (r *replay) apply(log *raft.Log) error {
	if log.Type != raft.LogCommand {
		return nil
	}
	h, body, err := r.keyring.OpenEntry(log.Data)
	if err != nil {
		return err
	}
	r.machine.Apply(log.Index, fsm.Command{Type: fsm.Type(h.Type), Version: h.Version, ReqKey: h.ReqKey, Body: body})
	return r.load()
}

// load gives the keyring the terms of the state.
func (r *replay) load() error {
	wrapped := map[uint32][]byte{}
	for _, t := range r.machine.View().Keyring() {
		wrapped[t.Term] = t.Wrapped
	}
	return r.keyring.Load(wrapped)
}

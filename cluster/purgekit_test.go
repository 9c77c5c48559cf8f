package cluster_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

const day = 24 * int64(time.Hour/time.Millisecond)

// purgeAtOnce makes nodes clear their disks as soon as there is something to clear.
func purgeAtOnce(_ int, cfg *cluster.Config) {
	cfg.SetPurge(5*time.Millisecond, 20*time.Millisecond)
	cfg.SetPurgeRetry(100 * time.Millisecond)
}

// A doomed secret is to be found in no file once it was destroyed.
type doomed struct {
	keyID  string
	sealed []byte   // as it stands in the state
	raw    [][]byte // the log entries that hold it, as they stand in raft.db
}

// apply proposes a command, with the leader's time as the test wants it.
func (c *testCluster) apply(ms int64, args fsm.Args) uint64 {
	c.t.Helper()
	cmd, err := fsm.NewCommand(reqKey(newKeyID()), fsm.Meta{Time: ms}, args)
	if err != nil {
		c.t.Fatal(err)
	}
	var result fsm.Result
	err = insist(c.t, fmt.Sprintf("%T", args), func() (err error) {
		result, _, err = c.nodes[c.leader()].Propose(c.t.Context(), cmd)
		return err
	})
	if err != nil || result.Err != nil || result.Conflict {
		c.t.Fatalf("%T: %+v, %v", args, result, err)
	}
	return result.Index // of the first application
}

// doom makes a key whose sealed material is nowhere else.
func (c *testCluster) doom() *doomed {
	c.t.Helper()
	d := &doomed{keyID: newKeyID(), sealed: make([]byte, 60)}
	_, _ = rand.Read(d.sealed)
	material := kmscrypto.MaterialID(d.keyID, d.sealed[:32])
	const policy = "{}"
	c.apply(1, &fsm.CreateKey{
		Key: fsm.Key{
			Account: account, Region: region, ID: d.keyID, Spec: kms.SymmetricDefault, Usage: kms.EncryptDecrypt,
			Origin: kms.OriginKMS, Manager: kms.ManagerCustomer, State: kms.Enabled,
			PolicyHash: sha256.Sum256([]byte(policy)), CurrentMaterial: material,
		},
		Material: &fsm.Material{KeyID: d.keyID, ID: material, Sealed: d.sealed},
		Policy:   policy,
	})
	d.trace(c)
	return d
}

// trace finds the log entries that hold the secret.
func (d *doomed) trace(c *testCluster) {
	c.t.Helper()
	n := c.nodes[c.leader()]
	first, err := n.Log().FirstIndex()
	last, other := n.Log().LastIndex()
	if err := errors.Join(err, other); err != nil {
		c.t.Fatal(err)
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := n.Log().GetLog(i, &l); err != nil {
			c.t.Fatal(err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		_, body, err := n.Keyring().OpenEntry(l.Data)
		if err != nil {
			c.t.Fatal(err)
		}
		if bytes.Contains(body, d.sealed) {
			d.raw = append(d.raw, l.Data)
		}
	}
	if len(d.raw) == 0 {
		c.t.Fatal("the secret is in no log entry")
	}
}

// destroy deletes the key, after its waiting period.
func (c *testCluster) destroy(d *doomed) uint64 {
	c.t.Helper()
	date := 1 + 7*day
	c.apply(1, &fsm.ScheduleKeyDeletion{Account: account, Region: region, KeyID: d.keyID, Window: 7, DeletionDate: date})
	return c.apply(date+day, &fsm.DeleteKey{Account: account, Region: region, KeyID: d.keyID, DeletionDate: date})
}

// resetRoot gives the root user another credential.
func (c *testCluster) resetRoot() uint64 {
	c.t.Helper()
	id := "AKIA" + strings.ToUpper(strings.ReplaceAll(newKeyID(), "-", ""))
	secret, err := c.nodes[c.leader()].Keyring().Seal("access-key", id, []byte("another secret"))
	if err != nil {
		c.t.Fatal(err)
	}
	return c.apply(1, &fsm.ResetRootCredential{Account: account, AccessKey: fsm.AccessKey{
		ID: id, Account: account, Type: kms.PrincipalRoot, UniqueID: account, Status: fsm.StatusActive, SecretTerm: 1, Secret: secret,
	}})
}

// files lists the files below dir in which what is.
func files(t *testing.T, dir string, what []byte) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && fileHolds(t, path, what) {
			found = append(found, path)
		}
		if errors.Is(err, fs.ErrNotExist) { // a snapshot that Raft has removed
			err = nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// inLog tells whether the log entries of the secret are in a file below dir.
func (d *doomed) inLog(t *testing.T, dir string) bool {
	t.Helper()
	return slices.ContainsFunc(d.raw, func(raw []byte) bool { return len(files(t, dir, raw)) > 0 })
}

// inSnapshots tells whether a snapshot below dir holds the secret, sealed as it
// stands in the state.
func (d *doomed) inSnapshots(t *testing.T, dir string, k *kmscrypto.Keyring) bool {
	t.Helper()
	states, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "state.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range states {
		sealed, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := k.OpenStream(bytes.NewReader(sealed))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(plain, d.sealed) {
			return true
		}
	}
	return false
}

// wantThere checks that node i's disk holds the secret: the control of wantGone.
func (c *testCluster) wantThere(i int, d *doomed) {
	c.t.Helper()
	log, snapshots := d.inLog(c.t, c.dirs[i]), d.inSnapshots(c.t, c.dirs[i], c.nodes[i].Keyring())
	if !log || !snapshots {
		c.t.Errorf("node %d: in the log %v, in snapshots %v; want both", i, log, snapshots)
	}
}

// wantGone checks that no file of node i holds the secret.
func (c *testCluster) wantGone(i int, d *doomed) {
	c.t.Helper()
	for _, raw := range d.raw {
		if found := files(c.t, c.dirs[i], raw); len(found) > 0 {
			c.t.Errorf("node %d: a log entry is still in %v", i, found)
		}
	}
	if found := files(c.t, c.dirs[i], d.sealed); len(found) > 0 {
		c.t.Errorf("node %d: the sealed secret itself is in %v", i, found)
	}
	if d.inSnapshots(c.t, c.dirs[i], c.nodes[i].Keyring()) {
		c.t.Errorf("node %d: a snapshot still holds the secret", i)
	}
}

// cleared is up to which log index a node says that its disk is clear.
func cleared(t *testing.T, dir string) uint64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "erased.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Cleared uint64 `json:"cleared"`
		Since   int64  `json:"since"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f.Cleared
}

// awaitCleared waits until node i has cleared its disk up to index, and says so.
func (c *testCluster) awaitCleared(i int, index uint64) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("node %d clears its disk", i), func() bool {
		return cleared(c.t, c.dirs[i]) >= index && c.nodes[i].Status().Stain == nil
	})
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/internal/durable"
)

// dirSnapshots is where Raft's store of snapshots keeps them, each in a directory of
// its own named term-index-time. One that is being written, or was when the process
// died, has a name with a suffix.
const (
	dirSnapshots = dirRaft + "/snapshots"
	unfinished   = ".tmp"
)

// Snapshot writes a snapshot of the applied state into the data directory now,
// which Raft otherwise does by itself. It does nothing when nothing was applied
// since the newest snapshot was loaded.
func (n *Node) Snapshot(ctx context.Context) error {
	if err := n.takeSnapshot(ctx); !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return err
	}
	return nil
}

func (n *Node) takeSnapshot(ctx context.Context) error {
	done, ok := n.futures.enter()
	if !ok {
		return errDropped
	}
	return wait(ctx, deferred(func() error { return n.raft.Snapshot().Error() }), done)
}

// deferred is a future whose question waits for its turn: Raft takes one snapshot
// at a time, and asking for one blocks.
type deferred func() error

func (f deferred) Error() error { return f() }

// Digest returns the digest of the state that this node has published, and the log
// index of that state. Nodes at the same index have the same digest.
func (n *Node) Digest() (index uint64, digest [32]byte) {
	s := n.machine.Snapshot()
	return s.Index(), s.Digest()
}

// intact lists the snapshots, at most those that Raft keeps, that are of index or
// later and can be read to their end.
func (n *Node) intact(index uint64) ([]*raft.SnapshotMeta, error) {
	list, err := n.snaps.List()
	if err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	var out []*raft.SnapshotMeta
	for _, meta := range list {
		if meta.Index < index {
			continue
		}
		if err := n.verify(meta.ID); err != nil {
			n.log.Error("a snapshot is damaged", "snapshot", meta.ID, "err", err)
			continue
		}
		out = append(out, meta)
	}
	return out, nil
}

// verify reads a snapshot to its end.
func (n *Node) verify(id string) error {
	_, sealed, err := n.snaps.Open(id) // compares the checksum
	if err != nil {
		return err
	}
	defer sealed.Close()
	plain, err := n.keyring.OpenStream(sealed)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, plain)
	return err
}

// snapshotIndex returns the log index of a snapshot by the name of its directory.
func snapshotIndex(name string) (index uint64, ok bool) {
	parts := strings.Split(strings.TrimSuffix(name, unfinished), "-")
	if len(parts) != 3 {
		return 0, false
	}
	index, err := strconv.ParseUint(parts[1], 10, 64)
	return index, err == nil
}

// snapshotsBefore lists what is left of snapshots older than index, also of those
// that Raft does not list because they are damaged or were never completed.
func (d dataDir) snapshotsBefore(index uint64) (names []string, err error) {
	entries, err := os.ReadDir(d.path(dirSnapshots))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if i, ok := snapshotIndex(e.Name()); ok && i < index {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// dropSnapshots removes directories of snapshots.
func (d dataDir) dropSnapshots(names []string) error {
	dir := d.path(dirSnapshots)
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return durable.SyncDir(dir)
}

// clearRaft removes what a process that died has left in Raft's directory. It is
// called before Raft starts.
func (d dataDir) clearRaft() error {
	err := durable.RemoveTemporary(d.path(dirRaft))
	entries, other := os.ReadDir(d.path(dirSnapshots))
	if errors.Is(other, fs.ErrNotExist) { // before the first start, or after the log was lost
		other = nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(err, other); err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), unfinished) {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return d.dropSnapshots(names)
}

// checkLog refuses files of which one is missing. Raft would end the process over a
// log that begins after what the snapshots hold, and would start without its term
// and vote if there are snapshots alone: it might vote a second time.
func (n *Node) checkLog() error {
	first, last, err := bounds(n.logs)
	if err != nil {
		return err
	}
	list, err := n.snaps.List()
	if err != nil {
		return fmt.Errorf("listing snapshots: %w", err)
	}
	switch {
	case last > 0 && first > 1 && (len(list) == 0 || list[0].Index+1 < first):
		return fmt.Errorf("the Raft log begins at index %d, and no snapshot can be read that holds what came before: %w", first, errWipe)
	case len(list) > 0 && !n.store.hasVars():
		return fmt.Errorf("the Raft log is missing: %w", errWipe)
	}
	return nil
}

// errWipe says what is left to do.
var errWipe = errors.New("this member's directory must be wiped and the node joined anew")

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// cutBatch is how many log entries are deleted at a time.
const cutBatch = 1024

// purgeSpace is how many bytes may be written before anything is removed: a copy of
// the log, and snapshots.
func (n *Node) purgeSpace() (uint64, error) {
	states, err := filepath.Glob(n.dir.path(dirSnapshots + "/*/state.bin"))
	if err != nil {
		return 0, err
	}
	var largest uint64
	for _, path := range states {
		if info, err := os.Stat(path); err == nil { // Raft removes old ones
			largest = max(largest, uint64(info.Size()))
		}
	}
	used, err := n.store.used()
	return used + raftSnapshots*largest, err
}

// coverBySnapshots sees to it that all the snapshots which Raft keeps are of index
// or later and can be read: the log before index is then needed by nobody here, and
// one snapshot may be lost.
func (n *Node) coverBySnapshots(ctx context.Context, index uint64) error {
	for range 2 * raftSnapshots {
		good, err := n.intact(index)
		if err != nil || len(good) >= raftSnapshots {
			return err
		}
		// Raft names a snapshot by term, index and the millisecond.
		sleep(ctx, 2*time.Millisecond)
		if err := n.takeSnapshot(ctx); err != nil {
			return fmt.Errorf("taking a snapshot: %w", err)
		}
	}
	return errors.New("snapshots are damaged as soon as they are written")
}

// dropSnapshotsBefore removes what is older than index. Raft removes most of it
// itself, but nothing that it cannot read.
func (n *Node) dropSnapshotsBefore(index uint64) error {
	names, err := n.dir.snapshotsBefore(index)
	if err != nil {
		return err
	}
	return n.dir.dropSnapshots(names)
}

// cutLog deletes the entries before index. A snapshot has them, and index itself is
// applied, so that Raft never asks for them here: the entry that it may ask a
// follower for to compare terms is the last one that is applied, or a later one. A
// member that lacks them gets a snapshot.
//
// Raft itself deletes from the log's beginning in the same way and from another
// goroutine than the one that appends.
func (n *Node) cutLog(index uint64) error {
	first, last, err := bounds(n.logs)
	if err != nil {
		return err
	}
	for last = min(last, index-1); first <= last; first += cutBatch {
		if err := n.logs.DeleteRange(first, min(last, first+cutBatch-1)); err != nil {
			return err
		}
	}
	return nil
}

package cluster

import (
	"context"
	"errors"

	"github.com/hashicorp/raft"
)

// Snapshot writes a snapshot of the applied state into the data directory now,
// which Raft otherwise does by itself. It does nothing when the newest snapshot
// has everything.
func (n *Node) Snapshot(ctx context.Context) error {
	if err := n.await(ctx, n.raft.Snapshot()); !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return err
	}
	return nil
}

// Digest returns the digest of the state that this node has published, and the log
// index of that state. Nodes at the same index have the same digest.
func (n *Node) Digest() (index uint64, digest [32]byte) {
	s := n.machine.Snapshot()
	return s.Index(), s.Digest()
}

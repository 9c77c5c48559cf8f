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

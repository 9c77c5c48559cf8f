package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/lease"
)

// handOverTimeout bounds the attempts of a node that stops. Each ends after one of
// Raft's election timeouts, and writes wait meanwhile.
const handOverTimeout = 4 * time.Second

// errNoHeir is returned when no other voter answers: whoever could lead is gone, or
// stops as well.
var errNoHeir = errors.New("no other voter answers")

// handOver gives the leadership to another member when this node stops, if it has
// it. A node that finds nobody stops all the same: the others elect a leader.
func (n *Node) handOver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	for {
		l := n.lead.Load()
		if l == nil {
			return nil
		}
		if len(l.known()) == 0 {
			return errNoHeir // the cluster is this node
		}
		err := l.bequeath(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, errNoHeir) || !sleep(ctx, forwardPause) {
			n.log.Info("this node stops as the leader", "why", err)
			return err
		}
	}
}

// bequeath offers the leadership to the voters that answer, one after the other,
// until one has taken it. It belongs before the end of a process: a transfer that is
// interrupted can leave Raft unable to lead (hashicorp/raft#696).
func (l *leadership) bequeath(ctx context.Context) error {
	err := errNoHeir
	for _, id := range l.heirs() {
		bad := l.n.await(ctx, l.n.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(id)))
		if bad == nil {
			return nil
		}
		err = fmt.Errorf("handing the leadership to the node %s: %w", id, bad)
	}
	return err
}

// heirs returns the voters that answer and have not said goodbye, those first that
// have applied most.
func (l *leadership) heirs() []string {
	members, now := l.known(), l.n.clock.Boot()
	slices.SortStableFunc(members, func(a, b lease.Member) int { return cmp.Compare(b.Last.Applied, a.Last.Applied) })
	var out []string
	for _, m := range members {
		if m.Voter && m.Any && m.Waited && now-m.Heard < lease.Silence {
			out = append(out, m.ID)
		}
	}
	return out
}

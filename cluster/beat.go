package cluster

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/lease"
)

const (
	// beatTimeout bounds one Beat. A member that does not answer within it is tried
	// again over a fresh connection.
	beatTimeout = lease.Silence / 2
	// beatPause follows a Beat that failed.
	beatPause = 50 * time.Millisecond
	// clusterVersion is the highest version of the replicated state's meaning that
	// this build supports.
	clusterVersion = 1
)

// handleBeat takes a Beat of the node from. What decides is read when the Beat
// arrives, in one critical section; the reply is held until WaitIndex is applied,
// and its ages are read when it leaves.
func (n *Node) handleBeat(ctx context.Context, from string, b lease.Beat) lease.Reply {
	n.mu.Lock()
	term := n.raft.CurrentTerm()
	_, leader := n.raft.LeaderWithID()
	counts := n.follower.Beat(b, term, leader == raft.ServerID(from), n.clock.Boot())
	if counts {
		n.stable.Raise(b.Stable)
		if fresh, ok := n.follower.Fresh(); ok {
			n.publish(fresh)
		} else {
			n.fresh.Store(nil)
		}
	}
	n.mu.Unlock()
	if counts {
		n.metLeader()
		n.holdFor(ctx, b.WaitIndex)
	}
	r := lease.Reply{
		Term: term, Inc: n.inc, Stamp: n.clock.Boot(), Applied: n.applied.Load(),
		Version: clusterVersion, Wall: n.clock.Wall().UnixMilli(), DiskFree: diskFree(n.cfg.DataDir),
	}
	if counts && b.WaitIndex > 0 && r.Applied >= b.WaitIndex {
		n.caughtUp.Store(true)
	}
	return r
}

// holdFor waits until index is applied, at most lease.Hold.
func (n *Node) holdFor(ctx context.Context, index uint64) {
	if n.applied.Load() >= index {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lease.Hold)
	defer cancel()
	_ = n.applied.Wait(ctx, index) // the reply says how far this node came
}

// publish makes this node's freshness visible. n.mu is held.
func (n *Node) publish(f lease.Freshness) {
	if n.fate.failed.Load() {
		return
	}
	n.fresh.Store(&f)
	n.freshened.Raise(n.freshened.Load() + 1)
}

// beatLoop sends Beats to one member for as long as this node leads: one after
// the other, at once when there is something to say.
func (l *leadership) beatLoop(peer string, kick <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failed := false
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-kick:
		case <-timer.C:
		}
		next := lease.Every
		if failed = !l.beat(peer, failed); failed {
			next = beatPause
			l.pause(beatPause)
		}
		timer.Reset(next)
	}
}

// pause waits, so that commits do not make a member that is away be dialled
// without end.
func (l *leadership) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.ctx.Done():
	}
}

// beat sends one Beat and takes its answer. It returns false when there was none.
func (l *leadership) beat(peer string, fresh bool) bool {
	n := l.n
	n.mu.Lock()
	sentAt := n.clock.Boot()
	b, ok := l.lease.Next(peer, n.applied.Load(), sentAt)
	n.mu.Unlock()
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(l.ctx, beatTimeout)
	defer cancel()
	status, body, _, err := n.beats.call(ctx, peer, kindBeat, encodeBeat(b), fresh)
	r, bad := decodeReply(body)
	if err != nil || status != statusOK || bad != nil {
		n.metrics.beats.WithLabelValues("lost").Inc()
		return false
	}
	n.takeAnswer(l, peer, b, r, sentAt)
	return true
}

func (n *Node) takeAnswer(l *leadership, peer string, b lease.Beat, r lease.Reply, sentAt time.Duration) {
	n.mu.Lock()
	now := n.clock.Boot()
	counts, back := l.lease.Answer(peer, b.Round, r, now)
	n.mu.Unlock()
	if !counts {
		n.metrics.beats.WithLabelValues("ignored").Inc()
		return
	}
	n.metrics.beats.WithLabelValues("answered").Inc()
	n.metrics.beatTime.Observe((now - sentAt).Seconds())
	if back {
		n.log.Info("writes wait for the member again", "node", peer)
	}
	if r.Applied < b.WaitIndex {
		l.kickOne(peer) // it answered after lease.Hold: ask again at once
	}
	l.advance()
}

// advance moves the stable index and the leader's own freshness as far as what is
// known allows.
func (l *leadership) advance() {
	n := l.n
	n.mu.Lock()
	if l.over {
		n.mu.Unlock()
		return
	}
	now := n.clock.Boot()
	p := l.lease.Advance(now)
	if fresh, ok := l.lease.Fresh(now); ok {
		n.publish(fresh)
	}
	if p.Again > 0 {
		l.timer.Reset(p.Again - now)
	}
	n.mu.Unlock()
	n.metrics.alone.Add(float64(p.Alone))
	for _, id := range p.Skipped {
		n.log.Warn("writes go on without a member that does not answer or lags by a second", "node", id)
	}
	if p.Moved {
		n.stable.Raise(p.Stable)
		l.kickAll()
	}
}

// diskFree returns the bytes that are free for dir; 0 when that is not known.
func diskFree(dir string) uint64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0
	}
	return fs.Bavail * uint64(fs.Bsize)
}

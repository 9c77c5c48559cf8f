package cluster

import (
	"context"
	"maps"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/lease"
)

const (
	// beatTimeout bounds one Beat. A member that does not answer within it is tried
	// again over a fresh connection.
	beatTimeout = lease.Silence / 2
	// connectTimeout bounds the making of a connection for Beats. It is longer, since a
	// handshake between busy machines would else begin anew for ever.
	connectTimeout = 4 * beatTimeout
	// beatPause follows a Beat that failed.
	beatPause = 50 * time.Millisecond
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
		n.noteMedian(b.Wall)
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
		Version: uint16(n.versions().newest), Wall: n.clock.Wall().UnixMilli(), DiskFree: n.disk().free,
		Authority: n.trusts.Load(), Remembers: n.remembers.Load(),
	}
	if counts && b.WaitIndex > 0 && r.Applied >= b.WaitIndex {
		n.catchUp()
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
	n.freshEnd.Store(int64(min(f.Until, n.clock.Boot()+lease.Silence)))
	n.freshened.Raise(n.freshened.Load() + 1)
}

// A beater sends Beats to one member.
type beater struct {
	kick chan struct{}
	end  context.CancelFunc
	done chan struct{} // closed when no Beat is in flight any more
}

// startBeats begins to send Beats to a member. The membership goroutine calls it,
// or whoever starts the term.
func (l *leadership) startBeats(peer string) {
	ctx, end := context.WithCancel(l.ctx)
	b := &beater{kick: make(chan struct{}, 1), end: end, done: make(chan struct{})}
	l.setBeater(peer, b)
	l.work.Go(func() {
		defer close(b.done)
		l.beatLoop(ctx, peer, b.kick)
	})
}

// stopBeats ends the Beats to a member and waits until none is in flight.
func (l *leadership) stopBeats(peer string) {
	b := (*l.beaters.Load())[peer]
	if b == nil {
		return
	}
	b.end()
	<-b.done
	l.setBeater(peer, nil)
}

// setBeater replaces the map, which is read without a lock.
func (l *leadership) setBeater(peer string, b *beater) {
	next := maps.Clone(*l.beaters.Load())
	if b == nil {
		delete(next, peer)
	} else {
		next[peer] = b
	}
	l.beaters.Store(&next)
}

// beatLoop sends Beats to one member until ctx ends: one after the other, at once
// when there is something to say.
func (l *leadership) beatLoop(ctx context.Context, peer string, kick <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-kick:
		case <-timer.C:
		}
		next := lease.Every
		if failed = !l.beat(ctx, peer, failed); failed {
			next = beatPause
			sleep(ctx, beatPause) // so that commits do not make a member that is away be dialled without end
		}
		timer.Reset(next)
	}
}

// beat sends one Beat and takes its answer. It returns false when there was none.
// What the Beat says is read once there is a connection for it.
func (l *leadership) beat(ctx context.Context, peer string, fresh bool) bool {
	n := l.n
	if !l.connect(ctx, peer, fresh) {
		n.metrics.beats.WithLabelValues("lost").Inc()
		return false
	}
	n.mu.Lock()
	sentAt := n.clock.Boot()
	b, ok := l.lease.Next(peer, n.applied.Load(), sentAt)
	n.mu.Unlock()
	if !ok {
		return true
	}
	b.Wall = l.median()
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	status, body, _, err := n.beats.call(ctx, peer, kindBeat, encodeBeat(b), false)
	r, bad := decodeReply(body)
	if err != nil || status != statusOK || bad != nil {
		n.metrics.beats.WithLabelValues("lost").Inc()
		return false
	}
	n.takeAnswer(l, peer, b, r, sentAt)
	return true
}

// connect sees to a connection to a member, with fresh to a new one.
func (l *leadership) connect(ctx context.Context, peer string, fresh bool) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return l.n.beats.connect(ctx, peer, fresh) == nil
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

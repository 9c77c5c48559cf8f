package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/fsm"
)

const (
	// purgeEvery is how often a node clears its disk at most, and about how long
	// what was destroyed stays on it.
	purgeEvery = time.Hour
	// purgeLook is how often the state is compared with the disk.
	purgeLook = 30 * time.Second
	// purgeRetry follows an attempt that failed.
	purgeRetry = 10 * time.Minute
	// purgePatience is for how long the leader keeps entries that a member lacks. One
	// that comes back later gets a snapshot.
	purgePatience = 12 * time.Hour
	// PurgeLimit is the time in which every node that runs has cleared its disk.
	PurgeLimit = 24 * time.Hour
)

// purgeFile is erased.json.
type purgeFile struct {
	// Cleared is the log index up to which nothing that was destroyed is left on this
	// disk.
	Cleared uint64 `json:"cleared"`
	// Since is when the first secret was destroyed that may be on it still, in
	// milliseconds since 1970; 0 while none is.
	Since int64 `json:"since,omitempty"`
}

// A purger clears this node's disk of what was destroyed: log entries and snapshots
// that are older, and the pages of raft.db that held them. It decides by the state
// and the files, so that a restart forgets nothing. One goroutine uses it.
type purger struct {
	n    *Node
	file purgeFile
	// known tells that the file is there. A node without it has just joined: nothing
	// has been on its disk for longer than it exists.
	known  bool
	before time.Duration // on the boot clock: no attempt before it
	said   string        // the reason for waiting that was logged
}

// purging clears the disk whenever it has to be, once the node has a living leader's
// state.
func (n *Node) purging() {
	select {
	case <-n.caught:
	case <-n.ctx.Done():
		return
	}
	p := newPurger(n)
	tick := time.NewTicker(n.cfg.hooks.purge.look)
	defer tick.Stop()
	for {
		if err := p.look(n.ctx); err != nil && n.ctx.Err() == nil && !n.closing.Load() {
			p.failed(err)
		}
		select {
		case <-tick.C:
		case <-n.erasures:
		case <-n.ctx.Done():
			return
		}
	}
}

// newPurger reads what the node knows of its disk. A file that cannot be read says
// nothing: the disk is cleared once more.
func newPurger(n *Node) *purger {
	p := &purger{n: n}
	err := n.dir.readJSON(fileErased, &p.file)
	if p.known = err == nil; !p.known {
		p.file = purgeFile{}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Error("reading how far the disk is clear of destroyed secrets", "err", err)
	}
	return p
}

// failed says so, and lets some time pass.
func (p *purger) failed(err error) {
	n := p.n
	n.metrics.purges.WithLabelValues("failed").Inc()
	p.before = n.clock.Boot() + n.cfg.hooks.purge.retry
	level := slog.LevelWarn
	if p.age() > PurgeLimit {
		level = slog.LevelError
	}
	n.log.Log(n.ctx, level, "clearing the disk of destroyed secrets failed and will be tried again", "err", err)
	if errors.Is(err, errUncertain) {
		n.fate.fail(ExitRestart, err)
	}
}

// age is for how long the disk has not been clear.
func (p *purger) age() time.Duration {
	if p.file.Since == 0 {
		return 0
	}
	return p.n.clock.Wall().Sub(time.UnixMilli(p.file.Since))
}

// look compares the state with the disk, and clears the disk when it is time to.
func (p *purger) look(ctx context.Context) error {
	e := p.n.machine.View().Erasure()
	stained, err := p.isStained(e)
	if err != nil {
		return err
	}
	if err := p.note(e, stained); err != nil {
		return err
	}
	if !stained || !p.isTime() || p.n.clock.Boot() < p.before {
		return nil
	}
	if why := p.obstacle(e.ModIndex); why != nil {
		p.postpone(why)
		return nil
	}
	err = p.purge(ctx, e.ModIndex)
	if errors.Is(err, raft.ErrNothingNewToSnapshot) { // since this process started
		p.postpone(err)
		return nil
	}
	p.said = ""
	return err
}

// isStained tells whether the disk may hold what was destroyed.
func (p *purger) isStained(e *fsm.Erasure) (bool, error) {
	switch {
	case e == nil:
		return false, nil
	case e.ModIndex > p.file.Cleared:
		return true, nil
	}
	first, last, err := bounds(p.n.logs)
	if err != nil {
		return false, err
	}
	old, err := p.n.dir.snapshotsBefore(e.ModIndex)
	return first < e.ModIndex && last > 0 || len(old) > 0, err
}

// note keeps since when the disk is not clear, and tells who asks.
func (p *purger) note(e *fsm.Erasure, stained bool) error {
	f := p.file
	now := p.n.clock.Wall().UnixMilli()
	switch {
	case !stained:
		f.Since = 0
	case f.Since == 0 && p.known:
		f.Since = min(e.Time, now)
	case f.Since == 0:
		f.Since = now
	}
	if err := p.write(f); err != nil {
		return err
	}
	if stained {
		p.n.stain.Store(&Stain{Index: e.ModIndex, Since: time.UnixMilli(f.Since)})
	} else {
		p.n.stain.Store(nil)
	}
	return nil
}

func (p *purger) write(f purgeFile) error {
	if p.known && f == p.file {
		return nil
	}
	if err := p.n.dir.writeJSON(fileErased, f); err != nil {
		return err
	}
	p.file, p.known = f, true
	return nil
}

// isTime tells whether one of this node's hours has begun since the first erasure.
// So many of them cost one rewriting an hour; members have their hours' beginnings
// spread, so that they do not rewrite at the same time.
func (p *purger) isTime() bool {
	return p.hour(p.n.clock.Wall()) != p.hour(time.UnixMilli(p.file.Since))
}

// hour numbers the hours of this node.
func (p *purger) hour(t time.Time) int64 {
	every := p.n.cfg.hooks.purge.every.Milliseconds()
	nodes := p.n.machine.View().Nodes()
	rank := slices.IndexFunc(nodes, func(r *fsm.NodeRecord) bool { return r.ID == p.n.id })
	if rank < 0 {
		return t.UnixMilli() / every
	}
	return (t.UnixMilli() + every*int64(rank)/int64(len(nodes))) / every
}

// obstacle tells why the disk may not be cleared now.
func (p *purger) obstacle(index uint64) error {
	n := p.n
	if lagging := n.lagging(index); lagging != "" && p.age() < n.cfg.hooks.purge.patience {
		return fmt.Errorf("the member %s lacks log entries that would be deleted", lagging)
	}
	need, err := n.purgeSpace()
	if err != nil {
		return fmt.Errorf("measuring the files: %w", err)
	}
	if d := n.disk(); d.total > 0 && (diskSpace{d.free - min(d.free, need), d.total}).below(unreadyBelow) {
		return fmt.Errorf("%w: copies need %d bytes", errDisk, need)
	}
	return nil
}

func (p *purger) postpone(why error) {
	if p.said == why.Error() {
		return
	}
	p.said = why.Error()
	p.n.metrics.purges.WithLabelValues("postponed").Inc()
	p.n.log.Info("destroyed secrets stay on the disk for now", "why", why)
}

// lagging names a member that has not applied index, as far as this node, if it
// leads, has heard. The others send no entries to anybody.
func (n *Node) lagging(index uint64) string {
	l := n.lead.Load()
	if l == nil {
		return ""
	}
	for _, m := range l.known() {
		if m.Last.Applied < index {
			return m.ID
		}
	}
	return ""
}

// purge clears the disk of everything older than index. Each step may be the last
// one before a crash: what is deleted is no longer needed by then, and the next
// attempt begins anew.
func (p *purger) purge(ctx context.Context, index uint64) error {
	n, at := p.n, p.n.cfg.hooks.purge.at
	start := n.clock.Boot()
	if err := errors.Join(n.coverBySnapshots(ctx, index), at("snapshots")); err != nil {
		return err
	}
	if err := errors.Join(n.dropSnapshotsBefore(index), at("dropped")); err != nil {
		return err
	}
	if err := errors.Join(n.cutLog(index), at("cut")); err != nil {
		return err
	}
	pause, err := n.store.rewrite(ctx, at)
	if err = errors.Join(err, at("rewritten")); err != nil {
		return err
	}
	if err := p.write(purgeFile{Cleared: index}); err != nil {
		return err
	}
	n.stain.Store(nil)
	n.forgetErased(nil) // what a request has put back into a cache while the secret was being destroyed
	n.metrics.purges.WithLabelValues("done").Inc()
	n.log.Info("the disk is clear of the secrets that were destroyed", "up_to_index", index,
		"took", n.clock.Boot()-start, "writes_paused", pause)
	return nil
}

// A Stain tells that this node's disk may hold secrets that were destroyed.
type Stain struct {
	// Index is the log index of the last command that destroyed secrets.
	Index uint64
	// Since is when the first of them was destroyed, or when this node joined.
	Since time.Time
}

// stainSeconds is for how long the disk has not been clear.
func (n *Node) stainSeconds() float64 {
	s := n.stain.Load()
	if s == nil {
		return 0
	}
	return max(0, n.clock.Wall().Sub(s.Since).Seconds())
}

package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/lease"
	"github.com/kmsd/kmsd/fsm"
)

const (
	// manageEvery is how often the leader compares the members of the state with
	// Raft's configuration. It also does when it is nudged.
	manageEvery = 250 * time.Millisecond
	// promoteAfter is how long a member must have kept up before it votes.
	promoteAfter = 10 * time.Second
	// maxVoters bounds the members that vote.
	maxVoters = 5
	// configTimeout bounds one change of Raft's configuration.
	configTimeout = 5 * time.Second
)

// membership is the leader's work on who belongs to the cluster. Its lock is held
// during a whole change, so that changes of members and of authorities follow each
// other.
type membership struct {
	sync.Mutex
	// unsettled tells that a change of Raft's configuration was begun and is neither
	// known to be committed nor to be lost. Guarded by the lock.
	unsettled bool
	// steady is since when a member that does not vote keeps up. Guarded by the lock.
	steady map[string]time.Duration
	// nextFresh is whether the next authority was made in this term, after the last
	// removal. Guarded by the lock.
	nextFresh bool
	// skewed is since when this node's wall clock differs from the others'; 0: it does
	// not. Guarded by the lock.
	skewed time.Duration
	// deaf is when the leadership was last to be handed over because too few members
	// answered Beats. Guarded by the lock.
	deaf time.Duration
	// complaint is what was logged last. Guarded by the lock.
	complaint string
}

// manage keeps Raft's configuration what the members of the state call for, one
// change after the other, while this node leads.
func (l *leadership) manage() {
	tick := time.NewTicker(manageEvery)
	defer tick.Stop()
	for {
		l.step()
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		case <-l.attend:
		}
	}
}

// step makes the next change, if there is one.
func (l *leadership) step() {
	l.members.Lock()
	defer l.members.Unlock()
	l.watchSkew()
	l.watchBeats()
	more, err := l.change(l.ctx)
	if l.ctx.Err() != nil || l.n.closing.Load() {
		return
	}
	switch {
	case err == nil:
		l.members.complaint = ""
	case err.Error() != l.members.complaint:
		l.members.complaint = err.Error()
		l.n.log.Warn("the next change of the cluster's members", "err", err)
	}
	if more && err == nil {
		nudge(l.attend)
	}
}

// change makes one change and tells whether there may be more to do at once.
func (l *leadership) change(ctx context.Context) (more bool, err error) {
	if err := l.settle(ctx); err != nil {
		return false, err
	}
	config, err := l.servers()
	if err != nil {
		return false, err
	}
	view := l.n.machine.View()
	for id := range config {
		if _, ok := view.Node(id); !ok && id != l.n.id {
			return true, l.expel(ctx, id)
		}
	}
	for _, r := range view.Nodes() {
		if _, ok := config[r.ID]; !ok {
			return true, l.addMember(ctx, r)
		}
	}
	if more, err := l.promote(ctx, config); more || err != nil {
		return more, err
	}
	if more, err := l.raiseVersion(ctx, config); more || err != nil {
		return more, err
	}
	return l.rotate(ctx)
}

// servers returns the members of Raft's configuration and whether each votes.
func (l *leadership) servers() (map[string]bool, error) {
	f := l.n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, s := range f.Configuration().Servers {
		out[string(s.ID)] = s.Suffrage == raft.Voter
	}
	return out, nil
}

// settle learns what became of a change that took too long: once something after it
// is committed, Raft's configuration is what is committed.
func (l *leadership) settle(ctx context.Context) error {
	if !l.members.unsettled {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	if err := l.n.await(ctx, l.n.raft.Barrier(enqueueTimeout)); err != nil {
		return fmt.Errorf("waiting for the last change of members: %w", err)
	}
	config, err := l.servers()
	if err != nil {
		return err
	}
	l.members.unsettled = false
	for id, voter := range config {
		l.track(id, voter)
	}
	for _, m := range l.known() {
		if _, ok := config[m.ID]; !ok {
			l.forget(m.ID)
		}
	}
	return nil
}

// configure makes one change of Raft's configuration and waits until it is
// committed.
func (l *leadership) configure(ctx context.Context, f raft.IndexFuture) error {
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	l.members.unsettled = true
	if err := l.n.await(ctx, f); err != nil {
		return fmt.Errorf("changing the configuration: %w", err)
	}
	l.members.unsettled = false
	return nil
}

// addMember makes an admitted node part of Raft's configuration, without a vote.
func (l *leadership) addMember(ctx context.Context, r *fsm.NodeRecord) error {
	err := l.configure(ctx, l.n.raft.AddNonvoter(raft.ServerID(r.ID), raft.ServerAddress(r.ID), 0, enqueueTimeout))
	if err != nil {
		return fmt.Errorf("adding the node %s: %w", r.ID, err)
	}
	l.track(r.ID, false)
	l.n.log.Info("the node is a member without a vote", "node", r.ID, "address", r.Address)
	return nil
}

// track sends Beats to a member of the committed configuration.
func (l *leadership) track(id string, voter bool) {
	if id == l.n.id {
		return
	}
	l.n.mu.Lock()
	l.lease.Add(id, false, l.n.clock.Boot())
	l.lease.SetVoter(id, voter)
	l.n.mu.Unlock()
	if (*l.beaters.Load())[id] == nil {
		l.startBeats(id)
	}
}

// forget ends the Beats to who is no member any more.
func (l *leadership) forget(id string) {
	l.stopBeats(id)
	l.n.mu.Lock()
	l.lease.Remove(id)
	l.n.mu.Unlock()
	delete(l.members.steady, id)
	l.advance()
}

// promote lets members vote that have kept up for a while, as long as the number of
// voters becomes odd: an even one needs as many to agree as the next higher one and
// survives no more failures.
func (l *leadership) promote(ctx context.Context, config map[string]bool) (more bool, err error) {
	ready := l.ready(config)
	voters := 0
	for _, votes := range config {
		if votes {
			voters++
		}
	}
	need := 1 + voters%2 // one makes an even number odd, two keep it so
	if len(ready) < need || voters+need > maxVoters {
		return false, nil
	}
	return true, l.makeVoter(ctx, ready[0])
}

func (l *leadership) makeVoter(ctx context.Context, id string) error {
	if err := l.configure(ctx, l.n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, enqueueTimeout)); err != nil {
		return fmt.Errorf("letting the node %s vote: %w", id, err)
	}
	l.track(id, true)
	delete(l.members.steady, id)
	l.n.log.Info("the node votes", "node", id)
	return nil
}

// ready returns the members without a vote that have kept up for long enough,
// sorted by ID.
func (l *leadership) ready(config map[string]bool) []string {
	if l.members.steady == nil {
		l.members.steady = map[string]time.Duration{}
	}
	now := l.n.clock.Boot()
	var out []string
	for _, m := range l.known() {
		votes, member := config[m.ID]
		if votes || !member || !l.keepsUp(m, now) {
			delete(l.members.steady, m.ID)
			continue
		}
		since, seen := l.members.steady[m.ID]
		if !seen {
			since = now
			l.members.steady[m.ID] = now
		}
		if now-since >= l.n.cfg.hooks.promote {
			out = append(out, m.ID)
		}
	}
	return out
}

// keepsUp tells whether a member answers, may serve and lags little.
func (l *leadership) keepsUp(m lease.Member, now time.Duration) bool {
	return m.Any && m.Waited && now-m.Heard < lease.Silence && m.Last.Applied+lease.Near >= l.n.applied.Load()
}

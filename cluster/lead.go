package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/lease"
	"github.com/kmsd/kmsd/fsm"
)

// openPause follows a failed attempt to open a term.
const openPause = 50 * time.Millisecond

// A notice is the latest of Raft's leadership notifications.
type notice struct {
	mu    sync.Mutex
	seq   uint64        // guarded by mu; rises with every notification
	leads bool          // guarded by mu
	moved chan struct{} // guarded by mu; closed at the next notification
}

func (c *notice) set(leads bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	c.leads = leads
	if c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
}

// get returns the latest notification and a channel that closes at the next.
func (c *notice) get() (leads bool, moved <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved == nil {
		c.moved = make(chan struct{})
	}
	return c.leads, c.moved
}

// drainNotices moves Raft's notifications into the cell until stop closes. Raft
// blocks while it notifies, so this goroutine never calls it.
func (n *Node) drainNotices(from <-chan bool, stop <-chan struct{}) {
	for {
		select {
		case leads := <-from:
			n.notice.set(leads)
		case <-stop:
			return
		}
	}
}

// watchLeadership does the leader's work while this node leads. A lost and won
// leadership ends the old term's work also when the two notifications came
// together.
func (n *Node) watchLeadership() {
	for {
		leads, moved := n.notice.get()
		if leads {
			n.leadTerm(moved)
		}
		select {
		case <-moved:
		case <-n.ctx.Done():
			return
		}
	}
}

// A leadership is this node's work as the leader of one term.
type leadership struct {
	n     *Node
	term  uint64
	ctx   context.Context // ends with the term
	end   context.CancelFunc
	open  chan struct{} // closed when LeaderOpen is applied
	timer *time.Timer   // runs advance
	work  sync.WaitGroup
	// beaters are replaced as a whole: by who starts the term, and once it is open
	// with members.mu held.
	beaters atomic.Pointer[map[string]*beater]
	attend  chan struct{} // wakes the membership's goroutine
	members membership
	// opened is the index of LeaderOpen, written before open is closed.
	opened uint64

	lease *lease.Leader // guarded by n.mu
	over  bool          // guarded by n.mu
}

func (l *leadership) isOpen() bool {
	select {
	case <-l.open:
		return true
	default:
		return false
	}
}

func (l *leadership) kickOne(peer string) {
	if b := (*l.beaters.Load())[peer]; b != nil {
		nudge(b.kick)
	}
}

func (l *leadership) kickAll() {
	for _, b := range *l.beaters.Load() {
		nudge(b.kick)
	}
}

// nudge puts a token into a channel for one, unless one is there.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// leadTerm leads the current term until moved closes or the node stops.
func (n *Node) leadTerm(moved <-chan struct{}) {
	l := n.startTerm()
	if l == nil {
		return
	}
	l.work.Go(func() {
		select {
		case <-moved:
		case <-l.ctx.Done():
		}
		l.end()
	})
	for _, id := range l.peers() {
		l.startBeats(id)
	}
	if l.openTerm() {
		n.metLeader()
		n.log.Info("this node leads", "term", l.term)
		l.work.Go(l.checkHashes)
		l.work.Go(l.callLead)
		l.work.Go(l.manage)
	}
	<-l.ctx.Done()
	n.endTerm(l)
	l.work.Wait()
}

// startTerm makes the bookkeeping of the term that this node leads now, or returns
// nil when it does not lead any more.
func (n *Node) startTerm() *leadership {
	since := n.clock.Boot()
	term := n.raft.CurrentTerm()
	config := n.raft.GetConfiguration()
	if err := config.Error(); err != nil || n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		return nil // another notification is on its way
	}
	l := &leadership{n: n, term: term, open: make(chan struct{}), attend: make(chan struct{}, 1)}
	l.beaters.Store(&map[string]*beater{})
	l.ctx, l.end = context.WithCancel(n.ctx)
	var voters, others []string
	for _, s := range config.Configuration().Servers {
		switch {
		case s.ID == raft.ServerID(n.id):
		case s.Suffrage == raft.Voter:
			voters = append(voters, string(s.ID))
		default:
			others = append(others, string(s.ID))
		}
	}
	l.lease = lease.NewLeader(term, voters, n.stable.Load(), since)
	for _, id := range others {
		l.lease.Add(id, true, since)
	}
	n.mu.Lock()
	l.timer = time.AfterFunc(lease.Silence, l.advance)
	n.lead.Store(l)
	n.mu.Unlock()
	return l
}

// peers returns the members that get Beats.
func (l *leadership) peers() []string {
	var out []string
	for _, m := range l.known() {
		out = append(out, m.ID)
	}
	return out
}

// known returns what this node knows about the other members.
func (l *leadership) known() []lease.Member {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	return l.lease.Members()
}

func (n *Node) endTerm(l *leadership) {
	n.mu.Lock()
	l.over = true
	l.timer.Stop()
	n.follower.Led(l.lease.Stable())
	n.lead.Store(nil)
	n.fresh.Store(nil)
	n.mu.Unlock()
	n.log.Info("this node does not lead any more", "term", l.term)
}

// openTerm commits the term's first command, after the cluster's first one if
// there is none yet. It tries until it succeeds or the term is over.
func (l *leadership) openTerm() bool {
	for l.ctx.Err() == nil {
		index, err := l.tryOpen()
		if err == nil {
			l.n.mu.Lock()
			l.lease.Opened(index)
			l.opened = index
			close(l.open)
			l.n.mu.Unlock()
			l.n.catchUp()
			l.advance()
			l.kickAll()
			return true
		}
		l.n.log.Warn("opening the term", "term", l.term, "err", err)
		sleep(l.ctx, openPause)
	}
	return false
}

var errOtherTerm = errors.New("the entry was committed in another term")

func (l *leadership) tryOpen() (index uint64, err error) {
	n := l.n
	if err := l.ensureGenesis(); err != nil {
		return 0, fmt.Errorf("committing the cluster's first command: %w", err)
	}
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, n.meta(), &fsm.LeaderOpen{Term: l.term, NodeID: n.id})
	if err != nil {
		return 0, err
	}
	entry, err := n.sealCommand(cmd)
	if err != nil {
		return 0, err
	}
	out, index, err := n.commit(l.ctx, entry)
	switch {
	case err != nil:
		return 0, n.classify(err)
	case out.term != l.term:
		return 0, errOtherTerm
	case out.result.Err != nil:
		return 0, out.result.Err
	}
	return index, nil
}

// ensureGenesis commits the cluster's first command unless the state has it. What
// earlier terms have committed is applied first: only then is its absence known.
func (l *leadership) ensureGenesis() error {
	n := l.n
	if n.hasGenesis() {
		return nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, commitTimeout)
	defer cancel()
	if err := n.await(ctx, n.raft.Barrier(enqueueTimeout)); err != nil {
		return err
	}
	if n.hasGenesis() {
		return nil
	}
	entry, err := n.dir.readGenesis()
	if err != nil {
		return err
	}
	out, _, err := n.commit(l.ctx, entry)
	if err == nil && out.result.Err != nil {
		err = out.result.Err
	}
	return err
}

// callLead runs the service's work as leader.
func (l *leadership) callLead() {
	select {
	case <-l.n.served:
	case <-l.ctx.Done():
		return
	}
	if lead := l.n.handlers.Lead; lead != nil {
		lead(l.ctx, l.opened)
	}
}

package lease

import (
	"slices"
	"time"
)

// Forever is the end of freshness for a leader that needs nobody's answer.
const Forever = time.Duration(1<<63 - 1)

// A Leader is what the leader of one term knows about the other members. It is
// made anew in every term.
type Leader struct {
	term    uint64
	since   time.Duration // when the term began here
	peers   map[string]*peer
	open    uint64 // index of the term's first command; 0 until it is applied
	stable  uint64
	waiting []applied // not stable yet, by index
}

type peer struct {
	round   uint64        // of the Beat sent last
	sent    time.Duration // when
	acked   time.Duration // when the latest Beat that was answered was sent
	heard   time.Duration // when its answer came; when the term began, before any
	index   uint64        // applied there
	any     bool          // it answered in this term
	last    Reply
	skipped bool // an index became stable without it, and it has not caught up
	voter   bool
	// waited tells that writes wait for the member. Until then it gets no WaitIndex
	// and so does not serve.
	waited bool
	// served tells that it may serve by permission of an earlier term's leader, until
	// it answers in this one.
	served bool
	paused bool // it gets no Beats
	// gone is the start counter of a process that said goodbye: that process does not
	// serve any more. 0 for none.
	gone uint64
}

// delays tells whether writes wait for the member at all.
func (p *peer) delays() bool { return p.gone == 0 && (p.waited || p.served && !p.any) }

type applied struct {
	index uint64
	at    time.Duration
}

// NewLeader starts the bookkeeping of a term. since is when this node was elected
// and peers are the other voters of the committed configuration. stable is what
// this node knew as a follower: it stays true under every later leader.
func NewLeader(term uint64, peers []string, stable uint64, since time.Duration) *Leader {
	l := &Leader{term: term, since: since, stable: stable, peers: make(map[string]*peer, len(peers))}
	for _, id := range peers {
		// A member that never answers may have been served by the leader before
		// this one until now.
		l.peers[id] = &peer{heard: since, voter: true, waited: true}
	}
	return l
}

// Add adds a member that does not vote. known tells that it was one when the term
// began, so that the leader before this one may have let it serve until now.
// Writes wait for it, and it may serve, from when it lags by at most Near.
func (l *Leader) Add(id string, known bool, now time.Duration) {
	if l.peers[id] == nil {
		l.peers[id] = &peer{heard: now, served: known}
	}
}

// SetVoter says whether a member votes.
func (l *Leader) SetVoter(id string, voter bool) {
	if p := l.peers[id]; p != nil {
		p.voter = voter
	}
}

// Remove forgets a member, which must be Quiet.
func (l *Leader) Remove(id string) { delete(l.peers, id) }

// Pause ends the Beats to a member that is to be removed, Resume begins them
// anew. No Beat may be in flight.
func (l *Leader) Pause(id string, now time.Duration) {
	if p := l.peers[id]; p != nil && !p.paused {
		p.paused = true
		if p.waited {
			p.heard = max(p.heard, min(now, p.sent+Silence)) // it may have heard what it did not answer
		}
	}
}

// Resume begins the Beats to a member anew.
func (l *Leader) Resume(id string) {
	if p := l.peers[id]; p != nil {
		p.paused = false
	}
}

// Quiet returns when a paused member has stopped serving at the latest; a time
// that is past if it has.
func (l *Leader) Quiet(id string) time.Duration {
	p := l.peers[id]
	if p == nil || !p.delays() {
		return 0
	}
	return p.heard + Silence
}

// Goodbye says that the member's process with the start counter inc does not serve
// any more. Writes wait for the member again when a later process of it is near.
func (l *Leader) Goodbye(id string, inc uint64) {
	if p := l.peers[id]; p != nil && inc >= p.last.Inc {
		p.gone = inc
	}
}

// Term returns the term.
func (l *Leader) Term() uint64 { return l.term }

// Stable returns the index up to which writes are acknowledged.
func (l *Leader) Stable() uint64 { return l.stable }

// Next returns the Beat to send to a member at now, when this node has applied
// index. At most one may be in flight for each member.
func (l *Leader) Next(to string, index uint64, now time.Duration) (Beat, bool) {
	p, ok := l.peers[to]
	if !ok || p.paused {
		return Beat{}, false
	}
	if !p.waited && p.any && p.gone == 0 && p.index+Near >= index && l.open > 0 {
		p.waited = true // before it may serve
	}
	if l.open == 0 || !p.waited || p.gone > 0 {
		index = 0
	}
	p.round++
	p.sent = now
	return Beat{Term: l.term, Round: p.round, WaitIndex: index, Stable: l.stable}, true
}

// Answer takes the reply to the Beat of a round, received at now. It returns
// whether the reply counts: one of another term, or to another round than the
// latest, does not. back is true when a member that writes were not waiting for
// any more has caught up.
func (l *Leader) Answer(from string, round uint64, r Reply, now time.Duration) (counts, back bool) {
	p, ok := l.peers[from]
	if !ok || r.Term != l.term || round != p.round {
		return false, false
	}
	p.acked, p.heard, p.any, p.last = p.sent, now, true, r
	p.index = max(p.index, r.Applied)
	if p.gone > 0 && r.Inc > p.gone {
		p.gone, p.waited, p.served, p.index = 0, false, false, r.Applied
	}
	if p.skipped && p.index >= l.stable {
		p.skipped = false
		return true, true
	}
	return true, false
}

// Opened says that the term's first command was applied here at index.
func (l *Leader) Opened(index uint64) { l.open = index }

// Applied says that this node's state machine published index at now.
func (l *Leader) Applied(index uint64, now time.Duration) {
	if index <= l.stable || len(l.waiting) > 0 && index <= l.waiting[len(l.waiting)-1].index {
		return
	}
	l.waiting = append(l.waiting, applied{index, now})
}

// Progress is what Advance found.
type Progress struct {
	Stable uint64
	// Moved tells that Stable rose.
	Moved bool
	// Alone counts the published indexes that became stable although a member had
	// not applied them.
	Alone int
	// Skipped are the members that were passed over for the first time since they
	// last were up to date.
	Skipped []string
	// Again is when the next index becomes stable if nobody answers; 0: nothing
	// waits.
	Again time.Duration
}

// Advance moves the stable index as far as the rule allows at now. Before Opened
// it does not move: a leader acknowledges nothing of earlier terms.
func (l *Leader) Advance(now time.Duration) Progress {
	p := Progress{Stable: l.stable}
	if l.open == 0 {
		return p
	}
	for len(l.waiting) > 0 {
		head := l.waiting[0]
		if again := l.due(head); again > now {
			p.Again = again
			break
		}
		l.waiting = l.waiting[1:]
		l.stable, p.Stable, p.Moved = head.index, head.index, true
		l.pass(head.index, &p)
	}
	return p
}

// due returns when head may become stable: 0 if every member has applied it.
func (l *Leader) due(head applied) time.Duration {
	var due time.Duration
	for _, p := range l.peers {
		if p.delays() && p.index < head.index {
			due = max(due, min(p.heard, head.at)+Silence)
		}
	}
	return due
}

// pass records who was passed over when index became stable.
func (l *Leader) pass(index uint64, out *Progress) {
	alone := false
	for id, p := range l.peers {
		if p.index >= index || !p.delays() {
			continue
		}
		alone = true
		if !p.skipped {
			p.skipped = true
			out.Skipped = append(out.Skipped, id)
		}
	}
	if alone {
		out.Alone++
	}
}

// Fresh returns until when this node may serve reads as leader: Silence after the
// time at which a majority's answered Beats had been sent. Counting from the
// sending, not from the answer, keeps an answer that lay in a queue from proving
// anything about the time after it. ok is false before Opened and when no
// majority has answered in time.
func (l *Leader) Fresh(now time.Duration) (fresh Freshness, ok bool) {
	fresh = Freshness{Term: l.term, Until: Forever, Floor: l.open}
	voters := 1
	at := []time.Duration{now} // this node
	for _, p := range l.peers {
		if p.voter {
			voters++
			if p.any {
				at = append(at, p.acked)
			}
		}
	}
	if l.open == 0 || voters == 1 {
		return fresh, l.open != 0
	}
	majority := voters/2 + 1
	if len(at) < majority {
		return fresh, false
	}
	slices.Sort(at)
	fresh.Until = at[len(at)-majority] + Silence
	return fresh, now < fresh.Until
}

// A Member is what the leader knows about another node.
type Member struct {
	ID    string
	Heard time.Duration // when it answered last in this term; before that, when the term began
	Any   bool          // it has answered in this term
	Last  Reply         // zero before the first answer
	Voter bool
	// Waited tells that writes wait for the member, and that it may serve.
	Waited bool
}

// Members returns what is known about the other nodes, sorted by ID.
func (l *Leader) Members() []Member {
	out := make([]Member, 0, len(l.peers))
	for id, p := range l.peers {
		out = append(out, Member{ID: id, Heard: p.heard, Any: p.any, Last: p.last, Voter: p.voter, Waited: p.waited && p.gone == 0})
	}
	slices.SortFunc(out, func(a, b Member) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}

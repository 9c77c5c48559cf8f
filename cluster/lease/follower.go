package lease

import "time"

// A Follower is what a node knows from the Beats that it received. The zero value
// has received none.
type Follower struct {
	term   uint64
	heard  time.Duration
	any    bool
	stable uint64
}

// Beat takes a Beat, received at now. raftTerm is the node's current term and
// leads whether Raft names the sender its leader; a Beat of another term or
// sender does not count. It returns whether the Beat counts.
func (f *Follower) Beat(b Beat, raftTerm uint64, leads bool, now time.Duration) bool {
	if b.Term != raftTerm || !leads || b.Term < f.term {
		return false
	}
	f.term, f.heard, f.any = b.Term, now, true
	f.stable = max(f.stable, b.Stable)
	return true
}

// Led says that this node led itself until it knew stable.
func (f *Follower) Led(stable uint64) { f.stable = max(f.stable, stable) }

// Stable returns the highest index that a leader has said to be stable.
func (f *Follower) Stable() uint64 { return f.stable }

// FreshUntil returns until when this node may serve reads, and in which term
// only: once Raft's term is another, not at all. ok is false before any Beat.
func (f *Follower) FreshUntil() (term uint64, until time.Duration, ok bool) {
	return f.term, f.heard + Silence, f.any
}

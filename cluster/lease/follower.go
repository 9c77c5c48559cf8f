package lease

import "time"

// A Follower is what a node knows from the Beats that it received. The zero value
// has received none.
type Follower struct {
	term   uint64
	floor  uint64 // WaitIndex of the first Beat of the term that was open; 0: none
	heard  time.Duration
	stable uint64
}

// Beat takes a Beat, received at now. raftTerm is the node's current term and
// leads whether Raft names the sender its leader; a Beat of another term or
// sender does not count. It returns whether the Beat counts.
func (f *Follower) Beat(b Beat, raftTerm uint64, leads bool, now time.Duration) bool {
	if b.Term != raftTerm || !leads || b.Term < f.term {
		return false
	}
	if b.Term > f.term {
		f.term, f.floor = b.Term, 0
	}
	f.stable = max(f.stable, b.Stable)
	if b.WaitIndex == 0 {
		return true // the term is not open: what the leader has may be old
	}
	f.heard = now
	if f.floor == 0 {
		f.floor = b.WaitIndex
	}
	return true
}

// Led says that this node led itself until it knew stable.
func (f *Follower) Led(stable uint64) { f.stable = max(f.stable, stable) }

// Stable returns the highest index that a leader has said to be stable.
func (f *Follower) Stable() uint64 { return f.stable }

// A Freshness is the permission to serve reads while three things hold: Raft is in
// Term, the time is before Until, and Floor is applied.
type Freshness struct {
	Term  uint64
	Until time.Duration
	Floor uint64
}

// Fresh returns until when this node may serve. ok is false while no Beat of an
// open term was received. The floor is what the leader had applied when this node
// heard it first in its term: everything that was acknowledged before.
func (f *Follower) Fresh() (fresh Freshness, ok bool) {
	return Freshness{f.term, f.heard + Silence, max(f.floor, f.stable)}, f.floor > 0
}

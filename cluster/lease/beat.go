package lease

import "time"

const (
	// Every is the longest pause between two Beats to a member.
	Every = 250 * time.Millisecond
	// Hold is how long a member waits with its reply for WaitIndex to be applied.
	Hold = 100 * time.Millisecond
	// Silence is how long a member that does not answer delays a write, and how
	// long a node that hears no Beat goes on serving.
	Silence = time.Second
	// Near is how many entries a member that was added may lag to be waited for from
	// then on, and to serve.
	Near = 250
)

// A Beat is what the leader of a term sends to every other member.
type Beat struct {
	Term  uint64
	Round uint64 // counts the Beats of this term to this member, from 1
	// WaitIndex is what the leader has applied, which the member should have applied
	// when it replies; 0 while the term is not open.
	WaitIndex uint64
	// Stable is the index up to which the leader acknowledges writes.
	Stable uint64
	// Wall is the median of the members' wall clocks, milliseconds since 1970; 0
	// while the leader knows too few of them.
	Wall int64
}

// A Reply is a member's answer. Term is read when the Beat is received, the rest
// when the reply leaves.
type Reply struct {
	Term     uint64 // the member's current Raft term
	Inc      uint64 // how often the member's node was started
	Stamp    time.Duration
	Applied  uint64 // the index that the member's state machine has published
	Version  uint16 // the highest cluster version that the member supports
	Wall     int64  // the member's wall clock, milliseconds since 1970
	DiskFree uint64 // bytes free for the member's data directory
	// Authority is the index of the newest record of authorities by which the
	// member trusts its peers, durably.
	Authority uint64
	// Remembers is the index of the state whose members the member has written down
	// for its next start.
	Remembers uint64
}

package lease

import (
	"slices"
	"time"
)

// Uptime is how long a node must have run before its wall clock decides anything
// where no other votes: a machine sets its clock soon after it was started.
const Uptime = 10 * time.Minute

// Passed returns the latest time, in milliseconds since 1970, that the wall clocks
// of a majority of the voters are known to have passed: a minority of wrong clocks
// cannot bring it forward. own is this node's wall clock at now, and started is
// when the node began to run.
//
// A member counts with what it answered last, without the time that went by since,
// and only while it answers: a clock that was wrong last week must not vote along
// with one that is wrong today.
//
// ok is false when too few clocks are known: before Opened, and before a full round
// of Beats, in which every voter has answered or Silence has passed since the term
// began. A node that votes alone must have run for Uptime.
func (l *Leader) Passed(own int64, started, now time.Duration) (wall int64, ok bool) {
	if l.open == 0 {
		return 0, false
	}
	voters, clocks := 1, []int64{own}
	for _, p := range l.peers {
		switch {
		case !p.voter:
			continue
		case !p.any && now < l.since+Silence:
			return 0, false
		case p.any && now-p.heard < Silence:
			clocks = append(clocks, p.last.Wall)
		}
		voters++
	}
	majority := voters/2 + 1
	if len(clocks) < majority || voters == 1 && now-started < Uptime {
		return 0, false
	}
	slices.Sort(clocks)
	return clocks[len(clocks)-majority], true
}

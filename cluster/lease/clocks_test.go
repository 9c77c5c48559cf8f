package lease_test

import (
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster/lease"
)

const (
	year = 365 * 24 * time.Hour
	noon = int64(1_800_000_000_000) // what a right clock shows, in ms
)

// A voters is the leader of an open term that began at 1 s, and its peers.
type voters struct {
	t      *testing.T
	l      *lease.Leader
	rounds map[string]uint64
}

func newVoters(t *testing.T, peers ...string) *voters {
	v := &voters{t, lease.NewLeader(7, peers, 0, second), map[string]uint64{}}
	v.l.Applied(1000, second)
	v.l.Opened(1000)
	return v
}

// says lets a member answer a Beat at now with its wall clock.
func (v *voters) says(id string, wall int64, now time.Duration) {
	v.t.Helper()
	b, ok := v.l.Next(id, 1000, now)
	if !ok {
		v.t.Fatalf("no Beat for %s", id)
	}
	if counts, _ := v.l.Answer(id, b.Round, lease.Reply{Term: 7, Applied: 1000, Wall: wall}, now); !counts {
		v.t.Fatalf("the answer of %s does not count", id)
	}
}

// want asks what has passed at now on a node that has run since 0.
func (v *voters) want(own int64, now time.Duration, want int64, ok bool) {
	v.t.Helper()
	if got, known := v.l.Passed(own, 0, now); known != ok || got != want {
		v.t.Errorf("passed at %v: %d, %v; want %d, %v", now, got-noon, known, want-noon, ok)
	}
}

const unknown = int64(0)

func TestWhatAMajorityOfClocksHasPassed(t *testing.T) {
	t.Parallel()
	ahead, behind := noon+year.Milliseconds(), noon-year.Milliseconds()
	for name, row := range map[string]struct {
		own   int64
		peers []int64
		want  int64
	}{
		"all are right":           {noon, []int64{noon, noon}, noon},
		"they differ a little":    {noon + 3, []int64{noon + 2, noon + 1}, noon + 2},
		"one is ahead":            {noon, []int64{ahead, noon}, noon},
		"the leader's is ahead":   {ahead, []int64{noon, noon}, noon},
		"one is behind":           {noon, []int64{noon, behind}, noon},
		"the leader's is behind":  {behind, []int64{noon, noon + 1}, noon},
		"one ahead, one behind":   {noon, []int64{ahead, behind}, noon},
		"two voters":              {noon, []int64{noon + 5}, noon},
		"two, one ahead":          {ahead, []int64{noon}, noon},
		"two, one behind":         {noon, []int64{behind}, behind},
		"four, one ahead":         {noon, []int64{ahead, noon, noon}, noon},
		"four, two ahead":         {ahead, []int64{ahead, noon, noon}, noon},
		"five, two ahead":         {noon, []int64{ahead, ahead, noon, noon}, noon},
		"five, two ahead, behind": {noon, []int64{ahead, ahead, behind, noon}, noon},
		"five, two behind":        {noon, []int64{behind, behind, noon, noon}, noon},
		"most are ahead":          {noon, []int64{ahead, ahead}, ahead}, // nobody can know better
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids := []string{"a", "b", "c", "d"}[:len(row.peers)]
			v := newVoters(t, ids...)
			for i, id := range ids {
				v.says(id, row.peers[i], 2*second)
			}
			v.want(row.own, 2*second, row.want, true)
		})
	}
}

// Every cluster of up to five voters, in which every clock is right, a year ahead, a
// year behind, or silent: what has passed is right as long as no majority is wrong,
// and known as long as a majority answers.
func TestEveryCombinationOfClocks(t *testing.T) {
	t.Parallel()
	const kinds = 4
	readings := [kinds]int64{noon, noon + year.Milliseconds(), noon - year.Milliseconds(), 0}
	const right, ahead, behind, silent = 0, 1, 2, 3
	for n := 1; n <= 5; n++ {
		ids := []string{"a", "b", "c", "d"}[:n-1]
		combinations := 1
		for range n {
			combinations *= kinds
		}
		for c := range combinations {
			var count [kinds]int
			v := newVoters(t, ids...)
			own := c % kinds
			if own == silent {
				continue // a node knows its own clock
			}
			count[own]++
			for i, rest := 0, c/kinds; i < n-1; i, rest = i+1, rest/kinds {
				kind := rest % kinds
				count[kind]++
				if kind != silent {
					v.says(ids[i], readings[kind], lease.Uptime)
				}
			}
			majority := n/2 + 1
			want := readings[behind]
			switch {
			case n-count[silent] < majority:
				want = unknown
			case count[ahead] >= majority:
				want = readings[ahead]
			case count[ahead]+count[right] >= majority:
				want = noon
			}
			if got, ok := v.l.Passed(readings[own], 0, lease.Uptime); got != want || ok != (want != unknown) {
				t.Fatalf("%d voters, %d right, %d ahead, %d behind, %d silent: passed %d, %v; want %d",
					n, count[right], count[ahead], count[behind], count[silent], got-noon, ok, want-noon)
			}
		}
	}
}

func TestClocksOfAMemberThatFallsSilent(t *testing.T) {
	t.Parallel()
	v := newVoters(t, "a", "b")
	ahead := noon + year.Milliseconds()
	v.says("a", ahead, 2*second)
	v.says("b", noon, 2*second)
	v.want(noon, 2*second, noon, true)
	// a is gone, with a clock that was wrong; then b's goes wrong. One at a time, no
	// majority ever was.
	v.says("b", ahead, 3*second)
	v.want(noon+1000, 3*second-1, ahead, true) // a is heard yet
	v.want(noon+1000, 3*second, noon+1000, true)
	v.want(noon+2000, 4*second, unknown, false) // nobody answers
	// An answer is the time at which it was given, not what may have passed since.
	v.says("a", noon+3000, 5*second)
	v.want(noon+3900, 6*second-1, noon+3000, true)
	// A clock that was set back counts as it is.
	v.says("a", noon-60_000, 6*second)
	v.want(noon+4000, 6*second, noon-60_000, true)
}

func TestNewLeaderHearsARoundFirst(t *testing.T) {
	t.Parallel()
	v := newVoters(t, "a", "b", "c", "d")
	v.want(noon, second, unknown, false)
	v.says("a", noon, second+200*ms)
	v.says("b", noon, second+200*ms)
	v.says("c", noon, second+200*ms)
	v.want(noon, second+200*ms, unknown, false) // d may be about to answer
	v.says("d", noon, second+300*ms)
	v.want(noon, second+300*ms, noon, true)

	dead := newVoters(t, "a", "b")
	dead.says("a", noon, second+900*ms)
	dead.want(noon, 2*second-1, unknown, false)
	dead.want(noon, 2*second, noon, true) // b did not answer for lease.Silence

	closed := lease.NewLeader(7, []string{"a"}, 0, 0)
	if b, ok := closed.Next("a", 0, 0); !ok {
		t.Error("no Beat before the term is open")
	} else {
		closed.Answer("a", b.Round, lease.Reply{Term: 7, Wall: noon}, 0)
	}
	if _, ok := closed.Passed(noon, 0, 0); ok {
		t.Error("something has passed before the term was open")
	}
	closed.Opened(1)
	if got, ok := closed.Passed(noon, 0, 0); !ok || got != noon {
		t.Errorf("passed %d, %v", got, ok)
	}
}

func TestNodeThatVotesAloneMustHaveRun(t *testing.T) {
	t.Parallel()
	v := newVoters(t)
	v.want(noon, 10*time.Minute-1, unknown, false)
	v.want(noon, 10*time.Minute, noon, true)
	if _, ok := v.l.Passed(noon, 5*time.Minute, 10*time.Minute); ok {
		t.Error("something has passed for a node that has run for five minutes")
	}
	// Members without a vote change nothing.
	v.l.Add("watcher", false, 0)
	v.says("watcher", noon+year.Milliseconds(), 10*time.Minute)
	v.want(noon, 10*time.Minute, noon, true)
	if _, ok := v.l.Passed(noon, 5*time.Minute, 10*time.Minute); ok {
		t.Error("a member without a vote stands for uptime")
	}
}

func TestClocksWhenMembersChange(t *testing.T) {
	t.Parallel()
	now := lease.Uptime
	ahead := noon + year.Milliseconds()
	v := newVoters(t)
	v.l.Add("a", false, now)
	v.l.Add("b", false, now)
	v.says("a", ahead, now)
	v.says("b", noon-1000, now)
	v.want(noon, now, noon, true) // neither votes
	v.l.SetVoter("a", true)
	v.want(noon, now, noon, true) // two voters: the one that is behind
	v.l.SetVoter("b", true)
	v.want(noon, now, noon, true)
	v.l.Remove("a")
	v.want(noon, now, noon-1000, true)
	v.l.SetVoter("b", false)
	v.want(noon, now, noon, true)

	// A new voter that never answered is waited for no more than any other.
	v.l.Add("c", false, now)
	v.l.SetVoter("c", true)
	v.want(noon, now, unknown, false) // one of two
	v.l.SetVoter("b", true)
	v.want(noon, now, noon-1000, true) // two of three
}

package lease_test

import (
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster/lease"
)

const second = time.Second

// A lead is an open term of a leader with one other voter, which is up to date.
func lead(t *testing.T) *lease.Leader {
	t.Helper()
	l := lease.NewLeader(7, []string{"voter"}, 0, 0)
	l.Applied(1000, 0)
	l.Opened(1000)
	answer(t, l, "voter", 1, 1000, 0)
	if p := l.Advance(0); p.Stable != 1000 {
		t.Fatalf("stable = %d, want 1000", p.Stable)
	}
	return l
}

// answer sends a Beat at now and takes the reply at once. It returns the Beat.
func answer(t *testing.T, l *lease.Leader, id string, inc, applied uint64, now time.Duration) lease.Beat {
	t.Helper()
	b, ok := l.Next(id, 1000, now)
	if !ok {
		t.Fatalf("no Beat for %s", id)
	}
	if counts, _ := l.Answer(id, b.Round, lease.Reply{Term: 7, Inc: inc, Applied: applied}, now); !counts {
		t.Fatalf("the answer of %s does not count", id)
	}
	return b
}

func TestAddedMemberIsWaitedForOnceItIsNear(t *testing.T) {
	t.Parallel()
	l := lead(t)
	l.Add("new", false, 0)
	l.Applied(1001, second)
	answer(t, l, "voter", 1, 1001, second)
	if p := l.Advance(second); p.Stable != 1001 {
		t.Errorf("a write waits for a member that cannot serve: stable = %d", p.Stable)
	}
	if b := answer(t, l, "new", 1, 1000-lease.Near-1, second); b.WaitIndex != 0 {
		t.Errorf("WaitIndex = %d for a member that never answered, want 0: it may not serve", b.WaitIndex)
	}
	if b := answer(t, l, "new", 1, 1000-lease.Near, second); b.WaitIndex != 0 {
		t.Errorf("WaitIndex = %d for a member that is far behind, want 0", b.WaitIndex)
	}
	if b := answer(t, l, "new", 1, 1000, second); b.WaitIndex != 1000 {
		t.Errorf("WaitIndex = %d for a member that is near, want 1000", b.WaitIndex)
	}
	l.Applied(1002, second)
	answer(t, l, "voter", 1, 1002, second)
	if p := l.Advance(second); p.Stable != 1001 {
		t.Errorf("a write does not wait for a member that may serve: stable = %d", p.Stable)
	}
}

func TestMembersWithoutAVoteDoNotCount(t *testing.T) {
	t.Parallel()
	l := lead(t)
	l.Add("one", false, 0)
	l.Add("two", false, 0)
	for _, id := range []string{"one", "two"} {
		answer(t, l, id, 1, 1000, 2*second)
	}
	if _, ok := l.Fresh(2 * second); ok {
		t.Error("fresh by the answers of members without a vote")
	}
	l.SetVoter("one", true)
	if f, ok := l.Fresh(2 * second); !ok || f.Until != 3*second {
		t.Errorf("two of three voters: %v, %v; want until 3 s", f, ok)
	}
}

// A member without a vote may serve by permission of the leader before.
func TestKnownMemberWithoutAVoteDelaysUntilItAnswers(t *testing.T) {
	t.Parallel()
	l := lease.NewLeader(7, nil, 0, 0)
	l.Add("old", true, 0)
	l.Opened(1000)
	l.Applied(1000, 0)
	if p := l.Advance(0); p.Moved || p.Again != second {
		t.Errorf("progress %+v, want to wait a second", p)
	}
	answer(t, l, "old", 1, 10, second/2) // of this term: the old permission is void
	if p := l.Advance(second / 2); p.Stable != 1000 {
		t.Errorf("stable = %d, want 1000", p.Stable)
	}
}

func TestGoodbye(t *testing.T) {
	t.Parallel()
	l := lead(t)
	l.Goodbye("voter", 1)
	l.Applied(1001, second/10)
	if p := l.Advance(second / 10); p.Stable != 1001 || p.Alone != 0 {
		t.Errorf("progress %+v, want 1001 without waiting", p)
	}
	if b := answer(t, l, "voter", 1, 1000, second/10); b.WaitIndex != 0 {
		t.Error("a process that said goodbye may serve")
	}
	if b := answer(t, l, "voter", 2, 1000, second/10); b.WaitIndex != 0 {
		t.Error("the next process may serve before it is known")
	}
	if b := answer(t, l, "voter", 2, 1000, second/10); b.WaitIndex != 1000 {
		t.Error("the next process may not serve")
	}
	l.Goodbye("voter", 1) // late
	l.Applied(1002, second/10)
	if p := l.Advance(second / 10); p.Stable != 1001 {
		t.Error("a late goodbye of an old process counts for the new one")
	}
}

func TestPausedMemberIsQuietAfterASecond(t *testing.T) {
	t.Parallel()
	l := lead(t)
	answer(t, l, "voter", 1, 1000, 5*second)
	l.Pause("voter", 5*second+second/2)
	if _, ok := l.Next("voter", 1000, 6*second); ok {
		t.Error("a Beat for a paused member")
	}
	// It may have heard a Beat whose answer was lost, until the pause.
	if got, want := l.Quiet("voter"), 6*second+second/2; got != want {
		t.Errorf("quiet at %v, want %v", got, want)
	}
	l.Goodbye("voter", 1)
	if got := l.Quiet("voter"); got != 0 {
		t.Errorf("quiet at %v after a goodbye, want at once", got)
	}
	l.Resume("voter")
	if _, ok := l.Next("voter", 1000, 7*second); !ok {
		t.Error("no Beat after the pause")
	}
	l.Remove("voter")
	if f, ok := l.Fresh(8 * second); !ok || f.Until != lease.Forever {
		t.Errorf("alone: %v, %v", f, ok)
	}
}

package lease_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster/lease"
)

const ms = time.Millisecond

// A script drives a Leader of term 7 with the peers b and c, elected at 1000 ms.
type script struct {
	t      *testing.T
	l      *lease.Leader
	rounds map[string]uint64
}

func newScript(t *testing.T, peers ...string) *script {
	return &script{t, lease.NewLeader(7, peers, 0, 1000*ms), map[string]uint64{}}
}

func (s *script) send(to string, at time.Duration) {
	s.t.Helper()
	b, ok := s.l.Next(to, 0, at)
	if !ok || b.Term != 7 || b.Round != s.rounds[to]+1 {
		s.t.Fatalf("Next(%s) = %+v, %v", to, b, ok)
	}
	s.rounds[to] = b.Round
}

func (s *script) answer(from string, applied uint64, at time.Duration) {
	s.t.Helper()
	if ok, _ := s.l.Answer(from, s.rounds[from], lease.Reply{Term: 7, Applied: applied}, at); !ok {
		s.t.Fatalf("the answer of %s does not count", from)
	}
}

func (s *script) stable(at time.Duration, want uint64) lease.Progress {
	s.t.Helper()
	p := s.l.Advance(at)
	if p.Stable != want {
		s.t.Fatalf("stable at %v = %d, want %d", at, p.Stable, want)
	}
	return p
}

func TestStableWhenEveryMemberApplied(t *testing.T) {
	t.Parallel()
	s := newScript(t, "b", "c")
	s.send("b", 1001*ms)
	s.send("c", 1001*ms)
	s.l.Applied(10, 1010*ms)
	s.l.Opened(10)
	s.answer("b", 10, 1020*ms)
	s.stable(1020*ms, 0)
	s.answer("c", 9, 1021*ms)
	if p := s.stable(1021*ms, 0); p.Again != 2010*ms {
		t.Errorf("again at %v, want 2.01s: one second after the index was applied", p.Again)
	}
	s.send("c", 1022*ms)
	s.answer("c", 10, 1023*ms)
	if p := s.stable(1023*ms, 10); !p.Moved || p.Alone != 0 || p.Skipped != nil || p.Again != 0 {
		t.Errorf("progress = %+v", p)
	}
}

func TestNothingIsStableBeforeTheTermIsOpen(t *testing.T) {
	t.Parallel()
	s := newScript(t) // alone
	s.l.Applied(10, 1000*ms)
	s.stable(9000*ms, 0)
	if _, ok := s.l.Fresh(9000 * ms); ok {
		t.Error("fresh before the term was open")
	}
	s.l.Applied(11, 9000*ms)
	s.l.Opened(11)
	s.stable(9000*ms, 11)
	if got, ok := s.l.Fresh(99999 * ms); !ok || got != (lease.Freshness{Term: 7, Until: lease.Forever, Floor: 11}) {
		t.Errorf("a single node is fresh %+v, %v", got, ok)
	}
}

func TestSilentMemberDelaysAWriteByASecond(t *testing.T) {
	t.Parallel()
	s := newScript(t, "b", "c")
	for _, id := range []string{"b", "c"} {
		s.send(id, 1100*ms)
		s.answer(id, 9, 1200*ms)
	}
	s.l.Applied(10, 1300*ms)
	s.l.Opened(10)
	s.send("b", 1301*ms)
	s.answer("b", 10, 1310*ms)
	if p := s.stable(2199*ms, 0); p.Again != 2200*ms {
		t.Errorf("again at %v, want 2.2s: one second after c was heard", p.Again)
	}
	p := s.stable(2200*ms, 10)
	if p.Alone != 1 || !slices.Equal(p.Skipped, []string{"c"}) {
		t.Errorf("progress = %+v, want alone once, c skipped", p)
	}
	// From now on writes do not wait for c, and nobody says so again.
	s.l.Applied(11, 2300*ms)
	s.send("b", 2301*ms)
	s.answer("b", 11, 2302*ms)
	if p := s.stable(2302*ms, 11); p.Alone != 1 || p.Skipped != nil {
		t.Errorf("progress = %+v, want alone once, nobody newly skipped", p)
	}
	// c is back but behind: writes wait for it again.
	s.send("c", 2400*ms)
	s.answer("c", 9, 2410*ms)
	s.l.Applied(12, 2411*ms)
	s.send("b", 2412*ms)
	s.answer("b", 12, 2413*ms)
	s.stable(2413*ms, 11)
	s.send("c", 2420*ms)
	if counts, back := s.l.Answer("c", s.rounds["c"], lease.Reply{Term: 7, Applied: 12}, 2430*ms); !counts || !back {
		t.Errorf("counts %v, back %v, want both", counts, back)
	}
	s.stable(2430*ms, 12)
}

func TestMemberThatAnswersButDoesNotApply(t *testing.T) {
	t.Parallel()
	s := newScript(t, "b")
	s.l.Applied(10, 1500*ms)
	s.l.Opened(10)
	for at := 1600 * ms; at < 2500*ms; at += 100 * ms {
		s.send("b", at)
		s.answer("b", 9, at+50*ms)
		s.stable(at+50*ms, 0)
	}
	s.stable(2499*ms, 0)
	s.stable(2500*ms, 10)
}

func TestMemberThatNeverAnswersCountsFromTheElection(t *testing.T) {
	t.Parallel()
	s := newScript(t, "b", "c")
	s.l.Applied(10, 1900*ms)
	s.l.Opened(10)
	s.send("b", 1900*ms)
	s.answer("b", 10, 1950*ms)
	s.stable(1999*ms, 0)
	s.stable(2000*ms, 10)
}

func TestAnswersThatDoNotCount(t *testing.T) {
	t.Parallel()
	s := newScript(t, "b")
	s.send("b", 1100*ms)
	for _, tt := range []struct {
		name  string
		from  string
		round uint64
		term  uint64
	}{
		{"another term", "b", 1, 8},
		{"an older term", "b", 1, 6},
		{"an earlier round", "b", 0, 7},
		{"a later round", "b", 2, 7},
		{"no member", "x", 1, 7},
	} {
		if ok, _ := s.l.Answer(tt.from, tt.round, lease.Reply{Term: tt.term, Applied: 99}, 1200*ms); ok {
			t.Errorf("%s: the answer counts", tt.name)
		}
	}
	if _, ok := s.l.Next("x", 0, 1200*ms); ok {
		t.Error("a Beat for a node that is no member")
	}
}

func TestLeaderIsFreshFromTheSendingOfAMajoritysBeats(t *testing.T) {
	t.Parallel()
	five := []string{"b", "c", "d", "e"}
	for _, tt := range []struct {
		name  string
		peers []string
		acked map[string]time.Duration // sent at; answered 200 ms later
		until time.Duration            // 0: not fresh
	}{
		{"two, nobody answered", []string{"b"}, nil, 0},
		{"two", []string{"b"}, map[string]time.Duration{"b": 1500 * ms}, 2500 * ms},
		{"three, nobody answered", []string{"b", "c"}, nil, 0},
		{"three, one answered", []string{"b", "c"}, map[string]time.Duration{"b": 1400 * ms}, 2400 * ms},
		{"three, the later one decides", []string{"b", "c"}, map[string]time.Duration{"b": 1400 * ms, "c": 1600 * ms}, 2600 * ms},
		{"five, one answered", five, map[string]time.Duration{"b": 1600 * ms}, 0},
		{"five, the second latest decides", five, map[string]time.Duration{"b": 1600 * ms, "c": 1500 * ms, "d": 1200 * ms}, 2500 * ms},
	} {
		s := newScript(t, tt.peers...)
		s.l.Opened(1)
		for id, at := range tt.acked {
			s.send(id, at)
			s.answer(id, 1, at+200*ms)
		}
		got, ok := s.l.Fresh(1900 * ms)
		if ok != (tt.until != 0) || ok && got != (lease.Freshness{Term: 7, Until: tt.until, Floor: 1}) {
			t.Errorf("%s: fresh %+v, %v; want until %v", tt.name, got, ok, tt.until)
		}
		if _, ok := s.l.Fresh(2600 * ms); ok {
			t.Errorf("%s: fresh for ever", tt.name)
		}
	}
}

func TestStableOutlivesATerm(t *testing.T) {
	t.Parallel()
	var f lease.Follower
	f.Beat(lease.Beat{Term: 6, WaitIndex: 41, Stable: 40}, 6, true, 0)
	l := lease.NewLeader(7, nil, f.Stable(), 1000*ms)
	if l.Stable() != 40 {
		t.Errorf("stable = %d, want 40", l.Stable())
	}
	l.Opened(42)
	l.Applied(39, 1000*ms)
	l.Applied(42, 1000*ms)
	if p := l.Advance(1000 * ms); p.Stable != 42 {
		t.Errorf("stable = %d, want 42", p.Stable)
	}
	f.Led(l.Stable())
	if f.Stable() != 42 {
		t.Errorf("stable after the lead = %d, want 42", f.Stable())
	}
}

func TestFollowerCountsBeatsOfItsTermsLeaderOnly(t *testing.T) {
	t.Parallel()
	var f lease.Follower
	if _, ok := f.Fresh(); ok {
		t.Error("fresh before any Beat")
	}
	for _, tt := range []struct {
		name     string
		beat     lease.Beat
		raftTerm uint64
		leads    bool
		counts   bool
		want     lease.Freshness // zero: not fresh
	}{
		{"the term is not open", lease.Beat{Term: 3, Stable: 5}, 3, true, true, lease.Freshness{}},
		{"first of an open term", lease.Beat{Term: 3, WaitIndex: 12, Stable: 10}, 3, true, true, lease.Freshness{Term: 3, Until: 1100 * ms, Floor: 12}},
		{"of an older term", lease.Beat{Term: 3, WaitIndex: 13, Stable: 11}, 4, true, false, lease.Freshness{Term: 3, Until: 1100 * ms, Floor: 12}},
		{"of a newer term", lease.Beat{Term: 5, WaitIndex: 13, Stable: 11}, 4, true, false, lease.Freshness{Term: 3, Until: 1100 * ms, Floor: 12}},
		{"not of the leader", lease.Beat{Term: 3, WaitIndex: 13, Stable: 11}, 3, false, false, lease.Freshness{Term: 3, Until: 1100 * ms, Floor: 12}},
		{"the floor stays", lease.Beat{Term: 3, WaitIndex: 13, Stable: 11}, 3, true, true, lease.Freshness{Term: 3, Until: 1500 * ms, Floor: 12}},
		{"the new leader's term is not open", lease.Beat{Term: 4, Stable: 5}, 4, true, true, lease.Freshness{}},
		{"now it is", lease.Beat{Term: 4, WaitIndex: 20, Stable: 15}, 4, true, true, lease.Freshness{Term: 4, Until: 1700 * ms, Floor: 20}},
		{"what is stable is a floor too", lease.Beat{Term: 4, WaitIndex: 30, Stable: 25}, 4, true, true, lease.Freshness{Term: 4, Until: 1800 * ms, Floor: 25}},
		{"of a leader of the past", lease.Beat{Term: 3, WaitIndex: 90, Stable: 90}, 3, true, false, lease.Freshness{Term: 4, Until: 1800 * ms, Floor: 25}},
	} {
		now := map[string]time.Duration{
			"first of an open term": 100 * ms, "the floor stays": 500 * ms, "now it is": 700 * ms, "what is stable is a floor too": 800 * ms,
		}[tt.name]
		if got := f.Beat(tt.beat, tt.raftTerm, tt.leads, now); got != tt.counts {
			t.Errorf("%s: counts = %v, want %v", tt.name, got, tt.counts)
		}
		got, ok := f.Fresh()
		if ok != (tt.want != lease.Freshness{}) || ok && got != tt.want {
			t.Errorf("%s: fresh %+v, %v; want %+v", tt.name, got, ok, tt.want)
		}
	}
	if f.Stable() != 25 {
		t.Errorf("stable = %d, want 25", f.Stable())
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	s := newScript(t, "c", "b")
	s.send("c", 1100*ms)
	s.answer("c", 5, 1200*ms)
	got := s.l.Members()
	if len(got) != 2 || got[0].ID != "b" || got[1].ID != "c" || got[1].Last.Applied != 5 || got[1].Heard != 1200*ms {
		t.Errorf("members = %+v", got)
	}
}

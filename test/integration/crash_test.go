package integration_test

import (
	"strings"
	"testing"
	"time"
)

// frozen is how long the leader is stopped.
const frozen = 5 * time.Second

// TestCrashesUnderLoad kills a follower, the leader and all three, and stops the
// leader for a while, while all nodes are written to and read from. Nothing that
// was acknowledged is lost, every answer is right or asks to be tried again, and
// the states are the same at the end.
func TestCrashesUnderLoad(t *testing.T) {
	t.Parallel()
	f := foundThree(t, true)
	tr := f.startTraffic()

	follower := f.followers(f.leader())[0]
	follower.crash()
	tr.awaitMore(20)
	follower.launch()
	follower.awaitReady()
	tr.awaitMore(10)

	leader := f.leader()
	leader.crash()
	tr.awaitMore(20)
	leader.launch()
	leader.awaitReady()
	tr.awaitMore(10)

	all := f.alive()
	for _, m := range all {
		m.crash()
	}
	for _, m := range all {
		m.launch()
	}
	for _, m := range all {
		m.awaitReady()
	}
	tr.awaitMore(10)

	f.freezeLeader(tr)
	tr.awaitMore(10)
	for _, m := range all {
		m.awaitReady()
	}
	tr.check()
	f.checkQuorumKept()
}

// freezeLeader stops the leader for five seconds. The others go on without it; when
// it goes on, it must not answer from its old state.
func (f *fleet) freezeLeader(tr *traffic) {
	f.t.Helper()
	leader := f.leader()
	all, others := f.alive(), f.followers(leader)
	leader.freeze()
	thaw := time.NewTimer(frozen)
	tr.use(others...)
	tr.awaitMore(10)
	<-thaw.C
	tr.use(all...)
	leader.thaw()
}

// checkQuorumKept kills one of three: the other two are not allowed to become one.
func (f *fleet) checkQuorumKept() {
	f.t.Helper()
	followers := f.followers(f.leader())
	followers[0].crash()
	poll(f.t, unhurried, "the leader to miss a member", func() bool {
		for _, m := range f.list() {
			if m.MemberID == followers[0].id {
				return !m.Healthy
			}
		}
		return false
	})
	r := followers[1].local("leave", "--yes")
	if r.code != codeRefused || !strings.Contains(r.stderr, "QuorumAtRisk") && !strings.Contains(r.stderr, "could decide nothing") {
		f.t.Errorf("leaving a cluster that needs the node: code %d, %q; want %d", r.code, r.stderr, codeRefused)
	}
	followers[1].awaitReady()
}

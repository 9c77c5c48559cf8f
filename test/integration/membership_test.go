package integration_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The exit codes that the tests look at.
const (
	codeRefused       = 3 // by the cluster
	codeNotConfigured = 78
)

// TestMembersComeAndGo lets a fourth node join, a follower leave and the leader
// leave, while all nodes are written to and read from.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	f := foundThree(t, true)
	tr := f.startTraffic()

	f.join(f.token())
	tr.use(f.alive()...)
	tr.awaitMore(20)

	f.followers(f.leader())[0].leave()
	tr.awaitMore(20)
	poll(t, unhurried, "the fourth node to vote in the place of the one that left", func() bool { return f.voters() == 3 })

	f.leader().leave()
	tr.awaitMore(20)
	tr.use(f.alive()...)
	tr.awaitMore(10)
	poll(t, unhurried, "two members", func() bool { return len(f.list()) == 2 })
	tr.check()
}

// leave makes a member leave: its process ends by itself, and its keys and its log
// are gone. A refusal because others do not answer may be right on a machine that is
// busy with other things: an operator tries again.
func (m *member) leave() {
	t := m.f.t
	t.Helper()
	poll(t, unhurried, m.name+" to be let go", func() bool {
		r := m.local("leave", "--yes")
		switch {
		case !m.runs(): // it has left; the answer came late
		case refusedForNow(r):
			t.Logf("%s stays for now: %s", m.name, r.stderr)
			return false
		default:
			m.f.ok(r)
		}
		return true
	})
	if code, err := m.wait(endTime); code != 0 || err != nil {
		t.Fatalf("%s left and ended with code %d, %v\n%s", m.name, code, err, m.tail())
	}
	if err := m.raced(); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"seal", "tls", "raft", "gossip.keys"} {
		if _, err := os.Stat(filepath.Join(m.data, name)); !os.IsNotExist(err) {
			t.Errorf("%s left, but %s is there: %v", m.name, name, err)
		}
	}
	m.mustNotStart()
}

// refusedForNow tells whether a removal was refused because of members that do not
// answer.
func refusedForNow(r result) bool {
	return r.code == codeRefused && strings.Contains(r.stderr, "Nothing was changed")
}

// remove removes another member. What was said of leave holds here.
func (m *member) remove(other *member) {
	m.f.t.Helper()
	poll(m.f.t, unhurried, other.name+" to be removed", func() bool {
		r := m.admin("remove-peer", "--yes", other.id)
		if refusedForNow(r) {
			m.f.t.Logf("%s stays for now: %s", other.name, r.stderr)
			return false
		}
		m.f.ok(r)
		return true
	})
}

// mustNotStart checks that the directory of a node that is no member any more says
// so and cannot be started.
func (m *member) mustNotStart() {
	t := m.f.t
	t.Helper()
	if _, err := os.Stat(filepath.Join(m.data, "REMOVED")); err != nil {
		t.Errorf("%s: %v", m.name, err)
	}
	r := m.run("server")
	if r.code != codeNotConfigured || !strings.Contains(r.stderr, "removed from its cluster") {
		t.Errorf("starting %s again: code %d, want %d: %s", m.name, r.code, codeNotConfigured, r.stderr)
	}
}

// TestRemovedMember removes a dead node. Its directory, and a copy of it, are of no
// use any more; a node that is made anew in its place joins.
func TestRemovedMember(t *testing.T) {
	t.Parallel()
	f := foundThree(t, false)
	tr := f.startTraffic()
	leader := f.leader()
	dead := f.followers(leader)[0]
	dead.crash()
	before := filepath.Join(f.dir, "before")
	text, err := exec.Command("cp", "-a", dead.data, before).CombinedOutput()
	must(t, "copying the directory: "+string(text), 0, err)
	stolen := f.rob(dead).Papers()
	leader.admits("a member that was not removed", stolen)

	leader.remove(dead)
	for _, m := range f.alive() {
		m.refuses("a node that was removed", stolen)
	}
	if slices.ContainsFunc(f.list(), func(m listed) bool { return m.MemberID == dead.id }) {
		t.Error("the node that was removed is listed")
	}
	if r := leader.admin("remove-peer", "--yes", "0b9c1f0e-1111-4a4a-8b8b-000000000001"); r.code != codeRefused {
		t.Errorf("removing a node that never was: code %d, want %d: %s", r.code, codeRefused, r.stderr)
	}
	leader.awaitRotation()

	dead.mustEnd()
	must(t, "restoring the directory", 0, os.RemoveAll(dead.data))
	must(t, "restoring the directory", 0, os.Rename(before, dead.data))
	dead.mustEnd() // as it was before the removal
	must(t, "wiping the directory", 0, os.RemoveAll(dead.data))
	f.ok(dead.run("join", "--token", f.token(), leader.cluster))
	dead.launch()
	dead.awaitReady()
	if id := dead.status().NodeID; id == dead.id {
		t.Error("the node made anew has the id of the one that was removed")
	} else {
		dead.id = id
	}
	tr.awaitMore(20)
	tr.check()
}

// mustEnd starts a node that was removed: it learns so and ends.
func (m *member) mustEnd() {
	t := m.f.t
	t.Helper()
	m.launch()
	if code, err := m.wait(patience); err != nil || code != 0 {
		t.Fatalf("%s, which was removed, ended with code %d, %v; want 0\n%s", m.name, code, err, m.tail())
	}
	if err := m.raced(); err != nil {
		t.Error(err)
	}
	m.mustNotStart()
}

// TestLastMemberStays refuses to let the only node leave or be removed.
func TestLastMemberStays(t *testing.T) {
	t.Parallel()
	f := found(t)
	only := f.members[0]
	if r := only.local("leave", "--yes"); r.code != codeRefused {
		t.Errorf("leaving: code %d, want %d: %s", r.code, codeRefused, r.stderr)
	}
	if r := only.admin("remove-peer", "--yes", only.id); r.code != codeRefused {
		t.Errorf("removing the only node: code %d, want %d: %s", r.code, codeRefused, r.stderr)
	}
	only.awaitReady()
	create(t, f.kms(only))
}

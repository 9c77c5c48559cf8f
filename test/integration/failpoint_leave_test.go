//go:build failpoint

package integration_test

import "testing"

// ofLeave ends a member that leaves at each moment from the command on. It goes on as a
// member, or does not start and keeps no keys.
func (c *crashes) ofLeave(t *testing.T) {
	tm, tr := newTemplate(t), newTrace(t)
	f := tm.clone(t)
	f.members[1].arm(tr.env())
	f.startTwo()
	f.ok(f.members[1].local("leave", "--yes"))
	if code, err := f.members[1].wait(patience); err != nil || code != 0 {
		t.Fatalf("the member that leaves ended with code %d, %v\n%s", code, err, f.members[1].tail())
	}
	each(t, tr.moments(t), func(t *testing.T, at moment) {
		f := tm.clone(t)
		m := f.members[1]
		m.arm(at.kill())
		f.startTwo()
		leave := m.startLeaving()
		c.account(at, m.endsAt(at))
		if _, err := leave.wait(commandTime); err != nil {
			t.Error(err)
		}
		m.env = []string{hasty}
		m.comeBack()
		poll(t, unhurried, "one living member and one dead", func() bool { return len(f.list()) == 2 })
		f.members[0].checkKeys([]string{tm.key})
		create(t, f.kms(f.members[0]))
	})
}

// startLeaving begins to leave. The answer may be lost.
func (m *member) startLeaving() *process {
	m.f.t.Helper()
	p := command("leave", "--yes")
	setenv("KMSD_CONFIG=" + m.config)(p)
	must(m.f.t, "starting to leave", 0, p.start())
	return p
}

// comeBack starts a member that was interrupted while it left. It leaves now, unless it
// has already, or learns that it has.
func (m *member) comeBack() {
	t := m.f.t
	t.Helper()
	m.launch()
	serves := false
	poll(t, unhurried, m.name+" to serve or to end", func() bool {
		serves = m.isReady()
		return serves || !m.runs()
	})
	if serves {
		m.leave()
		return
	}
	if code, err := m.wait(endTime); err != nil || code != 0 && code != codeNotConfigured {
		t.Errorf("%s ended with code %d, %v\n%s", m.name, code, err, m.tail())
	}
	m.mustNotStart()
}

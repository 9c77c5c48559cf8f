//go:build failpoint

package integration_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kmsd/kmsd/internal/testkit"
)

// A template is a cluster whose nodes are stopped. Tests run copies of it.
type template struct {
	*fleet
	key   string // made before
	third *testkit.Loot
}

// newTemplate makes a cluster of three nodes, of which the first one votes.
func newTemplate(t *testing.T) *template {
	t.Helper()
	tm := &template{fleet: foundHastily(t)}
	token := tm.token("--uses", "2")
	for range 2 {
		m := tm.newMember()
		m.env = []string{hasty}
		tm.ok(m.run("join", "--token", token, tm.members[0].cluster))
		m.launch()
		m.awaitReady()
		m.id = m.status().NodeID
	}
	tm.key, _ = create(t, tm.kms(tm.members[0]))
	tm.end()
	tm.third = tm.rob(tm.members[2])
	return tm
}

// clone copies the cluster. Its nodes have addresses of their own, which no other copy
// gets later: copies would take each other's nodes for their own.
func (tm *template) clone(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(t)
	f.root, f.region, f.trusted, f.ports = tm.root, tm.region, tm.trusted, tm.t
	for _, old := range tm.members {
		m := f.newMember()
		m.id, m.env = old.id, []string{hasty}
		for from, to := range map[string]string{old.data: m.data, old.seal: m.seal} {
			text, err := exec.Command("cp", "-a", from, to).CombinedOutput()
			must(t, "copying a node: "+string(text), 0, err)
		}
	}
	tm.introduce(f)
	return f
}

// introduce tells the members of a copy where the others are: they could not find each
// other when the addresses of all of them change at once.
func (tm *template) introduce(f *fleet) {
	t := f.t
	t.Helper()
	for _, m := range f.members {
		file := filepath.Join(m.data, "peers.json")
		text, err := os.ReadFile(file)
		must(t, "reading where the others are", 0, err)
		for i, other := range f.members {
			text = bytes.ReplaceAll(text, []byte(tm.members[i].cluster), []byte(other.cluster))
		}
		must(t, "writing where the others are", 0, os.WriteFile(file, text, 0o600))
	}
}

// ofRotation removes a dead member, and ends the leader and the other member at their
// moments from then on until authority and gossip key are replaced: in each run both,
// once.
func (c *crashes) ofRotation(t *testing.T) {
	tm := newTemplate(t)
	var moments [2][]moment
	for i := range moments {
		tr, f := newTrace(t), tm.clone(t)
		f.members[i].arm(tr.env())
		f.removeThird(tm, func() {})
		moments[i] = telling(tr.moments(t))
		f.end()
	}
	for i := range max(len(moments[0]), len(moments[1])) {
		ends := [2]moment{moments[0][i%len(moments[0])], moments[1][i%len(moments[1])]}
		t.Run(fmt.Sprintf("leader at %s, follower at %s", ends[0], ends[1]), func(t *testing.T) {
			t.Parallel()
			f := tm.clone(t)
			for i, at := range ends {
				f.members[i].arm(at.kill())
			}
			var ended [2]bool
			f.removeThird(tm, func() { f.revive(ends, &ended) })
			for i, m := range f.members[:2] {
				m.awaitReady()
				c.account(ends[i], ended[i])
			}
			f.checkRotated(tm)
		})
	}
}

// telling leaves out what repeats itself: the later hits of all points but the log's,
// whose entries are different steps.
func telling(moments []moment) []moment {
	return slices.DeleteFunc(moments, func(m moment) bool {
		return m.point() != "log stored" && !strings.HasSuffix(string(m), ";1")
	})
}

// revive starts each server again that has ended at its moment.
func (f *fleet) revive(ends [2]moment, ended *[2]bool) {
	f.t.Helper()
	for i, m := range f.members[:2] {
		if !m.runs() {
			m.awaitDeath(ends[i])
			ended[i] = true
			m.env = []string{hasty}
			m.launch()
		}
	}
}

// removeThird starts the first two members, removes the third one, and waits until the
// authority is replaced. meanwhile runs again and again.
func (f *fleet) removeThird(tm *template, meanwhile func()) {
	t := f.t
	t.Helper()
	f.startTwo()
	removal := f.startRemoval()
	poll(t, unhurried, "the third member to be removed and the authority to be replaced", func() bool {
		meanwhile()
		select {
		case <-removal.ended:
		default:
			return false
		}
		if removal.cmd.ProcessState.ExitCode() != 0 { // the operator does not know what has become of it
			removal = f.startRemoval()
			return false
		}
		return f.rotated(tm)
	})
}

// startTwo starts the first two members. From when they know each other on, the hits of
// failpoints count.
func (f *fleet) startTwo() {
	t := f.t
	t.Helper()
	running := f.members[:2]
	for _, m := range running {
		m.launch()
	}
	for _, m := range running {
		m.awaitReady()
	}
	poll(t, unhurried, "the members to know each other's addresses", func() bool {
		list := f.list()
		return len(list) == 3 && !slices.ContainsFunc(running, func(m *member) bool {
			return !slices.ContainsFunc(list, func(l listed) bool { return l.MemberID == m.id && l.Healthy && l.Address == m.cluster })
		})
	})
	for _, m := range running {
		m.fire()
	}
}

func (f *fleet) startRemoval() *process {
	f.t.Helper()
	p := command("remove-peer", "--yes", f.members[2].id)
	setenv("KMSD_CONFIG="+f.members[0].config, "AWS_ACCESS_KEY_ID="+f.root.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+f.root.SecretAccessKey)(p)
	must(f.t, "starting the removal", 0, p.start())
	return p
}

// rotated tells whether both members trust one authority, another than in the template.
func (f *fleet) rotated(tm *template) bool {
	f.t.Helper()
	for i, m := range f.members[:2] {
		before, err := os.ReadFile(filepath.Join(tm.members[i].data, "tls", "ca.pem"))
		must(f.t, "reading the authorities", 0, err)
		now, err := os.ReadFile(filepath.Join(m.data, "tls", "ca.pem"))
		must(f.t, "reading the authorities", 0, err)
		if bytes.Count(now, []byte("BEGIN CERTIFICATE")) != 1 || bytes.Equal(now, before) {
			return false
		}
	}
	return true
}

// checkRotated checks that the removal and what follows it are complete, and that
// nothing is lost.
func (f *fleet) checkRotated(tm *template) {
	f.t.Helper()
	if n := len(f.list()); n != 2 {
		f.t.Errorf("the cluster has %d members, want 2", n)
	}
	made, _ := create(f.t, f.kms(f.members[1]))
	for _, m := range f.members[:2] {
		m.refuses("the node that was removed", tm.third.Papers())
		for _, id := range []string{tm.key, made} {
			_, err := f.kms(m).DescribeKey(f.t.Context(), &kms.DescribeKeyInput{KeyId: &id})
			must(f.t, "DescribeKey through "+m.name, 0, err)
		}
		m.checkLeftovers()
	}
	f.checkDigests()
}

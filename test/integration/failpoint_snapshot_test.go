//go:build failpoint

package integration_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// enough is how many keys are made so that there is a snapshot and a log that begins
// behind it.
const enough = 24

// make makes keys through a member until there are enough, or until it answers no more.
func (m *member) make(keys []string) []string {
	m.f.t.Helper()
	client := m.f.kms(m)
	for range enough {
		out, err := client.CreateKey(m.f.t.Context(), &kms.CreateKeyInput{})
		if err != nil {
			break
		}
		keys = append(keys, *out.KeyMetadata.KeyId)
	}
	return keys
}

// checkKeys checks that a member has the keys that were acknowledged.
func (m *member) checkKeys(keys []string) {
	m.f.t.Helper()
	have := map[string]bool{}
	pages := kms.NewListKeysPaginator(m.f.kms(m), &kms.ListKeysInput{Limit: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(m.f.t.Context())
		must(m.f.t, "ListKeys", page, err)
		for _, k := range page.Keys {
			have[*k.KeyId] = true
		}
	}
	for _, id := range keys {
		if !have[id] {
			m.f.t.Errorf("%s has lost the key %s", m.name, id)
		}
	}
}

// A snapshotted cluster has two nodes that are stopped: a first one whose log begins
// behind a snapshot, and a second one that has not seen that.
type snapshotted struct {
	*template
	keys []string
}

func newSnapshotted(t *testing.T) *snapshotted {
	t.Helper()
	s := &snapshotted{template: &template{fleet: foundHastily(t)}}
	first, second := s.members[0], s.newMember()
	second.env = []string{hasty}
	s.ok(second.run("join", "--token", s.token(), first.cluster))
	second.launch()
	second.awaitReady()
	second.id = second.status().NodeID
	must(t, "stopping the second node", 0, second.terminate())
	must(t, "stopping the first node", 0, first.terminate())
	first.env = []string{snapshots}
	first.launch()
	first.awaitReady()
	s.keys = first.make(nil)
	poll(t, unhurried, "a snapshot", func() bool { return len(first.snapshots()) > 0 })
	s.keys = first.make(s.keys)
	s.end()
	return s
}

// snapshots lists a member's.
func (m *member) snapshots() []string { return m.files("raft/snapshots/*/meta.json") }

// ofSnapshots ends a node at each moment while it makes snapshots. All that it has
// acknowledged is there when it starts again.
func (c *crashes) ofSnapshots(t *testing.T) {
	tr := newTrace(t)
	makeUntil(t, tr.env(), func(*member) bool {
		return slices.Contains(tr.moments(t), "log truncated;;2")
	})
	each(t, firstOfSnapshots(tr.moments(t)), func(t *testing.T, at moment) {
		m, keys := makeUntil(t, at.kill(), func(m *member) bool { return !m.runs() })
		m.awaitDeath(at)
		c.add(at)
		m.env = []string{snapshots}
		m.launch()
		m.awaitReady()
		m.checkKeys(keys)
		keys = m.make(keys)
		m.checkLeftovers()
		m.crash()
		m.launch()
		m.awaitReady()
		m.checkKeys(keys)
	})
}

// makeUntil lets a new node with a failpoint make keys, and snapshots of them, until it
// is done.
func makeUntil(t *testing.T, env string, done func(*member) bool) (m *member, keys []string) {
	t.Helper()
	m = foundHastily(t).members[0]
	must(t, "stopping the node", 0, m.terminate())
	m.arm(env)
	m.env = append(m.env, snapshots)
	m.launch()
	m.awaitReady()
	m.fire()
	poll(t, unhurried, "the node to be done", func() bool {
		keys = m.make(keys)
		return done(m)
	})
	return m, keys
}

// firstOfSnapshots are the moments of the first snapshots: what they are about, and some
// entries of the log between them.
func firstOfSnapshots(moments []moment) []moment {
	seen := map[string]int{}
	return slices.DeleteFunc(moments, func(m moment) bool {
		seen[m.point()]++
		return seen[m.point()] > 2
	})
}

// ofStart ends a node that has a snapshot at each moment of its start.
func (c *crashes) ofStart(t *testing.T) {
	s, tr := newSnapshotted(t), newTrace(t)
	f := s.clone(t)
	f.members[0].env = []string{hasty, tr.env()}
	f.members[0].launch()
	f.members[0].awaitReady()
	moments := tr.moments(t)
	f.end()
	each(t, moments, func(t *testing.T, at moment) {
		f := s.clone(t)
		m := f.members[0]
		m.env = []string{hasty, at.kill()}
		m.launch()
		c.account(at, m.endsAt(at))
		m.env = []string{hasty}
		m.launch()
		m.awaitReady()
		m.checkKeys(s.keys)
		m.checkLeftovers()
	})
}

// ofInstall ends a node at each moment of its start at which it gets a snapshot from the
// leader, because the entries that it lacks are in no log any more.
func (c *crashes) ofInstall(t *testing.T) {
	s, tr := newSnapshotted(t), newTrace(t)
	f := s.clone(t)
	first, behind := f.members[0], f.members[1]
	first.launch()
	first.awaitReady()
	behind.env = []string{hasty, tr.env()}
	behind.launch()
	behind.awaitReady()
	moments := tr.moments(t)
	f.end()
	if !slices.ContainsFunc(moments, func(m moment) bool { return m.point() == "restore done" }) {
		t.Fatalf("the node got no snapshot: %q", moments)
	}
	each(t, telling(moments), func(t *testing.T, at moment) {
		f := s.clone(t)
		first, behind := f.members[0], f.members[1]
		first.launch()
		first.awaitReady()
		behind.env = []string{hasty, at.kill()}
		behind.launch()
		c.account(at, behind.endsAt(at))
		behind.env = []string{hasty}
		behind.supervise()
		behind.checkKeys(s.keys)
		behind.checkLeftovers()
		f.checkDigests()
	})
}

// codeRestart is the exit code by which a server asks to be started again.
const codeRestart = 75

// supervise starts a server, and again when it asks for that, until it is ready. After a
// crash, Raft may take in the same snapshot again and again until it is started anew.
func (m *member) supervise() {
	m.f.t.Helper()
	m.launch()
	poll(m.f.t, unhurried, m.name+" to be ready", func() bool {
		if !m.runs() {
			if code := m.cmd.ProcessState.ExitCode(); code != codeRestart {
				m.f.t.Fatalf("%s ended with code %d\n%s", m.name, code, m.tail())
			}
			m.launch()
		}
		return m.isReady()
	})
}

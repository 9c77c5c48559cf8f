//go:build failpoint

package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildTags give the program its failpoints.
var buildTags = []string{"-tags", "failpoint"}

// atOnce is how many tests run in parallel. Their clusters have little to do.
const atOnce = 8

// codeKilled is the exit code of a process that a signal has ended.
const codeKilled = -1

// A moment is a hit of a failpoint: point;detail;number. See package
// internal/failpoint.
type moment string

func (m moment) point() string {
	point, _, _ := strings.Cut(string(m), ";")
	return point
}

// hasty suits clusters with one voting member.
const hasty = "KMSD_FAILPOINT_SETTINGS=hasty"

// snapshots suits them too, and lets them make snapshots all the time.
const snapshots = "KMSD_FAILPOINT_SETTINGS=hasty,snapshots"

// kill makes a process end at a moment.
func (m moment) kill() string { return "KMSD_FAILPOINT=kill:" + string(m) }

// A trace is the file in which a process writes down its moments.
type trace string

func newTrace(t *testing.T) trace { return trace(filepath.Join(t.TempDir(), "trace")) }

func (tr trace) env() string { return "KMSD_FAILPOINT=trace:" + string(tr) }

func (tr trace) moments(t *testing.T) []moment {
	t.Helper()
	text, err := os.ReadFile(string(tr))
	must(t, "reading the moments", 0, err)
	var out []moment
	for line := range strings.Lines(string(text)) {
		out = append(out, moment(strings.TrimSpace(line)))
	}
	if len(out) == 0 {
		t.Fatal("no moments")
	}
	return out
}

// TestCrashPoints ends processes at all moments that there are, goes on as an operator
// would, and finds that nothing is lost.
func TestCrashPoints(t *testing.T) {
	c := &crashes{}
	t.Run("of", func(t *testing.T) {
		for name, run := range map[string]func(*testing.T){
			"init": c.ofInit, "join": c.ofJoin, "admission": c.ofAdmission, "rotation": c.ofRotation, "leave": c.ofLeave,
			"snapshots": c.ofSnapshots, "start": c.ofStart, "install": c.ofInstall,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t)
			})
		}
	})
	c.checkAll(t)
}

// crashes keeps account of the points at which processes have ended.
type crashes struct {
	mu     sync.Mutex
	seen   map[string]int // guarded by mu; by point
	missed []moment       // guarded by mu; did not come
}

// account notes whether a process has ended at a moment, which need not have come: when
// two changes come quickly, files are written once for both.
func (c *crashes) account(m moment, ended bool) {
	if ended {
		c.add(m)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missed = append(c.missed, m)
}

func (c *crashes) add(m moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	c.seen[m.point()]++
}

// checkAll asks the program which points it has, and checks that a process has ended at
// each of them.
func (c *crashes) checkAll(t *testing.T) {
	t.Helper()
	r := runCommand(t, []string{"KMSD_FAILPOINT=list"}, "version")
	points := strings.Fields(strings.ReplaceAll(r.stdout, " ", "_"))
	if r.code != 0 || len(points) < 10 {
		t.Fatalf("the program lists %q: code %d, %s", points, r.code, r.stderr)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	total := 0
	for _, p := range points {
		n := c.seen[strings.ReplaceAll(p, "_", " ")]
		if total += n; n == 0 {
			t.Errorf("no process has ended at the point %q", p)
		}
	}
	t.Logf("processes have ended at %d moments of %d points; these did not come: %q", total, len(points), c.missed)
	if len(c.missed) > total/8 {
		t.Error("too many moments did not come")
	}
}

// each runs a test for every moment, some at once.
func each(t *testing.T, moments []moment, run func(t *testing.T, m moment)) {
	t.Helper()
	for _, m := range moments {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			run(t, m)
		})
	}
}

// starts starts the server. It returns true when the server serves, and false when it
// refuses and says what to do.
func (m *member) starts(remedies ...string) bool {
	t := m.f.t
	t.Helper()
	m.launch()
	serves := false
	poll(t, unhurried, m.name+" to serve or to refuse", func() bool {
		serves = m.isReady()
		return serves || !m.runs()
	})
	if serves {
		return true
	}
	code, err := m.wait(endTime)
	must(t, "waiting for the end of "+m.name, 0, err)
	text := m.stderr.String()
	if code != codeNotConfigured || !slices.ContainsFunc(remedies, func(r string) bool { return strings.Contains(text, r) }) {
		t.Errorf("%s ended with code %d, want %d; it says %q, want one of %q", m.name, code, codeNotConfigured, text, remedies)
	}
	return false
}

// dies checks that a command was ended at a moment.
func (f *fleet) dies(r result, at moment) {
	f.t.Helper()
	if r.code != codeKilled {
		f.t.Fatalf("kmsd %q ended with code %d instead of at %q: %s", r.args, r.code, at, r.stderr)
	}
}

// checkLeftovers checks that a running node has removed what a crash has left.
func (m *member) checkLeftovers() {
	t := m.f.t
	t.Helper()
	for _, name := range []string{"genesis", "joined", "join.json", ".*.tmp-*", "*/.*.tmp-*", "raft/snapshots/*.tmp"} {
		poll(t, unhurried, fmt.Sprintf("%s to have removed %s", m.name, name), func() bool { return len(m.files(name)) == 0 })
	}
}

// files lists those in a member's directory that match a pattern.
func (m *member) files(pattern string) []string {
	m.f.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.data, filepath.FromSlash(pattern)))
	must(m.f.t, "looking for files", 0, err)
	return found
}

// arm gives a member that does not run a failpoint. Its hits count from fire on.
func (m *member) arm(env string) {
	m.f.t.Helper()
	must(m.f.t, "disarming", 0, os.RemoveAll(m.armFile()))
	m.env = []string{hasty, env, "KMSD_FAILPOINT_ARM=" + m.armFile()}
}

func (m *member) armFile() string { return filepath.Join(m.dir, "arm") }

func (m *member) fire() {
	m.f.t.Helper()
	must(m.f.t, "arming", 0, os.WriteFile(m.armFile(), nil, 0o600))
}

// grace is how long a server that is ready may still come to a moment.
const grace = 10 * time.Second

// endsAt waits until a server has ended at a moment. It returns false if the server is
// done with what it had to do and goes on, or has ended as it should, without it.
func (m *member) endsAt(at moment) bool {
	t := m.f.t
	t.Helper()
	var ready time.Time
	poll(t, unhurried, m.name+" to end", func() bool {
		if ready.IsZero() && m.isReady() {
			ready = time.Now()
		}
		return !m.runs() || !ready.IsZero() && time.Since(ready) > grace
	})
	if m.runs() {
		m.crash()
		return false
	}
	code, err := m.wait(patience)
	if err != nil || code != codeKilled && code != 0 {
		t.Fatalf("%s ended with code %d, %v, instead of at %q\n%s", m.name, code, err, at, m.tail())
	}
	return code == codeKilled
}

// awaitDeath waits until a server has ended at a moment.
func (m *member) awaitDeath(at moment) {
	t := m.f.t
	t.Helper()
	code, err := m.wait(patience)
	if err != nil || code != codeKilled {
		t.Fatalf("%s ended with code %d, %v, instead of at %q\n%s", m.name, code, err, at, m.tail())
	}
}

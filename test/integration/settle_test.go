package integration_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// passedOver is what a leader logs when writes go on without a member.
const passedOver = "writes go on without a member"

// settle is called between a write and reads through other nodes. They know of the write
// at once, but for one: a member that the leader did not wait for, because the machine is
// so busy that it did not answer for a second, may serve its old state for up to another.
// So settle waits for it, if there ever was one.
func (c *cluster) settle(t *testing.T) {
	t.Helper()
	if !strings.Contains(c.stderr.String(), passedOver) {
		return
	}
	settle(t, len(c.nodes), func(i int) (uint64, bool) { return c.applied(t, i) })
}

var appliedIndex = regexp.MustCompile(`(?m)^kmsd_cluster_applied_index ([0-9.e+]+)$`)

// applied returns the index that node i has applied.
func (c *cluster) applied(t *testing.T, i int) (uint64, bool) {
	t.Helper()
	_, text := get(t, c.nodes[i].metrics)
	m := appliedIndex.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	return uint64(n), err == nil
}

// gap is for how long a member that was passed over may serve its old state, on a machine
// that is too busy to write down in time when it was.
const gap = 3 * time.Second

var passedOverAt = regexp.MustCompile(`(?m)^time=(\S+) .*` + passedOver)

// passedOver tells whether writes went on without a member just now.
func (f *fleet) passedOver() bool {
	for _, m := range f.members {
		if m.process == nil {
			continue
		}
		all := passedOverAt.FindAllStringSubmatch(m.stderr.String(), -1)
		if len(all) == 0 {
			continue
		}
		if at, err := time.Parse(time.RFC3339, all[len(all)-1][1]); err == nil && time.Since(at) < gap {
			return true
		}
	}
	return false
}

// settle does for the living members of a fleet what it does for a cluster.
func (f *fleet) settle() {
	f.t.Helper()
	busy := false
	for _, m := range f.members {
		busy = busy || m.process != nil && strings.Contains(m.stderr.String(), passedOver)
	}
	if !busy {
		return
	}
	alive := f.alive()
	settle(f.t, len(alive), func(i int) (uint64, bool) {
		s, ok := alive[i].tryStatus()
		return s.AppliedIndex, ok
	})
}

// settle waits until all nodes have applied what one of them has now.
func settle(t *testing.T, nodes int, applied func(i int) (uint64, bool)) {
	t.Helper()
	var want uint64
	for i := range nodes {
		poll(t, unhurried, "how far a node is", func() bool {
			at, ok := applied(i)
			want = max(want, at)
			return ok
		})
	}
	for i := range nodes {
		poll(t, unhurried, "a member that was passed over", func() bool {
			at, ok := applied(i)
			return ok && at >= want
		})
	}
}

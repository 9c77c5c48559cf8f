//go:build failpoint

package integration_test

import (
	"slices"
	"testing"
)

// TestEveryKeySpecInSnapshots lets a node keep keys of every spec in snapshots, behind
// which its log begins: it starts from them, and a node that joins gets them.
func TestEveryKeySpecInSnapshots(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	first := f.newMember()
	f.founded(first.run("init", "--json"))
	first.env = []string{"KMSD_FAILPOINT_SETTINGS=snapshots"}
	first.launch()
	first.awaitReady()
	all := useKeys(t, f.kms(first))
	for range 2 { // the second of them began after the keys were made
		seen := first.snapshots()
		poll(t, unhurried, "another snapshot", func() bool {
			first.make(nil)
			return slices.ContainsFunc(first.snapshots(), func(s string) bool { return !slices.Contains(seen, s) })
		})
	}
	must(t, "stopping the node", 0, first.terminate())
	first.launch()
	first.awaitReady()
	checkKeys(t, "from a snapshot", all, f.kms(first))
	joined := f.join(f.token())
	if len(joined.snapshots()) == 0 {
		t.Error("the node that joined has no snapshot")
	}
	checkKeys(t, "from another's snapshot", all, f.everyKMS(f.members)...)
	f.checkDigests()
	f.end()
	f.checkFiles(canaries(all))
}

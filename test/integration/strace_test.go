//go:build strace

package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// serial is how many writes are counted.
const serial = 100

// TestEveryWriteIsSynced counts the syncs of each node's log while keys are
// created one after the other: each must have been synced on the leader and on one
// of the others before it was acknowledged. On a busy machine another node may come to
// lead meanwhile; then the syncs of another cluster are counted.
func TestEveryWriteIsSynced(t *testing.T) {
	for range 10 {
		counted := false
		t.Run("a cluster", func(t *testing.T) { counted = countWrites(t) })
		if counted || t.Failed() {
			return
		}
	}
	t.Error("no leader led for as long as the syncs were counted")
}

// countWrites returns false if not one node has led all the time.
func countWrites(t *testing.T) bool {
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	data := filepath.Join(dir, "data")
	c := startCluster(t, func(p *process) { underStrace(t, p, trace) }, "--data", data)
	logs := openLogs(t, trace, data)
	client := c.kms(0, c.region)
	lead, ok := c.leads(t)
	if !ok {
		return false
	}
	var wrong []string
	first := countSyncs(t, trace, logs)
	before := first
	for write := range serial {
		if _, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{}); err != nil {
			t.Fatal(err)
		}
		after := countSyncs(t, trace, logs)
		if after[lead] == before[lead] {
			wrong = append(wrong, fmt.Sprintf("write %d was acknowledged before the leader, node %d, had synced its log", write, lead))
		}
		if a, b := (lead+1)%3, (lead+2)%3; after[a] == before[a] && after[b] == before[b] {
			wrong = append(wrong, fmt.Sprintf("write %d was acknowledged before a follower had synced its log", write))
		}
		before = after
	}
	if _, still := c.leads(t); !still {
		return false
	}
	for _, w := range wrong {
		t.Error(w)
	}
	enough := 0
	for i := range c.nodes {
		n := before[i] - first[i]
		t.Logf("node %d: %d syncs", i, n)
		if i == lead && n < serial {
			t.Errorf("the leader, node %d, synced its log %d times for %d writes", i, n, serial)
		}
		if i != lead && n >= serial {
			enough++
		}
	}
	if enough == 0 {
		t.Errorf("no follower has synced its log %d times for as many writes", serial)
	}
	return true
}

// underStrace makes a process run under strace, which writes a file for each
// thread: trace.<thread>. The process stays the test's child, and gets its signals.
func underStrace(t *testing.T, p *process, trace string) {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{path, "-D", "-ff", "-o", trace, "-e", "trace=openat,fdatasync,fsync", "-e", "signal=none", "--"}
	p.cmd.Path, p.cmd.Args = path, append(args, append([]string{binary}, p.cmd.Args[1:]...)...)
}

// leads finds the node that says that it leads. It returns false if another one did, or
// if it has lost a term.
func (c *cluster) leads(t *testing.T) (int, bool) {
	t.Helper()
	found := regexp.MustCompile(`msg="this node leads" node=(\S+)`).FindAllStringSubmatch(c.stderr.String(), -1)
	for i, n := range c.nodes {
		if len(found) == 1 && found[0][1] == n.id {
			return i, true
		}
	}
	t.Logf("not one node leads all the time: %q", found)
	return -1, false
}

// lines returns all that strace has written. strace writes a call down before the
// thread goes on.
func lines(t *testing.T, trace string) []string {
	t.Helper()
	files, err := filepath.Glob(trace + ".*")
	must(t, "listing the traces", files, err)
	var out []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		must(t, "reading a trace", text, err)
		out = append(out, strings.Split(string(text), "\n")...)
	}
	return out
}

// opened is a call of openat that gave a file.
var opened = regexp.MustCompile(`^openat\(.*, "([^"]*)", .*\) = (\d+)$`)

// openLogs returns the number of each node's log file.
func openLogs(t *testing.T, trace, data string) map[string]int {
	t.Helper()
	logs := map[string]int{}
	for _, line := range lines(t, trace) {
		m := opened.FindStringSubmatch(line)
		for i := range 3 {
			if m != nil && m[1] == filepath.Join(data, fmt.Sprint("node", i), "raft", "raft.db") {
				logs[m[2]] = i
			}
		}
	}
	if len(logs) != 3 {
		t.Fatalf("found the logs %v of 3 nodes", logs)
	}
	return logs
}

// synced is a successful sync. One that was interrupted is not.
var synced = regexp.MustCompile(`^f(?:data)?sync\((\d+)\)\s*= 0$`)

// countSyncs returns how often each node has synced its log.
func countSyncs(t *testing.T, trace string, logs map[string]int) [3]int {
	t.Helper()
	var out [3]int
	for _, line := range lines(t, trace) {
		if m := synced.FindStringSubmatch(line); m != nil {
			if i, ok := logs[m[1]]; ok {
				out[i]++
			}
		}
	}
	return out
}

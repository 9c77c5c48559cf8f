package failpoint_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// traces are what a program holds that has failpoints: names of code, of the
// environment, and of points.
var traces = []string{"failpoint", "KMSD_FAILPOINT", "snapshot in place"}

// TestReleasesHaveNone builds the program without the tag and finds nothing of this
// package in it; with the tag, to see that it would be found.
func TestReleasesHaveNone(t *testing.T) {
	t.Parallel()
	release, tagged := build(t, "release"), build(t, "tagged", "-tags", "failpoint")
	for _, trace := range traces {
		if bytes.Contains(release, []byte(trace)) {
			t.Errorf("a release holds %q", trace)
		}
		if !bytes.Contains(tagged, []byte(trace)) {
			t.Errorf("a build with failpoints does not hold %q", trace)
		}
	}
}

func build(t *testing.T, name string, flags ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	args := append(append([]string{"build"}, flags...), "-o", path, "../../cmd/kmsd")
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go %q: %v\n%s", args, err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

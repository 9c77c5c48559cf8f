package integration_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience bounds every wait of a test; none takes that long when all is well.
const patience = 3 * time.Minute

// binary is the program that the tests run.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

// setParallel lets atOnce tests run in parallel, unless -parallel says otherwise: they
// wait for other processes most of the time.
func setParallel() error {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(atOnce))
}

func run(m *testing.M) int {
	if err := setParallel(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "kmsd-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "kmsd")
	args := slices.Concat([]string{"build"}, buildFlags, buildTags, []string{"-o", binary, "../../cmd/kmsd"})
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go %q: %v\n%s", args, err, out)
		return 1
	}
	code := m.Run()
	if err := shared.end(); err != nil {
		fmt.Fprintln(os.Stderr, "the shared cluster:", err)
		return 1
	}
	return code
}

// shared is one cluster for all tests that leave it whole. They keep apart by
// Regions.
var shared sharedCluster

type sharedCluster struct {
	once sync.Once
	dir  string
	c    *cluster
	err  error
}

func (s *sharedCluster) get(t *testing.T) *cluster {
	t.Helper()
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "kmsd-integration-"); s.err == nil {
			s.c, s.err = launch(s.dir, nil)
		}
	})
	if s.err != nil {
		t.Fatal("starting the shared cluster: ", s.err)
	}
	return s.c
}

func (s *sharedCluster) end() error {
	if s.dir == "" {
		return nil
	}
	defer os.RemoveAll(s.dir)
	if s.c == nil {
		return s.err
	}
	return s.c.terminate()
}

var regions atomic.Int64

// newRegion returns the name of a Region that no other test uses.
func newRegion() string { return "eu-test-" + strconv.FormatInt(regions.Add(1), 10) }

// until polls ok, which a process decides, until it is true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	poll(t, 2*time.Millisecond, what, ok)
}

// poll is until for what is not asked more often than that, because each question
// costs the processes some work.
func poll(t *testing.T, every time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

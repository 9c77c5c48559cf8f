//go:build failpoint

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// On tells whether the build has failpoints.
const On = true

// A Point is a moment at which the process can be made to end.
type Point struct{ name string }

var (
	mu     sync.Mutex
	points []string       // guarded by mu
	hits   map[string]int // guarded by mu; by point and detail
	armed  bool           // guarded by mu

	mode, argument, _ = strings.Cut(os.Getenv("KMSD_FAILPOINT"), ":")
	arm               = os.Getenv("KMSD_FAILPOINT_ARM")
)

// New declares a point. It is called once for each name, while the package that has the
// point is initialised.
func New(name string) Point {
	mu.Lock()
	defer mu.Unlock()
	if name == "" || strings.ContainsAny(name, ";\n") || slices.Contains(points, name) {
		panic("kmsd: failpoint " + name)
	}
	points = append(points, name)
	return Point{name}
}

// Hit says that the point is reached, for what detail names.
func (p Point) Hit(detail string) {
	mu.Lock()
	defer mu.Unlock()
	if mode == "" || !isArmed() {
		return
	}
	if hits == nil {
		hits = map[string]int{}
	}
	what := p.name + ";" + detail
	hits[what]++
	what = fmt.Sprint(what, ";", hits[what])
	switch mode {
	case "trace":
		trace(what)
	case "kill":
		if what == argument {
			kill()
		}
	default:
		panic("kmsd: KMSD_FAILPOINT=" + mode)
	}
}

// isArmed tells whether hits count. The lock is held.
func isArmed() bool {
	if !armed && arm != "" {
		_, err := os.Stat(arm)
		armed = err == nil
	}
	return armed || arm == ""
}

// kill ends the process without any further step of this or another goroutine that
// matters: nobody gets past a point any more.
func kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func trace(line string) {
	f, err := os.OpenFile(argument, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(line + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		panic("kmsd: tracing failpoints: " + err.Error())
	}
}

// identifier is a part of a file's name that differs from run to run.
var identifier = regexp.MustCompile(`[0-9a-f-]{16,}|[0-9]+`)

// HitFile is Hit for the file or directory at a path. The detail is the last element,
// without the identifiers in it.
func (p Point) HitFile(path string) {
	p.Hit(identifier.ReplaceAllString(filepath.Base(path), "*"))
}

// Setting tells whether the environment asks for a setting that suits tests.
func Setting(name string) bool {
	return slices.Contains(strings.Split(os.Getenv("KMSD_FAILPOINT_SETTINGS"), ","), name)
}

// Start does at the start of the program what the environment says.
func Start() {
	if mode != "list" {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(points)
	fmt.Println(strings.Join(points, "\n"))
	os.Exit(0)
}

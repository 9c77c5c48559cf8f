package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// endTime is how long a process may take to end after SIGTERM, on a machine that has
// little time for it.
const endTime = time.Minute

// A process is one run of kmsd.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *output
	ended          chan struct{} // closed when it has ended
	err            error         // of Wait; written before ended is closed
}

// command returns a run of the program that is not started yet. It inherits no
// KMSD_ variable.
func command(args ...string) *process {
	p := &process{cmd: exec.Command(binary, args...), stdout: newOutput(), stderr: newOutput(), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	p.cmd.WaitDelay = endTime // should a child of the process hold its output
	// The race detector would sleep for a second at each end.
	p.cmd.Env = append(p.cmd.Env, "GORACE=atexit_sleep_ms=20")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "KMSD_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	return p
}

func (p *process) start() error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// wait waits for the end and returns the exit code.
func (p *process) wait(d time.Duration) (int, error) {
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-p.ended:
	case <-limit.C:
		return -1, fmt.Errorf("kmsd did not end within %v", d)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		return -1, p.err
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// terminate asks the process to end, and tells what was wrong with its end.
func (p *process) terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	code, err := p.wait(endTime)
	if err != nil {
		p.kill()
		return fmt.Errorf("%w\n%s", err, p.tail())
	}
	if code != 0 {
		return fmt.Errorf("kmsd ended with code %d\n%s", code, p.tail())
	}
	return p.raced()
}

// kill ends the process at once, as a crash does, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// raced reports what a race detector in the process found.
func (p *process) raced() error {
	if strings.Contains(p.stderr.String(), "WARNING: DATA RACE") {
		return errors.New("the race detector found:\n" + p.stderr.String())
	}
	return nil
}

// tail is the end of the log.
func (p *process) tail() string {
	lines := strings.Split(strings.TrimSuffix(p.stderr.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// An output collects what a process writes.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer  // guarded by mu
	line chan struct{} // closed at the first whole line
	full bool          // guarded by mu; line is closed
}

var _ io.Writer = (*output)(nil)

func newOutput() *output { return &output{line: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.full && bytes.IndexByte(p, '\n') >= 0 {
		o.full = true
		close(o.line)
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// A node is where one node of a cluster listens.
type node struct{ id, endpoint, metrics string }

// A cluster is one "kmsd dev" that is ready.
type cluster struct {
	*process
	nodes                        []node
	accessKey, secretKey, region string
}

// launch starts a cluster on ports that the kernel chooses and waits until it is
// ready. The environment file goes to dir. adapt may change the process.
func launch(dir string, adapt func(*process), args ...string) (*cluster, error) {
	envFile := filepath.Join(dir, "env")
	if err := os.Remove(envFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	p := command(append([]string{"dev", "--listen", "127.0.0.1:0", "--env-file", envFile}, args...)...)
	if adapt != nil {
		adapt(p)
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-p.stdout.line:
	case <-p.ended:
		return nil, fmt.Errorf("kmsd ended before it was ready: %v\n%s", p.err, p.tail())
	case <-limit.C:
		p.kill()
		return nil, fmt.Errorf("kmsd was not ready within %v\n%s", patience, p.tail())
	}
	c := &cluster{process: p}
	env, err := os.ReadFile(envFile)
	if err == nil {
		err = c.read(string(env))
	}
	if err != nil {
		p.kill()
		return nil, err
	}
	return c, nil
}

var startedLine = regexp.MustCompile(`msg="node started" index=(\d) endpoint=(\S+) metrics=(\S+) node=(\S+)`)

// read takes what the cluster says about itself.
func (c *cluster) read(env string) error {
	vars, err := parseEnv(env)
	if err != nil {
		return err
	}
	c.accessKey, c.secretKey, c.region = vars["AWS_ACCESS_KEY_ID"], vars["AWS_SECRET_ACCESS_KEY"], vars["AWS_REGION"]
	for i, m := range startedLine.FindAllStringSubmatch(c.stderr.String(), -1) {
		if m[1] != fmt.Sprint(i) {
			return fmt.Errorf("node %d was started as number %s", i, m[1])
		}
		c.nodes = append(c.nodes, node{endpoint: m[2], metrics: m[3], id: m[4]})
	}
	if len(c.nodes) == 0 || c.nodes[0].endpoint != vars["AWS_ENDPOINT_URL"] {
		return fmt.Errorf("the environment %q is not that of node 0 of %+v", env, c.nodes)
	}
	return nil
}

// parseEnv reads the one line "export NAME=value …".
func parseEnv(text string) (map[string]string, error) {
	line, rest, whole := strings.Cut(text, "\n")
	words, export := strings.CutPrefix(line, "export ")
	if !whole || rest != "" || !export {
		return nil, fmt.Errorf("the environment is not one line of export: %q", text)
	}
	vars := map[string]string{}
	for word := range strings.FieldsSeq(words) {
		name, value, ok := strings.Cut(word, "=")
		if !ok || value == "" || strings.ContainsAny(value, `'"\$;&|<>()*?[]#~ `) {
			return nil, fmt.Errorf("a shell would not take %q", word)
		}
		vars[name] = value
	}
	return vars, nil
}

// startCluster starts a cluster that ends with the test, if it has not before. A
// test that fails shows the end of its log.
func startCluster(t *testing.T, adapt func(*process), args ...string) *cluster {
	t.Helper()
	c, err := launch(t.TempDir(), adapt, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-c.ended:
		default:
			if err := c.terminate(); err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			t.Log(c.tail())
		}
	})
	return c
}

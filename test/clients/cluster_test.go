package clients_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// account is the account that kmsd dev makes unless told otherwise.
	account = "123456789012"
	// nodes is how many it runs.
	nodes = 3

	startLimit = 3 * time.Minute
	stopLimit  = time.Minute
)

// cluster is a cluster as clients see it; most tests use a running kmsd dev.
type cluster struct {
	endpoints           [nodes]string
	metrics             []string // URLs; none are known of a site
	accessKeyID, secret string
	ca                  string // file with the certificate that endpoints with TLS are judged by

	cmd  *exec.Cmd
	log  string     // file with its standard error
	done chan error // its end
}

// start runs kmsd dev and waits until it says that it is ready.
func start(binary, dir string) (*cluster, error) {
	c := &cluster{log: filepath.Join(dir, "kmsd.log"), done: make(chan error, 1)}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	envFile := filepath.Join(dir, "env")
	c.cmd = exec.Command(binary, "dev", "--listen", "127.0.0.1:0", "--env-file", envFile)
	c.cmd.Stderr = log
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	lines := make(chan string, 1)
	go c.follow(out, lines)
	if err := c.ready(lines, envFile); err != nil {
		return nil, errors.Join(err, c.stop(true))
	}
	return c, nil
}

// follow passes the first line of out on, reads the rest and waits for the end.
func (c *cluster) follow(out io.Reader, lines chan<- string) {
	r := bufio.NewReader(out)
	line, _ := r.ReadString('\n')
	lines <- line
	_, err := io.Copy(io.Discard, r)
	c.done <- errors.Join(err, c.cmd.Wait())
}

// ready waits for the line that says how to reach the cluster, which the file
// must hold as well, and learns from the log where the nodes are.
func (c *cluster) ready(lines <-chan string, envFile string) error {
	var line string
	select {
	case line = <-lines:
	case <-time.After(startLimit):
		return errors.New("kmsd dev did not get ready")
	}
	file, err := os.ReadFile(envFile)
	if err != nil || string(file) != line {
		return fmt.Errorf("kmsd dev printed %q and wrote %q (%v), want the same", line, file, err)
	}
	exported, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "export ")
	if !found {
		return fmt.Errorf("kmsd dev printed %q, want an export", line)
	}
	env := map[string]string{}
	for _, setting := range strings.Fields(exported) {
		name, value, _ := strings.Cut(setting, "=")
		env[name] = value
	}
	c.accessKeyID, c.secret = env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
	if err := c.readEndpoints(); err != nil {
		return err
	}
	if got, want := env["AWS_ENDPOINT_URL"], c.endpoints[0]; got != want || c.accessKeyID == "" || c.secret == "" {
		return fmt.Errorf("kmsd dev printed %q, want credentials and the endpoint of node 0, %s", line, want)
	}
	return nil
}

var startedLine = regexp.MustCompile(`msg="node started" index=(\d+) endpoint=(\S+) metrics=(\S+)`)

func (c *cluster) readEndpoints() error {
	log, err := os.ReadFile(c.log)
	if err != nil {
		return err
	}
	for _, m := range startedLine.FindAllStringSubmatch(string(log), -1) {
		if i, err := strconv.Atoi(m[1]); err == nil && i < nodes {
			c.endpoints[i], c.metrics = m[2], append(c.metrics, m[3])
		}
	}
	for i, endpoint := range c.endpoints {
		if endpoint == "" {
			return fmt.Errorf("node %d is not in the log of kmsd dev", i)
		}
	}
	return nil
}

// stop ends the cluster, which must exit cleanly, and shows its log when
// something failed.
func (c *cluster) stop(failed bool) error {
	err := c.cmd.Process.Signal(syscall.SIGTERM)
	if err == nil {
		select {
		case err = <-c.done:
		case <-time.After(stopLimit):
			err = errors.Join(errors.New("did not stop"), c.cmd.Process.Kill(), <-c.done)
		}
	}
	if err != nil {
		err = fmt.Errorf("kmsd dev: %w", err)
	}
	if failed || err != nil {
		log, _ := os.ReadFile(c.log)
		fmt.Fprintf(os.Stderr, "log of kmsd dev:\n%s", log)
	}
	return err
}

package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kmsd/kmsd/internal/testport"
)

// A member is one node of a fleet and, while it runs, its process.
type member struct {
	f                       *fleet
	name, id                string
	dir, data, seal, config string   // paths
	cluster, api, metrics   string   // addresses
	peers                   string   // where the operator says that members are; empty for nothing
	env                     []string // of init, join and the server, beside the configuration
	*process                         // the latest run; nil before the first
}

// configuration is a node's configuration file.
const configuration = `data: %q
seal: %q
seal-on-same-disk: true
drain: 300ms
cluster:
  listen: %q
  peers: [%s]
api:
  listen: [%q]
metrics:
  listen: %q
`

// move gives a member that does not run other addresses.
func (m *member) move() {
	t := m.f.t
	t.Helper()
	ports := m.f.ports
	m.cluster, m.api, m.metrics = testport.Addr(ports), testport.Addr(ports), testport.Addr(ports)
	m.configure()
}

// configure writes the configuration file.
func (m *member) configure() {
	t := m.f.t
	t.Helper()
	text := fmt.Sprintf(configuration, m.data, "file:"+m.seal, m.cluster, m.peers, m.api, m.metrics)
	must(t, "writing the configuration", 0, os.WriteFile(m.config, []byte(text), 0o600))
}

// run runs a command with the member's configuration.
func (m *member) run(args ...string) result {
	m.f.t.Helper()
	return runCommand(m.f.t, append([]string{"KMSD_CONFIG=" + m.config}, m.env...), args...)
}

// admin runs a command against the running member, as its root user.
func (m *member) admin(args ...string) result {
	m.f.t.Helper()
	return runCommand(m.f.t, []string{
		"KMSD_CONFIG=" + m.config, "AWS_ACCESS_KEY_ID=" + m.f.root.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + m.f.root.SecretAccessKey,
	}, args...)
}

// local runs a command against the running member's socket, without credentials.
func (m *member) local(args ...string) result {
	m.f.t.Helper()
	return runCommand(m.f.t, []string{"KMSD_CONFIG=" + m.config}, args...)
}

// launch starts the node. awaitReady or an end may follow.
func (m *member) launch() {
	t := m.f.t
	t.Helper()
	m.process = command("server", "--config", m.config)
	setenv(m.env...)(m.process)
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
}

// runs tells whether the process was started and has not ended.
func (m *member) runs() bool {
	if m.process == nil {
		return false
	}
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// awaitReady waits until the node serves.
func (m *member) awaitReady() {
	t := m.f.t
	t.Helper()
	poll(t, unhurried, m.name+" to be ready", func() bool {
		if !m.runs() {
			t.Fatalf("%s ended before it was ready: %v\n%s", m.name, m.err, m.tail())
		}
		return m.isReady()
	})
}

// isReady tells whether the node serves.
func (m *member) isReady() bool {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: m.f.tls(), DisableKeepAlives: true}}
	resp, err := client.Get("https://" + m.api + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// crash ends the process as kill -9 does. A race detector's findings count.
func (m *member) crash() {
	m.f.t.Helper()
	m.kill()
	if err := m.raced(); err != nil {
		m.f.t.Error(err)
	}
}

// freeze stops the process where it is; thaw lets it go on.
func (m *member) freeze() { m.signal(syscall.SIGSTOP) }
func (m *member) thaw()   { m.signal(syscall.SIGCONT) }

func (m *member) signal(s syscall.Signal) {
	m.f.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.f.t.Fatal(err)
	}
}

// A status is what "kmsd status --json" prints, as far as tests look at it.
type status struct {
	ClusterID, NodeID, LeaderID, Role string
	Ready                             bool
	Term, AppliedIndex, DigestIndex   uint64
	StateDigest                       string
}

// status asks with the command, once.
func (m *member) status() status {
	m.f.t.Helper()
	var s status
	m.f.json(m.local("status", "--json"), &s)
	return s
}

// askSocket gets a path of the admin API from the member's socket, without
// credentials and without a process of its own: for what is polled.
func (m *member) askSocket(path string, into any) bool {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(m.data, "admin.sock"))
		},
	}}
	resp, err := client.Get("http://kmsd" + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(into) == nil
}

// tryStatus returns false for a node that does not answer.
func (m *member) tryStatus() (s status, ok bool) {
	ok = m.askSocket("/v1/status", &s)
	return s, ok
}

package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/kmsd/kmsd/internal/testport"
)

// A testNode is a place for a node: its configuration file and what that names.
type testNode struct {
	t                 *testing.T
	dir, data, config string
	founded           founding
	out               *lockedBuffer // of the server
	end               func() int    // stops the server and returns its exit code
	api               string        // address
}

// newTestNode writes a configuration. The kernel chooses its ports, but for the cluster's,
// which must be free by TCP and UDP. The seal lies beside the data: all of it is one
// temporary directory.
func newTestNode(t *testing.T, more string) *testNode {
	t.Helper()
	n := &testNode{t: t, dir: t.TempDir()}
	n.data, n.config = filepath.Join(n.dir, "data"), filepath.Join(n.dir, "kmsd.yaml")
	text := "data: " + n.data + "\nseal: file:" + filepath.Join(n.dir, "seal.key") + "\nseal-on-same-disk: true\ndrain: 100ms\n" +
		"cluster: {listen: '" + testport.Addr(t) + "', advertise: '127.0.0.1:9'}\n" +
		"api: {listen: '127.0.0.1:0', advertise: 'localhost:9400'}\nmetrics: {listen: '127.0.0.1:0'}\n" + more
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

// init makes a cluster and keeps what was printed.
func (n *testNode) init(args ...string) {
	n.t.Helper()
	got := runCLI(n.t, append([]string{"init", "--json", "--config", n.config}, args...)...)
	if got.code != exitOK || got.err != "" {
		n.t.Fatalf("init: %+v", got)
	}
	if err := json.Unmarshal([]byte(got.out), &n.founded); err != nil {
		n.t.Fatal(err)
	}
}

// wantInit is what init prints for people. The groups are what no two clusters
// share.
const wantInit = `Cluster UUID is made. DATA holds its first node, UUID.

Keep these: they are shown this once.

  operator account    ([1-9][0-9]{11})
  access key id       (AKIA[A-Z2-7]{16})
  secret access key   ([A-Za-z0-9+/]{40})
  recovery identity   (AGE-SECRET-KEY-1[A-Z0-9]{58})

The access key is the operator account's root user. The recovery identity is for the day
when every seal is lost: keep it offline. Who has it and a backup has every key.

The key file of this node's seal is DIR/seal.key; without it the node does not start.
The API CA, for AWS_CA_BUNDLE, is DATA/api-ca.pem.

Start the node with kmsd server. For each other node, make a token with kmsd token create,
give it to kmsd join --token TOKEN 127.0.0.1:9 there, and start kmsd server.
`

func TestInitPrintsForPeople(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "")
	got := runCLI(t, "init", "--config", n.config)
	pattern := strings.NewReplacer(".", `\.`, "UUID", "[0-9a-f-]{36}", "DATA", n.data, "DIR", n.dir).Replace(wantInit)
	if got.code != exitOK || got.err != "" || !regexp.MustCompile("^"+pattern+"$").MatchString(got.out) {
		t.Errorf("got %+v, want\n%s", got, pattern)
	}
	for _, path := range []string{n.data, filepath.Join(n.dir, "seal.key")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v: others have permissions", path, info.Mode(), err)
		}
	}
}

func TestInitPrintsForMachines(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "")
	n.init("--account", "000123456789")
	f := n.founded
	if f.Account != "000123456789" || !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(f.AccessKeyID) || len(f.SecretAccessKey) != 40 || f.CAFile != filepath.Join(n.data, "api-ca.pem") {
		t.Errorf("got %+v", f)
	}
	identity, err := age.ParseX25519Identity(f.RecoveryIdentity)
	if err != nil || identity.Recipient().String() != f.RecoveryRecipient {
		t.Errorf("the recovery key pair is none: %v", err)
	}
	text, err := os.ReadFile(f.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	if block == nil || len(rest) > 0 {
		t.Fatalf("the API CA is %q", text)
	}
	if ca, err := x509.ParseCertificate(block.Bytes); err != nil || !ca.IsCA {
		t.Errorf("the API CA is none: %v", err)
	}
}

// TestInitIsForEmptyDirectories holds that a second init changes nothing, and that
// one that refuses leaves no seal behind.
func TestInitIsForEmptyDirectories(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "")
	n.init()
	before, err := os.ReadFile(filepath.Join(n.data, "node.json"))
	if err != nil {
		t.Fatal(err)
	}
	got := runCLI(t, "init", "--config", n.config)
	if got.code != exitFailed || got.out != "" || !strings.Contains(got.err, "is not empty") {
		t.Errorf("a second init: %+v", got)
	}
	if after, err := os.ReadFile(filepath.Join(n.data, "node.json")); err != nil || string(after) != string(before) {
		t.Errorf("node.json became %s, %v", after, err)
	}
	other := newTestNode(t, "")
	if err := os.MkdirAll(filepath.Join(other.data, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := runCLI(t, "init", "--config", other.config); got.code != exitFailed || !strings.Contains(got.err, "is not empty") {
		t.Errorf("a directory with something in it: %+v", got)
	}
	if _, err := os.Stat(filepath.Join(other.dir, "seal.key")); !os.IsNotExist(err) {
		t.Errorf("a seal was left behind: %v", err)
	}
}

// A full is an output that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestInitTellsOrMakesNothing holds that no node can start whose credentials nobody has
// been told.
func TestInitTellsOrMakesNothing(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"init"}, {"init", "--json"}} {
		n := newTestNode(t, "")
		var stderr lockedBuffer
		code := run(t.Context(), append(args, "--config", n.config), full{}, &stderr)
		if text := string(stderr.bytes()); code != exitFailed || !strings.Contains(text, "Remove "+n.data+" and run kmsd init again") {
			t.Errorf("%q: code %d, %s", args, code, text)
		}
		got := runCLI(t, "server", "--config", n.config)
		if got.code != exitNotConfigured || !strings.Contains(got.err, "remove the directory and run kmsd init again") {
			t.Errorf("a server after that: %+v", got)
		}
	}
}

func TestInitRefuses(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "")
	for _, tt := range []struct {
		args, want string
		code       int
	}{
		{"--account=1234", "--account must be 12 digits", exitUsage},
		{"--drain=1h", "--drain must be between 0s and 5m", exitUsage},
		{"--seal-on-same-disk=false", "--seal: the key file lies on the data directory's file system", exitFailed},
		{"--seal=file:/nonexistent/seal.key --data=/proc/nonexistent", "/nonexistent", exitFailed},
		{"surplus", "unexpected argument surplus", exitUsage},
	} {
		got := runCLI(t, append([]string{"init", "--config", n.config}, strings.Fields(tt.args)...)...)
		if got.code != tt.code || got.out != "" || !strings.Contains(got.err, tt.want) {
			t.Errorf("%s: got %+v, want exit code %d and %q", tt.args, got, tt.code, tt.want)
		}
	}
	if _, err := os.Stat(n.data); !os.IsNotExist(err) {
		t.Errorf("the data directory was made: %v", err)
	}
}

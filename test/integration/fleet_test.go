package integration_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// A fleet is a cluster of "kmsd server" processes as operators run them: each has
// its configuration file, its data directory, its seal outside of it, and ports of
// its own on loopback; the API speaks TLS under the cluster's own CA.
type fleet struct {
	t       *testing.T
	ports   *testing.T // at whose end the members' ports are free for others
	dir     string
	root    founding
	region  string
	trusted *x509.CertPool // the API CA
	members []*member      // all that ever were, in the order of their making
}

// A founding is what "kmsd init --json" prints.
type founding struct {
	ClusterID        string `json:"clusterId"`
	NodeID           string `json:"nodeId"`
	AccountID        string `json:"accountId"`
	AccessKeyID      string `json:"accessKeyId"`
	SecretAccessKey  string `json:"secretAccessKey"`
	APICAFile        string `json:"apiCaFile"`
	RecoveryIdentity string `json:"recoveryIdentity"`
}

// found makes a cluster and starts its first node.
func found(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(t)
	first := f.newMember()
	f.founded(first.run("init", "--json"))
	first.launch()
	first.awaitReady()
	return f
}

// newFleet has no members yet.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, ports: t, dir: t.TempDir(), region: newRegion(), trusted: x509.NewCertPool()}
	t.Cleanup(f.end)
	return f
}

// founded takes what init has printed for the first member.
func (f *fleet) founded(r result) {
	f.t.Helper()
	f.json(r, &f.root)
	ca, err := os.ReadFile(f.root.APICAFile)
	must(f.t, "reading the API CA", ca, err)
	if !f.trusted.AppendCertsFromPEM(ca) {
		f.t.Fatalf("%s holds no certificate", f.root.APICAFile)
	}
	f.members[0].id = f.root.NodeID
}

// foundThree makes a cluster of three nodes. With votes it waits until all of them
// vote, which takes ten seconds.
func foundThree(t *testing.T, votes bool) *fleet {
	t.Helper()
	f := found(t)
	token := f.token("--uses", "2")
	for range 2 {
		f.join(token)
	}
	if votes {
		poll(t, unhurried, "three voters", func() bool { return f.voters() == 3 })
	}
	return f
}

// join makes a node, lets it join with a token and starts it.
func (f *fleet) join(token string) *member {
	f.t.Helper()
	m := f.newMember()
	f.ok(m.run("join", "--token", token, f.alive()[0].cluster))
	m.launch()
	m.awaitReady()
	s, ok := m.tryStatus()
	if !ok {
		f.t.Fatalf("%s does not tell its status", m.name)
	}
	m.id = s.NodeID
	return m
}

// token makes a join token.
func (f *fleet) token(args ...string) string {
	f.t.Helper()
	var made struct{ Token string }
	f.json(f.alive()[0].admin(append([]string{"token", "create", "--json"}, args...)...), &made)
	return made.Token
}

// alive returns the members that run.
func (f *fleet) alive() []*member {
	var out []*member
	for _, m := range f.members {
		if m.runs() {
			out = append(out, m)
		}
	}
	return out
}

// A listed member is an element of what "kmsd members --json" prints.
type listed struct {
	MemberID, Address, APIAddress, Role string
	Healthy                             bool
}

// list returns the members that the first living node lists; nil while it cannot.
func (f *fleet) list() []listed {
	var out struct{ Members []listed }
	if !f.alive()[0].askSocket("/v1/members", &out) {
		return nil
	}
	return out.Members
}

func (f *fleet) voters() int {
	n := 0
	for _, m := range f.list() {
		if m.Role == "leader" || m.Role == "voter" {
			n++
		}
	}
	return n
}

// leader waits until all living members agree on a leader that lives, and returns
// it.
func (f *fleet) leader() *member {
	f.t.Helper()
	var found *member
	poll(f.t, unhurried, "a leader", func() bool {
		alive := f.alive()
		var id string
		for i, m := range alive {
			s, ok := m.tryStatus()
			if !ok || s.LeaderID == "" || i > 0 && s.LeaderID != id {
				return false
			}
			id = s.LeaderID
		}
		i := slices.IndexFunc(alive, func(m *member) bool { return m.id == id })
		if i >= 0 {
			found = alive[i]
		}
		return i >= 0
	})
	return found
}

// followers returns the living members but one.
func (f *fleet) followers(leader *member) []*member {
	return slices.DeleteFunc(f.alive(), func(m *member) bool { return m == leader })
}

// end stops what runs.
func (f *fleet) end() {
	for _, m := range f.alive() {
		if err := m.terminate(); err != nil {
			f.t.Errorf("%s: %v", m.name, err)
		}
	}
	if f.t.Failed() {
		for _, m := range f.members {
			if m.process != nil {
				f.t.Logf("the end of %s's log:\n%s", m.name, m.tail())
			}
		}
	}
}

// ok fails the test if a command did not end with code 0.
func (f *fleet) ok(r result) {
	f.t.Helper()
	if r.code != 0 {
		f.t.Fatalf("kmsd %q ended with code %d: %s", r.args, r.code, r.stderr)
	}
}

// json reads what a command has printed.
func (f *fleet) json(r result, into any) {
	f.t.Helper()
	f.ok(r)
	if err := json.Unmarshal([]byte(r.stdout), into); err != nil {
		f.t.Fatalf("kmsd %q printed %q: %v", r.args, r.stdout, err)
	}
}

// tls is how clients of the fleet speak TLS.
func (f *fleet) tls() *tls.Config {
	return &tls.Config{RootCAs: f.trusted, MinVersion: tls.VersionTLS12}
}

// kms returns a client of a member.
func (f *fleet) kms(m *member, adapt ...func(*kms.Options)) *kms.Client {
	return kms.New(kms.Options{
		BaseEndpoint: aws.String("https://" + m.api), Region: f.region, Retryer: patient(),
		Credentials: credentials.NewStaticCredentialsProvider(f.root.AccessKeyID, f.root.SecretAccessKey, ""),
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
			tr.TLSClientConfig = f.tls()
			f.t.Cleanup(tr.CloseIdleConnections)
		}),
	}, adapt...)
}

func (f *fleet) everyKMS(members []*member, adapt ...func(*kms.Options)) []*kms.Client {
	var out []*kms.Client
	for _, m := range members {
		out = append(out, f.kms(m, adapt...))
	}
	return out
}

// A result is how a command that ends by itself has ended.
type result struct {
	args           []string
	code           int
	stdout, stderr string
}

// unhurried is how often a process is asked whether it is done.
const unhurried = 100 * time.Millisecond

// commandTime bounds such a command. It is longer than the command's own patience.
const commandTime = 2 * time.Minute

// runCommand runs the program to its end, again, as an operator would, while the
// machine is so busy that no node can serve.
func runCommand(t *testing.T, env []string, args ...string) (r result) {
	t.Helper()
	poll(t, unhurried, strings.Join(args, " "), func() bool {
		r = runOnce(t, env, args...)
		return !strings.Contains(r.stderr, "ServiceUnavailableException") && !strings.Contains(r.stderr, "KMSInternalException")
	})
	return r
}

func runOnce(t *testing.T, env []string, args ...string) result {
	t.Helper()
	p := command(args...)
	setenv(env...)(p)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	code, err := p.wait(commandTime)
	if err != nil {
		p.kill()
		t.Fatalf("kmsd %q: %v\n%s", args, err, p.tail())
	}
	if err := p.raced(); err != nil {
		t.Error(err)
	}
	return result{args, code, p.stdout.String(), p.stderr.String()}
}

// newMember prepares a node: its files are written, its ports chosen.
func (f *fleet) newMember() *member {
	f.t.Helper()
	name := fmt.Sprint("n", len(f.members)+1)
	dir := filepath.Join(f.dir, name)
	must(f.t, "making the node's place", 0, os.MkdirAll(filepath.Join(dir, "keys"), 0o700))
	m := &member{
		f: f, name: name, dir: dir, data: filepath.Join(dir, "data"), seal: filepath.Join(dir, "keys", "seal.key"),
		config: filepath.Join(dir, "kmsd.yaml"),
	}
	m.move()
	f.members = append(f.members, m)
	return m
}

package integration_test

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kmsd/kmsd/internal/testport"
)

// setenv gives a process environment variables.
func setenv(vars ...string) func(*process) {
	return func(p *process) { p.cmd.Env = append(p.cmd.Env, vars...) }
}

// TestEnvFile reads the environment file as soon as it can be read: it is whole
// then, and every node is ready.
func TestEnvFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "env")
	p := command("dev", "--listen", "127.0.0.1:0", "--region", "eu-west-3", "--account", "000000000001", "--env-file", file)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	var text []byte
	until(t, "the environment file", func() bool {
		var err error
		text, err = os.ReadFile(file)
		return err == nil
	})
	c := &cluster{process: p}
	if err := c.read(string(text)); err != nil {
		t.Error(err)
	}
	if len(c.nodes) != 3 || c.region != "eu-west-3" {
		t.Errorf("there are %d nodes and Region %q, want 3 and eu-west-3", len(c.nodes), c.region)
	}
	for i, n := range c.nodes {
		// Since then, the machine may have been too busy for its Beats.
		if status, body := get(t, n.endpoint+"/readyz"); status != http.StatusOK && !strings.Contains(body, "no Beat") {
			t.Errorf("node %d is not ready when the file is there: %d %s", i, status, body)
		}
		who, err := c.sts(i, c.region).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil || *who.Account != "000000000001" {
			t.Errorf("node %d: %+v, %v", i, who, err)
		}
	}
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(c.accessKey) || !regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).MatchString(c.secretKey) {
		t.Errorf("the credential %q has not AWS's form", c.accessKey)
	}
	<-p.stdout.line
	if err := p.terminate(); err != nil {
		t.Fatal(err)
	}
	if out := p.stdout.String(); out != string(text) {
		t.Errorf("standard output is %q, the file %q", out, text)
	}
	if strings.Contains(p.stderr.String(), c.secretKey) {
		t.Error("the log has the secret access key")
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file: %v, %v, want mode 0600", info, err)
	}
}

// TestTemporaryData ends a cluster without a directory of its own: nothing of it
// stays.
func TestTemporaryData(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	c := startCluster(t, setenv("TMPDIR="+tmp), "--nodes", "1")
	if got := entries(t, tmp); len(got) != 1 || !strings.HasPrefix(got[0], "kmsd-dev-") {
		t.Errorf("the temporary directory has %q while the cluster runs", got)
	}
	if len(c.nodes) != 1 {
		t.Errorf("there are %d nodes, want 1", len(c.nodes))
	}
	client := c.kms(0, "ap-southeast-7")
	id, _ := create(t, client)
	_, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
	must(t, "Encrypt", 0, err)
	if err := c.terminate(); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, tmp); len(got) != 0 {
		t.Errorf("%q stayed", got)
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, "reading the directory", list, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestEndBeforeReady ends a cluster that cannot have become ready yet.
func TestEndBeforeReady(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	p := command("dev", "--listen", "127.0.0.1:0")
	setenv("TMPDIR=" + tmp)(p)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	<-p.stderr.line // it runs, and catches signals
	if err := p.terminate(); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, tmp); len(got) != 0 {
		t.Errorf("%q stayed", got)
	}
}

// TestDataDirectory looks at the modes of everything in it, and starts it again
// with other settings.
func TestDataDirectory(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "deep", "data")
	root := setenv("KMSD_ROOT_ACCESS_KEY_ID=AKIAABCDEFGHIJKLMNOP", "KMSD_ROOT_SECRET_ACCESS_KEY=a-secret-of-the-users-own-choice")
	c := startCluster(t, root, "--nodes", "1", "--data", data)
	if c.accessKey != "AKIAABCDEFGHIJKLMNOP" || c.secretKey != "a-secret-of-the-users-own-choice" {
		t.Errorf("the credential is %s, not the one given", c.accessKey)
	}
	id, _ := create(t, c.kms(0, c.region))
	wantModes(t, data)
	second := []string{"dev", "--listen", "127.0.0.1:0", "--nodes", "1", "--data", data}
	refused(t, command(second...), 1, "in use") // while the first one runs
	if err := c.terminate(); err != nil {
		t.Fatal(err)
	}
	wantModes(t, data)
	refused(t, command(append(second, "--account", "210987654321")...), 1, "belongs to account 123456789012: give --account 123456789012")
	refused(t, command("dev", "--listen", "127.0.0.1:0", "--data", data), 1, "has 1 nodes: give --nodes 1")
	other := command(second...)
	setenv("KMSD_ROOT_ACCESS_KEY_ID=AKIAABCDEFGHIJKLMNOP", "KMSD_ROOT_SECRET_ACCESS_KEY=another-secret-another-secret")(other)
	refused(t, other, 1, "not the credential that this cluster was made with")
	again := startCluster(t, nil, "--nodes", "1", "--data", data) // the credential is in the state
	if again.secretKey != c.secretKey {
		t.Error("the credential did not survive")
	}
	if got := listKeys(t, again.kms(0, c.region)); len(got) != 1 || got[0] != id {
		t.Errorf("the keys are %q, want %s", got, id)
	}
}

// wantModes checks that only the owner can look at anything.
func wantModes(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
		files++
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("looked at %d files: %v", files, err)
	}
}

// refused runs a process that must end by itself, with a code and a text.
func refused(t *testing.T, p *process, code int, text string) {
	t.Helper()
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	got, err := p.wait(patience)
	if err != nil {
		p.kill()
		t.Fatal(err)
	}
	args := p.cmd.Args[1:]
	if got != code || !strings.Contains(p.stderr.String(), text) {
		t.Errorf("kmsd %q ended with %d, want %d and %q:\n%s", args, got, code, text, p.tail())
	}
	if out := p.stdout.String(); out != "" {
		t.Errorf("kmsd %q printed %q", args, out)
	}
	if err := p.raced(); err != nil {
		t.Error(err)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, "listening", l, err)
	defer l.Close()
	tmp := t.TempDir()
	p := command("dev", "--nodes", "1", "--listen", l.Addr().String())
	setenv("TMPDIR=" + tmp)(p)
	refused(t, p, 1, "address already in use")
	if got := entries(t, tmp); len(got) != 0 {
		t.Errorf("%q stayed", got)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		env  []string
		want string
	}{
		{args: nil, want: "expected"},
		{args: []string{"nothing"}, want: "unexpected argument nothing"},
		{args: []string{"dev", "--nothing"}, want: "unknown flag --nothing"},
		{args: []string{"dev", "--nodes", "2"}, want: "--nodes must be 1, 3 or 5"},
		{args: []string{"dev", "--nodes", "many"}, want: "--nodes"},
		{args: []string{"dev", "--listen", "0.0.0.0:9400"}, want: "--listen must be a loopback address"},
		{args: []string{"dev", "--listen", "127.0.0.1"}, want: "--listen"},
		{args: []string{"dev", "--listen", "127.0.0.1:65534"}, want: "leaves room for all nodes"},
		{args: []string{"dev", "--account", "1234"}, want: "--account must be 12 digits"},
		{args: []string{"dev", "--region", "Europe"}, want: "--region"},
		{args: []string{"dev"}, env: []string{"KMSD_ROOT_ACCESS_KEY_ID=AKIAABCDEFGHIJKLMNOP"}, want: "belong together"},
		{args: []string{"dev"}, env: []string{"KMSD_ROOT_ACCESS_KEY_ID=AKIA;", "KMSD_ROOT_SECRET_ACCESS_KEY=a-secret-of-the-users"}, want: "16 to 128 letters and digits"},
		{args: []string{"dev"}, env: []string{"KMSD_ROOT_ACCESS_KEY_ID=AKIAABCDEFGHIJKLMNOP", "KMSD_ROOT_SECRET_ACCESS_KEY=short"}, want: "at least 16 characters"},
	} {
		p := command(tc.args...)
		setenv(tc.env...)(p)
		refused(t, p, 2, tc.want)
		if strings.Contains(p.stderr.String(), "msg=") {
			t.Errorf("kmsd %q began to work", tc.args)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	p := command("dev", "--help")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	code, err := p.wait(patience)
	if out := p.stdout.String(); err != nil || code != 0 || !strings.Contains(out, "--env-file") || strings.Contains(out, "secret") {
		t.Errorf("kmsd dev --help ended with %d, %v and printed %q", code, err, out)
	}
}

// TestHealthAndMetrics reads what operators read.
func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	region := newRegion()
	for i, n := range c.nodes {
		client := c.kms(i, region)
		create(t, client)
		_, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("alias/none")})
		if code(err) != "NotFoundException" {
			t.Errorf("DescribeKey: %v", err)
		}
		for _, path := range []string{"/livez", "/readyz"} {
			if status, body := getAnswer(t, n.endpoint+path); status != http.StatusOK || body != "ok" {
				t.Errorf("node %d %s: %d %q", i, path, status, body)
			}
		}
		if status, _ := get(t, n.endpoint+"/metrics"); status != http.StatusNotFound {
			t.Errorf("node %d shows its metrics to its clients: %d", i, status)
		}
		status, text := get(t, n.metrics)
		if status != http.StatusOK {
			t.Errorf("node %d: metrics: %d", i, status)
		}
		for _, want := range []string{
			`kmsd_http_requests_total{code="OK",operation="CreateKey"} [1-9]`,
			`kmsd_http_requests_total{code="NotFoundException",operation="DescribeKey"} [1-9]`,
			`kmsd_http_request_duration_seconds_count{operation="CreateKey"} [1-9]`,
			`kmsd_cluster_\w+`, `kmsd_audit_\w+`, `go_goroutines `,
		} {
			if !regexp.MustCompile(`(?m)^` + want).MatchString(text) {
				t.Errorf("node %d has no metric %s", i, want)
			}
		}
		if strings.Contains(text, c.accessKey) || strings.Contains(text, region) {
			t.Errorf("node %d: the metrics name a caller or a Region", i)
		}
	}
}

// TestPorts starts node i on port + i.
func TestPorts(t *testing.T) {
	t.Parallel()
	base := testport.Row(t, 3)
	c := startCluster(t, func(p *process) {
		for i, a := range p.cmd.Args {
			if a == "127.0.0.1:0" {
				p.cmd.Args[i] = fmt.Sprint("127.0.0.1:", base)
			}
		}
	})
	for i, n := range c.nodes {
		if want := fmt.Sprint("http://127.0.0.1:", base+i); n.endpoint != want {
			t.Errorf("node %d serves at %s, want %s", i, n.endpoint, want)
		}
	}
}

package clients_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/internal/testport"
)

// site is what docs/operations.md and docs/accounts.md describe, on this machine: hosts
// that are directories and ports of loopback. Commands run as the documents have them, but
// for the paths and addresses in them. testdata/operations/bin stands in for what would
// change the machine: sudo, useradd, install, systemctl, scp and hostname.
type site struct {
	dir   string
	hosts map[string]*host
	super *supervisor
	// shown is what commands have shown and the document's reader would paste in the
	// place of its examples.
	shown map[string]string
}

// host is one machine of the document.
type host struct {
	name string
	root string // stands for "/"
	home string
	seal string // the medium of the seal's key
	// The addresses that stand for the ports of the document.
	api, cluster, metrics, balancer string
	units                           map[string]*unit
}

const (
	siteNodes = 4
	// blockLimit bounds what one block may take.
	blockLimit = 5 * time.Minute
)

// The document's examples of what commands show, and how to find in their output
// what to put there.
var examples = map[string]*regexp.Regexp{
	"AKIAIOSFODNN7EXAMPLE":                     regexp.MustCompile(`(?i)access ?key ?id(?:": ")?\s*((?-i:AKIA[A-Z2-7]{16}))`),
	"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": regexp.MustCompile(`(?i)secret ?access ?key(?:": ")?\s*([A-Za-z0-9+/]{40})`),
	"kmsd1.EXAMPLE":                            regexp.MustCompile(`\b(kmsd1\.[a-z2-7]+\.[a-zA-Z0-9-]+\.[a-z2-7]+)\b`),
	"arn:aws:kms:us-east-1:222233334444:key/1234abcd-12ab-34cd-56ef-1234567890ab": regexp.MustCompile(`(arn:aws:kms:[a-z0-9-]+:\d{12}:key/[0-9a-f-]{36})\n`),
}

// newSite makes the hosts: lb, the operators' workstation "admin", those of two other
// accounts, "orders" and "reports", and kms1 to kms4.
func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "site") // short: sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{dir: dir, hosts: map[string]*host{}, shown: map[string]string{}}
	s.super = newSupervisor(t, s)
	names := []string{"lb", "admin", "orders", "reports"}
	for i := range siteNodes {
		names = append(names, "kms"+strconv.Itoa(i+1))
	}
	for _, name := range names {
		s.hosts[name] = s.newHost(t, name)
	}
	for _, h := range s.hosts {
		s.install(t, h)
	}
	return s
}

func (s *site) newHost(t *testing.T, name string) *host {
	t.Helper()
	h := &host{name: name, root: filepath.Join(s.dir, name), units: map[string]*unit{}}
	h.home = filepath.Join(h.root, "home")
	// Another file system than the data directory's, as the document demands.
	seal, err := os.MkdirTemp("/dev/shm", "kmsd-seal-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(seal) })
	h.seal = seal
	for _, d := range []string{h.home, h.path("/usr/local/bin"), h.path("/etc/systemd/system"), h.path("/etc/haproxy"), h.path("/var/lib")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.api, h.cluster, h.metrics, h.balancer = testport.Addr(t), testport.Addr(t), testport.Addr(t), testport.Addr(t)
	return h
}

func (h *host) path(p string) string { return h.root + p }

// install puts what the document's reader has at hand into the host's home: the
// binary, and deploy/ with the host's paths and the site's addresses.
func (s *site) install(t *testing.T, h *host) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink(binaryPath, filepath.Join(h.home, "kmsd")))
	from := filepath.Join("..", "..", "deploy")
	must(filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		to := filepath.Join(h.home, "deploy", rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.WriteFile(to, []byte(s.localize(h, string(text))), 0o600)
	}))
}

// localize replaces paths, addresses and examples of the document by the host's.
func (s *site) localize(h *host, text string) string {
	pairs := []string{
		"/usr/local/bin/", h.path("/usr/local/bin/"),
		"/etc/kmsd", h.path("/etc/kmsd"),
		"/etc/haproxy", h.path("/etc/haproxy"),
		"/etc/systemd", h.path("/etc/systemd"),
		"/var/lib/kmsd", h.path("/var/lib/kmsd"),
		"/media/kmsd-seal", h.seal,
		"https://kms.example.com", "https://" + s.balancer(),
		"bind :443", "bind " + s.balancer(),
		"http://127.0.0.1:9600", "http://" + h.metrics,
		// HAProxy runs as whoever runs the test.
		"    user haproxy\n", "", "    group haproxy\n", "",
	}
	for _, other := range s.hosts {
		name := other.name + ".example.com"
		pairs = append(pairs, name+":9400", other.api, name+":9500", other.cluster)
	}
	for example, shown := range s.shown {
		pairs = append(pairs, example, shown)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// balancer is where clients reach the load balancer.
func (s *site) balancer() string { return s.hosts["lb"].balancer }

// environment of the host's shells and services. Its settings stand in the
// environment where they would collide with those of the other hosts.
func (s *site) environment(h *host) []string {
	bin, err := filepath.Abs(filepath.Join("testdata", "operations", "bin"))
	if err != nil {
		panic(err) // there is no working directory
	}
	env := []string{
		"PATH=" + bin + ":" + h.path("/usr/local/bin") + ":" + os.Getenv("PATH"),
		"HOME=" + h.home, "TMPDIR=" + s.dir, "TZ=UTC", "LANG=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"SITE_DIR=" + s.dir, "SITE_HOST=" + h.name, "SITE_SUPERVISOR=" + s.super.port(),
	}
	if strings.HasPrefix(h.name, "kms") {
		env = append(env,
			"KMSD_DATA="+h.path("/var/lib/kmsd"), "KMSD_CLUSTER_LISTEN="+h.cluster, "KMSD_CLUSTER_ADVERTISE="+h.cluster,
			"KMSD_API_LISTEN="+h.api, "KMSD_API_ADVERTISE="+h.api, "KMSD_METRICS_LISTEN="+h.metrics, "KMSD_API_PROXY_PROTOCOL=127.0.0.1/32")
	}
	return env
}

// run types a script into a shell of a host. Variables that it sets stay set in the
// host's later scripts.
func (s *site) run(t *testing.T, name, where, script string) string {
	t.Helper()
	h, ok := s.hosts[name]
	if !ok {
		t.Fatalf("%s: there is no host %q", where, name)
	}
	vars := filepath.Join(h.root, "vars")
	prologue := "set -euo pipefail\n[[ -e " + vars + " ]] && . " + vars + "\n"
	epilogue := "\nexport -p | grep -E '^declare -x (AWS_|KEY=)' >" + vars + " || true\n"
	ctx, cancel := context.WithTimeout(t.Context(), blockLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", prologue+s.localize(h, script)+epilogue)
	cmd.Dir, cmd.Env = h.home, s.environment(h)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	started := time.Now()
	err := cmd.Run()
	t.Logf("%s on %s (%v):\n%s%s%s", where, name, time.Since(started).Round(time.Millisecond), indent(script, "  > "), indent(stdout.String(), "  "), indent(stderr.String(), "  ! "))
	if err != nil {
		t.Fatalf("%s on %s: %v", where, name, errors.Join(err, ctx.Err()))
	}
	for example, re := range examples {
		if m := re.FindStringSubmatch(stdout.String()); m != nil {
			s.shown[example] = m[1]
		}
	}
	return stdout.String()
}

func indent(text, by string) string {
	if text == "" {
		return ""
	}
	return by + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+by) + "\n"
}

// node is the cluster as clients see it through the load balancer: one endpoint.
func (s *site) cluster(ca string) *cluster {
	c := &cluster{accessKeyID: s.shown["AKIAIOSFODNN7EXAMPLE"], secret: s.shown["wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"], ca: ca}
	for i := range c.endpoints {
		c.endpoints[i] = "https://" + s.balancer()
	}
	return c
}

// describe is for failures.
func (s *site) describe() string {
	var b strings.Builder
	for _, h := range s.hosts {
		for name, u := range h.units {
			fmt.Fprintf(&b, "-- %s on %s\n%s", name, h.name, u.tail())
		}
	}
	return b.String()
}

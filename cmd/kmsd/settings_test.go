package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	settingsFile  = "../../docs/configuration.md"
	settingsBegin = "<!-- generated from the settings: begin -->\n"
	settingsEnd   = "<!-- generated from the settings: end -->\n"
)

// TestSettingsDocument holds docs/configuration.md against the settings.
func TestSettingsDocument(t *testing.T) {
	var b strings.Builder
	for _, s := range settings() {
		b.WriteString("### `" + s.key + "`\n\n`--" + s.flag + "`, `" + s.env + "`")
		if text := s.tag.Get("default"); text != "" {
			b.WriteString(". Default: `" + text + "`")
		}
		b.WriteString(".\n\n" + s.tag.Get("help") + "\n\n")
	}
	wantGenerated(t, settingsFile, settingsBegin, settingsEnd, b.String())
}

// A result is what a run of the program gave.
type result struct {
	code     int
	out, err string
}

// runCLI runs the program in this process.
func runCLI(t *testing.T, args ...string) result {
	t.Helper()
	var out, err lockedBuffer
	code := run(t.Context(), args, &out, &err)
	return result{code, string(out.bytes()), string(err.bytes())}
}

// writeFile writes a file of the test and returns its path.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kmsd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// effectiveConfig returns the lines of "config check".
func effectiveConfig(t *testing.T, args ...string) string {
	t.Helper()
	got := runCLI(t, append([]string{"config", "check"}, args...)...)
	if got.code != exitOK || got.err != "" {
		t.Fatalf("config check %q: %+v", args, got)
	}
	return got.out
}

// base is a configuration in which only what others derive is missing.
const base = "data: /nonexistent/kmsd\nseal: file:/nonexistent.key\nseal-on-same-disk: true\ncluster: {listen: '192.0.2.1:9500'}\n"

const wantBase = `data: /nonexistent/kmsd
seal: file:/nonexistent.key
seal-on-same-disk: true
cluster:
  listen: 192.0.2.1:9500
  advertise: 192.0.2.1:9500
  peers: []
api:
  listen:
  - :9400
  advertise: 192.0.2.1:9400
  name: []
  proxy-protocol: []
tls:
  cert: ""
  key: ""
metrics:
  listen: 127.0.0.1:9600
audit:
  dir: /nonexistent/kmsd/audit
  durability: second
log:
  level: info
  format: text
attestation:
  roots: ""
drain: 5s
`

func TestConfigCheckPrintsWhatIsInEffect(t *testing.T) {
	file := writeFile(t, base)
	if diff := cmp.Diff(wantBase, effectiveConfig(t, "--config", file)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What it prints is a configuration file, and says the same.
	if got := effectiveConfig(t, "--config", writeFile(t, wantBase)); got != wantBase {
		t.Errorf("the printed file gives another configuration:\n%s", cmp.Diff(wantBase, got))
	}
	got := effectiveConfig(t, "--json", "--config", file)
	const want = `{"data": "/nonexistent/kmsd", "seal": "file:/nonexistent.key", "seal-on-same-disk": true, ` +
		`"cluster": {"listen": "192.0.2.1:9500", "advertise": "192.0.2.1:9500", "peers": []}, ` +
		`"api": {"listen": [":9400"], "advertise": "192.0.2.1:9400", "name": [], "proxy-protocol": []}, ` +
		`"tls": {"cert": "", "key": ""}, "metrics": {"listen": "127.0.0.1:9600"}, ` +
		`"audit": {"dir": "/nonexistent/kmsd/audit", "durability": "second"}, "log": {"level": "info", "format": "text"}, "attestation": {"roots": ""}, "drain": "5s"}` + "\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON: -want +got:\n%s", diff)
	}
}

// TestPrecedence sets one setting in every subset of the places.
func TestPrecedence(t *testing.T) {
	for bits := range 8 {
		args, want := []string{}, "drain: 5s\n"
		text := base
		if bits&1 != 0 {
			text, want = text+"drain: 1s\n", "drain: 1s\n"
		}
		file := writeFile(t, text)
		t.Setenv("KMSD_CONFIG", file)
		if bits&2 != 0 {
			t.Setenv("KMSD_DRAIN", "2s")
			want = "drain: 2s\n"
		}
		if bits&4 != 0 {
			args, want = append(args, "--drain", "3s"), "drain: 3s\n"
		}
		if got := effectiveConfig(t, args...); !strings.HasSuffix(got, want) {
			t.Errorf("file %t, environment %t, flag %t: got %q, want %q", bits&1 != 0, bits&2 != 0, bits&4 != 0, got, want)
		}
		if err := os.Unsetenv("KMSD_DRAIN"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEverySettingIsInAllThreePlaces sets each setting alone, by each of its names.
func TestEverySettingIsInAllThreePlaces(t *testing.T) {
	caFile, certFile, keyFile := writePair(t, t.TempDir())
	other := map[string]string{
		"data": "/nonexistent/other", "seal": "file:/other.key", "seal-on-same-disk": "true",
		"cluster.listen": "192.0.2.2:1", "cluster.advertise": "other:2", "cluster.peers": "other:6", "api.listen": "192.0.2.2:3", "api.advertise": "other:4",
		"api.name": "other.example", "api.proxy-protocol": "192.0.2.0/24", "tls.cert": certFile, "tls.key": keyFile,
		"metrics.listen": "192.0.2.2:5", "audit.dir": "/nonexistent/audit", "audit.durability": "sync",
		"log.level": "warn", "log.format": "json", "drain": "7s", "attestation.roots": caFile,
	}
	for _, s := range settings() {
		value := other[s.key]
		if value == "" {
			t.Errorf("the test knows no value for %s", s.key)
			continue
		}
		t.Run(s.key, func(t *testing.T) {
			args := []string{"--config", writeFile(t, base)}
			switch s.key { // the two belong together
			case "tls.cert":
				args = append(args, "--tls-key", keyFile)
			case "tls.key":
				args = append(args, "--tls-cert", certFile)
			}
			asFlag := effectiveConfig(t, append(args, "--"+s.flag+"="+value)...)
			if !strings.Contains(asFlag, value) {
				t.Errorf("the flag has no effect:\n%s", asFlag)
			}
			t.Setenv(s.env, value)
			if got := effectiveConfig(t, args...); got != asFlag {
				t.Errorf("%s has another effect than the flag:\n%s", s.env, cmp.Diff(asFlag, got))
			}
		})
	}
}

// TestFileRefuses holds what a configuration file may not say.
func TestFileRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"nonsense: 1":                     `there is no setting "nonsense"`,
		"cluster: {lisen: ':1'}":          `there is no setting "cluster.lisen"`,
		"cluster-listen: ':1'":            `there is no setting "cluster-listen"`,
		"'cluster.listen.port': 1":        `there is no setting "cluster.listen.port"`,
		"cluster: ':1'":                   `there is no setting "cluster"`,
		"cluster.listen: {host: a}":       `the value of cluster.listen has not the right form`,
		"cluster: {listen: [':1', ':2']}": `the value of cluster.listen has not the right form`,
		"cluster: {listen: }":             `the value of cluster.listen has not the right form`,
		"api: {listen: [[':1']]}":         `the value of api.listen has not the right form`,
		"data: a\ndata: b":                "already defined",
		"data: [":                         "reading the configuration",
		"- data":                          "reading the configuration",
		"drain: soon":                     "--drain",
		"log: {level: loud}":              "--log-level must be one of",
		"seal-on-same-disk: perhaps":      "--seal-on-same-disk",
		strings.Repeat("# long\n", 10000): "longer than 65536 bytes",
	} {
		got := runCLI(t, "config", "check", "--config", writeFile(t, text))
		if got.code != exitUsage || got.out != "" || !strings.Contains(got.err, want) {
			t.Errorf("%.40q: got %+v, want exit code 2 and %q", text, got, want)
		}
	}
	if got := runCLI(t, "config", "check", "--config", "/nonexistent.yaml"); got.code != exitUsage || !strings.Contains(got.err, "/nonexistent.yaml") {
		t.Errorf("no file: got %+v", got)
	}
}

// TestValidate holds every rule between settings; each message names its flag.
func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"", ""},
		{"--data=", "--data must name a directory"},
		{"--seal=", "--seal is required, for example --seal file:/etc/kmsd/seal.key"},
		{"--seal=/etc/kmsd/seal.key", "--seal must be file:PATH"},
		{"--seal=file:", "--seal: file: needs a path"},
		{"--seal=passphrase:hunter2", `--seal: this version knows file:PATH, not the kind "passphrase"`},
		{"--seal=file:/nonexistent/kmsd/seal.key", "--seal: the key file must lie outside the data directory"},
		{"--seal=file:/nonexistent/kmsd/../kmsd/a/seal.key", "--seal: the key file must lie outside the data directory"},
		{"--seal=file:/nonexistent/kmsd2/seal.key", ""},
		{"--seal-on-same-disk=false", "--seal: the key file lies on the data directory's file system"},
		{"--cluster-listen=9500", `--cluster-listen: "9500" is not HOST:PORT`},
		{"--cluster-listen=a:70000", `--cluster-listen: "a:70000" is not HOST:PORT`},
		{"--cluster-listen=a_b:1", `--cluster-listen: "a_b:1" is not HOST:PORT`},
		{"--cluster-listen=:9500", "--cluster-advertise is required when --cluster-listen names no host or port"},
		{"--cluster-listen=0.0.0.0:9500", "--cluster-advertise is required when --cluster-listen names no host or port"},
		{"--cluster-listen=[::]:9500", "--cluster-advertise is required when --cluster-listen names no host or port"},
		{"--cluster-listen=192.0.2.1:0", "--cluster-advertise is required when --cluster-listen names no host or port"},
		{"--cluster-listen=:9500 --cluster-advertise=node1.example:9500", ""},
		{"--cluster-listen=[2001:db8::1]:9500", ""},
		{"--cluster-advertise=0.0.0.0:9500", `--cluster-advertise: others cannot dial "0.0.0.0:9500"`},
		{"--cluster-advertise=node1:0", `--cluster-advertise: others cannot dial "node1:0"`},
		{"--cluster-advertise=node1", `--cluster-advertise: "node1" is not HOST:PORT`},
		{"--cluster-peers=node1.example:9500,[2001:db8::1]:9500", ""},
		{"--cluster-peers=node1.example:9500,node2", `--cluster-peers: "node2" is not HOST:PORT`},
		{"--cluster-peers=:9500", `--cluster-peers: others cannot dial ":9500"`},
		{"--api-listen=", "--api-listen must name an address"},
		{"--api-listen=:1,x", `--api-listen: "x" is not HOST:PORT`},
		{"--api-listen=:1,:1", "--api-listen names :1 twice"},
		{"--api-listen=:0", "--api-advertise is required when --api-listen names no port"},
		{"--api-listen=:0 --api-advertise=kms.example:443", ""},
		{"--api-advertise=:443", `--api-advertise: others cannot dial ":443"`},
		{"--api-name=kms.example,192.0.2.7", ""},
		{"--api-name=kms/a", `--api-name: "kms/a" is neither a DNS name nor an IP address`},
		{"--api-name=a --tls-cert=c --tls-key=k", "--api-name is for the certificate that the API CA issues: not with --tls-cert"},
		{"--api-proxy-protocol=10.0.0.1", `--api-proxy-protocol: "10.0.0.1" is not a network such as 10.0.0.0/8`},
		{"--api-proxy-protocol=10.0.0.0/8,2001:db8::/32", ""},
		{"--api-proxy-protocol=0.0.0.0/0", "--api-proxy-protocol: 0.0.0.0/0 would let clients choose their addresses"},
		{"--api-proxy-protocol=::ffff:10.0.0.0/104", "--api-proxy-protocol: ::ffff:10.0.0.0/104 would let clients choose"},
		{"--tls-cert=c", "--tls-cert and --tls-key belong together"},
		{"--tls-key=k", "--tls-cert and --tls-key belong together"},
		{"--metrics-listen=localhost", `--metrics-listen: "localhost" is not HOST:PORT`},
		{"--audit-durability=never", "--audit-durability must be one of"},
		{"--log-format=xml", "--log-format must be one of"},
		{"--attestation-roots=/nonexistent/roots.pem", "--attestation-roots: open /nonexistent/roots.pem: no such file or directory"},
		{"--attestation-roots=config.go", "--attestation-roots: config.go: not PEM certificates"},
		{"--attestation-roots=/dev/zero", "--attestation-roots: /dev/zero: it is longer than 1048576 bytes"},
		{"--drain=-1s", "--drain must be between 0s and 5m"},
		{"--drain=6m", "--drain must be between 0s and 5m"},
	} {
		got := runCLI(t, append([]string{"config", "check", "--config", writeFile(t, base)}, strings.Fields(tt.args)...)...)
		switch {
		case tt.want == "" && got.code != exitOK:
			t.Errorf("%s: got %+v, want it accepted", tt.args, got)
		case tt.want != "" && (got.code != exitUsage || got.out != "" || !strings.Contains(got.err, tt.want)):
			t.Errorf("%s: got %+v, want exit code 2 and %q", tt.args, got, tt.want)
		case strings.Contains(got.err, "hunter2"):
			t.Errorf("%s: the seal's secret is shown: %s", tt.args, got.err)
		}
	}
}

// TestSealFollowsLinks hides the key file in the data directory behind a link.
func TestSealFollowsLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, link := filepath.Join(dir, "data"), filepath.Join(dir, "link")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	c := Config{Data: data, Seal: "file:" + filepath.Join(link, "below", "seal.key")}
	if err := c.validateSeal(); err == nil || !strings.Contains(err.Error(), "outside the data directory") {
		t.Errorf("got %v", err)
	}
	c.Seal = "file:" + filepath.Join(dir, "seal.key")
	if err := c.validateSeal(); err != nil {
		t.Error(err)
	}
	if same, err := c.sealOnDataDisk(); err != nil || !same {
		t.Errorf("one temporary directory: on the same disk %t, %v", same, err)
	}
	c.Data = "/proc/nonexistent"
	if same, err := c.sealOnDataDisk(); err != nil || same {
		t.Errorf("/proc: on the same disk %t, %v", same, err)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if got := runCLI(t, "version"); got.code != exitOK || !strings.HasPrefix(got.out, "kmsd ") || strings.Count(got.out, "\n") != 1 {
		t.Errorf("got %+v", got)
	}
	if got := runCLI(t, "version", "--json"); got.code != exitOK || !strings.HasPrefix(got.out, "{\n  \"version\": ") {
		t.Errorf("got %+v", got)
	}
}

// TestDevIgnoresTheServersSettings holds that no variable of the server changes
// "kmsd dev".
func TestDevIgnoresTheServersSettings(t *testing.T) {
	for _, s := range settings() {
		t.Setenv(s.env, "nonsense")
	}
	t.Setenv("KMSD_CONFIG", "/nonexistent")
	got := runCLI(t, "dev", "--nodes", "2")
	if got.code != exitUsage || !strings.Contains(got.err, "--nodes must be 1, 3 or 5") {
		t.Errorf("got %+v", got)
	}
}

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kmsd/kmsd/internal/apitls"
)

// Config is what one node is told by its operator; the cluster's own settings are
// replicated. Every field is a flag, a variable of the environment and a key of the
// configuration file, in this order of precedence, before the default. The help
// texts are the manual: docs/configuration.md is made of them.
//
// Trust: who can change a node's configuration can make it send its metrics and
// records elsewhere and take addresses of callers from a header, but needs the
// seal's key as well to read a secret.
type Config struct {
	Data           string `env:"KMSD_DATA" default:"/var/lib/kmsd" help:"The node's directory, made with mode 0700. One process at a time uses it; it must be a local disk."`
	Seal           string `env:"KMSD_SEAL" placeholder:"file:PATH" help:"What protects the root key on this node's disk. file:PATH is a file of 32 random bytes with mode 0600 that init and join make where it is missing; it must lie outside the data directory, on another medium. Whoever has both can read every key. Required."`
	SealOnSameDisk bool   `env:"KMSD_SEAL_ON_SAME_DISK" help:"Allow the seal's key file on the data directory's file system. Who takes that disk then has every key; status says so."`

	Cluster clusterConfig `embed:"" prefix:"cluster-" envprefix:"KMSD_CLUSTER_"`
	API     apiConfig     `embed:"" prefix:"api-" envprefix:"KMSD_API_"`
	TLS     tlsConfig     `embed:"" prefix:"tls-" envprefix:"KMSD_TLS_"`
	Metrics metricsConfig `embed:"" prefix:"metrics-" envprefix:"KMSD_METRICS_"`
	Audit   auditConfig   `embed:"" prefix:"audit-" envprefix:"KMSD_AUDIT_"`
	Log     logConfig     `embed:"" prefix:"log-" envprefix:"KMSD_LOG_"`

	Attestation attestationConfig `embed:"" prefix:"attestation-" envprefix:"KMSD_ATTESTATION_"`

	Drain time.Duration `env:"KMSD_DRAIN" default:"5s" help:"How long /readyz is red before the node stops taking calls when it is told to end or to leave, so that load balancers notice: longer than their checks take to fail. At most 5m."`
}

// clusterConfig is the port that members speak to each other on.
type clusterConfig struct {
	Listen    string   `env:"LISTEN" default:":9500" help:"Where the cluster port listens, TCP and UDP. Only members and those that join need to reach it."`
	Advertise string   `env:"ADVERTISE" placeholder:"HOST:PORT" help:"Where the other members reach this node's cluster port; a DNS name is resolved anew at each connection. Required when the listening address names no host."`
	Peers     []string `env:"PEERS" placeholder:"HOST:PORT" help:"Cluster addresses at which members may be, tried only while this node hears no leader. Needed when no member is where it was: after all have moved to other IP addresses, for example. Whoever answers must prove to be a member."`
}

// apiConfig is the port that clients speak to.
type apiConfig struct {
	Listen        []string `env:"LISTEN" default:":9400" help:"Where the AWS API is served over TLS. Several addresses, separated by commas or as a list in the file."`
	Advertise     string   `env:"ADVERTISE" placeholder:"HOST:PORT" help:"Where clients reach this node's API: shown in members, and a name of the certificate that the API CA issues. Default: the host of the cluster's advertised address and the port of the first API address."`
	Name          []string `env:"NAME" placeholder:"NAME" help:"More host names or IP addresses for the certificate that the API CA issues: those by which clients call the load balancer. Not with a certificate of your own."`
	ProxyProtocol []string `env:"PROXY_PROTOCOL" placeholder:"CIDR" help:"Networks of the load balancers whose PROXY protocol version 2 header is believed about the client's address. From everywhere else such a header is refused."`
}

// tlsConfig is the API's certificate.
type tlsConfig struct {
	Cert string `env:"CERT" placeholder:"FILE" help:"The API's certificate chain, PEM, the leaf first. It is read again when it changes and on SIGHUP. Without it the cluster's API CA issues a certificate; kmsd ca prints that CA."`
	Key  string `env:"KEY" placeholder:"FILE" help:"The certificate's private key, PEM. Belongs together with --tls-cert."`
}

// metricsConfig is the port that Prometheus scrapes.
type metricsConfig struct {
	Listen string `env:"LISTEN" default:"127.0.0.1:9600" help:"Where /metrics is served, over plain HTTP and to everybody who reaches it: names of operations and numbers, no secrets."`
}

// auditConfig is the node's audit log.
type auditConfig struct {
	Dir        string `env:"DIR" placeholder:"DIR" help:"Where the audit log is written, readable by its owner alone. It may lie on another volume. Default: the directory audit in the data directory."`
	Durability string `env:"DURABILITY" default:"second" enum:"second,sync" help:"When a record is on the disk: second, within a second of the reply (written before it, so that only a loss of power can take it); sync, before the reply."`
}

// logConfig is the node's own log, on standard error.
type logConfig struct {
	Level  string `env:"LEVEL" default:"info" enum:"debug,info,warn,error" help:"The least severe messages that are logged: debug, info, warn or error."`
	Format string `env:"FORMAT" default:"text" enum:"text,json" help:"The form of the log: text or json."`
}

// durabilitySync is the audit log's slower durability.
const durabilitySync = "sync"

// maxDrain bounds the drain: supervisors kill what takes longer to end.
const maxDrain = 5 * time.Minute

// validate holds the rules that need more than one setting or the parsed value,
// and fills in what is derived from others.
func (c *Config) validate() error {
	if c.Data == "" {
		return errors.New("--data must name a directory")
	}
	if c.Drain < 0 || c.Drain > maxDrain {
		return errors.New("--drain must be between 0s and 5m")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return errors.New("--tls-cert and --tls-key belong together")
	}
	if c.TLS.Cert != "" && len(c.API.Name) > 0 {
		return errors.New("--api-name is for the certificate that the API CA issues: not with --tls-cert")
	}
	for _, check := range []func() error{c.validateSeal, c.validateCluster, c.validateAPI, c.validateProxies} {
		if err := check(); err != nil {
			return err
		}
	}
	if c.Audit.Dir == "" {
		c.Audit.Dir = filepath.Join(c.Data, "audit")
	}
	_, _, err := hostPort("--metrics-listen", c.Metrics.Listen)
	return err
}

func (c *Config) validateCluster() error {
	host, port, err := hostPort("--cluster-listen", c.Cluster.Listen)
	if err != nil {
		return err
	}
	if c.Cluster.Advertise == "" {
		if isUnspecified(host) || port == 0 {
			return errors.New("--cluster-advertise is required when --cluster-listen names no host or port")
		}
		c.Cluster.Advertise = c.Cluster.Listen
	}
	for _, addr := range c.Cluster.Peers {
		if err := advertised("--cluster-peers", addr); err != nil {
			return err
		}
	}
	return advertised("--cluster-advertise", c.Cluster.Advertise)
}

func (c *Config) validateAPI() error {
	if len(c.API.Listen) == 0 {
		return errors.New("--api-listen must name an address")
	}
	var first int
	for i, addr := range slices.Backward(c.API.Listen) {
		_, port, err := hostPort("--api-listen", addr)
		if err != nil {
			return err
		}
		if slices.Contains(c.API.Listen[:i], addr) {
			return fmt.Errorf("--api-listen names %s twice", addr)
		}
		first = port
	}
	if c.API.Advertise == "" {
		if first == 0 {
			return errors.New("--api-advertise is required when --api-listen names no port")
		}
		host, _, _ := net.SplitHostPort(c.Cluster.Advertise)
		c.API.Advertise = net.JoinHostPort(host, strconv.Itoa(first))
	}
	if _, err := apitls.ParseHosts(c.API.Name...); err != nil {
		return fmt.Errorf("--api-name: %w", err)
	}
	return advertised("--api-advertise", c.API.Advertise)
}

func (c *Config) validateProxies() error {
	_, err := c.proxies()
	return err
}

// proxies returns the networks whose PROXY protocol header is believed.
func (c *Config) proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range c.API.ProxyProtocol {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--api-proxy-protocol: %q is not a network such as 10.0.0.0/8", text)
		}
		if prefix.Bits() == 0 || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("--api-proxy-protocol: %s would let clients choose their addresses: name the load balancers", text)
		}
		out = append(out, prefix)
	}
	return out, nil
}

// hostPort parses an address to listen on.
func hostPort(flag, addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	n, portErr := strconv.ParseUint(text, 10, 16)
	if err != nil || portErr != nil || (host != "" && !validHost(host)) {
		return "", 0, fmt.Errorf("%s: %q is not HOST:PORT", flag, addr)
	}
	return host, int(n), nil
}

// advertised checks an address that others dial.
func advertised(flag, addr string) error {
	host, port, err := hostPort(flag, addr)
	if err == nil && (isUnspecified(host) || port == 0) {
		err = fmt.Errorf("%s: others cannot dial %q", flag, addr)
	}
	return err
}

// isUnspecified tells whether host stands for all of the machine's addresses.
func isUnspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || (err == nil && ip.IsUnspecified())
}

// validHost tells whether s is an IP address or a DNS name (RFC 1123, section 2.1).
func validHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		const word = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
		if label == "" || len(label) > 63 || strings.Trim(label, word) != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

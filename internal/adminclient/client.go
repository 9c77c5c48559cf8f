// Package adminclient speaks kmsd's admin API: to a node's admin socket, or to any
// node over the network, signed with Signature Version 4. It tells apart what the
// commands of an operator must tell apart: that the cluster refused, that nobody
// knows whether the call took effect, and that nothing was done.
//
// It never repeats a call: a change whose outcome is unknown is for its operator to
// look into. It follows no redirects, since a signature is for one host.
//
// Trust: whoever answers a plain HTTP endpoint, or holds an authority in TLS, reads
// what is sent and learns the join tokens and credentials that are asked for.
// Answers are bounded and otherwise taken at their word. The socket's place in a
// directory of the operator's is all that proves who listens there.
package adminclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/kmsd/kmsd/wire/admin"
)

const (
	// defaultRegion is the Region of credential scopes. kmsd takes any.
	defaultRegion = "us-east-1"
	// defaultTimeout outlives the longest call, a leader that leaves without a drain.
	defaultTimeout = 70 * time.Second
	// dialTimeout bounds the connection's making.
	dialTimeout = 5 * time.Second
	// socketHost is the host of requests over the socket.
	socketHost = "kmsd.local"
)

// Credentials are an access key.
type Credentials struct {
	AccessKeyID, SecretAccessKey string
	SessionToken                 string // empty for a long-term access key
}

// Config says whom to speak to. Exactly one of Socket and Endpoint is set.
type Config struct {
	// Socket is the path of a node's admin socket.
	Socket string
	// Endpoint is a URL such as https://kms.example.com:9400, without a path.
	Endpoint string
	// Credentials sign what goes to Endpoint, and on the socket the calls that need
	// credentials there, too; the others go unsigned. May be nil.
	Credentials *Credentials
	// Region is that of the credential scope. Default us-east-1.
	Region string
	// TLS is for https endpoints: the authorities to trust. Default: the system's.
	TLS *tls.Config
	// Timeout bounds one call. Default 70 s.
	Timeout time.Duration
	// UserAgent is shown in audit records. Default "kmsd".
	UserAgent string
}

// ErrNoCredentials is returned for a call that needs credentials when there are
// none. Nothing was sent.
var ErrNoCredentials = errors.New("this command needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to those of the operator account")

// Client calls one node, or whatever a load balancer chooses. It is safe for
// concurrent use.
type Client struct {
	cfg    Config
	base   url.URL
	http   *http.Client
	signer *v4.Signer
}

// New returns a client. It connects to nothing.
func New(cfg Config) (*Client, error) {
	if (cfg.Socket == "") == (cfg.Endpoint == "") {
		return nil, errors.New("either an admin socket or an endpoint must be given")
	}
	c := &Client{cfg: cfg, base: url.URL{Scheme: "http", Host: socketHost}, signer: v4.NewSigner()}
	c.cfg.fillDefaults()
	dialer := &net.Dialer{Timeout: dialTimeout}
	// Each call has a connection of its own: on one that was used before, net/http
	// would repeat a call whose fate it does not know.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: cfg.TLS, TLSHandshakeTimeout: dialTimeout, DialContext: dialer.DialContext}
	if cfg.Socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", cfg.Socket)
		}
	} else {
		if err := c.setEndpoint(cfg.Endpoint); err != nil {
			return nil, err
		}
		transport.Proxy = http.ProxyFromEnvironment
	}
	c.http = &http.Client{
		Transport: transport, Timeout: c.cfg.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (c *Config) fillDefaults() {
	if c.Region == "" {
		c.Region = defaultRegion
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.UserAgent == "" {
		c.UserAgent = "kmsd"
	}
}

func (c *Client) setEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("the endpoint is no URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.User != nil {
		return errors.New("the endpoint must look like https://kms.example.com:9400")
	}
	c.base = url.URL{Scheme: u.Scheme, Host: u.Host}
	return nil
}

// Status asks the node how it is.
func (c *Client) Status(ctx context.Context) (*admin.GetStatusResponse, error) {
	out := new(admin.GetStatusResponse)
	return out, c.do(ctx, call{method: http.MethodGet, path: "/v1/status", local: true}, out)
}

// Members lists the members, sorted by id, and says what the cluster can lose.
func (c *Client) Members(ctx context.Context) (*admin.ListMembersResponse, error) {
	var out admin.ListMembersResponse
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/members", local: true}, &out)
	return &out, err
}

// CreateJoinToken makes a token. Its text is in no other place: convert Token to a
// string to show it, or use AppendJSON, which does.
func (c *Client) CreateJoinToken(ctx context.Context, in *admin.CreateJoinTokenRequest) (*admin.CreateJoinTokenResponse, error) {
	out := new(admin.CreateJoinTokenResponse)
	return out, c.do(ctx, call{method: http.MethodPost, path: "/v1/tokens", body: in, changes: true}, out)
}

// Leave makes the node that gets the call leave, and returns when it is no member
// any more.
func (c *Client) Leave(ctx context.Context, in *admin.LeaveClusterRequest) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/v1/leave", body: in, local: true, changes: true}, nil)
}

// RemoveMember removes a dead member.
func (c *Client) RemoveMember(ctx context.Context, memberID string, force bool) error {
	query := url.Values{}
	if force {
		query.Set("force", strconv.FormatBool(force))
	}
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/members/", segment: memberID, query: query, changes: true}, nil)
}

// ResetRootCredential gives an account's root user a new access key, and ends the
// old ones. The secret is shown as a token is.
func (c *Client) ResetRootCredential(ctx context.Context, accountID string) (*admin.RootCredential, error) {
	out := new(admin.RootCredential)
	return out, c.do(ctx, call{
		method: http.MethodPost, path: "/v1/accounts/", segment: accountID, rest: "/root-credential", local: true, changes: true,
	}, out)
}

// Config returns the cluster's settings.
func (c *Client) Config(ctx context.Context) (*admin.Settings, error) {
	out := new(admin.Settings)
	return out, c.do(ctx, call{method: http.MethodGet, path: "/v1/config"}, out)
}

// SetConfig changes settings of the cluster, and returns all of them.
func (c *Client) SetConfig(ctx context.Context, in *admin.SetConfigRequest) (*admin.Settings, error) {
	out := new(admin.Settings)
	return out, c.do(ctx, call{method: http.MethodPut, path: "/v1/config", body: in, changes: true}, out)
}

// Explain tells how a permission would be decided, and why.
func (c *Client) Explain(ctx context.Context, in *admin.ExplainRequest) (*admin.ExplainResponse, error) {
	out := new(admin.ExplainResponse)
	return out, c.do(ctx, call{method: http.MethodPost, path: "/v1/explain", body: in}, out)
}

// Authority returns the certificate, in PEM, of the authority that issues API
// certificates.
func (c *Client) Authority(ctx context.Context) (string, error) {
	var out admin.GetAuthorityResponse
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/ca", public: true}, &out)
	return out.Certificate, err
}

// Ready returns nil when the node serves. Otherwise the error's Message says why
// not. Unlike Status it needs no record, so that it works when the node cannot
// write its audit log.
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodGet, path: "/readyz", public: true, text: true}, nil)
}

// credentials returns what signs a call, nil for none.
func (c *Client) credentials(k call) (*aws.Credentials, error) {
	switch {
	case k.public, k.local && c.cfg.Socket != "":
		return nil, nil
	case c.cfg.Credentials == nil:
		return nil, ErrNoCredentials
	}
	given := c.cfg.Credentials
	return &aws.Credentials{AccessKeyID: given.AccessKeyID, SecretAccessKey: given.SecretAccessKey, SessionToken: given.SessionToken}, nil
}

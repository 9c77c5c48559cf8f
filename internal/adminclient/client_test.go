package adminclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kmsd/kmsd/internal/adminclient"
	"github.com/kmsd/kmsd/wire/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	memberID = "0b9c1f0e-2222-4a4a-8b8b-000000000002"
	account  = "111122223333"
)

var credentials = &adminclient.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}

// calls is every call of a client: its method, path and body, whether it needs
// credentials on the socket and over the network, and whether it changes anything.
var calls = []struct {
	name                      string
	do                        func(context.Context, *adminclient.Client) error
	request, body             string
	local, anonymous, changes bool
}{
	{"status", func(ctx context.Context, c *adminclient.Client) error { _, err := c.Status(ctx); return err }, "GET /v1/status", "", true, false, false},
	{"members", func(ctx context.Context, c *adminclient.Client) error { _, err := c.Members(ctx); return err }, "GET /v1/members", "", true, false, false},
	{"token", func(ctx context.Context, c *adminclient.Client) error {
		ttl, uses := 60, 2
		_, err := c.CreateJoinToken(ctx, &admin.CreateJoinTokenRequest{TTLSeconds: &ttl, Uses: &uses, CIDRs: []string{"10.0.0.0/8"}})
		return err
	}, "POST /v1/tokens", `{"ttlSeconds":60,"uses":2,"cidrs":["10.0.0.0/8"]}`, false, false, true},
	{"default token", func(ctx context.Context, c *adminclient.Client) error {
		_, err := c.CreateJoinToken(ctx, &admin.CreateJoinTokenRequest{})
		return err
	}, "POST /v1/tokens", `{}`, false, false, true},
	{"leave", func(ctx context.Context, c *adminclient.Client) error {
		force := true
		return c.Leave(ctx, &admin.LeaveClusterRequest{Force: &force})
	}, "POST /v1/leave", `{"force":true}`, true, false, true},
	{"remove", func(ctx context.Context, c *adminclient.Client) error { return c.RemoveMember(ctx, memberID, false) },
		"DELETE /v1/members/" + memberID, "", false, false, true},
	{"remove by force", func(ctx context.Context, c *adminclient.Client) error { return c.RemoveMember(ctx, memberID, true) },
		"DELETE /v1/members/" + memberID + "?force=true", "", false, false, true},
	{"remove nonsense", func(ctx context.Context, c *adminclient.Client) error { return c.RemoveMember(ctx, "a/../b?", false) },
		"DELETE /v1/members/a%2F..%2Fb%3F", "", false, false, true},
	{"reset", func(ctx context.Context, c *adminclient.Client) error {
		_, err := c.ResetRootCredential(ctx, account)
		return err
	}, "POST /v1/accounts/" + account + "/root-credential", "", true, false, true},
	{"create an account", func(ctx context.Context, c *adminclient.Client) error {
		_, err := c.CreateAccount(ctx, account)
		return err
	},
		"POST /v1/accounts", `{"accountId":"` + account + `"}`, false, false, true},
	{"create any account", func(ctx context.Context, c *adminclient.Client) error { _, err := c.CreateAccount(ctx, ""); return err },
		"POST /v1/accounts", `{}`, false, false, true},
	{"accounts", func(ctx context.Context, c *adminclient.Client) error { _, err := c.Accounts(ctx); return err }, "GET /v1/accounts", "", false, false, false},
	{"close an account", func(ctx context.Context, c *adminclient.Client) error { return c.CloseAccount(ctx, account) },
		"DELETE /v1/accounts/" + account, "", false, false, true},
	{"settings", func(ctx context.Context, c *adminclient.Client) error { _, err := c.Config(ctx); return err }, "GET /v1/config", "", false, false, false},
	{"set", func(ctx context.Context, c *adminclient.Client) error {
		keys, throttle := 7, "custom"
		_, err := c.SetConfig(ctx, &admin.SetConfigRequest{KeysPerRegion: &keys, Throttle: &throttle, Rates: map[string]admin.Rate{"symmetric": 250, "CreateKey": 5000}})
		return err
	}, "PUT /v1/config", `{"keysPerRegion":7,"throttle":"custom","rates":{"CreateKey":5,"symmetric":0.25}}`, false, false, true},
	{"explain", func(ctx context.Context, c *adminclient.Client) error {
		_, err := c.Explain(ctx, &admin.ExplainRequest{Principal: account, Action: "kms:Decrypt", Resource: "*", Context: map[string][]string{"aws:SourceIp": {"10.0.0.1"}}})
		return err
	}, "POST /v1/explain", `{"principal":"111122223333","action":"kms:Decrypt","resource":"*","context":{"aws:SourceIp":["10.0.0.1"]}}`, false, false, false},
	{"authority", func(ctx context.Context, c *adminclient.Client) error { _, err := c.Authority(ctx); return err }, "GET /v1/ca", "", true, true, false},
	{"ready", func(ctx context.Context, c *adminclient.Client) error { return c.Ready(ctx) }, "GET /readyz", "", true, true, false},
}

// serve runs a handler on a socket and on a port until the test ends.
func serve(t *testing.T, h http.HandlerFunc) (socket, endpoint string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kmsd") // short: a socket's path is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	local := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ReadHeaderTimeout: time.Second}}
	local.Start()
	t.Cleanup(local.Close)
	remote := httptest.NewServer(h)
	t.Cleanup(remote.Close)
	return socket, remote.URL
}

func newClient(t *testing.T, cfg adminclient.Config) *adminclient.Client {
	t.Helper()
	c, err := adminclient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is sent: and that a call is signed exactly where it must be.
func TestRequests(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	sent := make(chan string, 1)
	socket, endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r
		sent <- string(body)
		_, _ = io.WriteString(w, `{"unknown":1}`)
	})
	for _, c := range calls {
		for _, way := range []struct {
			cfg    adminclient.Config
			signed bool
		}{
			{adminclient.Config{Socket: socket, Credentials: credentials}, !c.local},
			{adminclient.Config{Endpoint: endpoint, Credentials: credentials, Region: "eu-west-1"}, !c.anonymous},
		} {
			if err := c.do(t.Context(), newClient(t, way.cfg)); err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			r, body := <-got, <-sent
			authorization := r.Header.Get("Authorization")
			if r.Method+" "+r.RequestURI != c.request || body != c.body || (authorization != "") != way.signed || r.UserAgent() != "kmsd" {
				t.Errorf("%s: got %s %s with %s, signed: %s", c.name, r.Method, r.RequestURI, body, authorization)
			}
			if way.signed && !strings.Contains(authorization, "/kmsd/aws4_request") {
				t.Errorf("%s: got the scope of %s", c.name, authorization)
			}
		}
		err := c.do(t.Context(), newClient(t, adminclient.Config{Endpoint: endpoint}))
		if c.anonymous {
			<-got
			<-sent
		} else if !errors.Is(err, adminclient.ErrNoCredentials) {
			t.Errorf("%s without credentials: got %v", c.name, err)
		}
	}
}

// What each answer means for a question and for a change.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	const (
		failed  = adminclient.Failed
		refused = adminclient.Refused
		unknown = adminclient.Unknown
	)
	status, body := 0, ""
	socket, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-amzn-RequestId", "request")
		w.Header().Set("Location", "http://192.0.2.1/")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	c := newClient(t, adminclient.Config{Socket: socket, Credentials: credentials})
	for _, tt := range []struct {
		status           int
		body             string
		question, change adminclient.Outcome
		text             string
	}{
		{400, `{"__type":"AccessDeniedException","Message":"User: x is not authorized"}`, refused, refused, "AccessDeniedException: User: x is not authorized"},
		{400, `{"__type":"QuorumAtRiskException","message":"no"}`, refused, refused, "QuorumAtRiskException: no"},
		{400, `{"__type":"UnknownOperationException"}`, refused, refused, "UnknownOperationException"},
		{413, `{"__type":"RequestEntityTooLargeException"}`, refused, refused, "RequestEntityTooLargeException"},
		{400, `{"__type":"ThrottlingException","message":"slowly"}`, failed, failed, "ThrottlingException: slowly"},
		{503, `{"__type":"ServiceUnavailableException","message":"Nothing was done."}`, failed, failed, "ServiceUnavailableException: Nothing was done."},
		{503, `<html>no server</html>`, failed, failed, "the answer is not kmsd's: 503 Service Unavailable"},
		{500, `{"__type":"KMSInternalException","message":"The outcome of this request is unknown."}`, failed, unknown, "KMSInternalException: The outcome of this request is unknown."},
		{502, `<html>`, failed, unknown, "the answer is not kmsd's: 502 Bad Gateway"},
		{504, ``, failed, unknown, "the answer is not kmsd's: 504 Gateway Timeout"},
		{404, `not found`, failed, failed, "the answer is not kmsd's: 404 Not Found"},
		{307, ``, failed, failed, "the answer is not kmsd's: 307 Temporary Redirect"},
		{200, `<html>`, failed, unknown, "the answer is not kmsd's: invalid character '<' looking for beginning of value"},
		{200, strings.Repeat(" ", 4<<20+1), failed, unknown, "reading the answer: the answer has more than 4194304 bytes"},
	} {
		status, body = tt.status, tt.body
		for _, call := range []struct {
			do   func() error
			want adminclient.Outcome
		}{
			{func() error { _, err := c.Status(t.Context()); return err }, tt.question},
			{func() error { _, err := c.ResetRootCredential(t.Context(), account); return err }, tt.change},
		} {
			err := call.do()
			var e *adminclient.Error
			if !errors.As(err, &e) || e.Outcome != call.want || !strings.HasSuffix(err.Error(), tt.text) {
				t.Errorf("%d %.60s: got %+v, want outcome %d: %s", tt.status, tt.body, err, call.want, tt.text)
				continue
			}
			if strings.HasPrefix(err.Error(), "it is not known") != (call.want == unknown) {
				t.Errorf("%d: got %q", tt.status, err)
			}
			if tt.status != 200 && e.RequestID != "request" {
				t.Errorf("%d: got request id %q", tt.status, e.RequestID)
			}
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	socket, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "no leader\n")
	})
	err := newClient(t, adminclient.Config{Socket: socket}).Ready(t.Context())
	if err == nil || err.Error() != "no leader" {
		t.Errorf("got %v", err)
	}
}

// Nobody there: nothing was done. Somebody who says nothing: who knows.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	nobody := filepath.Join(t.TempDir(), "s")
	closed, _ := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	release := make(chan struct{})
	silent, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	for _, c := range calls {
		for _, peer := range []struct {
			socket string
			change adminclient.Outcome
		}{{nobody, adminclient.Failed}, {closed, adminclient.Unknown}, {silent, adminclient.Unknown}} {
			want := adminclient.Failed
			if c.changes {
				want = peer.change
			}
			cfg := adminclient.Config{Socket: peer.socket, Credentials: credentials}
			if peer.socket == silent {
				cfg.Timeout = 50 * time.Millisecond
			}
			var e *adminclient.Error
			if err := c.do(t.Context(), newClient(t, cfg)); !errors.As(err, &e) || e.Outcome != want || e.Code != "" {
				t.Errorf("%s: got %v, want outcome %d", c.name, err, want)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []adminclient.Config{
		{}, {Socket: "s", Endpoint: "http://127.0.0.1:1"},
		{Endpoint: "127.0.0.1:9400"}, {Endpoint: "ftp://127.0.0.1"}, {Endpoint: "https://"}, {Endpoint: "https://h/path"},
		{Endpoint: "https://h?x"}, {Endpoint: "https://user@h"}, {Endpoint: "http://h:port"},
	} {
		if _, err := adminclient.New(cfg); err == nil {
			t.Errorf("took %+v", cfg)
		}
	}
	for _, cfg := range []adminclient.Config{{Socket: "s"}, {Endpoint: "https://h:9400"}, {Endpoint: "http://[::1]:9400/"}} {
		newClient(t, cfg)
	}
}

// Accounts come by pages, and Accounts gets them all.
func TestAccountsByPages(t *testing.T) {
	t.Parallel()
	pages := map[string]string{
		"":             `{"accounts":[{"accountId":"111111111111","status":"Active","created":"2026-11-24T12:00:00Z"}],"nextMarker":"111111111111"}`,
		"111111111111": `{"accounts":[{"accountId":"222222222222","status":"Closed","created":"2026-11-24T12:00:00Z"}]}`,
	}
	_, endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, pages[r.URL.Query().Get("marker")])
	})
	got, err := newClient(t, adminclient.Config{Endpoint: endpoint, Credentials: credentials}).Accounts(t.Context())
	if err != nil || len(got.Accounts) != 2 || got.Accounts[0].AccountID != "111111111111" || got.Accounts[1].Status != "Closed" || got.NextMarker != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/internal/adminclient"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/wire/admin"
)

// adminNode is a real service behind a listener and a socket.
type adminNode struct {
	*testkit.Solo
	endpoint, socket string
}

// The credentials of testkit's root users.
var (
	operator = &adminclient.Credentials{AccessKeyID: testkit.AccessKey, SecretAccessKey: secretKey}
	stranger = &adminclient.Credentials{AccessKeyID: testkit.OtherKey, SecretAccessKey: secretKey}
)

// socketPath returns a path for a socket: t.TempDir's may be too long.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kmsd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "admin.sock")
}

func startAdmin(t *testing.T) *adminNode {
	t.Helper()
	n := &adminNode{Solo: testkit.Start(t), socket: socketPath(t)}
	s, err := httpapi.New(httpapi.Config{
		Backend: httpapi.Wrap(n.Service), Admin: httpapi.WrapAdmin(n.Service), Verifier: sigv4.NewVerifier(16), Logger: testLogger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	local, err := httpapi.ListenAdmin(n.socket)
	if err != nil {
		t.Fatal(err)
	}
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.endpoint = "http://" + public.Addr().String()
	n.Apply(t, fsm.CreateAccount{Account: fsm.Account{ID: closable, Status: fsm.StatusActive}, AccessKey: fsm.AccessKey{
		ID: "AKIACLOSABLE", Account: closable, Type: kms.PrincipalRoot, UniqueID: closable, Status: fsm.StatusActive, Secret: []byte("sealed"),
	}})
	served := make(chan error, 2)
	go func() { served <- s.ServeAdmin(local) }()
	go func() { served <- s.Serve(public) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served, <-served); err != nil {
			t.Errorf("ending: %v", err)
		}
		if _, err := os.Lstat(n.socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return n
}

func (n *adminNode) client(t *testing.T, cfg adminclient.Config) *adminclient.Client {
	t.Helper()
	c, err := adminclient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// closable is an account of startAdmin's nodes that nothing else is done with.
const closable = "777788889999"

// adminCalls are the calls of the admin API, and which of them need no signature
// on the socket.
var adminCalls = []struct {
	name  string
	do    func(context.Context, *adminclient.Client) error
	local bool
}{
	{"GetStatus", func(ctx context.Context, c *adminclient.Client) error { _, err := c.Status(ctx); return err }, true},
	{"ListMembers", func(ctx context.Context, c *adminclient.Client) error { _, err := c.Members(ctx); return err }, true},
	{"CreateJoinToken", func(ctx context.Context, c *adminclient.Client) error {
		_, err := c.CreateJoinToken(ctx, &admin.CreateJoinTokenRequest{CIDRs: []string{"10.0.0.0/8"}})
		return err
	}, false},
	{"LeaveCluster", func(ctx context.Context, c *adminclient.Client) error {
		return c.Leave(ctx, &admin.LeaveClusterRequest{})
	}, true},
	{"RemoveMember", func(ctx context.Context, c *adminclient.Client) error {
		return c.RemoveMember(ctx, testkit.OtherMemberID, true)
	}, false},
	{"Explain", func(ctx context.Context, c *adminclient.Client) error {
		got, err := c.Explain(ctx, &admin.ExplainRequest{Principal: testkit.Account, Action: "kms:ListKeys", Resource: "*"})
		if err == nil && !got.Allowed {
			return fmt.Errorf("got %+v", got)
		}
		return err
	}, false},
	{"GetConfig", func(ctx context.Context, c *adminclient.Client) error {
		got, err := c.Config(ctx)
		if err == nil && (got.KeysPerRegion != 100_000 || got.AliasesPerKey != 50) {
			return fmt.Errorf("got %+v", got)
		}
		return err
	}, false},
	{"SetConfig", func(ctx context.Context, c *adminclient.Client) error {
		throttle := "custom"
		got, err := c.SetConfig(ctx, &admin.SetConfigRequest{Throttle: &throttle, Rates: map[string]admin.Rate{"GetParametersForImport": 250}})
		if err == nil && (got.Throttle != throttle || len(got.Rates) != 1 || got.Rates["GetParametersForImport"] != 250 || got.KeysPerRegion != 100_000) {
			return fmt.Errorf("got %+v", got)
		}
		return err
	}, false},
	{"CreateAccount", func(ctx context.Context, c *adminclient.Client) error {
		_, err := c.CreateAccount(ctx, "")
		return err
	}, false},
	{"ListAccounts", func(ctx context.Context, c *adminclient.Client) error {
		got, err := c.Accounts(ctx)
		if err == nil && (len(got.Accounts) < 3 || got.Accounts[0].Status != admin.AccountActive) {
			return fmt.Errorf("got %+v", got)
		}
		return err
	}, false},
	{"CloseAccount", func(ctx context.Context, c *adminclient.Client) error {
		return c.CloseAccount(ctx, closable)
	}, false},
	{"ResetRootCredential", func(ctx context.Context, c *adminclient.Client) error {
		_, err := c.ResetRootCredential(ctx, testkit.OtherAccount)
		return err
	}, true},
}

// The last record of an operation.
func (n *adminNode) last(t *testing.T, operation string) testkit.JSON {
	t.Helper()
	for records := n.Records(t); len(records) > 0; records = records[:len(records)-1] {
		if rec := records[len(records)-1]; rec["eventName"] == operation {
			return rec
		}
	}
	t.Fatalf("%s has no record", operation)
	return nil
}

// Over the network every call is signed; only the operator account's is heard.
func TestAdminOverNetwork(t *testing.T) {
	t.Parallel()
	n := startAdmin(t)
	for _, call := range adminCalls {
		err := call.do(t.Context(), n.client(t, adminclient.Config{Endpoint: n.endpoint, Credentials: stranger}))
		var e *adminclient.Error
		if !errors.As(err, &e) || e.Outcome != adminclient.Refused || e.Code != "AccessDeniedException" ||
			!strings.Contains(e.Message, "is not authorized to perform: kmsd:"+call.name+" on resource: arn:aws:kmsd::"+testkit.Account+":cluster/"+testkit.ClusterID) {
			t.Errorf("%s by a stranger: got %v", call.name, err)
		}
		if err := call.do(t.Context(), n.client(t, adminclient.Config{Endpoint: n.endpoint, Credentials: operator, Region: "eu-west-1"})); err != nil {
			t.Errorf("%s: %v", call.name, err)
			continue
		}
		rec := n.last(t, call.name)
		if rec["userIdentity"].(testkit.JSON)["type"] != "Root" || rec["sourceIPAddress"] != "127.0.0.1" || rec["awsRegion"] != "eu-west-1" {
			t.Errorf("%s: recorded %v", call.name, rec)
		}
	}
	got := strings.Join(n.Member.Done(), ", ")
	if want := "Status, Members, NewToken, Leave, RemovePeer " + testkit.OtherMemberID + " by force"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// On the socket exactly the local calls need no signature, and the peer's uid is
// recorded.
func TestAdminOverSocket(t *testing.T) {
	t.Parallel()
	n := startAdmin(t)
	for _, call := range adminCalls {
		// A stranger's credentials are not used where none are needed.
		err := call.do(t.Context(), n.client(t, adminclient.Config{Socket: n.socket, Credentials: stranger}))
		if call.local != (err == nil) {
			t.Errorf("%s by a stranger: got %v", call.name, err)
		}
		if call.local {
			rec := n.last(t, call.name)
			identity := rec["userIdentity"].(testkit.JSON)
			if len(identity) != 2 || identity["type"] != "LocalOperator" || identity["uid"] != strconv.Itoa(os.Getuid()) ||
				rec["sourceIPAddress"] != "admin.sock" || rec["awsRegion"] != "us-east-1" || rec["recipientAccountId"] != testkit.Account {
				t.Errorf("%s: recorded %v", call.name, rec)
			}
		}
		if err := call.do(t.Context(), n.client(t, adminclient.Config{Socket: n.socket, Credentials: operator})); err != nil {
			t.Errorf("%s: %v", call.name, err)
		}
	}
	if rec := n.last(t, "CreateJoinToken"); rec["sourceIPAddress"] != "admin.sock" || rec["userIdentity"].(testkit.JSON)["type"] != "Root" {
		t.Errorf("recorded %v", rec)
	}
}

// exchange sends a request as it is and returns status and body. target is the
// socket's path or the endpoint's URL.
func exchange(t *testing.T, target, method, path, body string, header ...string) (int, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	if strings.HasPrefix(target, "/") {
		socket := target
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		target = "http://kmsd.local"
	}
	r, err := http.NewRequestWithContext(t.Context(), method, target+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

var adminPaths = []struct {
	method, path string
	local        bool
	body         string
}{
	{"GET", "/v1/status", true, ""}, {"GET", "/v1/members", true, ""}, {"POST", "/v1/tokens", false, ""}, {"POST", "/v1/leave", true, ""},
	{"DELETE", "/v1/members/" + testkit.OtherMemberID, false, ""}, {"POST", "/v1/accounts/" + testkit.OtherAccount + "/root-credential", true, ""},
	{"GET", "/v1/config", false, ""}, {"PUT", "/v1/config", false, ""}, {"POST", "/v1/explain", false, `{"principal":"111122223333","action":"kms:ListKeys","resource":"*"}`},
	{"POST", "/v1/accounts", false, ""}, {"GET", "/v1/accounts", false, ""}, {"DELETE", "/v1/accounts/" + testkit.OtherAccount, false, ""},
}

// Without a signature: nothing over the network, the local calls on the socket.
// Half a signature is none anywhere.
func TestAdminUnsigned(t *testing.T) {
	t.Parallel()
	const missing = `{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}`
	n := startAdmin(t)
	for _, p := range adminPaths {
		if status, body := exchange(t, n.endpoint, p.method, p.path, p.body); status != 400 || body != missing {
			t.Errorf("%s %s: got %d %s", p.method, p.path, status, body)
		}
		status, body := exchange(t, n.socket, p.method, p.path, p.body)
		if p.local != (status == 200) || (!p.local && body != missing) {
			t.Errorf("%s %s on the socket: got %d %s", p.method, p.path, status, body)
		}
		for _, half := range []struct {
			query  string
			header []string
		}{
			{"", []string{"Authorization", "AWS4-HMAC-SHA256"}},
			{"", []string{"Authorization", ""}},
			{"?X-Amz-Signature=00", nil}, {"?X-Amz-Algorithm=AWS4-HMAC-SHA256", nil},
		} {
			if status, _ := exchange(t, n.socket, p.method, p.path+half.query, p.body, half.header...); status != 400 {
				t.Errorf("%s %s%s %q on the socket: got %d", p.method, p.path, half.query, half.header, status)
			}
		}
	}
}

// Anybody may know whom to trust, and whether the node serves.
func TestAdminPublic(t *testing.T) {
	t.Parallel()
	n := startAdmin(t)
	for _, target := range []string{n.endpoint, n.socket} {
		if status, body := exchange(t, target, "GET", "/v1/ca", ""); status != 400 || !strings.Contains(body, "has no certificate authority") {
			t.Errorf("got %d %s", status, body)
		}
		if status, body := exchange(t, target, "GET", "/readyz", ""); status != 200 || body != "ok" {
			t.Errorf("got %d %s", status, body)
		}
	}
	if records := n.Records(t); len(records) != 0 {
		t.Errorf("%d records", len(records))
	}
}

// What the URL says and what the body says.
func TestAdminInput(t *testing.T) {
	t.Parallel()
	n := startAdmin(t)
	member := "/v1/members/" + testkit.OtherMemberID
	reset := "/v1/accounts/" + testkit.OtherAccount + "/root-credential"
	for _, tt := range []struct {
		method, path, body, code string
	}{
		{"POST", "/v1/leave", `{}`, ""},
		{"POST", "/v1/leave", ` {"force":true} `, ""},
		{"POST", "/v1/leave", `{"Force":true}`, "SerializationException"},
		{"POST", "/v1/leave", `{"force":true}x`, "SerializationException"},
		{"POST", "/v1/leave?force=true", ``, ""},
		{"POST", "/v1/leave?force=maybe", ``, "SerializationException"},
		{"POST", "/v1/leave?force=", ``, "SerializationException"},
		{"POST", "/v1/leave?force=true&force=true", ``, "SerializationException"},
		{"POST", "/v1/leave?force=true", `{"force":true}`, "SerializationException"},
		{"POST", "/v1/leave?%22%2C%22force%22:true=1", ``, "SerializationException"},
		{"GET", "/v1/status?x=y", ``, "SerializationException"},
		{"GET", "/v1/status?x=%zz", ``, "SerializationException"},
		{"GET", "/v1/status?a;b", ``, "SerializationException"},
		{"GET", "/v1/status", `{"x":1}`, "SerializationException"},
		{"POST", reset, ``, ""},
		{"POST", reset, ` {} `, ""},
		{"POST", reset, `{"accountId":"111122223333"}`, "SerializationException"},
		{"POST", reset + "?accountId=111122223333", ``, "SerializationException"},
		{"POST", "/v1/accounts/1/root-credential", ``, "ValidationException"},
		{"POST", "/v1/accounts/%22%7D/root-credential", ``, "ValidationException"},
		{"POST", "/v1/accounts/true/root-credential", ``, "SerializationException"},
		{"GET", "/v1/accounts?marker=111122223333", ``, "MissingAuthenticationTokenException"},
		{"GET", "/v1/accounts?marker=1", ``, "ValidationException"},
		{"GET", "/v1/accounts?Marker=1", ``, "SerializationException"},
		{"POST", "/v1/accounts", `{"accountId":""}`, "ValidationException"},
		{"DELETE", "/v1/accounts/1", ``, "ValidationException"},
		{"DELETE", "/v1/accounts", ``, "<UnknownOperationException/>"},
		{"DELETE", member + "?force=false", ``, "MissingAuthenticationTokenException"},
		{"PUT", "/v1/leave", ``, "<UnknownOperationException/>"},
		{"POST", "/v1/leave/", ``, "UnknownOperationException"},
		{"POST", "//v1/leave", ``, "UnknownOperationException"},
		{"POST", "/v1/accounts//root-credential", ``, "UnknownOperationException"},
		{"POST", "/", ``, "UnknownOperationException"},
	} {
		status, body := exchange(t, n.socket, tt.method, tt.path, tt.body)
		var answer struct {
			Type string `json:"__type"`
		}
		if json.Unmarshal([]byte(body), &answer) != nil {
			answer.Type = body
		}
		if answer.Type != tt.code || (status == 200) != (tt.code == "") {
			t.Errorf("%s %s %s: got %d %s, want %q", tt.method, tt.path, tt.body, status, body, tt.code)
		}
	}
}

// A server without the admin API knows none of its paths.
func TestNoAdmin(t *testing.T) {
	t.Parallel()
	target := "http://" + start(t, newFakeService(t))
	for _, p := range adminPaths {
		status, body := exchange(t, target, p.method, p.path, "")
		if want := map[bool]int{true: 400, false: 404}[p.method == "POST"]; status != want || !strings.Contains(body, "UnknownOperationException") {
			t.Errorf("%s %s: got %d %s", p.method, p.path, status, body)
		}
	}
	l, err := httpapi.ListenAdmin(socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := newServer(t, newFakeService(t)).ServeAdmin(l); err == nil {
		t.Error("served an admin socket without an admin API")
	}
}

func TestListenAdmin(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	old, err := httpapi.ListenAdmin(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	old.SetUnlinkOnClose(false) // as if the process had been killed
	_ = old.Close()
	l, err := httpapi.ListenAdmin(path)
	if err != nil {
		t.Fatalf("over an old socket: %v", err)
	}
	_ = l.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, filepath.Join(t.TempDir(), "no", "dir"), "/" + strings.Repeat("x", 103)} {
		if l, err := httpapi.ListenAdmin(path); err == nil {
			t.Errorf("listened at %s", path)
			_ = l.Close()
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("got %q, %v", b, err)
	}
}

// A node that leaves ends soon after: the answer still goes out.
func TestAdminAnswersWhileShuttingDown(t *testing.T) {
	t.Parallel()
	solo := testkit.Start(t)
	s, err := httpapi.New(httpapi.Config{
		Backend: httpapi.Wrap(solo.Service), Admin: httpapi.WrapAdmin(solo.Service), Verifier: sigv4.NewVerifier(16), Logger: testLogger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	path := socketPath(t)
	l, err := httpapi.ListenAdmin(path)
	if err != nil {
		t.Fatal(err)
	}
	served, ended := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.ServeAdmin(l) }()
	solo.Member.Fault = func(context.Context, string) error {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			ended <- s.Shutdown(ctx)
		}()
		return <-served // the listener is closed
	}
	if status, body := exchange(t, path, "POST", "/v1/leave", ""); status != 200 || body != "{}" {
		t.Errorf("got %d %s", status, body)
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kmsd/kmsd/internal/testport"
	"github.com/kmsd/kmsd/wire/admin"
)

// asRoot makes the commands of this test use the root credential of the node.
func (n *testNode) asRoot() {
	n.t.Setenv("AWS_ACCESS_KEY_ID", n.founded.AccessKeyID)
	n.t.Setenv("AWS_SECRET_ACCESS_KEY", n.founded.SecretAccessKey)
	n.t.Setenv("AWS_SESSION_TOKEN", "")
}

// ask runs a command against the node's socket. It runs it again, as an operator
// would, when the machine is so busy that the node cannot serve.
func (n *testNode) ask(args ...string) (got result) {
	n.t.Helper()
	until(n.t, strings.Join(args, " "), func() bool {
		got = runCLI(n.t, append(args, "--data", n.data)...)
		return !strings.Contains(got.err, "ServiceUnavailableException") && !strings.Contains(got.err, "KMSInternalException")
	})
	return got
}

// want runs a command and holds its exit code, output and error against patterns.
func (n *testNode) want(code int, out, err string, args ...string) result {
	n.t.Helper()
	got := n.ask(args...)
	if got.code != code || !regexp.MustCompile("^(?:"+out+")$").MatchString(got.out) || !regexp.MustCompile("^(?:"+err+")$").MatchString(got.err) {
		n.t.Errorf("%q: got %+v, want exit code %d, output %q and error %q", args, got, code, out, err)
	}
	return got
}

const uuid = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`

// wantStatus is what status prints of a node that is alone.
const wantStatus = `Ready              yes
Node               NODE
Cluster            CLUSTER
Operator account   ACCOUNT
Role               leader
Leader             NODE
Failure tolerance  0
Term               2
Applied            \d+
Stable             \d+
Release            \S+
Cluster version    1 \(this node supports 1\)
Starts             1
Seal               file
Disk               \d+ [GM]iB of \d+ [GM]iB free
Clock              [+-]\d+ ms off the members' median
Certificate until  20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ
Warning            the seal's key file lies on the data directory's file system: whoever takes that disk has every key
(?:Warning .*\n)*Warning            1 of 1 voters are healthy, 1 are needed: the cluster tolerates no failure
`

func TestOperatorCommands(t *testing.T) {
	n := newTestNode(t, "")
	n.init()
	n.serve()
	n.asRoot()
	status := strings.NewReplacer("NODE", n.founded.NodeID, "CLUSTER", n.founded.ClusterID, "ACCOUNT", n.founded.Account).Replace(wantStatus)
	until(t, "the status of a node that is ready", func() bool { return !strings.Contains(n.ask("status").out, "Ready              no") })
	n.want(exitOK, status, "", "status")
	n.want(exitOK, `ID +ROLE +HEALTHY +ADDRESS +API +HEARD +LAG +VERSION\n`+
		n.founded.NodeID+` +leader +yes +127\.0\.0\.1:9 +localhost:9400 +0s ago +0 +1\n\n1 of 1 voters are healthy, 1 are needed: the cluster tolerates no failure\.\n`, "", "members")
	n.want(exitOK, `kmsd1\.[a-z2-7]{52}\.\S+\.[a-z2-7]{52}\n`,
		`Valid until 20\S+Z for 3 node\(s\)\. Who has it before can read every key\.\n`, "token", "create", "--uses=3", "--cidr=127.0.0.0/8")
	ca, err := os.ReadFile(n.founded.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	n.want(exitOK, regexp.QuoteMeta(string(ca)), "", "ca")
	n.want(exitRefused, "", `kmsd: NotFoundException: .*\n`, "remove-peer", "00000000-0000-4000-8000-000000000000", "--yes")
	n.want(exitRefused, "", `kmsd: QuorumAtRiskException: .*\n`, "leave", "--yes")
	// Without --yes the end of standard input is no consent.
	n.want(exitUsage, "", `(?s)Node `+uuid+` leaves cluster `+uuid+` for good: .*Go on\? Type yes: kmsd: not confirmed, nothing was done: .*\n`, "leave")
	n.want(exitUsage, "", `(?s)Member x is removed for good.*not confirmed.*\n`, "remove-peer", "x")
	n.want(exitRefused, "", `kmsd: ValidationException: .*\n`, "remove-peer", "x", "--yes")
	n.want(exitRefused, "", `kmsd: NotFoundException: .*\n`, "account", "reset-root", "000000000000", "--yes")
	n.resetRoot()
}

// resetRoot ends the root credential; the new one takes its place.
func (n *testNode) resetRoot() {
	n.t.Helper()
	old := n.kms()
	n.want(exitUsage, "", `(?s)All access keys of the root user .* end at once\..*not confirmed.*\n`, "account", "reset-root", n.founded.Account)
	n.t.Setenv("AWS_ACCESS_KEY_ID", "") // the socket needs none
	got := n.want(exitOK, `(?s).*`, "", "account", "reset-root", n.founded.Account, "--yes", "--json")
	var key struct{ AccountID, AccessKeyID, SecretAccessKey string }
	if err := json.Unmarshal([]byte(got.out), &key); err != nil || key.AccountID != n.founded.Account {
		n.t.Fatalf("%q: %v", got.out, err)
	}
	n.founded.AccessKeyID, n.founded.SecretAccessKey = key.AccessKeyID, key.SecretAccessKey
	if _, err := n.kms().ListKeys(n.t.Context(), &awskms.ListKeysInput{}); err != nil {
		n.t.Errorf("the new credential: %v", err)
	}
	if _, err := old.ListKeys(n.t.Context(), &awskms.ListKeysInput{}); outcomeOf(err) != denied {
		n.t.Errorf("the old credential: %v", err)
	}
	// The operator account needs no name, in the question as well.
	n.want(exitUsage, "", `(?s)All access keys of the root user of account `+n.founded.Account+` end at once\..*\n`, "root-credential", "reset")
	n.want(exitOK, `Account +`+n.founded.Account+`\nAccess key id +AKIA[A-Z2-7]{16}\nSecret access key +[A-Za-z0-9+/]{40}\n`, "",
		"root-credential", "reset", "--yes")
}

// TestOperatorJSON decodes what the commands print for machines.
func TestOperatorJSON(t *testing.T) {
	n := newTestNode(t, "")
	n.init()
	n.serve()
	n.asRoot()
	decode := func(into any, args ...string) {
		t.Helper()
		got := n.ask(append(args, "--json")...)
		dec := json.NewDecoder(strings.NewReader(got.out))
		dec.DisallowUnknownFields()
		if err := dec.Decode(into); err != nil || got.code != exitOK || got.err != "" || dec.More() {
			t.Errorf("%q: got %+v, %v", args, got, err)
		}
	}
	var status admin.GetStatusResponse
	decode(&status, "status")
	if status.NodeID != n.founded.NodeID || !status.Ready || status.Role != admin.RoleLeader || len(status.StateDigest) != 64 || status.DiskFree == 0 {
		t.Errorf("status: %+v", status)
	}
	var members admin.ListMembersResponse
	decode(&members, "members")
	if want := (admin.Quorum{Voters: 1, Healthy: 1, Needed: 1}); members.Quorum != want || status.Quorum == nil || *status.Quorum != want {
		t.Errorf("status says %+v and members %+v, want %+v", status.Quorum, members.Quorum, want)
	}
	if len(members.Members) != 1 || members.Members[0].MemberID != n.founded.NodeID {
		t.Errorf("members: %+v", members)
	}
	var token struct {
		TokenID, Token, Expires string
		Uses                    int
	}
	decode(&token, "token", "create")
	if !strings.HasPrefix(token.Token, "kmsd1.") || token.Uses != 1 || token.Expires == "" {
		t.Errorf("token create: %+v", token)
	}
	var ca admin.GetAuthorityResponse
	decode(&ca, "ca")
	if !strings.HasPrefix(ca.Certificate, "-----BEGIN CERTIFICATE-----\n") {
		t.Errorf("ca: %+v", ca)
	}
}

// TestOperatorCredentials holds which commands need credentials, and how they fail.
func TestOperatorCredentials(t *testing.T) {
	n := newTestNode(t, "")
	n.init()
	n.serve()
	endpoint, bundle := "https://localhost:"+n.api[strings.LastIndexByte(n.api, ':')+1:], n.founded.CAFile
	n.asRoot()
	n.want(exitOK, "(?s)ID .*", "", "members", "--endpoint", endpoint, "--ca-bundle", bundle)
	n.want(exitFailed, "", "kmsd: .*certificate signed by unknown authority\n", "members", "--endpoint", endpoint)
	n.want(exitFailed, "", "kmsd: reading --ca-bundle: .*\n", "members", "--endpoint", endpoint, "--ca-bundle", "/nonexistent")
	n.want(exitFailed, "", "kmsd: --ca-bundle: .* holds no certificate\n", "members", "--endpoint", endpoint, "--ca-bundle", n.config)
	t.Setenv("AWS_SECRET_ACCESS_KEY", strings.Repeat("x", 40))
	n.want(exitRefused, "", "kmsd: InvalidSignatureException: .*\n", "token", "create")
	n.want(exitRefused, "", "kmsd: InvalidSignatureException: .*\n", "status", "--endpoint", endpoint, "--ca-bundle", bundle)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAAAAAAAAAAAAAAAAA")
	n.want(exitRefused, "", "kmsd: UnrecognizedClientException: .*\n", "token", "create")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	n.want(exitUsage, "", "kmsd: this command needs credentials: .*\n", "token", "create")
	n.want(exitUsage, "", "kmsd: this command needs credentials: .*\n", "remove-peer", n.founded.NodeID, "--yes")
	n.want(exitUsage, "", "kmsd: this command needs credentials: .*\n", "status", "--endpoint", endpoint, "--ca-bundle", bundle)
	n.want(exitOK, "(?s)-----BEGIN CERTIFICATE-----.*", "", "ca", "--endpoint", endpoint, "--ca-bundle", bundle)
}

func TestOperatorUsage(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "") // without a server
	none := "kmsd: no server runs in " + n.data + ": .*\n"
	n.want(exitFailed, "", none, "status")
	n.want(exitFailed, "", none, "members")
	n.want(exitFailed, "", none, "leave", "--yes")
	n.want(exitUsage, "", "kmsd: token create: --ttl must be whole seconds between 1s and 24h\n", "token", "create", "--ttl=25h")
	n.want(exitUsage, "", "kmsd: token create: --ttl must be whole seconds between 1s and 24h\n", "token", "create", "--ttl=1500ms")
	n.want(exitUsage, "", "kmsd: token create: --uses must be between 1 and 100\n", "token", "create", "--uses=101")
	n.want(exitUsage, "", "kmsd: account create: --account-id must be 12 digits\n", "account", "create", "--account-id=1")
	for _, op := range []string{"close", "reset-root"} {
		for _, id := range []string{"", "1", "11112222333x"} {
			n.want(exitUsage, "", "kmsd: account "+op+".*: the account's id must be 12 digits\n", "account", op, id)
		}
	}
	n.want(exitFailed, "", none, "root-credential", "reset")
	n.want(exitUsage, "", `kmsd: expected "<id>"\n`, "remove-peer")
	n.want(exitFailed, "", "kmsd: the endpoint must look like .*\n", "members", "--endpoint", "kms.example.com")
}

// TestOperatorLearnsThatTheOutcomeIsUnknown loses the answer of a change, and of a
// question.
func TestOperatorLearnsThatTheOutcomeIsUnknown(t *testing.T) {
	lossy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer lossy.Close()
	n := newTestNode(t, "")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAAAAAAAAAAAAAAAAA")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	n.want(exitUnknown, "", "kmsd: it is not known whether the command took effect: .*\n", "token", "create", "--endpoint", lossy.URL)
	n.want(exitFailed, "", "kmsd: .*EOF\n", "members", "--endpoint", lossy.URL)
}

// TestResetWithoutAStateToLookInto asks a node that knows no operator account: nothing
// is reset, whichever account was meant.
func TestResetWithoutAStateToLookInto(t *testing.T) {
	stateless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		_, _ = w.Write((&admin.GetStatusResponse{}).AppendJSON(nil))
	}))
	defer stateless.Close()
	n := newTestNode(t, "")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAAAAAAAAAAAAAAAAA")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	n.want(exitFailed, "", "kmsd: the node does not know the operator account yet\n", "root-credential", "reset", "--yes", "--endpoint", stateless.URL)
}

func TestConfirmation(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{"yes\n": true, "yes": true, " yes \n": true, "y\n": false, "no\n": false, "YES\n": false, "\nyes\n": false, "": false} {
		err := new(confirmation).ask(&streams{in: strings.NewReader(answer), err: io.Discard}, "What?")
		if (err == nil) != want {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

// TestJoinAndLeave grows a cluster by a node, which leaves again.
func TestJoinAndLeave(t *testing.T) {
	first := testport.Addr(t)
	n := newTestNode(t, "")
	n.init("--cluster-listen", first, "--cluster-advertise", first)
	n.serve("--cluster-listen", first, "--cluster-advertise", first)
	n.asRoot()
	token := strings.TrimSpace(n.ask("token", "create").out)

	second := newTestNode(t, "")
	addr := testport.Addr(t)
	places := []string{"--config", second.config, "--cluster-listen", addr, "--cluster-advertise", addr}
	join := func(token, to string) result {
		t.Helper()
		return runCLI(t, append([]string{"join", "--token", token, to, "--wait", patience.String()}, places...)...)
	}
	flipped := token[:10] + map[bool]string{true: "b", false: "a"}[token[10] == 'a'] + token[11:] // another pin
	if got := join("kmsd1.nonsense", first); got.code != exitUsage || !strings.Contains(got.err, "--token: not a join token") {
		t.Errorf("a malformed token: %+v", got)
	}
	if got := join(flipped, first); got.code != exitFailed || strings.Contains(got.err, token) {
		t.Errorf("a token of another cluster: %+v", got)
	}
	if err := os.RemoveAll(second.data); err != nil {
		t.Fatal(err)
	}
	want := result{exitOK, second.data + " holds a member of the cluster. Start it with kmsd server.\n", ""}
	for range 2 { // once more does no harm
		if got := join(token, first); got.code != want.code || got.out != want.out {
			t.Fatalf("join: got %+v, want %+v", got, want)
		}
	}
	third := newTestNode(t, "")
	if got := runCLI(t, "join", "--token", token, first, "--config", third.config); got.code != exitRefused || !strings.Contains(got.err, "InvalidJoinTokenException") {
		t.Errorf("a token that is used up: %+v", got)
	}
	second.founded = n.founded
	second.serve(places[2:]...)
	until(t, "two voters", func() bool {
		return regexp.MustCompile(`(?s)127\.0\.0\.1:\d+ .*127\.0\.0\.1:\d+ `).MatchString(n.ask("members").out)
	})
	made, err := second.kms().CreateKey(t.Context(), &awskms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.kms().DescribeKey(t.Context(), &awskms.DescribeKeyInput{KeyId: made.KeyMetadata.KeyId}); err != nil {
		t.Error(err)
	}
	second.leave()
}

// leave makes the node leave, and looks at what remains of it.
func (n *testNode) leave() {
	n.t.Helper()
	var got result
	until(n.t, "the node may leave", func() bool { // on a busy machine the others may seem dead for a moment
		got = n.ask("leave", "--yes")
		return !strings.Contains(got.err, "QuorumAtRiskException")
	})
	if got.code != exitOK || got.err != "" || !regexp.MustCompile("^Node "+uuid+` has left the cluster\.\n$`).MatchString(got.out) {
		n.t.Errorf("leave: got %+v", got)
	}
	until(n.t, "the server has ended", func() bool { return strings.Contains(string(n.out.bytes()), "has left its cluster") })
	if code := n.end(); code != exitOK {
		n.t.Errorf("the server that left ended with %d", code)
	}
	for _, name := range []string{"seal", "tls", "raft", socketName} {
		if _, err := os.Stat(filepath.Join(n.data, name)); !os.IsNotExist(err) {
			n.t.Errorf("%s is still there: %v", name, err)
		}
	}
	if got := runCLI(n.t, "server", "--config", n.config); got.code != exitNotConfigured || !strings.Contains(got.err, "wipe its data directory") {
		n.t.Errorf("starting a node that has left: %+v", got)
	}
}

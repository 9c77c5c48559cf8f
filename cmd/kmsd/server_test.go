package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kmsd/kmsd/internal/apitls"
)

var serverStarted = regexp.MustCompile(`msg="node started" node=\S+ cluster=\S+ api=\[(\S+)\] cluster_port=(\S+)`)

// serve runs "kmsd server" in this process until the test ends or calls n.end.
func (n *testNode) serve(args ...string) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n.out = &lockedBuffer{}
	var log io.Writer = n.out
	if testing.Verbose() {
		log = io.MultiWriter(n.out, n.t.Output())
	}
	code, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		code = run(ctx, append([]string{"server", "--config", n.config}, args...), log, log)
	}()
	n.end = func() int {
		cancel()
		<-ended
		return code
	}
	n.t.Cleanup(func() { n.end() })
	until(n.t, "the server is ready", func() bool {
		select {
		case <-ended:
			n.t.Fatalf("the server ended with %d:\n%s", code, n.out.bytes())
		default:
		}
		return strings.Contains(string(n.out.bytes()), `msg="node ready"`)
	})
	n.api = serverStarted.FindStringSubmatch(string(n.out.bytes()))[1]
}

// https returns a client that trusts the API CA, or another, by the name localhost.
func (n *testNode) https(caFile string) *http.Client {
	n.t.Helper()
	text, err := os.ReadFile(caFile)
	if err != nil {
		n.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		n.t.Fatalf("no certificate in %s", caFile)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}, DisableKeepAlives: true}
	return &http.Client{Transport: tr}
}

// readyz asks the node whether it is ready.
func (n *testNode) readyz(client *http.Client) (status int, body string, err error) {
	res, err := client.Get("https://" + n.api + "/readyz")
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// wantReady waits until the node says that it is ready, to a client that can reach it.
func (n *testNode) wantReady(client *http.Client) {
	n.t.Helper()
	until(n.t, "the node is ready", func() bool {
		status, _, err := n.readyz(client)
		if err != nil {
			n.t.Fatal(err)
		}
		return status == http.StatusOK
	})
}

// kms returns an AWS client with the root credential, which retries.
func (n *testNode) kms() *awskms.Client { return n.kmsOf(patient()) }

func (n *testNode) kmsOf(retryer aws.Retryer) *awskms.Client {
	endpoint := "https://" + n.api
	return awskms.New(awskms.Options{
		BaseEndpoint: &endpoint, Region: testRegion, Retryer: retryer, HTTPClient: n.https(n.founded.CAFile),
		Credentials: credentials.NewStaticCredentialsProvider(n.founded.AccessKeyID, n.founded.SecretAccessKey, ""),
	})
}

// TestServerServes runs a node twice: what was made before is there afterwards.
func TestServerServes(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "")
	n.init()
	n.serve()
	made, err := n.kms().CreateKey(t.Context(), &awskms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	if code := n.end(); code != exitOK {
		t.Errorf("the server ended with %d:\n%s", code, n.out.bytes())
	}
	n.serve()
	if _, err := n.kms().DescribeKey(t.Context(), &awskms.DescribeKeyInput{KeyId: made.KeyMetadata.KeyId}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(n.data, "audit")); err != nil {
		t.Error(err)
	}
}

// TestServerDrains holds that the node says that it is not ready and goes on
// serving before it stops.
func TestServerDrains(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "")
	n.init()
	client := n.https(n.founded.CAFile)
	// On a busy machine the time is over before the call is made: then the node gets more.
	for drain := 5 * time.Second; ; drain *= 2 {
		n.serve("--drain", drain.String())
		n.wantReady(client)
		calls, ended, begin := n.kms(), make(chan int, 1), time.Now()
		go func() { ended <- n.end() }()
		drains := false
		for !drains && time.Since(begin) < drain {
			status, body, err := n.readyz(client)
			drains = err == nil && status == http.StatusServiceUnavailable && strings.Contains(body, "shutting down")
		}
		ctx, cancel := context.WithDeadline(t.Context(), begin.Add(drain))
		_, err := calls.CreateKey(ctx, &awskms.CreateKeyInput{})
		cancel()
		late := time.Since(begin) >= drain
		if code := <-ended; code != exitOK {
			t.Errorf("the server ended with %d", code)
		}
		switch {
		case drains && err == nil:
			return
		case !late || drain > patience:
			t.Fatalf("a call while the node drains, which it says (%v): %v", drains, err)
		}
	}
}

// writePair writes a server certificate of a new authority and returns the
// authority's file.
func writePair(t *testing.T, dir string) (caFile, certFile, keyFile string) {
	t.Helper()
	ca, err := apitls.NewAuthority("00000000-0000-4000-8000-000000000000", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(apitls.Hosts{Names: []string{"localhost"}, IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	caFile, certFile, keyFile = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		caFile:   {Type: "CERTIFICATE", Bytes: ca.Certificate()},
		certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return caFile, certFile, keyFile
}

// TestServerReloadsItsCertificate replaces the operator's certificate and sends
// SIGHUP.
func TestServerReloadsItsCertificate(t *testing.T) {
	n := newTestNode(t, "")
	caFile, certFile, keyFile := writePair(t, n.dir)
	n.init()
	n.serve("--tls-cert", certFile, "--tls-key", keyFile)
	n.wantReady(n.https(caFile)) // with the operator's certificate
	writePair(t, n.dir)          // in place of the first
	second := n.https(caFile)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "the new certificate", func() bool {
		res, err := second.Get("https://" + n.api + "/readyz")
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
}

// TestServerTellsItsSupervisor listens as a supervisor does (sd_notify(3)).
func TestServerTellsItsSupervisor(t *testing.T) {
	n := newTestNode(t, "")
	n.init()
	path := filepath.Join(n.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	// It may take the drain of the configuration, 100 ms, and half a minute.
	const stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=30100000"
	n.serve()
	go n.end()
	var told []string
	for b := make([]byte, 4096); ; {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		size, err := conn.Read(b)
		if err != nil {
			t.Fatalf("told %q, then %v", told, err)
		}
		told = append(told, string(b[:size]))
		if told[len(told)-1] == stopping {
			break
		}
	}
	if got := strings.Join(told, "\n"); strings.Count(got, "READY=1\nSTATUS=serving") != 1 {
		t.Errorf("told %q", told)
	}
	for _, state := range told[:len(told)-2] {
		if !strings.HasPrefix(state, "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=") {
			t.Errorf("told %q before it was ready", state)
		}
	}
}

// TestServerNeedsANode holds the exit codes of a server that has nothing to run.
func TestServerNeedsANode(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "")
	wantEnd := func(what string, code int, words ...string) {
		t.Helper()
		got := runCLI(t, "server", "--config", n.config)
		for _, word := range words {
			if got.code != code || got.out != "" || !strings.Contains(got.err, word) {
				t.Errorf("%s: got %+v, want exit code %d and %q", what, got, code, word)
			}
		}
	}
	wantEnd("no directory", exitNotConfigured, "kmsd init", "kmsd join")
	if err := os.Mkdir(n.data, 0o700); err != nil {
		t.Fatal(err)
	}
	wantEnd("an empty directory", exitNotConfigured, "kmsd init", "kmsd join")
	n.init()
	seal := filepath.Join(n.dir, "seal.key")
	if err := os.Rename(seal, seal+".away"); err != nil {
		t.Fatal(err)
	}
	wantEnd("no seal", exitFailed, "seal.key", "mount the medium")
	if err := os.WriteFile(seal, []byte(strings.Repeat("x", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	wantEnd("another seal", exitFailed, "configure the key that it was sealed with")
	if err := os.Rename(seal+".away", seal); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(n.data, "node.json")); err != nil {
		t.Fatal(err)
	}
	wantEnd("half a node", exitNotConfigured, "holds no node")
}

// TestServerNeedsItsPorts holds that a taken address ends the server, and that it
// frees those that it had.
func TestServerNeedsItsPorts(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "")
	n.init()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, flag := range []string{"--api-listen", "--metrics-listen", "--cluster-listen"} {
		got := runCLI(t, "server", "--config", n.config, flag, taken.Addr().String())
		if got.code != exitFailed || !strings.Contains(got.err, "address already in use") {
			t.Errorf("%s: got %+v", flag, got)
		}
	}
	n.serve()
	if got := runCLI(t, "server", "--config", n.config); got.code != exitFailed || !strings.Contains(got.err, "in use by another process") {
		t.Errorf("a second server: got %+v", got)
	}
}

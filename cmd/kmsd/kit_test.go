package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kmsd/kmsd/audit"
)

// patience bounds every wait of a test; none takes that long when all is well.
const patience = 60 * time.Second

// testRegion is the Region of the tests' clients.
const testRegion = "eu-test-1"

// testCluster is a cluster that runs in the test.
type testCluster struct {
	*devCluster
	t   *testing.T
	cmd *devCmd
	out *lockedBuffer // standard output and the log
}

// A lockedBuffer is written by many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

// startTest starts three nodes, as "kmsd dev --data DIR" does, and waits until
// they are ready. They end with the test, if they have not before.
func startTest(t *testing.T) *testCluster {
	t.Helper()
	return startWith(t, 0)
}

// startWith is startTest with another length of the rounds in which nodes bring
// last uses together.
func startWith(t *testing.T, usageEvery time.Duration) *testCluster {
	t.Helper()
	c := &testCluster{t: t, out: &lockedBuffer{}, cmd: &devCmd{
		Nodes: 3, Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), Account: "123456789012", Region: testRegion,
		usageEvery: usageEvery,
	}}
	var log io.Writer = c.out
	if testing.Verbose() {
		log = io.MultiWriter(c.out, t.Output())
	}
	var err error
	if c.devCluster, err = startDev(t.Context(), c.cmd, slog.New(slog.NewTextHandler(log, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	if err := c.cmd.announce(t.Context(), c.devCluster, &streams{out: c.out, err: c.out}); err != nil {
		t.Fatal(err)
	}
	return c
}

// end stops all members. It may be called again.
func (c *testCluster) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	members := c.members
	c.members = nil
	for _, m := range members {
		if err := m.stop(ctx); err != nil && !errors.Is(err, audit.ErrClosed) {
			c.t.Errorf("stopping a member: %v", err)
		}
	}
}

// patient is how SDKs retry faults of servers and of connections, with more attempts: a
// busy machine makes a node refuse calls for some seconds.
func patient() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 60, time.Second, ratelimit.None
		o.Retryables = []retry.IsErrorRetryable{
			retry.NoRetryCanceledError{}, retry.RetryableConnectionError{}, retry.RetryableHTTPStatusCode{Codes: retry.DefaultRetryableHTTPStatusCodes},
		}
	})
}

// client returns a client of a member that never retries.
func (c *testCluster) client(m *member) *awskms.Client { return c.clientOf(m, aws.NopRetryer{}) }

// patientClient returns a client of a member that retries.
func (c *testCluster) patientClient(m *member) *awskms.Client { return c.clientOf(m, patient()) }

func (c *testCluster) clientOf(m *member, retryer aws.Retryer) *awskms.Client {
	endpoint := "http://" + m.cfg.api[0].Addr().String()
	return awskms.New(awskms.Options{
		BaseEndpoint: &endpoint, Region: testRegion, Retryer: retryer,
		Credentials: credentials.NewStaticCredentialsProvider(c.root.id, c.root.secret, ""),
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
			tr.MaxIdleConnsPerHost = 32
			c.t.Cleanup(tr.CloseIdleConnections)
		}),
	})
}

// leader waits for a leader and returns its index.
func (c *testCluster) leader() int {
	c.t.Helper()
	found := -1
	until(c.t, "a leader", func() bool {
		for i, m := range c.members {
			if s := m.node.Status(); s.Leads && s.NotReady == nil {
				found = i
			}
		}
		return found >= 0
	})
	return found
}

// skipped tells whether a leader has said that it goes on without a member. That one may
// serve its old state for up to a second.
func (c *testCluster) skipped() bool {
	return bytes.Contains(c.out.bytes(), []byte("writes go on without a member"))
}

// until polls ok, which other goroutines decide, until it is true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

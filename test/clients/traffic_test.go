package clients_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// traffic is a load of reads and writes through one endpoint. Each call must succeed
// and give the right answer.
type traffic struct {
	cancel  context.CancelFunc
	workers sync.WaitGroup
	calls   atomic.Int64

	mu       sync.Mutex
	failures []string // guarded by mu
}

const (
	// trafficPause is between two calls of a worker: enough to meet every moment of a
	// restart, little enough to leave the machine to the nodes.
	trafficPause   = 5 * time.Millisecond
	trafficReaders = 4
	// shownFailures bounds the failures that are reported.
	shownFailures = 10
)

// retries is how a client repeats what failed.
type retries bool

const (
	noRetries  retries = false
	sdkRetries retries = true // as the SDK does by default
)

// client is a client of the cluster with connections of its own.
func (c *cluster) client(t *testing.T, region string, how retries) *kms.Client {
	t.Helper()
	return c.clientOver(c.http(t), region, how)
}

func (c *cluster) clientOver(over *http.Client, region string, how retries) *kms.Client {
	options := kms.Options{
		BaseEndpoint: &c.endpoints[0], Region: region, HTTPClient: over,
		Credentials: credentials.NewStaticCredentialsProvider(c.accessKeyID, c.secret, ""),
	}
	if how == noRetries {
		options.Retryer = aws.NopRetryer{}
	}
	return kms.New(options)
}

// http is a client of the cluster's endpoints, with connections of its own.
func (c *cluster) http(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	if c.ca == "" {
		return &http.Client{Transport: transport}
	}
	pem, err := os.ReadFile(c.ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", c.ca)
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport}
}

// startTraffic starts readers, which encrypt and decrypt, and a writer, which
// switches a key off and on.
func startTraffic(t *testing.T, c *cluster, region string, how retries) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	tr := &traffic{cancel: cancel}
	client := c.client(t, region, how)
	made := got[kms.CreateKeyOutput](t)(client.CreateKey(ctx, nil)).KeyMetadata.KeyId
	switched := got[kms.CreateKeyOutput](t)(client.CreateKey(ctx, nil)).KeyMetadata.KeyId
	for range trafficReaders {
		client := c.client(t, region, how)
		tr.work(ctx, "encrypting and decrypting", func() error { return roundTrip(ctx, client, made) })
	}
	writer := c.client(t, region, how)
	tr.work(ctx, "switching a key", func() error { return switchKey(ctx, writer, switched) })
	return tr
}

func (tr *traffic) work(ctx context.Context, what string, do func() error) {
	tr.workers.Go(func() {
		pause := time.NewTicker(trafficPause)
		defer pause.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-pause.C:
			}
			if err := do(); err != nil && ctx.Err() == nil {
				tr.mu.Lock()
				tr.failures = append(tr.failures, fmt.Sprintf("%s %s: %v", time.Now().UTC().Format("15:04:05.000"), what, err))
				tr.mu.Unlock()
			}
			tr.calls.Add(2)
		}
	})
}

func roundTrip(ctx context.Context, client *kms.Client, key *string) error {
	plaintext := []byte("through the load balancer")
	sealed, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: plaintext})
	if err != nil {
		return err
	}
	opened, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
	if err != nil {
		return err
	}
	if !bytes.Equal(opened.Plaintext, plaintext) {
		return fmt.Errorf("decrypting gave %q", opened.Plaintext)
	}
	return nil
}

// switchKey also checks that what was acknowledged is seen, wherever the balancer
// sends the question.
func switchKey(ctx context.Context, client *kms.Client, key *string) error {
	if _, err := client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key}); err != nil {
		return err
	}
	seen, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key})
	if err != nil {
		return err
	}
	if seen.KeyMetadata.Enabled {
		return fmt.Errorf("the key is enabled after it was disabled")
	}
	_, err = client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key})
	return err
}

// stop ends the traffic and reports what has failed.
func (tr *traffic) stop(t *testing.T) {
	t.Helper()
	tr.cancel()
	tr.workers.Wait()
	calls, failed := tr.calls.Load(), len(tr.failures)
	t.Logf("%d calls through the load balancer, %d of them failed", calls, failed)
	for _, f := range tr.failures[:min(failed, shownFailures)] {
		t.Error(f)
	}
	if failed > shownFailures {
		t.Errorf("and %d more", failed-shownFailures)
	}
	if calls < 100 {
		t.Errorf("%d calls are too few to mean anything", calls)
	}
}

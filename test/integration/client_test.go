package integration_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// patient is how the SDK retries faults of servers and of connections, with more
// attempts: a busy machine makes a node refuse calls for some seconds. An answer that
// decides is never asked for again.
func patient() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 60, time.Second, ratelimit.None
		o.Retryables = []retry.IsErrorRetryable{
			retry.NoRetryCanceledError{}, retry.RetryableConnectionError{}, retry.RetryableHTTPStatusCode{Codes: retry.DefaultRetryableHTTPStatusCodes},
		}
	})
}

// kms returns a client of node i.
func (c *cluster) kms(i int, region string) *kms.Client { return c.kmsAt(c.nodes[i].endpoint, region) }

// kmsAt returns a client of an endpoint.
func (c *cluster) kmsAt(endpoint, region string, adapt ...func(*kms.Options)) *kms.Client {
	return kms.New(kms.Options{BaseEndpoint: &endpoint, Region: region, Credentials: c.credentials(), Retryer: patient()}, adapt...)
}

// once makes a client that never retries.
func once(o *kms.Options) { o.Retryer = aws.NopRetryer{} }

// everyKMS returns a client for each node.
func (c *cluster) everyKMS(region string) []*kms.Client {
	var out []*kms.Client
	for i := range c.nodes {
		out = append(out, c.kms(i, region))
	}
	return out
}

func (c *cluster) sts(i int, region string) *sts.Client {
	return sts.New(sts.Options{
		BaseEndpoint: &c.nodes[i].endpoint, Region: region, Credentials: c.credentials(), Retryer: patient(),
	})
}

func (c *cluster) credentials() credentials.StaticCredentialsProvider {
	return credentials.NewStaticCredentialsProvider(c.accessKey, c.secretKey, "")
}

// create makes a key and returns its metadata's id and ARN.
func create(t *testing.T, client *kms.Client) (id, arn string) {
	t.Helper()
	out, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatalf("CreateKey: %v", err)
	}
	return *out.KeyMetadata.KeyId, *out.KeyMetadata.Arn
}

// listKeys returns the ids of all keys of the client's Region.
func listKeys(t *testing.T, client *kms.Client) []string {
	t.Helper()
	var ids []string
	pages := kms.NewListKeysPaginator(client, &kms.ListKeysInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("ListKeys: %v", err)
		}
		for _, k := range page.Keys {
			ids = append(ids, *k.KeyId)
		}
	}
	return ids
}

// must is for calls whose output does not matter.
func must[T any](t *testing.T, what string, _ T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// code is the error code of a failed call.
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// A call is one request that a test signs itself, with headers of its own.
type call struct {
	operation, region, body, invocation string
}

// do sends the call to an endpoint and returns the answer.
func (c *cluster) do(ctx context.Context, endpoint string, in call) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/", strings.NewReader(in.body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService."+in.operation)
	if in.invocation != "" {
		req.Header.Set("Amz-Sdk-Invocation-Id", in.invocation)
	}
	if err := c.sign(ctx, req, in.body, in.region); err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// insist sends the call, again while the node is too busy to serve or the outcome is
// unknown, and returns the answer that decides.
func (c *cluster) insist(t *testing.T, endpoint string, in call) (status int, body string) {
	t.Helper()
	poll(t, unhurried, in.operation, func() bool {
		var err error
		if status, body, err = c.do(t.Context(), endpoint, in); err != nil {
			t.Errorf("%s: %v", in.operation, err)
			return true
		}
		return status < http.StatusInternalServerError
	})
	return status, body
}

func (c *cluster) sign(ctx context.Context, req *http.Request, body, region string) error {
	return sign(ctx, req, body, credential{c.accessKey, c.secretKey}, "kms", region)
}

// sign signs a request for a service.
func sign(ctx context.Context, req *http.Request, body string, who credential, service, region string) error {
	sum := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: who.AccessKeyID, SecretAccessKey: who.SecretAccessKey}
	return v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), service, region, time.Now())
}

// getAnswer fetches a URL, again while the node is too busy to serve.
func getAnswer(t *testing.T, url string) (status int, body string) {
	t.Helper()
	poll(t, unhurried, url, func() bool {
		status, body = get(t, url)
		return status != http.StatusServiceUnavailable
	})
	return status, body
}

// get fetches a URL.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

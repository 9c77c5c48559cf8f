package sigv4_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/kmsd/kmsd/iam/sigv4"
)

// TestSignedHeaderSets signs the headers that real clients sign. The list of
// signed headers is theirs to choose, beyond those that must be signed.
func TestSignedHeaderSets(t *testing.T) {
	t.Parallel()
	for client, signed := range map[string]string{
		"botocore":       "content-type;host;x-amz-date;x-amz-target",
		"aws-sdk-go-v2":  "amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-date;x-amz-target",
		"aws-sdk-go":     "content-length;content-type;host;x-amz-date;x-amz-target",
		"aws-sdk-js-v3":  "amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target;x-amz-user-agent",
		"aws-sdk-js-v2":  "host;x-amz-content-sha256;x-amz-date;x-amz-target;x-amz-user-agent",
		"ruby":           "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target",
		"curl":           "content-type;host;x-amz-date;x-amz-target",
		"with a port":    "host;x-amz-date;x-amz-target",
		"user's headers": "accept;accept-encoding;content-type;host;user-agent;x-amz-date;x-amz-target",
	} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			r := request()
			r.Host = "127.0.0.1:9400"
			hash := sha256.Sum256(r.Body)
			for name, value := range map[string]string{
				"Accept":                "*/*",
				"Accept-Encoding":       "gzip, deflate",
				"Amz-Sdk-Invocation-Id": "c3bbd3a0-2b7c-4b8a-9f7e-1b4f7f5d3a11",
				"Amz-Sdk-Request":       "attempt=1; max=3",
				"Content-Length":        "2",
				"User-Agent":            "client/1.0  (two  spaces)",
				"X-Amz-Content-Sha256":  hex.EncodeToString(hash[:]),
				"X-Amz-User-Agent":      "aws-sdk-js/3.1",
				"X-Amzn-Trace-Id":       "Root=1-5759e988-bd862e3fe1be46a994272793",
			} {
				r.Header.Set(name, value)
			}
			newSigner().sign(r, strings.Split(signed, ";")...)
			if err := check(r, sigv4.JSON); err != nil {
				t.Fatal(err)
			}
			for name := range strings.SplitSeq(signed, ";") {
				if name == "x-amz-date" {
					continue // no date any more: another error, see TestRefusals
				}
				altered := *r
				altered.Header = r.Header.Clone()
				if name == "host" {
					altered.Host = "127.0.0.1"
				} else {
					altered.Header.Add(name, "x")
				}
				wantMismatch(t, check(&altered, sigv4.JSON))
			}
		})
	}
}

// server checks every request that it receives and answers 204 or, with the
// error as the body, 400.
func server(t *testing.T, d sigv4.Dialect, http2 bool) *httptest.Server {
	t.Helper()
	v := sigv4.NewVerifier(16)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		body, err := io.ReadAll(hr.Body)
		if err == nil {
			r := &sigv4.Request{Method: hr.Method, Path: hr.URL.EscapedPath(), RawQuery: hr.URL.RawQuery, Host: hr.Host, Header: hr.Header, Body: body}
			var s *sigv4.Signature
			if s, err = sigv4.Parse(r, d); err == nil {
				err = v.Verify(s, r, secretOf(testSecret), time.Now())
			}
		}
		if err == nil && hr.ProtoMajor == 2 != http2 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	if http2 {
		srv.EnableHTTP2 = true
		srv.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

func send(t *testing.T, srv *httptest.Server, r *http.Request) {
	t.Helper()
	resp, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(resp.Body)
		t.Errorf("got %s: %s", resp.Status, text)
	}
}

// TestAWSSDKOverHTTP sends requests signed by aws-sdk-go-v2 through a real
// server, which moves some headers out of the header map.
func TestAWSSDKOverHTTP(t *testing.T) {
	t.Parallel()
	creds := aws.Credentials{AccessKeyID: testKeyID, SecretAccessKey: testSecret}
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := server(t, sigv4.JSON, http2)
			for _, target := range []string{"/", "", "/?b=2&a=1&a=%20&c", "/p%20q/%E1%88%B4?x=a%2Bb"} {
				for _, body := range []string{"", `{"Limit":5}`, strings.Repeat("x", 100_000)} {
					r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, srv.URL+target, bytes.NewReader([]byte(body)))
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Content-Type", "application/x-amz-json-1.1")
					r.Header.Set("X-Amz-Target", "TrentService.ListKeys")
					r.Header.Set("Amz-Sdk-Invocation-Id", "c3bbd3a0-2b7c-4b8a-9f7e-1b4f7f5d3a11")
					r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
					hash := sha256.Sum256([]byte(body))
					if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hex.EncodeToString(hash[:]), "kms", "us-east-1", time.Now()); err != nil {
						t.Fatal(err)
					}
					send(t, srv, r)
				}
			}
		})
	}
}

// TestAWSSDKPresigned sends URLs presigned by aws-sdk-go-v2, whose STS client
// leaves X-Amz-Expires out.
func TestAWSSDKPresigned(t *testing.T) {
	t.Parallel()
	creds := aws.Credentials{AccessKeyID: testKeyID, SecretAccessKey: testSecret}
	srv := server(t, sigv4.Query, false)
	for _, query := range []string{"", "&X-Amz-Expires=60", "&Extra=a+b%2Fc&Extra=a-b"} {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, srv.URL+"/?Action=GetCallerIdentity&Version=2011-06-15"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-K8s-Aws-Id", "demo")
		hash := sha256.Sum256(nil)
		signedURL, headers, err := v4.NewSigner().PresignHTTP(context.Background(), creds, r, hex.EncodeToString(hash[:]), "sts", "eu-central-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if r, err = http.NewRequestWithContext(context.Background(), http.MethodGet, signedURL, nil); err != nil {
			t.Fatal(err)
		}
		headers.Del("Host")
		r.Header = headers
		send(t, srv, r)
	}
}

package httpapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/internal/apitls"
	"github.com/kmsd/kmsd/service"
)

// apiAuthority is an API authority and what clients need of it.
func apiAuthority(t testing.TB) (*apitls.Authority, *x509.CertPool) {
	t.Helper()
	a, err := apitls.NewAuthority("11111111-1111-4111-8111-111111111111", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(apitls.EncodePEM(a.Certificate())) {
		t.Fatal("the authority's PEM is none")
	}
	return a, roots
}

func issue(t testing.TB, a *apitls.Authority, names ...string) *tls.Certificate {
	t.Helper()
	h, err := apitls.ParseHosts(names...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Issue(h, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sdk returns AWS's client for the address, which trusts roots alone.
func sdk(t testing.TB, addr string, roots *x509.CertPool, dial func(context.Context, string, string) (net.Conn, error)) *awskms.Client {
	var used *http.Transport
	client := awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.TLSClientConfig.RootCAs = roots
		if dial != nil {
			tr.DialContext = dial
		}
		used = tr
	})
	t.Cleanup(func() { used.CloseIdleConnections() })
	return awskms.New(awskms.Options{
		BaseEndpoint: aws.String("https://" + addr), Region: "us-east-1", HTTPClient: client,
		Credentials:      credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		RetryMaxAttempts: 1,
	})
}

// TestSDK runs AWS's client over TLS under the API's authority, with and without
// a load balancer in between, and checks what an untrusting one does.
func TestSDK(t *testing.T) {
	t.Parallel()
	a, roots := apiAuthority(t)
	key, err := a.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	find := func() ([]byte, func() ([]byte, error), error) {
		return a.Certificate(), func() ([]byte, error) { return append([]byte(nil), key...), nil }, nil
	}
	hosts, err := apitls.ParseHosts("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	source, err := apitls.FromAuthority(apitls.Config{Logger: testLogger(t)}, find, hosts)
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeService(t)
	f.do = func(context.Context, *service.Call) ([]byte, error) {
		return []byte(`{"Keys":[{"KeyId":"a"}],"Truncated":false}`), nil
	}
	addr := start(t, f, trust(t, "127.0.0.1/32"), func(c *httpapi.Config) { c.TLS, c.Now = source.TLS(), time.Now })

	balanced := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			_, err = io.WriteString(c, client6)
		}
		return c, err
	}
	for _, dial := range []func(context.Context, string, string) (net.Conn, error){nil, balanced} {
		out, err := sdk(t, addr, roots, dial).ListKeys(t.Context(), &awskms.ListKeysInput{})
		if err != nil || len(out.Keys) != 1 || aws.ToString(out.Keys[0].KeyId) != "a" {
			t.Errorf("got %v, %v", out, err)
		}
	}
	calls := f.seen()
	if len(calls) != 2 || calls[0].Source.IP != "127.0.0.1" || calls[1].Source.IP != "2001:db8::7" || calls[1].Source.TLSVersion != "TLSv1.3" {
		t.Errorf("the calls came from elsewhere: %d", len(calls))
	}
	_, others := apiAuthority(t)
	var unknown *tls.CertificateVerificationError
	if _, err := sdk(t, addr, others, nil).ListKeys(t.Context(), &awskms.ListKeysInput{}); !errors.As(err, &unknown) {
		t.Errorf("a client of another authority: %v", err)
	}
}

// writePair writes certificate and key as PEM files.
func writePair(t testing.TB, dir string, c *tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "api.crt"), filepath.Join(dir, "api.key")
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := errors.Join(os.WriteFile(certFile, apitls.EncodePEM(c.Certificate[0]), 0o600), os.WriteFile(keyFile, key, 0o600)); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// TestReloadUnderLoad changes the certificate files again and again, and breaks
// them in between, while calls run on old and new connections. No call fails, an
// old connection goes on, and a new one sees the last certificate.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	a, roots := apiAuthority(t)
	dir := t.TempDir()
	certFile, keyFile := writePair(t, dir, issue(t, a, "127.0.0.1", "first.example"))
	source, err := apitls.FromFiles(apitls.Config{Logger: testLogger(t)}, certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeService(t)
	addr := start(t, f, func(c *httpapi.Config) { c.TLS = source.TLS() })
	// call asks on a connection of the transport and returns the certificate's name.
	call := func(tr *http.Transport) (string, error) {
		got, err := tr.RoundTrip(signedRequest(t, "kms", "POST", "https://"+addr+"/", kmsHeader("Encrypt"), "{}", now))
		if err != nil {
			return "", err
		}
		defer got.Body.Close()
		if got.StatusCode != http.StatusOK || got.Proto != "HTTP/2.0" {
			return "", fmt.Errorf("%s %s", got.Proto, got.Status)
		}
		return got.TLS.PeerCertificates[0].DNSNames[0], nil
	}
	transport := func() *http.Transport {
		return &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	}
	old := transport()
	defer old.CloseIdleConnections()
	if name, err := call(old); err != nil || name != "first.example" {
		t.Fatalf("got %s, %v", name, err)
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			fresh := transport()
			_, newErr := call(fresh)
			fresh.CloseIdleConnections()
			if name, err := call(old); err != nil || newErr != nil || name != "first.example" {
				t.Errorf("a call failed: %v, %v; the old connection is with %s", newErr, err, name)
				return
			}
		}
	})
	for i := range 20 {
		if err := os.WriteFile(keyFile, []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := source.Reload(); err == nil {
			t.Error("a broken pair was loaded")
		}
		writePair(t, dir, issue(t, a, "127.0.0.1", fmt.Sprintf("n%d.example", i)))
		if err := source.Reload(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	load.Wait()
	fresh := transport()
	defer fresh.CloseIdleConnections()
	if name, err := call(fresh); err != nil || name != "n19.example" {
		t.Errorf("a new connection is with %s, %v", name, err)
	}
}

// TestOldTLS checks that the listener, and not only the configuration, refuses
// what is too old, and answers plain HTTP with a hint.
func TestOldTLS(t *testing.T) {
	t.Parallel()
	a, roots := apiAuthority(t)
	certFile, keyFile := writePair(t, t.TempDir(), issue(t, a, "127.0.0.1"))
	source, err := apitls.FromFiles(apitls.Config{Logger: testLogger(t)}, certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeService(t)
	addr := start(t, f, func(c *httpapi.Config) { c.TLS = source.TLS() })
	for version, ok := range map[uint16]bool{
		tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
	} {
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: version, NextProtos: []string{"h2"}})
		if (err == nil) != ok {
			t.Errorf("%s: %v, want success: %v", tls.VersionName(version), err, ok)
		}
		if err == nil {
			if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
				t.Errorf("%s: protocol %q", tls.VersionName(version), got)
			}
			c.Close()
		}
	}
	if got := send(t, addr, "GET /livez HTTP/1.1\r\nHost: kms\r\n\r\n"); got.status != "HTTP/1.0 400 Bad Request" {
		t.Errorf("plain HTTP: %s", got.status)
	}
	checkUntouched(t, f)
}

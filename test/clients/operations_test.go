package clients_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// TestOperations does what docs/operations.md says, in its order, with real
// processes, HAProxy and the AWS CLI: from nothing to three nodes, and what comes
// after. On the way SDKs do their main job through both configurations of HAProxy.
// Where it balances requests, neither it nor the clients try anything twice, and
// nobody must notice a restart, a join or a leave; where it lets TLS through, clients
// have the SDK's own retries.
//
// It is not parallel: on a machine that is too busy, leaders change for that reason
// alone, and somebody notices.
func TestOperations(t *testing.T) {
	s, d := newSite(t), openDocument(t, filepath.Join("..", "..", "docs", "operations.md"))
	d.run(t, s, "Prepare each machine")
	d.run(t, s, "The first node")
	d.run(t, s, "The second and the third node")
	d.run(t, s, "The load balancer")
	d.run(t, s, "The first key")
	d.run(t, s, "Watching")

	through := s.cluster(filepath.Join(s.hosts["admin"].home, "kmsd-ca.pem"))
	s.mainJobs(t, through, "eu-west-1", "eu-west-2")
	load := startTraffic(t, through, "eu-south-1", sdkRetries)
	d.run(t, s, "Restart, new settings, upgrade")
	load.stop(t)

	through = s.balanceRequests(t)
	s.mainJobs(t, through, "eu-west-3", "eu-central-1")
	load = startTraffic(t, through, "eu-north-1", noRetries)
	d.run(t, s, "Restart, new settings, upgrade")
	d.run(t, s, "Replace a node: the new one")
	load.stop(t)
	d.run(t, s, "Replace a node: the load balancer")
	load = startTraffic(t, through, "eu-north-1", noRetries)
	d.run(t, s, "Replace a node: the old one")
	load.stop(t)

	if s.hosts["kms3"].units["kmsd"].active() {
		t.Error("the node that has left runs")
	}

	dead := s.hosts["kms2"].units["kmsd"]
	dead.kill()
	d.run(t, s, "A node that is dead")
	for _, code := range []int{0, 78} { // told by the others; then by its own directory
		if err := dead.start(); err == nil {
			t.Error("the removed node runs")
		}
		if got := dead.code(); got != code {
			t.Errorf("the removed node ended with code %d, want %d\n%s", got, code, dead.tail())
		}
	}
	d.run(t, s, "A removed machine joins anew")
	d.run(t, s, "A lost root credential")
	d.finish(t)
}

// mainJobs runs the SDKs that other tests run against kmsd dev, and looks for the
// address of a client in the audit records, where the balancer's must not be.
func (s *site) mainJobs(t *testing.T, c *cluster, boto, js string) {
	t.Helper()
	s.sourceAddress(t, c, boto)
	testBoto3(t, startPython(t, c, debianPython, boto, false))
	testJavaScript(t, startJavaScript(t, c, js))
}

// sourceAddress makes a call from an address of its own.
func (s *site) sourceAddress(t *testing.T, c *cluster, region string) {
	t.Helper()
	address := net.IPv4(127, 0, byte(rand.IntN(250)), byte(2+rand.IntN(250)))
	client := c.http(t)
	client.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: address}}).DialContext
	got[kms.GenerateRandomOutput](t)(c.clientOver(client, region, noRetries).GenerateRandom(t.Context(), &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1)}))
	want := `"sourceIPAddress":"` + address.String() + `"`
	for _, h := range s.hosts {
		files, err := filepath.Glob(filepath.Join(h.path("/var/lib/kmsd/audit"), "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if text, err := os.ReadFile(f); err == nil && bytes.Contains(text, []byte(want)) {
				return
			}
		}
	}
	t.Errorf("no audit record holds %s", want)
}

// balanceRequests lets HAProxy decrypt, with a certificate of the operator's.
func (s *site) balanceRequests(t *testing.T) *cluster {
	t.Helper()
	lb := s.hosts["lb"]
	chain, key := selfSigned(t)
	ca := filepath.Join(s.dir, "operator-ca.pem")
	for path, text := range map[string][]byte{ca: chain, lb.path("/etc/haproxy/kms.pem"): append(chain, key...)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.run(t, "lb", "deploy/haproxy/requests.cfg", "sudo install -m 0644 deploy/haproxy/requests.cfg /etc/haproxy/haproxy.cfg\n")
	s.forbidRetries(t)
	s.run(t, "lb", "deploy/haproxy/requests.cfg", "sudo systemctl restart haproxy\n")
	// What the document's later commands trust.
	s.run(t, "admin", "the operator's certificate", "cat "+ca+" >>kmsd-ca.pem\n")
	return s.cluster(ca)
}

// forbidRetries makes the load balancer try nothing twice: what is to be seen is that
// the nodes lose no request, not that somebody repeats it.
func (s *site) forbidRetries(t *testing.T) {
	t.Helper()
	path := s.hosts["lb"].path("/etc/haproxy/haproxy.cfg")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const shipped, strict = "    retries 2\n    retry-on conn-failure\n    option redispatch 1\n", "    retries 0\n    no option redispatch\n"
	if !bytes.Contains(text, []byte(shipped)) {
		t.Fatalf("%s does not say how often it tries", path)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte(shipped), []byte(strict), 1), 0o644); err != nil {
		t.Fatal(err)
	}
}

// selfSigned returns a certificate for loopback and its key, PEM.
func selfSigned(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kms.example.com"},
		DNSNames: []string{"kms.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(cryptorand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/internal/apitls"
)

// An issuer signs whatever it is told to, unlike trust.Authority.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// thiefOf has the key of an authority.
func thiefOf(t *testing.T, cert, key []byte) issuer {
	t.Helper()
	c, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{c, k.(crypto.Signer)}
}

// template is a node's certificate as the authority makes it.
func template(clusterID, nodeID string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "kmsd node " + nodeID},
		URIs:                  []*url.URL{{Scheme: "kmsd", Host: clusterID, Path: "/node/" + nodeID}},
		NotBefore:             epoch.Add(-time.Hour),
		NotAfter:              epoch.Add(24 * time.Hour),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// issue signs a certificate for a key. The chain goes up to the issuer, which is no
// part of it.
func (i issuer) issue(t *testing.T, template *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// show makes a side of a handshake that shows a chain and minds nobody.
func show(key crypto.Signer, chain ...*x509.Certificate) *tls.Config {
	pair := tls.Certificate{PrivateKey: key}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{trust.ProtocolRPC}, Certificates: []tls.Certificate{pair},
		InsecureSkipVerify: true, ClientAuth: tls.RequireAnyClientCert, Time: now,
	}
}

// TestCertificatesThatAreNoNodes shows a member certificates that are wrong in one way,
// for a key that it would accept. Most are signed by the cluster's authority.
func TestCertificatesThatAreNoNodes(t *testing.T) {
	t.Parallel()
	a := authority(t, clusterA)
	caKey, err := a.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	ca := thiefOf(t, a.Certificate(), caKey)
	member := credentials(t, a, a, node1)
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	node := func(adapt func(*x509.Certificate)) []*x509.Certificate {
		tt := template(clusterA, node2)
		if adapt != nil {
			adapt(tt)
		}
		return []*x509.Certificate{ca.issue(t, tt, key)}
	}
	names := func(uris ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.URIs = nil
			for _, text := range uris {
				u, err := url.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				c.URIs = append(c.URIs, u)
			}
		}
	}
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	// A node that issues, by its own certificate and by one that says that it may.
	nodeKey, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	leaf := issuer{ca.issue(t, template(clusterA, node3), nodeKey), nodeKey}
	between := template(clusterA, node3)
	between.IsCA, between.KeyUsage = true, x509.KeyUsageCertSign
	intermediate := issuer{ca.issue(t, between, nodeKey), nodeKey}

	const uri = "kmsd://" + clusterA + "/node/" + node2
	const client, server, both = "client", "server", "both"
	for _, tt := range []struct {
		name  string
		chain []*x509.Certificate
		wrong string // as which side it is refused; "" for none
	}{
		{"as it should be", node(nil), ""},
		{"of another cluster", node(names("kmsd://" + clusterB + "/node/" + node2)), both},
		{"for servers only", node(usage(x509.ExtKeyUsageServerAuth)), client},
		{"for clients only", node(usage(x509.ExtKeyUsageClientAuth)), server},
		{"for code", node(usage(x509.ExtKeyUsageCodeSigning)), both},
		{"for no purpose that is named", node(usage()), both},
		{"for any purpose", node(usage(x509.ExtKeyUsageAny)), both},
		{"without a name", node(names()), both},
		{"with a DNS name only", node(func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{node2} }), both},
		{"with two names", node(names(uri, "kmsd://"+clusterA+"/node/"+node3)), both},
		{"with one name twice", node(names(uri, uri)), both},
		{"of another scheme", node(names("https://" + clusterA + "/node/" + node2)), both},
		{"with a longer path", node(names(uri + "/")), both},
		{"with a shorter path", node(names("kmsd://" + clusterA + "/node")), both},
		{"with a query", node(names(uri + "?x")), both},
		{"with a fragment", node(names(uri + "#x")), both},
		{"with a port", node(names("kmsd://" + clusterA + ":1/node/" + node2)), both},
		{"with a user", node(names("kmsd://u@" + clusterA + "/node/" + node2)), both},
		{"with a cluster in capitals", node(names("kmsd://AAAAAAAA-1111-4111-8111-111111111111/node/" + node2)), both},
		{"expired when it was issued", node(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(-time.Second) }), both},
		{"not valid yet", node(func(c *x509.Certificate) { c.NotBefore = epoch.Add(time.Minute) }), both},
		{"issued by a node", []*x509.Certificate{leaf.issue(t, template(clusterA, node2), key), leaf.cert}, both},
		{"issued below the authority", []*x509.Certificate{intermediate.issue(t, template(clusterA, node2), key), intermediate.cert}, both},
		{"signed by itself", []*x509.Certificate{issuer{template(clusterA, node2), key}.issue(t, template(clusterA, node2), key)}, both},
		{"an authority's, with its chain", []*x509.Certificate{leaf.issue(t, template(clusterA, node2), key), ca.cert}, both},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			known, err := trust.CertificateSPKI(tt.chain[0].Raw)
			if err != nil {
				t.Fatal(err)
			}
			accept := func(_ string, spki [32]byte) bool { return spki == known }
			serverErr, _ := handshake(t, member.Server(accept, now, trust.ProtocolRPC), show(key, tt.chain...))
			if want := tt.wrong == client || tt.wrong == both; (serverErr != nil) != want {
				t.Errorf("shown by a client: %v, want a refusal: %v", serverErr, want)
			}
			_, clientErr := handshake(t, show(key, tt.chain...), member.Client(trust.ProtocolRPC, node2, accept, now))
			if want := tt.wrong == server || tt.wrong == both; (clientErr != nil) != want {
				t.Errorf("shown by a server: %v, want a refusal: %v", clientErr, want)
			}
		})
	}
}

// TestTheAPIAuthorityIsNoNodes shows a member certificates of the authority that
// issues those of the API, for the name and the key of a member.
func TestTheAPIAuthorityIsNoNodes(t *testing.T) {
	t.Parallel()
	a := authority(t, clusterA)
	api, err := apitls.NewAuthority(clusterA, epoch)
	if err != nil {
		t.Fatal(err)
	}
	apiKey, err := api.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	apiCA := thiefOf(t, api.Certificate(), apiKey)
	member := credentials(t, a, a, node1)
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	own, err := api.Issue(hosts(t, "kms.example.com"), epoch)
	if err != nil {
		t.Fatal(err)
	}
	node := apiCA.issue(t, template(clusterA, node2), key)
	for name, shown := range map[string]*tls.Config{
		"a node's certificate":                  show(key, node),
		"a node's certificate with its issuer":  show(key, node, apiCA.cert),
		"the API's own certificate":             show(own.PrivateKey.(*ecdsa.PrivateKey), own.Leaf),
		"the API's authority itself":            show(apiCA.key, apiCA.cert),
		"a node's certificate with the other's": show(key, node, mustParse(t, a.Certificate())),
	} {
		if serverErr, _ := handshake(t, member.Listen(always, now, trust.ProtocolRPC), shown); serverErr == nil {
			t.Errorf("%s opens the cluster port", name)
		}
		if _, clientErr := handshake(t, shown, member.Client(trust.ProtocolRPC, node2, always, now)); clientErr == nil {
			t.Errorf("%s is taken for a member's", name)
		}
		joining := shown.Clone()
		joining.NextProtos, joining.ClientAuth = []string{trust.ProtocolJoin}, tls.NoClientCert
		if _, clientErr := handshake(t, joining, trust.JoinClient(a.SPKI(), nil, now)); clientErr == nil {
			t.Errorf("%s is taken for the cluster's by a node that joins", name)
		}
	}
	// Nor can it be made one of the authorities that a node trusts, by an edited file.
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: node.Raw})
	if _, err := trust.NewCredentials(cert, key, trust.EncodeBundle([][]byte{api.Certificate()})); err == nil {
		t.Error("a node takes a certificate of the API's authority for its own")
	}
	trusting, err := member.WithAuthorities(trust.EncodeBundle([][]byte{a.Certificate(), api.Certificate()}))
	if err != nil {
		return // refused as a whole
	}
	if serverErr, _ := handshake(t, trusting.Server(always, now, trust.ProtocolRPC), show(key, node)); serverErr == nil {
		t.Error("the API's authority can be made the nodes'")
	}
}

// A node that joins knows nobody's key: for it, a certificate ends when it says so.
func TestJoiningNodesMindTheTime(t *testing.T) {
	t.Parallel()
	a := authority(t, clusterA)
	member := credentials(t, a, a, node1)
	for at, want := range map[time.Duration]bool{
		-2 * time.Hour: false, 0: true, trust.NodeLife: true, trust.NodeLife + time.Second: false,
	} {
		clock := func() time.Time { return epoch.Add(at) }
		if _, err := handshake(t, member.JoinServer(clock), trust.JoinClient(a.SPKI(), nil, clock)); (err == nil) != want {
			t.Errorf("%v after the issue: %v, want to be accepted: %v", at, err, want)
		}
	}
}

func mustParse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func hosts(t *testing.T, names ...string) apitls.Hosts {
	t.Helper()
	h, err := apitls.ParseHosts(names...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

package apitls_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/kmsd/kmsd/internal/apitls"
)

func newAuthority(t testing.TB, now time.Time) *apitls.Authority {
	t.Helper()
	a, err := apitls.NewAuthority(clusterID, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func hosts(t testing.TB, values ...string) apitls.Hosts {
	t.Helper()
	h, err := apitls.ParseHosts(values...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func poolOf(t testing.TB, der []byte) *x509.CertPool {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	p.AddCert(c)
	return p
}

func TestIssue(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, epoch)
	cert, err := a.Issue(hosts(t, "kms.example.com", "*.kms.example.com", "10.1.2.3", "[2001:db8::7]:9400"), epoch)
	if err != nil {
		t.Fatal(err)
	}
	leaf := cert.Leaf
	if !leaf.NotBefore.Equal(epoch.Add(-time.Hour)) || !leaf.NotAfter.Equal(epoch.Add(30*day)) || leaf.IsCA || len(leaf.URIs) != 0 {
		t.Errorf("valid from %v to %v, CA %v, URIs %v", leaf.NotBefore, leaf.NotAfter, leaf.IsCA, leaf.URIs)
	}
	if key, ok := cert.PrivateKey.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() || !key.PublicKey.Equal(leaf.PublicKey) {
		t.Errorf("the key is %T", cert.PrivateKey)
	}
	for _, c := range []struct {
		host  string
		usage x509.ExtKeyUsage
		at    time.Time
		ok    bool
	}{
		{"kms.example.com", x509.ExtKeyUsageServerAuth, epoch, true},
		{"node1.kms.example.com", x509.ExtKeyUsageServerAuth, epoch, true},
		{"10.1.2.3", x509.ExtKeyUsageServerAuth, epoch, true},
		{"2001:db8::7", x509.ExtKeyUsageServerAuth, epoch, true},
		{"10.1.2.4", x509.ExtKeyUsageServerAuth, epoch, false},
		{"example.com", x509.ExtKeyUsageServerAuth, epoch, false},
		{"kms.example.com", x509.ExtKeyUsageClientAuth, epoch, false},
		{"kms.example.com", x509.ExtKeyUsageServerAuth, epoch.Add(30*day + time.Second), false},
	} {
		_, err := leaf.Verify(x509.VerifyOptions{
			DNSName: c.host, Roots: poolOf(t, a.Certificate()), CurrentTime: c.at, KeyUsages: []x509.ExtKeyUsage{c.usage},
		})
		if (err == nil) != c.ok {
			t.Errorf("%s for usage %d at %v: %v, want success: %v", c.host, c.usage, c.at, err, c.ok)
		}
	}
}

// TestAuthorityMakesNoNodes signs, with the authority's key, what a node of the
// cluster would show, and checks that no verifier takes it even if it trusts the
// authority.
func TestAuthorityMakesNoNodes(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, epoch)
	der, err := a.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(a.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	mine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, c := range []struct {
		name, uri string
		ca        bool
		asked     x509.ExtKeyUsage
		ok        bool
	}{
		{"a server", "", false, x509.ExtKeyUsageServerAuth, true},
		{"a node that dials", nodeURI, false, x509.ExtKeyUsageClientAuth, false},
		{"a node that answers", nodeURI, false, x509.ExtKeyUsageServerAuth, false},
		{"a client without a name", "", false, x509.ExtKeyUsageClientAuth, false},
	} {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: c.name}, DNSNames: []string{"a"},
			NotBefore: epoch, NotAfter: epoch.Add(day), ExtKeyUsage: both, BasicConstraintsValid: true,
		}
		if c.uri != "" {
			u, err := url.Parse(c.uri)
			if err != nil {
				t.Fatal(err)
			}
			template.URIs = []*url.URL{u}
		}
		leaf, err := x509.CreateCertificate(rand.Reader, template, ca, mine.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(leaf)
		if err != nil {
			t.Fatal(err)
		}
		_, err = cert.Verify(x509.VerifyOptions{Roots: poolOf(t, a.Certificate()), CurrentTime: epoch, KeyUsages: []x509.ExtKeyUsage{c.asked}})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v, want success: %v", c.name, err, c.ok)
		}
	}
	if ca.MaxPathLen != 0 || !ca.MaxPathLenZero || ca.KeyUsage != x509.KeyUsageCertSign {
		t.Errorf("path length %d (zero: %v), usage %d", ca.MaxPathLen, ca.MaxPathLenZero, ca.KeyUsage)
	}
}

func TestAuthorityRoundTrip(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t, epoch), newAuthority(t, epoch)
	key, err := a.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := apitls.ParseAuthority(a.Certificate(), key)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.MarshalKey(); err != nil || !bytes.Equal(again, key) || !bytes.Equal(b.Certificate(), a.Certificate()) {
		t.Errorf("the authority changed on its way, %v", err)
	}
	cert, err := b.Issue(hosts(t, "a"), epoch)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: "a", Roots: poolOf(t, a.Certificate()), CurrentTime: epoch}); err != nil {
		t.Error(err)
	}
	leafKey, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2][]byte{
		"another key":             {a.Certificate(), foreign},
		"no certificate":          {nil, key},
		"no key":                  {a.Certificate(), nil},
		"a truncated certificate": {a.Certificate()[:100], key},
		"a trailing byte":         {append(a.Certificate(), 0), key},
		"a certificate of no CA":  {cert.Certificate[0], leafKey},
		"a truncated key":         {a.Certificate(), key[:len(key)-1]},
	} {
		if _, err := apitls.ParseAuthority(pair[0], pair[1]); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, epoch)
	if _, err := a.Issue(apitls.Hosts{}, epoch); err == nil {
		t.Error("a certificate for nobody was issued")
	}
	const years = 20 * 365 * day
	for _, at := range []time.Time{epoch.Add(-2 * time.Hour), epoch.Add(years + time.Second)} {
		if _, err := a.Issue(hosts(t, "a"), at); err == nil {
			t.Errorf("a certificate was issued at %v, outside of the authority's time", at)
		}
	}
	late, err := a.Issue(hosts(t, "a"), epoch.Add(years-day))
	if err != nil || !late.Leaf.NotAfter.Equal(epoch.Add(years)) {
		t.Errorf("got an end at %v, %v; want the authority's", late.Leaf.NotAfter, err)
	}
	if _, err := apitls.NewAuthority("", epoch); err == nil {
		t.Error("an authority of no cluster was made")
	}
}

package apitls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	// Life is how long an issued certificate is valid. A Source renews it at half
	// of that.
	Life = 30 * 24 * time.Hour
	// authorityLife is how long the authority is valid. Clients have its
	// certificate in files of their own, so that replacing it is an operator's
	// decision.
	authorityLife = 20 * 365 * 24 * time.Hour
	// backdate lets a client whose clock is behind accept a fresh certificate.
	backdate = time.Hour
	// serialBits is the size of a serial number. RFC 5280 allows 20 octets.
	serialBits = 127
)

// An Authority signs the certificates of one cluster's API listeners. Safe for
// concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes the API authority of a cluster: an ECDSA P-256 key and a
// self-signed certificate that allows server certificates directly below it and
// no name of a node of the cluster clusterID (RFC 5280 sections 4.2.1.9, 4.2.1.10
// and 4.2.1.12).
func NewAuthority(clusterID string, now time.Time) (*Authority, error) {
	if clusterID == "" {
		return nil, errors.New("an API authority needs the cluster's ID")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the API authority's key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "kmsd API " + clusterID},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// The cluster's ID is the host of a node's URI. Excluding every URI would
		// need an empty constraint, on which implementations differ.
		PermittedDNSDomainsCritical: true,
		ExcludedURIDomains:          []string{clusterID},
	}
	cert, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("signing the API authority: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

// ParseAuthority reads what Certificate and MarshalKey gave. It keeps neither
// slice.
func ParseAuthority(cert, key []byte) (*Authority, error) {
	c, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, fmt.Errorf("reading the API authority's certificate: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("reading the API authority's key: not a PKCS #8 key")
	}
	k, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !k.PublicKey.Equal(c.PublicKey) || !c.IsCA {
		return nil, errors.New("the API authority's key does not belong to its certificate")
	}
	return &Authority{cert: c, key: k}, nil
}

// Certificate returns the certificate, DER. It is no secret.
func (a *Authority) Certificate() []byte { return append([]byte(nil), a.cert.Raw...) }

// MarshalKey returns the private key as PKCS #8. It is a secret: the caller seals
// it before it enters the replicated state.
func (a *Authority) MarshalKey() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(a.key) }

// Issue makes a key, ECDSA P-256, and signs a server certificate for hosts, valid
// from now for Life, but not longer than the authority. It fails when hosts is
// empty and when the authority is not valid at now.
func (a *Authority) Issue(hosts Hosts, now time.Time) (*tls.Certificate, error) {
	if hosts.empty() {
		return nil, errors.New("a certificate needs a name or an address")
	}
	if now.Before(a.cert.NotBefore) || now.After(a.cert.NotAfter) {
		return nil, fmt.Errorf("the API authority is valid from %s to %s only", a.cert.NotBefore.Format(time.RFC3339), a.cert.NotAfter.Format(time.RFC3339))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the API's key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "kmsd API"},
		DNSNames:              hosts.Names,
		IPAddresses:           hosts.ips(),
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(Life),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	leaf, err := sign(template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing the API's certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

const pemCertificate = "CERTIFICATE"

// EncodePEM returns a DER certificate as PEM: the file that clients name in
// AWS_CA_BUNDLE.
func EncodePEM(cert []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert})
}

package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

const (
	// NodeLife is how long a node certificate is valid.
	NodeLife = 30 * 24 * time.Hour
	// authorityLife is how long the authority is valid. It is replaced earlier, by
	// the rotation that follows each removal of a member.
	authorityLife = 20 * 365 * 24 * time.Hour
	// backdate lets a node whose clock is behind accept a fresh certificate.
	backdate = time.Hour
	// serialBits is the size of a serial number. RFC 5280 allows 20 octets.
	serialBits = 127
)

// An Authority signs the certificates of one cluster's nodes. It is never
// accepted for anything but the cluster port. Safe for concurrent use.
type Authority struct {
	clusterID string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

// NewAuthority makes the authority of a cluster: an ECDSA P-256 key and a
// self-signed certificate.
func NewAuthority(clusterID string, now time.Time) (*Authority, error) {
	key, err := NewKey()
	if err != nil {
		return nil, fmt.Errorf("making the authority's key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "kmsd cluster " + clusterID},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	cert, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("signing the authority: %w", err)
	}
	return &Authority{clusterID: clusterID, cert: cert, key: key}, nil
}

// LoadAuthority reads an authority from what Certificate and MarshalKey gave.
func LoadAuthority(clusterID string, certDER, key []byte) (*Authority, error) {
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	k, err := ParseKey(key)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's key: %w", err)
	}
	if !k.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the authority's key does not belong to its certificate")
	}
	return &Authority{clusterID: clusterID, cert: cert, key: k}, nil
}

// Certificate returns the certificate in DER.
func (a *Authority) Certificate() []byte { return a.cert.Raw }

// SPKI returns the hash of the authority's public key, which join tokens pin.
func (a *Authority) SPKI() [32]byte { return SPKI(a.cert) }

// MarshalKey returns the private key as PKCS #8. It is a secret: the caller seals
// it before it touches a disk.
func (a *Authority) MarshalKey() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(a.key) }

// Issue signs the certificate of a node, valid from now for NodeLife. Everything
// but the public key is decided here.
func (a *Authority) Issue(nodeID string, public crypto.PublicKey, now time.Time) (certPEM []byte, err error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "kmsd node " + nodeID},
		URIs:                  []*url.URL{nodeURI(a.clusterID, nodeID)},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(NodeLife),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := sign(template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing a node's certificate: %w", err)
	}
	if _, err := identify(cert); err != nil {
		return nil, err // cluster ID or node ID is no UUID
	}
	return encodeCertificate(cert), nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
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

// nodeCurve is the curve of all keys of this package.
var nodeCurve = elliptic.P256()

// NewKey makes a node's private key: ECDSA P-256.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(nodeCurve, rand.Reader) }

// MarshalKey returns a private key as PKCS #8. It is a secret: the caller seals
// it before it touches a disk.
func MarshalKey(key *ecdsa.PrivateKey) ([]byte, error) { return x509.MarshalPKCS8PrivateKey(key) }

// ParseKey reads what MarshalKey gave.
func ParseKey(der []byte) (*ecdsa.PrivateKey, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok || key.Curve != nodeCurve {
		return nil, errors.New("not an ECDSA P-256 key")
	}
	return key, nil
}

const pemCertificate = "CERTIFICATE"

// CertificateSPKI returns the hash of the public key of a certificate in DER.
func CertificateSPKI(der []byte) ([32]byte, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return [32]byte{}, err
	}
	return SPKI(cert), nil
}

// maxAuthorities bounds the certificates of a bundle: a rotation has two at a time.
const maxAuthorities = 8

// EncodeBundle returns DER certificates as PEM, in their order.
func EncodeBundle(certs [][]byte) []byte {
	var out []byte
	for _, der := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})...)
	}
	return out
}

// ParseBundle reads the certificates of authorities in PEM, at least one.
func ParseBundle(bundle []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(bundle) > 0 {
		block, rest := pem.Decode(bundle)
		if block == nil || block.Type != pemCertificate || len(out) == maxAuthorities {
			return nil, errors.New("not a bundle of PEM certificates")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if !cert.IsCA {
			return nil, errors.New("a certificate of the bundle is no authority's")
		}
		out, bundle = append(out, cert), rest
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate")
	}
	return out, nil
}

func encodeCertificate(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})
}

func parseCertificate(b []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != pemCertificate || len(rest) != 0 {
		return nil, errors.New("not one PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

package trust

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
)

const (
	removalInfo  = "kmsd/removed/v1"
	keyProofInfo = "kmsd/join-key/v1"
)

// ErrStatement is returned for a statement of removal that no trusted authority
// has signed for this node of this cluster.
var ErrStatement = errors.New("the statement of removal is not signed by the cluster's authority")

// SignRemoval states that a node was removed from the cluster for good. Whoever
// knows the authority's certificate believes it, from whomever it comes.
func (a *Authority) SignRemoval(nodeID string) ([]byte, error) {
	hash := removalHash(a.clusterID, nodeID)
	out, err := ecdsa.SignASN1(rand.Reader, a.key, hash[:])
	if err != nil {
		return nil, fmt.Errorf("signing a statement of removal: %w", err)
	}
	return out, nil
}

// VerifyRemoval checks a statement against the authorities that these credentials
// trust.
func (c *Credentials) VerifyRemoval(nodeID string, statement []byte) error {
	hash := removalHash(c.self.ClusterID, nodeID)
	for _, a := range c.authorities {
		if key, ok := a.PublicKey.(*ecdsa.PublicKey); ok && ecdsa.VerifyASN1(key, hash[:], statement) {
			return nil
		}
	}
	return ErrStatement
}

func removalHash(clusterID, nodeID string) [32]byte {
	text := append([]byte(nil), removalInfo...)
	return sha256.Sum256(appendField(appendField(text, clusterID), nodeID))
}

// NewRequest makes the certificate request of a node's key: a proof that whoever
// asks has the private key. Everything else in a certificate is decided by the
// authority.
func NewRequest(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	return der, nil
}

// maxRequest bounds a certificate request, in bytes.
const maxRequest = 4 << 10

// ErrRequest is returned for a certificate request that is malformed, of another
// kind of key than ECDSA P-256, or not signed by its key.
var ErrRequest = errors.New("the certificate request is not one of a node's key")

// CheckRequest checks what NewRequest gave and returns the public key and its
// hash.
func CheckRequest(der []byte) (*ecdsa.PublicKey, [32]byte, error) {
	if len(der) > maxRequest {
		return nil, [32]byte{}, ErrRequest
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || csr.CheckSignature() != nil {
		return nil, [32]byte{}, ErrRequest
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != nodeCurve {
		return nil, [32]byte{}, ErrRequest
	}
	return key, sha256.Sum256(csr.RawSubjectPublicKeyInfo), nil
}

func keyProofHash(text []byte) [32]byte {
	return sha256.Sum256(appendField(append([]byte(nil), keyProofInfo...), text))
}

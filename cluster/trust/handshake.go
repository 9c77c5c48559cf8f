package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The application protocols (RFC 7301) of the cluster port.
const (
	ProtocolRaft = "kmsd-raft/1" // hashicorp/raft's network transport
	ProtocolRPC  = "kmsd-rpc/1"  // Beats and forwarded calls
)

// ErrRefused is returned when a peer is not who it must be. The connection is
// closed; the text for the log follows the sentinel.
var ErrRefused = errors.New("peer refused")

// Accept tells whether the replicated state names this public key for this node.
// It is called during handshakes, from many goroutines.
type Accept func(nodeID string, spki [32]byte) bool

// Credentials are what a node shows to its peers, and the authority against which
// it checks them. Immutable.
type Credentials struct {
	self     Identity
	leaf     *x509.Certificate
	keypair  tls.Certificate
	roots    *x509.CertPool
	notAfter time.Time
}

// NewCredentials binds a node's certificate and key to the authority. It fails if
// they do not fit together.
func NewCredentials(certPEM []byte, key *ecdsa.PrivateKey, authorityPEM []byte) (*Credentials, error) {
	leaf, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("reading the node's certificate: %w", err)
	}
	authority, err := parseCertificate(authorityPEM)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the node's key does not belong to its certificate")
	}
	self, err := identify(leaf)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	if err := verifyChain(leaf, roots, x509.ExtKeyUsageClientAuth, leaf.NotBefore); err != nil {
		return nil, fmt.Errorf("the node's certificate is not of this cluster: %w", err)
	}
	return &Credentials{
		self: self, leaf: leaf, roots: roots, notAfter: leaf.NotAfter,
		keypair: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
	}, nil
}

// Identity returns whom the certificate names.
func (c *Credentials) Identity() Identity { return c.self }

// PublicKey returns the certificate's public key.
func (c *Credentials) PublicKey() crypto.PublicKey { return c.leaf.PublicKey }

// NotAfter returns when the certificate ends.
func (c *Credentials) NotAfter() time.Time { return c.notAfter }

// Server returns the configuration of the accepting side. It serves the given
// protocols and no connection without one of them. now is the wall clock; nil
// means time.Now.
func (c *Credentials) Server(accept Accept, now func() time.Time, protocols ...string) *tls.Config {
	cfg := c.base(now)
	cfg.NextProtos = protocols
	cfg.ClientAuth = tls.RequireAnyClientCert // VerifyConnection checks the chain
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if !slices.Contains(protocols, cs.NegotiatedProtocol) {
			return fmt.Errorf("%w: no protocol in common", ErrRefused)
		}
		_, err := c.verify(cs, x509.ExtKeyUsageClientAuth, accept, now)
		return err
	}
	return cfg
}

// Client returns the configuration of the dialling side: it speaks one protocol
// and accepts only the node nodeID at the other end. now is the wall clock; nil
// means time.Now.
func (c *Credentials) Client(protocol, nodeID string, accept Accept, now func() time.Time) *tls.Config {
	cfg := c.base(now)
	cfg.NextProtos = []string{protocol}
	// Names and the system's roots say nothing here: VerifyConnection checks the
	// chain against the cluster's authority and the node by its ID.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.NegotiatedProtocol != protocol {
			return fmt.Errorf("%w: no protocol in common", ErrRefused)
		}
		peer, err := c.verify(cs, x509.ExtKeyUsageServerAuth, accept, now)
		if err == nil && peer.NodeID != nodeID {
			err = fmt.Errorf("%w: node %s answered for node %s", ErrRefused, peer.NodeID, nodeID)
		}
		return err
	}
	return cfg
}

func (c *Credentials) base(now func() time.Time) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{c.keypair},
		MinVersion:   tls.VersionTLS13,
		MaxVersion:   tls.VersionTLS13,
		Time:         now,
		// A resumed session would carry an old verdict.
		SessionTicketsDisabled: true,
	}
}

// verify is the handshake rule: chain, cluster ID, and (node ID, public key) as
// the state has them.
func (c *Credentials) verify(cs tls.ConnectionState, usage x509.ExtKeyUsage, accept Accept, now func() time.Time) (Identity, error) {
	if len(cs.PeerCertificates) == 0 {
		return Identity{}, fmt.Errorf("%w: no certificate", ErrRefused)
	}
	leaf := cs.PeerCertificates[0]
	at := time.Now
	if now != nil {
		at = now
	}
	if err := verifyChain(leaf, c.roots, usage, at()); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	peer, err := identify(leaf)
	switch {
	case err != nil:
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	case peer.ClusterID != c.self.ClusterID:
		return Identity{}, fmt.Errorf("%w: cluster %s", ErrRefused, peer.ClusterID)
	case !accept(peer.NodeID, peer.SPKI):
		return Identity{}, fmt.Errorf("%w: node %s or its key is not a member's", ErrRefused, peer.NodeID)
	}
	return peer, nil
}

func verifyChain(leaf *x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) error {
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	return err
}

// Peer returns whom a verified connection of this package is with.
func Peer(cs tls.ConnectionState) (Identity, error) {
	if len(cs.PeerCertificates) == 0 {
		return Identity{}, fmt.Errorf("%w: no certificate", ErrRefused)
	}
	return identify(cs.PeerCertificates[0])
}

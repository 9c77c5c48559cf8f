package trust

import (
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
	ProtocolRaft   = "kmsd-raft/1"   // hashicorp/raft's network transport
	ProtocolRPC    = "kmsd-rpc/1"    // Beats, forwarded calls, membership
	ProtocolGossip = "kmsd-gossip/1" // memberlist's streams
	ProtocolJoin   = "kmsd-join/1"   // nodes that are no members; only the server has a certificate
)

// ErrRefused is returned when a peer is not who it must be. The connection is
// closed; the text for the log follows the sentinel.
var ErrRefused = errors.New("peer refused")

// Accept tells whether the replicated state names this public key for this node.
// It is called during handshakes, from many goroutines.
type Accept func(nodeID string, spki [32]byte) bool

// Credentials are what a node shows to its peers, and the authorities against
// which it checks them. Immutable.
type Credentials struct {
	self        Identity
	leaf        *x509.Certificate
	issuer      *x509.Certificate // of leaf
	key         *ecdsa.PrivateKey
	keypair     tls.Certificate
	authorities []*x509.Certificate
	roots       *x509.CertPool
}

// NewCredentials binds a node's certificate and key to the authorities that it
// trusts, one or, during a rotation, more. It fails if they do not fit together.
func NewCredentials(certPEM []byte, key *ecdsa.PrivateKey, bundlePEM []byte) (*Credentials, error) {
	leaf, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("reading the node's certificate: %w", err)
	}
	authorities, err := ParseBundle(bundlePEM)
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's authorities: %w", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, ErrOtherKey
	}
	self, err := identify(leaf)
	if err != nil {
		return nil, err
	}
	c := &Credentials{self: self, leaf: leaf, key: key, authorities: authorities, roots: x509.NewCertPool(),
		keypair: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}}
	for _, a := range authorities {
		c.roots.AddCert(a)
		if c.issuer == nil && leaf.CheckSignatureFrom(a) == nil {
			c.issuer = a
		}
	}
	if c.issuer == nil {
		return nil, errors.New("the node's certificate is not of this cluster: no trusted authority has issued it")
	}
	if err := verifyChain(leaf, c.roots, x509.ExtKeyUsageClientAuth, leaf.NotBefore); err != nil {
		return nil, fmt.Errorf("the node's certificate is not of this cluster: %w", err)
	}
	return c, nil
}

// ErrOtherKey is returned by NewCredentials when the key is not the certificate's.
var ErrOtherKey = errors.New("the node's key does not belong to its certificate")

// WithAuthorities returns the same credentials trusting other authorities. The
// issuer of the node's own certificate must be among them.
func (c *Credentials) WithAuthorities(bundlePEM []byte) (*Credentials, error) {
	return NewCredentials(encodeCertificate(c.leaf), c.key, bundlePEM)
}

// Issuer returns the hash of the public key of the authority that issued the
// node's certificate.
func (c *Credentials) Issuer() [32]byte { return SPKI(c.issuer) }

// Trusts tells whether one of the trusted authorities has the public key hash.
func (c *Credentials) Trusts(authority [32]byte) bool {
	return slices.ContainsFunc(c.authorities, func(a *x509.Certificate) bool { return SPKI(a) == authority })
}

// Identity returns whom the certificate names.
func (c *Credentials) Identity() Identity { return c.self }

// PublicKey returns the certificate's public key.
func (c *Credentials) PublicKey() *ecdsa.PublicKey { return &c.key.PublicKey }

// NotBefore and NotAfter return between what times the certificate is valid.
func (c *Credentials) NotBefore() time.Time { return c.leaf.NotBefore }
func (c *Credentials) NotAfter() time.Time  { return c.leaf.NotAfter }

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

// Listen returns the configuration of the cluster port: Server for members, and
// JoinServer for a peer that asks for ProtocolJoin and nothing else.
func (c *Credentials) Listen(accept Accept, now func() time.Time, protocols ...string) *tls.Config {
	members, strangers := c.Server(accept, now, protocols...), c.JoinServer(now)
	cfg := members.Clone()
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Equal(hello.SupportedProtos, strangers.NextProtos) {
			return strangers, nil
		}
		return members, nil
	}
	return cfg
}

// AnyMember stands for a node ID where it does not matter which member answers.
const AnyMember = ""

// Client returns the configuration of the dialling side: it speaks one protocol
// and accepts only the node nodeID, or AnyMember, at the other end. now is the wall clock; nil
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
		if err == nil && nodeID != AnyMember && peer.NodeID != nodeID {
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
	if err := verifyChain(leaf, c.roots, usage, notPast(leaf, now)); err != nil {
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

// notPast returns the time at which a member's certificate is checked: now, but not
// after its end. A member that was away for longer than its certificate lasts, or a
// whole cluster that was, must be able to come back and renew it, and nothing is
// lost by that: the key is accepted only as long as the state names it, and each
// renewal replaces the key.
func notPast(leaf *x509.Certificate, now func() time.Time) time.Time {
	at := time.Now()
	if now != nil {
		at = now()
	}
	if at.After(leaf.NotAfter) {
		return leaf.NotAfter
	}
	return at
}

// verifyChain checks that a trusted authority itself has issued a certificate for a
// usage that the certificate names.
func verifyChain(leaf *x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) error {
	if !slices.Contains(leaf.ExtKeyUsage, usage) { // none named would be all of them
		return errors.New("the certificate is not for this usage")
	}
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

package trust

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// JoinServer returns the configuration of the accepting side of ProtocolJoin: it
// shows the node's certificate with the authority that issued it, and asks for
// none. now is the wall clock; nil means time.Now.
func (c *Credentials) JoinServer(now func() time.Time) *tls.Config {
	cfg := c.base(now)
	pair := c.keypair
	pair.Certificate = [][]byte{c.leaf.Raw, c.issuer.Raw}
	cfg.Certificates = []tls.Certificate{pair}
	cfg.NextProtos = []string{ProtocolJoin}
	return cfg
}

// JoinClient returns the configuration of a node that is no member yet. It accepts
// only a node of a cluster whose authority has the public key hash pin, and calls
// found, which may be nil, with what that node's certificate says. Neither the
// system's roots nor the first contact are trusted.
func JoinClient(pin [32]byte, found func(Identity), now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13, Time: now,
		NextProtos: []string{ProtocolJoin}, SessionTicketsDisabled: true,
		// VerifyConnection checks the chain against the pin.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			peer, err := checkPinned(cs, pin, now)
			if err == nil && found != nil {
				found(peer)
			}
			return err
		},
	}
}

// AskClient returns the configuration of a node that asks whether it was removed.
// It accepts whoever answers: the answer is signed, see VerifyRemoval, and the
// question is no secret.
func AskClient(now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13, Time: now,
		NextProtos: []string{ProtocolJoin}, SessionTicketsDisabled: true, InsecureSkipVerify: true,
	}
}

func checkPinned(cs tls.ConnectionState, pin [32]byte, now func() time.Time) (Identity, error) {
	if cs.NegotiatedProtocol != ProtocolJoin || len(cs.PeerCertificates) != 2 {
		return Identity{}, fmt.Errorf("%w: it does not take joining nodes", ErrRefused)
	}
	leaf, authority := cs.PeerCertificates[0], cs.PeerCertificates[1]
	hash := SPKI(authority)
	if subtle.ConstantTimeCompare(hash[:], pin[:]) != 1 {
		return Identity{}, fmt.Errorf("%w: its authority is not the one that the join token names", ErrRefused)
	}
	at := time.Now
	if now != nil {
		at = now
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	if err := verifyChain(leaf, roots, x509.ExtKeyUsageServerAuth, at()); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	peer, err := identify(leaf)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return peer, nil
}

// ProveKey shows that this end of the connection holds the private key of the
// certificate request csr. A node that was admitted already proves so that it is
// the one, when the reply to its first request was lost.
func ProveKey(key *ecdsa.PrivateKey, cs tls.ConnectionState, csr []byte, nodeID string) ([]byte, error) {
	text, err := proofText(cs, csr, nodeID)
	if err != nil {
		return nil, err
	}
	hash := keyProofHash(text)
	return ecdsa.SignASN1(rand.Reader, key, hash[:])
}

// VerifyKey checks what ProveKey gave, on the other end of the same connection.
func VerifyKey(public *ecdsa.PublicKey, cs tls.ConnectionState, csr []byte, nodeID string, proof []byte) error {
	text, err := proofText(cs, csr, nodeID)
	if err != nil {
		return err
	}
	hash := keyProofHash(text)
	if !ecdsa.VerifyASN1(public, hash[:], proof) {
		return ErrProof
	}
	return nil
}

// Request makes a certificate request of the node's key, for a member that proves
// itself over ProtocolJoin.
func (c *Credentials) Request() ([]byte, error) { return NewRequest(c.key) }

// ProveKey is the function ProveKey with the node's key and ID.
func (c *Credentials) ProveKey(cs tls.ConnectionState, csr []byte) ([]byte, error) {
	return ProveKey(c.key, cs, csr, c.self.NodeID)
}

// Pins returns the hashes of the trusted authorities' public keys, the current one
// first.
func (c *Credentials) Pins() [][32]byte {
	out := make([][32]byte, 0, len(c.authorities))
	for _, a := range c.authorities {
		out = append(out, SPKI(a))
	}
	return out
}

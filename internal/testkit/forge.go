package testkit

import (
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
)

// An Authority is the one of a cluster's nodes.
type Authority = trust.Authority

// The protocols that only members may speak.
const (
	ProtocolRaft   = trust.ProtocolRaft
	ProtocolRPC    = trust.ProtocolRPC
	ProtocolGossip = trust.ProtocolGossip
)

// MemberProtocols are all of them.
var MemberProtocols = []string{ProtocolRaft, ProtocolRPC, ProtocolGossip}

// NewAuthority makes an authority that calls itself a cluster's.
func NewAuthority(clusterID string) (*Authority, error) {
	return trust.NewAuthority(clusterID, time.Now())
}

// Rename returns an authority with the same key whose certificates name nodes of
// another cluster.
func Rename(a *Authority, clusterID string) (*Authority, error) {
	key, err := a.MarshalKey()
	if err != nil {
		return nil, err
	}
	return trust.LoadAuthority(clusterID, a.Certificate(), key)
}

// NewKey makes a key such as nodes have.
func NewKey() (*ecdsa.PrivateKey, error) { return trust.NewKey() }

// NewToken makes the text of a join token that pins an authority and that the cluster
// does not know.
func NewToken(a *Authority) string { return trust.NewToken(a.SPKI()).Text() }

// Papers are what somebody shows on a cluster port: a certificate and its key. Nothing
// of package trust checks them before the other side does.
type Papers struct {
	pair tls.Certificate
}

// NoPapers are those of a stranger.
var NoPapers = &Papers{}

// Forge makes a certificate with an authority's key, for any node, and for the key of
// a stolen member or, for nil, a new one.
func Forge(by *Authority, nodeID string, of *Loot) (*Papers, error) {
	key, err := trust.NewKey()
	if err != nil {
		return nil, err
	}
	if of != nil {
		key = of.Key
	}
	cert, err := by.Issue(nodeID, &key.PublicKey, time.Now())
	if err != nil {
		return nil, err
	}
	return newPapers(cert, key)
}

func newPapers(certPEM []byte, key *ecdsa.PrivateKey) (*Papers, error) {
	block, rest := pem.Decode(certPEM)
	if block == nil || len(rest) > 0 {
		return nil, errors.New("not one certificate")
	}
	return &Papers{tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}}, nil
}

// client returns the configuration of who dials for a protocol and minds nobody.
func (p *Papers) client(protocol string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}, InsecureSkipVerify: true}
	if len(p.pair.Certificate) > 0 {
		cfg.Certificates = []tls.Certificate{p.pair}
	}
	return cfg
}

// server returns the configuration of who lets anybody in that has a certificate.
func (p *Papers) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: MemberProtocols, ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{p.pair},
	}
}

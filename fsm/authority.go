package fsm

import (
	"bytes"
	"errors"
	"slices"

	"github.com/kmsd/kmsd/kms"
)

// The ids of the records that their tables hold one of.
const (
	authorityID  = "ca"
	gossipKeysID = "gossip"
)

// AuthorityKey is a certificate authority: its own certificate, and its private
// key sealed under the keyring.
type AuthorityKey struct {
	Cert      []byte `cbor:"1,keyasint"` // DER
	SealedKey []byte `cbor:"2,keyasint"`
}

// Authority is the one record of table ca.
type Authority struct {
	Versioned
	// Current issues the certificates of nodes.
	Current AuthorityKey `cbor:"1,keyasint"`
	// Trusted are the certificates (DER) of the authorities whose nodes are
	// accepted, Current's first. During a rotation there are several.
	Trusted [][]byte `cbor:"2,keyasint"`
	// API issues the certificates of API listeners that have none of their own. It
	// is never accepted on the cluster port.
	API AuthorityKey `cbor:"3,keyasint"`
	// Next is an authority that is trusted already and will become Current; nil
	// unless a rotation is under way.
	Next *AuthorityKey `cbor:"4,keyasint,omitempty"`
}

func (*Authority) appendID(dst []byte) []byte { return append(dst, authorityID...) }

// maxTrusted bounds the authorities that are trusted at once.
const maxTrusted = 8

func (a *Authority) check() error {
	switch {
	case a.Current.empty() || a.API.empty():
		return errors.New("an authority without certificate or key")
	case len(a.Trusted) == 0 || len(a.Trusted) > maxTrusted || !bytes.Equal(a.Trusted[0], a.Current.Cert):
		return errors.New("the first trusted authority is the current one")
	case a.trusts(a.API.Cert):
		return errors.New("the API's authority is not trusted for nodes")
	case a.trusts(nil):
		return errors.New("an empty certificate")
	case a.Next != nil && (a.Next.empty() || !a.trusts(a.Next.Cert)):
		return errors.New("the next authority is trusted before it issues")
	}
	return nil
}

func (k *AuthorityKey) empty() bool { return len(k.Cert) == 0 || len(k.SealedKey) == 0 }

func (a *Authority) trusts(cert []byte) bool {
	return slices.ContainsFunc(a.Trusted, func(t []byte) bool { return bytes.Equal(t, cert) })
}

// GossipKeys is the one record of table gossipKeys.
type GossipKeys struct {
	Versioned
	// Keys are the keys that gossip is read with, each sealed under the keyring.
	Keys [][]byte `cbor:"1,keyasint"`
	// Primary is the position of the key that gossip is written with.
	Primary int `cbor:"2,keyasint"`
}

func (*GossipKeys) appendID(dst []byte) []byte { return append(dst, gossipKeysID...) }

// maxGossipKeys bounds the keys of gossip at one time.
const maxGossipKeys = 8

func (g *GossipKeys) check() error {
	if len(g.Keys) == 0 || len(g.Keys) > maxGossipKeys || g.Primary < 0 || g.Primary >= len(g.Keys) {
		return errors.New("gossip without a primary key")
	}
	if slices.ContainsFunc(g.Keys, func(k []byte) bool { return len(k) == 0 }) {
		return errors.New("an empty gossip key")
	}
	return nil
}

// SetAuthority replaces the record of authorities: one step of a rotation. The
// proposer read the record before, and the command's preconditions hold it to
// that.
type SetAuthority struct {
	Authority Authority `cbor:"1,keyasint"`
}

func (SetAuthority) command() (Type, uint8) { return TypeSetAuthority, 1 }

func (c SetAuthority) check() error {
	if c.Authority.ModIndex != 0 {
		return errors.New("an authority that has an index")
	}
	return c.Authority.check()
}

func setAuthority(t *txn, c *SetAuthority) (*kms.Error, error) {
	t.put(tableAuthority, &c.Authority)
	return nil, nil
}

// SetGossipKeys replaces the record of gossip keys, as SetAuthority does its
// own.
type SetGossipKeys struct {
	GossipKeys GossipKeys `cbor:"1,keyasint"`
}

func (SetGossipKeys) command() (Type, uint8) { return TypeSetGossipKeys, 1 }

func (c SetGossipKeys) check() error {
	if c.GossipKeys.ModIndex != 0 {
		return errors.New("gossip keys that have an index")
	}
	return c.GossipKeys.check()
}

func setGossipKeys(t *txn, c *SetGossipKeys) (*kms.Error, error) {
	t.put(tableGossipKeys, &c.GossipKeys)
	return nil, nil
}

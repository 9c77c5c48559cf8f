package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/apitls"
)

// What the keyring binds to the keys of authorities and of gossip.
const (
	purposeAuthority    = "kmsd/ca/v1"
	purposeAPIAuthority = "kmsd/api-ca/v1"
	purposeGossip       = "kmsd/gossip/v1"
	gossipKeySize       = 32 // bytes: AES-256
)

// sealAuthority makes the record of an authority for nodes.
func sealAuthority(k *kmscrypto.Keyring, a *trust.Authority) (fsm.AuthorityKey, error) {
	key, err := a.MarshalKey()
	if err != nil {
		return fsm.AuthorityKey{}, err
	}
	defer kmscrypto.Wipe(key)
	sealed, err := k.Seal(purposeAuthority, k.ClusterID(), key)
	return fsm.AuthorityKey{Cert: a.Certificate(), SealedKey: sealed}, err
}

// openAuthority opens what sealAuthority made.
func openAuthority(k *kmscrypto.Keyring, rec *fsm.AuthorityKey) (*trust.Authority, error) {
	key, err := k.Open(purposeAuthority, k.ClusterID(), rec.SealedKey)
	if err != nil {
		return nil, fmt.Errorf("opening the key of the cluster's authority: %w", err)
	}
	defer kmscrypto.Wipe(key)
	return trust.LoadAuthority(k.ClusterID(), rec.Cert, key)
}

// newAPIAuthority makes the authority for the certificates of API listeners.
func newAPIAuthority(k *kmscrypto.Keyring, now time.Time) (fsm.AuthorityKey, error) {
	a, err := apitls.NewAuthority(k.ClusterID(), now)
	if err != nil {
		return fsm.AuthorityKey{}, err
	}
	key, err := a.MarshalKey()
	if err != nil {
		return fsm.AuthorityKey{}, err
	}
	defer kmscrypto.Wipe(key)
	sealed, err := k.Seal(purposeAPIAuthority, k.ClusterID(), key)
	return fsm.AuthorityKey{Cert: a.Certificate(), SealedKey: sealed}, err
}

// errNoAuthority is returned while the applied state has no authority.
var errNoAuthority = errors.New("the cluster's authorities are not known yet")

// APIAuthority returns the authority that issues certificates for API listeners
// without one of their own, from the applied state.
func (n *Node) APIAuthority() (*apitls.Authority, error) {
	rec := n.machine.View().Authority()
	if rec == nil {
		return nil, errNoAuthority
	}
	key, err := n.keyring.Open(purposeAPIAuthority, n.clusterID, rec.API.SealedKey)
	if err != nil {
		return nil, fmt.Errorf("opening the key of the API's authority: %w", err)
	}
	defer kmscrypto.Wipe(key)
	return apitls.ParseAuthority(rec.API.Cert, key)
}

// APICertificate returns the certificate of that authority in DER, for clients.
func (n *Node) APICertificate() ([]byte, error) {
	rec := n.machine.View().Authority()
	if rec == nil {
		return nil, errNoAuthority
	}
	return rec.API.Cert, nil
}

// newGossipKey returns a random key, sealed.
func newGossipKey(k *kmscrypto.Keyring) ([]byte, error) {
	key := kmscrypto.Random(gossipKeySize)
	defer kmscrypto.Wipe(key)
	return k.Seal(purposeGossip, k.ClusterID(), key)
}

package apitls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// An AuthorityFunc finds the API authority of the applied state: its certificate,
// DER, and how to open its private key, PKCS #8, which belongs to the caller and
// is wiped after use. It fails while the node's state has none. It is called at
// each tick and must be cheap; the key is opened only to sign.
type AuthorityFunc func() (cert []byte, openKey func() ([]byte, error), err error)

// FromAuthority returns a Source that issues a certificate for hosts under the
// cluster's API authority, and another one at half of its life, when the authority
// is replaced, and when the clock was set back before it. A node whose state has
// no authority yet gets its certificate from Run, as soon as there is one; until
// then handshakes fail. It fails when hosts is empty.
func FromAuthority(cfg Config, authority AuthorityFunc, hosts Hosts) (*Source, error) {
	if authority == nil || hosts.empty() {
		return nil, errors.New("the API's certificate needs an authority and a name or address: set --api-name, or tls.cert and tls.key")
	}
	s, err := newSource(cfg, &issued{authority: authority, hosts: hosts})
	if err != nil {
		return nil, err
	}
	s.check()
	return s, nil
}

// issued makes certificates under an authority.
type issued struct {
	authority AuthorityFunc
	hosts     Hosts

	leaf   *x509.Certificate // the one in use
	issuer []byte            // the authority's certificate that signed it
}

func (i *issued) next(now time.Time, force bool) (*tls.Certificate, error) {
	cert, openKey, err := i.authority()
	if err != nil {
		return nil, fmt.Errorf("finding the API authority: %w", err)
	}
	if !force && i.leaf != nil && bytes.Equal(cert, i.issuer) && !due(i.leaf, now) {
		return nil, nil
	}
	key, err := openKey()
	if err != nil {
		return nil, fmt.Errorf("opening the API authority's key: %w", err)
	}
	defer clear(key)
	a, err := ParseAuthority(cert, key)
	if err != nil {
		return nil, err
	}
	pair, err := a.Issue(i.hosts, now)
	if err != nil {
		return nil, err
	}
	i.leaf, i.issuer = pair.Leaf, a.Certificate()
	return pair, nil
}

// due tells whether half of a certificate's life is over, or it has not begun.
func due(c *x509.Certificate, now time.Time) bool {
	return now.Before(c.NotBefore) || !now.Before(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore)/2))
}

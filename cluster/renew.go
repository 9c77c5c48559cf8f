package cluster

import (
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/durable"
	"github.com/kmsd/kmsd/kms"
)

// renewEvery is how often a node looks whether its certificate is to be renewed. It
// also looks when the authorities change.
const renewEvery = time.Hour

// renew keeps the node's certificate valid, issued by the current authority, and
// its key the one that the state names.
func (n *Node) renew() {
	select {
	case <-n.caught:
	case <-n.ctx.Done():
		return
	}
	for n.ctx.Err() == nil {
		seen := n.trusts.Load()
		wait := n.cfg.hooks.renew
		if err := n.renewIfDue(n.ctx); err != nil && n.ctx.Err() == nil {
			n.log.Warn("renewing the node's certificate", "err", err)
			wait = retryPause
		}
		ctx, cancel := context.WithTimeout(n.ctx, wait)
		_ = n.trusts.Wait(ctx, seen+1)
		cancel()
	}
}

// renewIfDue first tells the cluster of a certificate that it does not know to be
// in use, and then makes another one if it is time.
func (n *Node) renewIfDue(ctx context.Context) error {
	view := n.machine.View()
	rec, ok := view.Node(n.id)
	authority := view.Authority()
	if !ok || authority == nil {
		return nil
	}
	creds := n.creds.Load()
	if spki := creds.Identity().SPKI; spki != rec.SPKI || creds.Issuer() != rec.CertIssuer {
		if err := n.confirm(ctx, creds); err != nil {
			return err
		}
	}
	current, err := trust.CertificateSPKI(authority.Current.Cert)
	if err != nil {
		return err
	}
	if creds.Issuer() == current && n.clock.Wall().Before(renewalTime(creds)) || !creds.Trusts(current) {
		return nil
	}
	return n.renewNow(ctx, !n.clock.Wall().Before(partOfLife(creds, lastRenewal)))
}

// Certificates are renewed between these parts of their lives. After the latter,
// members that are away are waited for no more.
const (
	firstRenewal = 0.5
	lastRenewal  = 0.8
)

// renewalTime is between 50 and 80 % of the certificate's life, at random but fixed
// for each certificate: members that were made together do not renew together.
func renewalTime(c *trust.Credentials) time.Time {
	spki := c.Identity().SPKI
	return partOfLife(c, firstRenewal+(lastRenewal-firstRenewal)*float64(binary.BigEndian.Uint32(spki[:]))/(1<<32))
}

func partOfLife(c *trust.Credentials, share float64) time.Time {
	life := c.NotAfter().Sub(c.NotBefore())
	return c.NotBefore().Add(time.Duration(share * float64(life)))
}

// renewNow gets a certificate for a new key. The order keeps a crash harmless: the
// state, and each member's own memory, accept the new key before the certificate exists, the key is on the disk
// before the certificate, and the old key is dropped from the state last.
func (n *Node) renewNow(ctx context.Context, urgent bool) error {
	key, err := trust.NewKey()
	if err != nil {
		return err
	}
	csr, err := trust.NewRequest(key)
	if err != nil {
		return err
	}
	cert, err := n.ask(ctx, kindRenew, encodeCBOR(renewRequest{NodeID: n.id, CSR: csr, Urgent: urgent}))
	if err != nil {
		return fmt.Errorf("asking the leader for a certificate: %w", err)
	}
	creds, err := n.install(key, cert)
	if err != nil {
		return err
	}
	n.log.Info("renewed the node's certificate", "not_after", creds.NotAfter())
	return n.confirm(ctx, creds)
}

// install makes this node use a certificate and its key, durably.
func (n *Node) install(key *ecdsa.PrivateKey, cert []byte) (*trust.Credentials, error) {
	n.identity.Lock()
	defer n.identity.Unlock()
	bundle, err := n.dir.read(fileAuthority)
	if err != nil {
		return nil, err
	}
	creds, err := trust.NewCredentials(cert, key, bundle)
	if err != nil {
		return nil, err
	}
	if err := n.dir.writeKey(fileNextKey, n.id, key, n.root); err != nil {
		return nil, err
	}
	if err := n.dir.write(fileCert, cert); err != nil {
		return nil, err
	}
	if err := durable.Rename(n.dir.path(fileNextKey), n.dir.path(fileKey)); err != nil {
		return nil, err
	}
	n.creds.Store(creds)
	return creds, nil
}

// confirm tells the cluster which key and authority this node's certificate is of.
func (n *Node) confirm(ctx context.Context, c *trust.Credentials) error {
	_, err := n.ask(ctx, kindRenewed, encodeCBOR(renewedRequest{NodeID: n.id, SPKI: c.Identity().SPKI, Issuer: c.Issuer()}))
	if err != nil {
		return fmt.Errorf("telling the leader of the certificate in use: %w", err)
	}
	return nil
}

type renewRequest struct {
	NodeID string `cbor:"1,keyasint"`
	CSR    []byte `cbor:"2,keyasint"`
	// Urgent tells that the certificate ends before long.
	Urgent bool `cbor:"3,keyasint,omitempty"`
}

type renewedRequest struct {
	NodeID string   `cbor:"1,keyasint"`
	SPKI   [32]byte `cbor:"2,keyasint"`
	Issuer [32]byte `cbor:"3,keyasint"`
}

// leadRenew announces a member's next key and issues the certificate for it.
func (l *leadership) leadRenew(ctx context.Context, from string, body []byte) ([]byte, uint64, error) {
	var r renewRequest
	if err := decodeCBOR(body, &r); err != nil || r.NodeID != from {
		return nil, 0, errRequest
	}
	public, spki, err := trust.CheckRequest(r.CSR)
	if err != nil {
		return nil, 0, err
	}
	if !r.Urgent && !l.complete() {
		return nil, 0, fmt.Errorf("%w: a voter is away and would not recognise the new key", kms.ErrUnavailable)
	}
	l.members.Lock() // the authority stays the same
	defer l.members.Unlock()
	authority, err := l.issuer()
	if err != nil {
		return nil, 0, err
	}
	index, err := l.n.decide(ctx, &fsm.NodeRenew{ID: r.NodeID, NextSPKI: spki}, nil)
	if err != nil {
		return nil, 0, err
	}
	if err := l.awaitRemembered(ctx, index, r.Urgent); err != nil {
		return nil, 0, err
	}
	now, err := l.certificateTime()
	if err != nil {
		return nil, 0, err
	}
	cert, err := authority.Issue(r.NodeID, public, now)
	return cert, index, err
}

// complete tells whether all voters answer.
func (l *leadership) complete() bool {
	now := l.n.clock.Boot()
	for _, m := range l.known() {
		if m.Voter && !(m.Any && m.Waited && now-m.Heard < healthyFor) {
			return false
		}
	}
	return true
}

// awaitRemembered waits until every voter, and every other member that answers, has
// written down who the members are at index. Should all of them lose power when one has
// a new key, they must recognise each other: without a leader there is no state to look
// it up in. Where it is urgent, voters that are away are not waited for, but for a
// majority: they ask the others when they come back.
func (l *leadership) awaitRemembered(ctx context.Context, index uint64, urgent bool) error {
	for !l.isRemembered(index, urgent) {
		if !sleep(ctx, adoptPause) {
			return kms.ErrUnavailable
		}
	}
	return nil
}

func (l *leadership) isRemembered(index uint64, urgent bool) bool {
	if l.n.remembers.Load() < index {
		return false
	}
	voters, knowing, now := 1, 1, l.n.clock.Boot()
	for _, m := range l.known() {
		knows := m.Last.Remembers >= index
		if m.Voter {
			voters++
			if knows {
				knowing++
			}
		}
		if !knows && (m.Voter && !urgent || m.Waited && now-m.Heard < healthyFor) {
			return false
		}
	}
	return 2*knowing > voters
}

// leadRenewed writes down which key a member uses.
func (l *leadership) leadRenewed(ctx context.Context, from string, body []byte) ([]byte, uint64, error) {
	var r renewedRequest
	if err := decodeCBOR(body, &r); err != nil || r.NodeID != from {
		return nil, 0, errRequest
	}
	index, err := l.n.decide(ctx, &fsm.NodeRenewed{ID: r.NodeID, SPKI: r.SPKI, CertIssuer: r.Issuer}, nil)
	return nil, index, err
}

// issuer opens the authority that issues certificates now.
func (l *leadership) issuer() (*trust.Authority, error) {
	rec := l.n.machine.View().Authority()
	if rec == nil {
		return nil, errNoAuthority
	}
	return openAuthority(l.n.keyring, &rec.Current)
}

package gossip_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster/gossip"
	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/internal/testport"
)

// A directory is what the state and the operators know: whose key is a member's,
// and who should be where.
type directory struct {
	t         *testing.T
	authority *trust.Authority

	mu      sync.Mutex
	members map[string][32]byte
	at      map[string]string // address to node ID
}

func newDirectory(t *testing.T) *directory {
	a, err := trust.NewAuthority(clusterA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &directory{t: t, authority: a, members: map[string][32]byte{}, at: map[string]string{}}
}

func (d *directory) accept(id string, spki [32]byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.members[id] == spki
}

func (d *directory) credentials(id string) *trust.Credentials {
	d.t.Helper()
	k, err := trust.NewKey()
	if err != nil {
		d.t.Fatal(err)
	}
	cert, err := d.authority.Issue(id, &k.PublicKey, time.Now())
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := trust.NewCredentials(cert, k, trust.EncodeBundle([][]byte{d.authority.Certificate()}))
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// start runs a node whose streams are over the cluster's handshake.
func (d *directory) start(id string, member bool) *node {
	d.t.Helper()
	creds := d.credentials(id)
	p := openPort(d.t, testport.Addr(d.t), func(raw net.Conn) (net.Conn, error) {
		c := tls.Server(raw, creds.Server(d.accept, nil, trust.ProtocolGossip))
		return c, c.HandshakeContext(d.t.Context())
	})
	d.mu.Lock()
	d.at[p.addr] = id
	if member {
		d.members[id] = creds.Identity().SPKI
	}
	d.mu.Unlock()
	return startOn(d.t, p, id, func(c *gossip.Config) {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.dial(ctx, creds, addr) }
	})
}

func (d *directory) dial(ctx context.Context, creds *trust.Credentials, addr string) (net.Conn, error) {
	d.mu.Lock()
	id, ok := d.at[addr]
	d.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("nobody is at %s", addr)
	}
	return (&tls.Dialer{Config: creds.Client(trust.ProtocolGossip, id, d.accept, nil)}).DialContext(ctx, "tcp", addr)
}

func TestStreamsAreOfMembers(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	a, b, c := d.start(node1, true), d.start(node2, true), d.start(node3, true)
	b.join(t, a)
	c.join(t, a)
	for _, n := range []*node{a, b, c} {
		await(t, "all know each other", func() bool { return n.sees(node1) && n.sees(node2) && n.sees(node3) })
	}
	if got := a.metric(t, "kmsd_gossip_streams_total", "accepted"); got < 2 {
		t.Errorf("%v streams accepted, want at least 2", got)
	}
}

// A node that has the gossip key and a certificate, but does not stand in the
// state, cannot exchange states with anyone.
func TestKeyAloneOpensNoStream(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	a, removed := d.start(node1, true), d.start(node3, false)
	if n, err := removed.Join([]string{a.addr}); n != 0 || err == nil {
		t.Errorf("Join = %d, %v; want a refusal", n, err)
	}
	if n, err := a.Join([]string{removed.addr}); n != 0 || err == nil {
		t.Errorf("Join of the removed node = %d, %v; want a refusal", n, err)
	}
	if _, known := removed.Alive(node1); known {
		t.Error("the removed node learned of a member")
	}
}

package trust_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
)

const (
	clusterA = "11111111-1111-4111-8111-111111111111"
	clusterB = "22222222-2222-4222-8222-222222222222"
	node1    = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa1"
	node2    = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa2"
	node3    = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa3"
)

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func authority(t *testing.T, clusterID string) *trust.Authority {
	t.Helper()
	a, err := trust.NewAuthority(clusterID, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func bundle(authorities ...*trust.Authority) []byte {
	var certs [][]byte
	for _, a := range authorities {
		certs = append(certs, a.Certificate())
	}
	return trust.EncodeBundle(certs)
}

// credentials issues a certificate by signer and trusts the authority root.
func credentials(t *testing.T, signer, root *trust.Authority, nodeID string) *trust.Credentials {
	t.Helper()
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := signer.Issue(nodeID, &key.PublicKey, epoch)
	if err != nil {
		t.Fatal(err)
	}
	c, err := trust.NewCredentials(cert, key, bundle(root))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// handshake connects the two sides over a loopback socket and exchanges a byte,
// because with TLS 1.3 the client learns of the server's refusal only then.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		tc := tls.Server(c, server)
		if err := tc.Handshake(); err != nil {
			done <- err
			return
		}
		_, err = tc.Write([]byte{1})
		done <- err
	}()
	d := tls.Dialer{Config: client}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, clientErr := d.DialContext(ctx, "tcp", l.Addr().String())
	if clientErr == nil {
		defer c.Close()
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	}
	return <-done, clientErr
}

func always(string, [32]byte) bool { return true }
func now() time.Time               { return epoch }

func TestHandshake(t *testing.T) {
	t.Parallel()
	a, b := authority(t, clusterA), authority(t, clusterB)
	impostor := authority(t, clusterA) // same cluster ID, another key
	c1, c2 := credentials(t, a, a, node1), credentials(t, a, a, node2)
	only := func(want trust.Identity) trust.Accept {
		return func(id string, spki [32]byte) bool { return id == want.NodeID && spki == want.SPKI }
	}
	good := func() *tls.Config {
		return c1.Server(only(c2.Identity()), now, trust.ProtocolRaft, trust.ProtocolRPC)
	}
	old := c2.Client(trust.ProtocolRPC, node1, always, now)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	mute := c2.Client(trust.ProtocolRPC, node1, always, now)
	mute.NextProtos, mute.VerifyConnection = nil, nil
	anonymous := c2.Client(trust.ProtocolRPC, node1, always, now)
	anonymous.Certificates = nil
	late := func() time.Time { return epoch.Add(trust.NodeLife + time.Second) }
	early := func() time.Time { return epoch.Add(-2 * time.Hour) }

	for _, tt := range []struct {
		name           string
		server, client *tls.Config
		refusedBy      string // "" for success
	}{
		{"members", good(), c2.Client(trust.ProtocolRPC, node1, only(c1.Identity()), now), ""},
		{"members, raft", good(), c2.Client(trust.ProtocolRaft, node1, only(c1.Identity()), now), ""},
		{"dialled node is another one", good(), c2.Client(trust.ProtocolRPC, node3, always, now), "client"},
		{"client of another authority", good(), credentials(t, impostor, impostor, node2).Client(trust.ProtocolRPC, node1, always, now), "both"},
		{"server of another authority", credentials(t, impostor, impostor, node1).Server(always, now, trust.ProtocolRPC), c2.Client(trust.ProtocolRPC, node1, always, now), "client"},
		{"client of another cluster", good(), credentials(t, b, b, node2).Client(trust.ProtocolRPC, node1, always, now), "both"},
		{"another cluster under the same authority", good(), foreign(t, a, node2).Client(trust.ProtocolRPC, node1, always, now), "server"},
		{"unknown node", good(), credentials(t, a, a, node3).Client(trust.ProtocolRPC, node1, always, now), "server"},
		{"known node, another key", good(), credentials(t, a, a, node2).Client(trust.ProtocolRPC, node1, always, now), "server"},
		{"server's key is another", good(), c2.Client(trust.ProtocolRPC, node1, only(credentials(t, a, a, node1).Identity()), now), "client"},
		{"protocol that nobody serves", good(), c2.Client("kmsd-rpc/2", node1, always, now), "both"},
		{"no protocol", good(), mute, "server"},
		{"TLS 1.2", good(), old, "both"},
		{"no certificate", good(), anonymous, "server"},
		{"expired, a member's key", c1.Server(only(c2.Identity()), late, trust.ProtocolRPC), c2.Client(trust.ProtocolRPC, node1, only(c1.Identity()), late), ""},
		{"expired, no member's key any more", c1.Server(only(c1.Identity()), late, trust.ProtocolRPC), c2.Client(trust.ProtocolRPC, node1, always, late), "server"},
		{"not yet valid", good(), c2.Client(trust.ProtocolRPC, node1, always, early), "client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			serverErr, clientErr := handshake(t, tt.server, tt.client)
			if tt.refusedBy == "" {
				if serverErr != nil || clientErr != nil {
					t.Fatalf("server: %v, client: %v; want success", serverErr, clientErr)
				}
				return
			}
			if clientErr == nil {
				t.Error("the client got through")
			}
			if serverErr == nil && tt.refusedBy != "client" {
				t.Error("the server let the client through")
			}
			if tt.refusedBy == "client" && !errors.Is(clientErr, trust.ErrRefused) {
				t.Errorf("client: %v, want ErrRefused", clientErr)
			}
		})
	}
}

// foreign makes credentials whose certificate names another cluster although the
// authority's key signed it.
func foreign(t *testing.T, a *trust.Authority, nodeID string) *trust.Credentials {
	t.Helper()
	key, err := a.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := trust.LoadAuthority(clusterB, a.Certificate(), key)
	if err != nil {
		t.Fatal(err)
	}
	return credentials(t, other, a, nodeID)
}

func TestPeerNamesTheOtherSide(t *testing.T) {
	t.Parallel()
	a := authority(t, clusterA)
	c1, c2 := credentials(t, a, a, node1), credentials(t, a, a, node2)
	var got trust.Identity
	client := c2.Client(trust.ProtocolRaft, node1, always, now)
	verify := client.VerifyConnection
	client.VerifyConnection = func(cs tls.ConnectionState) (err error) {
		if got, err = trust.Peer(cs); err != nil {
			return err
		}
		return verify(cs)
	}
	if s, c := handshake(t, c1.Server(always, now, trust.ProtocolRaft), client); s != nil || c != nil {
		t.Fatal(s, c)
	}
	if got != c1.Identity() || got.NodeID != node1 || got.ClusterID != clusterA {
		t.Errorf("peer = %+v, want %+v", got, c1.Identity())
	}
}

func TestSPKISurvivesRenewal(t *testing.T) {
	t.Parallel()
	a := authority(t, clusterA)
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	var got [2]trust.Identity
	for i := range got {
		cert, err := a.Issue(node1, &key.PublicKey, epoch.Add(time.Duration(i)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		c, err := trust.NewCredentials(cert, key, bundle(a))
		if err != nil {
			t.Fatal(err)
		}
		got[i] = c.Identity()
		if want := epoch.Add(time.Duration(i)*time.Hour + trust.NodeLife); !c.NotAfter().Equal(want) {
			t.Errorf("not after = %v, want %v", c.NotAfter(), want)
		}
	}
	if got[0] != got[1] {
		t.Errorf("identities %v and %v, want the same", got[0], got[1])
	}
}

func TestIssueRefusesWhatIsNoNode(t *testing.T) {
	t.Parallel()
	a := authority(t, clusterA)
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "node1", node1 + "/x", strings.ToUpper(node1), "../" + node1} {
		if _, err := a.Issue(id, &key.PublicKey, epoch); !errors.Is(err, trust.ErrIdentity) {
			t.Errorf("Issue(%q): %v, want ErrIdentity", id, err)
		}
	}
}

func TestNewCredentialsRefusesMismatches(t *testing.T) {
	t.Parallel()
	a, other := authority(t, clusterA), authority(t, clusterA)
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Issue(node1, &key.PublicKey, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.NewCredentials(cert, stranger, bundle(a)); err == nil {
		t.Error("another key was accepted")
	}
	if _, err := trust.NewCredentials(cert, key, bundle(other)); err == nil {
		t.Error("another authority was accepted")
	}
	if _, err := trust.NewCredentials(append(cert, cert...), key, bundle(a)); err == nil {
		t.Error("two certificates were accepted")
	}
}

func TestKeysRoundTrip(t *testing.T) {
	t.Parallel()
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := trust.MarshalKey(key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := trust.ParseKey(der)
	if err != nil || !got.Equal(key) {
		t.Errorf("ParseKey: %v, equal %v", err, got.Equal(key))
	}
	if _, err := trust.ParseKey(der[:len(der)-1]); err == nil {
		t.Error("a truncated key was accepted")
	}
}

package trust_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/cluster/trust"
)

func TestTokenText(t *testing.T) {
	t.Parallel()
	pin := [32]byte{1, 2, 3}
	token := trust.NewToken(pin)
	text := token.Text()
	parts := strings.Split(text, ".")
	if len(parts) != 4 || parts[0] != "kmsd1" || len(parts[1]) != 52 || len(parts[3]) != 52 || strings.ToLower(text) != text {
		t.Errorf("token of an unexpected form: %d parts", len(parts))
	}
	got, err := trust.ParseToken(text)
	if err != nil || got.Pin != pin || got.ID != token.ID || got.PublicKey() != token.PublicKey() || got.Text() != text {
		t.Errorf("ParseToken(Text()): %v", err)
	}
	if other := trust.NewToken(pin); other.ID == token.ID || other.PublicKey() == token.PublicKey() {
		t.Error("two tokens are alike")
	}
	for _, shown := range []string{fmt.Sprint(token), fmt.Sprintf("%v %+v %#v %s", token, token, token, token)} {
		if strings.Contains(shown, parts[3]) {
			t.Error("formatting a token shows its secret")
		}
	}
}

func TestParseTokenIsStrict(t *testing.T) {
	t.Parallel()
	good := trust.NewToken([32]byte{9}).Text()
	p := strings.Split(good, ".")
	last := good[:len(good)-1]
	for _, text := range []string{
		"", "kmsd1", last, good + "a", " " + good, good + "\n", strings.ToUpper(good), "kmsd2" + good[5:],
		p[0] + ".." + p[2] + "." + p[3], p[0] + "." + p[1] + "." + p[2], strings.Join(append(p, "x"), "."),
		p[0] + "." + p[1] + "." + p[2][1:] + "." + p[3], p[0] + "." + p[1] + ".!!!!!!!!!!!!!!!!." + p[3],
		last + "b", last + "1", // the last character has four unused bits
	} {
		if _, err := trust.ParseToken(text); text != good && !errors.Is(err, trust.ErrToken) {
			t.Errorf("a token changed in %d characters: %v, want ErrToken", len(text)-len(good), err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(trust.NewToken([32]byte{}).Text())
	f.Add("kmsd1...")
	f.Fuzz(func(t *testing.T, text string) {
		if token, err := trust.ParseToken(text); err == nil && token.Text() != text {
			t.Error("what parses has another text")
		}
	})
}

// A meeting is the two ends of one kmsd-join/1 connection.
type meeting struct{ server, client tls.ConnectionState }

func meet(t *testing.T, c *trust.Credentials, client *tls.Config) (m meeting, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer raw.Close()
		tc := tls.Server(raw, c.Listen(always, now, trust.ProtocolRaft, trust.ProtocolRPC))
		if err = tc.Handshake(); err == nil {
			m.server = tc.ConnectionState()
			_, err = tc.Write([]byte{1})
		}
		done <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	tc := tls.Client(raw, client)
	if err = tc.Handshake(); err == nil {
		m.client = tc.ConnectionState()
		_, err = io.ReadFull(tc, make([]byte, 1)) // TLS 1.3 tells the client of a refusal only now
	}
	raw.Close()
	return m, errors.Join(err, <-done)
}

func TestJoinHandshake(t *testing.T) {
	t.Parallel()
	a, b := authority(t, clusterA), authority(t, clusterB)
	c := credentials(t, a, a, node1)
	var got trust.Identity
	m, err := meet(t, c, trust.JoinClient(a.SPKI(), func(i trust.Identity) { got = i }, now))
	if err != nil || got != c.Identity() {
		t.Fatalf("joining: %v, found %+v", err, got)
	}
	if m.client.NegotiatedProtocol != trust.ProtocolJoin {
		t.Errorf("protocol %q", m.client.NegotiatedProtocol)
	}
	for name, client := range map[string]*tls.Config{
		"the pin of another authority": trust.JoinClient(b.SPKI(), nil, now),
		"no pin":                       trust.JoinClient([32]byte{}, nil, now),
	} {
		if _, err := meet(t, c, client); !errors.Is(err, trust.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
		}
	}
	// A member cannot smuggle a member's protocol through, nor a stranger reach one.
	mixed := trust.JoinClient(a.SPKI(), nil, now)
	mixed.NextProtos = []string{trust.ProtocolJoin, trust.ProtocolRPC}
	if _, err := meet(t, c, mixed); err == nil {
		t.Error("a stranger got through with two protocols")
	}
	anonymous := trust.AskClient(now)
	anonymous.NextProtos = []string{trust.ProtocolRPC}
	if _, err := meet(t, c, anonymous); err == nil {
		t.Error("a stranger got through to kmsd-rpc/1")
	}
}

// A server that shows the pinned authority beside a leaf of its own is refused.
func TestJoinHandshakeChecksTheChain(t *testing.T) {
	t.Parallel()
	a, impostor := authority(t, clusterA), authority(t, clusterA)
	c := credentials(t, impostor, impostor, node1)
	server := c.JoinServer(now)
	server.Certificates[0].Certificate[1] = a.Certificate()
	if _, err := handshake(t, server, trust.JoinClient(a.SPKI(), nil, now)); !errors.Is(err, trust.ErrRefused) {
		t.Errorf("%v, want ErrRefused", err)
	}
}

func TestProofs(t *testing.T) {
	t.Parallel()
	a := authority(t, clusterA)
	c := credentials(t, a, a, node1)
	connect := func() meeting {
		m, err := meet(t, c, trust.JoinClient(a.SPKI(), nil, now))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m, other := connect(), connect()
	token, stranger := trust.NewToken(a.SPKI()), trust.NewToken(a.SPKI())
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := trust.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	public, _, err := trust.CheckRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := token.Prove(m.client, csr, node2)
	if err != nil {
		t.Fatal(err)
	}
	keyProof, err := trust.ProveKey(key, m.client, csr, node2)
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte(nil), proof...)
	forged[0] ^= 1
	for _, tt := range []struct {
		name   string
		public [32]byte
		on     tls.ConnectionState
		csr    []byte
		node   string
		proof  []byte
		ok     bool
	}{
		{"good", token.PublicKey(), m.server, csr, node2, proof, true},
		{"forged", token.PublicKey(), m.server, csr, node2, forged, false},
		{"another token's", stranger.PublicKey(), m.server, csr, node2, proof, false},
		{"replayed on another connection", token.PublicKey(), other.server, csr, node2, proof, false},
		{"another request", token.PublicKey(), m.server, csr[1:], node2, proof, false},
		{"another node", token.PublicKey(), m.server, csr, node3, proof, false},
		{"the key's proof", token.PublicKey(), m.server, csr, node2, keyProof, false},
		{"none", token.PublicKey(), m.server, csr, node2, nil, false},
	} {
		if err := trust.VerifyProof(tt.public, tt.on, tt.csr, tt.node, tt.proof); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := trust.VerifyKey(public, m.server, csr, node2, keyProof); err != nil {
		t.Errorf("the key's proof: %v", err)
	}
	if err := trust.VerifyKey(public, other.server, csr, node2, keyProof); !errors.Is(err, trust.ErrProof) {
		t.Errorf("the key's proof on another connection: %v, want ErrProof", err)
	}
}

func TestCheckRequestRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := trust.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := append([]byte(nil), csr...)
	unsigned[len(unsigned)-1] ^= 1
	for name, der := range map[string][]byte{"nothing": nil, "truncated": csr[:len(csr)-1], "signed by nobody": unsigned, "huge": make([]byte, 1<<20)} {
		if _, _, err := trust.CheckRequest(der); !errors.Is(err, trust.ErrRequest) {
			t.Errorf("%s: %v, want ErrRequest", name, err)
		}
	}
}

func TestRemovalStatement(t *testing.T) {
	t.Parallel()
	a, next, stranger := authority(t, clusterA), authority(t, clusterA), authority(t, clusterA)
	c, err := credentials(t, a, a, node1).WithAuthorities(bundle(a, next))
	if err != nil {
		t.Fatal(err)
	}
	statement := func(a *trust.Authority, nodeID string) []byte {
		s, err := a.SignRemoval(nodeID)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, s := range map[string][]byte{"the authority": statement(a, node1), "a second authority": statement(next, node1)} {
		if err := c.VerifyRemoval(node1, s); err != nil {
			t.Errorf("a statement by %s: %v", name, err)
		}
	}
	elsewhere := authority(t, clusterB)
	for name, s := range map[string][]byte{
		"a stranger": statement(stranger, node1), "another cluster": statement(elsewhere, node1),
		"the authority about another node": statement(a, node2), "nobody": nil,
	} {
		if err := c.VerifyRemoval(node1, s); !errors.Is(err, trust.ErrStatement) {
			t.Errorf("a statement by %s: %v, want ErrStatement", name, err)
		}
	}
}

func TestSeveralAuthorities(t *testing.T) {
	t.Parallel()
	old, next := authority(t, clusterA), authority(t, clusterA)
	before, after := credentials(t, old, old, node1), credentials(t, next, next, node2)
	both, err := before.WithAuthorities(bundle(old, next))
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := handshake(t, before.Server(always, now, trust.ProtocolRPC), after.Client(trust.ProtocolRPC, node1, always, now)); s == nil {
		t.Error("an authority that is not trusted was accepted")
	}
	afterBoth, err := after.WithAuthorities(bundle(next, old))
	if err != nil {
		t.Fatal(err)
	}
	if s, c := handshake(t, both.Server(always, now, trust.ProtocolRPC), afterBoth.Client(trust.ProtocolRPC, node1, always, now)); s != nil || c != nil {
		t.Errorf("during the rotation: %v, %v", s, c)
	}
	if !both.Trusts(old.SPKI()) || !both.Trusts(next.SPKI()) || before.Trusts(next.SPKI()) {
		t.Error("Trusts is wrong")
	}
	if both.Issuer() != old.SPKI() || after.Issuer() != next.SPKI() {
		t.Error("Issuer is wrong")
	}
	if _, err := before.WithAuthorities(bundle(next)); err == nil {
		t.Error("dropping the issuer of one's own certificate succeeded")
	}
	if _, err := before.WithAuthorities(nil); err == nil {
		t.Error("an empty bundle was accepted")
	}
}

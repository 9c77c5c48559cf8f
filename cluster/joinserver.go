package cluster

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// The protocol kmsd-join/1: one request and one reply on a connection, each a
// message of CBOR behind its length in 4 bytes.
const (
	maxJoinFrame = 64 << 10 // bytes
	// joinTimeout bounds a connection of a stranger.
	joinTimeout = 15 * time.Second
	// joinAtOnce bounds the strangers that are answered at a time, joinRate how many
	// are in a second, and joinBurst how many of them at once after a quiet time.
	joinAtOnce = 16
	joinRate   = 10
	joinBurst  = 30
)

// joinRequest is what a node that is no member asks.
type joinRequest struct {
	// NodeID is the node that asks. Without a CSR it asks whether it was removed.
	NodeID     string `cbor:"1,keyasint"`
	TokenID    string `cbor:"2,keyasint,omitempty"`
	CSR        []byte `cbor:"3,keyasint,omitempty"`
	Proof      []byte `cbor:"4,keyasint,omitempty"` // by the token, trust.Token.Prove
	KeyProof   []byte `cbor:"5,keyasint,omitempty"` // by the node's key, trust.ProveKey
	Address    string `cbor:"6,keyasint,omitempty"`
	APIAddress string `cbor:"7,keyasint,omitempty"`
	// Version and Oldest are the highest and the lowest cluster version that the node
	// supports.
	Version uint32 `cbor:"8,keyasint,omitempty"`
	Oldest  uint32 `cbor:"10,keyasint,omitempty"`
	// Refresh asks, as a member that was away, for the members' present keys.
	Refresh bool `cbor:"9,keyasint,omitempty"`
}

// joinReply is the answer. Code is empty for success.
type joinReply struct {
	Code        string     `cbor:"1,keyasint,omitempty"` // of a kms.Error, or of the sentinels below
	Message     string     `cbor:"2,keyasint,omitempty"`
	ClusterID   string     `cbor:"3,keyasint,omitempty"`
	Certificate []byte     `cbor:"4,keyasint,omitempty"` // PEM
	Authorities [][]byte   `cbor:"5,keyasint,omitempty"` // DER, the current one first
	Peers       []joinPeer `cbor:"6,keyasint,omitempty"`
	Root        []byte     `cbor:"7,keyasint,omitempty"` // the root key
	Statement   []byte     `cbor:"8,keyasint,omitempty"` // of removal
}

type joinPeer struct {
	ID      string   `cbor:"1,keyasint"`
	SPKI    [32]byte `cbor:"2,keyasint"`
	Address string   `cbor:"3,keyasint"`
	Next    [32]byte `cbor:"4,keyasint,omitzero"`
}

// codeRetry stands for kms.ErrUnavailable in a reply: another attempt may succeed.
const codeRetry = "retry"

func writeJoin(w io.Writer, v any) error {
	body := encodeCBOR(v)
	defer kmscrypto.Wipe(body)
	if len(body) > maxJoinFrame {
		return errFrame
	}
	frame := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))), body...)
	defer kmscrypto.Wipe(frame)
	_, err := w.Write(frame)
	return err
}

func readJoin(r io.Reader, into any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return shortRead(err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > maxJoinFrame {
		return errFrame
	}
	body := make([]byte, size)
	defer kmscrypto.Wipe(body)
	if _, err := io.ReadFull(r, body); err != nil {
		return shortRead(err)
	}
	return decodeCBOR(body, into)
}

// A limiter lets strangers in at a rate, and a few at once.
type limiter struct {
	slots chan struct{}
	mu    sync.Mutex
	left  float64       // guarded by mu
	at    time.Duration // guarded by mu
}

func newLimiter() *limiter { return &limiter{slots: make(chan struct{}, joinAtOnce), left: joinBurst} }

// enter returns what to call at the end, or false for who comes too often.
func (l *limiter) enter(now time.Duration) (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = min(joinBurst, l.left+joinRate*max(0, now-l.at).Seconds())
	l.at = now
	if l.left < 1 {
		return nil, false
	}
	select {
	case l.slots <- struct{}{}:
		l.left--
		return func() { <-l.slots }, true
	default:
		return nil, false
	}
}

// serveJoin answers one stranger.
func (n *Node) serveJoin(c *tls.Conn) {
	leave, ok := n.strangers.enter(n.clock.Boot())
	if !ok {
		return // it tries again
	}
	defer leave()
	ctx, cancel := context.WithTimeout(n.ctx, joinTimeout)
	defer cancel()
	_ = c.SetDeadline(time.Now().Add(joinTimeout)) // fails only on a closed connection
	var r joinRequest
	if err := readJoin(c, &r); err != nil {
		n.log.Warn("a node that is no member sent no request", "remote", c.RemoteAddr().String(), "err", err)
		return
	}
	reply := n.answerJoin(ctx, c, &r)
	defer kmscrypto.Wipe(reply.Root)
	if err := writeJoin(c, reply); err != nil {
		n.log.Warn("answering a node that is no member", "remote", c.RemoteAddr().String(), "err", err)
	}
	joinAnswered.Hit("")
}

func (n *Node) answerJoin(ctx context.Context, c *tls.Conn, r *joinRequest) *joinReply {
	if len(r.CSR) == 0 {
		return n.answerRemoval(r.NodeID)
	}
	if r.Refresh {
		return n.answerRefresh(ctx, c, r)
	}
	reply, err := n.admit(ctx, c, r)
	var known *kms.Error
	switch {
	case err == nil:
		n.log.Info("a node was admitted", "node", r.NodeID, "remote", c.RemoteAddr().String(), "token", r.TokenID)
		return reply
	case errors.As(err, &known):
		n.log.Warn("a node was refused", "node", r.NodeID, "remote", c.RemoteAddr().String(), "token", r.TokenID, "err", err)
		return &joinReply{Code: known.Code, Message: known.Message}
	default:
		n.log.Warn("a node could not be admitted now", "node", r.NodeID, "remote", c.RemoteAddr().String(), "err", err)
		return &joinReply{Code: codeRetry, Message: "The cluster cannot admit nodes at the moment."}
	}
}

// answerRemoval says whether this node knows that a node was removed.
func (n *Node) answerRemoval(nodeID string) *joinReply {
	if r, ok := n.machine.View().Removed(nodeID); ok {
		return &joinReply{Statement: r.Statement}
	}
	return &joinReply{}
}

// answerRefresh tells a member, which proves that it holds its key, who the members
// are now. While it was away they may all have renewed their keys, so that it would
// recognise nobody.
func (n *Node) answerRefresh(ctx context.Context, c *tls.Conn, r *joinRequest) *joinReply {
	view, err := n.View(ctx)
	if err != nil {
		return &joinReply{Code: codeRetry, Message: "The node is not up to date."}
	}
	public, spki, err := trust.CheckRequest(r.CSR)
	if err != nil || trust.VerifyKey(public, c.ConnectionState(), r.CSR, r.NodeID, r.KeyProof) != nil || !n.isMember(r.NodeID, spki) {
		return &joinReply{Code: kms.CodeAccessDenied, Message: "The node has not proved that it is a member."}
	}
	return &joinReply{ClusterID: n.clusterID, Peers: n.joinPeers(view)}
}

// refused is a refusal to admit a node, by its operator's fault.
func refused(message string) error {
	return &kms.Error{Code: kms.CodeTokenInvalid, Message: message}
}

// admit checks what only this end of the connection can, and has the leader decide
// the rest. The root key leaves this node only when the cluster has accepted the
// node's key.
func (n *Node) admit(ctx context.Context, c *tls.Conn, r *joinRequest) (*joinReply, error) {
	view, err := n.View(ctx)
	if err != nil {
		return nil, err
	}
	public, spki, err := trust.CheckRequest(r.CSR)
	if err != nil {
		return nil, refused("The certificate request is malformed.")
	}
	if trust.VerifyKey(public, c.ConnectionState(), r.CSR, r.NodeID, r.KeyProof) != nil {
		return nil, refused("The node has not proved that it holds its key.")
	}
	if rec, ok := view.Node(r.NodeID); !ok || rec.SPKI != spki {
		if err := n.checkToken(view, c, r); err != nil {
			return nil, err
		}
	}
	cert, err := n.ask(ctx, kindAdmit, encodeCBOR(admitRequest{
		TokenID: r.TokenID, CSR: r.CSR, NodeID: r.NodeID, Address: r.Address, APIAddress: r.APIAddress,
		Version: r.Version, Oldest: r.Oldest,
	}))
	if err != nil {
		return nil, err
	}
	nodeAdmitted.Hit("")
	return n.welcomeGift(cert)
}

// checkToken checks the proof by the token, and that the node comes from one of
// the token's networks. Whether the token still admits, the leader's command
// decides.
func (n *Node) checkToken(view *fsm.View, c *tls.Conn, r *joinRequest) error {
	token, ok := view.JoinToken(r.TokenID)
	if !ok {
		return refused("The join token " + fmt.Sprintf("%.64q", r.TokenID) + " is unknown to this cluster. Create another one with: kmsd token create")
	}
	if trust.VerifyProof(token.PublicKey, c.ConnectionState(), r.CSR, r.NodeID, r.Proof) != nil {
		return refused("The node has not proved that it holds the join token " + token.ID + ".")
	}
	if !within(c.RemoteAddr(), token.CIDRs) {
		return refused("The join token " + token.ID + " does not admit nodes from this address.")
	}
	return nil
}

// within tells whether an address lies in one of the networks, or there is none.
func within(addr net.Addr, cidrs []string) bool {
	if len(cidrs) == 0 {
		return true
	}
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, text := range cidrs {
		if p, err := netip.ParsePrefix(text); err == nil && p.Contains(ip) {
			return true
		}
	}
	return false
}

// welcomeGift is what makes an admitted node a member: its certificate, whom to
// trust, who the others are, and the root key.
func (n *Node) welcomeGift(cert []byte) (*joinReply, error) {
	view := n.machine.View()
	authority := view.Authority()
	if authority == nil {
		return nil, errNoAuthority
	}
	reply := &joinReply{ClusterID: n.clusterID, Certificate: cert, Authorities: authority.Trusted, Root: append([]byte(nil), n.root.Bytes()...)}
	reply.Peers = n.joinPeers(view)
	return reply, nil
}

// joinPeers lists the members for a node that cannot ask the state.
func (n *Node) joinPeers(view *fsm.View) []joinPeer {
	var out []joinPeer
	for _, r := range view.Nodes() {
		addr := r.Address
		if places := n.resolve(r.ID); addr == "" && len(places) > 0 {
			addr = places[0]
		}
		out = append(out, joinPeer{ID: r.ID, SPKI: r.SPKI, Next: r.NextSPKI, Address: addr})
	}
	return out
}

// admitRequest is what a member asks of the leader for a node whose proof it has
// checked.
type admitRequest struct {
	TokenID    string `cbor:"1,keyasint"`
	CSR        []byte `cbor:"2,keyasint"`
	NodeID     string `cbor:"3,keyasint"`
	Address    string `cbor:"4,keyasint"`
	APIAddress string `cbor:"5,keyasint"`
	Version    uint32 `cbor:"6,keyasint"`
	Oldest     uint32 `cbor:"7,keyasint,omitempty"`
}

// leadAdmit makes a node a member and hands its certificate out after that: nobody
// has a certificate whose key the state does not know.
func (l *leadership) leadAdmit(ctx context.Context, body []byte) ([]byte, uint64, error) {
	var r admitRequest
	if err := decodeCBOR(body, &r); err != nil {
		return nil, 0, err
	}
	public, spki, err := trust.CheckRequest(r.CSR)
	if err != nil {
		return nil, 0, err
	}
	l.members.Lock() // authority and cluster version stay the same
	defer l.members.Unlock()
	if current := l.n.clusterVersion(); r.Oldest > current {
		return nil, 0, &kms.Error{Code: kms.CodeConflict, Message: fmt.Sprintf(
			"The node supports no cluster version before %d, the cluster has version %d. Install an older release on the node, or a newer one on every member.", r.Oldest, current)}
	}
	authority, err := l.issuer()
	if err != nil {
		return nil, 0, err
	}
	now, err := l.certificateTime()
	if err != nil {
		return nil, 0, err
	}
	cert, err := authority.Issue(r.NodeID, public, now)
	if err != nil {
		return nil, 0, &kms.Error{Code: kms.CodeTokenInvalid, Message: "The node's ID is malformed."}
	}
	index, err := l.n.decide(ctx, &fsm.NodeAdmit{TokenID: r.TokenID, Node: fsm.NodeRecord{
		ID: r.NodeID, SPKI: spki, Address: r.Address, APIAddress: r.APIAddress, Version: r.Version, CertIssuer: authority.SPKI(),
	}}, nil)
	if err != nil {
		return nil, 0, err
	}
	nudge(l.attend)
	return cert, index, nil
}

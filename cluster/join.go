package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/internal/durable"
	"github.com/kmsd/kmsd/kms"
)

// JoinConfig says how to make a node a member of a cluster that runs.
type JoinConfig struct {
	// DataDir is the node's directory, empty or absent, or one of an earlier attempt.
	// Required.
	DataDir string
	// Seal protects the root key on the node's disk. Required.
	Seal seal.Sealer
	// Token is the text that token create gave. Required.
	Token string
	// Addrs are members' cluster addresses, host:port, tried in their order. Required.
	Addrs []string
	// Advertise is where the other members reach this node's cluster port, host:port;
	// the host may be a name. Required.
	Advertise string
	// APIAddress is where clients reach this node; empty if it is not to be shown.
	APIAddress string
	// Logger takes what happens. Required.
	Logger *slog.Logger
	// Clock is the node's time; nil for the machine's.
	Clock Clock

	versions versions // of this build, or what a test says
}

func (c *JoinConfig) validate() error {
	switch {
	case c.DataDir == "" || c.Seal == nil || c.Logger == nil:
		return errors.New("cluster: joining needs a data directory, a seal and a logger")
	case len(c.Addrs) == 0:
		return errors.New("cluster: joining needs the address of a member")
	}
	for _, addr := range append([]string{c.Advertise}, c.Addrs...) {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("cluster: %q is not host:port", addr)
		}
	}
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
	if c.versions.newest == 0 {
		c.versions = ofBuild
	}
	return nil
}

// ErrOtherCluster is returned for a directory that belongs to another cluster than
// the join token.
var ErrOtherCluster = errors.New("the directory belongs to another cluster than the join token")

// joinPause is between two attempts to find a member that can answer.
const joinPause = 500 * time.Millisecond

// JoinCluster makes the node in a directory a member: it proves to a member that it
// holds the token, and gets a certificate and the root key, which it seals and
// writes down. No node may run in the directory. Open starts it then.
//
// It can be repeated with the same directory: after a success it does nothing, and
// an attempt whose reply was lost is taken up without using the token again. It
// tries until ctx ends while nobody can answer. A refusal is a *kms.Error; the
// errors trust.ErrToken, ErrOtherCluster and ErrRemoved say that the attempt is
// hopeless.
func JoinCluster(ctx context.Context, cfg JoinConfig) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	token, err := trust.ParseToken(cfg.Token)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(cfg.DataDir); err != nil {
		return err
	}
	lock, err := durable.LockDir(cfg.DataDir)
	if err != nil {
		return err
	}
	j := &joiner{cfg: cfg, dir: dataDir(cfg.DataDir), token: token}
	return errors.Join(j.join(ctx), lock.Release())
}

// A joiner is one attempt to become a member.
type joiner struct {
	cfg    JoinConfig
	dir    dataDir
	token  *trust.Token
	nodeID string
	key    *ecdsa.PrivateKey
	csr    []byte
}

// pendingJoin is join.json: who the node wants to be. It is written before the
// cluster hears of the node and removed after node.json is written.
type pendingJoin struct {
	NodeID string `json:"nodeId"`
	Pin    string `json:"pin"` // hexadecimal; the authority that the token names
	Key    []byte `json:"key"` // the private key under the node's own seal
}

func (j *joiner) join(ctx context.Context) error {
	member, err := j.isMember()
	if err != nil || member {
		return err
	}
	if err := durable.RemoveTemporary(string(j.dir)); err != nil {
		return err
	}
	if err := j.prepare(ctx); err != nil {
		return err
	}
	reply, err := j.askAll(ctx)
	if err != nil {
		return err
	}
	defer kmscrypto.Wipe(reply.Root)
	joinAccepted.Hit("")
	if err := j.write(ctx, reply); err != nil {
		return fmt.Errorf("writing the node's directory: %w", err)
	}
	return durable.Remove(j.dir.path(filePending))
}

// isMember tells whether an earlier attempt has succeeded.
func (j *joiner) isMember() (bool, error) {
	removed, err := j.dir.has(fileRemoved)
	if err != nil || removed {
		return false, errors.Join(err, ErrRemoved)
	}
	node, err := j.dir.has(fileNode)
	if err != nil || !node {
		return false, err
	}
	bundle, err := j.dir.read(fileAuthority)
	if err != nil {
		return false, err
	}
	authorities, err := trust.ParseBundle(bundle)
	if err != nil {
		return false, err
	}
	for _, a := range authorities {
		if trust.SPKI(a) == j.token.Pin {
			return true, durable.Remove(j.dir.path(filePending))
		}
	}
	return false, ErrOtherCluster
}

// prepare takes up the earlier attempt, or begins one.
func (j *joiner) prepare(ctx context.Context) error {
	var p pendingJoin
	pending, err := j.dir.has(filePending)
	switch {
	case err != nil:
		return err
	case pending:
		if err := j.dir.readJSON(filePending, &p); err != nil {
			return err
		}
		if p.Pin != hex.EncodeToString(j.token.Pin[:]) {
			return ErrOtherCluster
		}
		if j.key, err = j.openKey(ctx, &p); err != nil {
			return err
		}
	default:
		if p, err = j.begin(ctx); err != nil {
			return err
		}
	}
	j.nodeID = p.NodeID
	j.csr, err = trust.NewRequest(j.key)
	return err
}

// begin makes the node's identity and writes it down.
func (j *joiner) begin(ctx context.Context) (p pendingJoin, err error) {
	if err := j.mustBeUnused(); err != nil {
		return p, err
	}
	if j.key, err = trust.NewKey(); err != nil {
		return p, err
	}
	p = pendingJoin{NodeID: newUUID(), Pin: hex.EncodeToString(j.token.Pin[:])}
	secret, err := j.key.Bytes() // as long as a root key
	if err != nil {
		return p, err
	}
	defer kmscrypto.Wipe(secret)
	if p.Key, err = j.cfg.Seal.Seal(ctx, secret, p.aad()); err != nil {
		return p, fmt.Errorf("sealing the node's key: %w", err)
	}
	return p, j.dir.writeJSON(filePending, p)
}

func (j *joiner) openKey(ctx context.Context, p *pendingJoin) (*ecdsa.PrivateKey, error) {
	secret, err := j.cfg.Seal.Open(ctx, p.Key, p.aad())
	if err != nil {
		return nil, fmt.Errorf("opening the node's key: %w", err)
	}
	defer kmscrypto.Wipe(secret)
	return ecdsa.ParseRawPrivateKey(elliptic.P256(), secret)
}

func (p *pendingJoin) aad() []byte { return []byte("kmsd/join-key/v1\x00" + p.NodeID + "\x00" + p.Pin) }

// mustBeUnused refuses a directory in which anything but the lock is.
func (j *joiner) mustBeUnused() error {
	entries, err := os.ReadDir(string(j.dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			return fmt.Errorf("%s is not empty, and no join was begun in it: remove it, or name another directory", string(j.dir))
		}
	}
	return nil
}

// askAll asks the members in turn until one has decided.
func (j *joiner) askAll(ctx context.Context) (*joinReply, error) {
	for {
		var last error
		for _, addr := range j.cfg.Addrs {
			reply, err := j.askOne(ctx, addr)
			var known *kms.Error
			if err == nil || errors.As(err, &known) || errors.Is(err, trust.ErrRefused) && len(j.cfg.Addrs) == 1 {
				return reply, err
			}
			last = fmt.Errorf("asking %s: %w", addr, err)
			j.cfg.Logger.Warn("joining the cluster", "address", addr, "err", err)
			if errors.Is(err, trust.ErrRefused) {
				continue
			}
		}
		if errors.Is(last, trust.ErrRefused) || !sleep(ctx, joinPause) {
			return nil, last
		}
	}
}

// askOne asks the member at an address to be admitted.
func (j *joiner) askOne(ctx context.Context, addr string) (*joinReply, error) {
	var found trust.Identity
	c, err := dialStranger(ctx, addr, trust.JoinClient(j.token.Pin, func(i trust.Identity) { found = i }, j.cfg.Clock.Wall))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r := joinRequest{
		NodeID: j.nodeID, TokenID: j.token.ID, CSR: j.csr,
		Address: j.cfg.Advertise, APIAddress: j.cfg.APIAddress,
		Version: j.cfg.versions.newest, Oldest: j.cfg.versions.oldest,
	}
	if r.Proof, err = j.token.Prove(c.ConnectionState(), j.csr, j.nodeID); err != nil {
		return nil, err
	}
	if r.KeyProof, err = trust.ProveKey(j.key, c.ConnectionState(), j.csr, j.nodeID); err != nil {
		return nil, err
	}
	reply, err := exchangeJoin(c, &r)
	switch {
	case err != nil:
		return nil, err
	case reply.Code == codeRetry:
		return nil, errors.New(reply.Message)
	case reply.Code != "":
		return nil, &kms.Error{Code: reply.Code, Message: reply.Message}
	case reply.ClusterID != found.ClusterID:
		return nil, fmt.Errorf("%w: it speaks for another cluster", trust.ErrRefused)
	}
	return reply, nil
}

// write makes the node's directory, node.json last.
func (j *joiner) write(ctx context.Context, r *joinReply) error {
	root, err := kmscrypto.ParseRoot(append([]byte(nil), r.Root...))
	if err != nil {
		return err
	}
	bundle := trust.EncodeBundle(r.Authorities)
	creds, err := trust.NewCredentials(r.Certificate, j.key, bundle)
	if err != nil {
		return err
	}
	file := nodeFile{Format: nodeFormat, ClusterID: r.ClusterID, NodeID: j.nodeID}
	if id := creds.Identity(); id.NodeID != j.nodeID || id.ClusterID != r.ClusterID || !creds.Trusts(j.token.Pin) {
		return errors.New("the certificate that the cluster gave is not this node's")
	}
	peers := map[string]peer{}
	for _, p := range r.Peers {
		peers[p.ID] = peer{p.SPKI, p.Next, p.Address}
	}
	err = j.dir.writeIdentity(ctx, identityFiles{
		file: file, seal: j.cfg.Seal, root: root, key: j.key, cert: r.Certificate, bundle: bundle, peers: peers, first: fileJoined,
	})
	if err != nil {
		return err
	}
	return j.dir.writeJSON(fileNode, file)
}

// dialStranger connects over kmsd-join/1.
func dialStranger(ctx context.Context, addr string, cfg *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	raw, err := (&net.Dialer{KeepAlive: keepAlive}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(joinTimeout)) // fails only on a closed connection
	return c, nil
}

func exchangeJoin(c *tls.Conn, r *joinRequest) (*joinReply, error) {
	if err := writeJoin(c, r); err != nil {
		return nil, err
	}
	var reply joinReply
	if err := readJoin(c, &reply); err != nil {
		return nil, err
	}
	return &reply, nil
}

// askStranger asks whoever listens at addr whether this node was removed.
func (n *Node) askStranger(ctx context.Context, addr string) (*joinReply, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c, err := dialStranger(ctx, addr, trust.AskClient(n.clock.Wall))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.NetConn().Close() })()
	return exchangeJoin(c, &joinRequest{NodeID: n.id})
}

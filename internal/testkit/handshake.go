package testkit

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/seal"
)

// handshakeTimeout bounds the connection; listenFor is how long a peer that accepts
// is silent: it waits for a request.
const handshakeTimeout, listenFor = 10 * time.Second, 2 * time.Second

// Handshake does with a member's data directory and the key file of its seal what a
// thief could: it opens the node's key and speaks to the cluster port at addr, of
// the node peerID, as that member. It returns nil if the peer accepts it as one.
func Handshake(ctx context.Context, dataDir, sealFile, addr, peerID string) error {
	creds, err := steal(ctx, dataDir, sealFile)
	if err != nil {
		return fmt.Errorf("stealing the identity in %s: %w", dataDir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer raw.Close()
	anybody := func(string, [32]byte) bool { return true }
	c := tls.Client(raw, creds.Client(trust.ProtocolRPC, peerID, anybody, time.Now))
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	// The peer looks at the client's certificate after that (RFC 8446, section 4.4):
	// who is refused hears so.
	if err := c.SetReadDeadline(time.Now().Add(listenFor)); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the peer ends the connection: %w", err)
	}
	return nil
}

// steal opens a node's credentials as the node does at its start.
func steal(ctx context.Context, dataDir, sealFile string) (*trust.Credentials, error) {
	var node struct{ ClusterID, NodeID string }
	files := map[string][]byte{}
	for _, name := range []string{"node.json", "seal/current", "tls/node.crt", "tls/node.key", "tls/ca.pem"} {
		text, err := os.ReadFile(filepath.Join(dataDir, name))
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	if err := json.Unmarshal(files["node.json"], &node); err != nil {
		return nil, err
	}
	rootID := strings.TrimSpace(string(files["seal/current"]))
	sealed, err := os.ReadFile(filepath.Join(dataDir, "seal", "root."+rootID+".sealed"))
	if err != nil {
		return nil, err
	}
	sealer, err := seal.OpenFile(sealFile)
	if err != nil {
		return nil, err
	}
	secret, err := sealer.Open(ctx, sealed, []byte(strings.Join([]string{"kmsd/root/v1", node.ClusterID, node.NodeID, rootID}, "\x00")))
	if err != nil {
		return nil, err
	}
	root, err := kmscrypto.ParseRoot(secret)
	if err != nil {
		return nil, err
	}
	der, err := root.Open("kmsd/node-key/v1", node.NodeID, files["tls/node.key"])
	if err != nil {
		return nil, err
	}
	key, err := trust.ParseKey(der)
	if err != nil {
		return nil, err
	}
	return trust.NewCredentials(files["tls/node.crt"], key, files["tls/ca.pem"])
}

package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/internal/durable"
)

// renewEvery is how often a node looks whether its certificate is to be renewed:
// at half of its life.
const renewEvery = time.Hour

// hasGenesis tells whether the applied state is a cluster's.
func (n *Node) hasGenesis() bool { return n.machine.View().Meta() != nil }

// isMember tells whether the applied state names the key for the node.
func (n *Node) isMember(nodeID string, spki [32]byte) bool {
	for _, r := range n.machine.View().Nodes() {
		if r.ID == nodeID {
			return spki == r.SPKI || r.NextSPKI != [32]byte{} && spki == r.NextSPKI
		}
	}
	return false
}

// accept is the handshake's question. A node that has not caught up with the state
// also accepts the members that it remembers: it can learn who is one only from
// them.
func (n *Node) accept(nodeID string, spki [32]byte) bool {
	if n.isMember(nodeID, spki) {
		return true
	}
	remembered, ok := n.vouched[nodeID]
	return ok && remembered == spki && !n.caughtUp.Load()
}

// renewCertificate makes a new certificate for the same key once half of the life
// of the present one is over.
func (n *Node) renewCertificate() error {
	now := n.clock.Wall()
	if now.Before(n.creds.Load().NotAfter().Add(-trust.NodeLife / 2)) {
		return nil
	}
	authority, err := n.authority()
	if err != nil {
		return err
	}
	cert, err := authority.Issue(n.id, n.creds.Load().PublicKey(), now)
	if err != nil {
		return err
	}
	if err := n.dir.write(fileCert, cert); err != nil {
		return err
	}
	creds, err := n.dir.credentials(n.file, n.root)
	if err != nil {
		return err
	}
	n.creds.Store(creds)
	n.log.Info("renewed the node's certificate", "not_after", creds.NotAfter())
	return nil
}

func (n *Node) authority() (*trust.Authority, error) {
	bundle, err := n.dir.read(fileAuthority)
	if err != nil {
		return nil, err
	}
	certs, err := trust.ParseBundle(bundle)
	if err != nil {
		return nil, err
	}
	sealed, err := n.dir.read(fileCAKey)
	if err != nil {
		return nil, err
	}
	key, err := n.root.Open(purposeCAKey, n.clusterID, sealed)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", fileCAKey, err)
	}
	defer kmscrypto.Wipe(key)
	return trust.LoadAuthority(n.clusterID, certs[0].Raw, key)
}

// maintain does what is due now and then: the certificate's renewal, and dropping
// the file of the first command once it is applied.
func (n *Node) maintain() {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	n.dropGenesis(n.ctx)
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-ticker.C:
			if err := n.renewCertificate(); err != nil {
				n.log.Error("renewing the node's certificate", "err", err)
			}
		}
	}
}

// dropGenesis waits until the first command is applied, and removes its file: with
// it, a node that lost its log could make the cluster a second time.
func (n *Node) dropGenesis(ctx context.Context) {
	for index := uint64(1); !n.hasGenesis(); index = n.applied.Load() + 1 {
		if n.applied.Wait(ctx, index) != nil {
			return
		}
	}
	if err := durable.Remove(n.dir.path(fileGenesis)); err != nil {
		n.log.Error("removing the first command's file", "err", err)
	}
}

package fsm

import (
	"errors"
	"fmt"

	"github.com/kmsd/kmsd/kms"
)

// NodeRecord is a member that this cluster trusts: a peer is accepted only with
// this id and one of these keys.
type NodeRecord struct {
	Versioned
	ID string `cbor:"1,keyasint"`
	// SPKI and NextSPKI are SHA-256 over the node's public key
	// (SubjectPublicKeyInfo). NextSPKI is zero unless a renewal is under way.
	SPKI     [32]byte `cbor:"2,keyasint"`
	NextSPKI [32]byte `cbor:"3,keyasint,omitzero"`
	// Address is where the cluster reaches the node: host:port, a name or a
	// number. After the admission only NodeHello changes it.
	Address string `cbor:"4,keyasint,omitempty"`
	Added   int64  `cbor:"5,keyasint,omitempty"` // milliseconds since 1970
	// APIAddress is where clients reach the node: host:port.
	APIAddress string `cbor:"6,keyasint,omitempty"`
	// Version is the highest cluster version that the node supports.
	Version uint32 `cbor:"7,keyasint,omitempty"`
	// CertIssuer is SHA-256 over the public key of the authority that issued the
	// node's certificate: an authority that still stands here is still needed.
	CertIssuer [32]byte `cbor:"8,keyasint,omitzero"`
}

func (n *NodeRecord) appendID(dst []byte) []byte { return append(dst, n.ID...) }

func nodePlaces(rec record) []place {
	return []place{{index: nodesByID, key: rec.(*NodeRecord).ID}}
}

// owns tells whether a public key is the node's, or will be.
func (n *NodeRecord) owns(spki [32]byte) bool { return n.SPKI == spki || n.NextSPKI == spki }

// RemovedNode is what is kept of a member that left or was removed. Its id is
// never used again.
type RemovedNode struct {
	Versioned
	ID      string   `cbor:"1,keyasint"`
	SPKI    [32]byte `cbor:"2,keyasint"` // the key that it had last
	Removed int64    `cbor:"3,keyasint"` // milliseconds since 1970
	// Statement is the signature by which the authority of that time says so: the
	// node can verify it when it comes back and knows no newer authority.
	Statement []byte `cbor:"4,keyasint"`
}

func (n *RemovedNode) appendID(dst []byte) []byte { return append(dst, n.ID...) }

// NodeAdmit makes a node a member on the strength of a join token. The proposer
// has verified the node's proof and its address; whether the token still admits,
// and whether id and key are free, is decided here.
//
// The same id with the same key is admitted again without the token's counting,
// so that a join that lost its answer can be repeated: then only CertIssuer
// changes. A token that does not admit is refused with InvalidJoinTokenException;
// an id or key that is taken, the id of a removed node, or a node that does not
// support the cluster version, with ConflictException.
type NodeAdmit struct {
	TokenID string `cbor:"1,keyasint"`
	// Node is the member to be. Added is set by apply.
	Node NodeRecord `cbor:"2,keyasint"`
}

func (NodeAdmit) command() (Type, uint8) { return TypeNodeAdmit, 1 }

func (c NodeAdmit) check() error {
	n := &c.Node
	switch {
	case n.SPKI == [32]byte{} || n.NextSPKI != [32]byte{}:
		return errors.New("a new member has one key")
	case n.ModIndex != 0 || n.Added != 0:
		return errors.New("a new member that has an index or a date")
	}
	return errors.Join(checkMemberID(c.TokenID), checkMemberID(n.ID), checkAddresses(n.Address, n.APIAddress))
}

func nodeAdmit(t *txn, c *NodeAdmit) (*kms.Error, error) {
	had, ok := t.state.get(tableNodes, c.Node.ID).(*NodeRecord)
	if ok && had.SPKI == c.Node.SPKI {
		again := *had
		again.CertIssuer = c.Node.CertIssuer
		t.putNode(had, again)
		return nil, nil
	}
	token, refusal := t.admitting(c.TokenID)
	if refusal == nil {
		refusal = t.checkNewNode(&c.Node)
	}
	if refusal != nil {
		return refusal, nil
	}
	used := *token
	used.Uses--
	t.put(tableJoinTokens, &used)
	node := c.Node
	node.Added = t.now
	t.put(tableNodes, &node)
	return nil, nil
}

// checkNewNode refuses an id or a key that is not free, and a node that would stop
// at the first command that it does not know.
func (t *txn) checkNewNode(n *NodeRecord) *kms.Error {
	if c, ok := t.state.get(tableMeta, "cluster").(*Cluster); ok && n.Version < c.ClusterVersion {
		return conflicting(fmt.Sprintf("The node supports cluster versions up to %d, the cluster has version %d. Install a newer release on the node.",
			n.Version, c.ClusterVersion))
	}
	if t.state.get(tableRemoved, n.ID) != nil {
		return conflicting("The node " + n.ID + " was removed from this cluster. Wipe its data directory and join again.")
	}
	if t.state.get(tableNodes, n.ID) != nil {
		return conflicting("The node " + n.ID + " is a member with another key.")
	}
	if other := t.keyOwner(n.SPKI); other != nil {
		return conflicting("The key of the node " + n.ID + " is the key of the node " + other.ID + ".")
	}
	return nil
}

// keyOwner returns the member that has a public key, or nil. It looks at all
// members: they are few, and membership seldom changes.
func (t *txn) keyOwner(spki [32]byte) *NodeRecord {
	o, _ := t.state.owned(nodesByID, "")
	page, _ := o.page("", maxListed)
	for _, n := range cast[*NodeRecord](page) {
		if n.owns(spki) {
			return n
		}
	}
	return nil
}

// putNode writes a member that differs from what it was. A record that stays as
// it is keeps its index, and with it other requests' preconditions.
func (t *txn) putNode(had *NodeRecord, n NodeRecord) {
	if n != *had {
		t.put(tableNodes, &n)
	}
}

// node returns a member, or the refusal when it is none.
func (t *txn) node(id string) (*NodeRecord, *kms.Error) {
	n, ok := t.state.get(tableNodes, id).(*NodeRecord)
	if !ok {
		return nil, notFound("The node " + id + " is not a member of this cluster.")
	}
	return n, nil
}

// NodeRenew announces a member's next key, so that every node accepts it before
// the certificate for it exists. Another next key replaces one that was
// announced and not taken up; the key that the member has already takes the
// announcement back. A key of another member is refused with ConflictException.
type NodeRenew struct {
	ID       string   `cbor:"1,keyasint"`
	NextSPKI [32]byte `cbor:"2,keyasint"`
}

func (NodeRenew) command() (Type, uint8) { return TypeNodeRenew, 1 }

func (c NodeRenew) check() error { return checkMemberKey(c.ID, c.NextSPKI) }

func nodeRenew(t *txn, c *NodeRenew) (*kms.Error, error) {
	had, refusal := t.node(c.ID)
	if refusal != nil {
		return refusal, nil
	}
	if other := t.keyOwner(c.NextSPKI); other != nil && other.ID != c.ID {
		return conflicting("The next key of the node " + c.ID + " is a key of the node " + other.ID + "."), nil
	}
	n := *had
	if n.NextSPKI = c.NextSPKI; n.NextSPKI == n.SPKI {
		n.NextSPKI = [32]byte{}
	}
	t.putNode(had, n)
	return nil, nil
}

// NodeRenewed says that a member uses the certificate of its key SPKI. The next
// key becomes its key, and the one before is accepted no more; for the key that
// it has already only the issuer changes. Any other key is refused with
// ConflictException.
type NodeRenewed struct {
	ID   string   `cbor:"1,keyasint"`
	SPKI [32]byte `cbor:"2,keyasint"`
	// CertIssuer is SHA-256 over the public key of the issuing authority.
	CertIssuer [32]byte `cbor:"3,keyasint"`
}

func (NodeRenewed) command() (Type, uint8) { return TypeNodeRenewed, 1 }

func (c NodeRenewed) check() error { return checkMemberKey(c.ID, c.SPKI) }

func nodeRenewed(t *txn, c *NodeRenewed) (*kms.Error, error) {
	had, refusal := t.node(c.ID)
	if refusal != nil {
		return refusal, nil
	}
	if !had.owns(c.SPKI) {
		return conflicting("The node " + c.ID + " has not announced this key."), nil
	}
	n := *had
	if n.NextSPKI == c.SPKI {
		n.SPKI, n.NextSPKI = c.SPKI, [32]byte{}
	}
	n.CertIssuer = c.CertIssuer
	t.putNode(had, n)
	return nil, nil
}

// NodeHello is what a member says of itself when it starts: where it is and what
// it supports.
type NodeHello struct {
	ID         string `cbor:"1,keyasint"`
	Address    string `cbor:"2,keyasint"`
	APIAddress string `cbor:"3,keyasint,omitempty"`
	Version    uint32 `cbor:"4,keyasint,omitempty"`
}

func (NodeHello) command() (Type, uint8) { return TypeNodeHello, 1 }

func (c NodeHello) check() error {
	return errors.Join(checkMemberID(c.ID), checkAddresses(c.Address, c.APIAddress))
}

func nodeHello(t *txn, c *NodeHello) (*kms.Error, error) {
	had, refusal := t.node(c.ID)
	if refusal != nil {
		return refusal, nil
	}
	n := *had
	n.Address, n.APIAddress, n.Version = c.Address, c.APIAddress, c.Version
	t.putNode(had, n)
	return nil, nil
}

// NodeRemove ends a membership for ever: the node's key is accepted no more and
// its id is never used again. The last member stays.
type NodeRemove struct {
	ID string `cbor:"1,keyasint"`
	// Statement is the authority's signature that the node is removed, at most 1
	// KiB.
	Statement []byte `cbor:"2,keyasint"`
}

func (NodeRemove) command() (Type, uint8) { return TypeNodeRemove, 1 }

// maxStatement bounds the signature of a removal, in bytes.
const maxStatement = 1 << 10

func (c NodeRemove) check() error {
	if len(c.Statement) == 0 || len(c.Statement) > maxStatement {
		return errors.New("not a statement of removal")
	}
	return checkMemberID(c.ID)
}

func nodeRemove(t *txn, c *NodeRemove) (*kms.Error, error) {
	n, refusal := t.node(c.ID)
	if refusal != nil {
		return refusal, nil
	}
	if t.state.tables[tableNodes].size() == 1 {
		return conflicting("The node " + c.ID + " is the last member of this cluster."), nil
	}
	t.drop(tableNodes, n)
	t.put(tableRemoved, &RemovedNode{ID: n.ID, SPKI: n.SPKI, Removed: t.now, Statement: c.Statement})
	return nil, nil
}

const (
	// maxMemberID bounds the ids of nodes and join tokens, in bytes.
	maxMemberID = 64
	// maxAddress bounds host:port, in bytes: a DNS name has at most 253.
	maxAddress = 264
)

// checkMemberID accepts ids that are safe in paths, file names and tokens.
func checkMemberID(id string) error {
	if id == "" || len(id) > maxMemberID {
		return errors.New("not the id of a node or token")
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return errors.New("not the id of a node or token")
		}
	}
	return nil
}

func checkMemberKey(id string, spki [32]byte) error {
	if spki == [32]byte{} {
		return errors.New("a node without a key")
	}
	return checkMemberID(id)
}

// checkAddresses checks a member's addresses. Whether they lead anywhere, only a
// connection shows.
func checkAddresses(cluster, api string) error {
	if cluster == "" || len(cluster) > maxAddress || len(api) > maxAddress {
		return errors.New("not a node's addresses")
	}
	return nil
}

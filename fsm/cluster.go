package fsm

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"

	"github.com/kmsd/kmsd/kms"
)

// Cluster is the one record of table meta.
type Cluster struct {
	Versioned
	ClusterID string `cbor:"1,keyasint"`
	// ClusterVersion is the highest command set that every member supports.
	ClusterVersion uint32 `cbor:"2,keyasint"`
	// OperatorAccount is the account whose principals may administer the cluster.
	OperatorAccount string `cbor:"3,keyasint"`
	// RecoveryRecipient is the public key that backups are always wrapped to.
	RecoveryRecipient string `cbor:"4,keyasint,omitempty"`
	// RestoreEpoch counts the backups that were loaded into the cluster.
	RestoreEpoch uint64 `cbor:"5,keyasint,omitempty"`
}

func (*Cluster) appendID(dst []byte) []byte { return append(dst, "cluster"...) }

// KeyringTerm is one key of the keyring, wrapped by the root key.
type KeyringTerm struct {
	Versioned
	Term    uint32 `cbor:"1,keyasint"`
	Wrapped []byte `cbor:"2,keyasint"`
	Created int64  `cbor:"3,keyasint,omitempty"` // milliseconds since 1970
}

func (k *KeyringTerm) appendID(dst []byte) []byte {
	return strconv.AppendUint(dst, uint64(k.Term), 10)
}

func keyringPlaces(rec record) []place {
	return []place{{index: keyringByTerm, key: indexKey(uint64(rec.(*KeyringTerm).Term))}}
}

// Genesis is the first command of a cluster: it brings the cluster's identity,
// its members, its keyring, its authorities and the operator account with its
// credential. A second one is refused.
type Genesis struct {
	ClusterID         string        `cbor:"1,keyasint"`
	ClusterVersion    uint32        `cbor:"2,keyasint"`
	OperatorAccount   string        `cbor:"3,keyasint"`
	RecoveryRecipient string        `cbor:"4,keyasint,omitempty"`
	Accounts          []Account     `cbor:"5,keyasint"`
	AccessKeys        []AccessKey   `cbor:"6,keyasint"`
	Nodes             []NodeRecord  `cbor:"7,keyasint"`
	Keyring           []KeyringTerm `cbor:"8,keyasint"`
	// Config are the first replicated settings; nil for the defaults.
	Config *Config `cbor:"9,keyasint,omitempty"`
	// Authority and GossipKeys are nil in clusters of the first command set.
	Authority  *Authority  `cbor:"10,keyasint,omitempty"`
	GossipKeys *GossipKeys `cbor:"11,keyasint,omitempty"`
}

func (Genesis) command() (Type, uint8) { return TypeGenesis, 1 }

func (g Genesis) check() error {
	if g.ClusterID == "" {
		return errors.New("genesis without a cluster id")
	}
	hasAccount := func(id string) bool {
		return slices.ContainsFunc(g.Accounts, func(a Account) bool { return a.ID == id })
	}
	if !kms.ValidAccount(g.OperatorAccount) || !hasAccount(g.OperatorAccount) {
		return errors.New("genesis without its operator account")
	}
	for _, a := range g.Accounts {
		if !kms.ValidAccount(a.ID) {
			return errors.New("genesis with a malformed account id")
		}
	}
	for _, k := range g.AccessKeys {
		if k.ID == "" || !hasAccount(k.Account) {
			return errors.New("genesis with an access key of no account")
		}
	}
	return errors.Join(g.checkMembership(), g.checkUnique())
}

func (g Genesis) checkMembership() error {
	var errs []error
	if g.Authority != nil {
		errs = append(errs, g.Authority.check())
	}
	if g.GossipKeys != nil {
		errs = append(errs, g.GossipKeys.check())
	}
	return errors.Join(errs...)
}

// checkUnique refuses lists that name a record twice, or give it an index.
func (g Genesis) checkUnique() error {
	var ids []string
	fresh := true
	for _, c := range g.changes() {
		fresh = fresh && c.rec.mod() == 0
		ids = append(ids, string(c.rec.appendID([]byte{c.table})))
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != len(g.changes()) {
		return errors.New("genesis names a record twice")
	}
	if !fresh {
		return errors.New("genesis with a record that has an index")
	}
	return nil
}

// changes lists the records that the genesis makes.
func (g Genesis) changes() []change {
	config := g.Config
	if config == nil {
		config = new(Config)
	}
	out := []change{
		{tableMeta, &Cluster{ClusterID: g.ClusterID, ClusterVersion: g.ClusterVersion,
			OperatorAccount: g.OperatorAccount, RecoveryRecipient: g.RecoveryRecipient}, false},
		{tableConfig, config, false},
	}
	for i := range g.Accounts {
		out = append(out, change{tableAccounts, &g.Accounts[i], false})
	}
	for i := range g.AccessKeys {
		out = append(out, change{tableAccessKeys, &g.AccessKeys[i], false})
	}
	for i := range g.Nodes {
		out = append(out, change{tableNodes, &g.Nodes[i], false})
	}
	for i := range g.Keyring {
		out = append(out, change{tableKeyring, &g.Keyring[i], false})
	}
	if g.Authority != nil {
		out = append(out, change{tableAuthority, g.Authority, false})
	}
	if g.GossipKeys != nil {
		out = append(out, change{tableGossipKeys, g.GossipKeys, false})
	}
	return out
}

// seed derives the shards' seed. Tenants may know the cluster's id; the wrapped
// keys of the keyring, which are as random as their nonces, they never see.
func (g Genesis) seed() *[seedSize]byte {
	h := sha256.New()
	h.Write([]byte("kmsd/fsm/shards/v1\x00" + g.ClusterID))
	for _, k := range g.Keyring {
		h.Write([]byte{0})
		h.Write(k.Wrapped)
	}
	seed := [seedSize]byte(h.Sum(nil))
	return &seed
}

func genesis(t *txn, g *Genesis) (*kms.Error, error) {
	if t.state.get(tableMeta, "cluster") != nil {
		return &kms.Error{Code: kms.CodeInvalidState, Message: "The cluster already exists."}, nil
	}
	t.seed = g.seed()
	t.changes = g.changes()
	return nil, nil
}

// LeaderOpen is the first command of a leader's term. That it was applied tells
// the leader that its state holds everything that earlier leaders acknowledged;
// it changes nothing but the time.
type LeaderOpen struct {
	Term   uint64 `cbor:"1,keyasint"`
	NodeID string `cbor:"2,keyasint"`
}

func (LeaderOpen) command() (Type, uint8) { return TypeLeaderOpen, 1 }

func (c LeaderOpen) check() error {
	if c.Term == 0 || c.NodeID == "" {
		return errors.New("a term without number or leader")
	}
	return nil
}

func leaderOpen(*txn, *LeaderOpen) (*kms.Error, error) { return nil, nil }

// VersionBump raises the cluster version: from then on the leader may propose
// the commands that came with it. The leader proposes it when every member
// supports them. Raising it to what it is changes nothing; lowering it is
// refused with ConflictException.
type VersionBump struct {
	Version uint32 `cbor:"1,keyasint"`
}

func (VersionBump) command() (Type, uint8) { return TypeVersionBump, 1 }

func (c VersionBump) check() error {
	if c.Version == 0 {
		return errors.New("cluster version 0")
	}
	return nil
}

func versionBump(t *txn, c *VersionBump) (*kms.Error, error) {
	had, ok := t.state.get(tableMeta, "cluster").(*Cluster)
	if !ok {
		return notFound("There is no cluster yet."), nil
	}
	if c.Version < had.ClusterVersion {
		return conflicting("The cluster version is " + strconv.FormatUint(uint64(had.ClusterVersion), 10) + " and never goes down."), nil
	}
	if c.Version > had.ClusterVersion {
		raised := *had
		raised.ClusterVersion = c.Version
		t.put(tableMeta, &raised)
	}
	return nil, nil
}

func notFound(message string) *kms.Error {
	return &kms.Error{Code: kms.CodeNotFound, Message: message}
}

// conflicting is the refusal of what contradicts the cluster's members or
// version.
func conflicting(message string) *kms.Error {
	return &kms.Error{Code: kms.CodeConflict, Message: message}
}

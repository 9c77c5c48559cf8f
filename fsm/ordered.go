package fsm

import "github.com/tidwall/btree"

// The ordered indexes. They are derived from the tables: no snapshot holds
// them, Restore builds them anew.
const (
	keysByOwner        = iota // account/Region → ids of keys
	aliasesByOwner            // account/Region → aliases by name
	aliasesByKey              // account/Region/key id → aliases by name
	onceByIndex               // "" → once entries by log index
	auditByIndex              // "" → pending audit records by log index
	nodesByID                 // "" → nodes
	keyringByTerm             // "" → terms of the keyring
	tokensByExpiry            // "" → join tokens by expiry and id
	accessKeysByOwner         // account/type of principal/unique id → access keys by id
	materialsByKey            // key id, or Region and key id → materials by Seq
	deletionsByDate           // "" → keys by DeletionDate, Region and id
	rotationsByDate           // "" → keys by the date of their next rotation, Region and id
	expiriesByDate            // "" → keys by the date when their next material expires, Region and id
	identitiesByName          // account/kind → identities by lower-case name
	membersByGroup            // group id → users by lower-case name
	managedByName             // account → managed policies by lower-case name
	entitiesByPolicy          // policy ARN/account → the account's identities by kind and lower-case name
	entitiesByBoundary        // policy ARN/account → the account's identities that it bounds
	accountsByID              // "" → accounts
	grantsByKey               // Region/key id → grants by id
	grantsByGrantee           // Region/key id/grantee → grants by GranteeKey
	grantsByRetiring          // Region/retiring principal → grants by RetiringKey
	grantsByName              // Region/key id → grants with a name by fingerprint
	servicesByName            // account → roles of services by service name and id
	relatedByID               // id of a multi-Region key → the keys of its set by Region
	indexCount
)

// place is where an ordered index holds a record.
type place struct {
	index      uint8
	owner, key string
	// weight is what the record adds to its owner's count: 1 when a quota counts
	// it.
	weight int
	// bare tells that the index holds the key alone. A record that changes but
	// keeps its key then leaves the index, and what lists depend on, as it was.
	bare bool
}

func (p place) same(q place) bool {
	return p.index == q.index && p.owner == q.owner && p.key == q.key
}

// ordered holds one owner's records in the order of their keys. It lives in a
// table under its owner, and follows the same rule of epochs.
//
// The tree is tidwall/btree's copy-on-write map. Copy gives both trees a new
// identity, after which each copies a node before its first change; Get, Ascend
// and Min only read nodes and never the identity (checked in v1.8.2). So readers
// of a published tree need no lock while its successor is being changed, as long
// as one goroutine alone copies and changes.
type ordered struct {
	Versioned
	epoch  uint64
	owner  string
	weight int
	tree   *btree.Map[string, record]
}

func (o *ordered) appendID(dst []byte) []byte { return append(dst, o.owner...) }

func (o *ordered) own(epoch, index uint64, owner string) *ordered {
	if o == nil {
		o = &ordered{epoch: epoch, owner: owner, tree: new(btree.Map[string, record])}
	} else if o.epoch != epoch {
		o = &ordered{epoch: epoch, owner: owner, weight: o.weight, tree: o.tree.Copy()}
	}
	o.stamp(index)
	return o
}

// page returns up to limit entries whose keys follow after, and whether more
// follow. Entries of a bare index have no record.
func (o *ordered) page(after string, limit int) (out []element, more bool) {
	if o == nil || limit < 0 {
		return nil, false
	}
	out = make([]element, 0, min(limit, o.tree.Len()))
	o.tree.Ascend(after, func(key string, rec record) bool {
		if key == after {
			return true
		}
		if more = len(out) == limit; !more {
			out = append(out, element{key, rec})
		}
		return !more
	})
	return out, more
}

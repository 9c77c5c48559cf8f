package fsm

import "slices"

// View is what one request sees: one state, a record of what was read of it, and
// the index that the answer depends on. It belongs to one goroutine. The records
// that it returns are immutable and outlive it.
//
// Every getter enters what it found, or that it found nothing, into the read set
// and raises MaxIndex to the record's ModIndex, or to the last change near the
// place where the record would be. Lists raise MaxIndex to their index's last
// change and do not enter the read set.
type View struct {
	root  *root
	max   uint64
	reads []Read
	// first holds the read set of most requests.
	first [8]Read
}

func newView(r *root) *View {
	v := &View{root: r}
	v.reads = v.first[:0]
	return v
}

// Index returns the log index of the state.
func (v *View) Index() uint64 { return v.root.index }

// Time returns the machine's time, in milliseconds since 1970.
func (v *View) Time() int64 { return v.root.time }

// MaxIndex returns the log index that everything that was read depends on. An
// answer must not be released before that index is stable.
func (v *View) MaxIndex() uint64 { return v.max }

// Reads returns the read set: the preconditions of a command that is decided
// from this view. The slice is a copy.
func (v *View) Reads() []Read { return slices.Clone(v.reads) }

// Meta returns the cluster's record, nil before the genesis.
func (v *View) Meta() *Cluster {
	c, _ := v.get(tableMeta, "cluster").(*Cluster)
	return c
}

// Account returns an account.
func (v *View) Account(id string) (*Account, bool) {
	a, ok := v.get(tableAccounts, id).(*Account)
	return a, ok
}

// Node returns a member.
func (v *View) Node(id string) (*NodeRecord, bool) {
	n, ok := v.get(tableNodes, id).(*NodeRecord)
	return n, ok
}

// Removed returns what is kept of a node that was a member.
func (v *View) Removed(id string) (*RemovedNode, bool) {
	n, ok := v.get(tableRemoved, id).(*RemovedNode)
	return n, ok
}

// JoinToken returns a join token, also one that is used up or expired: whether it
// admits, only apply decides.
func (v *View) JoinToken(id string) (*JoinToken, bool) {
	j, ok := v.get(tableJoinTokens, id).(*JoinToken)
	return j, ok
}

// Authority returns the cluster's authorities, nil when it has none.
func (v *View) Authority() *Authority {
	a, _ := v.get(tableAuthority, authorityID).(*Authority)
	return a
}

// GossipKeys returns the keys of gossip, nil when there are none.
func (v *View) GossipKeys() *GossipKeys {
	g, _ := v.get(tableGossipKeys, gossipKeysID).(*GossipKeys)
	return g
}

// AccessKey returns a long-term credential.
func (v *View) AccessKey(id string) (*AccessKey, bool) {
	k, ok := v.get(tableAccessKeys, id).(*AccessKey)
	return k, ok
}

// Key returns a key of any account: the caller compares Account.
func (v *View) Key(region, keyID string) (*Key, bool) {
	k, ok := v.get(tableKeys, region, keyID).(*Key)
	if !ok || k.ID != keyID { // a slash inside an argument must not shift the parts
		return nil, false
	}
	return k, true
}

// Material returns a generation of a key's material, by the key's MaterialOwner. The
// first 32 hexadecimal digits of its id suffice, and more are not looked at.
func (v *View) Material(owner, materialID string) (*Material, bool) {
	m, ok := v.get(tableMaterials, owner, materialID[:min(len(materialID), materialPrefix)]).(*Material)
	return m, ok
}

// Alias returns an alias by its name with the prefix "alias/".
func (v *View) Alias(account, region, name string) (*Alias, bool) {
	a, ok := v.get(tableAliases, account, region, name).(*Alias)
	if !ok || a.Account != account || a.Name != name {
		return nil, false
	}
	return a, true
}

// Tags returns a key's tags in the order in which they were given.
func (v *View) Tags(region, keyID string) []Tag {
	if s, ok := v.get(tableTags, region, keyID).(*tagSet); ok {
		return s.Tags
	}
	return nil
}

// PolicyText returns the policy with the SHA-256. Text under its hash never
// changes, so that this leaves read set and MaxIndex alone.
func (v *View) PolicyText(hash [32]byte) (string, bool) {
	p, ok := v.root.get(tablePolicies, string(hash[:])).(*policy)
	if !ok {
		return "", false
	}
	return p.Text, true
}

// Once returns what is remembered of an applied request, for 15 minutes of the
// machine's time. A hit raises MaxIndex to the application's index, because the
// answer reveals it; the read set stays, because apply looks again.
func (v *View) Once(key ReqKey) (*Once, bool) {
	o, ok := v.root.once(key, v.root.time)
	if ok {
		v.raise(o.Index)
	}
	return o, ok
}

// get reads a record of a table, nil when absent.
func (v *View) get(table uint8, parts ...string) record {
	var buf idBuffer
	b := v.root.seeded(buf[:0], parts...)
	e, mod, ok := v.root.find(v.root.tables[table], b)
	v.raise(mod)
	if !ok {
		v.enter(Read{Table: table, ID: string(b[seedSize:])})
		return nil
	}
	v.enter(Read{Table: table, ID: e.id, ModIndex: mod})
	return e.rec
}

func (v *View) raise(index uint64) { v.max = max(v.max, index) }

func (v *View) enter(r Read) {
	if !slices.Contains(v.reads, r) {
		v.reads = append(v.reads, r)
	}
}

package fsm

import (
	"crypto/sha256"
	"sync/atomic"
)

// fanout is the width of both levels: a table has 128 groups of 128 leaves. At
// 1,000,000 records a leaf holds about 61, and a write copies three small
// arrays instead of one of 16,384 pointers.
const fanout = 128

// seedSize is the length, in bytes, of the secret that is hashed before an id.
const seedSize = 16

// record is a row of a table. It is immutable once it is published.
type record interface {
	appendID(dst []byte) []byte // its id within its table
	mod() uint64
	stamp(index uint64)
}

// Versioned is embedded by every record.
type Versioned struct {
	// ModIndex is the log index of the command that wrote the record.
	ModIndex uint64 `cbor:"0,keyasint,omitempty"`
}

func (v *Versioned) mod() uint64        { return v.ModIndex }
func (v *Versioned) stamp(index uint64) { v.ModIndex = index }

// table, group and leaf are the copy-on-write levels. A node whose epoch is the
// state's belongs to the change that is being built and is modified in place;
// every other node is shared with readers and is copied first. mod is the index
// of the last command that wrote below the node. digest caches the hash of what
// lies below; it is filled on nodes of frozen roots only, which never change.
type (
	table struct {
		epoch, mod uint64
		count      int
		groups     [fanout]*group
		digest     atomic.Pointer[[32]byte]
	}
	group struct {
		epoch, mod uint64
		leaves     [fanout]*leaf
		digest     atomic.Pointer[[32]byte]
	}
	leaf struct {
		epoch, mod uint64
		entries    []element // sorted by id
		digest     atomic.Pointer[[32]byte]
	}
	element struct {
		id  string
		rec record
	}
)

// slot says where an id lives: the first 14 bits of SHA-256(seed ‖ id). Tenants
// choose some ids; without the seed they cannot choose the slot, and so cannot
// make one leaf long.
type slot struct{ group, leaf uint8 }

// slotOf hashes seeded, which is seed ‖ id.
func slotOf(seeded []byte) slot {
	h := sha256.Sum256(seeded)
	return slot{h[0] & (fanout - 1), h[1] & (fanout - 1)}
}

// at returns the leaf of a slot; nil stands for an empty one.
func (t *table) at(s slot) *leaf {
	if t == nil || t.groups[s.group] == nil {
		return nil
	}
	return t.groups[s.group].leaves[s.leaf]
}

// search returns the position of id, or where it belongs.
func (l *leaf) search(id []byte) (int, bool) {
	if l == nil {
		return 0, false
	}
	lo, hi := 0, len(l.entries)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if l.entries[mid].id < string(id) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(l.entries) && l.entries[lo].id == string(id)
}

func (l *leaf) lastMod() uint64 {
	if l == nil {
		return 0
	}
	return l.mod
}

func (t *table) own(epoch, index uint64) *table {
	if t == nil {
		t = &table{epoch: epoch}
	} else if t.epoch != epoch {
		t = &table{epoch: epoch, count: t.count, groups: t.groups}
	}
	t.mod = index
	return t
}

func (g *group) own(epoch, index uint64) *group {
	if g == nil {
		g = &group{epoch: epoch}
	} else if g.epoch != epoch {
		g = &group{epoch: epoch, leaves: g.leaves}
	}
	g.mod = index
	return g
}

// own returns the leaf for modification, with room for one entry more.
func (l *leaf) own(epoch, index uint64) *leaf {
	if l == nil {
		l = &leaf{epoch: epoch}
	} else if l.epoch != epoch {
		entries := make([]element, len(l.entries), len(l.entries)+1)
		copy(entries, l.entries)
		l = &leaf{epoch: epoch, entries: entries}
	}
	l.mod = index
	return l
}

// put enters rec under id and returns the table to use from then on, and the
// record that was replaced.
func (t *table) put(epoch, index uint64, s slot, id string, rec record) (*table, record) {
	t, l := t.ownLeaf(epoch, index, s)
	i, found := l.search([]byte(id))
	if found {
		old := l.entries[i].rec
		l.entries[i].rec = rec
		return t, old
	}
	l.entries = append(l.entries, element{})
	copy(l.entries[i+1:], l.entries[i:])
	l.entries[i] = element{id, rec}
	t.count++
	return t, nil
}

// drop removes id, which must be present.
func (t *table) drop(epoch, index uint64, s slot, id string) (*table, record) {
	t, l := t.ownLeaf(epoch, index, s)
	i, found := l.search([]byte(id))
	if !found {
		panic("kmsd: dropping a record that is not there")
	}
	old := l.entries[i].rec
	copy(l.entries[i:], l.entries[i+1:])
	l.entries[len(l.entries)-1] = element{}
	l.entries = l.entries[:len(l.entries)-1]
	t.count--
	return t, old
}

func (t *table) ownLeaf(epoch, index uint64, s slot) (*table, *leaf) {
	t = t.own(epoch, index)
	g := t.groups[s.group].own(epoch, index)
	t.groups[s.group] = g
	l := g.leaves[s.leaf].own(epoch, index)
	g.leaves[s.leaf] = l
	return t, l
}

// each calls yield for every record in the order of slots and, within a slot,
// of ids, until yield returns false.
func (t *table) each(yield func(element) bool) {
	if t == nil {
		return
	}
	for _, g := range t.groups {
		if g == nil {
			continue
		}
		for _, l := range g.leaves {
			if l == nil {
				continue
			}
			for _, e := range l.entries {
				if !yield(e) {
					return
				}
			}
		}
	}
}

func (t *table) size() int {
	if t == nil {
		return 0
	}
	return t.count
}

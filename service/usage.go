package service

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kmsd/kmsd/fsm"
)

// usageLog holds the last uses of keys until replicated state knows them: those
// that this node served, and those that other nodes handed to it. It dies with the
// process.
//
// Calls enter what they did into the recent table, which locks nothing. Once a
// round (Service.shareUsage) the table is replaced and emptied into held.
type usageLog struct {
	recent atomic.Pointer[useTable]

	mu   sync.Mutex
	held map[usedKey]heldUse // guarded by mu
}

type usedKey struct{ region, id string }

type heldUse struct {
	fsm.Usage
	// known: replicated state had it, or a later one, in the last round. It is kept
	// for one round more, for calls that are decided from an older state.
	known bool
}

func newUsageLog() *usageLog {
	l := &usageLog{held: map[usedKey]heldUse{}}
	l.recent.Store(newUseTable())
	return l
}

// note enters a use of a key.
func (l *usageLog) note(region, keyID string, u *use) {
	for !l.recent.Load().note(region, keyID, u) {
		// Emptied meanwhile: its successor is in place.
	}
}

// last returns the last use of a key that the log holds, nil for none.
func (l *usageLog) last(region, keyID string) *fsm.Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.recent.Load().last(region, keyID)
	if h, ok := l.held[usedKey{region, keyID}]; ok && (u == nil || h.After(u)) {
		return &h.Usage
	}
	return u
}

// take enters uses that another node has handed over.
func (l *usageLog) take(uses []fsm.Usage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range uses {
		if uses[i].Check() == nil { // one that is malformed must not hold up the others
			l.hold(&uses[i])
		}
	}
}

// hold keeps a use unless a later one of the key is held. l.mu is held.
func (l *usageLog) hold(u *fsm.Usage) {
	key := usedKey{u.Region, u.KeyID}
	if h, ok := l.held[key]; !ok || u.After(&h.Usage) {
		l.held[key] = heldUse{Usage: *u}
	}
}

// collect moves what calls have entered to what is held, and tells whether anything
// is.
func (l *usageLog) collect() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recent.Swap(newUseTable()).empty(l.hold)
	return len(l.held) > 0
}

// unknown returns what is held and the state of the View does not know yet, in the
// order of fsm.Usage.Compare. It lets go of what the state has known for a round, and
// of keys that do not exist any more.
func (l *usageLog) unknown(view *fsm.View) []fsm.Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	var unknown []fsm.Usage
	for key, h := range l.held {
		state, exists := view.Usage(key.region, key.id)
		switch {
		case !exists || h.known:
			delete(l.held, key)
		case state != nil && !h.After(state):
			h.known = true
			l.held[key] = h
		default:
			unknown = append(unknown, h.Usage)
		}
	}
	slices.SortFunc(unknown, func(a, b fsm.Usage) int { return a.Compare(&b) })
	return unknown
}

// A use is what one call did with its keys.
type use struct {
	operation          string
	time               int64 // milliseconds since 1970
	eventID, requestID string
}

func (u *use) of(e *useEntry) *fsm.Usage {
	return &fsm.Usage{Region: e.region, KeyID: e.keyID, Operation: u.operation, Time: u.time, EventID: u.eventID, RequestID: u.requestID}
}

// useBuckets is the width of the table: with 100,000 keys in use per round, six
// share a bucket.
const useBuckets = 1 << 14

// useTable is a hash table of keys' last uses that is filled without locks. Entries
// are only added, each to the front of its bucket's list, until the table is emptied
// as a whole: then closed stands in place of every list and every use.
type useTable struct {
	seed    maphash.Seed
	buckets [useBuckets]atomic.Pointer[useEntry]
}

type useEntry struct {
	region, keyID string
	next          *useEntry
	last          atomic.Pointer[use]
}

var (
	closedEntry = &useEntry{}
	closedUse   = &use{}
)

func newUseTable() *useTable { return &useTable{seed: maphash.MakeSeed()} }

func (t *useTable) bucket(keyID string) *atomic.Pointer[useEntry] {
	return &t.buckets[maphash.String(t.seed, keyID)%useBuckets]
}

// note reports false when the table is being emptied.
func (t *useTable) note(region, keyID string, u *use) bool {
	bucket := t.bucket(keyID)
	for {
		first := bucket.Load()
		if first == closedEntry {
			return false
		}
		if e := first.find(region, keyID); e != nil {
			return e.raise(u)
		}
		e := &useEntry{region: region, keyID: keyID, next: first}
		e.last.Store(u)
		if bucket.CompareAndSwap(first, e) {
			return true
		}
	}
}

// last returns a key's use, nil for none.
func (t *useTable) last(region, keyID string) *fsm.Usage {
	if e := t.bucket(keyID).Load().find(region, keyID); e != nil {
		return e.last.Load().of(e)
	}
	return nil
}

// empty closes the table and calls take for each use in it.
func (t *useTable) empty(take func(*fsm.Usage)) {
	for i := range t.buckets {
		for e := t.buckets[i].Swap(closedEntry); e != nil; e = e.next {
			take(e.last.Swap(closedUse).of(e))
		}
	}
}

// find looks through a bucket's list, which may be nil.
func (e *useEntry) find(region, keyID string) *useEntry {
	for ; e != nil; e = e.next {
		if e.keyID == keyID && e.region == region {
			return e
		}
	}
	return nil
}

// raise keeps the later use. It reports false when the entry was taken.
func (e *useEntry) raise(u *use) bool {
	for {
		old := e.last.Load()
		switch {
		case old == closedUse:
			return false
		case u.time < old.time || u.time == old.time && u.eventID <= old.eventID:
			return true
		case e.last.CompareAndSwap(old, u):
			return true
		}
	}
}

package service

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kmsd/kmsd/fsm"
)

// usageLog holds the last uses of keys and credentials until replicated state knows
// them: those that this node served, and those that other nodes handed to it. It dies
// with the process.
//
// Calls enter what they did into the recent table, which locks nothing. Once a
// round (Service.shareUsage) the table is replaced and emptied into held.
type usageLog struct {
	recent atomic.Pointer[useTable]

	mu   sync.Mutex
	held map[used]heldUse // guarded by mu
}

// used names what was used: a key by its Region and id, an access key or a role by its
// id alone.
type used struct{ region, id string }

func usedKey(region, keyID string) used { return used{region, keyID} }

func usedCredential(id string) used { return used{id: id} }

type heldUse struct {
	use
	// known: replicated state had it, or a later one, in the last round. It is kept
	// for one round more, for calls that are decided from an older state.
	known bool
}

func newUsageLog() *usageLog {
	l := &usageLog{held: map[used]heldUse{}}
	l.recent.Store(newUseTable())
	return l
}

// note enters a use.
func (l *usageLog) note(what used, u *use) {
	for !l.recent.Load().note(what, u) {
		// Emptied meanwhile: its successor is in place.
	}
}

// noteCredential enters a request that was signed with an access key or in a role's
// session. One use a second is enough for answers that show seconds (AWS IAM:
// AccessKeyLastUsed), so that most requests find theirs entered and take no memory.
func (l *usageLog) noteCredential(id, service, region string, at int64) {
	what := usedCredential(id)
	last := l.recent.Load().last(what)
	if last == nil || last.place == nil || *last.place != (place{service, region}) {
		fresh := &struct { // one allocation
			use   use
			place place
		}{place: place{service, region}}
		fresh.use = use{time: at, place: &fresh.place}
		l.note(what, &fresh.use)
	} else if at/1000 > last.time/1000 {
		l.note(what, &use{time: at, place: last.place})
	}
}

// last returns the last use that the log holds, nil for none.
func (l *usageLog) last(what used) *use {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.recent.Load().last(what)
	if h, ok := l.held[what]; ok && (u == nil || h.after(u)) {
		return &h.use
	}
	return u
}

// take enters uses that another node has handed over. Those that are malformed must
// not hold up the others.
func (l *usageLog) take(keys []fsm.Usage, credentials []fsm.CredentialUse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range keys {
		if u := &keys[i]; u.Check() == nil {
			l.hold(usedKey(u.Region, u.KeyID), &use{operation: u.Operation, time: u.Time, eventID: u.EventID, requestID: u.RequestID})
		}
	}
	for i := range credentials {
		if u := &credentials[i]; u.Check() == nil {
			l.hold(usedCredential(u.ID), &use{time: u.Time, place: &place{u.Service, u.Region}})
		}
	}
}

// hold keeps a use unless a later one is held. l.mu is held.
func (l *usageLog) hold(what used, u *use) {
	if h, ok := l.held[what]; !ok || u.after(&h.use) {
		l.held[what] = heldUse{use: *u}
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
// order of fsm.Usage.Compare and fsm.CredentialUse.Compare. It lets go of what the
// state has known for a round, and of what does not exist any more.
func (l *usageLog) unknown(view *fsm.View) (keys []fsm.Usage, credentials []fsm.CredentialUse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for what, h := range l.held {
		exists, known := h.in(view, what)
		switch {
		case !exists || h.known:
			delete(l.held, what)
		case known:
			h.known = true
			l.held[what] = h
		case h.place != nil:
			credentials = append(credentials, *h.ofCredential(what))
		default:
			keys = append(keys, *h.ofKey(what))
		}
	}
	slices.SortFunc(keys, func(a, b fsm.Usage) int { return a.Compare(&b) })
	slices.SortFunc(credentials, func(a, b fsm.CredentialUse) int { return a.Compare(&b) })
	return keys, credentials
}

// A use is what one call did with its keys, or where a credential signed one. Its size
// is what a call that uses keys allocates.
type use struct {
	operation          string
	time               int64 // milliseconds since 1970
	eventID, requestID string
	// place is set for a credential's use, which has nothing else but its time.
	place *place
}

// place is the service's namespace and the Region of a signed request.
type place struct{ service, region string }

// after is fsm.Usage.After and fsm.CredentialUse.After.
func (u *use) after(other *use) bool {
	if u.place != nil && other.place != nil {
		return u.ofCredential(used{}).After(other.ofCredential(used{}))
	}
	return u.time > other.time || u.time == other.time && u.eventID > other.eventID
}

func (u *use) ofKey(what used) *fsm.Usage {
	return &fsm.Usage{Region: what.region, KeyID: what.id, Operation: u.operation, Time: u.time, EventID: u.eventID, RequestID: u.requestID}
}

func (u *use) ofCredential(what used) *fsm.CredentialUse {
	return &fsm.CredentialUse{ID: what.id, Service: u.place.service, Region: u.place.region, Time: u.time}
}

// in tells whether the state of the View has what was used, and whether it knows this
// use or a later one.
func (u *use) in(view *fsm.View, what used) (exists, known bool) {
	if u.place != nil {
		state, exists := view.CredentialUse(what.id)
		return exists, state != nil && !u.ofCredential(what).After(state)
	}
	state, exists := view.Usage(what.region, what.id)
	return exists, state != nil && !u.ofKey(what).After(state)
}

// useBuckets is the width of the table: with 100,000 keys in use per round, six
// share a bucket.
const useBuckets = 1 << 14

// useTable is a hash table of last uses that is filled without locks. Entries
// are only added, each to the front of its bucket's list, until the table is emptied
// as a whole: then closed stands in place of every list and every use.
type useTable struct {
	seed    maphash.Seed
	buckets [useBuckets]atomic.Pointer[useEntry]
}

type useEntry struct {
	what used
	next *useEntry
	last atomic.Pointer[use]
}

var (
	closedEntry = &useEntry{}
	closedUse   = &use{}
)

func newUseTable() *useTable { return &useTable{seed: maphash.MakeSeed()} }

func (t *useTable) bucket(what used) *atomic.Pointer[useEntry] {
	return &t.buckets[maphash.String(t.seed, what.id)%useBuckets]
}

// note reports false when the table is being emptied.
func (t *useTable) note(what used, u *use) bool {
	bucket := t.bucket(what)
	for {
		first := bucket.Load()
		if first == closedEntry {
			return false
		}
		if e := first.find(what); e != nil {
			return e.raise(u)
		}
		e := &useEntry{what: what, next: first}
		e.last.Store(u)
		if bucket.CompareAndSwap(first, e) {
			return true
		}
	}
}

// last returns the use in the table, nil for none.
func (t *useTable) last(what used) *use {
	if e := t.bucket(what).Load().find(what); e != nil {
		return e.last.Load()
	}
	return nil
}

// empty closes the table and calls take for each use in it.
func (t *useTable) empty(take func(used, *use)) {
	for i := range t.buckets {
		for e := t.buckets[i].Swap(closedEntry); e != nil; e = e.next {
			take(e.what, e.last.Swap(closedUse))
		}
	}
}

// find looks through a bucket's list, which may be nil.
func (e *useEntry) find(what used) *useEntry {
	for ; e != nil; e = e.next {
		if e.what == what {
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
		case !u.after(old):
			return true
		case e.last.CompareAndSwap(old, u):
			return true
		}
	}
}

package crypto

import (
	"container/list"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const maxCacheShards = 64

// MaterialKey names one version of one key's material in a MaterialCache. With
// the record's ModIndex in it, a record that was replaced is never answered from
// the cache.
type MaterialKey struct {
	KeyID, MaterialID string
	ModIndex          uint64
	// Public names the material's public half, which is opened without its secret.
	Public bool
}

// MaterialCache keeps opened material, at most its capacity, so that a hot key is
// not unwrapped for every request: a *Material, *PrivateKey, *MACKey or *PublicKey,
// as the key's spec has it. They count by the memory that they take (weight). It must be
// asked only after the record was read from the state that the request may see; it
// answers nothing by itself.
//
// Material is wiped when it has left the cache and the last Handle to it is
// released, never earlier. The cache is safe for concurrent use; keys are spread
// over shards with a lock each, which is never held while material is opened.
type MaterialCache struct {
	seed   maphash.Seed
	shards []cacheShard
}

type cacheShard struct {
	mu       sync.Mutex
	capacity int
	used     int                           // the weight of all entries
	entries  map[MaterialKey]*list.Element // of *cacheEntry
	recent   list.List                     // front: used last
}

// A cacheEntry is referenced once by the shard that holds it and once by each
// unreleased Handle.
type cacheEntry struct {
	key    MaterialKey
	weight int // guarded by the shard's mu
	refs   atomic.Int64
	ready  chan struct{} // closed when opened or err is set
	// Written before ready is closed, read after:
	opened any
	err    error
}

// NewMaterialCache returns a cache of a capacity, at least 1: of as many symmetric keys'
// materials, which take 300 bytes each. A shard holds one material however large.
func NewMaterialCache(capacity int) *MaterialCache {
	if capacity < 1 {
		panic("kmsd: a material cache holds at least one material")
	}
	c := &MaterialCache{seed: maphash.MakeSeed(), shards: make([]cacheShard, min(capacity, maxCacheShards))}
	for i := range c.shards {
		c.shards[i].capacity = capacity / len(c.shards)
		c.shards[i].entries = make(map[MaterialKey]*list.Element)
	}
	return c
}

// Handle keeps a cached material from being wiped. Each Cached gives its own, which
// must be released once the request is done with the material: until then the
// material stays in memory. A second Release does nothing.
type Handle[T comparable] struct {
	entry    *cacheEntry
	released atomic.Bool
}

// Opened returns the opened material, valid until Release.
func (h *Handle[T]) Opened() T {
	if h.released.Load() {
		panic("kmsd: key material is used after its handle was released")
	}
	return h.entry.opened.(T)
}

// Release gives the material back. It is safe to call from another goroutine
// than Cached's.
func (h *Handle[T]) Release() {
	if h.released.CompareAndSwap(false, true) {
		h.entry.drop()
	}
}

// Cached returns a handle to the material of key, which open opens if it is not
// there. Calls for one key at a time wait for one open and share its material or
// its error; errors are not kept. The cache owns the material that open returns, and
// wipes it if it has a method Wipe. All calls for one key open the same type.
func Cached[T comparable](c *MaterialCache, key MaterialKey, open func() (T, error)) (*Handle[T], error) {
	s := c.shard(key.KeyID)
	e, found := s.acquire(key)
	if found {
		<-e.ready
	} else {
		fill(s, e, open)
	}
	if e.err != nil {
		e.drop()
		return nil, e.err
	}
	return &Handle[T]{entry: e}, nil
}

// Purge removes every material of a key: those that no request holds are wiped at
// once.
func (c *MaterialCache) Purge(keyID string) {
	c.shard(keyID).purge(func(k MaterialKey) bool { return k.KeyID == keyID })
}

// PurgeAll is Purge for every key.
func (c *MaterialCache) PurgeAll() {
	for i := range c.shards {
		c.shards[i].purge(func(MaterialKey) bool { return true })
	}
}

func (s *cacheShard) purge(which func(MaterialKey) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, element := range s.entries {
		if which(key) {
			s.remove(element)
		}
	}
}

// Len returns how many materials the cache holds. Material that left it but is
// still in use does not count.
func (c *MaterialCache) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}

func (c *MaterialCache) shard(keyID string) *cacheShard {
	return &c.shards[maphash.String(c.seed, keyID)%uint64(len(c.shards))]
}

// acquire returns the entry of key with a reference for the caller. If there was
// none it makes one, which the caller must fill.
func (s *cacheShard) acquire(key MaterialKey) (e *cacheEntry, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if element, ok := s.entries[key]; ok {
		s.recent.MoveToFront(element)
		e = element.Value.(*cacheEntry)
		e.refs.Add(1) // the shard's own reference is still there: refs ≥ 1
		return e, true
	}
	e = &cacheEntry{key: key, weight: 1, ready: make(chan struct{})}
	e.refs.Store(2)
	s.entries[key] = s.recent.PushFront(e)
	s.used++
	s.shrink()
	return e, false
}

// shrink evicts until the shard's entries fit. The caller holds s.mu.
func (s *cacheShard) shrink() {
	for s.used > s.capacity && s.recent.Len() > 1 {
		s.remove(s.recent.Back())
	}
}

// weigh gives an entry its weight, once it is known.
func (s *cacheShard) weigh(e *cacheEntry, weight int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if element, ok := s.entries[e.key]; ok && element.Value.(*cacheEntry) == e {
		s.used += weight - e.weight
		e.weight = weight
		s.shrink()
	}
}

var errNoMaterial = errors.New("kmsd: opening key material gave none")

// fill runs open and publishes what it gave. It keeps its promise to the waiting
// callers also when open panics.
func fill[T comparable](s *cacheShard, e *cacheEntry, open func() (T, error)) {
	defer func() {
		if e.opened == nil && e.err == nil {
			e.err = errNoMaterial
		}
		if e.err != nil {
			s.forget(e)
		}
		close(e.ready)
	}()
	var none T
	opened, err := open()
	if opened != none {
		e.opened = opened
	}
	e.err = err
	if heavy, ok := e.opened.(interface{ weight() int }); ok && err == nil {
		s.weigh(e, heavy.weight())
	}
}

// forget removes e unless it has been removed, or replaced, meanwhile.
func (s *cacheShard) forget(e *cacheEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if element, ok := s.entries[e.key]; ok && element.Value.(*cacheEntry) == e {
		s.remove(element)
	}
}

// remove takes an entry out of the shard. The caller holds s.mu.
func (s *cacheShard) remove(element *list.Element) {
	e := s.recent.Remove(element).(*cacheEntry)
	delete(s.entries, e.key)
	s.used -= e.weight
	e.drop()
}

// drop gives up one reference; the last one wipes. Nobody can take a new one
// then: references are taken only while the shard holds its own.
func (e *cacheEntry) drop() {
	if e.refs.Add(-1) != 0 {
		return
	}
	if secret, ok := e.opened.(interface{ Wipe() }); ok {
		secret.Wipe()
	}
}

package sigv4

import (
	"hash/maphash"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// keyID names a signing key. A changed record of the access key has another
// modIndex, so that a replaced secret is never used again.
type keyID struct {
	accessKeyID, date, region, service string
	modIndex                           uint64
}

// cacheShards spreads writers, which copy a shard; a power of two.
const cacheShards = 64

// keyCache holds signing keys in shards that readers load with one atomic
// operation and writers replace as a whole. New keys are rare: one per access
// key, day, Region and service.
type keyCache struct {
	seed     maphash.Seed
	perShard int
	shards   *[cacheShards]keyShard
}

type keyShard struct {
	keys atomic.Pointer[map[keyID]signingKey] // nil while empty; the map is immutable
	mu   sync.Mutex                           // serialises writers
}

func newKeyCache(size int) keyCache {
	return keyCache{
		seed:     maphash.MakeSeed(),
		perShard: max(1, (size+cacheShards-1)/cacheShards),
		shards:   new([cacheShards]keyShard),
	}
}

// shard returns where the keys of an access key live: all in one shard, so that
// put finds those of older records.
func (c *keyCache) shard(accessKeyID string) *keyShard {
	return &c.shards[maphash.String(c.seed, accessKeyID)%cacheShards]
}

func (c *keyCache) get(id keyID) (signingKey, bool) {
	keys := c.shard(id.accessKeyID).keys.Load()
	if keys == nil {
		return signingKey{}, false
	}
	key, ok := (*keys)[id]
	return key, ok
}

// put adds a key and drops those that no request will use again: of older
// records of the access key, and of days before yesterday. A shard that is full
// all the same loses a random key.
func (c *keyCache) put(id keyID, key signingKey, now time.Time) {
	sh := c.shard(id.accessKeyID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	next := make(map[keyID]signingKey)
	if old := sh.keys.Load(); old != nil {
		maps.Copy(next, *old)
	}
	yesterday := now.UTC().AddDate(0, 0, -1).Format(basicFormat[:8])
	maps.DeleteFunc(next, func(k keyID, _ signingKey) bool {
		return k.date < yesterday || k.accessKeyID == id.accessKeyID && k.modIndex < id.modIndex
	})
	for k := range next { // in random order
		if len(next) < c.perShard {
			break
		}
		delete(next, k)
	}
	next[id.clone()] = key
	sh.keys.Store(&next)
}

// drop forgets the keys of the shard that del names. Readers may still hold the map
// that had them: the garbage collector takes it.
func (sh *keyShard) drop(del func(keyID) bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	old := sh.keys.Load()
	if old == nil {
		return
	}
	next := maps.Clone(*old)
	maps.DeleteFunc(next, func(k keyID, _ signingKey) bool { return del(k) })
	sh.keys.Store(&next)
}

// clone copies the strings, which are parts of a request's headers: the cache
// must not keep those in memory.
func (id keyID) clone() keyID {
	id.accessKeyID = strings.Clone(id.accessKeyID)
	id.date = strings.Clone(id.date)
	id.region = strings.Clone(id.region)
	id.service = strings.Clone(id.service)
	return id
}

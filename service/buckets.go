package service

import (
	"hash/maphash"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// bucketShards is into how many parts the buckets are divided, each with a lock
	// of its own.
	bucketShards = 64
	// maxBuckets bounds the buckets of a shard, but for one per account and quota:
	// a client may invent Regions, whose further ones then share a bucket.
	maxBuckets = 1024
	// minSweep is how many buckets a shard holds before the idle ones are looked
	// for.
	minSweep = 64
	// sweepEvery is the least time between two sweeps of a shard that is full.
	sweepEvery = time.Second
)

// bucketKey names a bucket: an account's quota in a Region. An empty Region stands
// for all that have no bucket of their own.
type bucketKey struct {
	account string
	quota   Quota
	region  string
}

// buckets are the token buckets of all accounts. Idle ones go: one that is full
// again is like a new one.
type buckets struct {
	seed   maphash.Seed
	shards [bucketShards]bucketShard
}

type bucketShard struct {
	mu      sync.Mutex
	buckets map[bucketKey]*rate.Limiter // guarded by mu
	sweepAt int                         // guarded by mu: the size at which idle ones go
	swept   time.Time                   // guarded by mu
}

func newBuckets() *buckets {
	b := &buckets{seed: maphash.MakeSeed()}
	for i := range b.shards {
		b.shards[i].buckets, b.shards[i].sweepAt = map[bucketKey]*rate.Limiter{}, minSweep
	}
	return b
}

// take takes a token. It reports false when there is none. The Region has no part
// in the choice of the shard, so that an account's many Regions crowd one shard.
func (b *buckets) take(key bucketKey, l limit, now time.Time) bool {
	h := maphash.String(b.seed, key.account) ^ maphash.String(b.seed, string(key.quota))
	s := &b.shards[h%bucketShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bucket(key, l, now).AllowN(now, 1)
}

// size is the number of buckets.
func (b *buckets) size() (n int) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += len(s.buckets)
		s.mu.Unlock()
	}
	return n
}

// bucket finds or makes a bucket.
func (s *bucketShard) bucket(key bucketKey, l limit, now time.Time) *rate.Limiter {
	found := s.buckets[key]
	if found == nil {
		s.sweep(now)
	}
	if found == nil && len(s.buckets) >= maxBuckets {
		key.region = ""
		found = s.buckets[key]
	}
	if found == nil {
		found = rate.NewLimiter(l.rate, l.burst)
		s.buckets[key] = found
	}
	return found
}

// sweep drops the buckets that are full, when there are many: after as many new
// ones as were left by the last sweep, or once a second.
func (s *bucketShard) sweep(now time.Time) {
	n := len(s.buckets)
	if n < s.sweepAt && (n < maxBuckets || now.Sub(s.swept) < sweepEvery) {
		return
	}
	maps.DeleteFunc(s.buckets, func(_ bucketKey, b *rate.Limiter) bool { return b.TokensAt(now) >= float64(b.Burst()) })
	s.sweepAt, s.swept = max(minSweep, 2*len(s.buckets)), now
}

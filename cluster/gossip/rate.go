package gossip

import (
	"sync"
	"time"
)

const (
	// readRate bounds the packets per second that are looked at, each of which costs
	// some microseconds for every key.
	readRate = 10_000
	// passRate bounds the authenticated packets per second that memberlist gets. A
	// cluster of five sends a node less than 100.
	passRate = 1_000
	// logRate bounds the lines per second, and logBurst those at once.
	logRate, logBurst = 1, 20
)

// A bucket allows rate events per second on average, and burst at once.
type bucket struct {
	rate, burst float64

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func newBucket(rate, burst float64) *bucket {
	return &bucket{rate: rate, burst: burst, tokens: burst}
}

// allow takes a token if there is one.
func (b *bucket) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.last.IsZero() {
		b.tokens = min(b.burst, b.tokens+b.rate*max(0, now.Sub(b.last).Seconds()))
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

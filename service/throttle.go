package service

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/kmsd/kmsd/fsm"
)

// throttle holds calls to the request rates of the replicated settings, by token
// buckets of one second's requests, or of one where a rate is below one a second.
//
// Each node counts what it executes: writes the leader, so that their rates hold
// for the cluster; reads the node that serves them, so that each node allows a
// quota's whole figure. Dividing the figure would refuse a client whose one
// connection leads to one node, at rates that AWS serves.
type throttle struct {
	now     func() time.Time
	current atomic.Pointer[rates]
	mu      sync.Mutex // held while current is replaced
	counted recent
}

func newThrottle(now func() time.Time) *throttle {
	t := &throttle{now: now}
	t.current.Store(new(rates))
	return t
}

// rates are one setting of the request rates, and the buckets under it.
type rates struct {
	source  *fsm.Throttle // nil: calls are not counted
	since   uint64        // the log index of the settings
	limits  map[Quota]limit
	buckets *buckets
}

// limit is one quota's figure, and the most requests at once.
type limit struct {
	rate  rate.Limit
	burst int
}

// newLimit takes thousandths of a request per second.
func newLimit(milli uint32) limit {
	const one = 1000
	return limit{rate: rate.Limit(milli) / one, burst: int((milli + one - 1) / one)}
}

// admit counts the call as what it is charged with, once however often the forwarding
// node sends it. It returns ThrottlingException, and the quota, when one is used up.
func (t *throttle) admit(r *Request, charges []charge) (Quota, error) {
	if len(charges) == 0 {
		return "", nil
	}
	rates := t.inForce(r.View.Throttle())
	if rates.source == nil {
		return "", nil
	}
	now := t.now()
	if r.row.Write && !t.counted.add(r.RequestID, now) {
		return "", nil
	}
	for _, c := range charges {
		limit, limited := rates.limits[c.quota]
		if limited && !rates.buckets.take(bucketKey{r.Principal.Account, c.quota, c.region}, limit, now) {
			return c.quota, errThrottled
		}
	}
	return "", nil
}

// inForce returns the rates of the settings, or those of later ones that another
// call has seen.
func (t *throttle) inForce(source *fsm.Throttle, since uint64) *rates {
	current := t.current.Load()
	if current.source == source || current.since > since {
		return current
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	current = t.current.Load()
	if current.source == source || current.since > since {
		return current
	}
	current = newRates(source, since)
	t.current.Store(current)
	return current
}

func newRates(source *fsm.Throttle, since uint64) *rates {
	r := &rates{source: source, since: since}
	if source == nil {
		return r
	}
	list := source.Rates
	if source.AWS {
		list = AWSRates()
	}
	r.limits, r.buckets = make(map[Quota]limit, len(list)), newBuckets()
	for _, one := range list {
		r.limits[Quota(one.Quota)] = newLimit(one.Milli)
	}
	return r
}

// size is the number of buckets, for the metrics.
func (t *throttle) size() float64 {
	if b := t.current.Load().buckets; b != nil {
		return float64(b.size())
	}
	return 0
}

const (
	// recentFor is how long a call that was counted is known. A forwarding node
	// sends a call again for at most writeDeadline.
	recentFor = writeDeadline + 3*time.Second
	// maxRecent bounds the calls that are known, twice. Beyond it a repetition may
	// be counted twice.
	maxRecent = 1 << 16
)

// recent knows the calls that were counted in the last recentFor at least, by the
// ids that their receivers gave them.
type recent struct {
	mu           sync.Mutex
	newer, older map[string]struct{} // guarded by mu
	turned       time.Time           // guarded by mu: since when newer fills
}

// add reports whether the call is new.
func (s *recent) add(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newer == nil || now.Sub(s.turned) >= recentFor || len(s.newer) >= maxRecent {
		s.older, s.newer, s.turned = s.newer, map[string]struct{}{}, now
	}
	if _, known := s.older[id]; known {
		return false
	}
	if _, known := s.newer[id]; known {
		return false
	}
	s.newer[id] = struct{}{}
	return true
}

package service

import (
	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/fsm"
)

// Fill takes every place of every pool and returns what gives them back. Calls
// meanwhile find no room and no place to wait.
func (s *Service) Fill() (empty func()) {
	full := newPool(0, 0, 0)
	return s.replace(pools{full, full, full, full, full})
}

// FillPool is Fill for one pool: "read", "rsa", "heavy", "write" or "operator".
func (s *Service) FillPool(name string) (empty func()) {
	filled := s.pools
	*filled.named(name) = newPool(0, 0, 0)
	return s.replace(filled)
}

// Hold takes the only place of a pool and returns what gives it back. Calls
// meanwhile wait, for a second at most.
func (s *Service) Hold(name string) (leave func()) {
	held := s.pools
	p := newPool(1, 10, maxQueueing)
	*held.named(name) = p
	s.replace(held)
	p.try()
	return p.leave
}

// Limit gives a pool that many places.
func (s *Service) Limit(name string, places int64) {
	limited := s.pools
	*limited.named(name) = newPool(places, 10, maxQueueing)
	s.replace(limited)
}

func (s *Service) replace(other pools) (back func()) {
	was := s.pools
	s.pools = other
	return func() { s.pools = was }
}

func (p *pools) named(name string) **pool {
	return map[string]**pool{"read": &p.read, "rsa": &p.rsa, "heavy": &p.heavy, "write": &p.write, "operator": &p.operator}[name]
}

// OccupyWrites takes every place of the writes' pool and returns what gives them
// back.
func (s *Service) OccupyWrites() (leave func()) {
	p := s.pools.write
	for p.try() {
	}
	return func() {
		for range p.limit {
			p.leave()
		}
	}
}

// HeldUses returns how many keys' uses wait to be known to replicated state, or were
// known to it only lately.
func (s *Service) HeldUses() int {
	keys, _ := s.held()
	return keys
}

// HeldCredentials is HeldUses for access keys and roles.
func (s *Service) HeldCredentials() int {
	_, credentials := s.held()
	return credentials
}

func (s *Service) held() (keys, credentials int) {
	s.usage.mu.Lock()
	defer s.usage.mu.Unlock()
	for _, h := range s.usage.held {
		if h.place == nil {
			keys++
		} else {
			credentials++
		}
	}
	return keys, credentials
}

// ForwardedUses is what a member sends that hands uses over.
func ForwardedUses(keys []fsm.Usage, credentials ...fsm.CredentialUse) []byte {
	data, err := cbor.Marshal(forwardedCall{Version: forwardVersion, Usage: keys, Credentials: credentials})
	if err != nil {
		panic(err)
	}
	return data
}

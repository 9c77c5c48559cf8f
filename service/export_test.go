package service

import (
	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/fsm"
)

// Fill takes every place of the admission and returns what gives them back.
// Calls meanwhile find no room and no place to wait.
func (s *Service) Fill() (empty func()) {
	full := newPool(0, 0, 0)
	was := s.pool
	s.pool = full
	return func() { s.pool = was }
}

// Hold takes the only place of the admission and returns what gives it back.
// Calls meanwhile wait, for a second at most.
func (s *Service) Hold() (leave func()) {
	s.pool = newPool(1, 10, maxQueueing)
	s.pool.try()
	return s.pool.leave
}

// HeldUses returns how many keys' uses wait to be known to replicated state, or were
// known to it only lately.
func (s *Service) HeldUses() int {
	s.usage.mu.Lock()
	defer s.usage.mu.Unlock()
	return len(s.usage.held)
}

// ForwardedUses is what a member sends that hands uses over.
func ForwardedUses(uses []fsm.Usage) []byte {
	data, err := cbor.Marshal(forwardedCall{Version: forwardVersion, Usage: uses})
	if err != nil {
		panic(err)
	}
	return data
}

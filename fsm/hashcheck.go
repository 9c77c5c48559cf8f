package fsm

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/kmsd/kmsd/kms"
)

// HashCheck compares states. Every node keeps the state that it had right after
// its last HashCheck; the next one carries the leader's digest of it, and a node
// whose own differs stops with ErrDiverged. PrevIndex 0 compares nothing. A node
// that kept another state than PrevIndex's, because two leaders' checks crossed,
// compares nothing either.
type HashCheck struct {
	PrevIndex  uint64   `cbor:"1,keyasint"`
	PrevDigest [32]byte `cbor:"2,keyasint"`
}

func (HashCheck) command() (Type, uint8) { return TypeHashCheck, 1 }

func (c HashCheck) check() error {
	if c.PrevIndex == 0 && c.PrevDigest != [32]byte{} {
		return errors.New("a digest of no state")
	}
	return nil
}

func hashCheck(t *txn, c *HashCheck) (*kms.Error, error) {
	index, digest := t.state.check.get(c.PrevIndex)
	if c.PrevIndex != 0 && index == c.PrevIndex && digest != c.PrevDigest {
		return nil, fmt.Errorf("%w: compared at log index %d", ErrDiverged, index)
	}
	t.checkpoint = true
	return nil, nil
}

// A checkpoint is the state after a HashCheck. Its digest is computed when it is
// first asked for, which spares the applying goroutine; then the state is let
// go.
type checkpoint struct {
	index  uint64
	root   atomic.Pointer[root]
	digest atomic.Pointer[[32]byte]
}

// setCheckpoint keeps the state as the one to compare next.
func (s *state) setCheckpoint(index uint64) {
	r := s.freeze()
	r.index, r.check = index, nil // else every checkpoint would keep the one before
	c := &checkpoint{index: index}
	c.root.Store(r)
	s.check = c
}

// get returns the checkpoint's index, and its digest if the index is want.
func (c *checkpoint) get(want uint64) (index uint64, digest [32]byte) {
	if c == nil {
		return 0, digest
	}
	if c.index == want {
		digest = c.sum()
	}
	return c.index, digest
}

// sum may be called by several goroutines: they compute the same digest, and the
// root goes only after the digest is there.
func (c *checkpoint) sum() [32]byte {
	r := c.root.Load()
	if d := c.digest.Load(); d != nil {
		return *d
	}
	d := r.digest()
	c.digest.Store(&d)
	c.root.Store(nil)
	return d
}

// Check returns the index of the last applied HashCheck and the digest of the
// state right after it, the two values that the next HashCheck carries; 0 and
// zeroes if there was none. The first call after a HashCheck hashes what changed
// since the one before. Call it soon, outside of the applying goroutine, lest the
// next HashCheck has to do it.
func (m *Machine) Check() (index uint64, digest [32]byte) {
	c := m.published.Load().check
	if c == nil {
		return 0, digest
	}
	return c.index, c.sum()
}

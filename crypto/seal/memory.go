package seal

import "context"

// Memory is a seal whose random key is held by this process alone: what it sealed
// is lost with the process. `kmsd dev` without a data directory uses it, and tests.
type Memory struct{ b *box }

var _ Sealer = (*Memory)(nil)

// NewMemory makes a Memory seal with a random key.
func NewMemory() *Memory { return &Memory{b: newBox(kindMemory, newKey())} }

// Seal implements Sealer.
func (m *Memory) Seal(_ context.Context, rootKey, aad []byte) ([]byte, error) {
	return m.b.seal(rootKey, aad)
}

// Open implements Sealer.
func (m *Memory) Open(_ context.Context, sealed, aad []byte) ([]byte, error) {
	return m.b.open(sealed, aad)
}

// Kind returns "memory".
func (*Memory) Kind() string { return kindMemory }

package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
)

// MaxSeals is the number of seals under one term after which the cluster makes a
// new one.
const MaxSeals = 1 << 30

const (
	termZeroInfo = "kmsd/term-zero/v1"
	termPurpose  = "kmsd/keyring-term/v1"
	wrappedSize  = rootBoxOverhead + keySize
	maxClusterID = 64   // bytes; a UUID has 36
	maxTerms     = 4096 // in one snapshot header; a term lives 90 days
)

var (
	// ErrOpen is returned when sealed data does not open: it was changed, or it was
	// made for another cluster, purpose, record or root. It never says which.
	ErrOpen = errors.New("kmsd: sealed data does not open: it was changed, or was sealed for something else")
	// ErrUnknownTerm is returned when data names a keyring term that is not loaded.
	// While a log is replayed the term may stand in an earlier entry that is not
	// applied yet.
	ErrUnknownTerm = errors.New("kmsd: the keyring lacks the term that sealed this data")
	// ErrNoTerm is returned when something other than a log entry is to be sealed
	// before any term is loaded.
	ErrNoTerm = errors.New("kmsd: the keyring has no term yet")
	// ErrTooLarge is returned when something to be sealed or opened is larger than
	// its format allows.
	ErrTooLarge = errors.New("kmsd: too large to be sealed")
)

// Keyring holds a cluster's terms: keys that seal log entries, snapshots and the
// secrets of records, each wrapped by the root key. Terms are replicated; the
// keyring is a node's opened copy of them. Everything is safe for concurrent
// use, and only Load and OpenStream take a lock.
type Keyring struct {
	redacted
	clusterID string
	root      *Root
	epoch     atomic.Uint64

	mu    sync.Mutex // serialises changes of terms
	terms atomic.Pointer[termSet]
}

// A termSet is immutable. It always holds term 0.
type termSet struct {
	current  *term
	byNumber map[uint32]*term
}

type term struct {
	number  uint32
	key     Secret
	wrapped []byte // nil for term 0
	seals   atomic.Uint64
}

// NewKeyring returns a keyring that holds term 0 only: a key derived from the
// root, under which the first log entry of a cluster, which brings term 1, is
// sealed. The clusterID, at most 64 bytes, is bound to everything that is sealed.
func NewKeyring(clusterID string, root *Root) *Keyring {
	if clusterID == "" || len(clusterID) > maxClusterID {
		panic("kmsd: a cluster id has 1 to 64 bytes")
	}
	k := &Keyring{clusterID: clusterID, root: root}
	zero := &term{key: NewSecret(deriveKey(root.Bytes(), []byte(clusterID), termZeroInfo, keySize))}
	k.terms.Store(newTermSet(map[uint32]*term{0: zero}))
	return k
}

func newTermSet(byNumber map[uint32]*term) *termSet {
	set := &termSet{byNumber: byNumber}
	for _, t := range byNumber {
		if set.current == nil || t.number > set.current.number {
			set.current = t
		}
	}
	return set
}

// ClusterID returns the id given to NewKeyring.
func (k *Keyring) ClusterID() string { return k.clusterID }

// RootID returns the id of the root key.
func (k *Keyring) RootID() string { return k.root.ID() }

// SetRestoreEpoch sets the number, 0 at first, that is bound to log entries, so
// that the log from before a restore does not open after it.
func (k *Keyring) SetRestoreEpoch(epoch uint64) { k.epoch.Store(epoch) }

// NewTerm makes a random key for term, at least 1, and returns it wrapped by the
// root. The keyring itself is unchanged: Load takes the wrapped key once it
// stands in replicated state.
func (k *Keyring) NewTerm(term uint32) (wrapped []byte, err error) {
	if term == 0 {
		return nil, errors.New("kmsd: term 0 is derived from the root key, not made")
	}
	key := Random(keySize)
	defer Wipe(key)
	return k.root.Seal(termPurpose, k.termID(term), key), nil
}

// Load makes the keyring hold term 0 and exactly the given terms, which are
// wrapped as NewTerm returned them. On an error nothing has changed. Terms that
// stay keep their count of seals.
func (k *Keyring) Load(terms map[uint32][]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.terms.Load().byNumber
	next := map[uint32]*term{0: old[0]}
	for number, wrapped := range terms {
		t, err := k.unwrap(number, wrapped, old[number])
		if err != nil {
			return err
		}
		next[number] = t
	}
	k.terms.Store(newTermSet(next))
	return nil
}

// merge adds the terms of a snapshot's header, which k.unwrap opened. A term that
// is there already must have the same key.
func (k *Keyring) merge(terms map[uint32]*term) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := maps.Clone(k.terms.Load().byNumber)
	for number, t := range terms {
		if have := next[number]; have == nil {
			next[number] = t
		} else if !have.key.Equal(t.key.Bytes()) {
			return fmt.Errorf("kmsd: keyring term %d has two different keys", number)
		}
	}
	k.terms.Store(newTermSet(next))
	return nil
}

// unwrap opens one term. It returns have, the term as loaded before, unless the
// wrapping differs.
func (k *Keyring) unwrap(number uint32, wrapped []byte, have *term) (*term, error) {
	if number == 0 {
		return nil, errors.New("kmsd: a stored keyring names term 0")
	}
	if have != nil && bytes.Equal(have.wrapped, wrapped) {
		return have, nil
	}
	if len(wrapped) != wrappedSize {
		return nil, fmt.Errorf("kmsd: keyring term %d has %d bytes, not %d", number, len(wrapped), wrappedSize)
	}
	key, err := k.root.Open(termPurpose, k.termID(number), wrapped)
	if err != nil {
		return nil, fmt.Errorf("opening keyring term %d: %w", number, err)
	}
	if have != nil && !have.key.Equal(key) {
		return nil, fmt.Errorf("kmsd: keyring term %d has two different keys", number)
	}
	return &term{number: number, key: NewSecret(key), wrapped: bytes.Clone(wrapped)}, nil
}

func (k *Keyring) termID(number uint32) string {
	return k.clusterID + "/" + strconv.FormatUint(uint64(number), 10)
}

// Current returns the highest term, under which everything new is sealed. It is 0
// before the first Load.
func (k *Keyring) Current() uint32 { return k.terms.Load().current.number }

// Seals returns how often this process has sealed under the current term since
// it was loaded.
func (k *Keyring) Seals() uint64 { return k.terms.Load().current.seals.Load() }

// byNumber returns a loaded term, or ErrUnknownTerm naming it.
func (k *Keyring) byNumber(number uint32) (*term, error) {
	if t := k.terms.Load().byNumber[number]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("%w (term %d)", ErrUnknownTerm, number)
}

package fsm

import (
	"errors"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// Usage is the last successful cryptographic use of a key that is known (AWS:
// GetKeyLastUsage). A key that was not used has none.
type Usage struct {
	Versioned
	Region    string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
	Operation string `cbor:"3,keyasint"` // the API's name
	// Time is when the use was decided, in milliseconds since 1970, by the clock of
	// the node that served it.
	Time int64 `cbor:"4,keyasint"`
	// EventID names the audit record of the use, RequestID the client's request.
	EventID   string `cbor:"5,keyasint"`
	RequestID string `cbor:"6,keyasint"`
}

func (u *Usage) appendID(dst []byte) []byte { return appendJoined(dst, u.Region, u.KeyID) }

// After tells whether the use is later than another one of the same key. The event
// decides between uses of one millisecond, so that all nodes keep the same, in
// whichever order they hear of them.
func (u *Usage) After(other *Usage) bool {
	return u.Time > other.Time || u.Time == other.Time && u.EventID > other.EventID
}

const (
	// MaxUsages bounds what one RecordUsage or RecordCredentials carries: even the
	// longest of them fit a command.
	MaxUsages = 512

	maxOperation = 64 // bytes
	maxEventID   = 64 // bytes
)

// Check refuses a use that no command can carry.
func (u *Usage) Check() error {
	switch {
	case !kms.ValidRegion(u.Region) || !kms.ValidKeyID(u.KeyID):
		return errors.New("a use of no key")
	case u.Operation == "" || len(u.Operation) > maxOperation:
		return errors.New("a use by no operation")
	case len(u.EventID) > maxEventID || len(u.RequestID) > maxRequestID:
		return errors.New("a use whose event or request has too long a name")
	case u.Time < 0 || u.ModIndex != 0:
		return errors.New("a use that has a negative time or an index")
	}
	return nil
}

// Compare orders uses by their keys.
func (u *Usage) Compare(other *Usage) int {
	if c := strings.Compare(u.Region, other.Region); c != 0 {
		return c
	}
	return strings.Compare(u.KeyID, other.KeyID)
}

// RecordUsage brings the last uses of some keys, which the nodes have gathered, at
// most MaxUsages, in the order of Usage.Compare and each key once. Apply keeps the
// later use of each key and passes over keys that do not exist: they were deleted
// meanwhile.
type RecordUsage struct {
	Entries []Usage `cbor:"1,keyasint"`
}

func (RecordUsage) command() (Type, uint8) { return TypeRecordUsage, 1 }

func (c RecordUsage) check() error { return checkUses(c.Entries) }

// checkUses refuses what no command carries: none or too many uses, malformed ones,
// and those that are out of order.
func checkUses[U any, P interface {
	*U
	Check() error
	Compare(P) int
}](uses []U) error {
	if len(uses) == 0 || len(uses) > MaxUsages {
		return errors.New("no uses, or too many of them")
	}
	for i := range uses {
		if err := P(&uses[i]).Check(); err != nil {
			return err
		}
		if i > 0 && P(&uses[i-1]).Compare(&uses[i]) >= 0 {
			return errors.New("uses out of order")
		}
	}
	return nil
}

func recordUsage(t *txn, c *RecordUsage) (*kms.Error, error) {
	for i := range c.Entries {
		u := c.Entries[i] // a copy: the state must not keep the whole command alive
		if known, exists := t.state.usage(u.Region, u.KeyID); exists && (known == nil || u.After(known)) {
			t.put(tableUsage, &u)
		}
	}
	return nil, nil
}

// dropUsage forgets the uses of a key that is deleted.
func (t *txn) dropUsage(region, keyID string) {
	if u := t.state.get(tableUsage, region, keyID); u != nil {
		t.drop(tableUsage, u)
	}
}

// usage returns a key's last use, nil for none, and whether there is such a key.
func (r *root) usage(region, keyID string) (u *Usage, exists bool) {
	if r.get(tableKeys, region, keyID) == nil {
		return nil, false
	}
	u, _ = r.get(tableUsage, region, keyID).(*Usage)
	return u, true
}

// Usage returns what replicated state knows of a key's last use, nil for nothing,
// and whether there is such a key. The nodes gather it behind the calls, so that
// nobody may rely on it: read set and MaxIndex stay as they are.
func (v *View) Usage(region, keyID string) (u *Usage, exists bool) {
	return v.root.usage(region, keyID)
}

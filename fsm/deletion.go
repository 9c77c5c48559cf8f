package fsm

import (
	"errors"

	"github.com/kmsd/kmsd/kms"
)

// day and hour are in milliseconds, as all times of the state are.
const (
	hour = int64(3_600_000)
	day  = 24 * hour
)

// The waiting period of a deletion, in days (AWS: ScheduleKeyDeletion).
const (
	minPendingWindow = 7
	maxPendingWindow = 30
)

// ScheduleKeyDeletion lets a key wait for its deletion. The leader named the date
// to the caller, so the command carries it: at least Window days after the
// command's time. A multi-Region primary waits for the end of its replicas first, and
// has no date until then.
type ScheduleKeyDeletion struct {
	Account      string `cbor:"1,keyasint"`
	Region       string `cbor:"2,keyasint"`
	KeyID        string `cbor:"3,keyasint"`
	Window       uint16 `cbor:"4,keyasint"` // days
	DeletionDate int64  `cbor:"5,keyasint"` // milliseconds since 1970
}

func (ScheduleKeyDeletion) command() (Type, uint8) { return TypeScheduleKeyDeletion, 1 }

func (c ScheduleKeyDeletion) check() error {
	if c.Window < minPendingWindow || c.Window > maxPendingWindow || c.DeletionDate <= 0 {
		return errors.New("a deletion outside its waiting period")
	}
	return checkKeyRef(c.Account, c.Region, c.KeyID)
}

func scheduleKeyDeletion(t *txn, c *ScheduleKeyDeletion) (*kms.Error, error) {
	k, refusal := t.livingKey(c.Account, c.Region, c.KeyID)
	if refusal == nil {
		refusal = refuseState(k, kms.Updating)
	}
	if refusal == nil && c.DeletionDate < t.meta.Time+int64(c.Window)*day {
		refusal = &kms.Error{Code: kms.CodeValidation, Message: "The deletion date lies within the waiting period."}
	}
	if refusal != nil {
		return refusal, nil
	}
	waiting := *k
	waiting.State, waiting.DeletionDate, waiting.PendingWindow = kms.PendingDeletion, c.DeletionDate, c.Window
	if !k.Replica && len(t.related(k)) > 1 {
		waiting.State, waiting.DeletionDate = kms.PendingReplicaDeletion, 0
	}
	t.put(tableKeys, &waiting)
	t.made = []string{k.ID}
	return nil, nil
}

// CancelKeyDeletion lets a key live on: disabled, or waiting for its material when
// it has none. Its rotation goes on by the schedule that it had.
type CancelKeyDeletion struct {
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	KeyID   string `cbor:"3,keyasint"`
}

func (CancelKeyDeletion) command() (Type, uint8) { return TypeCancelKeyDeletion, 1 }

func (c CancelKeyDeletion) check() error { return checkKeyRef(c.Account, c.Region, c.KeyID) }

func cancelKeyDeletion(t *txn, c *CancelKeyDeletion) (*kms.Error, error) {
	k, refusal := t.key(c.Account, c.Region, c.KeyID)
	if refusal == nil {
		refusal = refuseUndeleted(k)
	}
	if refusal != nil {
		return refusal, nil
	}
	kept := *k
	kept.State, kept.DeletionDate, kept.PendingWindow = kms.Disabled, 0, 0
	if kept.CurrentMaterial == "" || kept.Incomplete {
		kept.State = kms.PendingImport
	}
	t.put(tableKeys, &kept)
	t.made = []string{k.ID}
	return nil, nil
}

// refuseUndeleted refuses a key that no deletion waits for.
func refuseUndeleted(k *Key) *kms.Error {
	if k.State == kms.PendingDeletion || k.State == kms.PendingReplicaDeletion {
		return nil
	}
	return &kms.Error{Code: kms.CodeInvalidState, Message: k.ARN() + " is not pending deletion."}
}

// deletionGrace is how long after its date a key is destroyed at the earliest: so
// far may the clocks of all members be wrong together before a key goes early.
const deletionGrace = hour

// DeleteKey destroys a key whose waiting period is over, with all that hangs on
// it. The leader proposes it once a majority's clocks agree. It is refused unless
// the key still waits for this very date, and the machine's time is an hour past
// it.
type DeleteKey struct {
	Account      string `cbor:"1,keyasint"`
	Region       string `cbor:"2,keyasint"`
	KeyID        string `cbor:"3,keyasint"`
	DeletionDate int64  `cbor:"4,keyasint"` // milliseconds since 1970
}

func (DeleteKey) command() (Type, uint8) { return TypeDeleteKey, 1 }

func (c DeleteKey) check() error { return checkKeyRef(c.Account, c.Region, c.KeyID) }

func deleteKey(t *txn, c *DeleteKey) (*kms.Error, error) {
	k, refusal := t.key(c.Account, c.Region, c.KeyID)
	if refusal == nil {
		refusal = refuseUndeleted(k)
	}
	if refusal == nil {
		refusal = refuseState(k, kms.PendingReplicaDeletion)
	}
	if refusal == nil && (k.DeletionDate != c.DeletionDate || t.meta.Time < c.DeletionDate+deletionGrace) {
		refusal = &kms.Error{Code: kms.CodeInvalidState, Message: k.ARN() + " is pending deletion."}
	}
	if refusal != nil {
		return refusal, nil
	}
	t.destroy(k)
	return nil, nil
}

// destroy drops a key, its aliases, tags, grants and its share of a policy, and its
// materials unless a related key has them, too.
func (t *txn) destroy(k *Key) {
	t.drop(tableKeys, k)
	if shared := t.release(k); !shared || k.materialRegion() != "" {
		t.destroyMaterials(k)
	}
	for _, a := range t.owned(aliasesByKey, k.Account, k.Region, k.ID) {
		t.drop(tableAliases, a)
	}
	if s := t.state.get(tableTags, k.Region, k.ID); s != nil {
		t.drop(tableTags, s)
	}
	for _, g := range t.owned(grantsByKey, k.Region, k.ID) {
		t.drop(tableGrants, g)
	}
	t.dropUsage(k.Region, k.ID)
	t.recount([][32]byte{k.PolicyHash}, nil, nil)
}

// destroyMaterials drops the materials of a key that no other key has.
func (t *txn) destroyMaterials(k *Key) {
	materials := t.owned(materialsByKey, k.MaterialOwner())
	for _, m := range materials {
		t.drop(tableMaterials, m)
	}
	if len(materials) > 0 {
		t.erase(k.ID)
	}
}

// owned returns the records of an owner's index in their order.
func (t *txn) owned(index uint8, owner ...string) (out []record) {
	if o, _ := t.state.owned(index, owner...); o != nil {
		o.tree.Scan(func(_ string, rec record) bool {
			out = append(out, rec)
			return true
		})
	}
	return out
}

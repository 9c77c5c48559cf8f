package fsm

import (
	"encoding/binary"

	"github.com/kmsd/kmsd/kms"
)

// duePlaces is where the key stands among those that something is to happen to by
// itself. Whatever changes the date or the state moves it.
func (k *Key) duePlaces() []place {
	var out []place
	if k.State == kms.PendingDeletion {
		out = append(out, place{index: deletionsByDate, key: k.dueKey(k.DeletionDate)})
	}
	if at, kind, ok := k.DueRotation(); ok {
		if kind == kms.RotationOnDemand {
			at = 0 // whatever the clocks show
		}
		out = append(out, place{index: rotationsByDate, key: k.dueKey(at)})
	}
	if at, ok := k.DueExpiry(); ok {
		out = append(out, place{index: expiriesByDate, key: k.dueKey(at)})
	}
	return out
}

// DueRotation returns when the key's next rotation is due, in milliseconds since
// 1970, and which kind it is. A rotation on demand goes first, and its date is when
// it was asked for: it waits for no clock. ok is false for a key that does not rotate as it
// is: without a schedule, or not enabled.
func (k *Key) DueRotation() (at int64, kind kms.RotationType, ok bool) {
	switch {
	case k.State != kms.Enabled:
		return 0, "", false
	case k.OnDemandStart != 0:
		return k.OnDemandStart, kms.RotationOnDemand, true
	case k.RotationPeriod != 0:
		return k.NextRotation, kms.RotationAutomatic, true
	}
	return 0, "", false
}

// dueKey sorts by date. Dates are not negative.
func (k *Key) dueKey(date int64) string {
	return indexKey(uint64(date)) + k.Region + "/" + k.ID
}

// dueDate is the date in a dueKey.
func dueDate(key string) int64 {
	return int64(binary.BigEndian.Uint64([]byte(key[:8])))
}

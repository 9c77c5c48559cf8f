package fsm

// Erasure is the one record of table erasures: when a command destroyed secrets
// last. Each node clears older log entries and snapshots, which hold them still,
// off its disk. ModIndex is the command's log index; the command itself holds
// nothing of what it destroyed.
type Erasure struct {
	Versioned
	// Time is the machine's time of the command, in milliseconds since 1970.
	Time int64 `cbor:"1,keyasint"`
}

const erasureID = "last"

func (*Erasure) appendID(dst []byte) []byte { return append(dst, erasureID...) }

// erase says that the command destroys the secrets of keys or access keys. Every
// apply function that drops or replaces sealed secrets calls it.
func (t *txn) erase(ids ...string) {
	if len(ids) == 0 {
		return
	}
	if len(t.erased) == 0 {
		t.put(tableErasures, &Erasure{Time: t.now})
	}
	t.erased = append(t.erased, ids...)
}

// Erasure returns when secrets were destroyed last, nil when none ever were.
func (v *View) Erasure() *Erasure {
	e, _ := v.get(tableErasures, erasureID).(*Erasure)
	return e
}

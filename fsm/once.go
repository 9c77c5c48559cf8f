package fsm

import "encoding/binary"

const (
	// onceAge is how long, in milliseconds of the machine's time, a request is
	// remembered: longer than any client retries.
	onceAge = 15 * 60 * 1000
	// onceMax bounds the remembered requests.
	onceMax = 200_000
	// onceSweep bounds how many expired entries one command removes, so that the
	// first command after a quiet time does not pay for all of them. Expired
	// entries that are still there are not found.
	onceSweep = 64
)

// Once remembers a command that was applied, so that the same request is not
// applied twice. It takes at most 256 bytes and holds neither a response nor a
// secret.
type Once struct {
	Versioned
	Key ReqKey `cbor:"1,keyasint"`
	// Index is the log index of the application.
	Index uint64 `cbor:"2,keyasint"`
	// Time is the machine's time of the application, in milliseconds since 1970.
	Time int64 `cbor:"3,keyasint"`
	// RequestID is the request that was applied.
	RequestID string `cbor:"4,keyasint,omitempty"`
	// IDs are the identifiers that the command made, such as the new key's.
	IDs []string `cbor:"5,keyasint,omitempty"`
}

func (o *Once) appendID(dst []byte) []byte { return append(dst, o.Key[:]...) }

func oncePlaces(rec record) []place {
	return []place{{index: onceByIndex, key: indexKey(rec.(*Once).Index)}}
}

// indexKey makes numbers sort as text.
func indexKey(n uint64) string {
	return string(binary.BigEndian.AppendUint64(nil, n))
}

// once finds the entry of a request that was applied at most onceAge ago.
func (r *root) once(key ReqKey, now int64) (*Once, bool) {
	if key == (ReqKey{}) {
		return nil, false
	}
	o, ok := r.get(tableOnce, string(key[:])).(*Once)
	if !ok || now-o.Time > onceAge {
		return nil, false
	}
	return o, true
}

// remember enters an applied command. An expired entry of the same request is
// replaced.
func (s *state) remember(key ReqKey, t *txn) {
	s.put(tableOnce, t.index, &Once{Key: key, Index: t.index, Time: t.now, RequestID: t.meta.RequestID, IDs: t.made})
}

// forget removes the oldest entries: those beyond onceMax, and expired ones.
func (s *state) forget(index uint64) {
	for swept := 0; swept < onceSweep; swept++ {
		o := s.oldestOnce()
		if o == nil || s.tables[tableOnce].size() <= onceMax && s.time-o.Time <= onceAge {
			return
		}
		s.drop(tableOnce, index, o)
	}
}

func (s *state) oldestOnce() *Once {
	o, _ := s.owned(onceByIndex, "")
	if o == nil {
		return nil
	}
	_, rec, _ := o.tree.Min()
	once, _ := rec.(*Once)
	return once
}

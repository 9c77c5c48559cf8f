package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync/atomic"
)

// digestLabel separates the digest's version from all others.
const digestLabel = "kmsd/fsm/digest/v1"

// digest hashes the state: the time and, table by table, the digests of the
// shards that hold records. Records are hashed as their encodings with their
// lengths. Empty shards do not count, so that a restored state, which never had
// them, has the same digest.
func (r *root) digest() [32]byte {
	h := sha256.New()
	h.Write([]byte(digestLabel))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(r.time)))
	for i, t := range r.tables {
		d := t.sum()
		writePart(h, i, &d)
	}
	return [32]byte(h.Sum(nil))
}

func writePart(h hash.Hash, position int, digest *[32]byte) {
	if *digest != [32]byte{} {
		h.Write([]byte{byte(position)})
		h.Write(digest[:])
	}
}

// cached returns the digest that a node holds, or computes and keeps it. Several
// goroutines may compute it at once: they find the same.
func cached(cell *atomic.Pointer[[32]byte], compute func() [32]byte) [32]byte {
	if d := cell.Load(); d != nil {
		return *d
	}
	d := compute()
	cell.Store(&d)
	return d
}

// sum is zero for a table without records, as it is for groups and leaves.
func (t *table) sum() [32]byte {
	if t.size() == 0 {
		return [32]byte{}
	}
	return cached(&t.digest, func() [32]byte {
		return sumParts(fanout, func(i int) [32]byte { return t.groups[i].sum() })
	})
}

func (g *group) sum() [32]byte {
	if g == nil {
		return [32]byte{}
	}
	return cached(&g.digest, func() [32]byte {
		return sumParts(fanout, func(i int) [32]byte { return g.leaves[i].sum() })
	})
}

// sumParts hashes the digests of the parts that hold records; it is zero when
// none does.
func sumParts(n int, part func(int) [32]byte) [32]byte {
	h, empty := sha256.New(), true
	for i := range n {
		d := part(i)
		empty = empty && d == [32]byte{}
		writePart(h, i, &d)
	}
	if empty {
		return [32]byte{}
	}
	return [32]byte(h.Sum(nil))
}

func (l *leaf) sum() [32]byte {
	if l == nil || len(l.entries) == 0 {
		return [32]byte{}
	}
	return cached(&l.digest, func() [32]byte {
		h := sha256.New()
		var buf bytes.Buffer
		for _, e := range l.entries {
			buf.Reset()
			encode(&buf, e.rec)
			h.Write(binary.BigEndian.AppendUint32(nil, uint32(buf.Len())))
			h.Write(buf.Bytes())
		}
		return [32]byte(h.Sum(nil))
	})
}

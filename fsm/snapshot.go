package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
)

// A snapshot is written as
//
//	magic (8 bytes)
//	length ‖ header
//	for every table that has records, in ascending order of numbers:
//	  table number (1 byte)
//	  length ‖ record, for every record in the order of shards and ids
//	  length 0
//	table number 0
//	number of records (8 bytes)
//	SHA-256 over everything before it
//
// Lengths take 4 bytes, numbers are big-endian, header and records are
// deterministic CBOR. The stream is plain: whoever stores it seals it.
//
// A table without records is left out, so that a build with more tables writes
// what older ones can read as long as the state uses none of them. A build that
// meets a table or a field that it does not know refuses the whole snapshot.
const (
	snapshotMagic  = "kmsd-fsm"
	snapshotFormat = 1
	// snapshotVersion grows when a build writes records that older builds must
	// not drop silently. A new one is written only from the cluster version on that
	// brings it: a member with an older release needs snapshots as well.
	snapshotVersion = 1
	// maxRecord bounds one record of a snapshot, in bytes. A record comes from one
	// command, which is smaller than 256 KiB.
	maxRecord = 1 << 20
)

type snapshotHeader struct {
	Format      uint32         `cbor:"1,keyasint"`
	Version     uint32         `cbor:"2,keyasint"`
	Index       uint64         `cbor:"3,keyasint"`
	Time        int64          `cbor:"4,keyasint"`
	Seed        [seedSize]byte `cbor:"5,keyasint"`
	CheckIndex  uint64         `cbor:"6,keyasint,omitempty"`
	CheckDigest [32]byte       `cbor:"7,keyasint,omitzero"`
}

// Snapshot is the state at one index. Taking one costs nothing; it stays valid,
// and keeps the memory of that state, as long as it is referenced.
type Snapshot struct{ root *root }

// Snapshot takes the published state.
func (m *Machine) Snapshot() *Snapshot { return &Snapshot{m.published.Load()} }

// Index returns the log index of the state.
func (s *Snapshot) Index() uint64 { return s.root.index }

// Digest returns the digest of the state.
func (s *Snapshot) Digest() [32]byte { return s.root.digest() }

// Persist writes the snapshot to w. It may run while the machine applies.
// Equal states give equal bytes.
func (s *Snapshot) Persist(w io.Writer) error {
	p := &persister{w: w, sum: sha256.New()}
	h := snapshotHeader{Format: snapshotFormat, Version: snapshotVersion,
		Index: s.root.index, Time: s.root.time, Seed: s.root.seed}
	if c := s.root.check; c != nil {
		h.CheckIndex, h.CheckDigest = c.index, c.sum()
	}
	p.write([]byte(snapshotMagic))
	p.writeItem(&h)
	for number, t := range s.root.tables {
		if t.size() > 0 {
			p.writeTable(uint8(number), t)
		}
	}
	p.write([]byte{0})
	p.write(binary.BigEndian.AppendUint64(nil, p.count))
	p.write(p.sum.Sum(nil))
	p.flush()
	if p.err != nil {
		return fmt.Errorf("writing snapshot: %w", p.err)
	}
	return nil
}

// persister writes the stream in pieces of about 64 KiB and keeps the first
// error.
type persister struct {
	w     io.Writer
	sum   hash.Hash
	count uint64
	buf   bytes.Buffer // what is not written yet
	item  bytes.Buffer
	err   error
}

const persistChunk = 64 << 10

func (p *persister) write(b []byte) {
	p.sum.Write(b)
	if p.buf.Write(b); p.buf.Len() >= persistChunk {
		p.flush()
	}
}

func (p *persister) flush() {
	if p.err == nil {
		_, p.err = p.w.Write(p.buf.Bytes())
	}
	p.buf.Reset()
}

func (p *persister) writeItem(v any) {
	p.item.Reset()
	encode(&p.item, v)
	p.write(binary.BigEndian.AppendUint32(nil, uint32(p.item.Len())))
	p.write(p.item.Bytes())
}

func (p *persister) writeTable(number uint8, t *table) {
	p.write([]byte{number})
	t.each(func(e element) bool {
		p.writeItem(e.rec)
		p.count++
		return p.err == nil
	})
	p.write([]byte{0, 0, 0, 0})
}

package fsm

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"slices"
)

// Restore replaces the state by the snapshot that r holds to its end. The new
// state is built aside and published when the whole stream was read and its
// checksum verified; until then, and if it fails, views see the old one. A
// machine that had stopped works again. Errors wrap ErrUndecodable or
// ErrInconsistent, or come from r.
//
// What the old state holds is not compared: a snapshot may be older.
func (m *Machine) Restore(r io.Reader) error {
	l := &loader{r: bufio.NewReaderSize(r, persistChunk), sum: sha256.New(), state: state{epoch: 1}}
	if err := l.run(); err != nil {
		return fmt.Errorf("restoring snapshot: %w", err)
	}
	m.state, m.stopped = l.state, nil
	m.publish()
	return nil
}

// loader reads one snapshot.
type loader struct {
	r     *bufio.Reader
	sum   hash.Hash
	count uint64
	buf   []byte
	state state
}

func (l *loader) run() error {
	if err := l.header(); err != nil {
		return err
	}
	last := uint8(0)
	for {
		number, err := l.read(1)
		if err != nil {
			return err
		}
		if number[0] == 0 {
			return l.trailer()
		}
		if number[0] <= last {
			return fmt.Errorf("%w: table %d after table %d", ErrInconsistent, number[0], last)
		}
		last = number[0]
		if err := l.table(last); err != nil {
			return fmt.Errorf("table %d: %w", last, err)
		}
	}
}

func (l *loader) header() error {
	magic, err := l.read(len(snapshotMagic))
	if err != nil {
		return err
	}
	if string(magic) != snapshotMagic {
		return fmt.Errorf("%w: not a snapshot", ErrUndecodable)
	}
	item, err := l.item()
	if err != nil {
		return err
	}
	var h snapshotHeader
	if err := decode(item, &h); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if h.Format != snapshotFormat || h.Version > snapshotVersion {
		return fmt.Errorf("%w: snapshot format %d version %d; this build reads format %d up to version %d",
			ErrUndecodable, h.Format, h.Version, snapshotFormat, snapshotVersion)
	}
	l.state.index, l.state.time, l.state.floor, l.state.seed = h.Index, h.Time, h.Index, h.Seed
	if h.CheckIndex != 0 {
		l.state.check = &checkpoint{index: h.CheckIndex}
		l.state.check.digest.Store(&h.CheckDigest)
	}
	return nil
}

// table reads one table's records, which must ascend as Persist writes them: so
// no record can come twice.
func (l *loader) table(number uint8) error {
	c, ok := collectionOf(number)
	if !ok {
		return fmt.Errorf("%w: unknown table", ErrUndecodable)
	}
	var before []byte
	for {
		item, err := l.item()
		if err != nil || len(item) == 0 {
			return err
		}
		rec := c.blank()
		if err := decode(item, rec); err != nil {
			return fmt.Errorf("record %d: %w", l.count, err)
		}
		position := l.position(rec)
		if rec.mod() > l.state.index || slices.Compare(before, position) >= 0 {
			return fmt.Errorf("%w: record %d is out of order or newer than the snapshot", ErrInconsistent, l.count)
		}
		before = position
		l.state.load(number, rec.mod(), rec)
		l.count++
	}
}

// position is what records are sorted by.
func (l *loader) position(rec record) []byte {
	b := rec.appendID(l.state.seeded(nil))
	s := slotOf(b)
	return append([]byte{s.group, s.leaf}, b[seedSize:]...)
}

func (l *loader) trailer() error {
	number, err := l.read(8)
	if err != nil {
		return err
	}
	if n := binary.BigEndian.Uint64(number); n != l.count {
		return fmt.Errorf("%w: %d records instead of %d", ErrInconsistent, l.count, n)
	}
	want := l.sum.Sum(nil)
	got, err := l.read(len(want))
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%w: wrong checksum", ErrInconsistent)
	}
	if _, err := l.r.ReadByte(); err != io.EOF {
		if err == nil {
			err = fmt.Errorf("%w: bytes after the end", ErrUndecodable)
		}
		return err
	}
	return nil
}

// item reads a length and that many bytes. They are valid until the next read.
func (l *loader) item() ([]byte, error) {
	b, err := l.read(4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(b)
	if n > maxRecord {
		return nil, fmt.Errorf("%w: a record of %d bytes", ErrUndecodable, n)
	}
	return l.read(int(n))
}

func (l *loader) read(n int) ([]byte, error) {
	l.buf = slices.Grow(l.buf[:0], n)[:n]
	if _, err := io.ReadFull(l.r, l.buf); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("%w: the stream ends early", ErrUndecodable)
		}
		return nil, err
	}
	l.sum.Write(l.buf)
	return l.buf, nil
}

package testkit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// The parts of a snapshot that Rewrite knows: package fsm describes the format.
const (
	snapshotMagic = "kmsd-fsm"
	tableKeys     = 8
	tableAccess   = 6
	headerIndex   = 3
	// Numbers of fields.
	accessID     = 1
	accessStatus = 5
	keyRegion    = 2
	keyID        = 3
	keySpec      = 6
	keyUsage     = 7
	keyOrigin    = 8
	keyState     = 10
)

// SetState brings a key into a state, also into one that no command reaches. Only
// keys of imported material wait for an import.
func (s *Solo) SetState(t testing.TB, id, state string) {
	t.Helper()
	s.SetStateIn(t, Region, id, state)
}

// SetStateIn is SetState for the key of a Region.
func (s *Solo) SetStateIn(t testing.TB, region, id, state string) {
	t.Helper()
	fields := map[uint64]any{keyState: state}
	if state == "PendingImport" {
		fields[keyOrigin] = "EXTERNAL"
	}
	s.rewrite(t, tableKeys, map[uint64]any{keyRegion: region, keyID: id}, fields)
}

// SetOrigin gives a key another origin. It keeps its material.
func (s *Solo) SetOrigin(t testing.TB, id, origin string) {
	t.Helper()
	s.rewrite(t, tableKeys, map[uint64]any{keyID: id}, map[uint64]any{keyOrigin: origin})
}

// SetType gives a key another spec and usage. It keeps its symmetric material.
func (s *Solo) SetType(t testing.TB, id, spec, usage string) {
	t.Helper()
	s.rewrite(t, tableKeys, map[uint64]any{keyID: id}, map[uint64]any{keySpec: spec, keyUsage: usage})
}

// SetAccessKey sets the status of an access key.
func (s *Solo) SetAccessKey(t testing.TB, id, status string) {
	t.Helper()
	s.rewrite(t, tableAccess, map[uint64]any{accessID: id}, map[uint64]any{accessStatus: status})
}

// rewrite changes a record: it writes a snapshot, edits the record there, and
// restores the machine from it. That counts as a command of its own: the index
// moves, and preconditions on the record fail.
func (s *Solo) rewrite(t testing.TB, table byte, match, fields map[uint64]any) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var old bytes.Buffer
	check(t, s.Machine.Snapshot().Persist(&old))
	s.index++
	e := &editor{t: t, in: old.Bytes(), table: table, match: match, fields: fields, index: s.index}
	check(t, s.Machine.Restore(bytes.NewReader(e.run())))
	if e.found != 1 {
		t.Fatalf("%d records %v in table %d", e.found, match, table)
	}
}

// editor copies a snapshot and changes one record.
type editor struct {
	t      testing.TB
	in     []byte
	out    bytes.Buffer
	table  byte
	match  map[uint64]any // what the record has
	fields map[uint64]any // what it gets
	index  uint64
	found  int
}

func (e *editor) run() []byte {
	e.out.Write(e.take(len(snapshotMagic)))
	e.put(e.change(e.item(), map[uint64]any{headerIndex: e.index}))
	for table := e.take(1); ; table = e.take(1) {
		e.out.Write(table)
		if table[0] == 0 {
			break
		}
		e.copyTable(table[0])
	}
	e.out.Write(e.take(8))
	sum := sha256.Sum256(e.out.Bytes())
	e.out.Write(sum[:])
	return e.out.Bytes()
}

func (e *editor) copyTable(table byte) {
	for {
		item := e.item()
		if len(item) > 0 && table == e.table {
			item = e.edit(item)
		}
		e.put(item)
		if len(item) == 0 {
			return
		}
	}
}

func (e *editor) edit(item []byte) []byte {
	var record map[uint64]any
	check(e.t, cbor.Unmarshal(item, &record))
	for field, value := range e.match {
		if record[field] != value {
			return item
		}
	}
	e.found++
	return e.change(e.change(item, e.fields), map[uint64]any{0: e.index})
}

// change sets fields of an item.
func (e *editor) change(item []byte, fields map[uint64]any) []byte {
	var record map[uint64]any
	check(e.t, cbor.Unmarshal(item, &record))
	maps.Copy(record, fields)
	mode, err := cbor.CoreDetEncOptions().EncMode()
	check(e.t, err)
	out, err := mode.Marshal(record)
	check(e.t, err)
	return out
}

func (e *editor) take(n int) []byte {
	b := e.in[:n]
	e.in = e.in[n:]
	return b
}

func (e *editor) item() []byte { return e.take(int(binary.BigEndian.Uint32(e.take(4)))) }

func (e *editor) put(item []byte) {
	e.out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(item))))
	e.out.Write(item)
}

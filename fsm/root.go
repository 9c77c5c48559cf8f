package fsm

import "slices"

// root is one state of the machine. A published root and all that hangs below
// it never changes.
type root struct {
	index uint64 // of the last log entry that the state includes
	time  int64  // milliseconds since 1970; the greatest that was applied
	// floor is the index at which the tables were loaded from a snapshot. What
	// was deleted before is not known to them any more, so that every miss counts
	// as changed at floor.
	floor   uint64
	seed    [seedSize]byte
	tables  [tableCount]*table
	indexes [indexCount]*table
	check   *checkpoint
	// settings is the one record of table config, nil before the genesis: every
	// request looks at it.
	settings *Config
}

// idBuffer holds seed ‖ id for all but outlandish ids without allocating.
type idBuffer [seedSize + 336]byte

// seeded appends seed ‖ parts, joined with slashes, to b.
func (r *root) seeded(b []byte, parts ...string) []byte {
	b = append(b, r.seed[:]...)
	for i, p := range parts {
		if i > 0 {
			b = append(b, '/')
		}
		b = append(b, p...)
	}
	return b
}

// find looks an id up. seeded is seed ‖ id. A miss returns the index of the last
// change to the shard where the record would be.
func (r *root) find(t *table, seeded []byte) (e element, mod uint64, ok bool) {
	l := t.at(slotOf(seeded))
	i, ok := l.search(seeded[seedSize:])
	if !ok {
		return element{}, max(l.lastMod(), r.floor), false
	}
	return l.entries[i], l.entries[i].rec.mod(), true
}

// get returns a record of a table, or nil.
func (r *root) get(table uint8, parts ...string) record {
	var buf idBuffer
	e, _, _ := r.find(r.tables[table], r.seeded(buf[:0], parts...))
	return e.rec
}

// owned returns an owner's ordered index, or nil, and the index of the last
// change to it: floor at least, because it may have lost a record before.
func (r *root) owned(index uint8, owner ...string) (*ordered, uint64) {
	var buf idBuffer
	e, mod, _ := r.find(r.indexes[index], r.seeded(buf[:0], owner...))
	o, _ := e.rec.(*ordered)
	return o, max(mod, r.floor)
}

// state is the root that is being built. Only the applying goroutine touches
// it.
type state struct {
	root
	epoch uint64
}

// freeze returns the state as an immutable root; later changes copy.
func (s *state) freeze() *root {
	r := s.root
	s.epoch++
	return &r
}

// put writes rec, stamped with index, and keeps the ordered indexes in step.
func (s *state) put(table uint8, index uint64, rec record) {
	rec.stamp(index)
	s.load(table, index, rec)
}

// load is put for a record that keeps its stamp.
func (s *state) load(table uint8, index uint64, rec record) (replaced bool) {
	var buf idBuffer
	b := rec.appendID(s.seeded(buf[:0]))
	t, old := s.tables[table].put(s.epoch, index, slotOf(b), string(b[seedSize:]), rec)
	s.tables[table] = t
	s.reindex(table, index, old, rec)
	if table == tableConfig {
		s.settings = rec.(*Config)
	}
	return old != nil
}

// drop removes rec, which must be the state's own.
func (s *state) drop(table uint8, index uint64, rec record) {
	var buf idBuffer
	b := rec.appendID(s.seeded(buf[:0]))
	t, old := s.tables[table].drop(s.epoch, index, slotOf(b), string(b[seedSize:]))
	s.tables[table] = t
	s.reindex(table, index, old, nil)
}

// reindex moves a table's record from its old places to its new ones. Either may
// be nil.
func (s *state) reindex(table uint8, index uint64, old, rec record) {
	places := collections[table].places
	if places == nil {
		return
	}
	var gone, come []place
	if old != nil {
		gone = places(old)
	}
	if rec != nil {
		come = places(rec)
	}
	for _, p := range come {
		weight, stays := weightAt(gone, p)
		if !p.bare || !stays || weight != p.weight {
			s.place(p, index, rec, p.weight-weight)
		}
	}
	for _, p := range gone {
		if !slices.ContainsFunc(come, p.same) {
			s.unplace(p, index)
		}
	}
}

// weightAt is the weight of p among places, and whether it is one of them.
func weightAt(places []place, p place) (int, bool) {
	if i := slices.IndexFunc(places, p.same); i >= 0 {
		return places[i].weight, true
	}
	return 0, false
}

func (s *state) place(p place, index uint64, rec record, weight int) {
	if p.bare {
		rec = nil
	}
	o := s.ownOrdered(p, index)
	o.tree.Set(p.key, rec)
	o.weight += weight
}

// unplace empties a place, and drops the owner's index with its last record.
func (s *state) unplace(p place, index uint64) {
	o := s.ownOrdered(p, index)
	o.tree.Delete(p.key)
	o.weight -= p.weight
	if o.tree.Len() == 0 {
		var buf idBuffer
		b := s.seeded(buf[:0], p.owner)
		s.indexes[p.index], _ = s.indexes[p.index].drop(s.epoch, index, slotOf(b), p.owner)
	}
}

func (s *state) ownOrdered(p place, index uint64) *ordered {
	var buf idBuffer
	b := s.seeded(buf[:0], p.owner)
	e, _, _ := s.find(s.indexes[p.index], b)
	had, _ := e.rec.(*ordered)
	o := had.own(s.epoch, index, p.owner)
	if o != had {
		s.indexes[p.index], _ = s.indexes[p.index].put(s.epoch, index, slotOf(b), p.owner, o)
	}
	return o
}

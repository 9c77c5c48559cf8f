package fsm

import "slices"

// A txn is one command in the making. Apply functions read the state and collect
// changes here; only a command that was accepted reaches the state, so that a
// refusal has nothing to undo. A txn's own changes are not visible to its reads.
type txn struct {
	state *state
	index uint64
	meta  *Meta
	// now is the machine's time with this command applied, in milliseconds.
	now int64

	changes []change
	// made are the identifiers that the command made; the once table keeps them.
	made []string
	// erased are the keys and access keys whose secrets the command destroys.
	erased []string
	// conflict is set when an id that the leader drew is taken: it draws again.
	conflict bool
	// seed, when set, becomes the seed of the shards.
	seed *[seedSize]byte
	// checkpoint asks for the state after this command to be kept for comparison.
	checkpoint bool
}

type change struct {
	table uint8
	rec   record
	drop  bool
}

func (t *txn) put(table uint8, rec record)  { t.changes = append(t.changes, change{table, rec, false}) }
func (t *txn) drop(table uint8, rec record) { t.changes = append(t.changes, change{table, rec, true}) }

// holds tells whether every record of reads is still as it was read.
func (s *state) holds(reads []Read) bool {
	return !slices.ContainsFunc(reads, func(r Read) bool {
		var mod uint64
		if rec := s.get(r.Table, r.ID); rec != nil {
			mod = rec.mod()
		}
		return mod != r.ModIndex
	})
}

// commit writes an accepted command's changes.
func (t *txn) commit(key ReqKey) {
	s := t.state
	s.time = t.now
	if t.seed != nil {
		s.reseed(*t.seed, t.index)
	}
	for _, c := range t.changes {
		if c.drop {
			s.drop(c.table, t.index, c.rec)
		} else {
			s.put(c.table, t.index, c.rec)
		}
	}
	if key != (ReqKey{}) {
		s.remember(key, t)
	}
	s.forget(t.index)
	s.expireTokens(t.meta.Time, t.index)
}

// reseed moves every record to the shard that the new seed gives it.
func (s *state) reseed(seed [seedSize]byte, index uint64) {
	old := s.root
	s.root = root{index: old.index, time: old.time, floor: index, seed: seed, check: old.check}
	for table := range uint8(tableCount) {
		old.tables[table].each(func(e element) bool {
			s.load(table, e.rec.mod(), e.rec)
			return true
		})
	}
}

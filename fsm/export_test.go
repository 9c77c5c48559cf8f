package fsm

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// OnceAge is how long requests are remembered, in milliseconds.
const OnceAge = onceAge

// Registered lists the registered commands in ascending order.
func Registered() []Command {
	var out []Command
	for k := range commands.versions {
		out = append(out, Command{Type: k.t, Version: k.v})
	}
	slices.SortFunc(out, func(a, b Command) int { return int(a.Type)<<8 + int(a.Version) - int(b.Type)<<8 - int(b.Version) })
	return out
}

// RegisterSince registers a command that comes with a cluster version.
func RegisterSince(version uint32) {
	register(&registry{since: version}, TypePruneAudit, 1, pruneAudit)
}

// RegisterTwice registers one pair twice.
func RegisterTwice() {
	r := &registry{since: 1}
	register(r, TypePruneAudit, 1, pruneAudit)
	register(r, TypePruneAudit, 1, pruneAudit)
}

// OpenCommand decodes a command as Apply does.
func OpenCommand(cmd Command) (*Meta, Args, error) {
	e, ok := commands.find(cmd.Type, cmd.Version)
	if !ok {
		return nil, nil, ErrUnknownCommand
	}
	return e.open(cmd.Body)
}

// Decode is the strict decoder.
func Decode(data []byte, v any) error { return decode(data, v) }

// OverwriteKey writes a key in any state, as no command of this build can.
func (m *Machine) OverwriteKey(k Key) {
	index := m.state.index + 1
	m.state.put(tableKeys, index, &k)
	m.Skip(index)
}

// BulkKeys writes n copies of k with the ids that idOf gives, in one step.
func (m *Machine) BulkKeys(k Key, n int, idOf func(int) string) {
	index := m.state.index + 1
	for i := range n {
		c := k
		c.ID = idOf(i)
		m.state.put(tableKeys, index, &c)
	}
	m.Skip(index)
}

// BulkGrants writes the n grants that made gives, in one step.
func (m *Machine) BulkGrants(n int, made func(int) Grant) {
	index := m.state.index + 1
	for i := range n {
		g := made(i)
		m.state.put(tableGrants, index, &g)
	}
	m.Skip(index)
}

// BulkOnce remembers n requests with the keys that keyOf gives, at ascending
// indexes and the machine's present time.
func (m *Machine) BulkOnce(n int, keyOf func(int) ReqKey) {
	for i := range n {
		index := m.state.index + 1
		m.state.remember(keyOf(i), &txn{index: index, now: m.state.time, meta: &Meta{}})
		m.state.index = index
	}
	m.Skip(m.state.index + 1)
}

// PutKey writes a key and publishes, without a command around it.
func (m *Machine) PutKey(k *Key) {
	m.state.index++
	m.state.put(tableKeys, m.state.index, k)
	m.publish()
}

// FlatKeys is the keys' table with one level instead of two: one array of 16,384
// leaves, copied for every published write. It exists to be measured against.
type FlatKeys struct {
	leaves    *[fanout * fanout]*leaf
	Published atomic.Pointer[[fanout * fanout]*leaf]
}

// Flatten copies the keys' table.
func (m *Machine) Flatten() *FlatKeys {
	f := &FlatKeys{leaves: new([fanout * fanout]*leaf)}
	for i, g := range m.state.tables[tableKeys].groups {
		if g != nil {
			copy(f.leaves[i*fanout:], g.leaves[:])
		}
	}
	return f
}

// PutKey writes a key and publishes.
func (f *FlatKeys) PutKey(k *Key, epoch uint64) {
	var r root
	b := k.appendID(r.seeded(nil))
	s := slotOf(b)
	leaves := *f.leaves
	l := leaves[int(s.group)*fanout+int(s.leaf)].own(epoch, epoch)
	if i, found := l.search(b[seedSize:]); found {
		l.entries[i].rec = k
	}
	leaves[int(s.group)*fanout+int(s.leaf)] = l
	f.leaves = &leaves
	f.Published.Store(&leaves)
}

// TableSizes returns the number of records by table name, except of number 0.
func (m *Machine) TableSizes() map[string]int {
	out := map[string]int{}
	for i := 1; i < tableCount; i++ {
		out[collections[i].name] = m.published.Load().tables[i].size()
	}
	return out
}

// TableDigests returns the digests by table name, and the time's text.
func (m *Machine) TableDigests() map[string]string {
	r := m.published.Load()
	out := map[string]string{"time": fmt.Sprint(r.time)}
	for i := 1; i < tableCount; i++ {
		out[collections[i].name] = fmt.Sprintf("%x", r.tables[i].sum())
	}
	return out
}

// DumpIndexes writes the ordered indexes out.
func (m *Machine) DumpIndexes() string {
	r := m.published.Load()
	var out []string
	for i, t := range r.indexes {
		t.each(func(e element) bool {
			o := e.rec.(*ordered)
			page, _ := o.page("", 1<<30)
			for _, e := range page {
				mod := uint64(0)
				if e.rec != nil {
					mod = e.rec.mod()
				}
				out = append(out, fmt.Sprintf("%d %q %q %d", i, o.owner, e.id, mod))
			}
			out = append(out, fmt.Sprintf("%d %q weight %d", i, o.owner, o.weight))
			return true
		})
	}
	return strings.Join(out, "\n")
}

// Seed returns the seed of the shards.
func (m *Machine) Seed() [16]byte { return m.published.Load().seed }

// LongestLeaf returns the number of records in the fullest leaf of the aliases.
func (m *Machine) LongestLeaf() int {
	longest := 0
	for _, g := range m.published.Load().tables[tableAliases].groups {
		if g == nil {
			continue
		}
		for _, l := range g.leaves {
			if l != nil {
				longest = max(longest, len(l.entries))
			}
		}
	}
	return longest
}

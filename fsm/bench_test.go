package fsm_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"sync"
	"syscall"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// The benchmarks run on a state of 1,000,000 keys in one account and Region.
// Expected per published write: the two-level table 7 to 16 µs, a flat root of
// 16,384 pointers 340 to 580 µs and 134 KB of garbage, 20 times as much at least.
const million = 1_000_000

var benchMachine = sync.OnceValue(func() *fsm.Machine {
	m := fsm.New()
	g := genesis()
	g.Config = &fsm.Config{KeysPerRegion: 2 * million}
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, g)
	if err != nil || m.Apply(1, cmd).Fatal != nil {
		panic("no genesis")
	}
	k := createKey(0).Key
	m.BulkKeys(k, million, keyID)
	return m
})

// cpu reports processor time per operation, the collector's included, which is
// what remains comparable when a machine does other things as well. Call the
// result at the end.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return r.Utime.Nano() + r.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

func BenchmarkPutPublished(b *testing.B) {
	m := benchMachine()
	keys := make([]*fsm.Key, 4096)
	for i := range keys {
		k := createKey(i * 211).Key
		keys[i] = &k
	}
	b.Run("two-level", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for i := 0; b.Loop(); i++ {
			k := *keys[i%len(keys)]
			m.PutKey(&k)
		}
	})
	b.Run("flat", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		flat := m.Flatten()
		for i := 0; b.Loop(); i++ {
			k := *keys[i%len(keys)]
			flat.PutKey(&k, m.Index()+uint64(i)+1)
		}
	})
}

// BenchmarkApply is a whole command: decode, preconditions, once table, pending
// audit record, change, publish.
func BenchmarkApply(b *testing.B) {
	m := benchMachine()
	meta := fsm.Meta{RequestID: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", Audit: make([]byte, 1500)}
	cmds := make([]fsm.Command, 1024)
	for i := range cmds {
		cmds[i] = command(b, fsm.ReqKey{1}, meta, setState(i/2*977, i%2 == 1))
	}
	prepare := func(i int) fsm.Command {
		c := cmds[i%len(cmds)]
		index := m.Index() + 1
		for j := range 8 {
			c.ReqKey[8+j] = byte(index >> (8 * j))
		}
		return c
	}
	b.Run("single", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for i := 0; b.Loop(); i++ {
			if r := m.Apply(m.Index()+1, prepare(i)); r.Fatal != nil || r.Err != nil {
				b.Fatalf("%+v", r)
			}
		}
	})
	b.Run("batch of 64", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		indexes, batch := make([]uint64, 64), make([]fsm.Command, 64)
		for n := 0; b.Loop(); n++ {
			for i := range batch {
				indexes[i], batch[i] = m.Index()+1+uint64(i), prepare(i)
				batch[i].ReqKey[1] = byte(i + 1)
			}
			if r := m.ApplyBatch(indexes, batch); r[63].Fatal != nil || r[63].Err != nil {
				b.Fatalf("%+v", r[63])
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/command")
	})
}

func BenchmarkViewKey(b *testing.B) {
	m := benchMachine()
	ids := make([]string, 4096)
	for i := range ids {
		ids[i] = keyID(i * 211)
	}
	b.ReportAllocs()
	defer cpu(b)()
	for i := 0; b.Loop(); i++ {
		if _, ok := m.View().Key(region, ids[i%len(ids)]); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkListKeys(b *testing.B) {
	m := benchMachine()
	after := keyID(million / 2)
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		if ids, _ := m.View().ListKeys(account, region, after, 100); len(ids) != 100 {
			b.Fatal(len(ids))
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m := benchMachine()
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		if m.Snapshot().Index() == 0 {
			b.Fatal("empty")
		}
	}
}

// BenchmarkDigest is the digest after one change.
func BenchmarkDigest(b *testing.B) {
	m := benchMachine()
	k := createKey(5).Key
	m.Digest()
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		c := k
		m.PutKey(&c)
		m.Digest()
	}
}

// BenchmarkDue is what a leader asks of the state when ten keys are due: what it finds,
// and the ten rotations, each published. All other keys have a schedule, too. The two
// parts differ by how many there are.
func BenchmarkDue(b *testing.B) {
	for _, n := range []int{1000, million} {
		b.Run(fmt.Sprintf("10 of %d keys", n), func(b *testing.B) {
			m := scheduledMachine(b, n)
			apply := func(now int64, args fsm.Args) {
				if r := m.Apply(m.Index()+1, command(b, fsm.ReqKey{}, fsm.Meta{Time: now}, args)); r.Fatal != nil || r.Err != nil {
					b.Fatalf("%+v", r)
				}
			}
			now := start + 100*day
			b.ReportAllocs()
			defer cpu(b)()
			for round := 0; b.Loop(); round++ {
				b.StopTimer()
				for i := range 10 {
					apply(now-90*day, rotateEvery(i*(n/10), 90))
				}
				b.StartTimer()
				v := m.View()
				if due := v.DueDeletions(now, 64); len(due) != 0 {
					b.Fatalf("%d deletions", len(due))
				}
				due := v.DueRotations(now, 64)
				if len(due) != 10 {
					b.Fatalf("%d rotations", len(due))
				}
				for i, k := range due {
					c := rotate(i*(n/10), round, kms.RotationAutomatic, k.NextRotation)
					c.KeyID, c.Material.KeyID = k.ID, k.ID
					apply(now, c)
				}
				if next := m.View().DueRotations(math.MaxInt64, 1); len(next) != 1 || next[0].NextRotation <= now {
					b.Fatal("more is due")
				}
			}
		})
	}
}

// scheduledMachine has n keys that rotate in the far future.
func scheduledMachine(b *testing.B, n int) *fsm.Machine {
	m := fsm.New()
	if r := m.Apply(1, command(b, fsm.ReqKey{}, fsm.Meta{}, genesis())); r.Fatal != nil {
		b.Fatal(r.Fatal)
	}
	k := createKey(0).Key
	k.RotationPeriod, k.NextRotation = 2560, start+2560*day
	m.BulkKeys(k, n, keyID)
	return m
}

// BenchmarkPersistRestore writes and reads all records.
func BenchmarkPersistRestore(b *testing.B) {
	m := benchMachine()
	var buf bytes.Buffer
	if err := m.Snapshot().Persist(&buf); err != nil {
		b.Fatal(err)
	}
	b.Run("persist", func(b *testing.B) {
		b.SetBytes(int64(buf.Len()))
		for b.Loop() {
			if err := m.Snapshot().Persist(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("restore", func(b *testing.B) {
		b.SetBytes(int64(buf.Len()))
		for b.Loop() {
			r := fsm.New()
			if err := r.Restore(bytes.NewReader(buf.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first digest", func(b *testing.B) {
		r := restoreOnce(b, buf.Bytes())
		for b.Loop() {
			r.Digest()
			b.StopTimer()
			r = restoreOnce(b, buf.Bytes())
			b.StartTimer()
		}
	})
}

func restoreOnce(b *testing.B, data []byte) *fsm.Machine {
	r := fsm.New()
	if err := r.Restore(bytes.NewReader(data)); err != nil {
		b.Fatal(err)
	}
	return r
}

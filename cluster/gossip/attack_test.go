package gossip_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/kmsd/kmsd/cluster/gossip"
)

func TestPacketsOfOthersAreDropped(t *testing.T) {
	t.Parallel()
	a, b := start(t, node1, nil), start(t, node2, nil)
	b.join(t, a)
	await(t, "a knows b", func() bool { return a.sees(node2) })
	dead := deadMessage(node2, node2, 1000)
	for _, tt := range []struct {
		name, reason string
		packet       []byte
	}{
		{"another key", "unauthentic", gossip.Seal(clusterA, key(2), gossip.Labelled(clusterA, dead))},
		{"another cluster", "unauthentic", gossip.Seal(clusterB, key(1), gossip.Labelled(clusterB, dead))},
		{"another label", "malformed", gossip.Seal(clusterA, key(1), gossip.Labelled(clusterB, dead))},
		{"no label", "malformed", gossip.Seal(clusterA, key(1), dead)},
		{"compressed", "malformed", gossip.Seal(clusterA, key(1), gossip.Labelled(clusterA, append([]byte{9}, dead...)))},
		{"not sealed", "unauthentic", gossip.Labelled(clusterA, dead)},
		{"empty", "unauthentic", nil},
		{"too large", "size", make([]byte, gossip.MaxPacket+1)},
		{"far too large", "size", make([]byte, 60_000)},
	} {
		before := a.dropped(t, tt.reason)
		a.send(t, tt.packet)
		await(t, tt.name+": dropped", func() bool { return a.dropped(t, tt.reason) == before+1 })
	}
	if !a.sees(node2) {
		t.Error("a packet had an effect")
	}
}

// What a holder of the key can do, and what becomes of it: the member objects.
func TestFalseDeathIsRefuted(t *testing.T) {
	t.Parallel()
	a, b := start(t, node1, nil), start(t, node2, nil)
	b.join(t, a)
	await(t, "a knows b", func() bool { return a.sees(node2) })
	before, _ := a.Member(node2)
	a.send(t, gossip.Seal(clusterA, key(1), gossip.Labelled(clusterA, deadMessage(node2, node1, 7))))
	await(t, "the lie was heard and refuted", func() bool {
		m, _ := a.Member(node2)
		return m.Alive && m.Since.After(before.Since)
	})
}

func TestFloodsLeaveMemoryAndMembersAlone(t *testing.T) {
	a, b := start(t, node1, nil), start(t, node2, nil)
	b.join(t, a)
	await(t, "the members know each other", func() bool { return a.sees(node2) && b.sees(node1) })
	ping := gossip.Seal(clusterA, key(1), gossip.Labelled(clusterA, deadMessage(node3, node3, 1)))
	random := rand.New(rand.NewPCG(1, 2))
	garbage := make([]byte, gossip.MaxPacket)
	for i := range garbage {
		garbage[i] = byte(random.Uint32())
	}
	garbage[0] = 1 // as if it were a packet
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 15_000 {
		gossip.Pass(a.Gossip, garbage[:random.IntN(len(garbage))])
		gossip.Pass(a.Gossip, ping)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	for _, reason := range []string{"unauthentic", "rate"} {
		if a.dropped(t, reason) == 0 {
			t.Errorf("no packet was dropped for its %s", reason)
		}
	}
	await(t, "the members still know each other", func() bool { return a.sees(node2) && b.sees(node1) })
}

// A holder of the key may send any message: nothing stops the node or makes up a
// member of it.
func FuzzMessage(f *testing.F) {
	for _, seed := range [][]byte{
		{}, {0}, {0, 0x80}, {7, 1, 0, 2, 4, 0x80}, deadMessage(node2, node1, 3),
		append([]byte{0}, msgpack("SeqNo", uint32(1), "Node", node1)...),
		append([]byte{1}, msgpack("SeqNo", uint32(1), "Target", "\x7f\x00\x00\x01", "Node", node2)...),
		append([]byte{2}, msgpack("SeqNo", uint32(1))...),
		append([]byte{3}, msgpack("Incarnation", uint32(1<<32-1), "Node", node1, "From", node2)...),
		append([]byte{4}, msgpack("Incarnation", uint32(9), "Node", node2, "Addr", "\x7f\x00\x00\x01", "Port", uint32(7), "Meta", "{}", "Vsn", "\x01\x05\x02\x00\x00\x00")...),
		append([]byte{11}, msgpack("SeqNo", uint32(1))...),
	} {
		f.Add(seed)
	}
	a := fuzzed(f)
	f.Cleanup(func() { _ = a.Close() })
	f.Fuzz(func(t *testing.T, msg []byte) {
		gossip.Pass(a.Gossip, gossip.Seal(clusterA, key(1), gossip.Labelled(clusterA, msg)))
		if alive, known := a.Alive(node1); !alive || !known {
			t.Error("the node does not know itself")
		}
	})
}

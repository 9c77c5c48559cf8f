package gossip_test

import (
	"bytes"
	"testing"

	"github.com/kmsd/kmsd/cluster/gossip"
)

func TestSealedPacketsOpen(t *testing.T) {
	t.Parallel()
	msg := gossip.Labelled(clusterA, []byte{0, 1, 2})
	packet := gossip.Seal(clusterA, key(1), msg)
	if want := gossip.SealOverhead + len(msg); len(packet) != want {
		t.Errorf("a packet of %d bytes, want %d", len(packet), want)
	}
	for _, keys := range [][][]byte{{key(1)}, {key(1), key(2)}, {key(2), key(1)}} {
		got, err := gossip.Open(clusterA, keys, packet)
		if err != nil || !bytes.Equal(got, msg) {
			t.Errorf("Open = %x, %v; want %x", got, err, msg)
		}
	}
	if bytes.Equal(packet, gossip.Seal(clusterA, key(1), msg)) {
		t.Error("two packets are the same")
	}
	if bytes.Contains(packet, []byte(clusterA)) {
		t.Error("the packet shows the cluster's ID")
	}
}

func TestAlteredPacketsStayShut(t *testing.T) {
	t.Parallel()
	packet := gossip.Seal(clusterA, key(1), []byte("message"))
	shut := func(what string, clusterID string, k, packet []byte) {
		t.Helper()
		if got, err := gossip.Open(clusterID, [][]byte{k}, packet); err == nil {
			t.Errorf("%s: opened as %q", what, got)
		}
	}
	for i := range packet {
		altered := bytes.Clone(packet)
		altered[i] ^= 1
		shut("one bit altered", clusterA, key(1), altered)
		shut("truncated", clusterA, key(1), packet[:i])
	}
	shut("longer", clusterA, key(1), append(bytes.Clone(packet), 0))
	shut("another key", clusterA, key(2), packet)
	shut("another cluster", clusterB, key(1), packet)
}

func TestOnlyPlainMessagesGoOn(t *testing.T) {
	t.Parallel()
	ping, alive := []byte{0, 0x80}, []byte{4, 0x80}
	list := func(messages ...[]byte) []byte {
		out := []byte{7, byte(len(messages))}
		for _, m := range messages {
			out = append(out, byte(len(m)>>8), byte(len(m)))
		}
		return append(out, bytes.Join(messages, nil)...)
	}
	crc := func(msg []byte) []byte { return append([]byte{12, 1, 2, 3, 4}, msg...) }
	for name, tt := range map[string]struct {
		msg  []byte
		want bool
	}{
		"ping":                       {ping, true},
		"indirect ping":              {[]byte{1, 0x80}, true},
		"ack":                        {[]byte{2, 0x80}, true},
		"suspect":                    {[]byte{3, 0x80}, true},
		"alive":                      {alive, true},
		"dead":                       {[]byte{5, 0x80}, true},
		"nack":                       {[]byte{11, 0x80}, true},
		"checksum":                   {crc(ping), true},
		"list":                       {list(ping, alive), true},
		"checksum and list":          {crc(list(ping, alive)), true},
		"list of none":               {list(), true},
		"nothing":                    {nil, false},
		"checksum of nothing":        {crc(nil), false},
		"checksum twice":             {crc(crc(ping)), false},
		"state":                      {[]byte{6, 0x80}, false},
		"user's":                     {[]byte{8, 0x80}, false},
		"compressed":                 {[]byte{9, 0x80}, false},
		"encrypted":                  {[]byte{10, 0x80}, false},
		"error":                      {[]byte{13, 0x80}, false},
		"unknown":                    {[]byte{99, 0x80}, false},
		"label of another":           {gossip.Labelled(clusterB, ping), false},
		"list in a list":             {list(list(ping)), false},
		"compressed in a list":       {list(ping, []byte{9, 0x80}), false},
		"checksum in a list":         {list(crc(ping)), false},
		"empty in a list":            {list(ping, nil), false},
		"list without a number":      {[]byte{7}, false},
		"list without its lengths":   {[]byte{7, 2, 0, 2, 0}, false},
		"list longer than told":      {append(list(ping), 0), false},
		"list shorter than told":     {list(ping, alive)[:8], false},
		"number of list larger by 1": {[]byte{7, 2, 0, 2, 0, 0x80}, false},
	} {
		if got := gossip.Legal(clusterA, gossip.Labelled(clusterA, tt.msg)); got != tt.want {
			t.Errorf("%s: legal = %t, want %t", name, got, tt.want)
		}
		if gossip.Legal(clusterA, tt.msg) || gossip.Legal(clusterA, gossip.Labelled(clusterB, tt.msg)) {
			t.Errorf("%s: legal without the cluster's label", name)
		}
	}
}

func FuzzPacket(f *testing.F) {
	f.Add([]byte{}, []byte{0, 0x80})
	f.Add([]byte{1}, []byte{7, 1, 0, 2, 0, 0x80})
	f.Fuzz(func(t *testing.T, packet, msg []byte) {
		if got, err := gossip.Open(clusterA, [][]byte{key(1)}, packet); err == nil {
			t.Errorf("a packet that nobody sealed opens as %x", got)
		}
		sealed := gossip.Seal(clusterA, key(1), msg)
		if got, err := gossip.Open(clusterA, [][]byte{key(2), key(1)}, sealed); err != nil || !bytes.Equal(got, msg) {
			t.Errorf("Open = %x, %v; want %x", got, err, msg)
		}
		gossip.Legal(clusterA, msg)
	})
}

func BenchmarkOpen(b *testing.B) {
	packet := gossip.Seal(clusterA, key(1), make([]byte, 200))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gossip.Open(clusterA, [][]byte{key(1)}, packet); err != nil {
			b.Fatal(err)
		}
	}
}

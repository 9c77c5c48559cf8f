package gossip

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// Limits that tests check.
const (
	MaxMembers     = maxMembers
	MaxPacket      = maxPacket
	MaxStreams     = maxStreams
	MaxStreamBytes = maxStreamBytes
	PassRate       = passRate
	LogBurst       = logBurst
	SealOverhead   = sealOverhead
)

// Fast shortens the intervals.
func Fast(cfg Config) Config {
	cfg.timing = timing{
		probe: 400 * time.Millisecond, probeTimeout: 200 * time.Millisecond,
		gossip: 20 * time.Millisecond, pushPull: 500 * time.Millisecond,
		minRetry: 50 * time.Millisecond, maxRetry: 200 * time.Millisecond,
	}
	return cfg
}

// Labelled puts the cluster's label before a message, as memberlist does.
func Labelled(clusterID string, msg []byte) []byte {
	return append(append([]byte{typeLabel, byte(len(clusterID))}, clusterID...), msg...)
}

// Seal makes a packet as a holder of the key would.
func Seal(clusterID string, key, plain []byte) []byte {
	r, err := newRing(clusterID, [][]byte{key})
	if err != nil {
		panic(err)
	}
	return r.seal(plain)
}

// Open opens a packet under any of the keys.
func Open(clusterID string, keys [][]byte, packet []byte) ([]byte, error) {
	r, err := newRing(clusterID, keys)
	if err != nil {
		return nil, err
	}
	return r.open(packet)
}

// Legal tells whether an opened packet goes on to memberlist.
func Legal(clusterID string, plain []byte) bool { return (&ring{clusterID: clusterID}).legal(plain) }

// Bound returns the address that g receives packets on.
func Bound(g *Gossip) netip.AddrPort { return g.transport.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// Pass hands g a packet as its socket does.
func Pass(g *Gossip, packet []byte) { g.transport.pass(packet, Bound(g)) }

// Unhurried lifts the limit on rates.
func Unhurried(g *Gossip) {
	g.transport.reads = newBucket(1e9, 1e9)
	g.transport.passes = newBucket(1e9, 1e9)
}

// AddressSeen returns where memberlist sends the packets for a node.
func AddressSeen(g *Gossip, nodeID string) string {
	g.roster.mu.Lock()
	defer g.roster.mu.Unlock()
	if m := g.roster.records[nodeID]; m != nil {
		return m.packets.String()
	}
	return ""
}

// A Roster is memberlist's view of the roster.
type Roster struct{ *roster }

// NewRoster makes the roster of a node.
func NewRoster(self string, known func(string) bool) Roster {
	return Roster{&roster{self: self, known: known, refused: func() {}, records: map[string]*record{}}}
}

// Size returns how many names are kept.
func (r Roster) Size() int { return len(r.records) }

// Age makes everything that the roster knows older.
func (r Roster) Age(by time.Duration) {
	for _, m := range r.records {
		m.Since = m.Since.Add(-by)
	}
}

// Member returns what is known of a node.
func (r Roster) Member(id string) (Member, bool) { return r.member(id) }

// NodeOf is a node as memberlist hands it over.
func NodeOf(id, packets, addr string, started int64) *memberlist.Node {
	at := netip.MustParseAddrPort(packets)
	meta, err := card{Address: addr, Started: started}.encode()
	if err != nil {
		panic(err)
	}
	return &memberlist.Node{Name: id, Addr: at.Addr().AsSlice(), Port: at.Port(), Meta: meta}
}

// ParseMeta and EncodeMeta are the two sides of a node's metadata.
func ParseMeta(b []byte) (addr string, m Meta, started int64, err error) {
	c, err := parseCard(b)
	return c.Address, Meta{c.APIAddress, c.Version}, c.Started, err
}

func EncodeMeta(addr string, m Meta, started int64) ([]byte, error) {
	return card{addr, m.APIAddress, m.Version, started}.encode()
}

// ValidAddr is validAddr.
func ValidAddr(s string) bool { return validAddr(s) }

// Allow counts how many of n events at one instant a new bucket lets through, and
// how many of n after another second.
func Allow(rate, burst float64, n int) (first, second int) {
	b := newBucket(rate, burst)
	now := time.Now()
	for i, at := range []time.Time{now, now.Add(time.Second)} {
		for range n {
			if b.allow(at) {
				if i == 0 {
					first++
				} else {
					second++
				}
			}
		}
	}
	return first, second
}

// LogLines logs lines as memberlist does.
func LogLines(to *slog.Logger, lines ...string) {
	w := newLogWriter(to)
	for _, l := range lines {
		w.logger().Print(strings.TrimSuffix(l, "\n"))
	}
}

// NewStreams returns functions that add a stream and end them all.
func NewStreams() (add func(net.Conn) (net.Conn, error), shut func()) {
	s := &streams{open: map[*stream]bool{}}
	return func(c net.Conn) (net.Conn, error) {
		st, err := s.add(c, true, time.Minute)
		if err != nil {
			return nil, err
		}
		return st, nil
	}, s.shut
}

package gossip

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// A Member is what gossip says of a node.
type Member struct {
	ID    string
	Addr  string // where it may be dialled, host:port; the host may be a DNS name
	Meta  Meta
	Alive bool
	Since time.Time // when Alive last changed
}

// forgetAfter is when a dead node gives its place in the roster to a new name. It is
// longer than memberlist keeps the dead, 30 seconds and a round of probes, so that
// memberlist's own table is bounded too.
const forgetAfter = 2 * time.Minute

// A record is a name's place in the roster.
type record struct {
	Member
	packets netip.AddrPort // where memberlist sends packets
	started int64          // of the card that Addr and Meta are from
	seen    bool           // memberlist reported it
}

// A roster keeps what memberlist reports: memberlist.AliveDelegate, EventDelegate
// and ConflictDelegate. They run under memberlist's lock: nothing here may call it.
type roster struct {
	self    string
	known   func(nodeID string) bool
	refused func()

	mu      sync.Mutex
	records map[string]*record // guarded by mu; at most maxMembers
}

var (
	errStranger = errors.New("not a member")
	errCrowded  = errors.New("too many names")
	errAddress  = errors.New("not an address")
)

// NotifyAlive implements memberlist.AliveDelegate: every name passes here before
// memberlist keeps anything of it.
func (r *roster) NotifyAlive(n *memberlist.Node) error {
	err := r.admit(n)
	if err != nil {
		r.refused()
	}
	return err
}

func (r *roster) admit(n *memberlist.Node) error {
	if n.Name != r.self && (!uuid.MatchString(n.Name) || r.known != nil && !r.known(n.Name)) {
		return errStranger
	}
	if _, ok := packetAddr(n); !ok {
		return errAddress
	}
	if _, err := parseCard(n.Meta); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.records[n.Name] != nil {
		return nil
	}
	if len(r.records) >= maxMembers && !r.forget() {
		return errCrowded
	}
	r.records[n.Name] = &record{Member: Member{ID: n.Name, Since: time.Now()}}
	return nil
}

// forget makes room by dropping a node that has been dead for long.
func (r *roster) forget() bool {
	for id, m := range r.records {
		if !m.Alive && time.Since(m.Since) > forgetAfter {
			delete(r.records, id)
			return true
		}
	}
	return false
}

func packetAddr(n *memberlist.Node) (netip.AddrPort, bool) {
	ip, ok := netip.AddrFromSlice(n.Addr)
	ip = ip.Unmap()
	return netip.AddrPortFrom(ip, n.Port), ok && validIP(ip) && n.Port != 0
}

// NotifyJoin implements memberlist.EventDelegate: a node is new or alive again.
func (r *roster) NotifyJoin(n *memberlist.Node) { r.update(n, true) }

// NotifyUpdate implements memberlist.EventDelegate: its metadata changed.
func (r *roster) NotifyUpdate(n *memberlist.Node) { r.update(n, true) }

// NotifyLeave implements memberlist.EventDelegate: the node seems dead, or left.
func (r *roster) NotifyLeave(n *memberlist.Node) { r.update(n, false) }

func (r *roster) update(n *memberlist.Node, alive bool) {
	at, _ := packetAddr(n)
	c, err := parseCard(n.Meta)
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.records[n.Name]
	if m == nil || err != nil {
		return // admit lets nothing through that comes here
	}
	// What a node is alive again with counts, whatever its clock says; otherwise a
	// conflict may have brought news that memberlist does not have yet.
	if alive && (!m.Alive || c.Started >= m.started) {
		m.take(c)
	}
	if !m.seen || m.Alive != alive {
		m.Alive, m.Since = alive, time.Now()
	}
	m.seen, m.packets = true, at
}

func (m *record) take(c card) {
	m.Addr, m.started = c.Address, c.Started
	m.Meta = Meta{APIAddress: c.APIAddress, Version: c.Version}
}

// NotifyConflict implements memberlist.ConflictDelegate: a node is said to have
// another address than the one at which it is believed alive, which is how a
// member that came back elsewhere shows itself until the old address counts as
// dead. The later start has the better hint.
func (r *roster) NotifyConflict(_, other *memberlist.Node) {
	c, err := parseCard(other.Meta)
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.records[other.Name]
	if err == nil && m != nil && m.seen && m.ID != r.self && c.Started > m.started {
		m.take(c)
	}
}

// member returns a copy of what is known of a node.
func (r *roster) member(id string) (Member, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.records[id]; m != nil && m.seen {
		return m.Member, true
	}
	return Member{}, false
}

// living returns the addresses of the members that seem alive: as they name them,
// and as packets reach them.
func (r *roster) living() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	addrs := map[string]bool{}
	for _, m := range r.records {
		if m.Alive {
			addrs[m.Addr], addrs[m.packets.String()] = true, true
		}
	}
	return addrs
}

// alive counts the members that seem alive, this node included.
func (r *roster) alive() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.records {
		if m.Alive {
			n++
		}
	}
	return n
}

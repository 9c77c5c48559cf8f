package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster/lease"
	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/fsm"
)

// Status is a node's view of itself, for operators.
type Status struct {
	NodeID, ClusterID string
	Leads             bool
	LeaderID          string // empty when none is known
	Term              uint64
	Applied, Stable   uint64
	Starts            uint64
	NotReady          error // nil: the node serves
	// ClusterVersion is that of the applied state, 0 before the first command. Supports
	// is the highest one that this build supports.
	ClusterVersion, Supports uint32
	// OperatorAccount is that of the applied state, empty before the first command.
	OperatorAccount string
	// Address and APIAddress are what the node tells the others; empty if nothing.
	Address, APIAddress string
	// SealKind names what protects the root key on the disk.
	SealKind string
	// DiskFree and DiskTotal are bytes; 0 when they are not known.
	DiskFree, DiskTotal uint64
	// ClockAhead is how far the wall clock is ahead of the median of the members'; 0
	// while that is not known.
	ClockAhead time.Duration
	// CertificateEnds is when the node's certificate for the cluster port ends.
	CertificateEnds time.Time
	// Stain is nil while the disk is clear of secrets that were destroyed.
	Stain *Stain
	// Members are what the leader knows of the others; nil on other nodes. Times are
	// on the leader's boot clock.
	Members []lease.Member
}

// Status returns what the node knows now.
func (n *Node) Status() Status {
	disk := n.disk()
	s := Status{
		NodeID: n.id, ClusterID: n.clusterID, LeaderID: n.knownLeader(), Term: n.raft.CurrentTerm(),
		Applied: n.applied.Load(), Stable: n.stable.Load(), Starts: n.inc, NotReady: n.Ready(), Supports: n.versions().newest,
		Address: n.cfg.Advertise, APIAddress: n.cfg.APIAddress, SealKind: n.cfg.Seal.Kind(),
		DiskFree: disk.free, DiskTotal: disk.total, ClockAhead: n.skew(), CertificateEnds: n.creds.Load().NotAfter(),
		Stain: n.stain.Load(),
	}
	if meta := n.machine.View().Meta(); meta != nil {
		s.ClusterVersion, s.OperatorAccount = meta.ClusterVersion, meta.OperatorAccount
	}
	if l := n.lead.Load(); l != nil {
		s.Leads = l.isOpen() && n.raft.State() == raft.Leader
		s.Members = l.known()
	}
	return s
}

// The roles of members.
const (
	RoleLeader   = "leader"
	RoleVoter    = "voter"
	RoleNonvoter = "nonvoter"
	// RoleAdmitted is a node that has joined and is not part of Raft's configuration
	// yet: it has not started, or the leader has not come to it.
	RoleAdmitted = "admitted"
)

// MemberStatus is what the leader knows about one member.
type MemberStatus struct {
	ID         string `cbor:"1,keyasint"`
	Address    string `cbor:"2,keyasint,omitempty"`
	APIAddress string `cbor:"3,keyasint,omitempty"`
	Role       string `cbor:"4,keyasint"`
	// Healthy tells that the member answers, serves and keeps up.
	Healthy bool `cbor:"5,keyasint,omitempty"`
	// SilentFor is how long ago it answered last; for one that never has in this
	// term, how long the term lasts. 0 for the leader.
	SilentFor time.Duration `cbor:"6,keyasint,omitempty"`
	// Lag is how many log entries it has not applied.
	Lag uint64 `cbor:"7,keyasint,omitempty"`
	// Version is the highest cluster version that it supports.
	Version uint32 `cbor:"8,keyasint,omitempty"`
	// DiskFree is in bytes; 0 when it is not known.
	DiskFree uint64 `cbor:"9,keyasint,omitempty"`
	Added    int64  `cbor:"10,keyasint,omitempty"` // milliseconds since 1970
}

// Members returns all members as the leader sees them, sorted by ID, from whichever
// node. The errors are those of Forward.
func (n *Node) Members(ctx context.Context) ([]MemberStatus, error) {
	reply, err := n.ask(ctx, kindMembers, nil)
	if err != nil {
		return nil, err
	}
	var out []MemberStatus
	return out, decodeCBOR(reply, &out)
}

func (l *leadership) leadMembers() ([]byte, uint64, error) {
	members, err := l.memberStatus()
	if err != nil {
		return nil, 0, err
	}
	return encodeCBOR(members), 0, nil
}

func (l *leadership) memberStatus() ([]MemberStatus, error) {
	config, err := l.servers()
	if err != nil {
		return nil, err
	}
	heard := map[string]lease.Member{}
	for _, m := range l.known() {
		heard[m.ID] = m
	}
	var out []MemberStatus
	for _, r := range l.n.machine.View().Nodes() {
		s := MemberStatus{ID: r.ID, Address: r.Address, APIAddress: r.APIAddress, Version: r.Version, Added: r.Added}
		votes, configured := config[r.ID]
		m, known := heard[r.ID]
		switch {
		case r.ID == l.n.id:
			s.Role, s.Healthy, s.DiskFree = RoleLeader, l.n.Ready() == nil, l.n.disk().free
			s.Version = l.n.versions().newest
		case !configured || !known:
			s.Role = RoleAdmitted
		case votes:
			s.Role = RoleVoter
		default:
			s.Role = RoleNonvoter
		}
		if known {
			l.observe(&s, m)
		}
		out = append(out, s)
	}
	return out, nil
}

// observe adds what the Beats have brought about a member.
func (l *leadership) observe(s *MemberStatus, m lease.Member) {
	now, applied := l.n.clock.Boot(), l.n.applied.Load()
	s.Healthy, s.SilentFor, s.DiskFree = l.keepsUp(m, now), max(0, now-m.Heard), m.Last.DiskFree
	if m.Last.Applied < applied {
		s.Lag = applied - m.Last.Applied
	}
	if m.Any {
		s.Version = uint32(m.Last.Version)
	}
}

// NewJoinToken makes a token with which nodes can join the cluster whose authority
// the View holds: its text, which is a secret worth every key of the cluster, and
// the command that makes it valid, which does not hold the secret. The caller gives
// expiry, uses, networks and the maker.
func NewJoinToken(v *fsm.View, spec fsm.JoinToken) (text string, create fsm.TokenCreate, err error) {
	a := v.Authority()
	if a == nil {
		return "", fsm.TokenCreate{}, errNoAuthority
	}
	pin, err := trust.CertificateSPKI(a.Current.Cert)
	if err != nil {
		return "", fsm.TokenCreate{}, errors.New("the certificate of the cluster's authority cannot be read")
	}
	t := trust.NewToken(pin)
	spec.ID, spec.PublicKey = t.ID, t.PublicKey()
	return t.Text(), fsm.TokenCreate{Token: spec}, nil
}

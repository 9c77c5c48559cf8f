package testkit

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service/adminapi"
	"github.com/kmsd/kmsd/wire/admin"
)

// The members of a Solo's cluster, as its Member tells them.
const (
	MemberID      = "0b9c1f0e-1111-4a4a-8b8b-000000000001"
	OtherMemberID = "0b9c1f0e-2222-4a4a-8b8b-000000000002"
)

// Member stands for the cluster's node below the admin API. It keeps count of what
// it was asked to do. Its hooks are set while no call is under way.
type Member struct {
	// Fault runs before a method does its work, where it is set, with the method's
	// name: its error is the method's.
	Fault func(ctx context.Context, method string) error

	mu     sync.Mutex
	done   []string // guarded by mu
	tokens []string // guarded by mu
}

var _ adminapi.Node = (*Member)(nil)

func (m *Member) begin(ctx context.Context, method, what string) error {
	if m.Fault != nil {
		if err := m.Fault(ctx, method); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = append(m.done, method+what)
	return nil
}

// Done returns what the member was asked to do and has done, in order.
func (m *Member) Done() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.done)
}

// Tokens returns the texts of the tokens that were made.
func (m *Member) Tokens() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.tokens)
}

// Status returns a fixed status.
func (m *Member) Status(ctx context.Context) (*admin.GetStatusResponse, error) {
	if err := m.begin(ctx, "Status", ""); err != nil {
		return nil, err
	}
	return &admin.GetStatusResponse{
		ClusterID: ClusterID, NodeID: MemberID, OperatorAccount: Account, Release: "test", ClusterVersion: 1, SupportedVersion: 2, Ready: true, Role: admin.RoleLeader,
		LeaderID: MemberID, Term: 3, Applied: 70, Stable: 69, Starts: 2, Seal: "memory", DiskFree: 1 << 30, DiskSize: 1 << 31, WallOffset: -3,
	}, nil
}

// Members returns two members, not in their order.
func (m *Member) Members(ctx context.Context) (*admin.ListMembersResponse, error) {
	if err := m.begin(ctx, "Members", ""); err != nil {
		return nil, err
	}
	contact, lag := int64(240), uint64(1)
	return &admin.ListMembersResponse{Quorum: admin.Quorum{Voters: 2, Healthy: 2, Needed: 2}, Members: []admin.Member{
		{MemberID: OtherMemberID, Address: "node2.example:9401", APIAddress: "node2.example:9400", Role: admin.RoleVoter, Healthy: true, LastContact: &contact, Lag: &lag, Version: 1},
		{MemberID: MemberID, Address: "node1.example:9401", Role: admin.RoleLeader, Healthy: true, Version: 1},
	}}, nil
}

// Leave notes that the node left.
func (m *Member) Leave(ctx context.Context, force bool) error {
	return m.begin(ctx, "Leave", forced(force))
}

// RemovePeer notes that a member was removed. It knows only the other one.
func (m *Member) RemovePeer(ctx context.Context, id string, force bool) error {
	if id != OtherMemberID {
		return &kms.Error{Code: kms.CodeNotFound, Message: "The member " + id + " does not exist."}
	}
	return m.begin(ctx, "RemovePeer", " "+id+forced(force))
}

func forced(force bool) string {
	if force {
		return " by force"
	}
	return ""
}

// NewToken makes a real join token of an authority that is not there.
func (m *Member) NewToken(_ *fsm.View, spec adminapi.TokenSpec) (adminapi.Token, error) {
	if err := m.begin(context.Background(), "NewToken", ""); err != nil {
		return adminapi.Token{}, err
	}
	token := trust.NewToken(sha256.Sum256([]byte("authority")))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tokens = append(m.tokens, token.Text())
	return adminapi.Token{ID: token.ID, Text: token.Text(), Create: fsm.TokenCreate{Token: fsm.JoinToken{
		ID: token.ID, PublicKey: token.PublicKey(), Created: spec.Created, Expires: spec.Expires,
		Uses: spec.Uses, CIDRs: spec.CIDRs, CreatedBy: spec.CreatedBy,
	}}}, nil
}

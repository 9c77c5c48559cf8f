// Package adminapi holds the operations of kmsd's own admin API, service "kmsd":
// their rows and what is unique to each of them. The actions kmsd:* are for
// principals of the operator account alone, on the resource
// arn:aws:kmsd::<operator account>:cluster/<cluster id>; GetAuthority is for
// anybody.
//
// Whoever may open a node's admin socket may read status and members, make that
// node leave and reset a root credential, all without credentials: the owner of the
// data directory, or root, could do all of that to the files as well.
//
// Trust: a join token, a root credential of the operator account and the removal of
// members are worth every key of the cluster. Secrets are in replies only: no
// record, command or log line holds a token's secret or an access key's.
package adminapi

import (
	"context"
	"slices"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/admin"
)

// Node is what the operations need of the node that they run on. Refusals are
// *kms.Error; kms.ErrUnavailable tells that nothing was done, and
// kms.ErrOutcomeUnknown that nobody can say. Many goroutines call it at once.
type Node interface {
	// Status returns what the node knows of itself, also while it may not serve.
	Status(ctx context.Context) (*wire.GetStatusResponse, error)
	// Members returns the members as the leader sees them, in any order.
	Members(ctx context.Context) (*wire.ListMembersResponse, error)
	// Leave makes this node leave the cluster and returns when it is no member any
	// more; the node then ends. Refused (QuorumAtRiskException) when the rest could
	// not form a quorum, unless forced.
	Leave(ctx context.Context, force bool) error
	// RemovePeer removes another member for good. Refused like Leave; a member that
	// does not exist is NotFoundException.
	RemovePeer(ctx context.Context, id string, force bool) error
	// NewToken makes a join token for the cluster whose authority the View holds.
	// It runs on the leader and changes nothing.
	NewToken(v *fsm.View, spec TokenSpec) (Token, error)
}

// TokenSpec says what a join token allows. Times are in milliseconds since 1970.
type TokenSpec struct {
	Created, Expires int64
	Uses             uint32
	CIDRs            []string // canonical; empty: any network
	CreatedBy        string   // ARN
}

// Token is a join token that becomes valid with its command.
type Token struct {
	ID   string
	Text string // secret
	// Create is the command; it does not hold the secret.
	Create fsm.Args
}

// Keyring seals and opens the secrets of access keys.
type Keyring interface {
	// Current is the term that Seal uses, while it stays the same.
	Current() uint32
	Seal(purpose, id string, plaintext []byte) ([]byte, error)
	Open(purpose, id string, sealed []byte) ([]byte, error)
}

// Config holds what the operations need beyond the pipeline. All fields are
// required.
type Config struct {
	Node    Node
	Keyring Keyring
}

type api struct {
	node    Node
	keyring Keyring
}

// Rows returns the operations of the admin API.
func Rows(cfg Config) []*service.Row {
	a := &api{node: cfg.Node, keyring: cfg.Keyring}
	return slices.Concat(a.memberRows(), a.secretRows(), a.accountRows(), configRows(), explainRows())
}

func (a *api) memberRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GetStatusRequest, wire.GetStatusResponse]{
			Service: wire.ServiceName, Name: "GetStatus", Operator: "kmsd:GetStatus", Local: true,
			Read: a.getStatus,
		}.Row(),
		service.Op[wire.ListMembersRequest, wire.ListMembersResponse]{
			Service: wire.ServiceName, Name: "ListMembers", Operator: "kmsd:ListMembers", Local: true,
			Read: a.listMembers,
		}.Row(),
		service.Op[wire.LeaveClusterRequest, wire.LeaveClusterResponse]{
			Service: wire.ServiceName, Name: "LeaveCluster", Operator: "kmsd:LeaveCluster", Local: true,
			Params: func(in *wire.LeaveClusterRequest, p *audit.Params) {
				p.OptString("memberId", in.MemberID)
				p.OptBool("force", in.Force)
			},
			Act: a.leaveCluster,
		}.Row(),
		service.Op[wire.RemoveMemberRequest, wire.RemoveMemberResponse]{
			Service: wire.ServiceName, Name: "RemoveMember", Operator: "kmsd:RemoveMember",
			Params: func(in *wire.RemoveMemberRequest, p *audit.Params) {
				p.String("memberId", in.MemberID)
				p.OptBool("force", in.Force)
			},
			Act: a.removeMember,
		}.Row(),
		service.Op[wire.GetAuthorityRequest, wire.GetAuthorityResponse]{
			Service: wire.ServiceName, Name: "GetAuthority", Public: true,
			Read: getAuthority,
		}.Row(),
	}
}

// secretRows are the writes whose replies hold a secret. They are not Once:
// retries of an SDK's call would have to answer the same secret, and a token's is
// kept nowhere. A retry makes another token, or another credential, and the one
// whose reply was lost expires, or ends at once.
func (a *api) secretRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.CreateJoinTokenRequest, wire.CreateJoinTokenResponse]{
			Service: wire.ServiceName, Name: "CreateJoinToken", Operator: "kmsd:CreateJoinToken",
			Check: checkNetworks,
			Params: func(in *wire.CreateJoinTokenRequest, p *audit.Params) {
				audit.OptInt(p, "ttlSeconds", in.TTLSeconds)
				audit.OptInt(p, "uses", in.Uses)
				p.Strings("cidrs", in.CIDRs)
			},
			Write: a.createJoinToken, Repeat: repeatJoinToken,
		}.Row(),
		service.Op[wire.ResetRootCredentialRequest, wire.RootCredential]{
			Service: wire.ServiceName, Name: "ResetRootCredential", Operator: "kmsd:ResetRootCredential", Local: true,
			Params: func(in *wire.ResetRootCredentialRequest, p *audit.Params) {
				p.String("accountId", in.AccountID)
			},
			Write: a.resetRootCredential, Repeat: a.repeatRootCredential,
		}.Row(),
	}
}

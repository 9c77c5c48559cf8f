package admin

import "github.com/kmsd/kmsd/wire"

// The bounds of a join token.
const (
	// DefaultTokenTTL and MaxTokenTTL are lifetimes in seconds: one hour, one day.
	DefaultTokenTTL = 3600
	MaxTokenTTL     = 86400
	// DefaultTokenUses and MaxTokenUses are how many nodes may join with a token.
	DefaultTokenUses = 1
	MaxTokenUses     = 100
	// MaxTokenCIDRs bounds the list of networks.
	MaxTokenCIDRs = 32
)

// GetStatusRequest is GET /v1/status: what the node that receives it knows of
// itself and the cluster.
type GetStatusRequest struct{}

// ListMembersRequest is GET /v1/members: the members of the cluster, as the node
// that receives it knows them.
type ListMembersRequest struct{}

// GetAuthorityRequest is GET /v1/ca, which needs no credentials.
type GetAuthorityRequest struct{}

// CreateJoinTokenRequest is POST /v1/tokens. A join token is worth every key of
// the cluster.
type CreateJoinTokenRequest struct {
	// TTLSeconds is how long the token may be used: 1 to 86,400, default 3,600.
	TTLSeconds *int `json:"ttlSeconds,omitempty"`
	// Uses is how many nodes may join with it: 1 to 100, default 1.
	Uses *int `json:"uses,omitempty"`
	// CIDRs are the networks from which nodes may join with it, at most 32;
	// none means any.
	CIDRs []string `json:"cidrs,omitempty"`
}

// LeaveClusterRequest is POST /v1/leave: the node that receives it leaves the
// cluster, erases its secrets and ends.
type LeaveClusterRequest struct {
	// MemberID, where given, must be the id of the node that receives the call: a
	// guard for calls that pass a load balancer.
	MemberID *string `json:"memberId,omitempty"`
	// Force leaves even when the rest cannot form a quorum, or there is none.
	Force *bool `json:"force,omitempty"`
}

// RemoveMemberRequest is DELETE /v1/members/{memberId}?force=true: a dead node is
// removed for good.
type RemoveMemberRequest struct {
	MemberID string `json:"memberId"` // UUID
	// Force removes even when that loses the quorum.
	Force *bool `json:"force,omitempty"`
}

// ResetRootCredentialRequest is POST /v1/accounts/{accountId}/root-credential: the
// account's root user gets a new access key and loses the old ones.
type ResetRootCredentialRequest struct {
	AccountID string `json:"accountId"` // 12 digits
}

var (
	ruleTTL      = wire.IntRule{Min: 1, Max: MaxTokenTTL}
	ruleUses     = wire.IntRule{Min: 1, Max: MaxTokenUses}
	ruleCIDR     = wire.TextRule{Min: 1, Max: 64}
	ruleCIDRs    = wire.ListRule{Max: MaxTokenCIDRs, Element: &ruleCIDR}
	ruleMemberID = wire.TextRule{Min: 36, Max: 36, Pattern: wire.MustPattern(
		"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")}
	ruleAccountID = wire.TextRule{Min: 12, Max: 12, Pattern: wire.MustPattern("[0-9]{12}", "[0-9]{12}")}
)

// Decode implements wire.Request.
func (v *GetStatusRequest) Decode(body []byte) error { return decode(body, noCheck) }

// Decode implements wire.Request.
func (v *ListMembersRequest) Decode(body []byte) error { return decode(body, noCheck) }

// Decode implements wire.Request.
func (v *GetAuthorityRequest) Decode(body []byte) error { return decode(body, noCheck) }

// Decode implements wire.Request.
func (v *CreateJoinTokenRequest) Decode(body []byte) error {
	return emptied(v, decode(body,
		func(c *wire.Checker) {
			c.Int("ttlSeconds", v.TTLSeconds, &ruleTTL)
			c.Int("uses", v.Uses, &ruleUses)
			c.Texts("cidrs", v.CIDRs, &ruleCIDRs)
		},
		member{"ttlSeconds", func(r *wire.Reader) { v.TTLSeconds = r.Int() }},
		member{"uses", func(r *wire.Reader) { v.Uses = r.Int() }},
		member{"cidrs", func(r *wire.Reader) { v.CIDRs = r.Texts() }},
	))
}

// Decode implements wire.Request.
func (v *LeaveClusterRequest) Decode(body []byte) error {
	return emptied(v, decode(body,
		func(c *wire.Checker) { c.OptionalText("memberId", v.MemberID, &ruleMemberID) },
		member{"memberId", func(r *wire.Reader) { v.MemberID = r.OptionalText() }},
		member{"force", func(r *wire.Reader) { v.Force = r.Bool() }},
	))
}

// Decode implements wire.Request.
func (v *RemoveMemberRequest) Decode(body []byte) error {
	v.MemberID = wire.Absent
	return emptied(v, decode(body,
		func(c *wire.Checker) { c.RequiredText("memberId", &v.MemberID, &ruleMemberID) },
		member{"memberId", func(r *wire.Reader) { v.MemberID = r.Text() }},
		member{"force", func(r *wire.Reader) { v.Force = r.Bool() }},
	))
}

// Decode implements wire.Request.
func (v *ResetRootCredentialRequest) Decode(body []byte) error {
	v.AccountID = wire.Absent
	return emptied(v, decode(body,
		func(c *wire.Checker) { c.RequiredText("accountId", &v.AccountID, &ruleAccountID) },
		member{"accountId", func(r *wire.Reader) { v.AccountID = r.Text() }},
	))
}

// emptied leaves nothing in a request that was refused.
func emptied[T any](v *T, err error) error {
	if err != nil {
		var zero T
		*v = zero
	}
	return err
}

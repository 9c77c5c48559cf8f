package admin

import (
	"fmt"
	"strconv"
	"time"

	"github.com/kmsd/kmsd/wire"
)

// The roles of a member.
const (
	RoleLeader   = "leader"
	RoleVoter    = "voter"
	RoleNonvoter = "nonvoter"
	// RoleUnknown is that of a node that does not know the cluster's membership.
	RoleUnknown = "unknown"
)

// GetStatusResponse is what a node knows of itself. It is answered by every node
// that runs, whether it may serve or not.
type GetStatusResponse struct {
	ClusterID string `json:"clusterId"`
	NodeID    string `json:"nodeId"`
	// OperatorAccount is the account whose principals may administer the cluster;
	// absent while the node has no state yet.
	OperatorAccount string `json:"operatorAccount,omitempty"`
	Release         string `json:"release"`        // of the binary
	ClusterVersion  uint32 `json:"clusterVersion"` // of the node's state; 0: it has none yet
	// SupportedVersion is the highest cluster version that the node supports. The
	// cluster's follows when every member supports more.
	SupportedVersion uint32 `json:"supportedClusterVersion"`
	// Ready tells that the node serves; NotReady says why not.
	Ready    bool     `json:"ready"`
	NotReady []string `json:"notReady,omitempty"`
	// Warnings are conditions that an operator should end: a nearly full disk, a
	// wrong clock, a seal beside the data that it protects.
	Warnings []string `json:"warnings,omitempty"`
	Role     string   `json:"role"`
	LeaderID string   `json:"leaderId,omitempty"` // absent while none is known
	Quorum   *Quorum  `json:"quorum,omitempty"`   // absent while no leader answers
	Term     uint64   `json:"term"`
	Applied  uint64   `json:"appliedIndex"` // of the node's state
	Stable   uint64   `json:"stableIndex"`  // what every node serves
	// StateDigest is of the node's state at log index DigestIndex, in hexadecimal.
	// Nodes with the same index have the same digest.
	StateDigest string `json:"stateDigest,omitempty"`
	DigestIndex uint64 `json:"digestIndex,omitempty"`
	Starts      uint64 `json:"starts"` // of this node, ever
	Seal        string `json:"seal"`   // kind of the seal: "file"
	// DiskFree and DiskSize are of the volume of the data directory, in bytes.
	DiskFree uint64 `json:"diskFreeBytes"`
	DiskSize uint64 `json:"diskSizeBytes"`
	// WallOffset is the node's wall clock less the median of its peers', in
	// milliseconds.
	WallOffset int64 `json:"wallOffsetMilliseconds"`
	// CertificateExpires is the end of the node certificate's life.
	CertificateExpires time.Time `json:"certificateExpires,omitzero"`
	// DestroyedSecrets is absent while the node's disk is clear of what was destroyed.
	DestroyedSecrets *DestroyedSecrets `json:"destroyedSecretsOnDisk,omitempty"`
}

// DestroyedSecrets tells that a node's disk may still hold, sealed, the material of
// keys and the secrets of access keys that were destroyed. It is cleared within a
// day.
type DestroyedSecrets struct {
	// Index is the log index of the last command that destroyed secrets.
	Index uint64 `json:"index"`
	// Since is when the first of them was destroyed.
	Since time.Time `json:"since"`
}

// Member is a member of the cluster.
type Member struct {
	MemberID   string `json:"memberId"`
	Address    string `json:"address"`              // of the cluster port
	APIAddress string `json:"apiAddress,omitempty"` // where clients reach it
	Role       string `json:"role"`
	Healthy    bool   `json:"healthy"`
	// LastContact is how long ago the leader heard the member, in milliseconds;
	// absent where that is not known.
	LastContact *int64 `json:"lastContactMilliseconds,omitempty"`
	// Lag is how many log entries the member has not applied yet; absent where
	// that is not known.
	Lag     *uint64 `json:"lagEntries,omitempty"`
	Version uint32  `json:"version"` // the highest cluster version that it supports
}

// ListMembersResponse holds the members, sorted by id.
type ListMembersResponse struct {
	Members []Member `json:"members"`
	Quorum  Quorum   `json:"quorum"`
}

// Quorum says what the cluster can lose.
type Quorum struct {
	Voters  int `json:"voters"`
	Healthy int `json:"healthyVoters"`
	Needed  int `json:"neededVoters"` // that must agree: a majority
	// FailureTolerance is how many more voters may fail before the cluster stops.
	FailureTolerance int `json:"failureTolerance"`
}

// String says it in a sentence without its point.
func (q Quorum) String() string {
	loss := "the cluster tolerates no failure"
	if q.FailureTolerance > 0 {
		loss = "the cluster tolerates the failure of " + strconv.Itoa(q.FailureTolerance)
	}
	return fmt.Sprintf("%d of %d voters are healthy, %d are needed: %s", q.Healthy, q.Voters, q.Needed, loss)
}

// CreateJoinTokenResponse holds a new token. Its text is nowhere else: a reply that
// is lost loses the token.
type CreateJoinTokenResponse struct {
	TokenID string               `json:"tokenId"`
	Token   wire.SensitiveString `json:"token"`
	Expires time.Time            `json:"expires"`
	Uses    int                  `json:"uses"`
}

// LeaveClusterResponse means that the node is no member any more. It ends soon
// after.
type LeaveClusterResponse struct{}

// RemoveMemberResponse means that the member was removed.
type RemoveMemberResponse struct{}

// RootCredential holds the new credential of an account's root user.
type RootCredential struct {
	AccountID       string               `json:"accountId"`
	AccessKeyID     string               `json:"accessKeyId"`
	SecretAccessKey wire.SensitiveString `json:"secretAccessKey"`
}

// GetAuthorityResponse holds the certificate of the authority that issues API
// certificates, in PEM: what clients trust (AWS_CA_BUNDLE).
type GetAuthorityResponse struct {
	Certificate string `json:"certificate"`
}

// AppendJSON implements wire.Response.
func (v *GetStatusResponse) AppendJSON(dst []byte) []byte { return appendJSON(dst, v) }

// AppendJSON implements wire.Response.
func (v *ListMembersResponse) AppendJSON(dst []byte) []byte { return appendJSON(dst, v) }

// AppendJSON implements wire.Response. It is the only way to print the token.
func (v *CreateJoinTokenResponse) AppendJSON(dst []byte) []byte {
	dst = wire.AppendText(append(dst, '{'), "tokenId", v.TokenID)
	dst = wire.AppendText(dst, "token", string(v.Token))
	dst = wire.AppendText(dst, "expires", v.Expires.UTC().Format(time.RFC3339Nano))
	return append(wire.AppendInt(dst, "uses", &v.Uses), '}')
}

// AppendJSON implements wire.Response.
func (v *LeaveClusterResponse) AppendJSON(dst []byte) []byte { return appendJSON(dst, v) }

// AppendJSON implements wire.Response.
func (v *RemoveMemberResponse) AppendJSON(dst []byte) []byte { return appendJSON(dst, v) }

// AppendJSON implements wire.Response. It is the only way to print the secret.
func (v *RootCredential) AppendJSON(dst []byte) []byte {
	dst = wire.AppendText(append(dst, '{'), "accountId", v.AccountID)
	dst = wire.AppendText(dst, "accessKeyId", v.AccessKeyID)
	return append(wire.AppendText(dst, "secretAccessKey", string(v.SecretAccessKey)), '}')
}

// AppendJSON implements wire.Response.
func (v *GetAuthorityResponse) AppendJSON(dst []byte) []byte { return appendJSON(dst, v) }

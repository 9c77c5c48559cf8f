package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/service/adminapi"
	"github.com/kmsd/kmsd/wire/admin"
)

// adminNode is a member as the admin API sees it.
type adminNode struct{ *member }

var _ adminapi.Node = adminNode{}

const (
	// roleWait bounds the question to the leader which role this node has.
	roleWait = time.Second
	// lowDisk and farClock are where warnings begin: percent of the data directory's
	// volume, and the distance from the median of the members' wall clocks.
	lowDisk  = 10
	farClock = time.Second
	// endingCertificate is how long before its end the node's certificate is worth a
	// warning: it is renewed long before.
	endingCertificate = 3 * 24 * time.Hour
)

// Status implements adminapi.Node. It answers also when the node can not serve.
func (n adminNode) Status(ctx context.Context) (*admin.GetStatusResponse, error) {
	s := n.node.Status()
	index, digest := n.node.Digest()
	out := &admin.GetStatusResponse{
		ClusterID: s.ClusterID, NodeID: s.NodeID, OperatorAccount: s.OperatorAccount, Release: thisVersion().Version, ClusterVersion: s.ClusterVersion, SupportedVersion: s.Supports,
		Role: admin.RoleUnknown, LeaderID: s.LeaderID, Term: s.Term, Applied: s.Applied, Stable: s.Stable,
		StateDigest: hex.EncodeToString(digest[:]), DigestIndex: index, Starts: s.Starts,
		Seal: s.SealKind, DiskFree: s.DiskFree, DiskSize: s.DiskTotal, WallOffset: s.ClockAhead.Milliseconds(),
		CertificateExpires: s.CertificateEnds, Warnings: n.warn(&s),
	}
	if s.Leads {
		out.Role = admin.RoleLeader
	}
	n.place(ctx, out)
	if s.Stain != nil {
		out.DestroyedSecrets = &admin.DestroyedSecrets{Index: s.Stain.Index, Since: s.Stain.Since.UTC()}
	}
	if err := n.service.Ready(ctx); err != nil {
		out.NotReady = append(out.NotReady, err.Error())
	}
	if n.draining.Load() {
		out.NotReady = append(out.NotReady, errDraining.Error())
	}
	out.Ready = len(out.NotReady) == 0
	return out, nil
}

// place asks the leader, if there is one, what this node is in the cluster and what
// the cluster can lose.
func (n adminNode) place(ctx context.Context, out *admin.GetStatusResponse) {
	if out.LeaderID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, roleWait)
	defer cancel()
	list, err := n.Members(ctx)
	if err != nil {
		return
	}
	for _, m := range list.Members {
		if m.MemberID == out.NodeID {
			out.Role = m.Role
		}
	}
	if out.Quorum = &list.Quorum; out.Quorum.FailureTolerance == 0 {
		out.Warnings = append(out.Warnings, out.Quorum.String())
	}
}

// warn lists what an operator should end.
func (n adminNode) warn(s *cluster.Status) []string {
	out := append([]string(nil), n.cfg.warnings...)
	if s.DiskTotal > 0 && s.DiskFree < s.DiskTotal/100*lowDisk {
		out = append(out, fmt.Sprintf("less than %d %% of the data directory's volume is free", lowDisk))
	}
	if s.ClockAhead.Abs() > farClock {
		out = append(out, fmt.Sprintf("the wall clock is %v off the members' median", s.ClockAhead))
	}
	if !s.CertificateEnds.IsZero() && time.Until(s.CertificateEnds) < endingCertificate {
		out = append(out, "the node's certificate ends "+s.CertificateEnds.UTC().Format(time.RFC3339)+" and was not renewed")
	}
	if s.Stain != nil && time.Since(s.Stain.Since) > cluster.PurgeLimit {
		out = append(out, "secrets that were destroyed "+s.Stain.Since.UTC().Format(time.RFC3339)+" may still be on the disk: the log says why")
	}
	return out
}

// Members implements adminapi.Node.
func (n adminNode) Members(ctx context.Context) (*admin.ListMembersResponse, error) {
	list, err := n.node.Members(ctx)
	if err != nil {
		return nil, err
	}
	out := &admin.ListMembersResponse{Members: make([]admin.Member, len(list)), Quorum: admin.Quorum(cluster.QuorumOf(list))}
	for i, m := range list {
		out.Members[i] = admin.Member{
			MemberID: m.ID, Address: m.Address, APIAddress: m.APIAddress, Role: m.Role, Healthy: m.Healthy, Version: m.Version,
		}
		if m.Role != cluster.RoleAdmitted {
			silent := m.SilentFor.Milliseconds()
			out.Members[i].LastContact, out.Members[i].Lag = &silent, &m.Lag
		}
	}
	return out, nil
}

// Leave implements adminapi.Node. What only this process knows goes when it serves
// nobody any more and still is a member. A node that stays after all serves again.
func (n adminNode) Leave(ctx context.Context, force bool) error {
	retired := false
	err := n.node.Leave(ctx, force, func(ctx context.Context) error {
		retired = true
		err := n.retire(ctx)
		n.service.HandOver(ctx)
		return err
	})
	if err != nil && retired {
		n.resume()
	}
	return err
}

// RemovePeer implements adminapi.Node.
func (n adminNode) RemovePeer(ctx context.Context, id string, force bool) error {
	return n.node.RemovePeer(ctx, id, force)
}

// NewToken implements adminapi.Node.
func (n adminNode) NewToken(v *fsm.View, spec adminapi.TokenSpec) (adminapi.Token, error) {
	text, create, err := cluster.NewJoinToken(v, fsm.JoinToken{
		Created: spec.Created, Expires: spec.Expires, Uses: spec.Uses, CIDRs: spec.CIDRs, CreatedBy: spec.CreatedBy,
	})
	return adminapi.Token{ID: create.Token.ID, Text: text, Create: &create}, err
}

var errDraining = errors.New("the node is about to stop")

package adminapi

import (
	"cmp"
	"context"
	"encoding/pem"
	"slices"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/admin"
)

func (a *api) getStatus(ctx context.Context, _ *service.Request, _ *wire.GetStatusRequest) (*wire.GetStatusResponse, error) {
	return a.node.Status(ctx)
}

func (a *api) listMembers(ctx context.Context, _ *service.Request, _ *wire.ListMembersRequest) (*wire.ListMembersResponse, error) {
	out, err := a.node.Members(ctx)
	if err != nil {
		return nil, err
	}
	out.Members = slices.SortedFunc(slices.Values(out.Members), func(x, y wire.Member) int { return cmp.Compare(x.MemberID, y.MemberID) })
	if out.Members == nil {
		out.Members = []wire.Member{} // [] and not null
	}
	return out, nil
}

// leaveCluster makes this node leave. A caller that names a member means that one
// and no other.
func (a *api) leaveCluster(ctx context.Context, _ *service.Request, in *wire.LeaveClusterRequest) (*wire.LeaveClusterResponse, error) {
	if in.MemberID != nil {
		status, err := a.node.Status(ctx)
		if err != nil {
			return nil, err
		}
		if status.NodeID != *in.MemberID {
			return nil, invalid("The call reached the node " + status.NodeID + ", not " + *in.MemberID + ".")
		}
	}
	if err := a.node.Leave(ctx, given(in.Force)); err != nil {
		return nil, err
	}
	return &wire.LeaveClusterResponse{}, nil
}

func (a *api) removeMember(ctx context.Context, _ *service.Request, in *wire.RemoveMemberRequest) (*wire.RemoveMemberResponse, error) {
	if err := a.node.RemovePeer(ctx, in.MemberID, given(in.Force)); err != nil {
		return nil, err
	}
	return &wire.RemoveMemberResponse{}, nil
}

func given(b *bool) bool { return b != nil && *b }

// getAuthority shows the certificate of the authority of API certificates.
func getAuthority(_ context.Context, r *service.Request, _ *wire.GetAuthorityRequest) (*wire.GetAuthorityResponse, error) {
	if r.View == nil {
		return nil, kms.ErrUnavailable
	}
	authority := r.View.Authority()
	if authority == nil {
		return nil, &kms.Error{Code: kms.CodeNotFound, Message: "This cluster has no certificate authority."}
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.API.Cert})
	return &wire.GetAuthorityResponse{Certificate: string(text)}, nil
}

func invalid(message string) *kms.Error {
	return &kms.Error{Code: kms.CodeValidation, Message: message}
}

// Package iamapi holds the operations of IAM and STS: their rows and what is
// unique to each of them.
package iamapi

import (
	"context"

	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/sts"
)

// Rows returns the operations of IAM and STS that kmsd serves.
func Rows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GetCallerIdentityRequest, wire.GetCallerIdentityResponse]{
			Service: "sts", Name: "GetCallerIdentity", Open: true, Read: getCallerIdentity,
		}.Row(),
	}
}

// getCallerIdentity needs no permission, and no policy can deny it (AWS STS:
// GetCallerIdentity).
func getCallerIdentity(_ context.Context, r *service.Request, _ *wire.GetCallerIdentityRequest) (*wire.GetCallerIdentityResponse, error) {
	p := &r.Principal
	return &wire.GetCallerIdentityResponse{UserId: &p.UniqueID, Account: &p.Account, Arn: &p.ARN}, nil
}

package kmsapi

import (
	"context"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

// policyName is the name of a key's only policy.
const policyName = "default"

func getKeyPolicy(_ context.Context, r *service.Request, in *wire.GetKeyPolicyRequest) (*wire.GetKeyPolicyResponse, error) {
	if in.PolicyName != nil && *in.PolicyName != policyName {
		return nil, &kms.Error{Code: kms.CodeNotFound, Message: "No such policy exists"}
	}
	policy, ok := r.View.PolicyText(r.Keys[0].PolicyHash)
	if !ok {
		panic("kmsd: key without a policy")
	}
	return &wire.GetKeyPolicyResponse{Policy: &policy, PolicyName: new(policyName)}, nil
}

// listKeyPolicies answers the one name. There is no second page, so that a marker
// changes nothing.
func listKeyPolicies(context.Context, *service.Request, *wire.ListKeyPoliciesRequest) (*wire.ListKeyPoliciesResponse, error) {
	return &wire.ListKeyPoliciesResponse{PolicyNames: []string{policyName}, Truncated: new(false)}, nil
}

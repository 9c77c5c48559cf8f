package kmsapi

import (
	"context"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

// policyName is the name of a key's only policy.
const policyName = "default"

func checkPolicyName(name *string) error {
	if name != nil && *name != policyName {
		return &kms.Error{Code: kms.CodeNotFound, Message: "No such policy exists"}
	}
	return nil
}

func getKeyPolicy(_ context.Context, r *service.Request, in *wire.GetKeyPolicyRequest) (*wire.GetKeyPolicyResponse, error) {
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	stored, ok := r.View.PolicyText(r.Keys[0].PolicyHash)
	if !ok {
		panic("kmsd: key without a policy")
	}
	policy, err := service.ShowPolicy(r.View, stored)
	if err != nil {
		return nil, err
	}
	return &wire.GetKeyPolicyResponse{Policy: &policy, PolicyName: new(policyName)}, nil
}

// listKeyPolicies answers the one name. There is no second page, so that a marker
// changes nothing.
func listKeyPolicies(context.Context, *service.Request, *wire.ListKeyPoliciesRequest) (*wire.ListKeyPoliciesResponse, error) {
	return &wire.ListKeyPoliciesResponse{PolicyNames: []string{policyName}, Truncated: new(false)}, nil
}

func putKeyPolicy(_ context.Context, r *service.Request, in *wire.PutKeyPolicyRequest) (fsm.Args, *service.None, error) {
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, nil, err
	}
	key := &r.Keys[0]
	policy, err := newPolicy(r, key, in.Policy, isTrue(in.BypassPolicyLockoutSafetyCheck))
	if err != nil {
		return nil, nil, err
	}
	r.Record.ResponseElements.String("keyId", key.ARN)
	return fsm.PutKeyPolicy{Account: key.Account, Region: key.Region, KeyID: key.ID, Policy: policy}, nil, nil
}

// errLockedOut is the refusal of a policy under which the caller could not change it
// again.
var errLockedOut = &kms.Error{Code: kms.CodeMalformedPolicy, Message: "The new key policy will not allow you to update the key policy in the future."}

// newPolicy validates a policy for a key (AWS: PutKeyPolicy) and returns it in the
// form in which it is stored: users and roles by their unique ids.
func newPolicy(r *service.Request, key *service.Key, text string, bypass bool) (string, error) {
	if _, err := iam.Parse(text, iam.KeyPolicy); err != nil {
		return "", err
	}
	stored, err := service.BindPolicy(r.View, text)
	if err != nil {
		return "", err
	}
	policy, err := iam.Parse(stored, iam.KeyPolicy)
	if err != nil || bypass {
		return stored, err
	}
	locks, err := r.Locks(key, policy)
	if err == nil && locks {
		err = errLockedOut
	}
	return stored, err
}

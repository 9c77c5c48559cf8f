package service

import (
	"cmp"
	"fmt"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// foreign completes the refusals that must not tell a foreign key from one that
// does not exist.
const foreign = "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"

// authorizeKey decides one action on one key.
func (s *Service) authorizeKey(r *Request, rule *keyRule, key *Key) error {
	if !key.ownedBy(r.Principal.Account) && (key.Key == nil || !rule.crossAccount) {
		return r.denied(rule, key, foreign)
	}
	policy, err := s.keyPolicy(r, key)
	if err != nil {
		return err
	}
	decision := policy.Decide(r.Principal, rule.action, key.Account)
	if decision.Allowed {
		return nil
	}
	return r.denied(rule, key, decision.Reason)
}

// keyPolicy returns the compiled policy of a key. The cache never answers by
// itself: the hash comes from the key's record in the request's View.
func (s *Service) keyPolicy(r *Request, key *Key) (iam.KeyPolicy, error) {
	if p, ok := s.policies.Load(key.PolicyHash); ok {
		return p.(iam.KeyPolicy), nil
	}
	text, ok := r.View.PolicyText(key.PolicyHash)
	if !ok {
		panic("kmsd: key without a policy")
	}
	p, err := iam.ParseKeyPolicy(text, key.Account)
	if err != nil {
		return iam.KeyPolicy{}, fmt.Errorf("compiling the policy of %s: %v", key.ARN, err)
	}
	s.policies.Store(key.PolicyHash, p)
	return p, nil
}

// denied is the refusal of an action on a key. It shows nothing that the call did
// not name: not the key of a ciphertext, not the key of another account's alias,
// and not that a bare id is a key of another account.
func (r *Request) denied(rule *keyRule, key *Key, reason string) error {
	text := "User: " + r.Principal.ARN + " is not authorized to perform: " + rule.action
	switch {
	case key.byBlob:
		text += " on the resource associated with this ciphertext " + foreign
	case key.byID && key.Account != r.Principal.Account:
		return keyNotFound(kms.KeyARN(r.Region, r.Principal.Account, key.ID))
	default:
		text += " on resource: " + cmp.Or(key.named, key.ARN) + " " + reason
	}
	return &kms.Error{Code: kms.CodeAccessDenied, Message: text}
}

// authorize decides what the row asks for besides the actions of its keys.
func (r *Request) authorize() error {
	switch {
	case r.row.Identity != "":
		return r.authorizeIdentity(r.row.Identity)
	case r.row.Operator != "" && r.Principal.Type != kms.PrincipalLocalOperator:
		return r.authorizeOperator(r.row.Operator)
	}
	return nil
}

// errNoCredentials is the answer on the admin socket to a call that needs
// credentials there, too.
var errNoCredentials = &kms.Error{Code: kms.CodeMissingAuthentication, Message: "Missing Authentication Token"}

// authorizeOperator decides an action on the cluster: other accounts than the
// operator's are refused whatever their policies say.
func (r *Request) authorizeOperator(action string) error {
	cluster := r.View.Meta()
	decision := iam.DecideIdentity(r.Principal, action)
	if decision.Allowed && r.Principal.Account == cluster.OperatorAccount {
		return nil
	}
	return &kms.Error{Code: kms.CodeAccessDenied,
		Message: "User: " + r.Principal.ARN + " is not authorized to perform: " + action +
			" on resource: " + kms.ClusterARN(cluster.OperatorAccount, cluster.ClusterID) +
			" because no identity-based policy allows the " + action + " action"}
}

// authorizeIdentity decides an action that only identity policies govern.
func (r *Request) authorizeIdentity(action string) error {
	decision := iam.DecideIdentity(r.Principal, action)
	if decision.Allowed {
		return nil
	}
	return &kms.Error{Code: kms.CodeAccessDenied,
		Message: "User: " + r.Principal.ARN + " is not authorized to perform: " + action + " on resource: * " + decision.Reason}
}

package service

import (
	"strings"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// CheckAssumes refuses who may assume no role at all: root users (AWS STS: AssumeRole).
func (r *Request) CheckAssumes() error {
	if r.Principal.Type == kms.PrincipalRoot {
		return &kms.Error{Code: kms.CodeAccessDenied, Message: "Roles may not be assumed by root accounts."}
	}
	return nil
}

// Role returns the role of an active account by its ARN.
func (r *Request) Role(text string) (*fsm.Identity, bool) {
	arn, ok := kms.ParseARN(text)
	if !ok || arn.Service != "iam" || !strings.HasPrefix(arn.Resource, "role/") {
		return nil, false
	}
	role, ok := named(r.View, arn.Account, fsm.KindRole, arn.Resource)
	if !ok || role.ARN() != text || !accountActive(r.View, arn.Account) {
		return nil, false
	}
	return role, true
}

// AuthorizeRole decides an action of STS on a role: the role's trust policy decides,
// and the caller's policies where that names an account (AWS STS: AssumeRole). own has
// the condition keys that come from the call. Errors: AccessDeniedException.
func (r *Request) AuthorizeRole(action string, role *fsm.Identity, own func(key string) []string) error {
	decision, err := r.service.decideRole(r, action, role, own)
	if err != nil || decision.Allowed {
		return err
	}
	return r.RoleDenied(action, role.ARN())
}

func (s *Service) decideRole(r *Request, action string, role *fsm.Identity, own func(key string) []string) (iam.Decision, error) {
	subject, err := s.subject(r)
	if err != nil {
		return iam.Decision{}, err
	}
	trust, err := s.policy(r.View, role.Trust, iam.TrustPolicy)
	if err != nil {
		return iam.Decision{}, err
	}
	r.conditions = conditions{r: r, own: own}
	r.asked = iam.Request{Action: action, Resource: role.ARN(), Account: role.Account, Context: &r.conditions}
	return iam.AuthorizeTrust(subject, &r.asked, trust), nil
}

// RoleDenied is the refusal of an action of STS on a role, which does not tell whether
// there is one.
func (r *Request) RoleDenied(action, arn string) error {
	return r.notAuthorized(action, " on resource: "+arn)
}

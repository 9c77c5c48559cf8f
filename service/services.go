package service

import (
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// A service that uses keys for its users is a role of the operator account with the tag
// kmsd:service. A session of it that has the tag kmsd:account calls KMS for that account,
// as the service principal <name>.amazonaws.com, and as nobody else: neither with the
// rights of its role nor with those of anybody in the account. What makes the service is
// read from the role in the call's View, what it calls for from the sealed session token:
// nothing of it comes with a request. Without the tag kmsd:account, and for all other
// APIs, the session is an ordinary one of the operator account.
//
// Whoever may tag roles of the operator account, or assume such a role with session tags,
// can call as the service for any account: the operator.

// serves finds out whether the session is one of a service, and completes the principal.
// It reports false for a session of a service that says for whom or on behalf of what it
// calls, and says what cannot be, or an account that is not active: such a call must not
// be taken for one of the operator account.
func serves(view *fsm.View, role *fsm.Identity, p *kms.Principal) bool {
	name := role.Service()
	if name == "" || role.Account != view.Meta().OperatorAccount {
		return true
	}
	s, tagged := kms.Service{Name: name, Operator: role.Account, Session: p.ARN}, map[string]bool{}
	for _, tag := range p.Session.Tags {
		tagged[tag.Key] = true
		switch tag.Key {
		case kms.CallerTag:
			s.Caller = tag.Value
		case kms.SourceARNTag:
			s.SourceARN = tag.Value
		case kms.SourceAccountTag:
			s.SourceAccount = tag.Value
		}
	}
	if !tagged[kms.CallerTag] {
		return !tagged[kms.SourceARNTag] && !tagged[kms.SourceAccountTag]
	}
	_, isARN := kms.ParseARN(s.SourceARN)
	p.Service = &s
	return accountActive(view, s.Caller) && isARN == tagged[kms.SourceARNTag] && kms.ValidAccount(s.SourceAccount) == tagged[kms.SourceAccountTag]
}

// CheckServiceTags refuses the tags of a session that nobody could call with: one of a
// service's role that names no active account, or a source that cannot be one.
func (r *Request) CheckServiceTags(role *fsm.Identity, tags []kms.SessionTag) error {
	if !serves(r.View, role, &kms.Principal{Session: &kms.Session{Tags: tags}}) {
		return invalid("The session tag kmsd:account must name an active account, kmsd:source-arn an ARN and kmsd:source-account an account; the latter two need the first.")
	}
	return nil
}

// caller is whom the call is decided for when p has signed it: KMS sees the sessions of
// services as the services.
func (c *Call) caller(p kms.Principal) kms.Principal {
	if p.Service == nil || c.Service != kmsService {
		return p
	}
	return p.AsService(c.Region)
}

// serviceKey returns the values of a global condition key, named without "aws:", of a
// call that a service makes; decided is false where they are those of every call. A
// service has no ARN, no id, no tags and no address: what speaks of principals of
// accounts must not be met by whatever its operator gives its role (AWS IAM: "AWS global
// condition context keys", properties of the principal).
func serviceKey(s *kms.Service, name string) (values []string, decided bool) {
	switch name {
	case "principalisawsservice":
		return []string{"true"}, true
	case "principalservicename":
		return []string{s.Principal()}, true
	case "principalservicenameslist":
		return []string{s.Principal(), s.Via()}, true
	case "sourcearn":
		return present(s.SourceARN), true
	case "sourceaccount":
		return present(s.SourceAccount), true
	case "useragent":
		return []string{s.Principal()}, true
	case "viaawsservice", "securetransport", "currenttime", "epochtime", "requestedregion", "resourceaccount":
		return nil, false
	}
	return nil, true
}

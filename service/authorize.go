package service

import (
	"cmp"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// foreign completes the refusals that must not tell a foreign key from one that
// does not exist.
const foreign = "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"

// authorizeKey decides one action on one key. The keys of a closed account are as if
// they did not exist: nobody of it is let in, and nobody else may use them.
func (s *Service) authorizeKey(r *Request, rule *keyRule, key *Key, in any) error {
	switch {
	case key.Key == nil, key.Account != r.Principal.Account && (rule.listed || !accountActive(r.View, key.Account)):
		return r.denied(rule, key, foreign)
	case rule.listed:
		return nil
	case rule.retires != nil:
		return s.authorizeRetire(r, rule, key, in)
	}
	decision, err := s.decideKey(r, rule, key, in)
	if err != nil || decision.Allowed {
		return err
	}
	return r.keyRefusal(rule, key, decision)
}

func (s *Service) decideKey(r *Request, rule *keyRule, key *Key, in any) (iam.Decision, error) {
	subject, err := s.subject(r)
	if err != nil {
		return iam.Decision{}, err
	}
	policy, err := s.keyPolicy(r.View, key)
	if err != nil {
		return iam.Decision{}, err
	}
	r.conditions = conditions{r: r, key: key, rule: rule, own: rule.conditions(in), in: in, region: key.Region}
	r.asked = iam.Request{Action: rule.action, Resource: key.Key.ARN(), Account: key.Account, Context: &r.conditions}
	if rule.retires != nil {
		return iam.AuthorizeRetire(subject, &r.asked, policy, r.retirer(key)), nil
	}
	if rule.granted != nil {
		r.granted = granted{c: &r.conditions}
		r.asked.Grants = &r.granted
	}
	return iam.AuthorizeKey(subject, &r.asked, policy, rule.crossAccount), nil
}

// authorizeCopy decides what identity policies must allow in another Region where the
// call makes a key there of one that it names.
func (s *Service) authorizeCopy(r *Request, rule *keyRule, key *Key, in any) error {
	if rule.copies == nil {
		return nil
	}
	there := rule.copies(key, in)
	err := s.authorizeIdentityIn(r, there.Region, there.Conditions, there.Identity, "*", " on resource: *")
	for _, action := range there.Also {
		if err != nil {
			return err
		}
		err = s.authorizeIdentityIn(r, there.Region, there.Conditions, action, "*", "")
	}
	return err
}

// keyRefusal is the answer to a decision against the caller.
func (r *Request) keyRefusal(rule *keyRule, key *Key, decision iam.Decision) error {
	if decision.Ground == iam.ByKeyPolicy && key.Account != r.Principal.Account {
		return r.denied(rule, key, foreign)
	}
	return r.denied(rule, key, decision.Why(rule.action))
}

// denied is the refusal of an action on a key. It shows nothing that the call did
// not name: not the key of a ciphertext, not the keys of another account's alias or
// grant, and not that a bare id is a key of another account.
func (r *Request) denied(rule *keyRule, key *Key, reason string) error {
	switch {
	case key.byBlob:
		return r.notAuthorized(rule.action, " on the resource associated with this ciphertext "+foreign)
	case key.byToken && key.Account != r.Principal.Account:
		return r.notAuthorized(rule.action, " on the resource associated with this grant token "+foreign)
	case key.byID && key.Account != r.Principal.Account:
		return keyNotFound(kms.KeyARN(r.Region, r.Principal.Account, key.ID))
	}
	return r.notAuthorized(rule.action, " on resource: "+cmp.Or(key.named, key.ARN)+" "+reason)
}

func (r *Request) notAuthorized(action, rest string) error {
	return &kms.Error{Code: kms.CodeAccessDenied, Message: "User: " + r.Principal.ARN + " is not authorized to perform: " + action + rest}
}

// errNoCredentials is the answer on the admin socket to a call that needs
// credentials there, too.
var errNoCredentials = &kms.Error{Code: kms.CodeMissingAuthentication, Message: "Missing Authentication Token"}

// authorize decides what the row asks for besides the actions of its keys.
func (s *Service) authorize(r *Request, in any) error {
	row := r.row
	r.own = r.Principal.IsService() && row.own(in, r.Principal.Service)
	switch {
	case row.Operator != "" && r.Principal.Type == kms.PrincipalLocalOperator:
		return nil
	case row.Operator != "":
		return s.authorizeOperator(r, row.Operator)
	case row.Identity != "":
		arn, shown := row.resource(r, in)
		if err := s.authorizeIdentity(r, in, row.Identity, arn, " on resource: "+shown); err != nil {
			return err
		}
	}
	arn, where := row.alsoOn(r, in)
	for _, action := range row.also(in) {
		if err := s.authorizeIdentity(r, in, action, arn, where); err != nil {
			return err
		}
	}
	if name := row.alias(in); name != "" {
		if _, err := r.key(0, in); err != nil {
			return err // what does not exist is told before what is not allowed
		}
		arn := kms.AliasARN(r.Region, r.Principal.Account, name)
		return s.authorizeIdentity(r, in, row.keys[0].action, arn, " on resource: "+arn)
	}
	return nil
}

// alsoOn returns what the row's further actions are asked on: what Identity is, or
// every resource where the row names none.
func (row *Row) alsoOn(r *Request, in any) (arn, where string) {
	if !row.named {
		return "*", ""
	}
	arn, shown := row.resource(r, in)
	return arn, " on resource: " + shown
}

// authorizeIdentity decides an action that only identity policies govern. where is
// how a refusal names the resource.
func (s *Service) authorizeIdentity(r *Request, in any, action, resource, where string) error {
	return s.authorizeIdentityIn(r, r.Region, r.row.conditions(in), action, resource, where)
}

// authorizeIdentityIn is authorizeIdentity in a Region, with the condition keys that come
// from the call.
func (s *Service) authorizeIdentityIn(r *Request, region string, own func(string) []string, action, resource, where string) error {
	decision, err := s.decideIdentity(r, region, own, action, resource)
	if err != nil || decision.Allowed {
		return err
	}
	return r.refusal(decision, action, where)
}

// refusal is the answer to a decision against the caller. where is how it names the
// resource.
func (r *Request) refusal(decision iam.Decision, action, where string) error {
	return r.notAuthorized(action, where+" "+decision.Why(action))
}

func (s *Service) decideIdentity(r *Request, region string, own func(string) []string, action, resource string) (iam.Decision, error) {
	subject, err := s.subject(r)
	if err != nil {
		return iam.Decision{}, err
	}
	r.conditions = conditions{r: r, own: own, region: region}
	r.asked = iam.Request{Action: action, Resource: resource, Account: r.Principal.Account, Context: &r.conditions, Own: r.own}
	return iam.AuthorizeIdentity(subject, &r.asked), nil
}

// authorizeOperator decides an action on the cluster.
func (s *Service) authorizeOperator(r *Request, action string) error {
	arn := r.clusterARN()
	decision, err := s.decideOperator(r, action, arn)
	if err != nil || decision.Allowed {
		return err
	}
	return r.refusal(decision, action, " on resource: "+arn)
}

// decideOperator decides an action on the cluster: other accounts than the operator's
// are refused whatever their policies say.
func (s *Service) decideOperator(r *Request, action, arn string) (iam.Decision, error) {
	decision, err := s.decideIdentity(r, r.Region, absent, action, arn)
	if r.Principal.Account != r.View.Meta().OperatorAccount {
		decision = iam.Decision{Ground: iam.ByIdentity}
	}
	return decision, err
}

func (r *Request) clusterARN() string {
	cluster := r.View.Meta()
	return kms.ClusterARN(cluster.OperatorAccount, cluster.ClusterID)
}

// Locks tells whether the caller could not change a key's policy any more if it were
// the given one (AWS KMS: PutKeyPolicy, "lockout check"). The decision is taken with
// the present call's conditions.
func (r *Request) Locks(key *Key, policy *iam.Policy) (bool, error) {
	subject, err := r.service.subject(r)
	if err != nil {
		return false, err
	}
	r.conditions = conditions{r: r, key: key, own: r.conditions.own, region: key.Region}
	r.asked = iam.Request{Action: "kms:PutKeyPolicy", Resource: key.Key.ARN(), Account: key.Account, Context: &r.conditions}
	return !iam.AuthorizeKey(subject, &r.asked, policy, false).Allowed, nil
}

// AttachablePolicy tells whether an account has the managed policy, or AWS manages it.
func (r *Request) AttachablePolicy(account, arn string) bool {
	if _, ok := iam.AWSManaged(arn); ok {
		return true
	}
	p, ok := r.View.ManagedPolicy(arn)
	return ok && p.Account == account
}

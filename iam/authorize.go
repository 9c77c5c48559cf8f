package iam

import "github.com/kmsd/kmsd/kms"

// Request is what is asked for.
type Request struct {
	Action string // "kms:Decrypt"
	// Resource is the ARN of what the action is on, or "*" for an action on nothing
	// that has one.
	Resource string
	// Account owns the resource.
	Account string
	Context Context
	// Grants finds grants that allow the action; nil where none can.
	Grants Grants
	// Own tells that the action touches nothing of an account, but only what is the
	// asking service's own.
	Own bool
}

// Grants finds grants on the resource that let the caller do what is asked for (AWS
// KMS: "Grants in AWS KMS"). It is asked when policies have not allowed it.
type Grants interface {
	// Find returns the id of a grant to the caller's account, or of one to the caller
	// itself or to its role; empty without one.
	Find(toAccount bool) (id string)
}

// Attached is a policy with the name by which explanations call it: an ARN for a
// managed policy, the name of an inline one.
type Attached struct {
	*Policy
	Name string
}

// Subject is a caller and the policies that apply to it.
type Subject struct {
	Principal *kms.Principal
	// Identity are the policies of the user and of its groups, or of the role.
	Identity []Attached
	// Boundary is the permissions boundary; its Policy is nil where there is none.
	Boundary Attached
	// Session are the session policies; empty where the session has none. Together
	// they bound what the session may do.
	Session []Attached
}

// isRoot tells that the caller needs no identity policy: it is an account's root
// user.
func (s *Subject) isRoot() bool { return s.Principal.Type == kms.PrincipalRoot }

// Ground says which policies decided.
type Ground uint8

// The grounds, in the order in which AWS names them when several deny.
const (
	ByBoundary Ground = iota + 1
	BySession
	ByIdentity
	ByKeyPolicy // or by a trust policy
	// ByGrant allows and never denies.
	ByGrant
)

// Decision is the answer to one question "may this caller do this?".
type Decision struct {
	Allowed bool
	// Explicit tells that a Deny statement decided.
	Explicit bool
	// Ground is the kind of policy that decided: that allowed, that denied, or that
	// should have allowed.
	Ground Ground
	// Policy, Sid and Statement, counted from 0, name the statement that allowed or
	// denied. Policy is empty for a key policy and where none did; ByGrant it is the
	// grant's id.
	Policy, Sid string
	Statement   int
}

// found is one statement of a policy.
type found struct {
	policy *Policy
	name   string
	index  int
}

func (f found) ok() bool { return f.policy != nil }

func (f found) decision(allowed bool, ground Ground) Decision {
	d := Decision{Allowed: allowed, Explicit: !allowed, Ground: ground}
	if f.ok() {
		d.Policy, d.Statement, d.Sid = f.name, f.index, f.policy.statements[f.index].sid
	}
	return d
}

// findings are the first Allow and the first Deny that speak of a request.
type findings struct{ allow, deny found }

// look evaluates one policy. After both were found nothing more is looked at.
func (f *findings) look(p *Attached, r *Request) {
	for i := range p.statements {
		s := &p.statements[i]
		if s.deny && f.deny.ok() || !s.deny && f.allow.ok() || !s.applies(r, p.kind) {
			continue
		}
		if s.deny {
			f.deny = found{p.Policy, p.Name, i}
		} else {
			f.allow = found{p.Policy, p.Name, i}
		}
	}
}

func lookAll(policies []Attached, r *Request) (f findings) {
	for i := range policies {
		f.look(&policies[i], r)
	}
	return f
}

// own is what the caller's own policies say.
type own struct {
	identity, boundary, session found // the first Allow of each
	bounded, inSession          bool  // whether there is a boundary, a session policy
	denied                      Decision
}

// limited tells whether boundary and session policies leave the action open.
func (o *own) limited() bool {
	return (!o.bounded || o.boundary.ok()) && (!o.inSession || o.session.ok())
}

// decideOwn evaluates identity policies, boundary and session policies. An explicit
// denial of any is final.
func (s *Subject) decideOwn(r *Request) (o own) {
	var boundary findings
	if s.Boundary.Policy != nil {
		o.bounded = true
		boundary.look(&s.Boundary, r)
	}
	o.inSession = len(s.Session) > 0
	session, identity := lookAll(s.Session, r), lookAll(s.Identity, r)
	o.boundary, o.session, o.identity = boundary.allow, session.allow, identity.allow
	switch {
	case boundary.deny.ok():
		o.denied = boundary.deny.decision(false, ByBoundary)
	case session.deny.ok():
		o.denied = session.deny.decision(false, BySession)
	case identity.deny.ok():
		o.denied = identity.deny.decision(false, ByIdentity)
	}
	return o
}

// AuthorizeIdentity decides an action that identity policies alone govern. The root
// user of an account may do all of them on what is its account's. A service may do those
// alone that are its own matter: its policies are those of another account than it calls
// for.
func AuthorizeIdentity(s *Subject, r *Request) Decision {
	o := s.decideOwn(r)
	switch {
	case o.denied.Explicit:
		return o.denied
	case s.Principal.IsService() && !r.Own:
		return Decision{Ground: ByIdentity}
	case o.bounded && !o.boundary.ok():
		return Decision{Ground: ByBoundary}
	case o.inSession && !o.session.ok():
		return Decision{Ground: BySession}
	case s.isRoot() && !o.inSession:
		return Decision{Allowed: true, Ground: ByIdentity}
	case !o.identity.ok() && !s.isRoot():
		return Decision{Ground: ByIdentity}
	}
	return o.identity.decision(true, ByIdentity)
}

// AuthorizeKey decides an action on a key under its policy (AWS: "Policy evaluation
// logic", "Key policies in AWS KMS"). crossAccount tells whether the operation is one
// that callers of other accounts may be allowed at all. What policies do not allow,
// grants may, unless a policy denies it.
func AuthorizeKey(s *Subject, r *Request, policy *Policy, crossAccount bool) Decision {
	o := s.decideOwn(r)
	by, deny := s.decideKey(policy, r)
	d := s.authorizeByPolicies(r, &o, &by, deny, crossAccount)
	if d.Allowed || d.Explicit || r.Grants == nil {
		return d
	}
	return s.authorizeGranted(r, &o, d)
}

func (s *Subject) authorizeByPolicies(r *Request, o *own, by *lets, deny found, crossAccount bool) Decision {
	switch {
	case s.Principal.IsService():
		return s.authorizeService(r, o, by, deny, crossAccount)
	case s.Principal.Account != r.Account:
		return s.authorizeForeign(o, by, deny, crossAccount)
	case o.denied.Explicit:
		return o.denied
	case deny.ok():
		return deny.decision(false, ByKeyPolicy)
	}
	return s.authorizeOwn(o, by)
}

// authorizeGranted decides where policies have neither allowed nor denied. A grant to
// the caller is enough, whatever its policies leave out; one to the caller's account
// lets the account in, as a key policy does that names it. d is the decision without
// grants: a caller of another account that no grant lets in hears nothing else.
func (s *Subject) authorizeGranted(r *Request, o *own, d Decision) Decision {
	id, toAccount := r.Grants.Find(false), false
	if id == "" {
		id, toAccount = r.Grants.Find(true), true
	}
	switch {
	case id == "":
		return d
	case o.denied.Explicit:
		return o.denied
	case toAccount && !o.allows(s), s.Principal.IsService() && !o.limited():
		return o.missing()
	}
	return Decision{Allowed: true, Ground: ByGrant, Policy: id}
}

// allows tells whether the caller's own policies allow what the resource's let its
// account do.
func (o *own) allows(s *Subject) bool { return o.limited() && (s.isRoot() || o.identity.ok()) }

// Retirer says what a caller is to a grant that it would retire.
type Retirer struct {
	// Named tells that the grant names the caller, or its role, as who may retire it.
	Named bool
	// Account tells that the caller's account may: it is the key's, it made the grant,
	// or the grant names it.
	Account bool
}

// AuthorizeRetire decides the action of retiring a grant on a key (AWS KMS: "Retiring
// and revoking grants"). The grant decides, and the caller's policies where it is its
// account that may; what a key policy allows counts for nothing, what it denies does.
func AuthorizeRetire(s *Subject, r *Request, policy *Policy, is Retirer) Decision {
	o := s.decideOwn(r)
	_, deny := s.decideKey(policy, r)
	switch {
	case o.denied.Explicit && (is.Named || is.Account):
		return o.denied
	case deny.ok():
		return deny.decision(false, ByKeyPolicy)
	case is.Named && !(s.Principal.IsService() && !o.limited()):
		return Decision{Allowed: true, Ground: ByGrant}
	case !is.Account && !is.Named:
		return Decision{Ground: ByKeyPolicy}
	case !o.allows(s):
		return o.missing()
	}
	return o.identity.decision(true, ByIdentity)
}

// lets are the first statements of a key policy that let the caller in, by how they
// name it.
type lets struct{ name, role, account, anyone, service found }

// decideKey evaluates a policy that names principals.
func (s *Subject) decideKey(p *Policy, r *Request) (by lets, deny found) {
	for i := range p.statements {
		st := &p.statements[i]
		m := st.names(s)
		if m == 0 || !st.applies(r, p.kind) {
			continue
		}
		if st.deny {
			return by, found{policy: p, index: i}
		}
		by.add(m, found{policy: p, index: i})
	}
	return by, found{}
}

// names returns how the statement names the caller, 0 for not at all. A Deny exempts
// nobody who has a permissions boundary, whomever its NotPrincipal lists (AWS IAM:
// "NotPrincipal", key points).
func (s *statement) names(caller *Subject) match {
	switch {
	case !s.notPrincipal:
		return s.principals.of(caller.Principal)
	case s.deny && caller.Boundary.Policy == nil && s.principals.exempts(caller.Principal), !s.deny && s.principals.of(caller.Principal) != 0:
		return 0
	}
	return byAnyone
}

func (l *lets) add(m match, f found) {
	for _, way := range [...]struct {
		m match
		f *found
	}{{byName, &l.name}, {byRole, &l.role}, {byAccount, &l.account}, {byAnyone, &l.anyone}, {byService, &l.service}} {
		if m&way.m != 0 && !way.f.ok() {
			*way.f = f
		}
	}
}

// authorizeOwn decides for a caller of the key's account. A policy that names the
// user or the session itself, or everybody, is not limited by what boundary and session
// policies leave out; one that names the role is (AWS IAM: "How AWS enforcement code
// logic evaluates requests to allow or deny access", resource-based policies).
func (s *Subject) authorizeOwn(o *own, by *lets) Decision {
	limited := o.limited()
	for _, way := range [...]struct {
		f    found
		lets bool
	}{{by.name, true}, {by.role, limited}, {by.anyone, true}, {by.account, s.isRoot()}} {
		if way.f.ok() && way.lets {
			return way.f.decision(true, ByKeyPolicy)
		}
	}
	switch {
	case by.account.ok() && o.identity.ok() && limited:
		return o.identity.decision(true, ByIdentity)
	case !by.account.ok() && limited:
		return Decision{Ground: ByKeyPolicy}
	}
	return o.missing()
}

// authorizeForeign decides for a caller of another account: both sides must allow.
// What the caller's own policies say is told only to whom the key's policy lets in:
// otherwise a caller could find out by a Deny of its own which keys another account
// has, and with conditions what they are like.
func (s *Subject) authorizeForeign(o *own, by *lets, deny found, crossAccount bool) Decision {
	let := by.name
	for _, f := range [...]found{by.role, by.account, by.anyone} {
		if !let.ok() {
			let = f
		}
	}
	switch {
	case deny.ok():
		return deny.decision(false, ByKeyPolicy)
	case !crossAccount || !let.ok():
		return Decision{Ground: ByKeyPolicy}
	case o.denied.Explicit:
		return o.denied
	case o.allows(s):
		return let.decision(true, ByKeyPolicy)
	}
	return o.missing()
}

// authorizeService decides for a service that calls for an account. The key's policy
// must name the service, or, on a key of that account, everybody. What names role,
// session or account lets it in nowhere: it has neither the rights of its role nor those
// of anybody in the account. Its own policies can only take away from that, and unlike
// those of others they always do: boundary and session policies, too, must leave the
// action open.
func (s *Subject) authorizeService(r *Request, o *own, by *lets, deny found, crossAccount bool) Decision {
	isOwn, let := s.Principal.Account == r.Account, by.service
	if !let.ok() && isOwn {
		let = by.anyone
	}
	switch {
	case deny.ok():
		return deny.decision(false, ByKeyPolicy)
	case !let.ok() || !isOwn && !crossAccount:
		return Decision{Ground: ByKeyPolicy}
	case o.denied.Explicit:
		return o.denied
	case !o.limited():
		return o.missing()
	}
	return let.decision(true, ByKeyPolicy)
}

// missing is the refusal where the key's policy would have let the caller in.
func (o *own) missing() Decision {
	switch {
	case o.bounded && !o.boundary.ok():
		return Decision{Ground: ByBoundary}
	case o.inSession && !o.session.ok():
		return Decision{Ground: BySession}
	}
	return Decision{Ground: ByIdentity}
}

// AuthorizeTrust decides whether a caller may act on a role under the role's trust
// policy (AWS STS: AssumeRole). In the role's own account a trust policy that names
// the caller itself is enough; one that names the account delegates to identity
// policies. From another account both sides must allow.
func AuthorizeTrust(s *Subject, r *Request, trust *Policy) Decision {
	return AuthorizeKey(s, r, trust, true)
}

var groundTexts = [...]string{
	ByBoundary: "permissions boundary", BySession: "session policy", ByIdentity: "identity-based policy", ByKeyPolicy: "resource-based policy", ByGrant: "grant",
}

// Why completes the text of AccessDeniedException: "because no identity-based policy
// allows the kms:Decrypt action" (AWS IAM: "Troubleshoot access denied error
// messages").
func (d Decision) Why(action string) string {
	text := d.Ground.String()
	if !d.Explicit {
		return "because no " + text + " allows the " + action + " action"
	}
	article := "a "
	if d.Ground == ByIdentity {
		article = "an "
	}
	return "with an explicit deny in " + article + text
}

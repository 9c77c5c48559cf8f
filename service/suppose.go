package service

import (
	"strings"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// kinds are the identities by what their ARNs call them.
var kinds = map[string]fsm.IdentityKind{"user": fsm.KindUser, "group": fsm.KindGroup, "role": fsm.KindRole}

// anySession stands for the name of a session that no policy names: it is none that a
// session can have.
const anySession = "*"

// suppose returns the caller whom a question names. Errors: NotFoundException for one
// that does not exist; ValidationException for what names no caller, and for an account
// that is closed.
func suppose(view *fsm.View, text string) (kms.Principal, error) {
	p, ok, err := supposed(view, text)
	switch {
	case err != nil:
		return p, err
	case !ok:
		return p, notThere("principal", text)
	case !accountActive(view, p.Account):
		return p, invalid("The account " + p.Account + " is closed: none of its principals may call.")
	}
	return p, nil
}

func notThere(what, name string) error {
	return &kms.Error{Code: kms.CodeNotFound, Message: "The " + what + " " + name + " does not exist."}
}

func supposed(view *fsm.View, text string) (p kms.Principal, ok bool, err error) {
	id, session, isSession := strings.Cut(text, ":")
	arn, isARN := kms.ParseARN(text)
	kind, name, _ := strings.Cut(arn.Resource, "/")
	account := arn.Account
	switch {
	case kms.ValidAccount(text):
		return supposedRoot(view, text)
	case !isARN && strings.HasSuffix(text, kms.ServiceSuffix):
		return supposedService(view, strings.TrimSuffix(text, kms.ServiceSuffix))
	case strings.HasPrefix(id, "AIDA") && !isSession, strings.HasPrefix(id, "AROA") && session != "" == isSession:
		i, found := view.Identity(id)
		return callerOf(i, session), found, nil
	case !isARN || arn.Partition != kms.Partition || arn.Region != "" || !kms.ValidAccount(account):
	case arn.Service == "iam" && arn.Resource == "root":
		return supposedRoot(view, account)
	case arn.Service == "iam" && (kind == "user" || kind == "role"):
		i, found := named(view, account, kinds[kind], name)
		return callerOf(i, ""), found && i.ARN() == text, nil
	case arn.Service == "sts" && kind == "assumed-role":
		role, session, _ := strings.Cut(name, "/")
		if session == "" || strings.Contains(session, "/") {
			break
		}
		i, found := named(view, account, fsm.KindRole, role)
		return callerOf(i, session), found && i.Name == role, nil
	}
	return p, false, invalid("The value " + text + " at 'principal' is neither the ARN of a user, a role, a session or an account's root user nor a unique id or a service principal.")
}

func supposedRoot(view *fsm.View, account string) (kms.Principal, bool, error) {
	if _, ok := view.Account(account); !ok {
		return kms.Principal{}, false, notThere("account", account)
	}
	return kms.RootPrincipal(account, ""), true, nil
}

// supposedService returns a session of a role that is the service.
func supposedService(view *fsm.View, name string) (kms.Principal, bool, error) {
	operator := view.Meta().OperatorAccount
	role, ok := view.ServiceRole(operator, name)
	p := callerOf(role, "")
	if ok {
		p.Service = &kms.Service{Name: name, Operator: operator, Session: p.ARN}
	}
	return p, ok, nil
}

// through returns the service as it would call: in the resource's Region, for the account
// that the question gives as kms:CallerAccount, or else for the resource's.
func (q *Question) through(view *fsm.View, p kms.Principal) (kms.Principal, error) {
	arn, _ := kms.ParseARN(q.Resource)
	s := *p.Service
	s.Caller = arn.Account
	if given := q.Context["kms:calleraccount"]; len(given) == 1 {
		s.Caller = given[0]
	}
	if !accountActive(view, s.Caller) {
		return p, invalid("A service calls for an active account: that of the key, or the one that is given as kms:CallerAccount.")
	}
	p.Service = &s
	return p.AsService(arn.Region), nil
}

// callerOf returns the user, or a session of the role; nothing of nobody.
func callerOf(i *fsm.Identity, session string) kms.Principal {
	switch {
	case i == nil:
		return kms.Principal{}
	case i.Kind == fsm.KindUser:
		return kms.Principal{Type: kms.PrincipalUser, Account: i.Account, UniqueID: i.ID, ARN: i.ARN()}
	case session == "":
		session = anySession
	}
	return kms.Principal{
		Type: kms.PrincipalAssumedRole, Account: i.Account, UniqueID: i.ID + ":" + session, ARN: kms.SessionARN(i.Account, i.Name, session),
		RoleID: i.ID, RoleARN: i.ARN(), Session: new(kms.Session),
	}
}

// PolicyKind is what a policy is to a decision.
type PolicyKind uint8

// The kinds of policies that have a say.
const (
	KindIdentity PolicyKind = iota + 1
	KindBoundary
	KindKey
	KindTrust
)

// parsed returns how policies that name principals are compiled.
func (k PolicyKind) parsed() iam.Kind {
	if k == KindTrust {
		return iam.TrustPolicy
	}
	return iam.KeyPolicy
}

// Consulted is a policy that had a say in a decision.
type Consulted struct {
	Kind PolicyKind
	// Name is that of an inline policy, the ARN of a managed one, "default" of a key's.
	Name string
	// Holder is the ARN of the user, group, role or key that has it.
	Holder string
	// Allows and Denies tell what statements of this policy say, whatever others do.
	Allows, Denies bool

	ground iam.Ground
	called string   // by decisions
	hash   [32]byte // of the text; zero for a policy that AWS manages
}

// consult lists the policies that had a say, and finds the statement that decided.
func (x *explainer) consult() error {
	if err := x.consultOwn(); err != nil {
		return err
	}
	if g := x.guard; g != nil {
		policy, err := x.call.service.policy(x.call.View, g.hash, g.Kind.parsed())
		if err != nil {
			return err
		}
		x.add(*g, policy)
	}
	d := &x.out.Decision
	for i := range x.out.Consulted {
		if c := &x.out.Consulted[i]; d.Decided() && x.out.Decisive == nil && c.ground == d.Ground && c.called == d.Policy {
			text, err := x.text(c)
			if err != nil {
				return err
			}
			x.out.Decisive, x.out.Statement = c, iam.StatementText(text, d.Statement)
		}
	}
	return nil
}

func (x *explainer) add(c Consulted, policy *iam.Policy) {
	c.Allows, c.Denies = policy.Says(&x.call.asked, &x.call.subject)
	x.out.Consulted = append(x.out.Consulted, c)
}

// consultOwn lists the policies of a user and its groups, or of a role, and the
// boundary.
func (x *explainer) consultOwn() error {
	r := x.call
	id, _, _ := strings.Cut(r.Principal.UniqueID, ":")
	identity, ok := r.View.Identity(id)
	if !ok {
		return nil // a root user
	}
	holders := []*fsm.Identity{identity}
	for _, id := range identity.Groups {
		group, _ := r.View.Identity(id) // subject has found it
		holders = append(holders, group)
	}
	for _, holder := range holders {
		if err := x.consultHolder(holder); err != nil {
			return err
		}
	}
	if b := r.subject.Boundary; b.Policy != nil {
		x.add(Consulted{Kind: KindBoundary, Name: b.Name, Holder: identity.ARN(), ground: iam.ByBoundary, called: b.Name, hash: r.managedHash(b.Name)}, b.Policy)
	}
	return nil
}

// consultHolder lists an identity's own policies, as subject attaches them.
func (x *explainer) consultHolder(holder *fsm.Identity) error {
	r := x.call
	var own iam.Subject
	if err := r.service.attachOwn(r.View, &own, holder); err != nil {
		return err
	}
	for i, p := range own.Identity {
		c := Consulted{Kind: KindIdentity, Name: p.Name, Holder: holder.ARN(), ground: iam.ByIdentity, called: p.Name}
		if i < len(holder.Inline) {
			c.Name, c.hash = holder.Inline[i].Name, holder.Inline[i].Hash
		} else {
			c.hash = r.managedHash(p.Name)
		}
		x.add(c, p.Policy)
	}
	return nil
}

// managedHash returns the hash of the version in force of a managed policy, zero of
// one that AWS manages.
func (r *Request) managedHash(arn string) (hash [32]byte) {
	if record, ok := r.View.ManagedPolicy(arn); ok {
		version, _ := record.Version(record.Default)
		hash = version.Hash
	}
	return hash
}

// text returns a policy's text as it is shown.
func (x *explainer) text(c *Consulted) (string, error) {
	if p, ok := iam.AWSManaged(c.Name); ok {
		return p.Text, nil
	}
	text, ok := x.call.View.PolicyText(c.hash)
	if !ok {
		panic("kmsd: a record without its policy's text")
	}
	if c.ground == iam.ByKeyPolicy {
		return ShowPolicy(x.call.View, text)
	}
	return text, nil
}

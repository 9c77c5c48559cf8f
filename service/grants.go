package service

import (
	"cmp"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// GrantRef is how a call names the grant that it retires: by a token, or by its id
// beside its key.
type GrantRef struct{ ID, Token string }

// granted finds grants for the decision of one call (iam.Grants). It belongs to its
// request.
type granted struct {
	c *conditions
	// query is what the call needs of a grant; asked tells that it is complete.
	query fsm.GrantQuery
	asked bool
}

// Find implements iam.Grants. What an account has been granted its root user has,
// too, as the account.
func (g *granted) Find(toAccount bool) string {
	p := &g.c.r.Principal
	switch {
	case p.IsService():
		return g.heldByService(p.Service, toAccount)
	case toAccount:
		return g.held(p.Account)
	case p.Type == kms.PrincipalRoot:
		return ""
	}
	id := g.held(p.UniqueID)
	if id == "" && p.RoleID != "" {
		id = g.held(p.RoleID)
	}
	return id
}

// heldByService is Find for a service, which has what is granted to it by its name, and
// nothing that its role or an account has.
func (g *granted) heldByService(s *kms.Service, toAccount bool) string {
	if toAccount {
		return ""
	}
	return cmp.Or(g.held(s.Principal()), g.held(s.Via()))
}

// held returns the id of a grant to the grantee that meets the query.
func (g *granted) held(grantee string) string {
	if !g.asked {
		g.query, g.asked = g.c.rule.granted(g.c.in), true
		source := g.c.source()
		if g.query.Operations.Has(kms.GrantCreateGrant) && g.query.Source != source {
			source = "" // whoever may pass a grant on must pass its source on, too
		}
		g.query.Source = source
	}
	if found, ok := g.c.r.View.FindGrant(g.c.key.Region, g.c.key.ID, grantee, &g.query); ok {
		return found.ID
	}
	return ""
}

// ContextPairs returns an encryption context in the form that grants have.
func ContextPairs(context map[string]string) []fsm.ContextPair {
	if len(context) == 0 {
		return nil
	}
	pairs := make([]fsm.ContextPair, 0, len(context))
	for name, value := range context {
		pairs = append(pairs, fsm.ContextPair{Name: name, Value: value})
	}
	fsm.SortContext(pairs)
	return pairs
}

// source is aws:SourceArn, which grants can demand.
func (c *conditions) source() string {
	const key = "aws:sourcearn"
	values := c.values(key)
	if h := c.r.hypothesis; h != nil {
		values = h.given[key]
	}
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// resolveGrant finds the grant that a call retires, and its key. A grant that is not
// there is told by authorisation, unless a token names it.
func (r *Request) resolveGrant(rule *keyRule, in any) (key Key, err error) {
	ref := rule.retires(in)
	if ref.Token == "" {
		if key, err = r.resolveKey(rule, in); err == nil && key.Key != nil {
			key.Grant, _ = r.View.Grant(key.Region, key.ID, ref.ID)
		}
		return key, err
	}
	grant, err := r.tokenGrant(ref.Token)
	if err != nil || grant.Region != r.Region {
		return Key{}, errOr(err, errGrantToken)
	}
	rec, ok := r.View.Key(grant.Region, grant.KeyID)
	if !ok {
		panic("kmsd: a grant without a key")
	}
	return Key{Key: rec, ARN: rec.ARN(), Grant: grant, byToken: true}, nil
}

func errOr(err, other error) error {
	if err == nil {
		return other
	}
	return err
}

// GrantNotFound is the answer to the id of a grant that the key does not have.
func GrantNotFound(id string) error {
	return &kms.Error{Code: kms.CodeNotFound, Message: "Grant ID " + id + " not found"}
}

// Active tells whether the account is there and not closed.
func (r *Request) Active(account string) bool { return accountActive(r.View, account) }

// authorizeRetire decides whether the caller may retire the grant. Callers of other
// accounts do not learn whether there is one.
func (s *Service) authorizeRetire(r *Request, rule *keyRule, key *Key, in any) error {
	switch {
	case key.Grant == nil && key.Account == r.Principal.Account:
		return GrantNotFound(rule.retires(in).ID)
	case key.Grant == nil:
		return r.denied(rule, key, foreign)
	}
	decision, err := s.decideKey(r, rule, key, in)
	if err != nil || decision.Allowed {
		return err
	}
	return r.keyRefusal(rule, key, decision)
}

// retirer says what the caller is to a grant on a key; without a grant, whatever the
// key's owner is to all of them.
func (r *Request) retirer(key *Key) iam.Retirer {
	p, g := &r.Principal, key.Grant
	if p.IsService() {
		return retiringService(p.Service, g)
	}
	is := iam.Retirer{Account: p.Account == key.Account}
	if g == nil {
		return is
	}
	named := []string{g.Retiring}
	if g.Operations.Has(kms.GrantRetireGrant) {
		named = append(named, g.Grantee)
	}
	is.Account = is.Account || p.Account == g.Issuer
	for _, name := range named {
		is.Account = is.Account || name == p.Account
		is.Named = is.Named || name == p.UniqueID && p.Type != kms.PrincipalRoot || p.RoleID != "" && name == p.RoleID
	}
	return is
}

// retiringService is retirer for a service: it may be named, and is of no account.
func retiringService(s *kms.Service, g *fsm.Grant) iam.Retirer {
	if g == nil {
		return iam.Retirer{}
	}
	return iam.Retirer{Named: s.Is(g.RetiringService) || g.Operations.Has(kms.GrantRetireGrant) && s.Is(g.GranteeService)}
}

package kmsapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func (a *api) createGrant(_ context.Context, r *service.Request, in *wire.CreateGrantRequest) (fsm.Args, *wire.CreateGrantResponse, error) {
	key := &r.Keys[0]
	grant, err := newGrant(r, key, in)
	if err != nil {
		return nil, nil, err
	}
	if has, ok := r.View.NamedGrant(grant); ok {
		grant.ID, grant.Created = has.ID, has.Created
	} else if isTrue(in.DryRun) && r.View.FullOfGrants(key.Region, key.ID) {
		return nil, nil, errGrantQuota
	}
	out, err := a.madeGrant(r, key.Key, grant.ID)
	return fsm.CreateGrant{Grant: *grant}, out, err
}

// errGrantQuota is the answer to a dry run of one grant more than a key may have.
// Otherwise the state machine decides that.
var errGrantQuota = &kms.Error{Code: kms.CodeLimitExceeded, Message: "You have exceeded the number of grants allowed for this KMS key."}

// newGrant is the grant that the call asks for, with an id of its own.
func newGrant(r *service.Request, key *service.Key, in *wire.CreateGrantRequest) (*fsm.Grant, error) {
	g := &fsm.Grant{
		Account: key.Account, Region: key.Region, KeyID: key.ID, ID: newGrantID(), Created: r.Now, Name: text(in.Name), Issuer: r.Principal.Account,
		GranteeService: text(in.GranteeServicePrincipal), RetiringService: text(in.RetiringServicePrincipal), Operations: operationsOf(in),
	}
	can := key.Spec.GrantOperations(key.Usage)
	for _, name := range in.Operations {
		if !can.Has(kms.GrantOperation(name)) {
			return nil, invalid(name + " is not supported for this key")
		}
	}
	var pairs map[string]string
	g.Constraint, pairs = contextConstraint(in.Constraints)
	if g.Constraint != fsm.ContextUnconstrained && key.Spec != kms.SymmetricDefault {
		return nil, invalid("Encryption context constraints are valid for symmetric encryption KMS keys only.")
	}
	g.Context, g.SourceARN = service.ContextPairs(pairs), sourceConstraint(in.Constraints)
	for _, p := range []struct {
		sent *string
		to   *string
	}{{in.GranteePrincipal, &g.Grantee}, {in.RetiringPrincipal, &g.Retiring}} {
		if p.sent == nil {
			continue
		}
		var err error
		if *p.to, err = service.BindPrincipal(r.View, *p.sent); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// newGrantID returns 64 random hexadecimal digits.
func newGrantID() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func operationsOf(in *wire.CreateGrantRequest) (ops kms.GrantOperations) {
	for _, name := range in.Operations {
		ops |= kms.GrantOperation(name)
	}
	return ops
}

// contextConstraint is what a grant would demand of the encryption context. A subset of
// no pairs demands nothing; equality with no pairs demands an empty context.
func contextConstraint(c *wire.GrantConstraints) (fsm.GrantConstraint, map[string]string) {
	switch {
	case c == nil:
	case c.EncryptionContextEquals != nil:
		return fsm.ContextEquals, c.EncryptionContextEquals
	case len(c.EncryptionContextSubset) > 0:
		return fsm.ContextSubset, c.EncryptionContextSubset
	}
	return fsm.ContextUnconstrained, nil
}

func sourceConstraint(c *wire.GrantConstraints) string {
	if c == nil {
		return ""
	}
	return text(c.SourceArn)
}

// madeGrant answers a CreateGrant.
func (a *api) madeGrant(r *service.Request, key *fsm.Key, grantID string) (*wire.CreateGrantResponse, error) {
	token, err := r.NewGrantToken(a.keyring, key, grantID)
	if err != nil {
		return nil, err
	}
	r.Record.ResponseElements.String("grantId", grantID)
	r.Record.ResponseElements.String("keyId", key.ARN())
	return &wire.CreateGrantResponse{GrantId: &grantID, GrantToken: &token}, nil
}

// createdGrant answers a CreateGrant that was applied before.
func (a *api) createdGrant(r *service.Request, once *fsm.Once) (*wire.CreateGrantResponse, error) {
	if len(once.IDs) != 2 {
		return nil, fmt.Errorf("kmsd: exactly-once entry of CreateGrant has %d ids", len(once.IDs))
	}
	key, ok := r.View.Key(r.Region, once.IDs[0])
	if !ok {
		return nil, kms.ErrOutcomeUnknown
	}
	r.Record.Resources = []audit.Resource{{Account: key.Account, ARN: key.ARN()}}
	return a.madeGrant(r, key, once.IDs[1])
}

func listGrants(_ context.Context, r *service.Request, in *wire.ListGrantsRequest) (*wire.ListGrantsResponse, error) {
	if err := forServices(r, "GranteeServicePrincipal", in.GranteeServicePrincipal); err != nil {
		return nil, err
	}
	key, id, grantee := &r.Keys[0], text(in.GrantId), text(in.GranteeServicePrincipal)
	if in.GranteePrincipal != nil {
		var err error
		if grantee, err = service.BindListed(r.View, *in.GranteePrincipal); err != nil {
			return nil, err
		}
	}
	page := page{operation: "ListGrants", owner: key.Region + "/" + key.ID + "/" + id + "/" + grantee}
	after, err := page.after(in.Marker)
	if err != nil {
		return nil, err
	}
	most := limit(in.Limit, 50, 100)
	switch {
	case id != "":
		grant, ok := r.View.Grant(key.Region, key.ID, id)
		if !ok || grantee != "" && grant.GranteeName() != grantee {
			return grantList(r, page, nil, false, nil), nil
		}
		return grantList(r, page, []*fsm.Grant{grant}, false, nil), nil
	case grantee != "":
		grants, more := r.View.ListGranteeGrants(key.Region, key.ID, grantee, after, most)
		return grantList(r, page, grants, more, (*fsm.Grant).GranteeKey), nil
	}
	grants, more := r.View.ListGrants(key.Region, key.ID, after, most)
	return grantList(r, page, grants, more, func(g *fsm.Grant) string { return g.ID }), nil
}

// listRetirableGrants lists grants on keys of every account, but for those that are
// closed.
func listRetirableGrants(_ context.Context, r *service.Request, in *wire.ListRetirableGrantsRequest) (*wire.ListGrantsResponse, error) {
	retiring, err := retiringPrincipal(r, in)
	if err != nil {
		return nil, err
	}
	page := page{operation: "ListRetirableGrants", owner: r.Region + "/" + retiring}
	if r.Principal.IsService() {
		page.owner += "/" + r.Principal.Account
	}
	after, err := page.after(in.Marker)
	if err != nil {
		return nil, err
	}
	grants, more := r.View.ListRetirableGrants(r.Region, retiring, after, limit(in.Limit, 50, 100))
	return grantList(r, page, grants, more, (*fsm.Grant).RetiringKey), nil
}

// retiringPrincipal is whom the call names, as grants have it.
func retiringPrincipal(r *service.Request, in *wire.ListRetirableGrantsRequest) (string, error) {
	if in.RetiringPrincipal == nil {
		return text(in.RetiringServicePrincipal), forServices(r, "RetiringServicePrincipal", in.RetiringServicePrincipal)
	}
	retiring, err := service.BindPrincipal(r.View, *in.RetiringPrincipal)
	if arn, _ := kms.ParseARN(*in.RetiringPrincipal); err == nil && retiring != r.Principal.Account && arn.Account != r.Principal.Account {
		err = service.NoPrincipal(*in.RetiringPrincipal)
	}
	return retiring, err
}

// grantList renders a page of grants on keys of active accounts, and of those that a
// service may retire, on keys of the account for which it calls. place is where a grant
// stands in the list.
func grantList(r *service.Request, page page, grants []*fsm.Grant, more bool, place func(*fsm.Grant) string) *wire.ListGrantsResponse {
	out := &wire.ListGrantsResponse{Grants: make([]wire.GrantListEntry, 0, len(grants)), Truncated: &more}
	ofOne := page.operation == "ListRetirableGrants" && r.Principal.IsService()
	for _, g := range grants {
		if r.Active(g.Account) && (!ofOne || g.Account == r.Principal.Account) {
			out.Grants = append(out.Grants, grantEntry(r, g))
		}
	}
	if more {
		out.NextMarker = page.marker(place(grants[len(grants)-1]))
	}
	return out
}

func grantEntry(r *service.Request, g *fsm.Grant) wire.GrantListEntry {
	entry := wire.GrantListEntry{
		KeyId: new(kms.KeyARN(g.Region, g.Account, g.KeyID)), GrantId: &g.ID, Name: &g.Name, CreationDate: new(time.UnixMilli(g.Created).UTC()),
		IssuingAccount: new(kms.RootARN(g.Issuer)), Operations: g.Operations.Names(), Constraints: constraintsOf(g),
	}
	for _, p := range []struct {
		of string
		to **string
	}{
		{service.ShowPrincipal(r.View, g.Grantee), &entry.GranteePrincipal}, {service.ShowPrincipal(r.View, g.Retiring), &entry.RetiringPrincipal},
		{g.GranteeService, &entry.GranteeServicePrincipal}, {g.RetiringService, &entry.RetiringServicePrincipal},
	} {
		if p.of != "" {
			*p.to = &p.of
		}
	}
	return entry
}

// constraintsOf are a grant's constraints, nil without any.
func constraintsOf(g *fsm.Grant) *wire.GrantConstraints {
	if g.Constraint == fsm.ContextUnconstrained && g.SourceARN == "" {
		return nil
	}
	c, pairs := new(wire.GrantConstraints), make(map[string]string, len(g.Context))
	for _, p := range g.Context {
		pairs[p.Name] = p.Value
	}
	switch g.Constraint {
	case fsm.ContextEquals:
		c.EncryptionContextEquals = pairs
	case fsm.ContextSubset:
		c.EncryptionContextSubset = pairs
	}
	if g.SourceARN != "" {
		c.SourceArn = &g.SourceARN
	}
	return c
}

func retireGrant(_ context.Context, r *service.Request, _ *wire.RetireGrantRequest) (fsm.Args, *service.None, error) {
	key := &r.Keys[0]
	r.Record.ResponseElements.String("keyId", key.ARN)
	r.Record.Additional.String("grantId", key.Grant.ID)
	return fsm.DeleteGrant{Account: key.Account, Region: key.Region, KeyID: key.ID, GrantID: key.Grant.ID}, nil, nil
}

func revokeGrant(_ context.Context, r *service.Request, in *wire.RevokeGrantRequest) (fsm.Args, *service.None, error) {
	key := &r.Keys[0]
	if _, ok := r.View.Grant(key.Region, key.ID, in.GrantId); !ok {
		return nil, nil, service.GrantNotFound(in.GrantId)
	}
	r.Record.ResponseElements.String("keyId", key.ARN)
	return fsm.DeleteGrant{Account: key.Account, Region: key.Region, KeyID: key.ID, GrantID: in.GrantId}, nil, nil
}

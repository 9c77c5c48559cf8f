package fsm

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// maxGrants bounds the grants on one key; no setting changes it (AWS: "Resource
// quotas", grants per KMS key).
const maxGrants = 50_000

// Grant lets a principal use a key (AWS KMS: "Grants in AWS KMS"). Principals stand in
// it as in a stored key policy: an account by its number, a user or role by its unique
// id, a session as <role's id>:<name>. Whoever is of an account elsewhere, and a
// federated user, has its ARN there.
type Grant struct {
	Versioned
	Account string `cbor:"1,keyasint"` // of the key
	Region  string `cbor:"2,keyasint"`
	KeyID   string `cbor:"3,keyasint"`
	ID      string `cbor:"4,keyasint"` // 64 hexadecimal digits
	Created int64  `cbor:"5,keyasint"` // milliseconds since 1970
	Name    string `cbor:"6,keyasint,omitempty"`
	// Exactly one of Grantee and GranteeService is set, and of Retiring and
	// RetiringService one at most.
	Grantee         string `cbor:"7,keyasint,omitempty"`
	GranteeService  string `cbor:"8,keyasint,omitempty"`
	Retiring        string `cbor:"9,keyasint,omitempty"`
	RetiringService string `cbor:"10,keyasint,omitempty"`
	// Issuer is the account of who made the grant.
	Issuer     string              `cbor:"11,keyasint"`
	Operations kms.GrantOperations `cbor:"12,keyasint"`
	// Constraint says what Context, sorted by name, demands of the encryption context.
	Constraint GrantConstraint `cbor:"13,keyasint,omitempty"`
	Context    []ContextPair   `cbor:"14,keyasint,omitempty"`
	// SourceARN is the aws:SourceArn that calls must have; empty where they need none.
	SourceARN string `cbor:"15,keyasint,omitempty"`
}

// GrantConstraint is what a grant demands of the encryption context.
type GrantConstraint uint8

// The kinds of constraints.
const (
	// ContextUnconstrained demands nothing.
	ContextUnconstrained GrantConstraint = iota
	// ContextEquals demands the very pairs, and no others.
	ContextEquals
	// ContextSubset demands the pairs; there may be others.
	ContextSubset
)

// ContextPair is a pair of an encryption context.
type ContextPair struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Value string
}

// compare orders pairs by name, then by value.
func (p ContextPair) compare(q ContextPair) int {
	return cmp.Or(strings.Compare(p.Name, q.Name), strings.Compare(p.Value, q.Value))
}

func (g *Grant) appendID(dst []byte) []byte { return appendJoined(dst, g.Region, g.KeyID, g.ID) }

// GranteeName is whoever has what the grant permits.
func (g *Grant) GranteeName() string { return cmp.Or(g.Grantee, g.GranteeService) }

// retiring is whoever may end the grant; empty for nobody by name.
func (g *Grant) retiring() string { return cmp.Or(g.Retiring, g.RetiringService) }

func grantPlaces(rec record) []place {
	g := rec.(*Grant)
	key := g.Region + "/" + g.KeyID
	places := []place{
		{index: grantsByKey, owner: key, key: g.ID, weight: 1},
		{index: grantsByGrantee, owner: key + "/" + g.GranteeName(), key: g.GranteeKey()},
	}
	if g.retiring() != "" {
		places = append(places, place{index: grantsByRetiring, owner: g.Region + "/" + g.retiring(), key: g.RetiringKey()})
	}
	if g.Name != "" {
		places = append(places, place{index: grantsByName, owner: key, key: g.fingerprint()})
	}
	return places
}

// RetiringKey is where the grant stands among those that its retiring principal may end.
func (g *Grant) RetiringKey() string { return g.KeyID + "/" + g.ID }

// fingerprint is equal for grants on a key that differ in id and date alone.
func (g *Grant) fingerprint() string {
	same := *g
	same.ModIndex, same.ID, same.Created = 0, "", 0
	var buf bytes.Buffer
	encode(&buf, &same)
	sum := sha256.Sum256(buf.Bytes())
	return string(sum[:])
}

// check refuses what no grant can be.
func (g *Grant) check() error {
	switch {
	case !kms.ValidAccount(g.Issuer) || !validGrantID(g.ID) || g.ModIndex != 0:
		return errors.New("a grant without a valid id and issuer, or that has an index")
	case g.Operations == 0 || !kms.AllGrantOperations.Has(g.Operations):
		return errors.New("a grant of no operation, or of one that there is not")
	case (g.Grantee == "") == (g.GranteeService == "") || g.Retiring != "" && g.RetiringService != "":
		return errors.New("a grant with several grantees or retiring principals, or none to have it")
	case g.Constraint > ContextSubset || g.Constraint == ContextUnconstrained && len(g.Context) > 0:
		return errors.New("a grant whose constraint is none of this build's")
	case g.Constraint == ContextSubset && len(g.Context) == 0:
		return errors.New("a grant whose constraint demands nothing")
	}
	for i := 1; i < len(g.Context); i++ {
		if g.Context[i-1].Name >= g.Context[i].Name {
			return errors.New("a grant whose pairs are not in order")
		}
	}
	return checkKeyRef(g.Account, g.Region, g.KeyID)
}

// grantIDLength is the length of a grant's id, in hexadecimal digits.
const grantIDLength = 64

func validGrantID(id string) bool {
	return len(id) == grantIDLength && strings.Trim(id, "0123456789abcdef") == ""
}

// CreateGrant makes a grant. The leader drew the id; if it is taken, or another grant
// has the same name and parameters, the command conflicts. One that is there already,
// with this id and these parameters, stays as it is.
type CreateGrant struct {
	Grant Grant `cbor:"1,keyasint"`
}

func (CreateGrant) command() (Type, uint8) { return TypeCreateGrant, 1 }

func (c CreateGrant) check() error { return c.Grant.check() }

func createGrant(t *txn, c *CreateGrant) (*kms.Error, error) {
	g := &c.Grant
	k, refusal := t.key(g.Account, g.Region, g.KeyID)
	if refusal == nil {
		refusal = refuseGrant(k)
	}
	if refusal != nil {
		return refusal, nil
	}
	t.made = []string{g.KeyID, g.ID}
	has, _ := t.state.get(tableGrants, g.Region, g.KeyID, g.ID).(*Grant)
	named := t.state.namedGrant(g)
	switch {
	case has != nil && g.Name != "" && named == has:
		return nil, nil
	case has != nil || named != nil:
		t.conflict = true
		return nil, nil
	case t.state.grants(g.Region, g.KeyID) >= maxGrants:
		return errGrantQuota(), nil
	}
	t.put(tableGrants, g)
	return nil, nil
}

// refuseGrant refuses a key that takes no grants in its state, or of its type.
func refuseGrant(k *Key) *kms.Error {
	if k.State == kms.Disabled {
		return &kms.Error{Code: kms.CodeDisabled, Message: k.ARN() + " is disabled."}
	}
	return refuseState(k, kms.PendingDeletion, kms.PendingReplicaDeletion, kms.PendingImport, kms.Creating)
}

func errGrantQuota() *kms.Error {
	return limitExceeded("You have exceeded the number of grants allowed for this KMS key.")
}

// grants counts a key's grants.
func (r *root) grants(region, keyID string) int {
	if o, _ := r.owned(grantsByKey, region, keyID); o != nil {
		return o.weight
	}
	return 0
}

// namedGrant returns the grant that has the name of g and all of its parameters, nil
// without one.
func (r *root) namedGrant(g *Grant) *Grant {
	if g.Name == "" {
		return nil
	}
	o, _ := r.owned(grantsByName, g.Region, g.KeyID)
	if o == nil {
		return nil
	}
	rec, _ := o.tree.Get(g.fingerprint())
	found, _ := rec.(*Grant)
	return found
}

// DeleteGrant is RetireGrant and RevokeGrant, whatever the key's state.
type DeleteGrant struct {
	Account string `cbor:"1,keyasint"` // of the key
	Region  string `cbor:"2,keyasint"`
	KeyID   string `cbor:"3,keyasint"`
	GrantID string `cbor:"4,keyasint"`
}

func (DeleteGrant) command() (Type, uint8) { return TypeDeleteGrant, 1 }

func (c DeleteGrant) check() error {
	if !validGrantID(c.GrantID) {
		return errors.New("not a grant's id")
	}
	return checkKeyRef(c.Account, c.Region, c.KeyID)
}

func deleteGrant(t *txn, c *DeleteGrant) (*kms.Error, error) {
	k, refusal := t.key(c.Account, c.Region, c.KeyID)
	if refusal != nil {
		return refusal, nil
	}
	g, ok := t.state.get(tableGrants, k.Region, k.ID, c.GrantID).(*Grant)
	if !ok {
		return &kms.Error{Code: kms.CodeNotFound, Message: "Grant ID " + c.GrantID + " not found"}, nil
	}
	t.drop(tableGrants, g)
	return nil, nil
}

// Grant returns a grant on a key.
func (v *View) Grant(region, keyID, grantID string) (*Grant, bool) {
	g, ok := v.get(tableGrants, region, keyID, grantID).(*Grant)
	if !ok || g.KeyID != keyID || g.ID != grantID {
		return nil, false
	}
	return g, true
}

// NamedGrant returns the grant that has the name of g and all of its parameters: in all
// but id and date the two are equal. Whether there is none, only apply decides.
func (v *View) NamedGrant(g *Grant) (*Grant, bool) {
	found := v.root.namedGrant(g)
	if found == nil {
		_, mod := v.root.owned(grantsByName, g.Region, g.KeyID)
		v.raise(mod)
		return nil, false
	}
	return v.Grant(found.Region, found.KeyID, found.ID)
}

// FullOfGrants tells whether the key has all the grants that a key may have.
func (v *View) FullOfGrants(region, keyID string) bool {
	_, mod := v.root.owned(grantsByKey, region, keyID)
	v.raise(mod)
	return v.root.grants(region, keyID) >= maxGrants
}

// ListGrants returns up to limit grants on a key whose ids follow after, in ascending
// order, and whether more follow.
func (v *View) ListGrants(region, keyID, after string, limit int) ([]*Grant, bool) {
	found, more := v.page(grantsByKey, after, limit, region, keyID)
	return cast[*Grant](found), more
}

// ListGranteeGrants is ListGrants for the grants of one grantee, or service, in the
// order of GranteeKey.
func (v *View) ListGranteeGrants(region, keyID, grantee, after string, limit int) ([]*Grant, bool) {
	found, more := v.page(grantsByGrantee, after, limit, region, keyID, grantee)
	return cast[*Grant](found), more
}

// ListRetirableGrants returns up to limit grants on keys of a Region that the principal
// may retire by name, in the order of RetiringKey, and whether more follow.
func (v *View) ListRetirableGrants(region, retiring, after string, limit int) ([]*Grant, bool) {
	found, more := v.page(grantsByRetiring, after, limit, region, retiring)
	return cast[*Grant](found), more
}

// SortContext sorts the pairs of an encryption context as a grant has them.
func SortContext(pairs []ContextPair) { slices.SortFunc(pairs, ContextPair.compare) }

package fsm

import (
	"errors"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// IdentityKind says what an identity is (AWS IAM: "IAM identities").
type IdentityKind uint8

// The kinds of identities.
const (
	KindUser  IdentityKind = 1
	KindGroup IdentityKind = 2
	KindRole  IdentityKind = 3
)

// noun is how texts name one.
func (k IdentityKind) noun() string {
	switch k {
	case KindUser:
		return "User"
	case KindGroup:
		return "Group"
	case KindRole:
		return "Role"
	}
	return "" // no command makes one
}

// prefix starts the unique ids of the kind.
func (k IdentityKind) prefix() string {
	switch k {
	case KindUser:
		return "AIDA"
	case KindGroup:
		return "AGPA"
	}
	return "AROA"
}

// Identity is a user, a group or a role.
type Identity struct {
	Versioned
	ID      string       `cbor:"1,keyasint"` // AIDA…, AGPA… or AROA…
	Kind    IdentityKind `cbor:"2,keyasint"`
	Account string       `cbor:"3,keyasint"`
	Name    string       `cbor:"4,keyasint"` // unique in any case within account and kind
	Path    string       `cbor:"5,keyasint"` // starts and ends with a slash
	Created int64        `cbor:"6,keyasint"` // milliseconds since 1970
	Tags    []Tag        `cbor:"7,keyasint,omitempty"`
	// Boundary is the ARN of the managed policy that bounds what the identity may do;
	// empty where none does.
	Boundary string `cbor:"8,keyasint,omitempty"`
	// Inline are the inline policies, Attached the ARNs of managed policies.
	Inline   []InlinePolicy `cbor:"9,keyasint,omitempty"`
	Attached []string       `cbor:"10,keyasint,omitempty"`
	// Groups are the ids of a user's groups.
	Groups []string `cbor:"11,keyasint,omitempty"`
	// Trust is SHA-256 over a role's trust policy.
	Trust [32]byte `cbor:"12,keyasint,omitzero"`
	// MaxSession is a role's longest session, in seconds.
	MaxSession  uint32 `cbor:"13,keyasint,omitempty"`
	Description string `cbor:"14,keyasint,omitempty"`
}

// InlinePolicy is a policy that belongs to one identity.
type InlinePolicy struct {
	_    struct{} `cbor:",toarray"`
	Name string
	Hash [32]byte // SHA-256 over its text
}

func (i *Identity) appendID(dst []byte) []byte { return append(dst, i.ID...) }

// ARN is the identity's ARN.
func (i *Identity) ARN() string {
	return "arn:" + kms.Partition + ":iam::" + i.Account + ":" + strings.ToLower(i.Kind.noun()) + i.Path + i.Name
}

// owner is the owner of the index in which identities of a kind lie by name.
func (k IdentityKind) owner(account string) string { return account + "/" + k.noun() }

func identityPlaces(rec record) []place {
	i := rec.(*Identity)
	name := strings.ToLower(i.Name)
	out := []place{{index: identitiesByName, owner: i.Kind.owner(i.Account), key: name}}
	for _, g := range i.Groups {
		out = append(out, place{index: membersByGroup, owner: g, key: name})
	}
	entity := i.Kind.noun() + "/" + name
	for _, arn := range i.Attached {
		out = append(out, place{index: entitiesByPolicy, owner: arn + "/" + i.Account, key: entity, weight: 1})
	}
	if i.Boundary != "" {
		out = append(out, place{index: entitiesByBoundary, owner: i.Boundary + "/" + i.Account, key: entity, weight: 1})
	}
	if name := i.Service(); name != "" {
		out = append(out, place{index: servicesByName, owner: i.Account, key: name + "/" + i.ID})
	}
	return out
}

// Service is the name of the service that a role is tagged as; empty without a valid
// one. It is a service only in the operator account.
func (i *Identity) Service() string {
	if i.Kind != KindRole {
		return ""
	}
	for _, tag := range i.Tags {
		if tag.Key == kms.ServiceTag && kms.ValidServiceName(tag.Value) {
			return tag.Value
		}
	}
	return ""
}

// texts lists the hashes of the texts that the identity refers to.
func (i *Identity) texts() (out [][32]byte) {
	for _, p := range i.Inline {
		out = append(out, p.Hash)
	}
	if i.Kind == KindRole {
		out = append(out, i.Trust)
	}
	return out
}

// The quotas of IAM, which no setting changes (AWS IAM: "IAM and AWS STS quotas").
const (
	maxAccessKeys       = 2
	maxPolicyVersions   = 5
	maxAttachedPolicies = 10
	maxGroupsPerUser    = 10
)

func (i *Identity) check() error {
	if i.Kind < KindUser || i.Kind > KindRole {
		return errors.New("an identity of no kind")
	}
	switch {
	case !strings.HasPrefix(i.ID, i.Kind.prefix()) || i.ModIndex != 0:
		return errors.New("an identity without an id of its kind, or with an index")
	case !kms.ValidAccount(i.Account) || i.Name == "" || !strings.HasPrefix(i.Path, "/") || !strings.HasSuffix(i.Path, "/"):
		return errors.New("an identity without account, name or path")
	case i.Kind != KindUser && len(i.Groups) > 0, i.Kind != KindRole && (i.Trust != [32]byte{} || i.MaxSession != 0):
		return errors.New("an identity with members that its kind has not")
	case i.Kind == KindRole && (i.Trust == [32]byte{} || i.MaxSession == 0):
		return errors.New("a role without trust policy or longest session")
	}
	return nil
}

// CreateIdentity makes a user, group or role. The leader drew the id; if it is
// taken, the command conflicts.
type CreateIdentity struct {
	Identity Identity `cbor:"1,keyasint"`
	// Texts are the texts of policies that the state may not have yet.
	Texts []string `cbor:"2,keyasint,omitempty"`
}

func (CreateIdentity) command() (Type, uint8) { return TypeCreateIdentity, 1 }

func (c CreateIdentity) check() error { return c.Identity.check() }

func createIdentity(t *txn, c *CreateIdentity) (*kms.Error, error) {
	i := &c.Identity
	if refusal := t.checkAccount(i.Account); refusal != nil {
		return refusal, nil
	}
	if t.identityNamed(i.Account, i.Kind, i.Name) != nil {
		return alreadyExists(i.Kind.noun() + " with name " + i.Name + " already exists."), nil
	}
	if t.state.get(tableIdentities, i.ID) != nil {
		t.conflict = true
		return nil, nil
	}
	if refusal := t.checkLinks(&Identity{}, i); refusal != nil {
		return refusal, nil
	}
	t.made = []string{i.ID}
	t.put(tableIdentities, i)
	t.recount(nil, i.texts(), c.Texts)
	return nil, nil
}

// SetIdentity replaces an identity as a whole. The leader made it from the one that
// it read, which the command's preconditions name.
type SetIdentity struct {
	Identity Identity `cbor:"1,keyasint"`
	Texts    []string `cbor:"2,keyasint,omitempty"`
}

func (SetIdentity) command() (Type, uint8) { return TypeSetIdentity, 1 }

func (c SetIdentity) check() error { return c.Identity.check() }

func setIdentity(t *txn, c *SetIdentity) (*kms.Error, error) {
	i := &c.Identity
	had, ok := t.state.get(tableIdentities, i.ID).(*Identity)
	if !ok || had.Account != i.Account || had.Kind != i.Kind {
		return noSuchIdentity(i), nil
	}
	if other := t.identityNamed(i.Account, i.Kind, i.Name); other != nil && other.ID != i.ID {
		return alreadyExists(i.Kind.noun() + " with name " + i.Name + " already exists."), nil
	}
	if refusal := t.checkLinks(had, i); refusal != nil {
		return refusal, nil
	}
	t.put(tableIdentities, i)
	t.recount(had.texts(), i.texts(), c.Texts)
	return nil, nil
}

// DeleteIdentity deletes an identity of which nothing hangs any more.
type DeleteIdentity struct {
	ID string `cbor:"1,keyasint"`
}

func (DeleteIdentity) command() (Type, uint8) { return TypeDeleteIdentity, 1 }

func (c DeleteIdentity) check() error {
	if c.ID == "" {
		return errors.New("no identity's id")
	}
	return nil
}

func deleteIdentity(t *txn, c *DeleteIdentity) (*kms.Error, error) {
	i, ok := t.state.get(tableIdentities, c.ID).(*Identity)
	if !ok {
		return &kms.Error{Code: kms.CodeNoSuchEntity, Message: "The entity cannot be found."}, nil
	}
	if refusal := t.checkUnused(i); refusal != nil {
		return refusal, nil
	}
	t.drop(tableIdentities, i)
	t.dropCredentialUse(i.ID)
	t.recount(i.texts(), nil, nil)
	return nil, nil
}

// checkUnused refuses to delete what others hang on (AWS IAM: DeleteConflict).
func (t *txn) checkUnused(i *Identity) *kms.Error {
	keys, _ := t.state.owned(accessKeysByOwner, i.Account, string(kms.PrincipalUser), i.ID)
	members, _ := t.state.owned(membersByGroup, i.ID)
	switch {
	case len(i.Inline) > 0:
		return deleteConflict("must delete policies first.")
	case len(i.Attached) > 0:
		return deleteConflict("must detach all policies first.")
	case i.Kind == KindUser && keys != nil:
		return deleteConflict("must delete access keys first.")
	case len(i.Groups) > 0, members != nil:
		return deleteConflict("must remove users from group first.")
	}
	return nil
}

// checkLinks checks the groups and managed policies that a changed identity names,
// and its quotas.
func (t *txn) checkLinks(had, i *Identity) *kms.Error {
	switch {
	case len(i.Attached) > maxAttachedPolicies && len(i.Attached) > len(had.Attached):
		return quotaExceeded("PoliciesPer"+i.Kind.noun(), maxAttachedPolicies)
	case len(i.Groups) > maxGroupsPerUser && len(i.Groups) > len(had.Groups):
		return quotaExceeded("GroupsPerUser", maxGroupsPerUser)
	case len(i.Tags) > maxTags && len(i.Tags) > len(had.Tags):
		return quotaExceeded("TagsPer"+i.Kind.noun(), maxTags)
	}
	for _, id := range i.Groups {
		if g, ok := t.state.get(tableIdentities, id).(*Identity); !ok || g.Kind != KindGroup || g.Account != i.Account {
			return &kms.Error{Code: kms.CodeNoSuchEntity, Message: "The group cannot be found."}
		}
	}
	for _, arn := range i.managed() {
		if !t.attachable(i.Account, arn) {
			return &kms.Error{Code: kms.CodeNoSuchEntity, Message: "Policy " + arn + " does not exist or is not attachable."}
		}
	}
	return nil
}

// managed lists the managed policies that the identity has, its boundary among them.
func (i *Identity) managed() []string {
	if i.Boundary == "" {
		return i.Attached
	}
	return append(slices.Clone(i.Attached), i.Boundary)
}

// awsPolicies starts the ARNs of the policies that AWS manages. They are part of the
// program, not of the state.
const awsPolicies = "arn:" + kms.Partition + ":iam::aws:policy/"

func (t *txn) attachable(account, arn string) bool {
	if strings.HasPrefix(arn, awsPolicies) {
		return true
	}
	p, ok := t.state.get(tableManagedPolicies, arn).(*ManagedPolicy)
	return ok && p.Account == account
}

// identityNamed finds an identity by its name in any case.
func (t *txn) identityNamed(account string, kind IdentityKind, name string) *Identity {
	o, _ := t.state.owned(identitiesByName, kind.owner(account))
	if o == nil {
		return nil
	}
	rec, _ := o.tree.Get(strings.ToLower(name))
	i, _ := rec.(*Identity)
	return i
}

func (t *txn) checkAccount(id string) *kms.Error {
	if a, ok := t.state.get(tableAccounts, id).(*Account); !ok || a.Status != StatusActive {
		return &kms.Error{Code: kms.CodeNoSuchEntity, Message: "The account " + id + " does not exist."}
	}
	return nil
}

func noSuchIdentity(i *Identity) *kms.Error {
	return &kms.Error{Code: kms.CodeNoSuchEntity, Message: "The " + strings.ToLower(i.Kind.noun()) + " with name " + i.Name + " cannot be found."}
}

func alreadyExists(message string) *kms.Error {
	return &kms.Error{Code: kms.CodeEntityAlreadyExists, Message: message}
}

func deleteConflict(message string) *kms.Error {
	return &kms.Error{Code: kms.CodeDeleteConflict, Message: "Cannot delete entity, " + message}
}

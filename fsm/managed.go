package fsm

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// ManagedPolicy is a customer managed policy with its versions.
type ManagedPolicy struct {
	Versioned
	ID          string          `cbor:"1,keyasint"` // ANPA…
	Account     string          `cbor:"2,keyasint"`
	Name        string          `cbor:"3,keyasint"` // unique in any case within the account
	Path        string          `cbor:"4,keyasint"`
	Created     int64           `cbor:"5,keyasint"` // milliseconds since 1970
	Updated     int64           `cbor:"6,keyasint"` // milliseconds since 1970
	Description string          `cbor:"7,keyasint,omitempty"`
	Versions    []PolicyVersion `cbor:"8,keyasint"` // the oldest first
	// Default is the id of the version in force.
	Default string `cbor:"9,keyasint"`
	// Made counts the versions that were ever made.
	Made uint32 `cbor:"10,keyasint"`
	Tags []Tag  `cbor:"11,keyasint,omitempty"`
}

// PolicyVersion is one version of a managed policy.
type PolicyVersion struct {
	_       struct{} `cbor:",toarray"`
	ID      string   // "v1"
	Hash    [32]byte // SHA-256 over its text
	Created int64    // milliseconds since 1970
}

func (p *ManagedPolicy) appendID(dst []byte) []byte { return append(dst, p.ARN()...) }

// ARN is the policy's ARN. Path and name never change.
func (p *ManagedPolicy) ARN() string {
	return "arn:" + kms.Partition + ":iam::" + p.Account + ":policy" + p.Path + p.Name
}

// Version returns a version by its id.
func (p *ManagedPolicy) Version(id string) (PolicyVersion, bool) {
	i := slices.IndexFunc(p.Versions, func(v PolicyVersion) bool { return v.ID == id })
	if i < 0 {
		return PolicyVersion{}, false
	}
	return p.Versions[i], true
}

func managedPlaces(rec record) []place {
	p := rec.(*ManagedPolicy)
	return []place{{index: managedByName, owner: p.Account, key: strings.ToLower(p.Name)}}
}

// managedNamed finds a managed policy by its name in any case, and the last change of
// the account's names.
func (r *root) managedNamed(account, name string) (*ManagedPolicy, uint64) {
	o, mod := r.owned(managedByName, account)
	if o == nil {
		return nil, mod
	}
	rec, _ := o.tree.Get(strings.ToLower(name))
	p, _ := rec.(*ManagedPolicy)
	return p, mod
}

func (p *ManagedPolicy) texts() (out [][32]byte) {
	for _, v := range p.Versions {
		out = append(out, v.Hash)
	}
	return out
}

func (p *ManagedPolicy) check() error {
	_, hasDefault := p.Version(p.Default)
	switch {
	case !strings.HasPrefix(p.ID, "ANPA") || p.ModIndex != 0:
		return errors.New("a managed policy without an id of its own, or with an index")
	case !kms.ValidAccount(p.Account) || p.Name == "" || !strings.HasPrefix(p.Path, "/") || !strings.HasSuffix(p.Path, "/"):
		return errors.New("a managed policy without account, name or path")
	case !hasDefault:
		return errors.New("a managed policy without a default version")
	}
	return nil
}

// CreateManagedPolicy is IAM's CreatePolicy. Its Once entry has the policy's id and
// name.
type CreateManagedPolicy struct {
	Policy ManagedPolicy `cbor:"1,keyasint"`
	// Texts are the texts of versions that the state may not have yet.
	Texts []string `cbor:"2,keyasint,omitempty"`
}

func (CreateManagedPolicy) command() (Type, uint8) { return TypeCreateManagedPolicy, 1 }

func (c CreateManagedPolicy) check() error { return c.Policy.check() }

func createManagedPolicy(t *txn, c *CreateManagedPolicy) (*kms.Error, error) {
	p := &c.Policy
	if refusal := t.checkAccount(p.Account); refusal != nil {
		return refusal, nil
	}
	if had, _ := t.state.managedNamed(p.Account, p.Name); had != nil {
		return alreadyExists("A policy called " + p.Name + " already exists. Duplicate names are not allowed."), nil
	}
	if len(p.Tags) > maxTags {
		return quotaExceeded("TagsPerPolicy", maxTags), nil
	}
	t.made = []string{p.ID, p.Name}
	t.put(tableManagedPolicies, p)
	t.recount(nil, p.texts(), c.Texts)
	return nil, nil
}

// SetManagedPolicy replaces a managed policy: its versions, the default one, its
// tags. The leader made it from the one that it read. Where it adds a version, the Once
// entry has the policy's id and name, the version's id and the default version's.
type SetManagedPolicy struct {
	Policy ManagedPolicy `cbor:"1,keyasint"`
	Texts  []string      `cbor:"2,keyasint,omitempty"`
}

func (SetManagedPolicy) command() (Type, uint8) { return TypeSetManagedPolicy, 1 }

func (c SetManagedPolicy) check() error { return c.Policy.check() }

func setManagedPolicy(t *txn, c *SetManagedPolicy) (*kms.Error, error) {
	p := &c.Policy
	had, ok := t.state.get(tableManagedPolicies, p.ARN()).(*ManagedPolicy)
	switch {
	case !ok || had.ID != p.ID:
		return noSuchPolicy(p.ARN()), nil
	case len(p.Versions) > maxPolicyVersions && len(p.Versions) > len(had.Versions):
		return &kms.Error{Code: kms.CodeEntityLimitExceeded,
			Message: "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."}, nil
	case len(p.Tags) > maxTags && len(p.Tags) > len(had.Tags):
		return quotaExceeded("TagsPerPolicy", maxTags), nil
	}
	if p.Made > had.Made {
		t.made = []string{p.ID, p.Name, p.Versions[len(p.Versions)-1].ID, p.Default}
	}
	t.put(tableManagedPolicies, p)
	t.recount(had.texts(), p.texts(), c.Texts)
	return nil, nil
}

// DeleteManagedPolicy is IAM's DeletePolicy: nobody may have the policy any more, and
// only its default version may be left.
type DeleteManagedPolicy struct {
	ARN string `cbor:"1,keyasint"`
}

func (DeleteManagedPolicy) command() (Type, uint8) { return TypeDeleteManagedPolicy, 1 }

func (c DeleteManagedPolicy) check() error {
	if c.ARN == "" {
		return errors.New("no policy's ARN")
	}
	return nil
}

func deleteManagedPolicy(t *txn, c *DeleteManagedPolicy) (*kms.Error, error) {
	p, ok := t.state.get(tableManagedPolicies, c.ARN).(*ManagedPolicy)
	if !ok {
		return noSuchPolicy(c.ARN), nil
	}
	attached, _ := t.state.owned(entitiesByPolicy, c.ARN, p.Account)
	bounding, _ := t.state.owned(entitiesByBoundary, c.ARN, p.Account)
	switch {
	case attached != nil || bounding != nil:
		return &kms.Error{Code: kms.CodeDeleteConflict, Message: "Cannot delete a policy attached to entities."}, nil
	case len(p.Versions) > 1:
		return &kms.Error{Code: kms.CodeDeleteConflict, Message: "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."}, nil
	}
	t.drop(tableManagedPolicies, p)
	t.recount(p.texts(), nil, nil)
	return nil, nil
}

func noSuchPolicy(arn string) *kms.Error {
	return &kms.Error{Code: kms.CodeNoSuchEntity, Message: "Policy " + arn + " was not found."}
}

func quotaExceeded(name string, limit int) *kms.Error {
	return &kms.Error{Code: kms.CodeEntityLimitExceeded, Message: "Cannot exceed quota for " + name + ": " + strconv.Itoa(limit)}
}

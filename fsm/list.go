package fsm

import (
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// ListKeys returns up to limit ids of an account's keys in a Region that follow
// after, in ascending order, and whether more follow. It lists keys of all states
// and managers.
func (v *View) ListKeys(account, region, after string, limit int) (ids []string, more bool) {
	found, more := v.page(keysByOwner, after, limit, account, region)
	ids = make([]string, len(found))
	for i, e := range found {
		ids[i] = e.id
	}
	return ids, more
}

// ListAliases returns up to limit aliases of an account in a Region whose names
// follow after, in ascending order, and whether more follow.
func (v *View) ListAliases(account, region, after string, limit int) ([]*Alias, bool) {
	found, more := v.page(aliasesByOwner, after, limit, account, region)
	return cast[*Alias](found), more
}

// ListKeyAliases is ListAliases for the aliases of one key.
func (v *View) ListKeyAliases(account, region, keyID, after string, limit int) ([]*Alias, bool) {
	found, more := v.page(aliasesByKey, after, limit, account, region, keyID)
	return cast[*Alias](found), more
}

// Materials returns up to limit generations of a key's material, by the key's
// MaterialOwner, the oldest first, from Seq from on, and whether more follow.
func (v *View) Materials(owner string, from uint32, limit int) ([]*Material, bool) {
	after := ""
	if from > 0 {
		after = indexKey(uint64(from) - 1)
	}
	found, more := v.page(materialsByKey, after, limit, owner)
	return cast[*Material](found), more
}

// DueDeletions returns up to limit keys whose DeletionDate is not after before, in
// milliseconds since 1970, in the order of their dates.
func (v *View) DueDeletions(before int64, limit int) []*Key {
	return v.due(deletionsByDate, before, limit)
}

// DueRotations returns up to limit enabled keys with a rotation that is due at
// before, in milliseconds since 1970: first those that were asked for, which are due
// at once, then in the order of their dates.
func (v *View) DueRotations(before int64, limit int) []*Key {
	return v.due(rotationsByDate, before, limit)
}

// DueExpiries returns up to limit keys with a material that expires at before or
// earlier, in milliseconds since 1970, in the order of their dates.
func (v *View) DueExpiries(before int64, limit int) []*Key {
	return v.due(expiriesByDate, before, limit)
}

func (v *View) due(index uint8, before int64, limit int) []*Key {
	found, _ := v.page(index, "", limit, "")
	for i, e := range found {
		if dueDate(e.id) > before {
			found = found[:i]
			break
		}
	}
	return cast[*Key](found)
}

// Identity returns a user, group or role by its unique id.
func (v *View) Identity(id string) (*Identity, bool) {
	i, ok := v.get(tableIdentities, id).(*Identity)
	return i, ok
}

// IdentityNamed returns an account's user, group or role by its name in any case. A
// name that is not there raises MaxIndex to the last change of any name of the kind;
// whether it is free, only apply decides.
func (v *View) IdentityNamed(account string, kind IdentityKind, name string) (*Identity, bool) {
	o, mod := v.root.owned(identitiesByName, kind.owner(account))
	if o != nil {
		if rec, ok := o.tree.Get(strings.ToLower(name)); ok {
			return v.Identity(rec.(*Identity).ID)
		}
	}
	v.raise(mod)
	return nil, false
}

// Identities returns up to limit users, groups or roles of an account whose
// lower-case names follow after, in that order, and whether more follow.
func (v *View) Identities(account string, kind IdentityKind, after string, limit int) ([]*Identity, bool) {
	found, more := v.page(identitiesByName, after, limit, kind.owner(account))
	return cast[*Identity](found), more
}

// GroupMembers is Identities for the users of a group.
func (v *View) GroupMembers(groupID, after string, limit int) ([]*Identity, bool) {
	found, more := v.page(membersByGroup, after, limit, groupID)
	return cast[*Identity](found), more
}

// ServiceRole returns a role of an account that is tagged as the service; which, where
// several are, is the same on every node. A service that is not there raises MaxIndex to
// the last change of any of the account.
func (v *View) ServiceRole(account, name string) (*Identity, bool) {
	o, mod := v.root.owned(servicesByName, account)
	v.raise(mod)
	if o == nil || !kms.ValidServiceName(name) {
		return nil, false
	}
	var found *Identity
	o.tree.Ascend(name+"/", func(_ string, rec record) bool {
		found = rec.(*Identity)
		return false
	})
	if found == nil || found.Service() != name {
		return nil, false
	}
	return v.Identity(found.ID)
}

// ManagedPolicy returns a customer managed policy by its ARN.
func (v *View) ManagedPolicy(arn string) (*ManagedPolicy, bool) {
	p, ok := v.get(tableManagedPolicies, arn).(*ManagedPolicy)
	return p, ok
}

// ManagedPolicyNamed returns an account's managed policy by its name in any case. A
// name that is not there raises MaxIndex to the last change of any.
func (v *View) ManagedPolicyNamed(account, name string) (*ManagedPolicy, bool) {
	p, mod := v.root.managedNamed(account, name)
	if p != nil {
		return v.ManagedPolicy(p.ARN())
	}
	v.raise(mod)
	return nil, false
}

// ManagedPolicies returns up to limit managed policies of an account whose lower-case
// names follow after, in that order, and whether more follow.
func (v *View) ManagedPolicies(account, after string, limit int) ([]*ManagedPolicy, bool) {
	found, more := v.page(managedByName, after, limit, account)
	return cast[*ManagedPolicy](found), more
}

// PolicyEntities returns up to limit identities of the account to which the policy is
// attached, in the order of PolicyEntityKey, and whether more follow. bounded asks for
// those that the policy bounds.
func (v *View) PolicyEntities(account, arn string, bounded bool, after string, limit int) ([]*Identity, bool) {
	index := uint8(entitiesByPolicy)
	if bounded {
		index = entitiesByBoundary
	}
	found, more := v.page(index, after, limit, arn, account)
	return cast[*Identity](found), more
}

// PolicyEntityKey is where an identity stands among a policy's entities.
func PolicyEntityKey(i *Identity) string { return i.Kind.noun() + "/" + strings.ToLower(i.Name) }

// PolicyUses counts the identities of the account to which the policy is attached and
// those that it bounds.
func (v *View) PolicyUses(account, arn string) (attached, bounding int) {
	for _, u := range []struct {
		index uint8
		n     *int
	}{{entitiesByPolicy, &attached}, {entitiesByBoundary, &bounding}} {
		o, mod := v.root.owned(u.index, arn, account)
		v.raise(mod)
		if o != nil {
			*u.n = o.weight
		}
	}
	return attached, bounding
}

// AccessKeys returns the access keys of a user, or of an account's root user, in the
// order of their ids.
func (v *View) AccessKeys(account string, owner kms.PrincipalType, uniqueID string) []*AccessKey {
	k := AccessKey{Account: account, Type: owner, UniqueID: uniqueID}
	found, _ := v.page(accessKeysByOwner, "", maxListed, k.owner())
	return cast[*AccessKey](found)
}

// Accounts returns up to limit accounts, open and closed, whose ids follow after, in
// ascending order, and whether more follow.
func (v *View) Accounts(after string, limit int) ([]*Account, bool) {
	found, more := v.page(accountsByID, after, limit, "")
	return cast[*Account](found), more
}

// Nodes returns the members in the order of their ids.
func (v *View) Nodes() []*NodeRecord {
	found, _ := v.page(nodesByID, "", maxListed, "")
	return cast[*NodeRecord](found)
}

// JoinTokens returns the join tokens in the order of their expiry, also those
// that are used up or expired and not forgotten yet.
func (v *View) JoinTokens() []*JoinToken {
	found, _ := v.page(tokensByExpiry, "", maxListed, "")
	return cast[*JoinToken](found)
}

// Keyring returns the terms of the keyring in ascending order.
func (v *View) Keyring() []*KeyringTerm {
	found, _ := v.page(keyringByTerm, "", maxListed, "")
	return cast[*KeyringTerm](found)
}

// maxListed bounds the lists that have no pages.
const maxListed = 1 << 20

// PendingAudit returns up to limit audit records that are not known to be
// durable, of log indexes above after, in ascending order. It leaves MaxIndex
// alone: what it returns goes to the audit stream, not to a client.
func (v *View) PendingAudit(after uint64, limit int) []PendingAudit {
	o, _ := v.root.owned(auditByIndex, "")
	found, _ := o.page(indexKey(after), limit)
	out := make([]PendingAudit, 0, len(found))
	for _, p := range cast[*pendingAudit](found) {
		out = append(out, p.export())
	}
	return out
}

// page reads an owner's ordered index and raises MaxIndex to its last change.
func (v *View) page(index uint8, after string, limit int, owner ...string) ([]element, bool) {
	o, mod := v.root.owned(index, owner...)
	v.raise(mod)
	return o.page(after, limit)
}

// cast returns the records of a page, all of one type.
func cast[R record](page []element) []R {
	out := make([]R, len(page))
	for i, e := range page {
		out[i] = e.rec.(R)
	}
	return out
}

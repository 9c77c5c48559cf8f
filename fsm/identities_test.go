package fsm_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

func textOf(n int) string { return fmt.Sprintf(`{"Statement":[],"Id":"%d"}`, n) }

func hashOf(n int) [32]byte { return sha256.Sum256([]byte(textOf(n))) }

// identity returns the i-th user, group or role of the tests.
func identity(kind fsm.IdentityKind, i int) fsm.Identity {
	prefix := map[fsm.IdentityKind]string{fsm.KindUser: "AIDA", fsm.KindGroup: "AGPA", fsm.KindRole: "AROA"}[kind]
	id := fsm.Identity{ID: fmt.Sprintf("%sEXAMPLE%010d", prefix, i), Kind: kind, Account: account, Name: fmt.Sprintf("Name%d", i), Path: "/eng/", Created: start}
	if kind == fsm.KindRole {
		id.Trust, id.MaxSession, id.Description = hashOf(0), 3600, "a role"
	}
	return id
}

func create(i fsm.Identity) fsm.CreateIdentity {
	return fsm.CreateIdentity{Identity: i, Texts: []string{textOf(0), textOf(1), textOf(2)}}
}

func set(i fsm.Identity) fsm.SetIdentity {
	return fsm.SetIdentity{Identity: i, Texts: []string{textOf(0), textOf(1), textOf(2)}}
}

func managed(i int, versions ...int) fsm.ManagedPolicy {
	p := fsm.ManagedPolicy{ID: fmt.Sprintf("ANPAEXAMPLE%010d", i), Account: account, Name: fmt.Sprintf("Policy%d", i), Path: "/", Created: start, Updated: start, Description: "a policy", Default: "v1"}
	for _, v := range versions {
		p.Versions = append(p.Versions, fsm.PolicyVersion{ID: fmt.Sprint("v", v), Hash: hashOf(v), Created: start})
		p.Made = uint32(v)
	}
	p.Default = p.Versions[0].ID
	return p
}

func policyARN(i int) string { return fmt.Sprint("arn:aws:iam::111122223333:policy/Policy", i) }

func createPolicy(p fsm.ManagedPolicy) fsm.CreateManagedPolicy {
	c := fsm.CreateManagedPolicy{Policy: p}
	for i := range 8 {
		c.Texts = append(c.Texts, textOf(i))
	}
	return c
}

func setPolicy(p fsm.ManagedPolicy) fsm.SetManagedPolicy {
	return fsm.SetManagedPolicy(createPolicy(p))
}

func accessKey(id, user string) fsm.CreateAccessKey {
	return fsm.CreateAccessKey{AccessKey: fsm.AccessKey{ID: id, Account: account, Type: kms.PrincipalUser, UniqueID: user, Status: fsm.StatusActive,
		Created: start, SecretTerm: 1, Secret: []byte("a user's sealed secret")}}
}

func createAccount(id string) fsm.CreateAccount {
	return fsm.CreateAccount{Account: fsm.Account{ID: id, Created: start, Status: fsm.StatusActive},
		AccessKey: fsm.AccessKey{ID: "AKIA" + id, Account: id, Type: kms.PrincipalRoot, UniqueID: id, Status: fsm.StatusActive, Created: start, SecretTerm: 1, Secret: []byte("a root user's sealed secret")}}
}

func putPolicy(key int, text string) fsm.PutKeyPolicy {
	return fsm.PutKeyPolicy{Account: account, Region: region, KeyID: keyID(key), Policy: text}
}

// populateIAM adds a user with all that a user can have, a group, a role and a managed
// policy.
func populateIAM(d *driver) {
	d.ok(createPolicy(managed(1, 1, 2)))
	d.ok(create(identity(fsm.KindGroup, 1)))
	u := identity(fsm.KindUser, 1)
	u.Groups, u.Attached, u.Boundary = []string{identity(fsm.KindGroup, 1).ID}, []string{policyARN(1)}, "arn:aws:iam::aws:policy/AdministratorAccess"
	u.Inline, u.Tags = []fsm.InlinePolicy{{Name: "inline", Hash: hashOf(1)}}, []fsm.Tag{{Key: "team", Value: "x"}}
	d.ok(create(u))
	d.ok(create(identity(fsm.KindRole, 1)))
	d.ok(accessKey("AKIAUSER", u.ID))
}

var iamGoldens = []fsm.Args{
	create(func() fsm.Identity {
		u := identity(fsm.KindUser, 1)
		u.Tags, u.Boundary, u.Attached, u.Groups = []fsm.Tag{{Key: "a", Value: "b"}}, policyARN(1), []string{policyARN(2)}, []string{"AGPAEXAMPLE"}
		u.Inline = []fsm.InlinePolicy{{Name: "inline", Hash: hashOf(1)}}
		return u
	}()),
	set(identity(fsm.KindRole, 1)),
	fsm.DeleteIdentity{ID: identity(fsm.KindGroup, 1).ID},
	createPolicy(managed(1, 1, 2)), setPolicy(managed(1, 2, 3)), fsm.DeleteManagedPolicy{ARN: policyARN(1)},
	accessKey("AKIAUSER", identity(fsm.KindUser, 1).ID), fsm.SetAccessKeyStatus{Account: account, ID: "AKIAUSER", Status: fsm.StatusInactive},
	fsm.DeleteAccessKey{Account: account, ID: "AKIAUSER"}, createAccount("777788889999"), fsm.CloseAccount{ID: "777788889999"}, putPolicy(1, textOf(1)),
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	for kind, noun := range map[fsm.IdentityKind]string{fsm.KindUser: "User", fsm.KindGroup: "Group", fsm.KindRole: "Role"} {
		one, two := identity(kind, 1), identity(kind, 2)
		d.ok(create(one))
		d.ok(create(two))
		same := identity(kind, 3)
		same.Name = "nAME1"
		d.refused(create(same), kms.CodeEntityAlreadyExists, noun+" with name nAME1 already exists.")
		got, ok := d.View().IdentityNamed(account, kind, "NAME1")
		if !ok || got.ID != one.ID || got.Name != "Name1" {
			t.Errorf("%s by name: got %+v", noun, got)
		}
		if _, ok := d.View().IdentityNamed("444455556666", kind, "Name1"); ok {
			t.Errorf("%s is found in another account", noun)
		}
		renamed := one
		renamed.Name, renamed.Path = "name2", "/"
		d.refused(set(renamed), kms.CodeEntityAlreadyExists, noun+" with name name2 already exists.")
		renamed.Name = "nAmE1"
		d.ok(set(renamed))
		if got, _ := d.View().Identity(one.ID); got.Name != "nAmE1" || got.ARN() != "arn:aws:iam::111122223333:"+map[string]string{"User": "user", "Group": "group", "Role": "role"}[noun]+"/nAmE1" {
			t.Errorf("%s renamed: got %+v", noun, got)
		}
		list, more := d.View().Identities(account, kind, "", 1)
		if len(list) != 1 || list[0].ID != one.ID || !more {
			t.Errorf("%ss: got %v", noun, list)
		}
		d.ok(fsm.DeleteIdentity{ID: two.ID})
		d.refused(set(two), kms.CodeNoSuchEntity, map[string]string{"User": "The user", "Group": "The group", "Role": "The role"}[noun]+" with name Name2 cannot be found.")
		d.refused(fsm.DeleteIdentity{ID: two.ID}, kms.CodeNoSuchEntity, "The entity cannot be found.")
		if r := d.do(create(one)); !r.Conflict && r.Err == nil {
			t.Errorf("a taken id: got %+v", r)
		}
		fresh := one
		fresh.Name = "Other"
		if r := d.do(create(fresh)); !r.Conflict {
			t.Errorf("a taken id under another name: got %+v, want a conflict", r)
		}
	}
	gone := identity(fsm.KindUser, 9)
	gone.Account = "999999999999"
	d.refused(create(gone), kms.CodeNoSuchEntity, "The account 999999999999 does not exist.")
}

// What hangs on what (AWS IAM: DeleteConflict).
func TestDeleteConflicts(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	sizes := d.TableSizes()
	populateIAM(d)
	u, _ := d.View().IdentityNamed(account, fsm.KindUser, "Name1")
	left := *u
	left.ModIndex = 0
	conflict := func(args fsm.Args, text string) {
		t.Helper()
		d.refused(args, kms.CodeDeleteConflict, text)
	}
	conflict(fsm.DeleteManagedPolicy{ARN: policyARN(1)}, "Cannot delete a policy attached to entities.")
	conflict(fsm.DeleteIdentity{ID: identity(fsm.KindGroup, 1).ID}, "Cannot delete entity, must remove users from group first.")
	conflict(fsm.DeleteIdentity{ID: u.ID}, "Cannot delete entity, must delete policies first.")
	left.Inline = nil
	d.ok(set(left))
	conflict(fsm.DeleteIdentity{ID: u.ID}, "Cannot delete entity, must detach all policies first.")
	left.Attached, left.Boundary = nil, policyARN(1)
	d.ok(set(left))
	conflict(fsm.DeleteManagedPolicy{ARN: policyARN(1)}, "Cannot delete a policy attached to entities.")
	if attached, bounding := d.View().PolicyUses(account, policyARN(1)); attached != 0 || bounding != 1 {
		t.Errorf("the policy is attached %d times and bounds %d", attached, bounding)
	}
	left.Boundary = ""
	d.ok(set(left))
	conflict(fsm.DeleteManagedPolicy{ARN: policyARN(1)}, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
	conflict(fsm.DeleteIdentity{ID: u.ID}, "Cannot delete entity, must delete access keys first.")
	d.ok(fsm.DeleteAccessKey{Account: account, ID: "AKIAUSER"})
	conflict(fsm.DeleteIdentity{ID: u.ID}, "Cannot delete entity, must remove users from group first.")
	left.Groups = nil
	d.ok(set(left))
	d.ok(setPolicy(managed(1, 2)))
	for _, args := range []fsm.Args{fsm.DeleteIdentity{ID: u.ID}, fsm.DeleteIdentity{ID: identity(fsm.KindGroup, 1).ID}, fsm.DeleteIdentity{ID: identity(fsm.KindRole, 1).ID}, fsm.DeleteManagedPolicy{ARN: policyARN(1)}} {
		d.ok(args)
	}
	sizes["erasures"] = 1 // an access key was
	for name, n := range d.TableSizes() {
		if n != sizes[name] {
			t.Errorf("%d records in table %s, want %d", n, name, sizes[name])
		}
	}
}

func TestLinksAndQuotas(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	u := identity(fsm.KindUser, 1)
	d.ok(create(u))
	change := func(f func(*fsm.Identity)) fsm.SetIdentity {
		c := u
		f(&c)
		return set(c)
	}
	d.refused(change(func(i *fsm.Identity) { i.Attached = []string{policyARN(1)} }), kms.CodeNoSuchEntity, "Policy "+policyARN(1)+" does not exist or is not attachable.")
	d.refused(change(func(i *fsm.Identity) { i.Boundary = policyARN(1) }), kms.CodeNoSuchEntity, "Policy "+policyARN(1)+" does not exist or is not attachable.")
	d.refused(change(func(i *fsm.Identity) { i.Groups = []string{u.ID} }), kms.CodeNoSuchEntity, "The group cannot be found.")
	theirs := managed(7, 1)
	theirs.Account = "444455556666"
	d.ok(createPolicy(theirs))
	d.refused(change(func(i *fsm.Identity) { i.Attached = []string{theirs.ARN()} }), kms.CodeNoSuchEntity, "Policy arn:aws:iam::444455556666:policy/Policy7 does not exist or is not attachable.")
	var arns, groups []string
	var tags []fsm.Tag
	for i := range 11 {
		arns = append(arns, fmt.Sprint("arn:aws:iam::aws:policy/P", i))
		g := identity(fsm.KindGroup, i)
		d.ok(create(g))
		groups = append(groups, g.ID)
	}
	for i := range 51 {
		tags = append(tags, fsm.Tag{Key: fmt.Sprint(i)})
	}
	d.refused(change(func(i *fsm.Identity) { i.Attached = arns }), kms.CodeEntityLimitExceeded, "Cannot exceed quota for PoliciesPerUser: 10")
	d.refused(change(func(i *fsm.Identity) { i.Groups = groups }), kms.CodeEntityLimitExceeded, "Cannot exceed quota for GroupsPerUser: 10")
	d.refused(change(func(i *fsm.Identity) { i.Tags = tags }), kms.CodeEntityLimitExceeded, "Cannot exceed quota for TagsPerUser: 50")
	d.ok(change(func(i *fsm.Identity) { i.Attached, i.Groups, i.Tags = arns[:10], groups[:10], tags[:50] }))
	members, more := d.View().GroupMembers(groups[3], "", 10)
	if len(members) != 1 || members[0].ID != u.ID || more {
		t.Errorf("members: got %v", members)
	}
	entities, _ := d.View().PolicyEntities(account, arns[2], false, "", 10)
	if len(entities) != 1 || entities[0].ID != u.ID {
		t.Errorf("entities: got %v", entities)
	}
	d.refused(setPolicy(managed(8, 1)), kms.CodeNoSuchEntity, "Policy "+policyARN(8)+" was not found.")
	d.ok(createPolicy(managed(8, 1)))
	again := managed(9, 1)
	again.Name, again.Path = "pOLICY8", "/x/"
	d.refused(createPolicy(again), kms.CodeEntityAlreadyExists, "A policy called pOLICY8 already exists. Duplicate names are not allowed.")
	d.ok(setPolicy(managed(8, 1, 2, 3, 4, 5)))
	d.refused(setPolicy(managed(8, 1, 2, 3, 4, 5, 6)), kms.CodeEntityLimitExceeded,
		"A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.")
}

// What a retry is answered from: the policy's id and name, and those of a new version
// and of the one in force.
func TestManagedPolicyOnce(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	if _, ok := d.View().ManagedPolicyNamed(account, "Policy1"); ok {
		t.Error("a policy is found before there is one")
	}
	third := managed(1, 1, 3)
	third.Default = "v3"
	for i, c := range []struct {
		args fsm.Args
		ids  []string
	}{
		{createPolicy(managed(1, 1)), []string{"ANPAEXAMPLE0000000001", "Policy1"}},
		{setPolicy(managed(1, 1, 2)), []string{"ANPAEXAMPLE0000000001", "Policy1", "v2", "v1"}},
		{setPolicy(managed(1, 2)), nil},
		{setPolicy(third), []string{"ANPAEXAMPLE0000000001", "Policy1", "v3", "v3"}},
	} {
		key := fsm.ReqKey{byte(1 + i)}
		if r := d.with(key, fsm.Meta{}, c.args); r.Err != nil || r.Conflict {
			t.Fatalf("%T: got %+v", c.args, r)
		}
		if once, ok := d.View().Once(key); !ok || !slices.Equal(once.IDs, c.ids) {
			t.Errorf("%T: got %+v, want %v", c.args, once, c.ids)
		}
	}
	v := d.View()
	if p, ok := v.ManagedPolicyNamed(account, "pOLICY1"); !ok || p.ARN() != policyARN(1) || len(v.Reads()) != 1 {
		t.Errorf("by name: got %+v, reads %v", p, v.Reads())
	}
	if _, ok := d.View().ManagedPolicyNamed("444455556666", "Policy1"); ok {
		t.Error("a policy is found in another account")
	}
}

// A policy that AWS manages serves all accounts, and none of them sees another's uses.
func TestEntitiesOfSharedPolicy(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	const shared, other = "arn:aws:iam::aws:policy/ReadOnlyAccess", "444455556666"
	ours, theirs := identity(fsm.KindUser, 1), identity(fsm.KindUser, 2)
	theirs.Account, theirs.Name = other, ours.Name
	for _, i := range []*fsm.Identity{&ours, &theirs} {
		i.Attached, i.Boundary = []string{shared}, shared
		d.ok(create(*i))
	}
	wantUses := func(account string, want ...string) {
		t.Helper()
		attached, bounding := d.View().PolicyUses(account, shared)
		for bounded, n := range map[bool]int{false: attached, true: bounding} {
			found, more := d.View().PolicyEntities(account, shared, bounded, "", 10)
			var got []string
			for _, i := range found {
				got = append(got, i.ID)
			}
			if !slices.Equal(got, want) || more || n != len(want) {
				t.Errorf("bounded %t: %d entities of account %s: %v, want %v", bounded, n, account, got, want)
			}
		}
	}
	wantUses(account, ours.ID)
	wantUses(other, theirs.ID)
	ours.Attached, ours.Boundary = nil, ""
	d.ok(set(ours))
	wantUses(account)
	wantUses(other, theirs.ID)
}

func TestAccessKeys(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	u := identity(fsm.KindUser, 1)
	d.refused(accessKey("AKIA1", u.ID), kms.CodeNoSuchEntity, "The user cannot be found.")
	d.ok(create(u))
	d.ok(create(identity(fsm.KindRole, 1)))
	d.refused(accessKey("AKIA1", identity(fsm.KindRole, 1).ID), kms.CodeNoSuchEntity, "The user cannot be found.")
	d.ok(accessKey("AKIA1", u.ID))
	if r := d.do(accessKey("AKIA1", u.ID)); !r.Conflict {
		t.Errorf("a taken id: got %+v, want a conflict", r)
	}
	d.ok(accessKey("AKIA2", u.ID))
	d.refused(accessKey("AKIA3", u.ID), kms.CodeEntityLimitExceeded, "Cannot exceed quota for AccessKeysPerUser: 2")
	d.ok(fsm.SetAccessKeyStatus{Account: account, ID: "AKIA1", Status: fsm.StatusInactive})
	if k, _ := d.View().AccessKey("AKIA1"); k.Status != fsm.StatusInactive {
		t.Errorf("the key is %s", k.Status)
	}
	d.refused(fsm.SetAccessKeyStatus{Account: "444455556666", ID: "AKIA1", Status: fsm.StatusActive}, kms.CodeNoSuchEntity, "The Access Key with id AKIA1 cannot be found.")
	d.refused(fsm.DeleteAccessKey{Account: "444455556666", ID: "AKIA1"}, kms.CodeNoSuchEntity, "The Access Key with id AKIA1 cannot be found.")
	if r := d.do(fsm.DeleteAccessKey{Account: account, ID: "AKIA1"}); !slices.Equal(r.Erased, []string{"AKIA1"}) {
		t.Errorf("deleted: got %+v, want AKIA1 erased", r)
	}
	if keys := d.View().AccessKeys(account, kms.PrincipalUser, u.ID); len(keys) != 1 || keys[0].ID != "AKIA2" {
		t.Errorf("keys: got %v", keys)
	}
	if keys := d.View().AccessKeys(account, kms.PrincipalRoot, account); len(keys) != 1 || keys[0].ID != "AKIAIOSFODNN7EXAMPLE" {
		t.Errorf("the root user's keys: got %v", keys)
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createAccount("777788889999"))
	d.refused(createAccount("777788889999"), kms.CodeAlreadyExists, "The account 777788889999 already exists.")
	taken := createAccount("777788880000")
	taken.AccessKey.ID = "AKIAIOSFODNN7EXAMPLE"
	if r := d.do(taken); !r.Conflict {
		t.Errorf("a taken access key: got %+v, want a conflict", r)
	}
	var ids []string
	list, more := d.View().Accounts("", 4)
	for _, a := range list {
		ids = append(ids, a.ID+" "+a.Status)
	}
	if page, rest := d.View().Accounts("111122223333", 1); more || !rest || len(page) != 1 || page[0].ID != "444455556666" {
		t.Errorf("a page of one: got %v, %t; after the last one: %t", page, rest, more)
	}
	if want := []string{"111122223333 Active", "444455556666 Active", "777788889999 Active"}; !slices.Equal(ids, want) {
		t.Errorf("accounts: got %v, want %v", ids, want)
	}
	d.refused(fsm.CloseAccount{ID: account}, kms.CodeConflict, "The operator's account cannot be closed.")
	d.refused(fsm.CloseAccount{ID: "777788880000"}, kms.CodeNotFound, "The account 777788880000 does not exist.")
	d.ok(fsm.CloseAccount{ID: "777788889999"})
	d.ok(fsm.CloseAccount{ID: "777788889999"})
	if a, _ := d.View().Account("777788889999"); a.Status != fsm.StatusClosed {
		t.Errorf("closed: got %+v", a)
	}
	reset := fsm.ResetRootCredential{Account: "777788889999", AccessKey: createAccount("777788889999").AccessKey}
	reset.AccessKey.ID = "AKIANEW"
	d.refused(reset, kms.CodeConflict, "The account 777788889999 is closed.")
	d.refused(createAccount("777788889999"), kms.CodeAlreadyExists, "The account 777788889999 already exists.")
	u := identity(fsm.KindUser, 1)
	u.Account = "777788889999"
	d.refused(create(u), kms.CodeNoSuchEntity, "The account 777788889999 does not exist.")
}

// Texts are kept as long as anything refers to them, and no longer.
func TestPolicyTexts(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	has := func(n int, want bool) {
		t.Helper()
		if _, ok := d.View().PolicyText(hashOf(n)); ok != want {
			t.Errorf("text %d: there %t, want %t", n, ok, want)
		}
	}
	d.ok(createKey(1))
	d.ok(putPolicy(1, textOf(1)))
	has(1, true)
	if _, ok := d.View().PolicyText(sha256.Sum256([]byte(policy1))); ok {
		t.Error("the policy that no key has is there")
	}
	index := d.key(1).ModIndex
	d.ok(putPolicy(1, textOf(1)))
	if d.key(1).ModIndex != index {
		t.Error("the same policy again changed the key")
	}
	u := identity(fsm.KindUser, 1)
	u.Inline = []fsm.InlinePolicy{{Name: "a", Hash: hashOf(1)}, {Name: "b", Hash: hashOf(1)}}
	d.ok(create(u))
	d.ok(putPolicy(1, textOf(2)))
	has(1, true)
	u.Inline = u.Inline[1:]
	d.ok(set(u))
	has(1, true)
	u.Inline[0].Hash = hashOf(0)
	d.ok(set(u))
	has(1, false)
	has(0, true)
	unknown := u
	unknown.Inline = []fsm.InlinePolicy{{Name: "c", Hash: hashOf(7)}}
	if r := d.do(set(unknown)); !r.Conflict {
		t.Errorf("a text that nobody gave: got %+v, want a conflict", r)
	}
	has(0, true)
	d.refused(putPolicy(9, textOf(1)), kms.CodeNotFound, "Key '"+keyARN(9)+"' does not exist")
}

func TestIAMCommandsCheck(t *testing.T) {
	t.Parallel()
	with := func(kind fsm.IdentityKind, change func(*fsm.Identity)) fsm.Args {
		i := identity(kind, 1)
		change(&i)
		return create(i)
	}
	noDefault := managed(1, 1)
	noDefault.Default = "v9"
	nobody := accessKey("AKIA", "")
	for i, args := range []fsm.Args{
		with(fsm.KindUser, func(i *fsm.Identity) { i.Kind = 0 }), with(fsm.KindUser, func(i *fsm.Identity) { i.Kind = 4 }),
		with(fsm.KindUser, func(i *fsm.Identity) { i.ID = "AROAX" }), with(fsm.KindUser, func(i *fsm.Identity) { i.Name = "" }), with(fsm.KindUser, func(i *fsm.Identity) { i.Path = "eng" }),
		with(fsm.KindUser, func(i *fsm.Identity) { i.MaxSession = 3600 }), with(fsm.KindGroup, func(i *fsm.Identity) { i.Groups = []string{"x"} }),
		with(fsm.KindRole, func(i *fsm.Identity) { i.Trust = [32]byte{} }), with(fsm.KindRole, func(i *fsm.Identity) { i.MaxSession = 0 }),
		createPolicy(noDefault), nobody, fsm.SetAccessKeyStatus{ID: "x", Status: "On"}, fsm.CloseAccount{ID: "1"}, fsm.DeleteIdentity{}, fsm.DeleteManagedPolicy{}, fsm.DeleteAccessKey{},
	} {
		if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{Time: start}, args); err == nil {
			t.Errorf("case %d: %+v was taken", i, args)
		}
	}
}

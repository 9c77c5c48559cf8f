package fsm_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// managedKey returns the arguments of the i-th key as the AWS managed key of a service.
func managedKey(i int, service string) fsm.CreateManagedKey {
	c := createKey(i)
	c.Key.Manager, c.Key.RotationPeriod, c.Key.NextRotation = kms.ManagerAWS, 365, start+365*day
	return fsm.CreateManagedKey{Key: c.Key, Material: *c.Material, Policy: c.Policy, Service: service}
}

// serviceRole returns the arguments of the i-th role with tags.
func serviceRole(i int, tags ...fsm.Tag) fsm.CreateIdentity {
	c := create(identity(fsm.KindRole, i))
	c.Identity.Tags = tags
	return c
}

func TestManagedKey(t *testing.T) {
	t.Parallel()
	d := started(t, &fsm.Config{KeysPerRegion: 1, AliasesPerKey: 50})
	d.ok(managedKey(1, "s3"))
	d.ok(managedKey(2, "dynamodb"))
	d.ok(createKey(3)) // AWS managed keys do not count
	v := d.View()
	alias, ok := v.Alias(account, region, "alias/aws/s3")
	if !ok || alias.KeyID != keyID(1) {
		t.Fatalf("the alias is %+v", alias)
	}
	ids, _ := v.ListKeys(account, region, "", 10)
	if diff := cmp.Diff(ids, []string{keyID(1), keyID(2), keyID(3)}); diff != "" {
		t.Errorf("keys: -got +want:\n%s", diff)
	}
	if key, _ := v.Key(region, keyID(1)); key.Manager != kms.ManagerAWS || key.State != kms.Enabled {
		t.Errorf("the key is %+v", key)
	}
	if due := v.DueRotations(start+365*day, 10); len(due) != 2 || due[0].ID != keyID(1) {
		t.Errorf("after a year %d keys rotate", len(due))
	}
	if due := v.DueRotations(start+365*day-1, 10); len(due) != 0 {
		t.Errorf("before a year has passed %d keys rotate", len(due))
	}
}

// TestManagedKeyTwice makes the same key at once: the second command changes nothing.
func TestManagedKeyTwice(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(managedKey(1, "s3"))
	before := d.Digest()
	for name, c := range map[string]fsm.CreateManagedKey{
		"another id":     managedKey(2, "s3"),
		"the id taken":   managedKey(1, "ebs"),
		"the same again": managedKey(1, "s3"),
	} {
		if result := d.do(c); !result.Conflict {
			t.Errorf("%s: %+v, want a conflict", name, result)
		}
	}
	if d.Digest() != before {
		t.Error("a conflict changed the state")
	}
}

func TestManagedKeyRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fsm.CreateManagedKey){
		"a customer's":           func(c *fsm.CreateManagedKey) { c.Key.Manager = kms.ManagerCustomer },
		"of several Regions":     func(c *fsm.CreateManagedKey) { c.Key.MultiRegion = true },
		"asymmetric":             func(c *fsm.CreateManagedKey) { c.Key.Spec = kms.ECCNistP256 },
		"without rotation":       func(c *fsm.CreateManagedKey) { c.Key.RotationPeriod, c.Key.NextRotation = 0, 0 },
		"rotating early":         func(c *fsm.CreateManagedKey) { c.Key.NextRotation-- },
		"without a service":      func(c *fsm.CreateManagedKey) { c.Service = "" },
		"with no service's name": func(c *fsm.CreateManagedKey) { c.Service = "S3" },
		"disabled":               func(c *fsm.CreateManagedKey) { c.Key.State = kms.Disabled },
		"with another material":  func(c *fsm.CreateManagedKey) { c.Material.KeyID = keyID(2) },
		"with another policy":    func(c *fsm.CreateManagedKey) { c.Policy = "{}" },
	} {
		c := managedKey(1, "s3")
		change(&c)
		if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, c); err == nil {
			t.Errorf("a command was made for an AWS managed key %s", name)
		}
	}
	d := started(t, nil)
	nowhere := managedKey(1, "s3")
	nowhere.Key.Account = "999999999999"
	if result := d.do(nowhere); !result.Conflict {
		t.Errorf("in an account that does not exist: %+v", result)
	}
}

func TestServiceRole(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(serviceRole(1, fsm.Tag{Key: "kmsd:service", Value: "s3"}))
	d.ok(serviceRole(2, fsm.Tag{Key: "KMSD:SERVICE", Value: "ebs"}))
	d.ok(serviceRole(3, fsm.Tag{Key: "kmsd:service", Value: "S3"}))
	d.ok(serviceRole(4, fsm.Tag{Key: "kmsd:service", Value: "s3-control"}))
	d.ok(serviceRole(5, fsm.Tag{Key: "kmsd:service", Value: "dynamodb"}))
	user := create(identity(fsm.KindUser, 6))
	user.Identity.Tags = []fsm.Tag{{Key: "kmsd:service", Value: "rds"}}
	d.ok(user)
	want := map[string]string{"s3": identity(fsm.KindRole, 1).ID, "s3-control": identity(fsm.KindRole, 4).ID, "dynamodb": identity(fsm.KindRole, 5).ID}
	for _, name := range []string{"s3", "s3-control", "dynamodb", "ebs", "S3", "rds", "s", "dynamo", "", "s3/"} {
		role, ok := d.View().ServiceRole(account, name)
		if got := fmt.Sprint(ok); got != fmt.Sprint(want[name] != "") || ok && role.ID != want[name] {
			t.Errorf("%q: %v %+v", name, ok, role)
		}
	}
	if _, ok := d.View().ServiceRole("444455556666", "s3"); ok {
		t.Error("another account has the service")
	}
	untagged := identity(fsm.KindRole, 1)
	d.ok(set(untagged))
	if _, ok := d.View().ServiceRole(account, "s3"); ok {
		t.Error("the role is a service without its tag")
	}
}

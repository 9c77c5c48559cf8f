package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
)

// signed returns a use of an access key or a role.
func signed(id, service, region string, at int64) fsm.CredentialUse {
	return fsm.CredentialUse{ID: id, Service: service, Region: region, Time: at}
}

func recordCredentials(uses ...fsm.CredentialUse) fsm.RecordCredentials {
	return fsm.RecordCredentials{Entries: uses}
}

// wantSigned compares the known use of a credential that exists, but for its index.
func wantSigned(t *testing.T, m *fsm.Machine, id string, want *fsm.CredentialUse) {
	t.Helper()
	got, exists := m.View().CredentialUse(id)
	if got != nil {
		plain := *got
		plain.ModIndex = 0
		got = &plain
	}
	if !exists || !cmp.Equal(got, want) {
		t.Errorf("use of %s: got %+v, %v, want %+v", id, got, exists, want)
	}
}

const rootKey = "AKIAIOSFODNN7EXAMPLE" // the genesis's

// withIAM is started with the user, the access key and the role of populateIAM.
func withIAM(t *testing.T) (d *driver, roleID string) {
	t.Helper()
	d = started(t, nil)
	populateIAM(d)
	return d, identity(fsm.KindRole, 1).ID
}

func TestRecordCredentials(t *testing.T) {
	t.Parallel()
	d, role := withIAM(t)
	wantSigned(t, d.Machine, "AKIAUSER", nil)
	first := signed("AKIAUSER", "kms", "us-east-1", 5000)
	others := []fsm.CredentialUse{signed(rootKey, "iam", "us-east-1", 3000), first, signed(role, "sts", "eu-west-1", 4000)}
	d.ok(recordCredentials(others...))
	for i := range others {
		wantSigned(t, d.Machine, others[i].ID, &others[i])
	}
	for _, tt := range []struct {
		name string
		use  fsm.CredentialUse
		kept bool
	}{
		{"an earlier one", signed("AKIAUSER", "sts", "us-east-1", 4999), false},
		{"the same one", signed("AKIAUSER", "kms", "us-east-1", 5000), false},
		{"one of the same time and a smaller service", signed("AKIAUSER", "iam", "us-west-2", 5000), false},
		{"one of the same time and a smaller Region", signed("AKIAUSER", "kms", "eu-west-1", 5000), false},
		{"one of the same time and a greater Region", signed("AKIAUSER", "kms", "us-west-2", 5000), true},
		{"one of the same time and a greater service", signed("AKIAUSER", "sts", "eu-west-1", 5000), true},
		{"a later one", signed("AKIAUSER", "iam", "eu-west-1", 5001), true},
	} {
		want := first
		if tt.kept {
			want, first = tt.use, tt.use
		}
		before := d.TableDigests()["credentialUses"]
		d.ok(recordCredentials(tt.use))
		wantSigned(t, d.Machine, "AKIAUSER", &want)
		if changed := d.TableDigests()["credentialUses"] != before; changed != tt.kept {
			t.Errorf("%s: the table changed: %v, want %v", tt.name, changed, tt.kept)
		}
	}
	wantSigned(t, d.Machine, role, &others[2])
}

// In whichever order uses arrive, the same remains.
func TestRecordCredentialsInAnyOrder(t *testing.T) {
	t.Parallel()
	uses := []fsm.CredentialUse{
		signed(rootKey, "iam", "us-east-1", 7), signed(rootKey, "sts", "us-east-1", 7), signed(rootKey, "tax", "us-west-2", 6), signed(rootKey, "sts", "eu-west-1", 7),
	}
	for shift := range uses {
		for _, step := range []int{1, 3} {
			d := started(t, nil)
			for i := range uses {
				d.ok(recordCredentials(uses[(i*step+shift)%len(uses)]))
			}
			wantSigned(t, d.Machine, rootKey, &uses[1])
		}
	}
}

// Uses of access keys and roles that do not exist are passed over, the others of the
// command are kept. Users and groups sign nothing.
func TestRecordCredentialsOfNobody(t *testing.T) {
	t.Parallel()
	d, _ := withIAM(t)
	known := signed("AKIAUSER", "kms", region, 4)
	gone := []string{identity(fsm.KindGroup, 1).ID, identity(fsm.KindUser, 1).ID, "AKIANOBODY", identity(fsm.KindRole, 2).ID}
	d.ok(recordCredentials(signed(gone[0], "kms", region, 5), signed(gone[1], "kms", region, 5), signed(gone[2], "kms", region, 5), known, signed(gone[3], "kms", region, 5)))
	wantSigned(t, d.Machine, "AKIAUSER", &known)
	if n := d.TableSizes()["credentialUses"]; n != 1 {
		t.Errorf("%d uses are kept, want 1", n)
	}
	for _, id := range append(gone, "") {
		if u, exists := d.View().CredentialUse(id); u != nil || exists {
			t.Errorf("%q: got %+v, %v", id, u, exists)
		}
	}
}

// A use goes with its access key or role, however that ends, and what a node gathered
// before does not bring it back. An access key that is made inactive keeps it.
func TestUsesOfDeletedCredentials(t *testing.T) {
	t.Parallel()
	d, role := withIAM(t)
	uses := []fsm.CredentialUse{signed(rootKey, "iam", region, 5), signed("AKIAUSER", "kms", region, 5), signed(role, "sts", region, 5)}
	d.ok(recordCredentials(uses...))
	d.ok(fsm.SetAccessKeyStatus{Account: account, ID: "AKIAUSER", Status: fsm.StatusInactive})
	wantSigned(t, d.Machine, "AKIAUSER", &uses[1])
	for i, args := range []fsm.Args{resetRoot("AKIAI44QH8DHBEXAMPLE"), fsm.DeleteAccessKey{Account: account, ID: "AKIAUSER"}, fsm.DeleteIdentity{ID: role}} {
		d.ok(args)
		for range 2 {
			if n := d.TableSizes()["credentialUses"]; n != 2-i {
				t.Errorf("%T: %d uses are kept, want %d", args, n, 2-i)
			}
			d.ok(recordCredentials(uses[i]))
		}
		if u, exists := d.View().CredentialUse(uses[i].ID); u != nil || exists {
			t.Errorf("%T: got %+v, %v", args, u, exists)
		}
	}
	d.ok(create(identity(fsm.KindRole, 1)))
	wantSigned(t, d.Machine, role, nil)
}

// A look at a credential's use decides nothing and waits for nothing; nor does the use
// change the record that it is of.
func TestViewCredentialUse(t *testing.T) {
	t.Parallel()
	d, _ := withIAM(t)
	before, _ := d.View().AccessKey("AKIAUSER")
	d.ok(recordCredentials(signed("AKIAUSER", "kms", region, 5)))
	if after, _ := d.View().AccessKey("AKIAUSER"); after != before {
		t.Errorf("the access key was written: %+v", after)
	}
	v := d.View()
	v.CredentialUse("AKIAUSER")
	v.CredentialUse("AKIANOBODY")
	if v.MaxIndex() != 0 || len(v.Reads()) != 0 {
		t.Errorf("MaxIndex %d, reads %v; want none", v.MaxIndex(), v.Reads())
	}
}

func TestRecordCredentialsRefuses(t *testing.T) {
	t.Parallel()
	change := func(f func(*fsm.CredentialUse)) fsm.RecordCredentials {
		u := signed("AKIAUSER", "kms", region, 5)
		f(&u)
		return recordCredentials(u)
	}
	var many []fsm.CredentialUse
	for i := range fsm.MaxUsages + 1 {
		many = append(many, signed(fmt.Sprintf("AKIA%04d", i), "kms", region, 5))
	}
	one := signed("AKIAUSER", "kms", region, 5)
	for name, c := range map[string]fsm.RecordCredentials{
		"nothing":       {},
		"too many":      recordCredentials(many...),
		"twice":         recordCredentials(one, one),
		"out of order":  recordCredentials(one, signed("AKIA", "kms", region, 5)),
		"no id":         change(func(u *fsm.CredentialUse) { u.ID = "" }),
		"long id":       change(func(u *fsm.CredentialUse) { u.ID = strings.Repeat("A", 129) }),
		"no service":    change(func(u *fsm.CredentialUse) { u.Service = "" }),
		"long service":  change(func(u *fsm.CredentialUse) { u.Service = strings.Repeat("x", 65) }),
		"Region":        change(func(u *fsm.CredentialUse) { u.Region = "nowhere" }),
		"not UTF-8":     change(func(u *fsm.CredentialUse) { u.Service = "\xff" }),
		"negative time": change(func(u *fsm.CredentialUse) { u.Time = -1 }),
		"index":         change(func(u *fsm.CredentialUse) { u.ModIndex = 1 }),
	} {
		if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, c); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, recordCredentials(many[:fsm.MaxUsages]...)); err != nil {
		t.Errorf("as many as a command carries: %v", err)
	}
}

// The longest uses of the longest command fit, with the longest list of durable
// records beside them.
func TestRecordCredentialsFits(t *testing.T) {
	t.Parallel()
	c := fsm.RecordCredentials{}
	for i := range fsm.MaxUsages {
		c.Entries = append(c.Entries, signed(fmt.Sprintf("%0128d", i), strings.Repeat("x", 64), strings.Repeat("a", 28)+"-b-1", 1<<63-1))
	}
	meta := fsm.Meta{Time: start}
	for i := range 512 {
		meta.Recorded = append(meta.Recorded, 1<<63+uint64(i))
	}
	if _, err := fsm.NewCommand(fsm.ReqKey{}, meta, c); err != nil {
		t.Error(err)
	}
}

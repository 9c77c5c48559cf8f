package iamapi_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

// listAccount has policies in every use: Attached and AdministratorAccess are attached,
// Bounding and ReadOnlyAccess bound, Both does both, Idle nothing.
func listAccount(t *testing.T) *testkit.Solo {
	t.Helper()
	s := testkit.Start(t)
	for _, name := range []string{"Attached", "Bounding", "Both", "idle"} {
		path := map[string]string{"Both": "/eng/", "idle": "/eng/"}[name]
		if path == "" {
			path = "/"
		}
		ask(t, s, testkit.Root, "CreatePolicy", "PolicyName", name, "Path", path, "PolicyDocument", readText, "Description", "hidden", "Tags.member.1.Key", "k", "Tags.member.1.Value", "v")
	}
	s.NewManagedPolicy(t, testkit.OtherAccount, "Theirs", readText)
	own := "arn:aws:iam::111122223333:policy/"
	group := s.NewIdentity(t, fsm.KindGroup, testkit.Account, "/eng/Devs")
	for name, change := range map[string]func(*fsm.Identity){
		"bob": func(i *fsm.Identity) {
			i.Attached, i.Boundary = []string{own + "eng/Both", own + "Attached"}, own+"eng/Both"
		},
		"/eng/Anna": func(i *fsm.Identity) { i.Attached, i.Boundary = []string{own + "eng/Both"}, own+"Bounding" },
		"/ops/carl": func(i *fsm.Identity) { i.Boundary = readOnly },
	} {
		s.Change(t, s.NewIdentity(t, fsm.KindUser, testkit.Account, name).ID, change)
	}
	s.Change(t, group.ID, func(i *fsm.Identity) { i.Attached = []string{own + "eng/Both", adminARN} })
	app := s.NewIdentity(t, fsm.KindRole, testkit.Account, "/eng/app")
	s.SetTrust(t, app.ID, trusting("arn:aws:iam::111122223333:root", ""))
	s.Change(t, app.ID, func(i *fsm.Identity) { i.Boundary = own + "eng/Both" })
	theirs := s.NewIdentity(t, fsm.KindUser, testkit.OtherAccount, "eve")
	s.Change(t, theirs.ID, func(i *fsm.Identity) { i.Attached = []string{"arn:aws:iam::aws:policy/IAMFullAccess"} })
	return s
}

func TestListPolicies(t *testing.T) {
	t.Parallel()
	s := listAccount(t)
	const managed, own = "AdministratorAccess AWSKeyManagementServicePowerUser IAMFullAccess ReadOnlyAccess", "Attached Both Bounding idle"
	for _, c := range []struct {
		params []string
		want   string
	}{
		{nil, managed + " " + own},
		{p("Scope", "All"), managed + " " + own},
		{p("Scope", "AWS"), managed},
		{p("Scope", "Local"), own},
		{p("OnlyAttached", "true"), "AdministratorAccess Attached Both"},
		{p("OnlyAttached", "false", "Scope", "Local"), own},
		{p("OnlyAttached", "true", "Scope", "AWS"), "AdministratorAccess"},
		{p("PolicyUsageFilter", "PermissionsPolicy"), "AdministratorAccess Attached Both"},
		{p("PolicyUsageFilter", "PermissionsBoundary"), "ReadOnlyAccess Both Bounding"},
		{p("PolicyUsageFilter", "PermissionsBoundary", "OnlyAttached", "true"), "Both"},
		{p("PathPrefix", "/eng/"), "Both idle"},
		{p("PathPrefix", "/none/"), ""},
		{p("PathPrefix", "/eng/", "OnlyAttached", "true"), "Both"},
	} {
		for _, items := range []string{"1", "2", "3", "1000"} {
			got := pages(t, s, "ListPolicies", append(p("MaxItems", items), c.params...)...)
			if got = strings.ReplaceAll(got, "|", " "); got != c.want {
				t.Errorf("%q by %s: got %q, want %q", c.params, items, got, c.want)
			}
		}
	}
	if got := pages(t, s, "ListPolicies", "MaxItems", "3"); got != "AdministratorAccess AWSKeyManagementServicePowerUser IAMFullAccess|ReadOnlyAccess Attached Both|Bounding idle" {
		t.Errorf("got %q", got)
	}
	const both = "<PolicyName>Both</PolicyName><PolicyId>ANPA</PolicyId><Arn>arn:aws:iam::111122223333:policy/eng/Both</Arn><Path>/eng/</Path><DefaultVersionId>v1</DefaultVersionId>"
	walk(t, s, []step{{"ListPolicies", p("PathPrefix", "/eng/", "OnlyAttached", "true"), "<ListPoliciesResult><Policies><member>" + both + used(3, 2) + keysDates + "</member></Policies>" + truncated + "</ListPoliciesResult>"}})
	marker := between(t, ask(t, s, testkit.Root, "ListPolicies", "MaxItems", "1"), "Marker")
	for _, params := range [][]string{p("Scope", "Local"), p("OnlyAttached", "true"), p("PathPrefix", "/eng/"), p("PolicyUsageFilter", "PermissionsPolicy")} {
		walk(t, s, []step{{"ListPolicies", append(p("Marker", marker), params...), "ValidationException: Invalid Marker."}})
	}
	if got := ask(t, s, testkit.Other, "ListPolicies", "Marker", marker); got != "ValidationException: Invalid Marker." {
		t.Errorf("another account's marker: got %s", got)
	}
	if got := ask(t, s, testkit.Other, "ListPolicies", "OnlyAttached", "true"); strings.Count(got, "<member>") != 1 || between(t, got, "PolicyName") != "IAMFullAccess" {
		t.Errorf("another account: got %s", got)
	}
}

func TestListEntitiesForPolicy(t *testing.T) {
	t.Parallel()
	s := listAccount(t)
	both, none := "arn:aws:iam::111122223333:policy/eng/Both", "arn:aws:iam::111122223333:policy/eng/idle"
	for _, c := range []struct {
		arn    string
		params []string
		want   string
	}{
		{both, nil, "Devs app Anna bob"},
		{both, p("PolicyUsageFilter", "PermissionsPolicy"), "Devs Anna bob"},
		{both, p("PolicyUsageFilter", "PermissionsBoundary"), "app bob"},
		{both, p("EntityFilter", "User"), "Anna bob"},
		{both, p("EntityFilter", "Group"), "Devs"},
		{both, p("EntityFilter", "Role"), "app"},
		{both, p("EntityFilter", "Role", "PolicyUsageFilter", "PermissionsPolicy"), ""},
		{both, p("EntityFilter", "LocalManagedPolicy"), ""},
		{both, p("PathPrefix", "/eng/"), "Devs app Anna"},
		{both, p("PathPrefix", "/eng/", "EntityFilter", "User"), "Anna"},
		{none, nil, ""},
		{adminARN, nil, "Devs"},
		{readOnly, nil, "carl"},
		{"arn:aws:iam::aws:policy/IAMFullAccess", nil, ""},
	} {
		for _, items := range []string{"1", "2", "3", "1000"} {
			var got []string
			for _, page := range everyPage(t, s, "ListEntitiesForPolicy", append(p("PolicyArn", c.arn, "MaxItems", items), c.params...)) {
				got = append(got, entityNames(page)...)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s %q by %s: got %q, want %q", c.arn, c.params, items, got, c.want)
			}
		}
	}
	id := func(kind fsm.IdentityKind, name string) string { return identity(t, s, kind, name).ID }
	walk(t, s, []step{
		{"ListEntitiesForPolicy", p("PolicyArn", both, "PathPrefix", "/eng/"), "<ListEntitiesForPolicyResult>" +
			"<PolicyGroups><member><GroupName>Devs</GroupName><GroupId>" + id(fsm.KindGroup, "devs") + "</GroupId></member></PolicyGroups>" +
			"<PolicyUsers><member><UserName>Anna</UserName><UserId>" + id(fsm.KindUser, "anna") + "</UserId></member></PolicyUsers>" +
			"<PolicyRoles><member><RoleName>app</RoleName><RoleId>" + id(fsm.KindRole, "app") + "</RoleId></member></PolicyRoles>" + truncated + "</ListEntitiesForPolicyResult>"},
		{"ListEntitiesForPolicy", p("PolicyArn", none), "<ListEntitiesForPolicyResult><PolicyGroups></PolicyGroups><PolicyUsers></PolicyUsers><PolicyRoles></PolicyRoles>" + truncated + "</ListEntitiesForPolicyResult>"},
		{"ListEntitiesForPolicy", p("PolicyArn", keysARN), keysGone},
	})
	marker := between(t, ask(t, s, testkit.Root, "ListEntitiesForPolicy", "PolicyArn", both, "MaxItems", "1"), "Marker")
	for _, params := range [][]string{p("PolicyArn", none), p("PolicyArn", both, "EntityFilter", "User"), p("PolicyArn", both, "PathPrefix", "/eng/"), p("PolicyArn", both, "PolicyUsageFilter", "PermissionsPolicy")} {
		walk(t, s, []step{{"ListEntitiesForPolicy", append(p("Marker", marker), params...), "ValidationException: Invalid Marker."}})
	}
}

// entityNames are the names of a page's groups, roles and users, in this order.
func entityNames(page string) (out []string) {
	for _, element := range []string{"GroupName", "RoleName", "UserName"} {
		for _, part := range strings.Split(page, "<"+element+">")[1:] {
			name, _, _ := strings.Cut(part, "<")
			out = append(out, name)
		}
	}
	return out
}

// The counts follow what is attached, bounded, renamed and deleted.
func TestPolicyCounts(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	arn := s.NewManagedPolicy(t, testkit.Account, "Read", readText)
	for _, k := range kinds {
		s.NewIdentity(t, k.kind, testkit.Account, "n")
	}
	for _, c := range []struct {
		op                 string
		params             []string
		attached, bounding int
	}{
		{"AttachUserPolicy", p("UserName", "n", "PolicyArn", arn), 1, 0},
		{"AttachUserPolicy", p("UserName", "n", "PolicyArn", arn), 1, 0},
		{"AttachGroupPolicy", p("GroupName", "n", "PolicyArn", arn), 2, 0},
		{"AttachRolePolicy", p("RoleName", "n", "PolicyArn", arn), 3, 0},
		{"PutUserPermissionsBoundary", p("UserName", "n", "PermissionsBoundary", arn), 3, 1},
		{"PutRolePermissionsBoundary", p("RoleName", "n", "PermissionsBoundary", arn), 3, 2},
		{"UpdateUser", p("UserName", "n", "NewUserName", "m", "NewPath", "/x/"), 3, 2},
		{"PutRolePermissionsBoundary", p("RoleName", "n", "PermissionsBoundary", adminARN), 3, 1},
		{"DetachRolePolicy", p("RoleName", "n", "PolicyArn", arn), 2, 1},
		{"DetachUserPolicy", p("UserName", "m", "PolicyArn", arn), 1, 1},
		{"DeleteUser", p("UserName", "m"), 1, 0},
		{"DetachGroupPolicy", p("GroupName", "n", "PolicyArn", arn), 0, 0},
	} {
		if got := ask(t, s, testkit.Root, c.op, c.params...); got != "" {
			t.Fatalf("%s: got %s", c.op, got)
		}
		for _, op := range []string{"GetPolicy", "ListPolicies"} {
			if got := ask(t, s, testkit.Root, op, "PolicyArn", arn, "Scope", "Local"); !strings.Contains(got, used(c.attached, c.bounding)) {
				t.Errorf("after %s %q: %s answers %s", c.op, c.params, op, got)
			}
		}
	}
}

package iamapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

func TestAccountAuthorizationDetails(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewManagedPolicy(t, testkit.Account, "Read", readText)
	group := s.NewIdentity(t, fsm.KindGroup, testkit.Account, "Devs", denyText)
	user := s.NewIdentity(t, fsm.KindUser, testkit.Account, "/eng/bob", readText)
	s.Change(t, user.ID, func(i *fsm.Identity) {
		i.Groups, i.Attached, i.Boundary, i.Tags = []string{group.ID}, []string{adminARN}, readOnly, []fsm.Tag{{Key: "team", Value: "a b"}}
	})
	role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "app")
	s.NewIdentity(t, fsm.KindUser, testkit.OtherAccount, "theirs")
	s.SetTrust(t, role.ID, trusting("arn:aws:iam::111122223333:root", ""))
	walk(t, s, []step{{"CreatePolicyVersion", p("PolicyArn", key, "PolicyDocument", denyText), "<CreatePolicyVersionResult><PolicyVersion><VersionId>v2</VersionId><IsDefaultVersion>false</IsDefaultVersion><CreateDate>2026-11-24T12:00:00Z</CreateDate></PolicyVersion></CreatePolicyVersionResult>"}})
	const made = "<CreateDate>2026-11-24T12:00:00Z</CreateDate>"
	users := "<member><Path>/eng/</Path><UserName>bob</UserName><UserId>" + user.ID + "</UserId><Arn>arn:aws:iam::111122223333:user/eng/bob</Arn>" + made +
		"<UserPolicyList><member><PolicyName>inline0</PolicyName><PolicyDocument>" + readShown + "</PolicyDocument></member></UserPolicyList><GroupList><member>Devs</member></GroupList>" +
		"<AttachedManagedPolicies><member><PolicyName>AdministratorAccess</PolicyName><PolicyArn>" + adminARN + "</PolicyArn></member></AttachedManagedPolicies>" + bounded + kmsTags + "</member>"
	groups := "<member><Path>/</Path><GroupName>Devs</GroupName><GroupId>" + group.ID + "</GroupId><Arn>arn:aws:iam::111122223333:group/Devs</Arn>" + made +
		"<GroupPolicyList><member><PolicyName>inline0</PolicyName><PolicyDocument>" + denyShown + "</PolicyDocument></member></GroupPolicyList><AttachedManagedPolicies></AttachedManagedPolicies></member>"
	const trust = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22AWS%22%3A%22arn%3Aaws%3Aiam%3A%3A111122223333%3Aroot%22%7D%2C" +
		"%22Action%22%3A%5B%22sts%3AAssumeRole%22%2C%22sts%3ATagSession%22%2C%22sts%3ASetSourceIdentity%22%5D%7D%5D%7D"
	roles := "<member><Path>/</Path><RoleName>app</RoleName><RoleId>" + role.ID + "</RoleId><Arn>arn:aws:iam::111122223333:role/app</Arn>" + made +
		"<AssumeRolePolicyDocument>" + trust + "</AssumeRolePolicyDocument><InstanceProfileList></InstanceProfileList><RolePolicyList></RolePolicyList>" +
		"<AttachedManagedPolicies></AttachedManagedPolicies><RoleLastUsed></RoleLastUsed></member>"
	version := func(id string, isDefault bool, document string) string {
		return fmt.Sprintf("<member><Document>%s</Document><VersionId>%s</VersionId><IsDefaultVersion>%t</IsDefaultVersion>%s</member>", document, id, isDefault, made)
	}
	own := "<member><PolicyName>Read</PolicyName><PolicyId>" + policyID(t, s, key) + "</PolicyId><Arn>" + key + "</Arn><Path>/</Path><DefaultVersionId>v1</DefaultVersionId>" + used(0, 0) +
		made + "<UpdateDate>2026-11-24T12:00:00Z</UpdateDate><PolicyVersionList>" + version("v2", false, denyShown) + version("v1", true, readShown) + "</PolicyVersionList></member>"
	answer := func(users, groups, roles, policies string) string {
		return "<GetAccountAuthorizationDetailsResult><UserDetailList>" + users + "</UserDetailList><GroupDetailList>" + groups + "</GroupDetailList><RoleDetailList>" + roles +
			"</RoleDetailList><Policies>" + policies + "</Policies>" + truncated + "</GetAccountAuthorizationDetailsResult>"
	}
	const op = "GetAccountAuthorizationDetails"
	walk(t, s, []step{
		{op, p("Filter.member.1", "User"), answer(users, "", "", "")},
		{op, p("Filter.member.1", "Group"), answer("", groups, "", "")},
		{op, p("Filter.member.1", "Role"), answer("", "", roles, "")},
		{op, p("Filter.member.1", "LocalManagedPolicy"), answer("", "", "", own)},
		{op, p("Filter.member.1", "Role", "Filter.member.2", "LocalManagedPolicy", "Filter.member.3", "User"), answer(users, "", roles, own)},
		{op, p("Filter.member.1", "Policy"), "ValidationException: 1 validation error detected: Value '[Policy]' at 'filter' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [User, Role, Group, LocalManagedPolicy, AWSManagedPolicy]]"},
	})
	inUse := ask(t, s, testkit.Root, op, "Filter.member.1", "AWSManagedPolicy")
	if strings.Count(inUse, "<PolicyName>") != 2 || !strings.Contains(inUse, adminARN) || !strings.Contains(inUse, readOnly) || !strings.Contains(inUse, used(1, 0)) || !strings.Contains(inUse, used(0, 1)) {
		t.Errorf("AWS's policies: got %s", inUse)
	}
	list := strings.TrimSuffix(strings.SplitAfter(inUse, "<Policies>")[1], "</Policies>"+truncated+"</GetAccountAuthorizationDetailsResult>")
	walk(t, s, []step{{op, nil, answer(users, groups, roles, masked(list)+own)}})
}

// Pages go through groups, roles, users and policies, and none is missed or shown twice.
func TestAccountAuthorizationDetailPages(t *testing.T) {
	t.Parallel()
	s := listAccount(t)
	const op = "GetAccountAuthorizationDetails"
	const want = "arn:aws:iam::111122223333:group/eng/Devs arn:aws:iam::111122223333:role/eng/app arn:aws:iam::111122223333:user/eng/Anna " +
		"arn:aws:iam::111122223333:user/bob arn:aws:iam::111122223333:user/ops/carl arn:aws:iam::aws:policy/AdministratorAccess " + readOnly +
		" arn:aws:iam::111122223333:policy/Attached arn:aws:iam::111122223333:policy/eng/Both arn:aws:iam::111122223333:policy/Bounding arn:aws:iam::111122223333:policy/eng/idle"
	for items, n := range map[string]int{"1": 11, "2": 6, "3": 4, "11": 1, "1000": 1} {
		var got []string
		all := everyPage(t, s, op, p("MaxItems", items))
		for _, page := range all {
			got = append(got, arns(page)...)
		}
		if len(all) != n || (items == "1" && strings.Join(got, " ") != want) || len(got) != 11 {
			t.Errorf("by %s: %d pages with %q", items, len(all), got)
		}
	}
	marker := between(t, ask(t, s, testkit.Root, op, "MaxItems", "1"), "Marker")
	walk(t, s, []step{{op, p("Marker", marker, "Filter.member.1", "User"), "ValidationException: Invalid Marker."}})
	if got := ask(t, s, testkit.Other, op, "Marker", marker); got != "ValidationException: Invalid Marker." {
		t.Errorf("another account's marker: got %s", got)
	}
}

func arns(page string) (out []string) {
	for _, part := range strings.Split(page, "<Arn>")[1:] {
		arn, _, _ := strings.Cut(part, "<")
		out = append(out, arn)
	}
	return out
}

// Long documents end a page early, so that no answer takes a node's memory.
func TestAccountAuthorizationDetailsAreBounded(t *testing.T) {
	t.Parallel()
	long := func(text string, n int) string {
		return strings.Replace(text, "{", "{"+strings.Repeat(" ", 130000+n), 1)
	}
	for name, add := range map[string]func(t *testing.T, s *testkit.Solo, n int){
		"versions": func(t *testing.T, s *testkit.Solo, n int) {
			s.NewManagedPolicy(t, testkit.Account, fmt.Sprint("Long", n), long(readText, n))
		},
		"inline policies": func(t *testing.T, s *testkit.Solo, n int) {
			s.NewIdentity(t, fsm.KindUser, testkit.Account, fmt.Sprint("long", n), long(readText, n))
		},
		"trust policies": func(t *testing.T, s *testkit.Solo, n int) {
			s.SetTrust(t, s.NewIdentity(t, fsm.KindRole, testkit.Account, fmt.Sprint("long", n)).ID, long(trusting("arn:aws:iam::111122223333:root", ""), n))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			for n := range 9 {
				add(t, s, n)
			}
			all, seen := everyPage(t, s, "GetAccountAuthorizationDetails", p("MaxItems", "1000")), 0
			for _, page := range all {
				seen += len(arns(page))
				if len(page) > 2<<20 {
					t.Errorf("a page of %d bytes", len(page))
				}
			}
			if len(all) != 3 || seen != 9 {
				t.Errorf("%d pages with %d elements", len(all), seen)
			}
		})
	}
}

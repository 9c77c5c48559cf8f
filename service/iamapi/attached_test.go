package iamapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

const (
	adminARN = "arn:aws:iam::aws:policy/AdministratorAccess"
	readARN  = "arn:aws:iam::111122223333:policy/Read"
)

func TestAttachedPolicies(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		s.NewManagedPolicy(t, testkit.Account, "Read", readText)
		s.NewManagedPolicy(t, testkit.OtherAccount, "Theirs", readText)
		put, remove, list := "Attach"+k.title+"Policy", "Detach"+k.title+"Policy", "ListAttached"+k.title+"Policies"
		gone := "NoSuchEntity: The " + k.noun() + " with name x cannot be found."
		listed := func(policies string) string {
			return "<" + list + "Result><AttachedPolicies>" + policies + "</AttachedPolicies><IsTruncated>false</IsTruncated></" + list + "Result>"
		}
		const (
			admin  = "<member><PolicyName>AdministratorAccess</PolicyName><PolicyArn>" + adminARN + "</PolicyArn></member>"
			read   = "<member><PolicyName>Read</PolicyName><PolicyArn>" + readARN + "</PolicyArn></member>"
			theirs = "arn:aws:iam::444455556666:policy/Theirs"
			none   = "arn:aws:iam::111122223333:policy/None"
			unreal = "arn:aws:iam::aws:policy/NoSuchPolicy"
		)
		walk(t, s, []step{
			{put, p(k.param, "x", "PolicyArn", adminARN), gone},
			{remove, p(k.param, "x", "PolicyArn", adminARN), gone},
			{list, p(k.param, "x"), gone},
			{list, p(k.param, "Name"), listed("")},
			{remove, p(k.param, "Name", "PolicyArn", readARN), "NoSuchEntity: Policy " + readARN + " was not found."},
			{put, p(k.param, "Name", "PolicyArn", none), "NoSuchEntity: Policy " + none + " does not exist or is not attachable."},
			{put, p(k.param, "Name", "PolicyArn", theirs), "NoSuchEntity: Policy " + theirs + " does not exist or is not attachable."},
			{put, p(k.param, "Name", "PolicyArn", unreal), "NoSuchEntity: Policy " + unreal + " does not exist or is not attachable."},
			{put, p(k.param, "Name", "PolicyArn", "this is no ARN at all"), "InvalidInput: ARN this is no ARN at all is not valid."},
			{put, p(k.param, "Name", "PolicyArn", readARN), ""},
			{put, p(k.param, "nAME", "PolicyArn", adminARN), ""},
			{put, p(k.param, "Name", "PolicyArn", readARN), ""},
			{list, p(k.param, "name"), listed(admin + read)},
			{remove, p(k.param, "Name", "PolicyArn", adminARN), ""},
			{remove, p(k.param, "Name", "PolicyArn", adminARN), "NoSuchEntity: Policy " + adminARN + " was not found."},
			{list, p(k.param, "Name"), listed(read)},
			{list, p(k.param, "Name", "PathPrefix", "/eng/"), listed("")},
		})
	})
}

// Ten are the most; their list has pages, and shows those under a path.
func TestAttachedPolicyPages(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		put, list := "Attach"+k.title+"Policy", "ListAttached"+k.title+"Policies"
		for i := range 10 {
			arn := s.NewManagedPolicy(t, testkit.Account, fmt.Sprint("P", i), readText)
			if got := ask(t, s, testkit.Root, put, k.param, "Name", "PolicyArn", arn); got != "" {
				t.Fatal(got)
			}
		}
		if got, want := ask(t, s, testkit.Root, put, k.param, "Name", "PolicyArn", adminARN), "LimitExceeded: Cannot exceed quota for PoliciesPer"+k.title+": 10"; got != want {
			t.Errorf("the eleventh: got %s", got)
		}
		if got := pages(t, s, list, k.param, "Name", "MaxItems", "4"); got != "P0 P1 P2 P3|P4 P5 P6 P7|P8 P9" {
			t.Errorf("got %q", got)
		}
		marker := between(t, ask(t, s, testkit.Root, list, k.param, "Name", "MaxItems", "4"), "Marker")
		if got := ask(t, s, testkit.Root, list, k.param, "Name", "Marker", marker, "PathPrefix", "/a/"); got != "ValidationException: Invalid Marker." {
			t.Errorf("the marker of another list: got %s", got)
		}
	})
}

// Policies of the account and of AWS may have one name.
func TestAttachedNamesakes(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		own := s.NewManagedPolicy(t, testkit.Account, "AdministratorAccess", readText)
		for _, arn := range []string{own, adminARN} {
			ask(t, s, testkit.Root, "Attach"+k.title+"Policy", k.param, "Name", "PolicyArn", arn)
		}
		if got := pages(t, s, "ListAttached"+k.title+"Policies", k.param, "Name", "MaxItems", "1"); got != "AdministratorAccess|AdministratorAccess" {
			t.Errorf("got %q", got)
		}
	})
}

func TestAttachedPolicyAuthorisation(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		wantGuarded(t, s, k, []step{
			{"Attach" + k.title + "Policy", p(k.param, "Name", "PolicyArn", adminARN), ""},
			{"ListAttached" + k.title + "Policies", p(k.param, "Name"), ""},
			{"Detach" + k.title + "Policy", p(k.param, "Name", "PolicyArn", adminARN), ""},
		})
		only, _ := s.NewUser(t, testkit.Account, "only", allow(`"iam:*"`, "*", `,"Condition":{"ArnEquals":{"iam:PolicyARN":"arn:aws:iam::aws:policy/ReadOnlyAccess"}}`))
		for _, op := range []string{"Attach", "Detach"} {
			op += k.title + "Policy"
			if got := ask(t, s, only, op, k.param, "Name", "PolicyArn", adminARN); !strings.HasPrefix(got, "AccessDeniedException") {
				t.Errorf("%s of another policy: got %s", op, got)
			}
			if got := ask(t, s, only, op, k.param, "Name", "PolicyArn", "arn:aws:iam::aws:policy/ReadOnlyAccess"); got != "" {
				t.Errorf("%s of the policy: got %s", op, got)
			}
		}
	})
}

func TestDetachRetries(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		ask(t, s, testkit.Root, "Attach"+k.title+"Policy", k.param, "Name", "PolicyArn", adminARN)
		for range 2 {
			if got := ask(t, s, testkit.Root.As("one"), "Detach"+k.title+"Policy", k.param, "Name", "PolicyArn", adminARN); got != "" {
				t.Errorf("got %s", got)
			}
		}
	})
}

func TestAttachedPolicyRecords(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		a := s.Raw(t, testkit.Root, "iam", "Attach"+k.title+"Policy", form(k.param, "Name", "PolicyArn", adminARN))
		got := s.Record(t, a)["requestParameters"]
		if want := map[string]any{k.noun() + "Name": "Name", "policyArn": adminARN}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v", got)
		}
	})
}

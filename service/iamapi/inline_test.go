package iamapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

// aKind is a kind of identity as the operations on its policies name it.
type aKind struct {
	kind         fsm.IdentityKind
	title, param string
	size         int // of its inline policies in all
}

var kinds = []aKind{{fsm.KindUser, "User", "UserName", 2048}, {fsm.KindGroup, "Group", "GroupName", 5120}, {fsm.KindRole, "Role", "RoleName", 10240}}

func (k aKind) noun() string { return strings.ToLower(k.title) }

// each runs a test for every kind, on an identity "Name" of it.
func each(t *testing.T, test func(t *testing.T, s *testkit.Solo, k aKind, i *fsm.Identity)) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.title, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			test(t, s, k, s.NewIdentity(t, k.kind, testkit.Account, "Name"))
		})
	}
}

const (
	readText = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:Describe*","Resource":"*"}]}`
	// readText as answers show it, by RFC 3986.
	readShown = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22kms%3ADescribe%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D"
	denyText  = `{"Version":"2012-10-17", "Statement":{"Effect":"Deny","Action":"kms:Sign","Resource":"*"}}`
	denyShown = "%7B%22Version%22%3A%222012-10-17%22%2C%20%22Statement%22%3A%7B%22Effect%22%3A%22Deny%22%2C%22Action%22%3A%22kms%3ASign%22%2C%22Resource%22%3A%22%2A%22%7D%7D"
)

func TestInlinePolicies(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		put, get, remove, list := "Put"+k.title+"Policy", "Get"+k.title+"Policy", "Delete"+k.title+"Policy", "List"+k.title+"Policies"
		gone := "NoSuchEntity: The " + k.noun() + " with name x cannot be found."
		none := "NoSuchEntity: The " + k.noun() + " policy with name read cannot be found."
		shown := func(name, document string) string {
			return "<" + get + "Result><" + k.param + ">Name</" + k.param + "><PolicyName>" + name + "</PolicyName><PolicyDocument>" + document + "</PolicyDocument></" + get + "Result>"
		}
		listed := func(names string) string {
			return "<" + list + "Result><PolicyNames>" + names + "</PolicyNames><IsTruncated>false</IsTruncated></" + list + "Result>"
		}
		walk(t, s, []step{
			{put, p(k.param, "x", "PolicyName", "read", "PolicyDocument", readText), gone},
			{get, p(k.param, "x", "PolicyName", "read"), gone},
			{remove, p(k.param, "x", "PolicyName", "read"), gone},
			{list, p(k.param, "x"), gone},
			{get, p(k.param, "Name", "PolicyName", "read"), none},
			{remove, p(k.param, "Name", "PolicyName", "read"), none},
			{list, p(k.param, "Name"), listed("")},
			{put, p(k.param, "nAME", "PolicyName", "Read", "PolicyDocument", readText), ""},
			{get, p(k.param, "name", "PolicyName", "read"), shown("Read", readShown)},
			{put, p(k.param, "Name", "PolicyName", "second", "PolicyDocument", readText), ""},
			{put, p(k.param, "Name", "PolicyName", "READ", "PolicyDocument", denyText), ""},
			{get, p(k.param, "Name", "PolicyName", "read"), shown("READ", denyShown)},
			{list, p(k.param, "Name"), listed("<member>READ</member><member>second</member>")},
			{remove, p(k.param, "Name", "PolicyName", "read"), ""},
			{remove, p(k.param, "Name", "PolicyName", "read"), none},
			{get, p(k.param, "Name", "PolicyName", "second"), shown("second", readShown)},
			{list, p(k.param, "Name"), listed("<member>second</member>")},
		})
	})
}

func TestInlinePolicyDocuments(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		put := "Put" + k.title + "Policy"
		const malformed = "MalformedPolicyDocumentException: "
		of := func(document string) []string {
			return p(k.param, "Name", "PolicyName", "p", "PolicyDocument", document)
		}
		walk(t, s, []step{
			{put, of("{"), malformed + "Syntax errors in policy."},
			{put, of("{}"), malformed + "Syntax errors in policy."},
			{put, of(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`), malformed + "Policy document should not specify a principal."},
			{put, p(k.param, "Name", "PolicyName", "a b", "PolicyDocument", readText), `ValidationException: 1 validation error detected: Value 'a b' at 'policyName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]+`},
			{"List" + k.title + "Policies", p(k.param, "Name"), "<List" + k.title + "PoliciesResult><PolicyNames></PolicyNames><IsTruncated>false</IsTruncated></List" + k.title + "PoliciesResult>"},
		})
	})
}

// ofSize is a policy of so many characters without white space, and 1000 more of it.
func ofSize(n int) string {
	const start, end = `{"Version":"2012-10-17",`, `"Statement":{"Effect":"Allow","Action":"kms:List*","Resource":"*","Sid":"`
	text := start + strings.Repeat(" ", 500) + strings.Repeat("\n", 500) + end
	return text + strings.Repeat("x", n-len(start)-len(end)-3) + `"}}`
}

// The policies of one identity count together, and the one that a call replaces does
// not.
func TestInlinePolicySizes(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		put := "Put" + k.title + "Policy"
		tooLong := fmt.Sprintf("LimitExceeded: Maximum policy size of %d bytes exceeded for %s Name", k.size, k.noun())
		of := func(name string, size int) []string {
			return p(k.param, "Name", "PolicyName", name, "PolicyDocument", ofSize(size))
		}
		walk(t, s, []step{
			{put, of("a", k.size+1), tooLong},
			{put, of("a", k.size), ""},
			{put, of("b", 200), tooLong},
			{put, of("A", k.size-200), ""},
			{put, of("b", 201), tooLong},
			{put, of("b", 200), ""},
			{put, of("a", k.size-199), tooLong},
		})
	})
}

func TestInlinePolicyPages(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		list := "List" + k.title + "Policies"
		for _, name := range []string{"b", "D", "a", "C", "e"} {
			ask(t, s, testkit.Root, "Put"+k.title+"Policy", k.param, "Name", "PolicyName", name, "PolicyDocument", denyText)
		}
		if got := pages(t, s, list, k.param, "Name", "MaxItems", "2"); got != "a b|C D|e" {
			t.Errorf("pages: got %q", got)
		}
		first := ask(t, s, testkit.Root, list, k.param, "Name", "MaxItems", "2")
		s.NewIdentity(t, k.kind, testkit.Account, "another")
		walk(t, s, []step{
			{list, p(k.param, "another", "Marker", between(t, first, "Marker")), "ValidationException: Invalid Marker."},
			{list, p(k.param, "Name", "Marker", "x"), "ValidationException: Invalid Marker."},
		})
	})
}

// pages follows a list from page to page and returns the members' names.
func pages(t *testing.T, s *testkit.Solo, op string, params ...string) string {
	t.Helper()
	var out []string
	for marker := ""; ; {
		sent := params
		if marker != "" {
			sent = append(p("Marker", marker), params...)
		}
		answer := ask(t, s, testkit.Root, op, sent...)
		var names []string
		for _, member := range strings.Split(answer, "<member>")[1:] {
			name, _, _ := strings.Cut(member, "</member>")
			for _, element := range []string{"PolicyName", "VersionId", "Key", "UserName", "GroupName", "RoleName"} {
				if strings.Contains(name, "<"+element+">") {
					name = between(t, name, element)
					break
				}
			}
			names = append(names, name)
		}
		out = append(out, strings.Join(names, " "))
		if between(t, answer, "IsTruncated") == "false" {
			return strings.Join(out, "|")
		}
		marker = between(t, answer, "Marker")
	}
}

// A retry of an SDK's call deletes once and is answered as the first.
func TestInlinePolicyRetries(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		ask(t, s, testkit.Root, "Put"+k.title+"Policy", k.param, "Name", "PolicyName", "p", "PolicyDocument", readText)
		for _, invocation := range []string{"one", "one"} {
			if got := ask(t, s, testkit.Root.As(invocation), "Delete"+k.title+"Policy", k.param, "Name", "PolicyName", "p"); got != "" {
				t.Errorf("got %s", got)
			}
		}
		want := "NoSuchEntity: The " + k.noun() + " policy with name p cannot be found."
		if got := ask(t, s, testkit.Root.As("two"), "Delete"+k.title+"Policy", k.param, "Name", "PolicyName", "p"); got != want {
			t.Errorf("got %s", got)
		}
	})
}

// Who may call: the action on the identity's ARN, and nobody else.
func TestInlinePolicyAuthorisation(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		calls := []step{
			{"Put" + k.title + "Policy", p(k.param, "Name", "PolicyName", "p", "PolicyDocument", readText), ""},
			{"Get" + k.title + "Policy", p(k.param, "Name", "PolicyName", "p"), ""},
			{"List" + k.title + "Policies", p(k.param, "Name"), ""},
			{"Delete" + k.title + "Policy", p(k.param, "Name", "PolicyName", "p"), ""},
		}
		wantGuarded(t, s, k, calls)
	})
}

// wantGuarded checks of calls on "Name", one after the other, that they need their
// action on just that identity.
func wantGuarded(t *testing.T, s *testkit.Solo, k aKind, calls []step) {
	t.Helper()
	nobody, _ := s.NewUser(t, testkit.Account, "nobody", allow(`"iam:*"`, "arn:aws:iam::111122223333:"+k.noun()+"/other", ""))
	for _, c := range calls {
		want := "AccessDeniedException: User: arn:aws:iam::111122223333:user/nobody is not authorized to perform: iam:" + c.op +
			" on resource: " + k.noun() + " Name because no identity-based policy allows the iam:" + c.op + " action"
		if got := ask(t, s, nobody, c.op, c.params...); got != want {
			t.Errorf("%s: got %s\nwant %s", c.op, got, want)
		}
		may, _ := s.NewUser(t, testkit.Account, "may"+c.op, allow(`"iam:`+c.op+`"`, "arn:aws:iam::111122223333:"+k.noun()+"/Name", ""))
		if got := ask(t, s, may, c.op, c.params...); strings.Contains(got, "Exception") {
			t.Errorf("%s: got %s", c.op, got)
		}
	}
}

// The trail shows the policy's text as it was sent.
func TestInlinePolicyRecords(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Solo, k aKind, _ *fsm.Identity) {
		a := s.Raw(t, testkit.Root, "iam", "Put"+k.title+"Policy", form(k.param, "Name", "PolicyName", "p", "PolicyDocument", readText))
		got := s.Record(t, a)["requestParameters"]
		if want := map[string]any{k.noun() + "Name": "Name", "policyName": "p", "policyDocument": readText}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v", got)
		}
	})
}

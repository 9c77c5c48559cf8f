package adminapi_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// Bodies that no operation takes, and what each operation refuses of its own.
func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	const (
		unknown = "Payload holds a member that is not known"
		twice   = "Payload holds a member twice"
	)
	type refusal struct{ op, body, code, message string }
	var cases []refusal
	for _, call := range bodies {
		for body, message := range map[string]string{
			`{`: "", `{}{}`: "", `?`: "", `{"a":1,}`: "", "\xff": "", `null`: "Unexpected value type in payload",
			`[]`: "Start of list found where not expected", `"x"`: "Unexpected value type in payload", `7`: "Unexpected value type in payload",
			`{"Force":true}`: unknown, `{"unknown":{"deep":[1,2]}}`: unknown, `{"":null}`: unknown,
		} {
			cases = append(cases, refusal{call.op, body, "SerializationException", message})
		}
	}
	one := func(entry string) string { return "1 validation error detected: " + entry }
	cases = append(cases,
		refusal{"CreateJoinToken", `{"uses":1,"uses":2}`, "SerializationException", twice},
		refusal{"CreateJoinToken", `{"uses":"1"}`, "SerializationException", "STRING_VALUE cannot be converted to Integer"},
		refusal{"CreateJoinToken", `{"uses":1.5}`, "SerializationException", "NUMBER_VALUE cannot be converted to Integer"},
		refusal{"CreateJoinToken", `{"cidrs":"10.0.0.0/8"}`, "SerializationException", "Unexpected value type in payload"},
		refusal{"CreateJoinToken", `{"uses":0}`, "ValidationException",
			one("Value '0' at 'uses' failed to satisfy constraint: Member must have value greater than or equal to 1")},
		refusal{"CreateJoinToken", `{"uses":101}`, "ValidationException",
			one("Value '101' at 'uses' failed to satisfy constraint: Member must have value less than or equal to 100")},
		refusal{"CreateJoinToken", `{"ttlSeconds":0}`, "ValidationException",
			one("Value '0' at 'ttlSeconds' failed to satisfy constraint: Member must have value greater than or equal to 1")},
		refusal{"CreateJoinToken", `{"ttlSeconds":86401}`, "ValidationException",
			one("Value '86401' at 'ttlSeconds' failed to satisfy constraint: Member must have value less than or equal to 86400")},
		refusal{"CreateJoinToken", `{"cidrs":["10.0.0.1"]}`, "ValidationException", "The value 10.0.0.1 at 'cidrs' is not a network in CIDR notation."},
		refusal{"CreateJoinToken", `{"cidrs":["10.0.0.0/8","10.0.0.0/33"]}`, "ValidationException", "The value 10.0.0.0/33 at 'cidrs' is not a network in CIDR notation."},
		refusal{"CreateJoinToken", `{"cidrs":["::ffff:10.0.0.0/104"]}`, "ValidationException", "The value ::ffff:10.0.0.0/104 at 'cidrs' is not a network in CIDR notation."},
		refusal{"CreateJoinToken", `{"cidrs":["fe80::1%eth0/64"]}`, "ValidationException", "The value fe80::1%eth0/64 at 'cidrs' is not a network in CIDR notation."},
		refusal{"LeaveCluster", `{"force":"yes"}`, "SerializationException", "STRING_VALUE cannot be converted to Boolean"},
		refusal{"LeaveCluster", `{"memberId":"` + testkit.OtherMemberID + `"}`, "ValidationException",
			"The call reached the node " + testkit.MemberID + ", not " + testkit.OtherMemberID + "."},
		refusal{"RemoveMember", `{}`, "ValidationException",
			one("Value null at 'memberId' failed to satisfy constraint: Member must not be null")},
		refusal{"RemoveMember", `{"memberId":"` + testkit.MemberID + `"}`, "NotFoundException", "The member " + testkit.MemberID + " does not exist."},
		refusal{"ResetRootCredential", `{}`, "ValidationException",
			one("Value null at 'accountId' failed to satisfy constraint: Member must not be null")},
		refusal{"CloseAccount", `{}`, "ValidationException",
			one("Value null at 'accountId' failed to satisfy constraint: Member must not be null")},
		refusal{"CloseAccount", `{"accountId":"777788889999"}`, "NotFoundException", "The account 777788889999 does not exist."},
		refusal{"CloseAccount", `{"accountId":"111122223333"}`, "ConflictException", "The operator's account cannot be closed."},
		refusal{"CreateAccount", `{"accountId":"444455556666"}`, "AlreadyExistsException", "The account 444455556666 already exists."},
		refusal{"CreateAccount", `{"accountId":777788889999}`, "SerializationException", "NUMBER_VALUE cannot be converted to String"},
		refusal{"ResetRootCredential", `{"accountId":"777788889999"}`, "NotFoundException", "The account 777788889999 does not exist."},
	)
	s := start(t)
	before := s.Machine.Digest()
	for _, c := range cases {
		wantRefusal(t, s.Admin(t, testkit.Root, c.op, c.body), c.code, c.message)
	}
	for _, body := range []string{`{"memberId":"x"}`, `{"memberId":""}`, `{"memberId":"` + strings.ToUpper(testkit.MemberID) + `"}`} {
		for _, op := range []string{"RemoveMember", "LeaveCluster"} {
			if a := s.Admin(t, testkit.Root, op, body); a.Refusal == nil || a.Refusal.Code != "ValidationException" {
				t.Errorf("%s %s: got %v", op, body, a.Refusal)
			}
		}
	}
	for _, body := range []string{`{"accountId":"1"}`, `{"accountId":"11112222333x"}`} {
		for _, op := range []string{"ResetRootCredential", "CreateAccount", "CloseAccount"} {
			if a := s.Admin(t, testkit.Root, op, body); a.Refusal == nil || a.Refusal.Code != "ValidationException" {
				t.Errorf("%s %s: got %v", op, body, a.Refusal)
			}
		}
	}
	if a := s.Admin(t, testkit.Root, "ListAccounts", `{"marker":"x"}`); a.Refusal == nil || a.Refusal.Code != "ValidationException" {
		t.Errorf("a marker that is none: got %v", a.Refusal)
	}
	many := `{"cidrs":["10.0.0.0/8"` + strings.Repeat(`,"10.0.0.0/8"`, 32) + `]}`
	if a := s.Admin(t, testkit.Root, "CreateJoinToken", many); a.Refusal == nil || a.Refusal.Code != "ValidationException" {
		t.Errorf("33 networks: got %v", a.Refusal)
	}
	if s.Machine.Digest() != before {
		t.Error("a refused call changed the state")
	}
	for _, done := range s.Member.Done() {
		if done != "Status" { // LeaveCluster asks who it is
			t.Errorf("a refused call did %s", done)
		}
	}
}

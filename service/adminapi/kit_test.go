package adminapi_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/internal/testkit"
)

type obj = testkit.JSON

// uid is the local operator's in these tests.
const uid = 1000

// cluster is the resource of the actions kmsd:*.
const cluster = "arn:aws:kmsd::111122223333:cluster/6c2f4d0e-57a5-4c0b-9d1e-1a2b3c4d5e6f"

// bodies is a good request for every operation, in the order of the paths.
var bodies = []struct{ op, body string }{
	{"GetStatus", ``},
	{"ListMembers", `{}`},
	{"RemoveMember", `{"memberId":"` + testkit.OtherMemberID + `"}`},
	{"CreateJoinToken", `{}`},
	{"LeaveCluster", `{}`},
	{"CreateAccount", `{}`},
	{"ListAccounts", ``},
	{"CloseAccount", `{"accountId":"` + testkit.OtherAccount + `"}`},
	{"ResetRootCredential", `{"accountId":"` + testkit.OtherAccount + `"}`},
	{"GetConfig", ``},
	{"SetConfig", `{"throttle":"aws"}`},
	{"Explain", `{"principal":"111122223333","action":"kms:ListKeys","resource":"*"}`},
	{"GetAuthority", ``},
}

// wantOK checks that a call succeeded.
func wantOK(t *testing.T, a testkit.Answer) {
	t.Helper()
	if a.Refusal != nil || a.Err != nil {
		t.Errorf("got %v, %v; want success", a.Refusal, a.Err)
	}
}

// wantRefusal checks code and message of a refusal.
func wantRefusal(t *testing.T, a testkit.Answer, code, message string) {
	t.Helper()
	if a.Refusal == nil || a.Refusal.Code != code || a.Refusal.Message != message {
		t.Errorf("got %v, %v; want %s: %s", a.Refusal, a.Err, code, message)
	}
}

func wantSame(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// parse reads a typed JSON object.
func parse(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

package iamapi_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

// A service gets its sessions from STS, for the accounts and resources that the trust
// policy of its role lets it say.
func TestSessionsOfServices(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	process, id := s.NewUser(t, testkit.Account, "process")
	store := role(t, s, testkit.Account, "Store", trusting(id, `,"Condition":{"StringEquals":{"aws:RequestTag/kmsd:account":"444455556666"}}`), allowKMS)
	s.Change(t, store.ID, func(i *fsm.Identity) { i.Tags = []fsm.Tag{{Key: "kmsd:service", Value: "store"}} })
	loose := role(t, s, testkit.Account, "Loose", trusting(id, ""), allowKMS)
	s.Change(t, loose.ID, func(i *fsm.Identity) { i.Tags = []fsm.Tag{{Key: "kmsd:service", Value: "loose"}} })
	assume := func(account string) (answer, string) {
		return call(t, s, process, "AssumeRole", "RoleArn", "arn:aws:iam::111122223333:role/Store", "RoleSessionName", "node-1",
			"Tags.member.1.Key", "kmsd:account", "Tags.member.1.Value", account,
			"Tags.member.2.Key", "kmsd:source-arn", "Tags.member.2.Value", "arn:aws:store:us-east-1:444455556666:shelf/1")
	}
	if _, refusal := assume(testkit.Account); !strings.HasPrefix(refusal, "AccessDeniedException: ") {
		t.Errorf("for another account: %q", refusal)
	}
	for name, tags := range map[string][]string{
		"no account":                {"kmsd:account", "999999999999"},
		"no ARN":                    {"kmsd:account", testkit.OtherAccount, "kmsd:source-arn", "shelf"},
		"no account of a source":    {"kmsd:account", testkit.OtherAccount, "kmsd:source-account", "shelf"},
		"a source without a caller": {"kmsd:source-account", testkit.OtherAccount},
	} {
		args := []string{"RoleArn", "arn:aws:iam::111122223333:role/Loose", "RoleSessionName", "node-1"}
		for i := 0; i < len(tags); i += 2 {
			n := strconv.Itoa(i/2 + 1)
			args = append(args, "Tags.member."+n+".Key", tags[i], "Tags.member."+n+".Value", tags[i+1])
		}
		if _, refusal := call(t, s, process, "AssumeRole", args...); !strings.HasPrefix(refusal, "ValidationException: The session tag kmsd:account must name an active account") {
			t.Errorf("%s: %q", name, refusal)
		}
	}
	got, refusal := assume(testkit.OtherAccount)
	if refusal != "" {
		t.Fatal(refusal)
	}
	a := s.Call(t, got.caller(), "GenerateDataKey", map[string]any{"KeyId": "alias/aws/store", "KeySpec": "AES_256"})
	if a.Refusal != nil || a.Err != nil {
		t.Fatalf("the first use: %v %v", a.Refusal, a.Err)
	}
	if arn := a.Body["KeyId"].(string); !strings.HasPrefix(arn, "arn:aws:kms:us-east-1:444455556666:key/") {
		t.Errorf("it is the key %s", arn)
	}
	text, _ := json.Marshal(s.MustAs(t, testkit.Other, "ListAliases", map[string]any{}))
	if !strings.Contains(string(text), `"AliasName":"alias/aws/store"`) {
		t.Errorf("the account's aliases are %s", text)
	}
}

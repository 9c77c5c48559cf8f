package iamapi_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// aws:ResourceAccount is the account of the identity or role that a call is on, and of
// nothing where it is on none (AWS IAM: "AWS global condition context keys").
func TestResourceAccount(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	in := func(account string) string {
		return allow(`["iam:*","sts:*"]`, "*", `,"Condition":{"StringEquals":{"aws:ResourceAccount":"`+account+`"}}`)
	}
	own, ownID := s.NewUser(t, testkit.Account, "own", in(testkit.Account))
	other, otherID := s.NewUser(t, testkit.Account, "other", in(testkit.OtherAccount))
	nothing, _ := s.NewUser(t, testkit.Account, "nothing", allow(`"sts:*"`, "*", `,"Condition":{"Null":{"aws:ResourceAccount":"true"}}`))
	trust := strings.Replace(trusting(ownID, ""), `"AWS":"`+ownID+`"`, `"AWS":["`+ownID+`","`+otherID+`"]`, 1)
	role(t, s, testkit.OtherAccount, "App", trust, allowKMS)
	const arn = "arn:aws:iam::444455556666:role/App"
	for name, c := range map[string]struct {
		who           testkit.Caller
		user, assumes bool
	}{"own": {own, true, false}, "other": {other, false, true}} {
		if got := ask(t, s, c.who, "GetUser", "UserName", "own"); strings.Contains(got, "AccessDenied") == c.user {
			t.Errorf("%s, GetUser: got %s", name, got)
		}
		if _, refusal := call(t, s, c.who, "AssumeRole", "RoleArn", arn, "RoleSessionName", "ci"); (refusal == "") != c.assumes {
			t.Errorf("%s, AssumeRole: got %q", name, refusal)
		}
	}
	if _, refusal := call(t, s, nothing, "GetAccessKeyInfo", "AccessKeyId", testkit.AccessKey); refusal != "" {
		t.Errorf("GetAccessKeyInfo: got %q", refusal)
	}
}

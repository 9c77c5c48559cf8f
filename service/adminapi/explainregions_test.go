package adminapi_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// A call that reaches into another Region needs permissions there: they are asked for on
// the key there, or on nothing with the Region as context, and say what the call gets.
func TestExplainAcrossRegions(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.Must(t, "CreateKey", obj{"MultiRegion": true})["KeyMetadata"].(obj)["KeyId"].(string)
	s.Must(t, "ReplicateKey", obj{"KeyId": id, "ReplicaRegion": "eu-west-1"})
	here, there := testkit.ARN(id), strings.Replace(testkit.ARN(id), "us-east-1", "eu-west-1", 1)
	const inRegion, replica = `{"StringEquals":{"aws:RequestedRegion":"$R"}}`, `{"StringEquals":{"aws:RequestedRegion":"$R","kms:MultiRegionKeyType":"REPLICA","kms:CallerAccount":"111122223333"}}`
	in := func(condition, region string) string { return strings.Replace(condition, "$R", region, 1) }
	context := func(region string) obj {
		return obj{"aws:RequestedRegion": []string{region}, "kms:MultiRegionKeyType": []string{"REPLICA"}}
	}
	for name, row := range map[string]struct {
		policies         []string
		op, body         string
		action, resource string
		context          obj
	}{
		"neither":        {nil, "UpdatePrimaryRegion", `,"PrimaryRegion":"eu-west-1"`, "kms:UpdatePrimaryRegion", here, nil},
		"only-here":      {[]string{allow("kms:*", "*", in(inRegion, "us-east-1"))}, "UpdatePrimaryRegion", `,"PrimaryRegion":"eu-west-1"`, "kms:UpdatePrimaryRegion", there, nil},
		"only-there":     {[]string{allow("kms:*", "*", in(inRegion, "eu-west-1"))}, "UpdatePrimaryRegion", `,"PrimaryRegion":"eu-west-1"`, "kms:UpdatePrimaryRegion", here, nil},
		"no-replica":     {nil, "ReplicateKey", `,"ReplicaRegion":"eu-west-1"`, "kms:ReplicateKey", here, nil},
		"no-key":         {[]string{allow("kms:ReplicateKey", "*", "")}, "ReplicateKey", `,"ReplicaRegion":"eu-west-1"`, "kms:CreateKey", "*", context("eu-west-1")},
		"no-key-there":   {[]string{allow("kms:ReplicateKey", "*", ""), allow("kms:CreateKey", "*", in(replica, "us-east-1"))}, "ReplicateKey", `,"ReplicaRegion":"eu-west-1"`, "kms:CreateKey", "*", context("eu-west-1")},
		"no-tags-there":  {[]string{allow("kms:ReplicateKey", "*", ""), allow("kms:CreateKey", "*", "")}, "ReplicateKey", `,"ReplicaRegion":"eu-west-1","Tags":[{"TagKey":"a","TagValue":""}]`, "kms:TagResource", "*", context("eu-west-1")},
		"all-for-a-copy": {[]string{allow("kms:ReplicateKey", "*", ""), allow("kms:CreateKey", "*", in(replica, "eu-west-1"))}, "ReplicateKey", `,"ReplicaRegion":"eu-west-1"`, "kms:CreateKey", "*", context("eu-west-1")},
	} {
		who, _ := s.NewUser(t, testkit.Account, name, row.policies...)
		call := s.Call(t, who, row.op, `{"KeyId":"`+id+`"`+row.body+`}`)
		message := ""
		if call.Refusal != nil && call.Refusal.Code == "AccessDeniedException" {
			message = call.Refusal.Message
		}
		a := s.Admin(t, testkit.Root, "Explain", ask("arn:aws:iam::111122223333:user/"+name, row.action, row.resource, row.context))
		explained, _ := a.Body["message"].(string)
		if a.Refusal != nil || explained != message || (message == "") != (name == "all-for-a-copy") {
			t.Errorf("%s: the call got %v, the explanation says %v %s", name, call.Refusal, a.Refusal, a.Raw)
		}
	}
}

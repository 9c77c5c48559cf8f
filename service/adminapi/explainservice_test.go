package adminapi_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// What is explained of a service is what its calls are answered.
func TestExplainService(t *testing.T) {
	t.Parallel()
	const source = "arn:aws:s3::444455556666:bucket"
	s := testkit.Start(t)
	role := s.NewServiceRole(t, "s3", allow("*", "*", ""))
	service := func(effect, action, condition string) string {
		return strings.Replace(let(effect, "s3.amazonaws.com", action, condition), `{"AWS":`, `{"Service":`, 1)
	}
	granted := newKey(t, s)
	s.Must(t, "CreateGrant", obj{"KeyId": granted, "GranteeServicePrincipal": "s3.amazonaws.com", "RetiringServicePrincipal": "s3.amazonaws.com", "Operations": []string{"Encrypt"}, "Constraints": obj{"SourceArn": source}})
	keys := map[string]string{
		"default": newKey(t, s), "granted": granted,
		"named":   newKey(t, s, let("Allow", rootLets, "kms:*", ""), service("Allow", "kms:Encrypt", "")),
		"through": newKey(t, s, let("Allow", rootLets, "kms:*", ""), let("Allow", "*", "kms:Encrypt", `{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com","aws:PrincipalIsAWSService":"true"}}`)),
		"source":  newKey(t, s, let("Allow", rootLets, "kms:*", ""), service("Allow", "kms:Encrypt", `{"StringEquals":{"aws:SourceArn":"`+source+`"}}`)),
		"denied":  newKey(t, s, let("Allow", rootLets, "kms:*", ""), service("Allow", "kms:*", ""), let("Deny", "arn:aws:iam::111122223333:role/s3-service", "kms:Encrypt", "")),
	}
	for name, key := range keys {
		for _, account := range []string{testkit.Account, testkit.OtherAccount} {
			for _, from := range []string{"", source} {
				tags, context := []string{"kmsd:account=" + account}, obj{}
				if account != testkit.Account {
					context["kms:CallerAccount"] = []string{account}
				}
				if from != "" {
					tags, context["aws:SourceArn"] = append(tags, "kmsd:source-arn="+from), []string{from}
				}
				called := s.Call(t, s.Session(t, role, tags...), "Encrypt", obj{"KeyId": testkit.ARN(key), "Plaintext": "AA=="})
				a := s.Admin(t, testkit.Root, "Explain", ask("s3.amazonaws.com", "kms:Encrypt", testkit.ARN(key), context))
				if a.Refusal != nil {
					t.Fatalf("%s: %v", name, a.Refusal)
				}
				message, _ := a.Body["message"].(string)
				if a.Body["allowed"] != (called.Refusal == nil) || called.Refusal != nil && message != called.Refusal.Message {
					t.Errorf("%s for %s from %q: explained as %v, %q; the call was answered %v", name, account, from, a.Body["allowed"], message, called.Refusal)
				}
			}
		}
	}
	a := s.Admin(t, testkit.Root, "Explain", ask("s3.amazonaws.com", "kms:Encrypt", testkit.ARN(granted), obj{"aws:SourceArn": []string{source}}))
	if grant, _ := a.Body["grant"].(obj); grant["granteePrincipal"] != "s3.amazonaws.com" {
		t.Errorf("the grant is %v", a.Body)
	}
	wantRefusal(t, s.Admin(t, testkit.Root, "Explain", ask("ebs.amazonaws.com", "kms:Encrypt", testkit.ARN(granted), nil)), "NotFoundException", "The principal ebs.amazonaws.com does not exist.")
	wantRefusal(t, s.Admin(t, testkit.Root, "Explain", ask("s3.amazonaws.com", "kms:ListKeys", "*", obj{"kms:CallerAccount": []string{testkit.Account}})), "ValidationException",
		"A service has no rights but on keys: the resource must be the ARN of a key or of an alias.")
	wantRefusal(t, s.Admin(t, testkit.Root, "Explain", ask("s3.amazonaws.com", "kms:Encrypt", "arn:aws:kms:us-east-1:999999999999:key/"+granted, nil)), "ValidationException",
		"A service calls for an active account: that of the key, or the one that is given as kms:CallerAccount.")
}

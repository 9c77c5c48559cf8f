package iam_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// accountO is the operator's, whose role the service is.
const (
	accountO    = "333333333333"
	serviceRole = "AROASTORE0STORE0STORE"
	byService   = `{"Service":"store.amazonaws.com"}`
	byRegional  = `{"Service":"store.us-east-1.amazonaws.com"}`
)

// store is the service store in us-east-1, which calls for an account.
func store(t testing.TB, account string, policies ...string) *iam.Subject {
	p := kms.Principal{
		Type: kms.PrincipalAssumedRole, Account: accountO, UniqueID: serviceRole + ":node", ARN: "arn:aws:sts::333333333333:assumed-role/store/node",
		RoleID: serviceRole, RoleARN: "arn:aws:iam::333333333333:role/store",
		Service: &kms.Service{Name: "store", Caller: account, Operator: accountO},
	}.AsService("us-east-1")
	return &iam.Subject{Identity: identity(t, policies...), Principal: &p}
}

// TestService holds what a service may do against what it is named as.
func TestService(t *testing.T) {
	t.Parallel()
	everything := allow("kms:*", "*")
	for _, c := range []struct {
		name   string
		caller *iam.Subject
		policy string
		action string
		want   string
	}{
		{"by its name", store(t, accountA), lets("Allow", byService, "kms:Decrypt", ""), "kms:Decrypt", allowed},
		{"by its name in the Region", store(t, accountA), lets("Allow", byRegional, "kms:Decrypt", ""), "kms:Decrypt", allowed},
		{"by its name in another Region", store(t, accountA), lets("Allow", `{"Service":"store.eu-west-1.amazonaws.com"}`, "kms:Decrypt", ""), "kms:Decrypt", byResource},
		{"by another's name", store(t, accountA), lets("Allow", `{"Service":"stores.amazonaws.com"}`, "kms:Decrypt", ""), "kms:Decrypt", byResource},
		{"as everybody", store(t, accountA, everything), lets("Allow", anybody, "kms:Decrypt", ""), "kms:Decrypt", allowed},
		{"as everybody, without a policy of its own", store(t, accountA), lets("Allow", anybody, "kms:Decrypt", ""), "kms:Decrypt", allowed},
		{"for another account, by its name", store(t, accountB), lets("Allow", byService, "kms:Decrypt", ""), "kms:Decrypt", allowed},
		{"for another account, by its name, what does not cross accounts", store(t, accountB), lets("Allow", byService, "kms:*", ""), "kms:DisableKey", byResource},
		{"for another account, as everybody", store(t, accountB, everything), lets("Allow", anybody, "kms:Decrypt", ""), "kms:Decrypt", byResource},
		{"for another account, as that account", store(t, accountB, everything), lets("Allow", rootB, "kms:Decrypt", ""), "kms:Decrypt", byResource},
		{"as the account for which it calls", store(t, accountA, everything), lets("Allow", rootA, "kms:*", ""), "kms:Decrypt", byResource},
		{"as the account of its role", store(t, accountA, everything), lets("Allow", `{"AWS":"333333333333"}`, "kms:*", ""), "kms:Decrypt", byResource},
		{"as its role", store(t, accountA, everything), lets("Allow", `{"AWS":"`+serviceRole+`"}`, "kms:*", ""), "kms:Decrypt", byResource},
		{"as its session", store(t, accountA, everything), lets("Allow", `{"AWS":"`+serviceRole+`:node"}`, "kms:*", ""), "kms:Decrypt", byResource},

		{"denied by its name", store(t, accountA), lets("Allow", anybody, "kms:*", "") + "," + lets("Deny", byService, "kms:*", ""), "kms:Decrypt", denyKey},
		{"denied as its role", store(t, accountA), lets("Allow", byService, "kms:*", "") + "," + lets("Deny", `{"AWS":"`+serviceRole+`"}`, "kms:*", ""), "kms:Decrypt", denyKey},
		{"denied as the account of its role", store(t, accountA), lets("Allow", byService, "kms:*", "") + "," + lets("Deny", `{"AWS":"333333333333"}`, "kms:*", ""), "kms:Decrypt", denyKey},
		{"denied as the account for which it calls", store(t, accountA), lets("Allow", byService, "kms:*", "") + "," + lets("Deny", rootA, "kms:*", ""), "kms:Decrypt", denyKey},
		{"denied but for others", store(t, accountA), lets("Allow", byService, "kms:*", "") + "," + except(`{"AWS":"111111111111"}`), "kms:Decrypt", denyKey},
		{"denied but for it", store(t, accountA), lets("Allow", byService, "kms:*", "") + "," + except(byService), "kms:Decrypt", allowed},

		{"denied by its role's policy", store(t, accountA, deny("kms:*", "*")), lets("Allow", byService, "kms:*", ""), "kms:Decrypt", denyID},
		{"outside of its boundary", withBoundary(t, store(t, accountA), allow("s3:*", "*")), lets("Allow", byService, "kms:*", ""), "kms:Decrypt", byBoundary},
		{"within its boundary", withBoundary(t, store(t, accountA), allow("kms:Decrypt", "*")), lets("Allow", byService, "kms:*", ""), "kms:Decrypt", allowed},
		{"outside of its session policy", withSession(t, store(t, accountA), allow("s3:*", "*")), lets("Allow", anybody, "kms:*", ""), "kms:Decrypt", bySession},
	} {
		d := iam.AuthorizeKey(c.caller, &iam.Request{Action: c.action, Resource: keyARN, Account: accountA, Context: fixed{}}, parse(t, keyPolicy(c.policy), iam.KeyPolicy), c.action == "kms:Decrypt")
		if d.Allowed != (c.want == allowed) || !d.Allowed && !strings.HasPrefix(d.Why(c.action), c.want) {
			t.Errorf("%s: allowed %v, %q, want %q", c.name, d.Allowed, d.Why(c.action), c.want)
		}
	}
}

// except is a statement that denies everything to all but one.
func except(principal string) string {
	return `{"Effect":"Deny","NotPrincipal":` + principal + `,"Action":"kms:*","Resource":"*"}`
}

// TestServiceIdentity has a service ask for what identity policies decide alone.
func TestServiceIdentity(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"kms:CreateKey", "kms:ListKeys", "kms:GenerateRandom", "iam:CreateUser"} {
		d := iam.AuthorizeIdentity(store(t, accountA, allow("*", "*")), &iam.Request{Action: action, Resource: "*", Account: accountA, Context: fixed{}})
		if d.Allowed || d.Ground != iam.ByIdentity {
			t.Errorf("%s: %+v", action, d)
		}
		for _, c := range []struct {
			policies []string
			want     bool
		}{{nil, false}, {[]string{allow(action, "*")}, true}, {[]string{allow("*", "*"), deny(action, "*")}, false}} {
			d := iam.AuthorizeIdentity(store(t, accountA, c.policies...), &iam.Request{Action: action, Resource: "*", Account: accountA, Context: fixed{}, Own: true})
			if d.Allowed != c.want {
				t.Errorf("%s as its own matter, with %v: %+v", action, c.policies, d)
			}
		}
	}
}

// TestServiceGrant has grants to a service, and to what is not it.
func TestServiceGrant(t *testing.T) {
	t.Parallel()
	ask := func(caller *iam.Subject) iam.Decision {
		return iam.AuthorizeKey(caller, &iam.Request{Action: "kms:Decrypt", Resource: keyARN, Account: accountA, Context: fixed{}, Grants: toCaller{}}, parse(t, keyPolicy(lets("Allow", rootA, "kms:*", "")), iam.KeyPolicy), true)
	}
	if d := ask(store(t, accountB)); !d.Allowed || d.Ground != iam.ByGrant {
		t.Errorf("with a grant: %+v", d)
	}
	if d := ask(withSession(t, store(t, accountB), allow("s3:*", "*"))); d.Allowed || d.Ground != iam.BySession {
		t.Errorf("with a grant, outside of the session policy: %+v", d)
	}
	retire := func(caller *iam.Subject, is iam.Retirer) iam.Decision {
		return iam.AuthorizeRetire(caller, &iam.Request{Action: "kms:RetireGrant", Resource: keyARN, Account: accountA, Context: fixed{}}, parse(t, keyPolicy(lets("Allow", rootA, "kms:*", "")), iam.KeyPolicy), is)
	}
	if d := retire(store(t, accountB), iam.Retirer{Named: true}); !d.Allowed {
		t.Errorf("retiring: %+v", d)
	}
	if d := retire(withSession(t, store(t, accountB), allow("s3:*", "*")), iam.Retirer{Named: true}); d.Allowed || d.Ground != iam.BySession {
		t.Errorf("retiring, outside of the session policy: %+v", d)
	}
	if d := retire(store(t, accountB, allow("kms:*", "*")), iam.Retirer{}); d.Allowed || d.Ground != iam.ByKeyPolicy {
		t.Errorf("retiring another's: %+v", d)
	}
}

// toCaller has a grant to the caller itself.
type toCaller struct{}

func (toCaller) Find(toAccount bool) string {
	if toAccount {
		return ""
	}
	return strings.Repeat("0", 64)
}

// TestManagedKeyPolicy reads the policy of an AWS managed key (behaviour document §5.7).
func TestManagedKeyPolicy(t *testing.T) {
	t.Parallel()
	policy := parse(t, iam.ManagedKeyPolicy(accountA, "us-east-1", "store"), iam.KeyPolicy)
	through := fixed{"kms:calleraccount": {accountA}, "kms:viaservice": {"store.us-east-1.amazonaws.com"}}
	for _, c := range []struct {
		name   string
		caller *iam.Subject
		ctx    fixed
		action string
		want   bool
	}{
		{"encrypt", store(t, accountA), through, "kms:Encrypt", true},
		{"decrypt", store(t, accountA), through, "kms:Decrypt", true},
		{"re-encrypt", store(t, accountA), through, "kms:ReEncryptFrom", true},
		{"data keys", store(t, accountA), through, "kms:GenerateDataKeyWithoutPlaintext", true},
		{"grants", store(t, accountA), through, "kms:CreateGrant", true},
		{"describe", store(t, accountA), through, "kms:DescribeKey", true},
		{"a grant's end", store(t, accountA), through, "kms:RevokeGrant", false},
		{"for another account", store(t, accountB), fixed{"kms:calleraccount": {accountB}, "kms:viaservice": {"store.us-east-1.amazonaws.com"}}, "kms:Decrypt", false},
		{"through another service", store(t, accountA), fixed{"kms:calleraccount": {accountA}, "kms:viaservice": {"s3.us-east-1.amazonaws.com"}}, "kms:Decrypt", false},
		{"a user, directly", user(t, allow("kms:*", "*")), fixed{"kms:calleraccount": {accountA}}, "kms:Decrypt", false},
		{"a user reads", user(t, allow("kms:*", "*")), fixed{}, "kms:DescribeKey", true},
		{"a user reads the policy", user(t, allow("kms:*", "*")), fixed{}, "kms:GetKeyPolicy", true},
		{"a user revokes", user(t, allow("kms:*", "*")), fixed{}, "kms:RevokeGrant", true},
		{"a user without a policy", user(t), fixed{}, "kms:DescribeKey", false},
		{"a user disables", user(t, allow("kms:*", "*")), fixed{}, "kms:DisableKey", false},
	} {
		d := iam.AuthorizeKey(c.caller, &iam.Request{Action: c.action, Resource: keyARN, Account: accountA, Context: c.ctx}, policy, true)
		if d.Allowed != c.want {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

package kmsapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

const rootPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`

// allowing is an identity policy that allows actions, under conditions if there are
// any.
func allowing(actions, resource, condition string) string {
	list, _ := json.Marshal(strings.Fields(actions))
	s := `{"Effect":"Allow","Action":` + string(list) + `,"Resource":"` + resource + `"`
	if condition != "" {
		s += `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":[` + s + `}]}`
}

// setPolicy gives a key and its replicas a policy of further statements beside the
// default one.
func setPolicy(t *testing.T, s *testkit.Solo, key string, statements ...string) {
	t.Helper()
	policy := strings.TrimSuffix(rootPolicy, `]}`) + "," + strings.Join(statements, ",") + `]}`
	for _, region := range regionsOf(s, key) {
		wantOutcome(t, s.Call(t, testkit.Root.In(region), "PutKeyPolicy", obj{"KeyId": key, "Policy": policy}), success)
	}
}

func lets(effect, principal, action, condition string) string {
	s := fmt.Sprintf(`{"Effect":%q,"Principal":{"AWS":%q},"Action":%q,"Resource":"*"`, effect, principal, action)
	if condition != "" {
		s += `,"Condition":` + condition
	}
	return s + "}"
}

func deniedUser(name, action, resource, why string) outcome {
	return accessDenied("User: arn:aws:iam::111122223333:user/" + name + " is not authorized to perform: " + action + " on resource: " + resource + " " + why)
}

// A user without policies may nothing; one with a policy may what it says (appendix
// A.2, 1, 2, 4 and 7).
func TestUsersRights(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	arn := testkit.ARN(key)
	encrypt := obj{"KeyId": key, "Plaintext": "AA=="}
	nobody, _ := s.NewUser(t, testkit.Account, "/eng/nobody")
	wantOutcome(t, s.Call(t, nobody, "Encrypt", encrypt), deniedUser("eng/nobody", "kms:Encrypt", arn, "because no identity-based policy allows the kms:Encrypt action"))
	some, _ := s.NewUser(t, testkit.Account, "some", allowing("kms:Encrypt", arn, ""))
	wantOutcome(t, s.Call(t, some, "Encrypt", encrypt), success)
	wantOutcome(t, s.Call(t, some, "DescribeKey", obj{"KeyId": key}), deniedUser("some", "kms:DescribeKey", arn, "because no identity-based policy allows the kms:DescribeKey action"))
	other := s.NewKey(t)
	wantOutcome(t, s.Call(t, some, "Encrypt", with(encrypt, obj{"KeyId": other})), deniedUser("some", "kms:Encrypt", testkit.ARN(other), "because no identity-based policy allows the kms:Encrypt action"))
	never, _ := s.NewUser(t, testkit.Account, "never", allowing("kms:*", "*", ""), strings.Replace(allowing("kms:Encrypt", "*", ""), "Allow", "Deny", 1))
	wantOutcome(t, s.Call(t, never, "Encrypt", encrypt), deniedUser("never", "kms:Encrypt", arn, "with an explicit deny in an identity-based policy"))
	wantOutcome(t, s.Call(t, never, "DescribeKey", obj{"KeyId": key}), success)
	setPolicy(t, s, key, lets("Allow", "arn:aws:iam::111122223333:user/eng/nobody", "kms:Encrypt", ""), lets("Deny", "arn:aws:iam::111122223333:user/some", "kms:*", ""))
	wantOutcome(t, s.Call(t, nobody, "Encrypt", encrypt), success)
	wantOutcome(t, s.Call(t, some, "Encrypt", encrypt), deniedUser("some", "kms:Encrypt", arn, "with an explicit deny in a resource-based policy"))
}

// Operations on no key, with tags and with aliases (appendix A.2, 29 and 32).
func TestIdentityOnlyRights(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	nobody, _ := s.NewUser(t, testkit.Account, "nobody")
	for op, body := range map[string]string{"CreateKey": `{}`, "ListKeys": `{}`, "ListAliases": `{}`, "GenerateRandom": `{"NumberOfBytes":1}`} {
		wantOutcome(t, s.Call(t, nobody, op, body), deniedUser("nobody", "kms:"+op, "*", "because no identity-based policy allows the kms:"+op+" action"))
	}
	maker, _ := s.NewUser(t, testkit.Account, "maker", allowing("kms:CreateKey", "*", ""))
	wantOutcome(t, s.Call(t, maker, "CreateKey", `{}`), success)
	wantOutcome(t, s.Call(t, maker, "CreateKey", `{"Tags":[{"TagKey":"a","TagValue":"b"}]}`),
		accessDenied("User: arn:aws:iam::111122223333:user/maker is not authorized to perform: kms:TagResource because no identity-based policy allows the kms:TagResource action"))
	tagger, _ := s.NewUser(t, testkit.Account, "tagger", allowing("kms:CreateKey kms:TagResource", "*", `{"StringEquals":{"aws:RequestTag/Team":"red"},"ForAllValues:StringEquals":{"aws:TagKeys":["team","env"]}}`))
	wantOutcome(t, s.Call(t, tagger, "CreateKey", `{"Tags":[{"TagKey":"team","TagValue":"red"}]}`), success)
	for _, tags := range []string{`[{"TagKey":"team","TagValue":"blue"}]`, `[{"TagKey":"team","TagValue":"red"},{"TagKey":"other","TagValue":""}]`} {
		wantOutcome(t, s.Call(t, tagger, "CreateKey", `{"Tags":`+tags+`}`), deniedUser("tagger", "kms:CreateKey", "*", "because no identity-based policy allows the kms:CreateKey action"))
	}
	aliaser, _ := s.NewUser(t, testkit.Account, "aliaser", allowing("kms:CreateAlias", "arn:aws:kms:*:111122223333:alias/app-*", ""))
	const made = "arn:aws:kms:us-east-1:111122223333:alias/"
	wantOutcome(t, s.Call(t, aliaser, "CreateAlias", obj{"AliasName": "alias/other", "TargetKeyId": key}), deniedUser("aliaser", "kms:CreateAlias", made+"other", "because no identity-based policy allows the kms:CreateAlias action"))
	wantOutcome(t, s.Call(t, aliaser, "CreateAlias", obj{"AliasName": "alias/app-1", "TargetKeyId": key}), deniedUser("aliaser", "kms:CreateAlias", testkit.ARN(key), "because no identity-based policy allows the kms:CreateAlias action"))
	both, _ := s.NewUser(t, testkit.Account, "both", allowing("kms:*Alias", "*", ""))
	wantOutcome(t, s.Call(t, both, "CreateAlias", obj{"AliasName": "alias/app-1", "TargetKeyId": key}), success)
	wantOutcome(t, s.Call(t, both, "DeleteAlias", obj{"AliasName": "alias/app-1"}), success)
}

// Groups, boundaries and managed policies count.
func TestGroupsAndBoundaries(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	who, id := s.NewUser(t, testkit.Account, "alice")
	describe := obj{"KeyId": key}
	denied := func(why string) outcome { return deniedUser("alice", "kms:DescribeKey", testkit.ARN(key), why) }
	group := s.NewIdentity(t, fsm.KindGroup, testkit.Account, "readers", allowing("kms:DescribeKey", "*", ""))
	s.Change(t, id, func(i *fsm.Identity) { i.Groups = []string{group.ID} })
	wantOutcome(t, s.Call(t, who, "DescribeKey", describe), success)
	s.Change(t, id, func(i *fsm.Identity) { i.Boundary = "arn:aws:iam::aws:policy/IAMFullAccess" })
	wantOutcome(t, s.Call(t, who, "DescribeKey", describe), denied("because no permissions boundary allows the kms:DescribeKey action"))
	s.Change(t, id, func(i *fsm.Identity) { i.Boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess" })
	wantOutcome(t, s.Call(t, who, "DescribeKey", describe), success)
	s.Change(t, id, func(i *fsm.Identity) { i.Boundary, i.Groups = "", nil })
	wantOutcome(t, s.Call(t, who, "DescribeKey", describe), denied("because no identity-based policy allows the kms:DescribeKey action"))
	s.Change(t, id, func(i *fsm.Identity) {
		i.Attached = []string{"arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser"}
	})
	wantOutcome(t, s.Call(t, who, "DescribeKey", describe), success)
	wantOutcome(t, s.Call(t, who, "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}), deniedUser("alice", "kms:Encrypt", testkit.ARN(key), "because no identity-based policy allows the kms:Encrypt action"))
}

// A user of the same name made anew has nothing of what the old one had, and the
// policy shows the old one's id.
func TestPrincipalsAreBoundToIDs(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	bob, id := s.NewUser(t, testkit.Account, "/x/bob")
	const arn = "arn:aws:iam::111122223333:user/x/bob"
	setPolicy(t, s, key, lets("Allow", arn, "kms:DescribeKey", ""))
	wantOutcome(t, s.Call(t, bob, "DescribeKey", obj{"KeyId": key}), success)
	policy := func() string { return s.Must(t, "GetKeyPolicy", obj{"KeyId": key})["Policy"].(string) }
	if got := policy(); !strings.Contains(got, arn) || strings.Contains(got, id) {
		t.Errorf("the policy shows %s", got)
	}
	s.Apply(t, fsm.DeleteAccessKey{Account: testkit.Account, ID: bob.AccessKey})
	s.Apply(t, fsm.DeleteIdentity{ID: id})
	if got := policy(); strings.Contains(got, arn) || !strings.Contains(got, id) {
		t.Errorf("the policy of a deleted user shows %s", got)
	}
	again, _ := s.NewUser(t, testkit.Account, "/x/bob")
	wantOutcome(t, s.Call(t, again, "DescribeKey", obj{"KeyId": key}), deniedUser("x/bob", "kms:DescribeKey", testkit.ARN(key), "because no identity-based policy allows the kms:DescribeKey action"))
	// What the policy shows of a deleted user cannot be put back.
	wantOutcome(t, s.Call(t, testkit.Root, "PutKeyPolicy", obj{"KeyId": key, "Policy": policy()}), outcome{"MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals."})
}

// Roles and their sessions are bound like users, in NotPrincipal, too.
func TestRolesAreBoundToIDs(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	const role, session = "arn:aws:iam::111122223333:role/svc/App", "arn:aws:sts::111122223333:assumed-role/App/ci"
	app := s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/App")
	setPolicy(t, s, key, lets("Allow", role, "kms:DescribeKey", ""), lets("Allow", session, "kms:Encrypt", ""),
		strings.Replace(lets("Deny", role, "kms:Sign", ""), "Principal", "NotPrincipal", 1))
	token := service.Token{Type: kms.PrincipalAssumedRole, Subject: app.ID, Name: "ci"}
	wantOutcome(t, s.Call(t, sessionOf(t, s, token), "DescribeKey", obj{"KeyId": key}), success)
	wantOutcome(t, s.Call(t, sessionOf(t, s, token), "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}), success)
	shown := func() string { return s.Must(t, "GetKeyPolicy", obj{"KeyId": key})["Policy"].(string) }
	if got := shown(); strings.Count(got, role) != 2 || strings.Count(got, session) != 1 || strings.Contains(got, "AROA") {
		t.Errorf("the policy shows %s", got)
	}
	s.Apply(t, fsm.DeleteIdentity{ID: app.ID})
	if got := shown(); strings.Contains(got, "App") || strings.Count(got, `"`+app.ID+`"`) != 2 || strings.Count(got, `"`+app.ID+`:ci"`) != 1 {
		t.Errorf("the policy of a deleted role shows %s", got)
	}
	token.Subject = s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/App").ID
	for op, body := range map[string]obj{"DescribeKey": {"KeyId": key}, "Encrypt": {"KeyId": key, "Plaintext": "AA=="}} {
		wantOutcome(t, s.Call(t, sessionOf(t, s, token), op, body), accessDenied("User: "+session+" is not authorized to perform: kms:"+op+" on resource: "+testkit.ARN(key)+
			" because no identity-based policy allows the kms:"+op+" action"))
	}
}

// The sizes of key policies (AWS: PutKeyPolicy, "Resource quotas"): the model counts
// characters, the quota bytes.
func TestKeyPolicySizes(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	padded := func(fill string, bytes int) string {
		n := bytes - len(rootPolicy) - len(`"Id":"",`)
		return `{"Id":"` + strings.Repeat(fill, n/len(fill)) + strings.Repeat("x", n%len(fill)) + `",` + rootPolicy[1:]
	}
	tooLarge := outcome{"LimitExceededException", "The key policy exceeds the size limit of 32768 bytes."}
	for _, c := range []struct {
		policy string
		want   outcome
	}{
		{padded("x", 32768), success}, {padded("x", 32769), tooLarge}, {padded("ÿ", 32768), success}, {padded("ÿ", 32769), tooLarge}, {padded("x", 131072), tooLarge},
		{"", outcome{"ValidationException", `2 validation errors detected: Value '' at 'policy' failed to satisfy constraint: Member must have length greater than or equal to 1; ` +
			`Value '' at 'policy' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`}},
		{padded("x", 131073), constraint("Value '" + padded("x", 131073) + "' at 'policy' failed to satisfy constraint: Member must have length less than or equal to 131072")},
	} {
		wantOutcome(t, s.Call(t, testkit.Root, "PutKeyPolicy", obj{"KeyId": key, "Policy": c.policy}), c.want)
	}
	if a := s.Call(t, testkit.Root, "PutKeyPolicy", obj{"KeyId": key, "Policy": padded(`\u0100`, 300)}); a.Refusal != nil {
		t.Errorf("an escape is no character outside the model: got %v", a.Refusal)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "PutKeyPolicy", obj{"KeyId": key, "Policy": "\u0100"}),
		constraint(`Value '`+"\u0100"+`' at 'policy' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`))
}

// What PutKeyPolicy refuses, and CreateKey alike (appendix A.2, 33 and 34; AWS: PutKeyPolicy).
func TestPutKeyPolicy(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	invalid := outcome{"MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals."}
	locked := outcome{"MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future."}
	put := func(who testkit.Caller, policy string, bypass any) testkit.Answer {
		return s.Call(t, who, "PutKeyPolicy", obj{"KeyId": key, "Policy": policy, "BypassPolicyLockoutSafetyCheck": bypass})
	}
	s.NewUser(t, testkit.Account, "/eng/alice")
	admin, _ := s.NewUser(t, testkit.Account, "admin", allowing("kms:*", "*", ""))
	s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/App")
	for principal, want := range map[string]outcome{
		"arn:aws:iam::111122223333:user/eng/alice": success, "arn:aws:iam::111122223333:role/svc/App": success, "arn:aws:sts::111122223333:assumed-role/App/s": success,
		"arn:aws:iam::999999999999:user/whoever": success, "999999999999": success, "*": success,
		"arn:aws:iam::111122223333:user/alice": invalid, "arn:aws:iam::111122223333:user/eng/ALICE": invalid, "arn:aws:iam::111122223333:role/App": invalid, "arn:aws:sts::111122223333:assumed-role/None/s": invalid,
		"arn:aws:sts::111122223333:assumed-role/APP/s": invalid, "arn:aws:sts::111122223333:assumed-role/App/s s": invalid, "arn:aws:iam::111122223333:user/*": invalid,
		"arn:aws:iam::111122223333:group/eng":   {"InvalidArnException", "An ARN in the specified key policy is invalid."},
		"arn:aws:iam::444455556666:user/nobody": invalid, "AIDAEXAMPLEEXAMPLEEXA": invalid,
	} {
		policy := strings.TrimSuffix(rootPolicy, `]}`) + "," + lets("Deny", principal, "kms:Sign", "") + `]}`
		for _, a := range []testkit.Answer{put(testkit.Root, policy, nil), s.Call(t, testkit.Root, "CreateKey", obj{"Policy": policy})} {
			if a.Refusal == nil && want != success || a.Refusal != nil && (outcome{a.Refusal.Code, a.Refusal.Message}) != want {
				t.Errorf("%s: got %v, want %v", principal, a.Refusal, want)
			}
		}
	}
	onlyAlice := `{"Version":"2012-10-17","Statement":[` + lets("Allow", "arn:aws:iam::111122223333:user/eng/alice", "kms:*", "") + `]}`
	wantOutcome(t, put(admin, onlyAlice, nil), locked)
	wantOutcome(t, put(admin, onlyAlice, false), locked)
	wantOutcome(t, put(admin, rootPolicy, nil), success) // admin still reaches it by its identity policy
	wantOutcome(t, put(admin, onlyAlice, true), success)
	wantOutcome(t, put(testkit.Root, rootPolicy, nil), accessDenied("User: arn:aws:iam::111122223333:root is not authorized to perform: kms:PutKeyPolicy on resource: "+testkit.ARN(key)+
		" because no resource-based policy allows the kms:PutKeyPolicy action"))
}

// Tags of the caller and of the key decide together (AWS KMS: "ABAC for AWS KMS").
func TestTagsOfCallerAndKey(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, id := s.NewUser(t, testkit.Account, "alice", allowing("kms:*", "*", `{"StringEquals":{"aws:ResourceTag/Team":"${aws:PrincipalTag/team}"}}`))
	s.Change(t, id, func(i *fsm.Identity) { i.Tags = []fsm.Tag{{Key: "TEAM", Value: "red"}} })
	for tags, want := range map[string]bool{`[{"TagKey":"team","TagValue":"red"}]`: true, `[{"TagKey":"team","TagValue":"blue"}]`: false, `[]`: false} {
		key := s.Must(t, "CreateKey", `{"Tags":`+tags+`}`)["KeyMetadata"].(obj)["KeyId"].(string)
		if a := s.Call(t, alice, "DescribeKey", obj{"KeyId": key}); a.Err != nil || (a.Refusal == nil) != want {
			t.Errorf("%s: got %v %v, want allowed %t", tags, a.Refusal, a.Err, want)
		}
	}
}

// The use of keys across accounts (appendix A.2, 14, 16, 17, 18).
func TestCrossAccount(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	arn, blob := testkit.ARN(key), s.NewBlob(t, key)
	allowed, _ := s.NewUser(t, testkit.OtherAccount, "xaver", allowing("kms:*", "*", ""))
	none, _ := s.NewUser(t, testkit.OtherAccount, "none")
	three := func(user, action, resource string) outcome {
		return accessDenied("User: arn:aws:iam::444455556666:user/" + user + " is not authorized to perform: " + action + " on " + resource + threeReasons)
	}
	wantOutcome(t, s.Call(t, allowed, "Encrypt", obj{"KeyId": arn, "Plaintext": "AA=="}), three("xaver", "kms:Encrypt", "resource: "+arn))
	setPolicy(t, s, key, lets("Allow", "444455556666", "kms:*", ""))
	wantOutcome(t, s.Call(t, allowed, "Encrypt", obj{"KeyId": arn, "Plaintext": "AA=="}), success)
	wantOutcome(t, s.Call(t, allowed, "Decrypt", obj{"KeyId": key, "CiphertextBlob": blob}), success)
	wantOutcome(t, s.Call(t, allowed, "Decrypt", obj{"CiphertextBlob": blob}), success)
	wantOutcome(t, s.Call(t, allowed, "GetKeyRotationStatus", obj{"KeyId": arn}), success)
	wantOutcome(t, s.Call(t, testkit.Other, "Encrypt", obj{"KeyId": arn, "Plaintext": "AA=="}), success)
	wantOutcome(t, s.Call(t, none, "Encrypt", obj{"KeyId": arn, "Plaintext": "AA=="}),
		accessDenied("User: arn:aws:iam::444455556666:user/none is not authorized to perform: kms:Encrypt on resource: "+arn+" because no identity-based policy allows the kms:Encrypt action"))
	for _, op := range []string{"DisableKey", "GetKeyPolicy", "ListResourceTags", "CancelKeyDeletion"} {
		wantOutcome(t, s.Call(t, allowed, op, obj{"KeyId": arn}), three("xaver", "kms:"+op, "resource: "+arn))
	}
}

// Nobody of another account may anything on the cluster, and in the operator's only
// whom a policy lets.
func TestOperatorRights(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	admin, _ := s.NewUser(t, testkit.Account, "admin", allowing("kmsd:*", "*", ""))
	nobody, _ := s.NewUser(t, testkit.Account, "nobody", allowing("kms:*", "*", ""))
	foreigner, _ := s.NewUser(t, testkit.OtherAccount, "admin", allowing("*", "*", ""))
	if a := s.Admin(t, admin, "GetStatus", `{}`); a.Refusal != nil || a.Err != nil {
		t.Errorf("admin: got %v %v", a.Refusal, a.Err)
	}
	for _, who := range []testkit.Caller{nobody, foreigner, testkit.Other} {
		if a := s.Admin(t, who, "GetStatus", `{}`); a.Refusal == nil || a.Refusal.Code != "AccessDeniedException" {
			t.Errorf("%v: got %v, want a denial", who, a.Refusal)
		}
	}
}

// A closed account and a deleted user are let in no more.
func TestCallersThatAreGone(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who, _ := s.NewUser(t, testkit.OtherAccount, "xaver", allowing("kms:*", "*", ""))
	wantOutcome(t, s.Call(t, who, "ListKeys", `{}`), success)
	s.Apply(t, fsm.SetAccessKeyStatus{Account: testkit.OtherAccount, ID: who.AccessKey, Status: fsm.StatusInactive})
	if s.Known(t, who) {
		t.Error("an inactive access key is let in")
	}
	s.Apply(t, fsm.SetAccessKeyStatus{Account: testkit.OtherAccount, ID: who.AccessKey, Status: fsm.StatusActive})
	s.Apply(t, fsm.CloseAccount{ID: testkit.OtherAccount})
	if s.Known(t, who) || s.Known(t, testkit.Other) {
		t.Error("a closed account is let in")
	}
}

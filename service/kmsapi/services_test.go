package kmsapi_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

const (
	forUs   = "kmsd:account=111122223333"
	forThem = "kmsd:account=444455556666"

	throughS3   = `{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}`
	bucket      = "arn:aws:s3::444455556666:their-bucket"
	otherBucket = "arn:aws:s3::444455556666:another"
	objects     = "arn:aws:dynamodb:us-east-1:444455556666:table/t"
)

// openKey makes a key of OtherAccount with statements beside the default one.
func openKey(t testing.TB, s *testkit.Solo, statements ...string) string {
	t.Helper()
	policy := policyOf(append([]string{lets("Allow", rootX, "kms:*", "")}, statements...)...)
	return s.MustAs(t, testkit.Other, "CreateKey", obj{"Policy": policy})["KeyMetadata"].(obj)["KeyId"].(string)
}

// letsService is lets for a service principal.
func letsService(effect, principal, action, condition string) string {
	return strings.Replace(lets(effect, principal, action, condition), `{"AWS":`, `{"Service":`, 1)
}

// deniedService is the refusal of a call of the service s3 on a key.
func deniedService(action, resource, why string) outcome {
	return accessDenied("User: s3.amazonaws.com is not authorized to perform: " + action + " on resource: " + resource + " " + why)
}

// Who is a service, and who only says so. The key lets in whoever calls through s3 for
// its account; nobody else has rights on it. A session that names an account for which
// it cannot call is nobody's.
func TestWhoIsAService(t *testing.T) {
	t.Parallel()
	const nobody, session, asService, forAnother, another = "nobody", "a session", "the service", "the service, and refused", "another service"
	for name, c := range map[string]struct {
		account, key, value string // of the role: its account and its tag
		session             []string
		want                string
	}{
		"service":                      {testkit.Account, "kmsd:service", "s3", []string{forThem}, asService},
		"with a source":                {testkit.Account, "kmsd:service", "s3", []string{forThem, "kmsd:source-arn=" + bucket, "kmsd:source-account=444455556666"}, asService},
		"that calls itself another":    {testkit.Account, "kmsd:service", "s3", []string{forThem, "kmsd:service=ebs"}, asService},
		"without an account":           {testkit.Account, "kmsd:service", "s3", nil, session},
		"account in capitals":          {testkit.Account, "kmsd:service", "s3", []string{"KMSD:Account=444455556666"}, session},
		"role of another account":      {testkit.OtherAccount, "kmsd:service", "s3", []string{forThem}, session},
		"role without the tag":         {testkit.Account, "team", "s3", []string{forThem}, session},
		"session tagged as a service":  {testkit.Account, "team", "s3", []string{forThem, "kmsd:service=s3"}, session},
		"role's tag in capitals":       {testkit.Account, "KMSD:Service", "s3", []string{forThem}, session},
		"no name of a service":         {testkit.Account, "kmsd:service", "S3", []string{forThem}, session},
		"a domain":                     {testkit.Account, "kmsd:service", "s3.us-east-1", []string{forThem}, session},
		"another service":              {testkit.Account, "kmsd:service", "ebs", []string{forThem}, another},
		"for another account":          {testkit.Account, "kmsd:service", "s3", []string{forUs}, forAnother},
		"for no account":               {testkit.Account, "kmsd:service", "s3", []string{"kmsd:account=999999999999"}, nobody},
		"for a part of an account":     {testkit.Account, "kmsd:service", "s3", []string{"kmsd:account=44445555666"}, nobody},
		"for an empty account":         {testkit.Account, "kmsd:service", "s3", []string{"kmsd:account="}, nobody},
		"from no resource":             {testkit.Account, "kmsd:service", "s3", []string{forThem, "kmsd:source-arn=bucket"}, nobody},
		"from no account":              {testkit.Account, "kmsd:service", "s3", []string{forThem, "kmsd:source-account=bucket"}, nobody},
		"from a resource, for nobody":  {testkit.Account, "kmsd:service", "s3", []string{"kmsd:source-arn=" + bucket}, nobody},
		"from an account, for nobody":  {testkit.Account, "kmsd:service", "s3", []string{"kmsd:source-account=444455556666"}, nobody},
		"from nowhere, for an account": {testkit.Account, "kmsd:service", "s3", []string{forThem, "kmsd:source-arn="}, nobody},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			key := openKey(t, s, lets("Allow", "*", "kms:Encrypt", `{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com","kms:CallerAccount":"444455556666"}}`))
			role := s.NewIdentity(t, fsm.KindRole, c.account, "Role", allKMS)
			s.Change(t, role.ID, func(i *fsm.Identity) { i.Tags = []fsm.Tag{{Key: c.key, Value: c.value}} })
			who := s.Session(t, role, c.session...)
			got := nobody
			if s.Known(t, who) {
				a := s.Call(t, who, "Encrypt", obj{"KeyId": testkit.OtherARN(key), "Plaintext": "AA=="})
				switch by := invokedBy(s.RecordsOf(t, a.RequestID)); {
				case by == "":
					got = session
				case by != "s3.amazonaws.com":
					got = another
				case a.Refusal != nil:
					got = forAnother
				default:
					got = asService
				}
			}
			if got != c.want {
				t.Errorf("it is %s, want %s", got, c.want)
			}
		})
	}
}

// invokedBy is the service that records name; empty for none.
func invokedBy(records []testkit.JSON) string {
	for _, record := range records {
		if by, ok := record["userIdentity"].(obj)["invokedBy"].(string); ok {
			return by
		}
	}
	return ""
}

// A user is no service, whatever its tags and those of its sessions say.
func TestUserIsNoService(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := openKey(t, s, lets("Allow", "*", "kms:Encrypt", throughS3))
	alice, id := s.NewUser(t, testkit.Account, "alice", allKMS)
	s.Change(t, id, func(i *fsm.Identity) {
		i.Tags = []fsm.Tag{{Key: "kmsd:service", Value: "s3"}, {Key: "kmsd:account", Value: testkit.OtherAccount}}
	})
	session := sessionOf(t, s, service.Token{Type: kms.PrincipalUser, Subject: id, By: alice.AccessKey,
		Tags: []kms.SessionTag{{Key: "kmsd:service", Value: "s3"}, {Key: "kmsd:account", Value: testkit.OtherAccount}}})
	for _, who := range []testkit.Caller{alice, session} {
		wantOutcome(t, s.Call(t, who, "Encrypt", obj{"KeyId": testkit.OtherARN(key), "Plaintext": "AA=="}),
			deniedUser("alice", "kms:Encrypt", testkit.OtherARN(key), strings.TrimPrefix(threeReasons, " ")))
	}
}

// A service ends at once with its tag, its role, and the account for which it calls.
func TestServiceEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end   func(t *testing.T, s *testkit.Solo, role *fsm.Identity)
		known bool
	}{
		"untagged": {func(t *testing.T, s *testkit.Solo, role *fsm.Identity) {
			s.Change(t, role.ID, func(i *fsm.Identity) { i.Tags = nil })
		}, true},
		"deleted": {func(t *testing.T, s *testkit.Solo, role *fsm.Identity) { s.Apply(t, fsm.DeleteIdentity{ID: role.ID}) }, false},
		"account closed": {func(t *testing.T, s *testkit.Solo, _ *fsm.Identity) {
			s.Apply(t, fsm.CloseAccount{ID: testkit.OtherAccount})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			key := openKey(t, s, lets("Allow", "*", "kms:Encrypt", throughS3))
			role := s.NewServiceRole(t, "s3")
			who := s.Session(t, role, forThem)
			body := obj{"KeyId": testkit.OtherARN(key), "Plaintext": "AA=="}
			wantOutcome(t, s.Call(t, who, "Encrypt", body), success)
			c.end(t, s, role)
			if s.Known(t, who) != c.known {
				t.Fatalf("the session lives on: %t, want %t", !c.known, c.known)
			}
			if c.known {
				wantOutcome(t, s.Call(t, who, "Encrypt", body), accessDenied(
					"User: arn:aws:sts::111122223333:assumed-role/s3-service/node-1 is not authorized to perform: kms:Encrypt on resource: "+testkit.OtherARN(key)+threeReasons))
			}
		})
	}
}

// What the service may: what its role's policies allow counts for nothing, neither in
// the account for which it calls nor in its own.
func TestServiceRights(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	role := s.NewServiceRole(t, "s3", allKMS)
	us, them := s.Session(t, role, forUs), s.Session(t, role, forThem)
	closed, ours := openKey(t, s), s.NewKey(t)
	named := openKey(t, s, letsService("Allow", "s3.amazonaws.com", "kms:*", ""))
	everybody := openKey(t, s, lets("Allow", "*", "kms:*", ""))
	fromBucket := openKey(t, s, letsService("Allow", "s3.amazonaws.com", "kms:Encrypt", condition("ArnLike", "aws:SourceArn", bucket)))
	byBucket := s.Session(t, role, forUs, "kmsd:source-arn="+bucket)
	byAnother := s.Session(t, role, forUs, "kmsd:source-arn="+otherBucket)
	const unlet = "because no resource-based policy allows the kms:Encrypt action"
	for name, c := range map[string]struct {
		who  testkit.Caller
		key  string
		want outcome
	}{
		"default policy":                    {them, closed, deniedService("kms:Encrypt", testkit.OtherARN(closed), unlet)},
		"default policy, its own account":   {us, testkit.ARN(ours), deniedService("kms:Encrypt", testkit.ARN(ours), unlet)},
		"named":                             {them, named, success},
		"named, for another account":        {us, testkit.OtherARN(named), success},
		"everybody":                         {them, everybody, success},
		"everybody, for another account":    {us, testkit.OtherARN(everybody), deniedService("kms:Encrypt", testkit.OtherARN(everybody), strings.TrimPrefix(threeReasons, " "))},
		"from the bucket":                   {byBucket, testkit.OtherARN(fromBucket), success},
		"from another bucket":               {byAnother, testkit.OtherARN(fromBucket), deniedService("kms:Encrypt", testkit.OtherARN(fromBucket), strings.TrimPrefix(threeReasons, " "))},
		"from nowhere":                      {us, testkit.OtherARN(fromBucket), deniedService("kms:Encrypt", testkit.OtherARN(fromBucket), strings.TrimPrefix(threeReasons, " "))},
		"a key of its role's account by id": {them, ours, notFound("Key '" + testkit.OtherARN(ours) + "' does not exist")},
	} {
		t.Run(name, func(t *testing.T) {
			wantOutcome(t, s.Call(t, c.who, "Encrypt", obj{"KeyId": c.key, "Plaintext": "AA=="}), c.want)
		})
	}
	for op, body := range map[string]obj{
		"CreateKey": {}, "ListKeys": {}, "ListAliases": {}, "ListRetirableGrants": {"RetiringPrincipal": testkit.OtherAccount},
	} {
		wantOutcome(t, s.Call(t, them, op, body), deniedService("kms:"+op, "*", "because no identity-based policy allows the kms:"+op+" action"))
	}
	wantOutcome(t, s.Call(t, them, "CreateAlias", obj{"AliasName": "alias/x", "TargetKeyId": everybody}),
		deniedService("kms:CreateAlias", "arn:aws:kms:us-east-1:444455556666:alias/x", "because no identity-based policy allows the kms:CreateAlias action"))
	// A cross-account operation this is not, whatever the key's policy says.
	wantOutcome(t, s.Call(t, us, "DisableKey", obj{"KeyId": testkit.OtherARN(named)}), deniedService("kms:DisableKey", testkit.OtherARN(named), strings.TrimPrefix(threeReasons, " ")))
}

// The rows of appendix A.2 that speak of services, as services: those of direct calls
// are in decisions.
func TestDecisionsThroughServices(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	role := s.NewServiceRole(t, "s3")
	who := s.Session(t, role, forThem)
	nine := openKey(t, s, lets("Allow", "*", "kms:*crypt", throughS3))
	sealed := s.MustAs(t, who, "Encrypt", obj{"KeyId": nine, "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	if opened := s.MustAs(t, who, "Decrypt", obj{"CiphertextBlob": sealed}); opened["Plaintext"] != "aGVsbG8=" {
		t.Errorf("opened %v", opened)
	}
	wantOutcome(t, s.Call(t, who.In("eu-west-1"), "Decrypt", obj{"CiphertextBlob": sealed}), accessDenied(
		"User: s3.amazonaws.com is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext"+threeReasons))

	forResources := openKey(t, s, lets("Allow", "*", "kms:*Grant*", condition("Bool", "kms:GrantIsForAWSResource", "true")))
	grant := obj{"KeyId": forResources, "GranteePrincipal": testkit.OtherAccount, "Operations": []string{"Decrypt"}}
	id := s.MustAs(t, who, "CreateGrant", grant)["GrantId"]
	wantOutcome(t, s.Call(t, who, "ListGrants", obj{"KeyId": forResources}), success)
	wantOutcome(t, s.Call(t, who, "RevokeGrant", obj{"KeyId": forResources, "GrantId": id}), success)
	xaver, _ := s.NewUser(t, testkit.OtherAccount, "X")
	a := s.Call(t, xaver, "CreateGrant", grant)
	wantOutcome(t, a, accessDenied("User: "+userX+" is not authorized to perform: kms:CreateGrant on resource: "+testkit.OtherARN(forResources)+" because no identity-based policy allows the kms:CreateGrant action"))
}

// serviceKeys are the condition keys of a call of the service s3 for OtherAccount, from
// a bucket of it; "" where a key is absent.
var serviceKeys = map[string]string{
	"kms:ViaService": "s3.us-east-1.amazonaws.com", "kms:CallerAccount": "444455556666", "aws:SourceArn": bucket, "aws:SourceAccount": "444455556666",
	"aws:PrincipalIsAWSService": "true", "aws:PrincipalServiceName": "s3.amazonaws.com", "aws:ViaAWSService": "false",
	"aws:SecureTransport": "true", "aws:RequestedRegion": "us-east-1", "aws:ResourceAccount": "444455556666", "aws:UserAgent": "s3.amazonaws.com",
	"aws:CurrentTime": "2026-11-24T12:00:00Z", "aws:EpochTime": "1795521600",

	"aws:PrincipalArn": "", "aws:PrincipalAccount": "", "aws:PrincipalType": "", "aws:userid": "", "aws:username": "", "aws:TokenIssueTime": "",
	"aws:PrincipalTag/team": "", "aws:PrincipalTag/kmsd:account": "", "aws:PrincipalTag/kmsd:service": "", "aws:MultiFactorAuthPresent": "",
	"aws:SourceIp": "", "aws:Referer": "", "aws:SourceIdentity": "", "aws:CalledVia": "", "aws:PrincipalOrgID": "",
}

func TestServiceConditionKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	role := s.NewServiceRole(t, "s3")
	s.Change(t, role.ID, func(i *fsm.Identity) { i.Tags = append(i.Tags, fsm.Tag{Key: "team", Value: "red"}) })
	who := s.Session(t, role, forThem, "kmsd:source-arn="+bucket, "kmsd:source-account=444455556666", "team=red")
	for key, value := range serviceKeys {
		right, wrong := condition("StringEquals", key, value), condition("StringEquals", key, "another")
		if value == "" {
			right, wrong = condition("Null", key, "true"), condition("Null", key, "false")
		}
		for cond, want := range map[string]bool{right: true, wrong: false} {
			id := openKey(t, s, lets("Allow", "*", "kms:DescribeKey", cond))
			if a := s.Call(t, who, "DescribeKey", obj{"KeyId": id}); a.Err != nil || (a.Refusal == nil) != want {
				t.Errorf("%s: got %v %v, want allowed %t", cond, a.Refusal, a.Err, want)
			}
		}
	}
	// Where nothing was said of a source there is none, and a direct call goes through no
	// service.
	id := openKey(t, s, lets("Allow", "*", "kms:DescribeKey", `{"Null":{"aws:SourceArn":"true","aws:SourceAccount":"true"}}`))
	wantOutcome(t, s.Call(t, s.Session(t, role, forThem), "DescribeKey", obj{"KeyId": id}), success)
	direct := s.MustAs(t, testkit.Other, "CreateKey", obj{"Policy": policyOf(lets("Allow", "*", "kms:DescribeKey", `{"Null":{"kms:ViaService":"true","aws:SourceArn":"true"}}`)), "BypassPolicyLockoutSafetyCheck": true})
	wantOutcome(t, s.Call(t, testkit.Other, "DescribeKey", obj{"KeyId": direct["KeyMetadata"].(obj)["KeyId"]}), success)
}

// What a service's boundary, session policy and explicit denials leave out it may not.
func TestServiceBounds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy, boundary, session string
		want                      string
	}{
		"denied":  {policy: denyKMS, want: "with an explicit deny in an identity-based policy"},
		"bounded": {boundary: noKMS, want: "because no permissions boundary allows the kms:Encrypt action"},
		"session": {session: noKMS, want: "because no session policy allows the kms:Encrypt action"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			key := openKey(t, s, letsService("Allow", "s3.amazonaws.com", "kms:*", ""))
			var policies []string
			if c.policy != "" {
				policies = []string{c.policy}
			}
			role := s.NewServiceRole(t, "s3", policies...)
			if c.boundary != "" {
				arn := s.NewManagedPolicy(t, testkit.Account, "Boundary", c.boundary)
				s.Change(t, role.ID, func(i *fsm.Identity) { i.Boundary = arn })
			}
			token := service.Token{Type: kms.PrincipalAssumedRole, Subject: role.ID, Name: "node-1", Tags: []kms.SessionTag{{Key: "kmsd:account", Value: testkit.OtherAccount}}}
			if c.session != "" {
				token.Policies = []string{c.session}
			}
			wantOutcome(t, s.Call(t, sessionOf(t, s, token), "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}), deniedService("kms:Encrypt", testkit.OtherARN(key), c.want))
		})
	}
}

// A grant to a service is for calls on behalf of the resource that it names, and for
// nobody else; the service that it names ends it.
func TestGrantsToServices(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	store, table := s.NewServiceRole(t, "s3", allKMS), s.NewServiceRole(t, "dynamodb", allKMS)
	key := openKey(t, s)
	arn := testkit.OtherARN(key)
	grantTo := func(name string, operations ...string) obj {
		return s.MustAs(t, testkit.Other, "CreateGrant", obj{"KeyId": key, "GranteeServicePrincipal": name, "RetiringServicePrincipal": "dynamodb.amazonaws.com",
			"Operations": operations, "Constraints": obj{"SourceArn": bucket}})
	}
	global := grantTo("s3.amazonaws.com", "Encrypt", "Decrypt")
	fromBucket := "kmsd:source-arn=" + bucket
	encrypt := func(role *fsm.Identity, tags ...string) testkit.Answer {
		return s.Call(t, s.Session(t, role, tags...), "Encrypt", obj{"KeyId": arn, "Plaintext": "AA=="})
	}
	const unlet = "because no resource-based policy allows the kms:Encrypt action"
	wantOutcome(t, encrypt(store, forThem, fromBucket), success)
	wantOutcome(t, encrypt(store, forUs, fromBucket), success) // as on AWS: the source decides
	wantOutcome(t, encrypt(store, forThem), deniedService("kms:Encrypt", arn, unlet))
	wantOutcome(t, encrypt(store, forThem, "kmsd:source-arn="+otherBucket), deniedService("kms:Encrypt", arn, unlet))
	for _, a := range []testkit.Answer{encrypt(table, forThem, fromBucket), encrypt(s.NewIdentity(t, fsm.KindRole, testkit.Account, "plain", allKMS), forThem, fromBucket)} {
		if a.Refusal == nil || a.Refusal.Code != "AccessDeniedException" {
			t.Errorf("another than the grantee: %v %v", a.Refusal, a.Err)
		}
	}
	// What the role, or its account, has been granted the service has not.
	s.MustAs(t, testkit.Other, "CreateGrant", obj{"KeyId": key, "GranteePrincipal": "arn:aws:iam::111122223333:role/s3-service", "Operations": []string{"GenerateDataKey"}})
	s.MustAs(t, testkit.Other, "CreateGrant", obj{"KeyId": key, "GranteePrincipal": testkit.OtherAccount, "Operations": []string{"GenerateDataKey"}})
	wantOutcome(t, s.Call(t, s.Session(t, store, forThem), "GenerateDataKey", obj{"KeyId": arn, "KeySpec": "AES_256"}),
		deniedService("kms:GenerateDataKey", arn, "because no resource-based policy allows the kms:GenerateDataKey action"))
	wantOutcome(t, s.Call(t, s.Session(t, store), "GenerateDataKey", obj{"KeyId": arn, "KeySpec": "AES_256"}), success)
	// A regional principal is the service in that Region.
	describe := func() testkit.Answer {
		return s.Call(t, s.Session(t, store, forThem, fromBucket), "DescribeKey", obj{"KeyId": arn})
	}
	grantTo("s3.eu-west-1.amazonaws.com", "DescribeKey")
	wantOutcome(t, describe(), deniedService("kms:DescribeKey", arn, "because no resource-based policy allows the kms:DescribeKey action"))
	grantTo("s3.us-east-1.amazonaws.com", "DescribeKey")
	wantOutcome(t, describe(), success)

	// Only the retiring service ends it.
	byID := obj{"KeyId": arn, "GrantId": global["GrantId"]}
	wantOutcome(t, s.Call(t, s.Session(t, store, forThem, fromBucket), "RetireGrant", byID), deniedService("kms:RetireGrant", arn, "because no resource-based policy allows the kms:RetireGrant action"))
	wantOutcome(t, s.Call(t, s.Session(t, table), "RetireGrant", byID), accessDenied(
		"User: arn:aws:sts::111122223333:assumed-role/dynamodb-service/node-1 is not authorized to perform: kms:RetireGrant on resource: "+arn+threeReasons))
	a := s.Call(t, s.Session(t, table, forThem), "RetireGrant", obj{"GrantToken": global["GrantToken"]})
	wantOutcome(t, a, success)
	wantOutcome(t, encrypt(store, forThem, fromBucket), deniedService("kms:Encrypt", arn, unlet))
	again := grantTo("s3.amazonaws.com", "Encrypt", "RetireGrant")
	wantOutcome(t, s.Call(t, s.Session(t, store, forThem), "RetireGrant", obj{"KeyId": arn, "GrantId": again["GrantId"]}), success)
}

// What is a service's own matter and nothing of an account's, its role's policies decide.
func TestServicesOwnMatters(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	role := s.NewServiceRole(t, "s3", allKMS)
	them, us := s.Session(t, role, forThem), s.Session(t, role, forUs)
	unlet := s.Session(t, s.NewServiceRole(t, "ebs"), forThem)
	var ids []string
	for range 3 {
		ids = append(ids, s.MustAs(t, testkit.Other, "CreateGrant", obj{"KeyId": openKey(t, s), "GranteePrincipal": "999999999999", "RetiringServicePrincipal": "s3.amazonaws.com",
			"Operations": []string{"Decrypt"}})["GrantId"].(string))
		s.Must(t, "CreateGrant", obj{"KeyId": s.NewKey(t), "GranteePrincipal": "999999999999", "RetiringServicePrincipal": "s3.amazonaws.com", "Operations": []string{"Decrypt"}})
	}
	slices.Sort(ids)
	var got []string
	body := obj{"RetiringServicePrincipal": "s3.amazonaws.com", "Limit": 1}
	for page := s.MustAs(t, them, "ListRetirableGrants", body); ; page = s.MustAs(t, them, "ListRetirableGrants", with(body, obj{"Marker": page["NextMarker"]})) {
		for _, entry := range page["Grants"].([]any) {
			got = append(got, entry.(obj)["GrantId"].(string))
		}
		if page["Truncated"] == false {
			break
		}
		// Whoever calls for another account goes another way through the list.
		wantOutcome(t, s.Call(t, us, "ListRetirableGrants", with(body, obj{"Marker": page["NextMarker"]})), outcome{"InvalidMarkerException", "Could not deserialize marker '" + page["NextMarker"].(string) + "'"})
	}
	slices.Sort(got)
	if !slices.Equal(got, ids) {
		t.Errorf("got the grants %v, want %v", got, ids)
	}
	wantOutcome(t, s.Call(t, them, "GenerateRandom", obj{"NumberOfBytes": 1}), success)
	denied := func(service, action string) outcome {
		return accessDenied("User: " + service + ".amazonaws.com is not authorized to perform: " + action + " on resource: * because no identity-based policy allows the " + action + " action")
	}
	wantOutcome(t, s.Call(t, unlet, "GenerateRandom", obj{"NumberOfBytes": 1}), denied("ebs", "kms:GenerateRandom"))
	wantOutcome(t, s.Call(t, unlet, "ListRetirableGrants", obj{"RetiringServicePrincipal": "ebs.amazonaws.com"}), denied("ebs", "kms:ListRetirableGrants"))
	wantOutcome(t, s.Call(t, them, "ListRetirableGrants", obj{"RetiringServicePrincipal": "ebs.amazonaws.com"}), denied("s3", "kms:ListRetirableGrants"))
	wantOutcome(t, s.Call(t, testkit.Other, "ListRetirableGrants", obj{"RetiringServicePrincipal": "s3.amazonaws.com"}), validation("RetiringServicePrincipal can be used by service principals only."))
}

// ListGrants shows a service the grants of a service principal.
func TestListGrantsOfService(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who := s.Session(t, s.NewServiceRole(t, "s3"), forThem)
	key := openKey(t, s, letsService("Allow", "s3.amazonaws.com", "kms:ListGrants", ""))
	want := map[string]string{}
	for _, name := range []string{"s3.amazonaws.com", "dynamodb.amazonaws.com"} {
		want[name] = s.MustAs(t, testkit.Other, "CreateGrant", obj{"KeyId": key, "GranteeServicePrincipal": name, "RetiringPrincipal": rootX,
			"Operations": []string{"Decrypt"}, "Constraints": obj{"SourceArn": objects}})["GrantId"].(string)
	}
	for name, id := range want {
		list := s.MustAs(t, who, "ListGrants", obj{"KeyId": key, "GranteeServicePrincipal": name})["Grants"].([]any)
		if len(list) != 1 || list[0].(obj)["GrantId"] != id {
			t.Errorf("%s: %v", name, list)
		}
		for filter, n := range map[string]int{id: 1, strings.Repeat("0", 64): 0} {
			list := s.MustAs(t, who, "ListGrants", obj{"KeyId": key, "GranteeServicePrincipal": name, "GrantId": filter})["Grants"].([]any)
			if len(list) != n {
				t.Errorf("%s, %s: %v", name, filter, list)
			}
		}
	}
	wantOutcome(t, s.Call(t, who, "ListGrants", obj{"KeyId": key, "GranteeServicePrincipal": "s3.amazonaws.com", "GranteePrincipal": rootX}),
		validation("You can specify either GranteePrincipal or GranteeServicePrincipal, but not both."))
	wantOutcome(t, s.Call(t, testkit.Other, "ListGrants", obj{"KeyId": key, "GranteeServicePrincipal": "s3.amazonaws.com"}),
		validation("GranteeServicePrincipal can be used by service principals only."))
}

// Everything but KMS sees the session of the role.
func TestServiceElsewhere(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who := s.Session(t, s.NewServiceRole(t, "s3"), forThem)
	a := s.Raw(t, who, "sts", "GetCallerIdentity", "Action=GetCallerIdentity&Version=2011-06-15")
	if a.Refusal != nil || !strings.Contains(string(a.Raw), "<Arn>arn:aws:sts::111122223333:assumed-role/s3-service/node-1</Arn>") {
		t.Errorf("got %s %v", a.Raw, a.Refusal)
	}
	a = s.Raw(t, who, "iam", "CreateUser", "Action=CreateUser&Version=2010-05-08&UserName=mallory")
	if a.Refusal == nil || !strings.HasPrefix(a.Refusal.Message, "User: arn:aws:sts::111122223333:assumed-role/s3-service/node-1 is not authorized to perform: iam:CreateUser") {
		t.Errorf("got %v", a.Refusal)
	}
}

// Records of a service's call: the account's, the key owner's and the operator's.
func TestServiceRecords(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := openKey(t, s, letsService("Allow", "s3.amazonaws.com", "kms:*", ""))
	role := s.NewServiceRole(t, "s3")
	who := s.Session(t, role, forThem)
	for op, body := range map[string]obj{
		"Encrypt":      {"KeyId": key, "Plaintext": "AA=="},               // a read
		"DisableKey":   {"KeyId": key},                                    // a write
		"EnableKey":    {"KeyId": "12345678-0000-0000-0000-000000000000"}, // refused
		"ListKeys":     {},                                                // not allowed
		"GetKeyPolicy": {"KeyId": key, "PolicyName": "another"},           // refused after it was allowed
	} {
		a := s.Call(t, who, op, body)
		records := s.RecordsOf(t, a.RequestID)
		if len(records) != 2 {
			t.Fatalf("%s: %d records", op, len(records))
		}
		theirs, ours := records[0], records[1]
		wantJSON(t, theirs["userIdentity"], `{"type":"AWSService","invokedBy":"s3.amazonaws.com"}`)
		if theirs["sourceIPAddress"] != "s3.amazonaws.com" || theirs["userAgent"] != "s3.amazonaws.com" || theirs["recipientAccountId"] != testkit.OtherAccount || theirs["tlsDetails"] != nil {
			t.Errorf("%s: the account sees %v", op, theirs)
		}
		identity := ours["userIdentity"].(obj)
		if identity["type"] != "AssumedRole" || identity["principalId"] != role.ID+":node-1" || identity["arn"] != "arn:aws:sts::111122223333:assumed-role/s3-service/node-1" ||
			identity["accountId"] != testkit.Account || identity["accessKeyId"] != who.AccessKey || identity["invokedBy"] != "s3.amazonaws.com" {
			t.Errorf("%s: the operator sees %v", op, identity)
		}
		if ours["sourceIPAddress"] != "192.0.2.7" || ours["recipientAccountId"] != testkit.Account || ours["sharedEventID"] == nil || ours["sharedEventID"] != theirs["sharedEventID"] || ours["eventID"] == theirs["eventID"] {
			t.Errorf("%s: the operator sees %v", op, ours)
		}
	}
}

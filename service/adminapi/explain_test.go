package adminapi_test

import (
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

const (
	adminARN  = "arn:aws:iam::aws:policy/AdministratorAccess"
	iamARN    = "arn:aws:iam::aws:policy/IAMFullAccess"
	policyTop = `{"Version":"2012-10-17","Statement":[`
)

// allow is an identity policy of one statement.
func allow(action, resource, condition string) string {
	return policyTop + `{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"` + when(condition) + `}]}`
}

func when(condition string) string {
	if condition == "" {
		return ""
	}
	return `,"Condition":` + condition
}

func deny(policy string) string { return strings.Replace(policy, "Allow", "Deny", 1) }

// let is a statement of a key's policy.
func let(effect, principal, action, condition string) string {
	return `{"Effect":"` + effect + `","Principal":{"AWS":"` + principal + `"},"Action":"` + action + `","Resource":"*"` + when(condition) + `}`
}

// newKey makes a key with a policy of the statements, and a tag.
func newKey(t *testing.T, s *testkit.Solo, statements ...string) string {
	t.Helper()
	id := s.Must(t, "CreateKey", obj{"Tags": []obj{{"TagKey": "team", "TagValue": "red"}}})["KeyMetadata"].(obj)["KeyId"].(string)
	if len(statements) > 0 {
		s.Must(t, "PutKeyPolicy", obj{"KeyId": id, "Policy": policyTop + strings.Join(statements, ",") + `]}`, "BypassPolicyLockoutSafetyCheck": true})
	}
	return id
}

func form(params ...string) string {
	f := url.Values{}
	for i := 0; i < len(params); i += 2 {
		f.Set(params[i], params[i+1])
	}
	return f.Encode()
}

// assume returns a session of a role.
func assume(t *testing.T, s *testkit.Solo, by testkit.Caller, role string) testkit.Caller {
	t.Helper()
	a := s.Raw(t, by, "sts", "AssumeRole", form("RoleArn", role, "RoleSessionName", "ci"))
	var out struct {
		ID    string `xml:"Credentials>AccessKeyId"`
		Token string `xml:"Credentials>SessionToken"`
	}
	if a.Refusal != nil || xml.Unmarshal(a.Raw, &out) != nil {
		t.Fatalf("AssumeRole: %v %v", a.Refusal, a.Err)
	}
	return testkit.Caller{AccessKey: out.ID, Region: testkit.Region, Token: kms.SessionToken(out.Token)}
}

// ask is the body of a question.
func ask(principal, action, resource string, context obj) string {
	body := obj{"principal": principal, "action": action, "resource": resource}
	if context != nil {
		body["context"] = context
	}
	text, _ := json.Marshal(body)
	return string(text)
}

// A caller of a scene, with the name by which the operator asks.
type caller struct {
	name, asked string
	who         testkit.Caller
}

const (
	rootLets  = "111122223333"
	otherLets = "444455556666"
	sessions  = "arn:aws:sts::111122223333:assumed-role/"
)

// scene makes callers with every way in which policies reach them.
func scene(t *testing.T, s *testkit.Solo) (callers []caller) {
	t.Helper()
	user := func(account, name string, change func(*fsm.Identity), policies ...string) {
		who, id := s.NewUser(t, account, "/"+name, policies...)
		if change != nil {
			s.Change(t, id, change)
		}
		callers = append(callers, caller{name, "arn:aws:iam::" + account + ":user/" + name, who})
	}
	all := allow("*", "*", "")
	group := s.NewIdentity(t, fsm.KindGroup, testkit.Account, "readers", allow("kms:*", "*", ""), deny(allow("kms:ListKeys", "*", "")))
	own := s.NewManagedPolicy(t, testkit.Account, "Own", allow("kms:Describe*", "*", ""))
	callers = append(callers, caller{"root", rootLets, testkit.Root}, caller{"other root", "arn:aws:iam::444455556666:root", testkit.Other})
	user(testkit.Account, "eng/nobody", nil)
	user(testkit.Account, "named", nil)
	user(testkit.Account, "administrator", func(i *fsm.Identity) { i.Attached = []string{adminARN} })
	user(testkit.Account, "member", func(i *fsm.Identity) { i.Groups = []string{group.ID} })
	user(testkit.Account, "managed", func(i *fsm.Identity) { i.Attached = []string{own} })
	user(testkit.Account, "bounded", func(i *fsm.Identity) { i.Boundary = iamARN }, all)
	user(testkit.Account, "denied", nil, all, deny(allow("kms:D*", "*", "")))
	user(testkit.Account, "boundedby", func(i *fsm.Identity) {
		i.Boundary = s.NewManagedPolicy(t, testkit.Account, "Edge", policyTop+`{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":["kms:Encrypt","iam:GetUser"],"Resource":"*"}]}`)
	}, all)
	for i, condition := range []string{
		`{"StringEquals":{"aws:ResourceTag/Team":"red","kms:KeySpec":"SYMMETRIC_DEFAULT","kms:CallerAccount":"111122223333"}}`,
		`{"ForAnyValue:StringLike":{"kms:ResourceAliases":"alias/app*"}}`,
		`{"StringEquals":{"aws:PrincipalTag/team":"red"},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/cond2"}}`,
		`{"StringEquals":{"aws:username":"cond3","aws:PrincipalType":"User"},"NumericLessThan":{"kms:TrailingDaysWithoutKeyUsage":"1"}}`,
		`{"StringEquals":{"kms:RequestAlias":"alias/app"}}`,
		`{"StringEquals":{"iam:PermissionsBoundary":"` + iamARN + `"}}`,
		`{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}`,
		`{"Null":{"aws:TokenIssueTime":"true"},"Bool":{"aws:PrincipalIsAWSService":"false"}}`,
	} {
		user(testkit.Account, fmt.Sprint("cond", i), func(i *fsm.Identity) { i.Tags = []fsm.Tag{{Key: "Team", Value: "red"}} }, allow("*", "*", condition))
	}
	user(testkit.OtherAccount, "xaver", nil, all)
	user(testkit.OtherAccount, "none", nil)
	maker := callers[4].who
	for _, r := range []struct {
		name, boundary string
		policies       []string
	}{{"App", "", []string{all}}, {"Plain", "", nil}, {"Edged", iamARN, []string{all}}, {"Dated", "", []string{deny(allow("*", "*", `{"DateLessThan":{"aws:TokenIssueTime":"2020-01-01T00:00:00Z"}}`)), all}}} {
		role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/"+r.name, r.policies...)
		s.Change(t, role.ID, func(i *fsm.Identity) { i.Boundary = r.boundary })
		s.SetTrust(t, role.ID, policyTop+`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`)
		callers = append(callers, caller{r.name, sessions + r.name + "/ci", assume(t, s, maker, role.ARN())})
	}
	return callers
}

// question is a call, and the permission that it needs.
type question struct {
	service, op, body string
	action, resource  string
}

// context is what neither state nor resource says: the Region of a call elsewhere than
// on a key or in IAM.
func (q *question) context() obj {
	if q.service == "iam" || strings.HasPrefix(q.resource, "arn:aws:kms:") {
		return nil
	}
	return obj{"aws:RequestedRegion": []string{testkit.Region}}
}

// questions are calls of every kind of permission: on keys, by alias, on what IAM has,
// on roles, on the cluster and on nothing.
func questions(t *testing.T, s *testkit.Solo) (all []question) {
	t.Helper()
	keys := []string{
		newKey(t, s),
		newKey(t, s, let("Allow", "arn:aws:iam::111122223333:user/named", "kms:*", ""), let("Allow", "arn:aws:iam::111122223333:role/svc/Plain", "kms:*", "")),
		newKey(t, s, let("Allow", rootLets, "kms:*", ""), let("Allow", sessions+"Edged/ci", "kms:Encrypt", ""), let("Deny", "arn:aws:iam::111122223333:user/administrator", "kms:*", "")),
		newKey(t, s, let("Allow", rootLets, "kms:*", ""), let("Allow", otherLets, "kms:*", "")),
		newKey(t, s, let("Allow", "*", "kms:*", `{"StringEquals":{"kms:CallerAccount":["111122223333","444455556666"]}}`), let("Deny", "*", "kms:Encrypt", `{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/svc/*"}}`)),
	}
	s.NewAlias(t, "alias/app", keys[0])
	onKey := func(op, resource, more string) {
		all = append(all, question{"kms", op, `{"KeyId":"` + resource + `"` + more + `}`, "kms:" + op, resource})
	}
	for _, id := range keys {
		for _, op := range []string{"DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListResourceTags"} {
			onKey(op, testkit.ARN(id), "")
		}
		onKey("UpdatePrimaryRegion", testkit.ARN(id), `,"PrimaryRegion":"us-east-1"`) // where the key is, so that nothing changes
		onKey("Encrypt", testkit.ARN(id), `,"Plaintext":"AA=="`)
		onKey("GenerateDataKey", testkit.ARN(id), `,"KeySpec":"AES_256","DryRun":true`)
	}
	onKey("DescribeKey", testkit.AliasARN("alias/app"), "")
	onKey("Encrypt", testkit.AliasARN("alias/app"), `,"Plaintext":"AA=="`)
	for _, op := range []string{"ListKeys", "ListAliases", "GenerateRandom"} {
		all = append(all, question{"kms", op, map[string]string{"GenerateRandom": `{"NumberOfBytes":1}`}[op], "kms:" + op, "*"})
	}
	const iam = "arn:aws:iam::111122223333:"
	for _, q := range []struct{ op, name, value, resource string }{
		{"GetUser", "UserName", "cond0", "user/cond0"}, {"GetUser", "UserName", "missing", "user/missing"}, {"ListUserTags", "UserName", "nobody", "user/eng/nobody"},
		{"GetRole", "RoleName", "App", "role/svc/App"}, {"GetGroup", "GroupName", "readers", "group/readers"},
		{"ListUsers", "PathPrefix", "/", "user/"}, {"ListRoles", "PathPrefix", "/svc/", "role/svc/"},
		// Nobody has this boundary's policy inline, so that what is allowed changes nothing.
		{"DeleteUserPermissionsBoundary", "UserName", "named", "user/named"}, {"DeleteUserPolicy", "UserName", "bounded", "user/bounded"},
	} {
		all = append(all, question{"iam", q.op, form(q.name, q.value, "PolicyName", "none"), "iam:" + q.op, iam + q.resource})
	}
	const own = iam + "policy/Own"
	if a := s.Raw(t, testkit.Root, "iam", "TagPolicy", form("PolicyArn", own, "Tags.member.1.Key", "team", "Tags.member.1.Value", "red")); a.Refusal != nil {
		t.Fatal(a.Refusal)
	}
	for _, q := range []struct{ op, body, resource string }{
		{"GetPolicy", form("PolicyArn", own), own}, {"GetPolicyVersion", form("PolicyArn", own, "VersionId", "v1"), own},
		{"GetPolicy", form("PolicyArn", iam+"policy/None"), iam + "policy/None"}, {"GetPolicy", form("PolicyArn", iamARN), iamARN},
		{"CreatePolicy", form("PolicyName", "New", "PolicyDocument", allow("s3:*", "*", "")), iam + "policy/New"},
	} {
		all = append(all, question{"iam", q.op, q.body, "iam:" + q.op, q.resource})
	}
	for _, role := range []string{"App", "Edged"} {
		all = append(all, question{"sts", "AssumeRole", form("RoleArn", iam+"role/svc/"+role, "RoleSessionName", "ci"), "sts:AssumeRole", iam + "role/svc/" + role})
	}
	return append(all, question{"sts", "GetCallerIdentity", "", "sts:GetCallerIdentity", "*"}, question{"sts", "GetAccessKeyInfo", form("AccessKeyId", testkit.AccessKey), "sts:GetAccessKeyInfo", "*"},
		question{"kmsd", "GetStatus", "", "kmsd:GetStatus", "*"}, question{"kmsd", "GetConfig", "{}", "KMSD:getconfig", cluster})
}

// Whoever asks whatever: the explanation says what the call gets, in its words, and
// names a statement exactly where there is one.
func TestExplainSaysWhatCallsGet(t *testing.T) {
	t.Parallel()
	s := start(t)
	callers := scene(t, s)
	seen := map[bool]int{}
	for _, q := range questions(t, s) {
		for _, c := range callers {
			if q.service == "iam" && strings.Contains(c.asked, testkit.OtherAccount) {
				continue // nobody can name what another account has
			}
			call := s.Raw(t, c.who, q.service, q.op, q.body)
			message := ""
			if call.Err != nil {
				t.Fatalf("%s by %s: %v", q.op, c.name, call.Err)
			}
			if call.Refusal != nil && call.Refusal.Code == "AccessDeniedException" {
				message = call.Refusal.Message
			}
			a := s.Admin(t, testkit.Root, "Explain", ask(c.asked, q.action, q.resource, q.context()))
			if a.Refusal != nil {
				t.Errorf("%s on %s by %s: %v", q.action, q.resource, c.name, a.Refusal)
				continue
			}
			allowed, _ := a.Body["allowed"].(bool)
			explained, _ := a.Body["message"].(string)
			if allowed != (message == "") || explained != message {
				t.Errorf("%s on %s by %s: the call got %v, the explanation says\n%s", q.action, q.resource, c.name, call.Refusal, a.Raw)
			}
			if _, named := a.Body["statement"]; named != a.Body["explicit"].(bool) {
				t.Errorf("%s on %s by %s: explicit without a statement, or the reverse: %s", q.action, q.resource, c.name, a.Raw)
			}
			seen[allowed]++
		}
	}
	if seen[true] < 200 || seen[false] < 200 {
		t.Errorf("%d allowed and %d denied: the scene is too poor", seen[true], seen[false])
	}
}

// Whole answers, typed by hand. $KEY and $ID stand for the key's ARN and alice's id.
func TestExplanations(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, id := s.NewUser(t, testkit.Account, "alice", policyTop+`{"Sid":"Read","Effect":"Allow","Action":["kms:Describe*"],"Resource":"*"},
		{"Sid":"Lan","Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}`)
	s.NewUser(t, testkit.OtherAccount, "xaver", allow("kms:*", "*", ""))
	key := testkit.ARN(newKey(t, s, let("Allow", rootLets, "kms:*", ""), let("Allow", "arn:aws:iam::111122223333:user/alice", "kms:Encrypt", `{"StringEquals":{"kms:EncryptionContext:app":"orders"}}`)))
	fill := strings.NewReplacer("$KEY", key, "$ID", id).Replace
	const (
		alice    = `"principal":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/alice","uniqueId":"$ID"}`
		own      = `"kind":"identity","policy":"inline0","attachedTo":"arn:aws:iam::111122223333:user/alice"`
		ofKey    = `"kind":"key","policy":"default","attachedTo":"$KEY"`
		deniedTo = `"message":"User: arn:aws:iam::111122223333:user/alice is not authorized to perform: `
		lan      = `{"Sid":"Lan","Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`
	)
	for _, tt := range []struct{ body, want string }{
		{ask("arn:aws:iam::111122223333:user/alice", "kms:DescribeKey", key, obj{"aws:sourceip": []string{"10.1.2.3"}}),
			`{"allowed":true,"explicit":true,"ground":"identity-based policy",
			"statement":{"policy":"inline0","attachedTo":"arn:aws:iam::111122223333:user/alice","index":0,"sid":"Read","text":{"Sid":"Read","Effect":"Allow","Action":["kms:Describe*"],"Resource":"*"}},
			` + alice + `,"action":"kms:DescribeKey","resource":"$KEY","policies":[{` + own + `,"allows":true,"denies":false},{` + ofKey + `,"allows":true,"denies":false}]}`},
		{ask(id, "KMS:describekey", key, nil), `{"allowed":false,"explicit":true,"ground":"identity-based policy",
			"statement":{"policy":"inline0","attachedTo":"arn:aws:iam::111122223333:user/alice","index":1,"sid":"Lan","text":` + lan + `},
			` + deniedTo + `kms:DescribeKey on resource: $KEY with an explicit deny in an identity-based policy",
			` + alice + `,"action":"kms:DescribeKey","resource":"$KEY","policies":[{` + own + `,"allows":true,"denies":true},{` + ofKey + `,"allows":true,"denies":false}],
			"absentContextKeys":["aws:sourceip"]}`},
		{ask(id, "kms:Encrypt", key, obj{"aws:SourceIp": []string{"10.1.2.3"}}), `{"allowed":false,"explicit":false,"ground":"identity-based policy",
			` + deniedTo + `kms:Encrypt on resource: $KEY because no identity-based policy allows the kms:Encrypt action",
			` + alice + `,"action":"kms:Encrypt","resource":"$KEY","policies":[{` + own + `,"allows":false,"denies":false},{` + ofKey + `,"allows":true,"denies":false}],
			"absentContextKeys":["kms:encryptioncontext:app"]}`},
		{ask(id, "kms:Encrypt", key, obj{"aws:SourceIp": []string{"10.1.2.3"}, "kms:EncryptionContext:App": []string{"orders"}}), `{"allowed":true,"explicit":true,"ground":"resource-based policy",
			"statement":{"policy":"default","attachedTo":"$KEY","index":1,"text":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},"Action":"kms:Encrypt","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:app":"orders"}}}},
			` + alice + `,"action":"kms:Encrypt","resource":"$KEY","policies":[{` + own + `,"allows":false,"denies":false},{` + ofKey + `,"allows":true,"denies":false}]}`},
		{ask("arn:aws:iam::444455556666:user/xaver", "kms:Encrypt", key, nil), `{"allowed":false,"explicit":false,"ground":"resource-based policy",
			"message":"User: arn:aws:iam::444455556666:user/xaver is not authorized to perform: kms:Encrypt on resource: $KEY because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
			"principal":{"type":"IAMUser","arn":"arn:aws:iam::444455556666:user/xaver","uniqueId":"$XAVER"},"action":"kms:Encrypt","resource":"$KEY",
			"policies":[{"kind":"identity","policy":"inline0","attachedTo":"arn:aws:iam::444455556666:user/xaver","allows":true,"denies":false},{` + ofKey + `,"allows":false,"denies":false}]}`},
		{ask("444455556666", "kms:CreateKey", "*", nil), `{"allowed":true,"explicit":false,"ground":"identity-based policy",
			"principal":{"type":"Root","arn":"arn:aws:iam::444455556666:root","uniqueId":"444455556666"},"action":"kms:CreateKey","resource":"*","policies":[]}`},
		{ask("444455556666", "sts:GetCallerIdentity", "*", nil), `{"allowed":true,"explicit":false,
			"principal":{"type":"Root","arn":"arn:aws:iam::444455556666:root","uniqueId":"444455556666"},"action":"sts:GetCallerIdentity","resource":"*","policies":[]}`},
		{ask(id, "s3:GetObject", "arn:aws:s3:::bucket/x", nil), `{"allowed":false,"explicit":false,"ground":"identity-based policy",
			` + deniedTo + `s3:GetObject on resource: arn:aws:s3:::bucket/x because no identity-based policy allows the s3:GetObject action",
			` + alice + `,"action":"s3:GetObject","resource":"arn:aws:s3:::bucket/x","policies":[{` + own + `,"allows":false,"denies":false}]}`},
	} {
		a := s.Admin(t, testkit.Root, "Explain", tt.body)
		wantOK(t, a)
		want := fill(tt.want)
		if p, ok := a.Body["principal"].(obj); ok {
			want = strings.ReplaceAll(want, "$XAVER", p["uniqueId"].(string))
		}
		wantSame(t, any(a.Body), parse(t, want))
	}
}

// What nobody can ask, and what is not there.
func TestExplainRefuses(t *testing.T) {
	t.Parallel()
	s := start(t)
	key := testkit.ARN(s.NewKey(t))
	role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/App")
	s.NewIdentity(t, fsm.KindGroup, testkit.Account, "team")
	const (
		user    = "arn:aws:iam::111122223333:user/"
		unknown = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-4000-8000-000000000000"
		noOne   = "ValidationException: The value %s at 'principal' is neither the ARN of a user, a role, a session or an account's root user nor a unique id or a service principal."
	)
	for _, tt := range []struct{ principal, action, resource, want string }{
		{user + "bob", "kms:Decrypt", key, "NotFoundException: The principal arn:aws:iam::111122223333:user/bob does not exist."},
		{"arn:aws:iam::111122223333:role/App", "kms:Decrypt", key, "NotFoundException: The principal arn:aws:iam::111122223333:role/App does not exist."},
		{"arn:aws:sts::111122223333:assumed-role/app/ci", "kms:Decrypt", key, "NotFoundException: The principal arn:aws:sts::111122223333:assumed-role/app/ci does not exist."},
		{"AIDAAAAAAAAAAAAAAAAAA", "kms:Decrypt", key, "NotFoundException: The principal AIDAAAAAAAAAAAAAAAAAA does not exist."},
		{"999999999999", "kms:Decrypt", key, "NotFoundException: The account 999999999999 does not exist."},
		{"arn:aws:iam::999999999999:root", "kms:Decrypt", key, "NotFoundException: The account 999999999999 does not exist."},
		{"arn:aws:iam::999999999999:user/bob", "kms:Decrypt", key, "NotFoundException: The principal arn:aws:iam::999999999999:user/bob does not exist."},
		{"arn:aws:iam::111122223333:group/team", "kms:Decrypt", key, fmt.Sprintf(noOne, "arn:aws:iam::111122223333:group/team")},
		{"arn:aws-cn:iam::111122223333:root", "kms:Decrypt", key, fmt.Sprintf(noOne, "arn:aws-cn:iam::111122223333:root")},
		{"arn:aws:sts::111122223333:assumed-role/App", "kms:Decrypt", key, fmt.Sprintf(noOne, "arn:aws:sts::111122223333:assumed-role/App")},
		{role.ID + ":", "kms:Decrypt", key, fmt.Sprintf(noOne, role.ID+":")},
		{"somebody else", "kms:Decrypt", key, "ValidationException: 1 validation error detected: Value 'somebody else' at 'principal' failed to satisfy constraint: Member must satisfy regular expression pattern: [!-~]+"},
		{rootLets, "Decrypt", key, "ValidationException: 1 validation error detected: Value 'Decrypt' at 'action' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9-]+:[a-zA-Z0-9]+"},
		{rootLets, "kms:*", key, "ValidationException: 1 validation error detected: Value 'kms:*' at 'action' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9-]+:[a-zA-Z0-9]+"},
		{rootLets, "kms:Decrypt", "key", "ValidationException: The value key at 'resource' is neither an ARN nor *."},
		{rootLets, "kms:Decrypt", "arn:aws:kms", "ValidationException: The value arn:aws:kms at 'resource' is neither an ARN nor *."},
		{rootLets, "kms:Decrypt", "arn:aws:kms:us-east-1:1:key/x", "InvalidArnException: Invalid arn arn:aws:kms:us-east-1:1:key/x"},
		{rootLets, "kms:Decrypt", unknown, "NotFoundException: Key '" + unknown + "' does not exist"},
		{otherLets, "kms:Decrypt", unknown, "NotFoundException: Key '" + unknown + "' does not exist"},
		{otherLets, "kms:Decrypt", testkit.AliasARN("alias/none"), "NotFoundException: Alias " + testkit.AliasARN("alias/none") + " is not found."},
		{rootLets, "kms:DisableKey", testkit.AliasARN("alias/none"), "InvalidArnException: Invalid arn " + testkit.AliasARN("alias/none")},
		{rootLets, "kms:decrypt", "*", "ValidationException: The action kms:Decrypt is not asked on *, but on the ARN of a key or of an alias."},
		{rootLets, "kms:CreateKey", key, "ValidationException: The action kms:CreateKey is not asked on " + key + ", but on *."},
		{rootLets, "kmsd:GetStatus", key, "ValidationException: The action kmsd:GetStatus is not asked on " + key + ", but on " + cluster + "."},
		{rootLets, "sts:AssumeRole", "*", "ValidationException: The action sts:AssumeRole is not asked on *, but on the ARN of a role."},
		{rootLets, "sts:AssumeRole", "arn:aws:iam::111122223333:role/None", "NotFoundException: The role arn:aws:iam::111122223333:role/None does not exist."},
		{otherLets, "iam:GetUser", user + "bob", "ValidationException: The resource arn:aws:iam::111122223333:user/bob is of another account than the principal, where the action iam:GetUser does not reach."},
	} {
		a := s.Admin(t, testkit.Root, "Explain", ask(tt.principal, tt.action, tt.resource, nil))
		if a.Refusal == nil || a.Refusal.Error() != tt.want {
			t.Errorf("%s %s %s:\ngot  %v %s\nwant %s", tt.principal, tt.action, tt.resource, a.Refusal, a.Raw, tt.want)
		}
	}
	theirs := s.Call(t, testkit.Other, "CreateKey", obj{}).Body["KeyMetadata"].(obj)["Arn"].(string)
	s.Apply(t, fsm.CloseAccount{ID: testkit.OtherAccount})
	wantRefusal(t, s.Admin(t, testkit.Root, "Explain", ask(rootLets, "kms:Decrypt", theirs, nil)), "NotFoundException", "Key '"+theirs+"' does not exist")
	wantRefusal(t, s.Admin(t, testkit.Root, "Explain", ask(otherLets, "kms:ListKeys", "*", nil)), "ValidationException",
		"The account 444455556666 is closed: none of its principals may call.")
}

// A role is any session of it; what the cluster cannot know of one is absent until it is
// given, and what is given goes before what the cluster knows.
func TestExplainContext(t *testing.T) {
	t.Parallel()
	s := start(t)
	key := testkit.ARN(newKey(t, s))
	role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/App")
	s.Change(t, role.ID, func(i *fsm.Identity) { i.Tags = []fsm.Tag{{Key: "team", Value: "red"}} })
	for _, tt := range []struct {
		condition string
		context   obj
		want      bool
	}{
		{`{"StringLike":{"aws:userid":"` + role.ID + `:*"}}`, nil, true},
		{`{"StringEquals":{"aws:userid":"` + role.ID + `:ci"}}`, nil, false},
		{`{"StringEquals":{"aws:userid":"` + role.ID + `:ci"}}`, obj{"aws:userid": []string{role.ID + ":ci"}}, true},
		{`{"ArnEquals":{"aws:PrincipalArn":"` + role.ARN() + `"}}`, nil, true},
		{`{"StringEquals":{"aws:PrincipalTag/team":"red"}}`, nil, true},
		{`{"StringEquals":{"aws:PrincipalTag/team":"blue"}}`, obj{"AWS:principaltag/Team": []string{"blue"}}, true},
		{`{"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}`, nil, true},
		{`{"Null":{"aws:ResourceTag/team":"true"}}`, obj{"aws:ResourceTag/team": []string{}}, true},
		{`{"Null":{"aws:SecureTransport":"true","aws:SourceIp":"true","aws:UserAgent":"true","aws:TokenIssueTime":"true","aws:SourceIdentity":"true","kms:ViaService":"true"}}`, nil, true},
		{`{"Bool":{"aws:SecureTransport":"true"}}`, obj{"aws:SecureTransport": []string{"true"}}, true},
		{`{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["a","b"]}}`, obj{"kms:EncryptionContextKeys": []string{"a", "b"}}, true},
		{`{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["a","b"]}}`, obj{"kms:EncryptionContextKeys": []string{"a", "c"}}, false},
		{`{"DateEquals":{"aws:CurrentTime":"2026-11-24T12:00:00Z"}}`, nil, true},
		{`{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}`, obj{"kms:ViaService": []string{"s3.us-east-1.amazonaws.com"}}, true},
	} {
		text := allow("kms:Decrypt", "*", tt.condition)
		had, _ := s.Machine.View().Identity(role.ID)
		next := *had
		next.ModIndex, next.Inline = 0, []fsm.InlinePolicy{{Name: "only", Hash: sha256.Sum256([]byte(text))}}
		s.Apply(t, fsm.SetIdentity{Identity: next, Texts: []string{text}})
		for _, principal := range []string{role.ARN(), role.ID} {
			a := s.Admin(t, testkit.Root, "Explain", ask(principal, "kms:Decrypt", key, tt.context))
			wantOK(t, a)
			if a.Body["allowed"] != tt.want {
				t.Errorf("%s with %v: got %s", tt.condition, tt.context, a.Raw)
			}
		}
	}
}

// CreateAlias needs two permissions, TagResource is asked with and without a key.
func TestExplainSeveralPermissions(t *testing.T) {
	t.Parallel()
	s := start(t)
	key := testkit.ARN(newKey(t, s))
	_, id := s.NewUser(t, testkit.Account, "alice", allow("kms:CreateAlias", "arn:aws:kms:*:*:alias/app*", ""))
	for _, tt := range []struct {
		action, resource, message string
	}{
		{"kms:CreateAlias", testkit.AliasARN("alias/app-1"), ""},
		{"kms:CreateAlias", testkit.AliasARN("alias/other"), "kms:CreateAlias on resource: " + testkit.AliasARN("alias/other") + " because no identity-based policy allows the kms:CreateAlias action"},
		{"kms:CreateAlias", key, "kms:CreateAlias on resource: " + key + " because no identity-based policy allows the kms:CreateAlias action"},
		{"kms:TagResource", key, "kms:TagResource on resource: " + key + " because no identity-based policy allows the kms:TagResource action"},
		{"kms:TagResource", "*", "kms:TagResource because no identity-based policy allows the kms:TagResource action"},
	} {
		a := s.Admin(t, testkit.Root, "Explain", ask(id, tt.action, tt.resource, nil))
		wantOK(t, a)
		got, _ := a.Body["message"].(string)
		if got = strings.TrimPrefix(got, "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: "); got != tt.message {
			t.Errorf("%s on %s: got %q", tt.action, tt.resource, got)
		}
	}
}

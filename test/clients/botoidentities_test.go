package clients_test

import (
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// TestBoto3Identities manages users, groups and roles with boto3, by its paginators,
// waiters and exceptions.
func TestBoto3Identities(t *testing.T) {
	t.Parallel()
	t.Run("debian", func(t *testing.T) {
		t.Parallel()
		testBotoIdentities(t, startPython(t, dev, debianPython, "eu-central-2", false))
	})
	if path, ok := otherBoto3(); ok {
		t.Run("path", func(t *testing.T) {
			t.Parallel()
			testBotoIdentities(t, startPython(t, dev, path, "ca-west-1", true))
		})
	}
}

// botoIdentities are made by boto3, all with a path of their own.
type botoIdentities struct {
	*python
	path string
}

func testBotoIdentities(t *testing.T, p *python) {
	b := botoIdentities{p, "/boto3/" + p.region + "/"}
	users := []string{"Alice." + p.region, "bob." + p.region, "Carol." + p.region}
	b.usersInPages(t, users)
	b.groupInPages(t, users)
	b.accessKeys(t, users[0])
	roles := []string{"App." + p.region, "batch." + p.region}
	b.rolesInPages(t, roles)
	b.rolePoliciesInPages(t, roles[0])
	b.waits(t)
	b.refusals(t, users[0])
}

// call is a call of IAM through a node.
func (b botoIdentities) call(node int, operation string, params object) call {
	return call{Endpoint: b.at.endpoints[node], Environment: b.byEnv, Service: "iam", Operation: operation, Params: params}
}

// iam runs a call of IAM through a node, which must succeed the first time.
func (b botoIdentities) iam(t *testing.T, node int, operation string, params object) object {
	t.Helper()
	return b.succeed(t, b.call(node, operation, params))
}

// pages reads a list by a paginator in pages of a size. There must be two of them, with
// these members; all may have members in common.
func (b botoIdentities) pages(t *testing.T, node, size int, operation string, params object, member string, common object, want [2][]any) {
	t.Helper()
	list := b.call(node, operation, params)
	list.Paginate = size
	pages := b.do(t, list).Pages
	marker := &check{"marker", func(got any) bool { text, ok := got.(string); return ok && text != "" }}
	expect(t, operation, []any{
		with(common, object{member: want[0], "IsTruncated": true, "Marker": marker}),
		with(common, object{member: want[1], "IsTruncated": false}),
	}, pages)
}

func (b botoIdentities) arn(kind, name string) string {
	return "arn:aws:iam::" + account + ":" + kind + b.path + name
}

func (b botoIdentities) user(name string) object {
	return object{"Path": b.path, "UserName": name, "UserId": userID, "Arn": b.arn("user", name), "CreateDate": packedTime}
}

func (b botoIdentities) usersInPages(t *testing.T, names []string) {
	tags := []any{object{"Key": "cost", "Value": "7"}, object{"Key": "team", "Value": "ü é"}}
	var all []any
	for node, name := range names {
		made := b.iam(t, node, "CreateUser", object{"UserName": name, "Path": b.path, "PermissionsBoundary": readOnly, "Tags": tags})
		expect(t, "CreateUser", object{"User": with(with(b.user(name), bounded(readOnly)), object{"Tags": tags})}, made)
		expect(t, "GetUser", made, b.iam(t, (node+1)%nodes, "GetUser", object{"UserName": name}))
		all = append(all, b.user(name))
	}
	b.pages(t, 0, 2, "ListUsers", object{"PathPrefix": b.path}, "Users", nil, [2][]any{all[:2], all[2:]})
	b.pages(t, 1, 1, "ListUserTags", object{"UserName": names[0]}, "Tags", nil, [2][]any{tags[:1], tags[1:]})
}

func (b botoIdentities) groupInPages(t *testing.T, users []string) {
	name := "Staff." + b.region
	group := object{"Path": b.path, "GroupName": name, "GroupId": groupID, "Arn": b.arn("group", name), "CreateDate": packedTime}
	expect(t, "CreateGroup", object{"Group": group}, b.iam(t, 2, "CreateGroup", object{"GroupName": name, "Path": b.path}))
	var all []any
	for node, user := range users {
		expect(t, "AddUserToGroup", object{}, b.iam(t, node, "AddUserToGroup", object{"GroupName": name, "UserName": user}))
		all = append(all, b.user(user))
	}
	b.pages(t, 0, 2, "GetGroup", object{"GroupName": name}, "Users", object{"Group": group}, [2][]any{all[:2], all[2:]})
	for node, user := range users {
		expect(t, "ListGroupsForUser", object{"Groups": []any{group}, "IsTruncated": false}, b.iam(t, node, "ListGroupsForUser", object{"UserName": user}))
	}
}

// accessKeys makes a user two access keys and reads them in pages.
func (b botoIdentities) accessKeys(t *testing.T, user string) {
	found := map[string]bool{}
	for node := range 2 {
		made := b.iam(t, node, "CreateAccessKey", object{"UserName": user})["AccessKey"].(object)
		expect(t, "CreateAccessKey", object{
			"UserName": user, "AccessKeyId": longTerm, "Status": "Active", "SecretAccessKey": secret, "CreateDate": packedTime,
		}, made)
		found[made["AccessKeyId"].(string)] = false
	}
	// Their order is nobody's promise, but each must be there, once.
	own := &check{"an access key of the user", func(got any) bool {
		id, _ := got.(string)
		seen, known := found[id]
		found[id] = true
		return known && !seen
	}}
	entry := []any{object{"UserName": user, "AccessKeyId": own, "Status": "Active", "CreateDate": packedTime}}
	b.pages(t, 2, 1, "ListAccessKeys", object{"UserName": user}, "AccessKeyMetadata", nil, [2][]any{entry, entry})
	b.refusedWith(t, 0, http.StatusConflict, "LimitExceededException", "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2",
		"CreateAccessKey", object{"UserName": user})
}

// rolesInPages lists roles, whose policies boto3 decodes.
func (b botoIdentities) rolesInPages(t *testing.T, names []string) {
	trust := trusting("arn:aws:iam::"+account+":root", "")
	var all []any
	for node, name := range names {
		role := object{
			"Path": b.path, "RoleName": name, "RoleId": roleID, "Arn": b.arn("role", name), "CreateDate": packedTime,
			"AssumeRolePolicyDocument": parsed(t, trust), "MaxSessionDuration": 3600.0,
		}
		expect(t, "CreateRole", object{"Role": role}, b.iam(t, node, "CreateRole", object{"RoleName": name, "Path": b.path, "AssumeRolePolicyDocument": trust}))
		expect(t, "GetRole", object{"Role": with(role, object{"RoleLastUsed": object{}})}, b.iam(t, (node+1)%nodes, "GetRole", object{"RoleName": name}))
		all = append(all, role)
	}
	b.pages(t, 2, 1, "ListRoles", object{"PathPrefix": b.path}, "Roles", nil, [2][]any{all[:1], all[1:]})
}

func (b botoIdentities) rolePoliciesInPages(t *testing.T, role string) {
	policy := allowing("kms:Encrypt")
	for node, name := range []string{"Orders", "stock"} {
		expect(t, "PutRolePolicy", object{}, b.iam(t, node, "PutRolePolicy", object{"RoleName": role, "PolicyName": name, "PolicyDocument": policy}))
		expect(t, "GetRolePolicy", object{"RoleName": role, "PolicyName": name, "PolicyDocument": parsed(t, policy)},
			b.iam(t, node+1, "GetRolePolicy", object{"RoleName": role, "PolicyName": name}))
	}
	b.pages(t, 0, 1, "ListRolePolicies", object{"RoleName": role}, "PolicyNames", nil, [2][]any{{"Orders"}, {"stock"}})
	for node, arn := range []string{powerUser, readOnly} {
		expect(t, "AttachRolePolicy", object{}, b.iam(t, node, "AttachRolePolicy", object{"RoleName": role, "PolicyArn": arn}))
	}
	b.pages(t, 1, 1, "ListAttachedRolePolicies", object{"RoleName": role}, "AttachedPolicies", nil, [2][]any{
		{object{"PolicyName": "AWSKeyManagementServicePowerUser", "PolicyArn": powerUser}},
		{object{"PolicyName": "ReadOnlyAccess", "PolicyArn": readOnly}},
	})
}

// waits waits for users and roles that are there, that are not, and that come while a
// waiter waits. What is there is so on each node at once.
func (b botoIdentities) waits(t *testing.T) {
	for kind, waiter := range map[string]string{"user": "UserExists", "role": "RoleExists"} {
		name := "Late." + b.region
		title := waiter[:4]
		wait := b.call(0, "", object{title + "Name": name})
		wait.Wait, wait.Attempts = kind+"_exists", 1
		got := b.do(t, wait).GaveUp
		if want := "Waiter " + waiter + " failed: Max attempts exceeded. Previously accepted state: Matched expected service error code: NoSuchEntity"; got != want {
			t.Fatalf("%s: got %q, want %q", wait.Wait, got, want)
		}
		wait.Attempts = 60
		b.begin(t, wait)
		identities{path: b.path}.made(t, kind, name)
		if got := b.end(t, wait); got.GaveUp != "" || got.Refusal != nil {
			t.Fatalf("%s while it is made: %+v", wait.Wait, got)
		}
		for node := range nodes {
			wait := b.call(node, "", wait.Params)
			wait.Wait, wait.Attempts = kind+"_exists", 1
			if got := b.do(t, wait); got.GaveUp != "" || got.Refusal != nil {
				t.Fatalf("%s on node %d: %+v", wait.Wait, node, got)
			}
		}
	}
}

// refusedWith runs a call of IAM that must be refused with an HTTP status and in these
// words, typed where the API model has the error.
func (b botoIdentities) refusedWith(t *testing.T, node, status int, class, code, message, operation string, params object) {
	t.Helper()
	text := "An error occurred (" + code + ") when calling the " + operation + " operation: " + message
	b.refuseWith(t, b.call(node, operation, params), status, refusal{class, code, message, text})
}

func (b botoIdentities) refusals(t *testing.T, user string) {
	b.refusedWith(t, 0, http.StatusNotFound, "NoSuchEntityException", "NoSuchEntity", "The user with name none cannot be found.",
		"GetUser", object{"UserName": "none"})
	b.refusedWith(t, 1, http.StatusConflict, "EntityAlreadyExistsException", "EntityAlreadyExists", "User with name "+user+" already exists.",
		"CreateUser", object{"UserName": user})
	b.refusedWith(t, 2, http.StatusConflict, "DeleteConflictException", "DeleteConflict", "Cannot delete entity, must delete access keys first.",
		"DeleteUser", object{"UserName": b.owner(t)})
	b.refusedWith(t, 0, http.StatusBadRequest, "MalformedPolicyDocumentException", "MalformedPolicyDocument", "Syntax errors in policy.",
		"PutUserPolicy", object{"UserName": user, "PolicyName": "x", "PolicyDocument": "{"})
	b.refusedWith(t, 1, http.StatusBadRequest, "MalformedPolicyDocumentException", "MalformedPolicyDocument", "This policy contains invalid Json",
		"CreateRole", object{"RoleName": "None." + b.region, "AssumeRolePolicyDocument": "trust.json"})
	b.refusedWith(t, 2, http.StatusBadRequest, "ClientError", "ValidationError",
		"1 validation error detected: Value '1001' at 'maxItems' failed to satisfy constraint: Member must have value less than or equal to 1000",
		"ListUsers", object{"MaxItems": 1001})
}

// owner makes a user who has nothing but an access key.
func (b botoIdentities) owner(t *testing.T) string {
	t.Helper()
	name := "Owner." + b.region
	identities{path: b.path}.made(t, "user", name)
	got[iam.CreateAccessKeyOutput](t)(iamAt(t, 2).CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name}))
	return name
}

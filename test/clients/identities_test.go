package clients_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// TestAWSCLIIdentities manages users, groups and roles with the AWS CLI. All that a part
// of it makes has a path of its own, by which it is listed.
func TestAWSCLIIdentities(t *testing.T) {
	t.Parallel()
	t.Run("debian", func(t *testing.T) {
		t.Parallel()
		testIdentities(t, newAWSCLI(t, debianCLI, "ap-northeast-2", true), map[string]func(*testing.T, identities){
			"users": cliUsers, "access keys": cliAccessKeys, "groups": cliGroups, "roles": cliRoles, "what is not there": cliAbsent,
			"policies of users": cliPoliciesOf("user"), "policies of groups": cliPoliciesOf("group"), "policies of roles": cliPoliciesOf("role"),
		})
	})
	if path, other := onPath("aws", debianCLI); other {
		t.Run("path", func(t *testing.T) {
			t.Parallel()
			c := newAWSCLI(t, path, "ap-northeast-3", false)
			testIdentities(t, c, map[string]func(*testing.T, identities){"users": cliUsers, "policies of roles": cliPoliciesOf("role")})
		})
	}
}

// identities are made by a CLI.
type identities struct {
	awsCLI
	path string // of all of them
	end  string // of their names
}

func testIdentities(t *testing.T, c awsCLI, parts map[string]func(*testing.T, identities)) {
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place := strings.ReplaceAll(name, " ", "-")
			part(t, identities{c, "/" + c.region + "/" + place + "/", "." + place + "." + c.region})
		})
	}
}

// made makes a user, group or role, which trusts the account.
func (i identities) made(t *testing.T, kind, name string) {
	t.Helper()
	client, path := iamAt(t, 0), &i.path
	var err error
	switch kind {
	case "user":
		_, err = client.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name, Path: path})
	case "group":
		_, err = client.CreateGroup(t.Context(), &iam.CreateGroupInput{GroupName: &name, Path: path})
	case "role":
		_, err = client.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, Path: path, AssumeRolePolicyDocument: aws.String(trusting(account, ""))})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// arn is the ARN of a user, group or role below the path.
func (i identities) arn(kind, name string) string {
	return "arn:aws:iam::" + account + ":" + kind + i.path + name
}

func (i identities) user(name string) object {
	return object{"Path": i.path, "UserName": name, "UserId": userID, "Arn": i.arn("user", name), "CreateDate": recent}
}

// with adds members.
func with(o object, more object) object {
	out := object{}
	for _, from := range []object{o, more} {
		for name, value := range from {
			out[name] = value
		}
	}
	return out
}

// bounded is a boundary as answers show it.
func bounded(arn string) object {
	return object{"PermissionsBoundary": object{"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}}
}

func cliUsers(t *testing.T, i identities) {
	alice, bob := "Alice"+i.end, "bob"+i.end
	tags := object{"Tags": []any{object{"Key": "team", "Value": "red"}, object{"Key": "empty", "Value": ""}}}
	shown := with(with(i.user(alice), tags), bounded(readOnly))
	made := i.call(t, 0, "iam", "create-user", "--user-name", alice, "--path", i.path, "--permissions-boundary", readOnly,
		"--tags", "Key=team,Value=red", "Key=empty,Value=")
	expect(t, "create-user", object{"User": shown}, made)
	expect(t, "get-user", made, i.call(t, 1, "iam", "get-user", "--user-name", strings.ToLower(alice)))
	expect(t, "create-user", object{"User": i.user(bob)}, i.call(t, 2, "iam", "create-user", "--user-name", bob, "--path", i.path))
	cliUserPages(t, i, i.user(alice), i.user(bob))

	i.silent(t, 1, "iam", "tag-user", "--user-name", alice, "--tags", "Key=Team,Value=blue", "Key=cost,Value=7")
	i.silent(t, 0, "iam", "delete-user-permissions-boundary", "--user-name", alice)
	i.silent(t, 1, "iam", "put-user-permissions-boundary", "--user-name", alice, "--permissions-boundary", powerUser)
	shown = with(with(i.user(alice), bounded(powerUser)), object{"Tags": []any{object{"Key": "Team", "Value": "blue"}, object{"Key": "empty", "Value": ""}, object{"Key": "cost", "Value": "7"}}})
	expect(t, "get-user", object{"User": shown}, i.call(t, 2, "iam", "get-user", "--user-name", alice))
	i.silent(t, 0, "iam", "untag-user", "--user-name", alice, "--tag-keys", "empty", "TEAM")
	expect(t, "list-user-tags", object{"Tags": []any{object{"Key": "cost", "Value": "7"}}},
		i.call(t, 1, "iam", "list-user-tags", "--user-name", alice, "--query", "{Tags: Tags}"))
	i.refused(t, 0, "MalformedPolicyDocument", "PutUserPolicy", "Policy document should not specify a principal.",
		"iam", "put-user-policy", "--user-name", bob, "--policy-name", "x", "--policy-document", trusting(account, ""))
	cliRename(t, i, alice, bob)
}

// cliRename gives a user another name and path: it stays the same user.
func cliRename(t *testing.T, i identities, alice, bob string) {
	before := i.call(t, 2, "iam", "get-user", "--user-name", bob)["User"].(object)
	i.refused(t, 0, "EntityAlreadyExists", "UpdateUser", "User with name "+alice+" already exists.",
		"iam", "update-user", "--user-name", bob, "--new-user-name", alice)
	bert, moved := "Bert"+i.end, i
	moved.path += "moved/"
	i.silent(t, 1, "iam", "update-user", "--user-name", bob, "--new-user-name", bert, "--new-path", moved.path)
	expect(t, "get-user", object{"User": with(moved.user(bert), object{"UserId": before["UserId"], "CreateDate": before["CreateDate"]})},
		i.call(t, 2, "iam", "get-user", "--user-name", bert))
	i.refused(t, 0, "NoSuchEntity", "GetUser", "The user with name "+bob+" cannot be found.", "iam", "get-user", "--user-name", bob)
}

// cliUserPages reads the list of users whole, in pages that the CLI joins, and in pieces. It
// shows neither tags nor boundaries.
func cliUserPages(t *testing.T, i identities, alice, bob object) {
	list := []string{"iam", "list-users", "--path-prefix", i.path}
	all := object{"Users": []any{alice, bob}}
	expect(t, "list-users", all, i.call(t, 0, list...))
	expect(t, "list-users in pages of 1", all, i.call(t, 1, append(list, "--page-size", "1")...))
	piece := i.call(t, 2, append(list, "--max-items", "1")...)
	next, _ := piece["NextToken"].(string)
	if next == "" {
		t.Fatalf("list-users of 1 of 2 users gave no token: %v", piece)
	}
	expect(t, "list-users, first item", object{"Users": []any{alice}, "NextToken": next}, piece)
	expect(t, "list-users, the rest", object{"Users": []any{bob}}, i.call(t, 0, append(list, "--starting-token", next)...))
}

// cliAccessKeys gives a user as many access keys as one may have.
func cliAccessKeys(t *testing.T, i identities) {
	alice := "Alice" + i.end
	i.made(t, "user", alice)
	var ids []string
	for node := range 2 {
		made := i.call(t, node, "iam", "create-access-key", "--user-name", alice)["AccessKey"]
		expect(t, "create-access-key", object{
			"UserName": alice, "AccessKeyId": longTerm, "Status": "Active", "SecretAccessKey": secret, "CreateDate": recent,
		}, made)
		ids = append(ids, made.(object)["AccessKeyId"].(string))
	}
	i.refused(t, 2, "LimitExceeded", "CreateAccessKey", "Cannot exceed quota for AccessKeysPerUser: 2", "iam", "create-access-key", "--user-name", alice)
	i.silent(t, 2, "iam", "update-access-key", "--user-name", alice, "--access-key-id", ids[1], "--status", "Inactive")
	entry := func(id, status string) object {
		return object{"UserName": alice, "AccessKeyId": id, "Status": status, "CreateDate": recent}
	}
	want := []any{entry(ids[0], "Active"), entry(ids[1], "Inactive")}
	if ids[1] < ids[0] {
		want[0], want[1] = want[1], want[0]
	}
	expect(t, "list-access-keys", object{"AccessKeyMetadata": want}, i.call(t, 0, "iam", "list-access-keys", "--user-name", alice))
	expect(t, "get-access-key-last-used", object{"UserName": alice, "AccessKeyLastUsed": object{"ServiceName": "N/A", "Region": "N/A"}},
		i.call(t, 1, "iam", "get-access-key-last-used", "--access-key-id", ids[0]))
	i.refused(t, 1, "DeleteConflict", "DeleteUser", "Cannot delete entity, must delete access keys first.", "iam", "delete-user", "--user-name", alice)
	for node, id := range ids {
		i.silent(t, node, "iam", "delete-access-key", "--user-name", alice, "--access-key-id", id)
	}
	i.refused(t, 2, "NoSuchEntity", "DeleteAccessKey", "The Access Key with id "+ids[0]+" cannot be found.",
		"iam", "delete-access-key", "--user-name", alice, "--access-key-id", ids[0])
}

func cliGroups(t *testing.T, i identities) {
	alice, bob, staff := "Alice"+i.end, "bob"+i.end, "Staff"+i.end
	i.made(t, "user", alice)
	i.made(t, "user", bob)
	group := object{"Path": i.path, "GroupName": staff, "GroupId": groupID, "Arn": i.arn("group", staff), "CreateDate": recent}
	expect(t, "create-group", object{"Group": group}, i.call(t, 0, "iam", "create-group", "--group-name", staff, "--path", i.path))
	i.refused(t, 1, "EntityAlreadyExists", "CreateGroup", "Group with name "+strings.ToUpper(staff)+" already exists.",
		"iam", "create-group", "--group-name", strings.ToUpper(staff))
	for node, name := range []string{alice, bob} {
		i.silent(t, node, "iam", "add-user-to-group", "--group-name", staff, "--user-name", name)
	}
	expect(t, "get-group in pages of 1", object{"Group": group, "Users": []any{i.user(alice), i.user(bob)}},
		i.call(t, 2, "iam", "get-group", "--group-name", staff, "--page-size", "1"))
	expect(t, "list-groups-for-user", object{"Groups": []any{group}}, i.call(t, 0, "iam", "list-groups-for-user", "--user-name", bob))
	expect(t, "list-groups", object{"Groups": []any{group}}, i.call(t, 1, "iam", "list-groups", "--path-prefix", i.path))
	const conflict = "Cannot delete entity, must remove users from group first."
	i.refused(t, 2, "DeleteConflict", "DeleteGroup", conflict, "iam", "delete-group", "--group-name", staff)
	i.refused(t, 0, "DeleteConflict", "DeleteUser", conflict, "iam", "delete-user", "--user-name", bob)
	for node, name := range []string{alice, bob} {
		i.silent(t, node, "iam", "remove-user-from-group", "--group-name", staff, "--user-name", name)
	}
	i.refused(t, 1, "NoSuchEntity", "AddUserToGroup", "The group with name none"+i.end+" cannot be found.",
		"iam", "add-user-to-group", "--group-name", "none"+i.end, "--user-name", bob)
}

// parsed is a policy as the CLI shows it.
func parsed(t *testing.T, policy string) (out object) {
	t.Helper()
	if err := json.Unmarshal([]byte(policy), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func cliRoles(t *testing.T, i identities) {
	alice, bob, app := "Alice"+i.end, "bob"+i.end, "App"+i.end
	i.made(t, "user", alice)
	i.made(t, "user", bob)
	first, second := trusting(i.arn("user", alice), ""), trusting(i.arn("user", bob), `,"Condition":{"StringEquals":{"sts:ExternalId":"7"}}`)
	role := object{
		"Path": i.path, "RoleName": app, "RoleId": roleID, "Arn": i.arn("role", app), "CreateDate": recent,
		"Description": "of orders", "MaxSessionDuration": 7200.0, "AssumeRolePolicyDocument": parsed(t, first),
	}
	tags := object{"Tags": []any{object{"Key": "team", "Value": "red"}}}
	expect(t, "create-role", object{"Role": with(with(role, tags), bounded(readOnly))}, i.call(t, 0, "iam", "create-role", "--role-name", app,
		"--path", i.path, "--assume-role-policy-document", first, "--description", "of orders", "--max-session-duration", "7200",
		"--permissions-boundary", readOnly, "--tags", "Key=team,Value=red"))
	expect(t, "list-roles", object{"Roles": []any{role}}, i.call(t, 1, "iam", "list-roles", "--path-prefix", i.path))
	stranger := i.arn("user", "none")
	i.refused(t, 2, "MalformedPolicyDocument", "UpdateAssumeRolePolicy", `Invalid principal in policy: "AWS":"`+stranger+`"`,
		"iam", "update-assume-role-policy", "--role-name", app, "--policy-document", trusting(stranger, ""))
	i.silent(t, 0, "iam", "update-assume-role-policy", "--role-name", app, "--policy-document", second)
	expect(t, "update-role", object{}, i.answer(t, 1, "iam", "update-role", "--role-name", app, "--max-session-duration", "43200"))
	i.silent(t, 2, "iam", "tag-role", "--role-name", app, "--tags", "Key=cost,Value=7")
	i.silent(t, 0, "iam", "untag-role", "--role-name", app, "--tag-keys", "team")
	i.silent(t, 1, "iam", "delete-role-permissions-boundary", "--role-name", app)
	role["MaxSessionDuration"], role["AssumeRolePolicyDocument"] = 43200.0, parsed(t, second)
	tags = object{"Tags": []any{object{"Key": "cost", "Value": "7"}}}
	expect(t, "get-role", object{"Role": with(with(role, tags), object{"RoleLastUsed": object{}})}, i.call(t, 2, "iam", "get-role", "--role-name", app))
	expect(t, "list-role-tags", tags, i.call(t, 0, "iam", "list-role-tags", "--role-name", app, "--query", "{Tags: Tags}"))
	expect(t, "list-instance-profiles-for-role", object{"InstanceProfiles": []any{}},
		i.call(t, 1, "iam", "list-instance-profiles-for-role", "--role-name", app))
}

// answer runs a command whose answer is empty, which some CLIs show as nothing.
func (i identities) answer(t *testing.T, node int, args ...string) (out object) {
	t.Helper()
	text := strings.TrimSpace(i.text(t, node, args...))
	if text == "" {
		return object{}
	}
	return parsed(t, text)
}

// cliPoliciesOf gives a user, group or role an inline policy and one of AWS, and takes them
// away in the order in which that must be done before it is deleted, and deletes it. How a
// policy is missed does not depend on whose it is.
func cliPoliciesOf(kind string) func(*testing.T, identities) {
	return func(t *testing.T, i identities) { cliPolicies(t, i, kind, "Owner"+i.end) }
}

func cliPolicies(t *testing.T, i identities, kind, name string) {
	i.made(t, kind, name)
	title := strings.ToUpper(kind[:1]) + kind[1:]
	on := func(command string, more ...string) []string {
		return append([]string{"iam", strings.ReplaceAll(command, "%", kind), "--" + kind + "-name", name}, more...)
	}
	policy := allowing("kms:Encrypt")
	i.silent(t, 1, on("put-%-policy", "--policy-name", "orders", "--policy-document", policy)...)
	expect(t, "get-"+kind+"-policy", object{title + "Name": name, "PolicyName": "orders", "PolicyDocument": parsed(t, policy)},
		i.call(t, 0, on("get-%-policy", "--policy-name", "orders")...))
	expect(t, "list-"+kind+"-policies", object{"PolicyNames": []any{"orders"}}, i.call(t, 1, on("list-%-policies")...))
	i.silent(t, 2, on("attach-%-policy", "--policy-arn", readOnly)...)
	expect(t, "list-attached-"+kind+"-policies", object{"AttachedPolicies": []any{object{"PolicyName": "ReadOnlyAccess", "PolicyArn": readOnly}}},
		i.call(t, 1, on("list-attached-%-policies")...))
	i.refused(t, 2, "DeleteConflict", "Delete"+title, "Cannot delete entity, must delete policies first.", on("delete-%")...)
	i.silent(t, 0, on("delete-%-policy", "--policy-name", "orders")...)
	i.refused(t, 1, "DeleteConflict", "Delete"+title, "Cannot delete entity, must detach all policies first.", on("delete-%")...)
	if kind == "role" {
		i.refused(t, 0, "NoSuchEntity", "Get"+title+"Policy", "The "+kind+" policy with name orders cannot be found.", on("get-%-policy", "--policy-name", "orders")...)
		i.refused(t, 1, "NoSuchEntity", "Attach"+title+"Policy", "Policy arn:aws:iam::aws:policy/None does not exist or is not attachable.",
			on("attach-%-policy", "--policy-arn", "arn:aws:iam::aws:policy/None")...)
		i.refused(t, 2, "NoSuchEntity", "Detach"+title+"Policy", "Policy "+powerUser+" was not found.", on("detach-%-policy", "--policy-arn", powerUser)...)
	}
	i.silent(t, 2, on("detach-%-policy", "--policy-arn", readOnly)...)
	i.silent(t, 1, on("delete-%")...)
	i.refused(t, 2, "NoSuchEntity", "Get"+title, "The "+kind+" with name "+name+" cannot be found.", on("get-%")...)
}

// cliAbsent is what Terraform asks for before it deletes a user, of which kmsd has none.
func cliAbsent(t *testing.T, i identities) {
	alice := "Alice" + i.end
	i.made(t, "user", alice)
	for node, list := range [][]string{
		{"MFADevices", "list-mfa-devices", "--user-name", alice},
		{"SSHPublicKeys", "list-ssh-public-keys", "--user-name", alice},
		{"Certificates", "list-signing-certificates", "--user-name", alice},
		{"ServiceSpecificCredentials", "list-service-specific-credentials", "--user-name", alice},
		{"VirtualMFADevices", "list-virtual-mfa-devices"},
		{"AccountAliases", "list-account-aliases"},
	} {
		got := i.call(t, node%nodes, append([]string{"iam"}, list[1:]...)...)[list[0]]
		expect(t, list[1], []any{}, got)
	}
	for node, verb := range []string{"Get", "Delete"} {
		i.refused(t, node, "NoSuchEntity", verb+"LoginProfile", "Login Profile for User "+alice+" cannot be found.",
			"iam", strings.ToLower(verb)+"-login-profile", "--user-name", alice)
	}
	expect(t, "get-account-summary", "2\n", i.text(t, 2, "iam", "get-account-summary", "--query", "SummaryMap.AccessKeysPerUserQuota", "--output", "text"))
}

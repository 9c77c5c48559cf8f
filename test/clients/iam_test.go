package clients_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestAWSCLIUser takes a user through its life: the key that it gets works at once on
// every node, and not after it is gone.
func TestAWSCLIUser(t *testing.T) {
	t.Parallel()
	c := newAWSCLI(t, debianCLI, "us-west-1", true)
	user := c.call(t, 0, "iam", "create-user", "--user-name", "Walter", "--path", "/eng/", "--tags", "Key=team,Value=x y")["User"].(object)
	c.refused(t, 1, "EntityAlreadyExists", "CreateUser", "User with name walter already exists.", "iam", "create-user", "--user-name", "walter")
	key := c.call(t, 1, "iam", "create-access-key", "--user-name", "walter")["AccessKey"].(object)
	own := func(node int, args ...string) *exec.Cmd {
		cmd := c.command(t, node, args...)
		cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID="+key["AccessKeyId"].(string), "AWS_SECRET_ACCESS_KEY="+key["SecretAccessKey"].(string))
		return cmd
	}
	for node := range nodes {
		if out, err := own(node, "sts", "get-caller-identity", "--query", "Arn", "--output", "text").CombinedOutput(); err != nil || string(out) != user["Arn"].(string)+"\n" {
			t.Fatalf("node %d: %v: %s", node, err, out)
		}
	}
	c.refusedAs(t, own(0, "iam", "get-user"), "AccessDenied", "GetUser", "User: "+user["Arn"].(string)+
		" is not authorized to perform: iam:GetUser on resource: user Walter because no identity-based policy allows the iam:GetUser action")
	c.refusedAs(t, own(0, "kms", "create-key"), "AccessDeniedException", "CreateKey", "User: "+user["Arn"].(string)+
		" is not authorized to perform: kms:CreateKey on resource: * because no identity-based policy allows the kms:CreateKey action")
	userUsesKey(t, c, user["Arn"].(string), own)
	c.silent(t, 2, "iam", "update-access-key", "--user-name", "walter", "--access-key-id", key["AccessKeyId"].(string), "--status", "Inactive")
	c.refusedAs(t, own(1, "sts", "get-caller-identity"), "InvalidClientTokenId", "GetCallerIdentity", "The security token included in the request is invalid.")
	c.refused(t, 0, "DeleteConflict", "DeleteUser", "Cannot delete entity, must delete access keys first.", "iam", "delete-user", "--user-name", "walter")
	c.silent(t, 0, "iam", "delete-access-key", "--user-name", "walter", "--access-key-id", key["AccessKeyId"].(string))
	c.silent(t, 0, "iam", "delete-user", "--user-name", "walter")
	c.refused(t, 2, "NoSuchEntity", "GetUser", "The user with name walter cannot be found.", "iam", "get-user", "--user-name", "walter")
}

// userUsesKey gives the user a key by the key's policy, and has it used.
func userUsesKey(t *testing.T, c awsCLI, arn string, own func(node int, args ...string) *exec.Cmd) {
	t.Helper()
	key := strings.TrimSpace(c.text(t, 0, "kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text"))
	encrypt := []string{"kms", "encrypt", "--key-id", key, "--plaintext", "aGVsbG8=", "--query", "KeyId", "--output", "text"}
	c.refusedAs(t, own(1, encrypt...), "AccessDeniedException", "Encrypt", "User: "+arn+" is not authorized to perform: kms:Encrypt on resource: "+
		keyARN(c.region, key)+" because no identity-based policy allows the kms:Encrypt action")
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"kms:*","Resource":"*"},` +
		`{"Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"kms:Encrypt","Resource":"*"}]}`
	c.silent(t, 2, "kms", "put-key-policy", "--key-id", key, "--policy-name", "default", "--policy", policy)
	for node := range nodes {
		if out, err := own(node, encrypt...).CombinedOutput(); err != nil || string(out) != keyARN(c.region, key)+"\n" {
			t.Fatalf("node %d: %v: %s", node, err, out)
		}
	}
}

// TestAWSCLIPolicy takes a managed policy through its life: the version in force decides
// at once on every node, for the user who has it.
func TestAWSCLIPolicy(t *testing.T) {
	t.Parallel()
	c := newAWSCLI(t, debianCLI, "ap-south-1", true)
	const arn = "arn:aws:iam::" + account + ":policy/eng/Lister"
	policy := func(effect string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"` + effect + `","Action":"kms:ListKeys","Resource":"*"}}`
	}
	c.call(t, 0, "iam", "create-policy", "--policy-name", "Lister", "--path", "/eng/", "--policy-document", policy("Allow"), "--description", "a & b")
	c.refused(t, 1, "EntityAlreadyExists", "CreatePolicy", "A policy called lister already exists. Duplicate names are not allowed.",
		"iam", "create-policy", "--policy-name", "lister", "--policy-document", policy("Allow"))
	c.call(t, 2, "iam", "create-user", "--user-name", "Lena")
	key := c.call(t, 0, "iam", "create-access-key", "--user-name", "lena")["AccessKey"].(object)
	decides := func(allowed bool) {
		t.Helper()
		for node := range nodes {
			cmd := c.command(t, node, "kms", "list-keys", "--query", "Keys", "--output", "text")
			cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID="+key["AccessKeyId"].(string), "AWS_SECRET_ACCESS_KEY="+key["SecretAccessKey"].(string))
			if out, err := cmd.CombinedOutput(); (err == nil) != allowed || !allowed && !strings.Contains(string(out), "(AccessDeniedException)") {
				t.Fatalf("node %d: %v: %s", node, err, out)
			}
		}
	}
	decides(false)
	c.silent(t, 0, "iam", "attach-user-policy", "--user-name", "lena", "--policy-arn", arn)
	decides(true)
	c.call(t, 1, "iam", "create-policy-version", "--policy-arn", arn, "--policy-document", policy("Deny"), "--set-as-default")
	decides(false)
	c.silent(t, 2, "iam", "set-default-policy-version", "--policy-arn", arn, "--version-id", "v1")
	decides(true)
	policyIsShown(t, c, arn)
	c.refused(t, 0, "DeleteConflict", "DeletePolicy", "Cannot delete a policy attached to entities.", "iam", "delete-policy", "--policy-arn", arn)
	c.silent(t, 1, "iam", "delete-policy-version", "--policy-arn", arn, "--version-id", "v2")
	c.silent(t, 2, "iam", "detach-user-policy", "--user-name", "lena", "--policy-arn", arn)
	decides(false)
	c.silent(t, 0, "iam", "delete-policy", "--policy-arn", arn)
	c.refused(t, 1, "NoSuchEntity", "GetPolicy", "Policy "+arn+" was not found.", "iam", "get-policy", "--policy-arn", arn)
	c.silent(t, 2, "iam", "delete-access-key", "--user-name", "lena", "--access-key-id", key["AccessKeyId"].(string))
	c.silent(t, 2, "iam", "delete-user", "--user-name", "lena")
}

// policyIsShown reads the policy in every way that the CLI has.
func policyIsShown(t *testing.T, c awsCLI, arn string) {
	t.Helper()
	for want, args := range map[string][]string{
		"1 a & b /eng/ v1":               {"get-policy", "--policy-arn", arn, "--query", "Policy.[AttachmentCount,Description,Path,DefaultVersionId]"},
		"2012-10-17 Deny False":          {"get-policy-version", "--policy-arn", arn, "--version-id", "v2", "--query", "PolicyVersion.[Document.Version,Document.Statement.Effect,IsDefaultVersion]"},
		"v2 v1":                          {"list-policy-versions", "--policy-arn", arn, "--page-size", "1", "--query", "Versions[].VersionId"},
		"Lister":                         {"list-policies", "--scope", "Local", "--only-attached", "--path-prefix", "/eng/", "--query", "Policies[].PolicyName"},
		"Lena":                           {"list-entities-for-policy", "--policy-arn", arn, "--query", "PolicyUsers[].UserName"},
		"Lister v2 v1 Deny Allow":        {"get-account-authorization-details", "--filter", "LocalManagedPolicy", "--query", "Policies[?Arn=='" + arn + "'].[PolicyName,PolicyVersionList[].VersionId,PolicyVersionList[].Document.Statement.Effect][][]"},
		"AdministratorAccess 2012-10-17": {"get-policy-version", "--policy-arn", "arn:aws:iam::aws:policy/AdministratorAccess", "--version-id", "v1", "--query", "['AdministratorAccess',PolicyVersion.Document.Version]"},
	} {
		out := c.text(t, 1, append(append([]string{"iam"}, args...), "--output", "text")...)
		if got := strings.Join(strings.Fields(out), " "); got != want {
			t.Errorf("aws iam %s: got %q, want %q", strings.Join(args, " "), got, want)
		}
	}
}

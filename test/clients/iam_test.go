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

package clients_test

import (
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// TestAWSCLISessions gets temporary credentials with the AWS CLI, and uses them.
func TestAWSCLISessions(t *testing.T) {
	t.Parallel()
	t.Run("debian", func(t *testing.T) {
		t.Parallel()
		testSessions(t, newAWSCLI(t, debianCLI, "ap-south-1", true))
	})
	if path, other := onPath("aws", debianCLI); other {
		t.Run("path", func(t *testing.T) {
			t.Parallel()
			testSessions(t, newAWSCLI(t, path, "ap-south-2", false))
		})
	}
}

// as is a command with another credential than the root user's.
func (c awsCLI) as(t *testing.T, who login, node int, args ...string) *exec.Cmd {
	t.Helper()
	cmd := c.command(t, node, args...)
	cmd.Env = append(cmd.Env, who.environment()...)
	return cmd
}

// callAs runs a command with another credential, which must succeed.
func (c awsCLI) callAs(t *testing.T, who login, node int, args ...string) (out object) {
	t.Helper()
	cmd := c.as(t, who, node, args...)
	text, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, text)
	}
	return out
}

// soon is within a quarter of an hour, which is how long the sessions here last.
var soon = &check{"within 900 s", func(got any) bool {
	at, err := time.Parse(time.RFC3339, got.(string))
	left := time.Until(at)
	return err == nil && left < 900*time.Second && left > 600*time.Second
}}

// session takes the credentials out of an answer.
func session(t *testing.T, answer object) login {
	t.Helper()
	c, _ := answer["Credentials"].(object)
	expect(t, "Credentials", object{
		"AccessKeyId": passing, "SecretAccessKey": secret, "SessionToken": base64Text, "Expiration": soon,
	}, c)
	return login{keyID: c["AccessKeyId"].(string), secret: c["SecretAccessKey"].(string), token: c["SessionToken"].(string)}
}

func testSessions(t *testing.T, c awsCLI) {
	name, role := "caller."+c.region, "App."+c.region
	userARN, user := newUser(t, name)
	arn := newRole(t, role, userARN, `,"Condition":{"StringEquals":{"sts:ExternalId":"x-7"}}`, allowing("kms:*"))
	who := c.callAs(t, user, 0, "sts", "get-caller-identity")
	expect(t, "get-caller-identity of a user", object{"UserId": userID, "Account": account, "Arn": userARN}, who)
	c.assumed(t, user, userARN, arn, role)
	if c.byFlag { // one CLI is enough for that
		c.userSession(t, user, who)
	}
}

// assumed assumes a role and lets it narrow itself.
func (c awsCLI) assumed(t *testing.T, user login, userARN, arn, role string) {
	assume := []string{"sts", "assume-role", "--role-arn", arn, "--role-session-name", "ci@example.com"}
	denied := "User: " + userARN + " is not authorized to perform: sts:AssumeRole on resource: " + arn
	c.refusedAs(t, c.as(t, user, 1, assume...), "AccessDenied", "AssumeRole", denied)
	assume = append(assume, "--external-id", "x-7")
	c.refusedAs(t, c.as(t, user, 2, append(assume, "--duration-seconds", "3601")...), "ValidationError", "AssumeRole",
		"The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	c.refused(t, 0, "AccessDenied", "AssumeRole", "Roles may not be assumed by root accounts.", assume...)
	made := c.callAs(t, user, 1, append(assume, "--duration-seconds", "900", "--policy", allowing("kms:Encrypt"), "--policy-arns", "arn="+powerUser,
		"--tags", "Key=team,Value=red", "Key=cost,Value=7")...)
	percent := &check{"percent", func(got any) bool { n, ok := got.(float64); return ok && 0 < n && n <= 100 }}
	id := pattern("role id and session", `AROA[A-Z2-7]{17}:ci@example\.com`)
	full := sessionARN(role, "ci@example.com")
	app := session(t, made)
	delete(made, "Credentials")
	expect(t, "assume-role", object{"AssumedRoleUser": object{"AssumedRoleId": id, "Arn": full}, "PackedPolicySize": percent}, made)
	expect(t, "get-caller-identity of a role", object{"UserId": id, "Account": account, "Arn": full}, c.callAs(t, app, 2, "sts", "get-caller-identity"))

	// The session may what the role may and the policies of the session say.
	expect(t, "create-key", "SYMMETRIC_DEFAULT", c.callAs(t, app, 0, "kms", "create-key")["KeyMetadata"].(object)["KeySpec"])
	key := got[kms.CreateKeyOutput](t)(kmsAt(t, 1, c.region, dev.root().provider()).CreateKey(t.Context(), &kms.CreateKeyInput{})).KeyMetadata
	encrypted := c.callAs(t, app, 1, "kms", "encrypt", "--key-id", *key.Arn, "--plaintext", file(t, []byte("x")))
	c.refusedAs(t, c.as(t, app, 2, "kms", "decrypt", "--ciphertext-blob", file(t, decoded(t, encrypted, "CiphertextBlob")), "--key-id", *key.Arn),
		"AccessDeniedException", "Decrypt", "User: "+full+" is not authorized to perform: kms:Decrypt on resource: "+*key.Arn+
			" because no session policy allows the kms:Decrypt action")
	app.token = app.token[:len(app.token)-8]
	c.refusedAs(t, c.as(t, app, 0, "kms", "list-keys"), "UnrecognizedClientException", "ListKeys", unknownCredential)
}

// userSession gets a session of a user's, which may do what the user may, but nothing
// of IAM without a second factor (AWS STS: GetSessionToken).
func (c awsCLI) userSession(t *testing.T, user login, who object) {
	own := session(t, c.callAs(t, user, 0, "sts", "get-session-token", "--duration-seconds", "900"))
	expect(t, "get-caller-identity of a user's session", who, c.callAs(t, own, 1, "sts", "get-caller-identity"))
	c.refusedAs(t, c.as(t, own, 2, "iam", "get-user"), "InvalidClientTokenId", "GetUser", unknownCredential)
	c.refusedAs(t, c.as(t, own, 0, "kms", "generate-random", "--number-of-bytes", "8"), "AccessDeniedException", "GenerateRandom",
		"User: "+who["Arn"].(string)+" is not authorized to perform: kms:GenerateRandom on resource: * because no identity-based policy allows the kms:GenerateRandom action")
	expect(t, "get-access-key-info", object{"Account": account}, c.call(t, 1, "sts", "get-access-key-info", "--access-key-id", user.keyID))
}

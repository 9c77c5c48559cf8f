package main

import (
	"encoding/json"
	"errors"
	"testing"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/wire/admin"
)

// TestAccountCommands is the life of an account in commands.
func TestAccountCommands(t *testing.T) {
	n := newTestNode(t, "")
	n.init("--account", "111122223333")
	n.serve()
	n.asRoot()
	const printed = `Account +(\d{12})\nAccess key id +AKIA[A-Z2-7]{16}\nSecret access key +[A-Za-z0-9+/]{40}\n`
	n.want(exitOK, printed, "", "account", "create")
	n.want(exitOK, `Account +444455556666\n.*\n.*\n`, "", "account", "create", "--account-id", "444455556666")
	n.want(exitRefused, "", `kmsd: AlreadyExistsException: The account 444455556666 already exists\.\n`, "account", "create", "--account-id=444455556666")
	got := n.ask("account", "create", "--account-id=777788889999", "--json")
	var key struct{ AccountID, AccessKeyID, SecretAccessKey string }
	if err := json.Unmarshal([]byte(got.out), &key); err != nil || got.code != exitOK || key.AccountID != "777788889999" || len(key.SecretAccessKey) != 40 {
		t.Errorf("account create --json: %+v, %v", got, err)
	}
	n.want(exitOK, `(?s)ACCOUNT +STATUS +CREATED\n111122223333 +Active +20\S+Z\n.*777788889999 +Active .*`, "", "account", "list")

	n.want(exitUsage, "", `(?s)All access keys of the root user of account 444455556666 end at once\..*not confirmed.*\n`, "account", "reset-root", "444455556666")
	n.want(exitOK, printed, "", "account", "reset-root", "444455556666", "--yes")
	// Without --yes the end of standard input is no consent.
	n.want(exitUsage, "", `(?s)Account 444455556666 is closed for good: nobody of it is let in any more, and nobody can use its keys\..*not confirmed.*\n`, "account", "close", "444455556666")
	n.want(exitOK, "Account 444455556666 is closed\\.\n", "", "account", "close", "444455556666", "--yes")
	n.want(exitOK, "\\{\\}\n", "", "account", "close", "777788889999", "--yes", "--json")
	n.want(exitRefused, "", `kmsd: ConflictException: The account 444455556666 is closed\.\n`, "account", "reset-root", "444455556666", "--yes")
	n.want(exitRefused, "", `kmsd: NotFoundException: The account 000000000000 does not exist\.\n`, "account", "close", "000000000000", "--yes")
	n.want(exitRefused, "", `kmsd: ConflictException: The operator's account cannot be closed\.\n`, "account", "close", "111122223333", "--yes")
	var list admin.ListAccountsResponse
	got = n.ask("account", "list", "--json")
	if err := json.Unmarshal([]byte(got.out), &list); err != nil || len(list.Accounts) != 4 {
		t.Errorf("account list --json: %+v, %v", got, err)
	}
	for _, a := range list.Accounts {
		if closed := a.AccountID == "444455556666" || a.AccountID == "777788889999"; (a.Status == admin.AccountClosed) != closed || a.Created.IsZero() {
			t.Errorf("account list shows %+v", a)
		}
	}
	// The socket without credentials may replace a root credential and nothing else.
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	for _, args := range [][]string{{"create"}, {"list"}, {"close", "777788889999", "--yes"}} {
		n.want(exitUsage, "", "kmsd: this command needs credentials: .*\n", append([]string{"account"}, args...)...)
	}
	n.want(exitOK, printed, "", "account", "reset-root", list.Accounts[0].AccountID, "--yes")
}

// administer runs a call of the admin API on a member, as the cluster's root user, and
// reads the answer into out.
func (c *testCluster) administer(m *member, op, body string, out any) {
	c.t.Helper()
	session, err := m.service.Open(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := session.Do(c.t.Context(), &service.Call{
		Service: admin.ServiceName, Operation: op, Body: []byte(body), Region: testRegion, RequestID: service.NewUUID(),
		Principal: kms.RootPrincipal(c.cmd.Account, c.root.id),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		c.t.Fatal(err)
	}
}

// An account that is made through one node works on all of them at once, and one that is
// closed through one is out on all of them: its callers, and its keys for others.
func TestAccountsOnEveryNode(t *testing.T) {
	t.Parallel()
	c := startTest(t)
	var made struct{ AccessKeyID, SecretAccessKey string }
	c.administer(c.members[0], "CreateAccount", `{"accountId":"444455556666"}`, &made)
	theirs := *c
	theirs.devCluster = &devCluster{root: credential{made.AccessKeyID, made.SecretAccessKey}}
	for i, m := range c.members {
		if _, err := theirs.patientClient(m).ListKeys(t.Context(), &awskms.ListKeysInput{}); err != nil {
			t.Errorf("the new account on node %d: %v", i, err)
		}
	}
	policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":["444455556666","123456789012"]},"Action":"kms:*","Resource":"*"}}`
	key, err := theirs.patientClient(c.members[1]).CreateKey(t.Context(), &awskms.CreateKeyInput{Policy: &policy})
	if err != nil {
		t.Fatal(err)
	}
	use := func(m *member) error {
		_, err := c.patientClient(m).Encrypt(t.Context(), &awskms.EncryptInput{KeyId: key.KeyMetadata.Arn, Plaintext: []byte("x")})
		return err
	}
	for i, m := range c.members {
		if err := use(m); err != nil {
			t.Errorf("the key of the new account on node %d: %v", i, err)
		}
	}
	c.administer(c.members[2], "CloseAccount", `{"accountId":"444455556666"}`, &admin.CloseAccountResponse{})
	for i, m := range c.members {
		_, err := theirs.patientClient(m).ListKeys(t.Context(), &awskms.ListKeysInput{})
		for code, err := range map[string]error{"UnrecognizedClientException": err, "AccessDeniedException": use(m)} {
			var refusal smithy.APIError
			if (!errors.As(err, &refusal) || refusal.ErrorCode() != code) && !c.skipped() {
				t.Errorf("the closed account on node %d: got %v, want %s", i, err, code)
			}
		}
	}
}

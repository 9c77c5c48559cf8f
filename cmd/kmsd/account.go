package main

import (
	"context"
	"errors"
	"time"

	"github.com/kmsd/kmsd/internal/adminclient"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/wire/admin"
)

// accountCmd groups what is about accounts.
type accountCmd struct {
	Create    accountCreateCmd    `cmd:"" help:"Make an account. Prints the credential of its root user, this once."`
	List      accountListCmd      `cmd:"" help:"List the accounts of the cluster, the closed ones, too."`
	Close     accountCloseCmd     `cmd:"" help:"Close an account for good: nobody of it is let in any more, and nobody can use its keys."`
	ResetRoot accountResetRootCmd `cmd:"" help:"Give an account's root user a new access key; the old ones end."`
}

// accountCreateCmd is "kmsd account create".
type accountCreateCmd struct {
	operator
	AccountID string `placeholder:"ID" help:"The account's id, 12 digits. Default: random."`
}

// Validate holds the form of the id.
func (c *accountCreateCmd) Validate() error {
	if c.AccountID != "" && !kms.ValidAccount(c.AccountID) {
		return errors.New("--account-id must be 12 digits")
	}
	return nil
}

// Run makes the account and prints its root credential.
func (c *accountCreateCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	key, err := client.CreateAccount(ctx, c.AccountID)
	if err != nil {
		return c.outcome(err)
	}
	return c.credential(std, key)
}

// credential prints the credential of a root user.
func (o *operator) credential(std *streams, key *admin.RootCredential) error {
	if o.JSON {
		return o.answer(std, key)
	}
	return std.table(
		[]string{"Account", key.AccountID}, []string{"Access key id", key.AccessKeyID},
		[]string{"Secret access key", string(key.SecretAccessKey)},
	)
}

// accountListCmd is "kmsd account list".
type accountListCmd struct{ operator }

// Run prints the accounts.
func (c *accountListCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	out, err := client.Accounts(ctx)
	if err != nil {
		return c.outcome(err)
	}
	if c.JSON {
		return c.answer(std, out)
	}
	rows := [][]string{{"ACCOUNT", "STATUS", "CREATED"}}
	for _, a := range out.Accounts {
		rows = append(rows, []string{a.AccountID, a.Status, a.Created.Format(time.RFC3339)})
	}
	return std.table(rows...)
}

// namedAccount is embedded by the commands on one account.
type namedAccount struct {
	ID string `arg:"" help:"The account: 12 digits."`
}

// Validate holds the form of the id.
func (n *namedAccount) Validate() error {
	if !kms.ValidAccount(n.ID) {
		return errors.New("the account's id must be 12 digits")
	}
	return nil
}

// accountCloseCmd is "kmsd account close".
type accountCloseCmd struct {
	operator
	confirmation
	namedAccount
}

// Run closes an account.
func (c *accountCloseCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	what := "Account " + c.ID + " is closed for good: nobody of it is let in any more, and nobody can use its keys."
	if err := c.ask(std, what); err != nil {
		return err
	}
	if err := client.CloseAccount(ctx, c.ID); err != nil {
		return c.outcome(err)
	}
	return c.done(std, &admin.CloseAccountResponse{}, "Account "+c.ID+" is closed.")
}

// accountResetRootCmd is "kmsd account reset-root".
type accountResetRootCmd struct {
	operator
	confirmation
	namedAccount
}

// Run resets the root credential of any account.
func (c *accountResetRootCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	return c.resetRoot(ctx, std, client, &c.confirmation, c.ID)
}

// resetRoot gives an account's root user a new access key, if the operator agrees, and
// prints it.
func (o *operator) resetRoot(ctx context.Context, std *streams, client *adminclient.Client, agreed *confirmation, account string) error {
	if err := agreed.ask(std, "All access keys of the root user of account "+account+" end at once."); err != nil {
		return err
	}
	key, err := client.ResetRootCredential(ctx, account)
	if err != nil {
		return o.outcome(err)
	}
	return o.credential(std, key)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kmsd/kmsd/internal/adminclient"
	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/admin"
)

// done prints the empty response of what was done, or a sentence about it.
func (o *operator) done(std *streams, r wire.Response, sentence string) error {
	if o.JSON {
		return o.answer(std, r)
	}
	_, err := io.WriteString(std.out, sentence+"\n")
	return err
}

// tokenCmd groups what is about join tokens.
type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token with which nodes can join. It is worth every key of the cluster."`
}

// tokenCreateCmd is "kmsd token create".
type tokenCreateCmd struct {
	operator
	TTL  time.Duration `default:"1h" help:"How long the token can be used: 1s to 24h."`
	Uses int           `default:"1" help:"How many nodes can join with it: 1 to 100."`
	CIDR []string      `placeholder:"CIDR" help:"The networks from which nodes can join with it. Default: any."`
}

// Validate holds what the cluster would refuse.
func (c *tokenCreateCmd) Validate() error {
	if c.TTL < time.Second || c.TTL > admin.MaxTokenTTL*time.Second || c.TTL%time.Second != 0 {
		return errors.New("--ttl must be whole seconds between 1s and 24h")
	}
	if c.Uses < 1 || c.Uses > admin.MaxTokenUses {
		return fmt.Errorf("--uses must be between 1 and %d", admin.MaxTokenUses)
	}
	return nil
}

// Run prints a new token, alone on standard output.
func (c *tokenCreateCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	ttl := int(c.TTL / time.Second)
	token, err := client.CreateJoinToken(ctx, &admin.CreateJoinTokenRequest{TTLSeconds: &ttl, Uses: &c.Uses, CIDRs: c.CIDR})
	if err != nil {
		return c.outcome(err)
	}
	if c.JSON {
		return c.answer(std, token)
	}
	if _, err := io.WriteString(std.out, string(token.Token)+"\n"); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.err, "Valid until %s for %d node(s). Who has it before can read every key.\n",
		token.Expires.UTC().Format(time.RFC3339), token.Uses)
	return err
}

// rootCredentialCmd groups what is about the operator account's root credential.
type rootCredentialCmd struct {
	Reset rootResetCmd `cmd:"" help:"Give the operator account's root user a new access key; the old ones end. For other accounts: kmsd account reset-root."`
}

// rootResetCmd is "kmsd root-credential reset".
type rootResetCmd struct {
	operator
	confirmation
}

// Run resets the credential and prints the new one.
func (c *rootResetCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	account, err := operatorAccount(ctx, client)
	if err != nil {
		return c.outcome(err)
	}
	return c.resetRoot(ctx, std, client, &c.confirmation, account)
}

// operatorAccount asks the node for the operator account.
func operatorAccount(ctx context.Context, client *adminclient.Client) (string, error) {
	s, err := client.Status(ctx)
	if err == nil && s.OperatorAccount == "" {
		err = errors.New("the node does not know the operator account yet")
	}
	if err != nil {
		return "", err
	}
	return s.OperatorAccount, nil
}

// caCmd is "kmsd ca".
type caCmd struct{ operator }

// Run prints the certificate that clients trust.
func (c *caCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	text, err := client.Authority(ctx)
	if err != nil {
		return c.outcome(err)
	}
	if c.JSON {
		return c.answer(std, &admin.GetAuthorityResponse{Certificate: text})
	}
	_, err = io.WriteString(std.out, text)
	return err
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/wire/admin"
)

// explainCmd is "kmsd explain".
type explainCmd struct {
	operator
	Principal string   `arg:"" help:"Who: the ARN of a user, a role (any session of it), a session or an account's root user, a unique id, or a service (s3.amazonaws.com), which calls for the key's account unless kms:CallerAccount is given."`
	Action    string   `arg:"" help:"The permission: kms:Decrypt, iam:GetUser, sts:AssumeRole, kmsd:GetStatus."`
	Resource  string   `arg:"" optional:"" default:"*" help:"What the action is on: the ARN of a key, an alias, a role or whatever IAM has, or *."`
	Context   []string `sep:"none" placeholder:"KEY=VALUE" help:"A condition key of the call that the cluster cannot know, such as kms:EncryptionContext:app=orders or aws:SourceIp=10.0.0.1. Several values of one key: several times. What is given goes before what the cluster knows."`
}

// Help is what "kmsd explain --help" says besides.
func (*explainCmd) Help() string {
	return "Decides as a real call would be decided, now, and says which statement did. Keys, tags, aliases, the principal and its policies come from the cluster; " +
		"what only a real call has is absent unless --context gives it: parameters, source address, and the policies and tags of a session. " +
		"The exit code is 0 when there is an answer, allowed or denied. The answer shows policies of every account."
}

// Run prints how the permission is decided.
func (c *explainCmd) Run(ctx context.Context, std *streams) error {
	in := &admin.ExplainRequest{Principal: c.Principal, Action: c.Action, Resource: c.Resource}
	var err error
	if in.Context, err = parseContext(c.Context); err != nil {
		return &exitError{exitUsage, err}
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	out, err := client.Explain(ctx, in)
	if err != nil {
		return c.outcome(err)
	}
	if c.JSON {
		return c.answer(std, out)
	}
	return printExplanation(std, out)
}

// parseContext reads the values of --context. A key that stands several times, in any
// case, has several values.
func parseContext(args []string) (map[string][]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	context, spelt := map[string][]string{}, map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, errors.New("--context must look like aws:SourceIp=10.0.0.1")
		}
		folded := strings.ToLower(key)
		if _, again := spelt[folded]; !again {
			spelt[folded] = key
		}
		context[spelt[folded]] = append(context[spelt[folded]], value)
	}
	return context, nil
}

func printExplanation(std *streams, e *admin.ExplainResponse) error {
	if err := std.table(explanationRows(e)...); err != nil {
		return err
	}
	if s := e.Statement; s != nil {
		var text bytes.Buffer
		if err := json.Indent(&text, s.Text, "", "  "); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(std.out, "\n%s\n", text.Bytes()); err != nil {
			return err
		}
	}
	if len(e.Policies) == 0 {
		return nil
	}
	rows := [][]string{{"\nPOLICIES", "NAME", "ATTACHED TO", "SAYS"}}
	for i := range e.Policies {
		p := &e.Policies[i]
		rows = append(rows, []string{p.Kind, p.Policy, p.Holder, says(p)})
	}
	return std.table(rows...)
}

func explanationRows(e *admin.ExplainResponse) [][]string {
	decision := "denied"
	if e.Allowed {
		decision = "allowed"
	}
	rows := [][]string{
		{"Decision", decision + ", " + because(e)},
		{"Principal", e.Principal.ARN + " (" + e.Principal.UniqueID + ")"},
		{"Action", e.Action},
		{"Resource", e.Resource},
	}
	if s := e.Statement; s != nil {
		sid := ""
		if s.Sid != "" {
			sid = " (" + s.Sid + ")"
		}
		rows = append(rows, []string{"Policy", s.Policy + " of " + s.Holder}, []string{"Statement", fmt.Sprint(s.Index) + sid})
	}
	if g := e.Grant; g != nil {
		rows = append(rows, []string{"Grant", g.ID + " to " + g.Grantee}, []string{"Operations", strings.Join(g.Operations, ", ")})
	}
	if e.Message != "" {
		rows = append(rows, []string{"Message", e.Message})
	}
	if len(e.AbsentKeys) > 0 {
		rows = append(rows, []string{"Absent", strings.Join(e.AbsentKeys, ", ")})
	}
	switch kms.PrincipalType(e.Principal.Type) {
	case kms.PrincipalAssumedRole, kms.PrincipalService:
		rows = append(rows, []string{"Left out", "policies and tags of the session, which the cluster does not keep"})
	}
	return rows
}

// because says in words what kind of decision it is.
func because(e *admin.ExplainResponse) string {
	switch {
	case e.Explicit:
		return "explicitly, by a statement of " + withArticle(e.Ground)
	case e.Grant != nil:
		return "by a grant"
	case e.Allowed && e.Ground != "":
		return "implicitly, as an account's root user"
	case e.Allowed:
		return "without any permission"
	case e.Ground != "":
		return "implicitly, for want of " + withArticle(e.Ground) + " that allows it"
	}
	return "whatever policies say"
}

func withArticle(noun string) string {
	if strings.HasPrefix(noun, "i") {
		return "an " + noun
	}
	return "a " + noun
}

func says(p *admin.PolicySay) string {
	switch {
	case p.Allows && p.Denies:
		return "allow, deny"
	case p.Allows:
		return "allow"
	case p.Denies:
		return "deny"
	}
	return "nothing"
}

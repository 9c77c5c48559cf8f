package iamapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

func policyRows() []*service.Row {
	return []*service.Row{
		iamRow("CreatePolicy", service.Op[wire.CreatePolicyRequest, wire.CreatePolicyResponse]{
			Once: true, Makes: true, Check: func(in *wire.CreatePolicyRequest) error { return checkTags(in.Tags) },
			Resource: func(r *service.Request, in *wire.CreatePolicyRequest) (arn, shown string) {
				p := fsm.ManagedPolicy{Account: r.Principal.Account, Path: pathOr(in.Path), Name: in.PolicyName}
				return p.ARN(), "policy " + in.PolicyName
			},
			Also:       func(in *wire.CreatePolicyRequest) []string { return tagAction("iam:TagPolicy", in.Tags) },
			Conditions: func(in *wire.CreatePolicyRequest, key string) []string { return tagCondition(in.Tags, key) },
			Params: func(in *wire.CreatePolicyRequest, p *audit.Params) {
				p.OptString("path", in.Path)
				p.String("policyName", in.PolicyName)
				p.String("policyDocument", in.PolicyDocument)
				p.OptString("description", in.Description)
				recordTags(p, in.Tags)
			},
			Write: createPolicy, Repeat: repeatPolicy,
		}),
		iamRow("GetPolicy", service.Op[wire.GetPolicyRequest, wire.GetPolicyResponse]{
			Resource: onPolicy(func(in *wire.GetPolicyRequest) string { return in.PolicyArn }),
			Params:   named("policyArn", func(in *wire.GetPolicyRequest) string { return in.PolicyArn }),
			Read:     getPolicy,
		}),
		iamRow("DeletePolicy", service.Op[wire.DeletePolicyRequest, service.None]{
			Once: true, Resource: onPolicy(func(in *wire.DeletePolicyRequest) string { return in.PolicyArn }),
			Params: named("policyArn", func(in *wire.DeletePolicyRequest) string { return in.PolicyArn }),
			Write: func(_ context.Context, r *service.Request, in *wire.DeletePolicyRequest) (fsm.Args, *service.None, error) {
				p, err := ownPolicy(r, in.PolicyArn)
				if err != nil {
					return nil, nil, err
				}
				return fsm.DeleteManagedPolicy{ARN: p.ARN()}, nil, nil
			},
		}),
		iamRow("TagPolicy", service.Op[wire.TagPolicyRequest, service.None]{
			Check:      func(in *wire.TagPolicyRequest) error { return checkTags(in.Tags) },
			Resource:   onPolicy(func(in *wire.TagPolicyRequest) string { return in.PolicyArn }),
			Conditions: func(in *wire.TagPolicyRequest, key string) []string { return tagCondition(in.Tags, key) },
			Params: func(in *wire.TagPolicyRequest, p *audit.Params) {
				p.String("policyArn", in.PolicyArn)
				recordTags(p, in.Tags)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.TagPolicyRequest) (fsm.Args, *service.None, error) {
				return updatePolicy(r, in.PolicyArn, func(p *fsm.ManagedPolicy) { p.Tags = tagged(p.Tags, in.Tags) })
			},
		}),
		iamRow("UntagPolicy", service.Op[wire.UntagPolicyRequest, service.None]{
			Resource:   onPolicy(func(in *wire.UntagPolicyRequest) string { return in.PolicyArn }),
			Conditions: func(in *wire.UntagPolicyRequest, key string) []string { return untagCondition(in.TagKeys, key) },
			Params: func(in *wire.UntagPolicyRequest, p *audit.Params) {
				p.String("policyArn", in.PolicyArn)
				p.Strings("tagKeys", in.TagKeys)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.UntagPolicyRequest) (fsm.Args, *service.None, error) {
				return updatePolicy(r, in.PolicyArn, func(p *fsm.ManagedPolicy) { p.Tags = untagged(p.Tags, in.TagKeys) })
			},
		}),
		iamRow("ListPolicyTags", service.Op[wire.ListPolicyTagsRequest, wire.ListPolicyTagsResponse]{
			Resource: onPolicy(func(in *wire.ListPolicyTagsRequest) string { return in.PolicyArn }),
			Params: func(in *wire.ListPolicyTagsRequest, p *audit.Params) {
				p.String("policyArn", in.PolicyArn)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listPolicyTags,
		}),
	}
}

// onPolicy is the resource of calls on one managed policy, which need not exist.
func onPolicy[In any](arn func(*In) string) resource[In] {
	return func(r *service.Request, in *In) (string, string) {
		named := arn(in)
		r.Target = service.Target{}
		if p, err := managedPolicy(r, named); err == nil {
			r.Target.Tags = p.Tags
		}
		return named, "policy " + named
	}
}

// awsAccount stands in the ARNs of the policies that AWS manages for an account.
const awsAccount = "aws"

// awsPolicy is a policy that AWS manages as the account's own policies are kept. It has
// one version, whose text is not in the state.
func awsPolicy(p *iam.ManagedPolicy) *fsm.ManagedPolicy {
	only := fsm.PolicyVersion{ID: firstVersion, Hash: sha256.Sum256([]byte(p.Text)), Created: p.Created}
	return &fsm.ManagedPolicy{
		ID: p.ID, Account: awsAccount, Name: p.Name, Path: "/", Description: p.Description, Created: p.Created, Updated: p.Created,
		Versions: []fsm.PolicyVersion{only}, Default: only.ID, Made: 1,
	}
}

// managedPolicy returns a policy of the caller's account or of AWS. Whether another
// account has a policy, nobody learns. Errors: InvalidInput, NoSuchEntity,
// AccessDenied.
func managedPolicy(r *service.Request, arn string) (*fsm.ManagedPolicy, error) {
	parsed, ok := kms.ParseARN(arn)
	if !ok || parsed.Partition != kms.Partition || parsed.Service != "iam" || parsed.Region != "" || !strings.HasPrefix(parsed.Resource, "policy/") {
		return nil, invalidInput("ARN " + arn + " is not valid.")
	}
	switch parsed.Account {
	case awsAccount:
		if p, ok := iam.AWSManaged(arn); ok {
			return awsPolicy(p), nil
		}
	case r.Principal.Account:
		if p, ok := r.View.ManagedPolicy(arn); ok {
			return p, nil
		}
	default:
		return nil, notTheirs(r, arn)
	}
	return nil, noSuchPolicy(arn)
}

// ownPolicy is managedPolicy for calls that change the policy: those of AWS are AWS's
// to change.
func ownPolicy(r *service.Request, arn string) (*fsm.ManagedPolicy, error) {
	p, err := managedPolicy(r, arn)
	if err == nil && p.Account == awsAccount {
		return nil, notTheirs(r, arn)
	}
	return p, err
}

// notTheirs refuses a call on a policy that is not the account's, whatever the
// caller's policies allow.
func notTheirs(r *service.Request, arn string) error {
	action := "iam:" + r.Operation
	return denied("User: " + r.Principal.ARN + " is not authorized to perform: " + action + " on resource: policy " + arn +
		" because no resource-based policy allows the " + action + " action")
}

// changedPolicy is the command that replaces a policy by what change makes of it.
func changedPolicy(p *fsm.ManagedPolicy, change func(*fsm.ManagedPolicy)) fsm.SetManagedPolicy {
	next := *p
	next.ModIndex = 0
	change(&next)
	return fsm.SetManagedPolicy{Policy: next}
}

// updatePolicy changes a policy of the account.
func updatePolicy(r *service.Request, arn string, change func(*fsm.ManagedPolicy)) (fsm.Args, *service.None, error) {
	p, err := ownPolicy(r, arn)
	if err != nil {
		return nil, nil, err
	}
	return changedPolicy(p, change), nil, nil
}

// maxManagedPolicy is how long a managed policy may be, in characters without white
// space (AWS IAM: "IAM and AWS STS quotas").
const maxManagedPolicy = 6144

// checkDocument checks the text of a managed policy. Errors: MalformedPolicyDocument,
// LimitExceeded.
func checkDocument(document string) error {
	if _, err := iam.Parse(document, iam.IdentityPolicy); err != nil {
		return err
	}
	if policySize(document) > maxManagedPolicy {
		return &kms.Error{Code: kms.CodeEntityLimitExceeded, Message: fmt.Sprintf("Cannot exceed quota for PolicySize: %d", maxManagedPolicy)}
	}
	return nil
}

func createPolicy(_ context.Context, r *service.Request, in *wire.CreatePolicyRequest) (fsm.Args, *wire.CreatePolicyResponse, error) {
	if err := checkDocument(in.PolicyDocument); err != nil {
		return nil, nil, err
	}
	first := fsm.PolicyVersion{ID: firstVersion, Hash: sha256.Sum256([]byte(in.PolicyDocument)), Created: r.Now}
	p := fsm.ManagedPolicy{
		ID: service.NewUniqueID("ANPA"), Account: r.Principal.Account, Name: in.PolicyName, Path: pathOr(in.Path), Created: r.Now, Updated: r.Now,
		Versions: []fsm.PolicyVersion{first}, Default: first.ID, Made: 1, Tags: tagged(nil, in.Tags),
	}
	if in.Description != nil {
		p.Description = *in.Description
	}
	return fsm.CreateManagedPolicy{Policy: p, Texts: []string{in.PolicyDocument}}, createdPolicy(r, &p), nil
}

func repeatPolicy(r *service.Request, once *fsm.Once) (*wire.CreatePolicyResponse, error) {
	p, err := madePolicy(r, once, 2)
	if err != nil {
		return nil, err
	}
	return createdPolicy(r, p), nil
}

// madePolicy returns the policy that a command made or gave a version before, for the
// answer to a retry. What it made has n identifiers.
func madePolicy(r *service.Request, once *fsm.Once, n int) (*fsm.ManagedPolicy, error) {
	if len(once.IDs) != n {
		return nil, fmt.Errorf("kmsd: exactly-once entry of %s has %d identifiers", r.Operation, len(once.IDs))
	}
	p, ok := r.View.ManagedPolicyNamed(r.Principal.Account, once.IDs[1])
	if !ok || p.ID != once.IDs[0] {
		return nil, noSuch("The entity that the request created cannot be found.")
	}
	return p, nil
}

// createdPolicy is the answer for a new policy, also when it was changed since. The
// record shows it, too.
func createdPolicy(r *service.Request, p *fsm.ManagedPolicy) *wire.CreatePolicyResponse {
	created := *p
	created.Default, created.Updated = firstVersion, p.Created
	r.Record.ResponseElements.Object("policy", func(p *audit.Params) {
		p.String("policyName", created.Name)
		p.String("policyId", created.ID)
		p.String("arn", created.ARN())
		p.String("path", created.Path)
		p.String("defaultVersionId", created.Default)
		p.Int("attachmentCount", 0)
		p.Int("permissionsBoundaryUsageCount", 0)
		p.Bool("isAttachable", true)
		p.Time("createDate", created.Created)
		p.Time("updateDate", created.Updated)
	})
	shown := shownPolicy(&created, 0, 0)
	shown.Tags = shownTags(created.Tags)
	return &wire.CreatePolicyResponse{Policy: &shown}
}

// shownPolicy is a policy as lists show it: without its description and its tags (AWS
// IAM: Policy, ListPolicies).
func shownPolicy(p *fsm.ManagedPolicy, attached, bounding int) wire.Policy {
	return wire.Policy{
		PolicyName: &p.Name, PolicyId: &p.ID, Arn: new(p.ARN()), Path: &p.Path, DefaultVersionId: &p.Default,
		AttachmentCount: &attached, PermissionsBoundaryUsageCount: &bounding, IsAttachable: new(true),
		CreateDate: at(p.Created), UpdateDate: at(p.Updated),
	}
}

func getPolicy(_ context.Context, r *service.Request, in *wire.GetPolicyRequest) (*wire.GetPolicyResponse, error) {
	p, err := managedPolicy(r, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	attached, bounding := r.View.PolicyUses(r.Principal.Account, in.PolicyArn)
	shown := shownPolicy(p, attached, bounding)
	shown.Description, shown.Tags = nonEmpty(p.Description), shownTags(p.Tags)
	return &wire.GetPolicyResponse{Policy: &shown}, nil
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func listPolicyTags(_ context.Context, r *service.Request, in *wire.ListPolicyTagsRequest) (*wire.ListPolicyTagsResponse, error) {
	p, err := managedPolicy(r, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	page, err := tagPage(pager{list: "ListPolicyTags " + p.ID, marker: in.Marker, maxItems: in.MaxItems}, p.Tags)
	if err != nil {
		return nil, err
	}
	return &wire.ListPolicyTagsResponse{Tags: page.items, IsTruncated: page.truncated, Marker: page.marker}, nil
}

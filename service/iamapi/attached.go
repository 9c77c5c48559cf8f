package iamapi

import (
	"context"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

// attachCall is a call on a managed policy of an identity.
type attachCall struct {
	owner, arn string
}

func attachedRows() []*service.Row {
	return []*service.Row{
		attach("AttachUserPolicy", fsm.KindUser, func(in *wire.AttachUserPolicyRequest) attachCall {
			return attachCall{in.UserName, in.PolicyArn}
		}),
		attach("AttachGroupPolicy", fsm.KindGroup, func(in *wire.AttachGroupPolicyRequest) attachCall {
			return attachCall{in.GroupName, in.PolicyArn}
		}),
		attach("AttachRolePolicy", fsm.KindRole, func(in *wire.AttachRolePolicyRequest) attachCall {
			return attachCall{in.RoleName, in.PolicyArn}
		}),
		detach("DetachUserPolicy", fsm.KindUser, func(in *wire.DetachUserPolicyRequest) attachCall {
			return attachCall{in.UserName, in.PolicyArn}
		}),
		detach("DetachGroupPolicy", fsm.KindGroup, func(in *wire.DetachGroupPolicyRequest) attachCall {
			return attachCall{in.GroupName, in.PolicyArn}
		}),
		detach("DetachRolePolicy", fsm.KindRole, func(in *wire.DetachRolePolicyRequest) attachCall {
			return attachCall{in.RoleName, in.PolicyArn}
		}),
		listAttached("ListAttachedUserPolicies", fsm.KindUser, func(in *wire.ListAttachedUserPoliciesRequest) attachedList {
			return attachedList{in.UserName, in.PathPrefix, pager{marker: in.Marker, maxItems: in.MaxItems}}
		}, func(l listed[wire.AttachedPolicy]) *wire.ListAttachedUserPoliciesResponse {
			return &wire.ListAttachedUserPoliciesResponse{AttachedPolicies: l.items, IsTruncated: l.truncated, Marker: l.marker}
		}),
		listAttached("ListAttachedGroupPolicies", fsm.KindGroup, func(in *wire.ListAttachedGroupPoliciesRequest) attachedList {
			return attachedList{in.GroupName, in.PathPrefix, pager{marker: in.Marker, maxItems: in.MaxItems}}
		}, func(l listed[wire.AttachedPolicy]) *wire.ListAttachedGroupPoliciesResponse {
			return &wire.ListAttachedGroupPoliciesResponse{AttachedPolicies: l.items, IsTruncated: l.truncated, Marker: l.marker}
		}),
		listAttached("ListAttachedRolePolicies", fsm.KindRole, func(in *wire.ListAttachedRolePoliciesRequest) attachedList {
			return attachedList{in.RoleName, in.PathPrefix, pager{marker: in.Marker, maxItems: in.MaxItems}}
		}, func(l listed[wire.AttachedPolicy]) *wire.ListAttachedRolePoliciesResponse {
			return &wire.ListAttachedRolePoliciesResponse{AttachedPolicies: l.items, IsTruncated: l.truncated, Marker: l.marker}
		}),
	}
}

func attach[In any](name string, kind fsm.IdentityKind, of func(*In) attachCall) *service.Row {
	return attachment(name, kind, of, false, func(r *service.Request, i *fsm.Identity, arn string) (fsm.Args, error) {
		if err := checkBoundary(r, arn); err != nil {
			return nil, err
		}
		return changed(i, func(i *fsm.Identity) {
			if !slices.Contains(i.Attached, arn) {
				i.Attached = append(slices.Clone(i.Attached), arn)
			}
		}), nil
	})
}

func detach[In any](name string, kind fsm.IdentityKind, of func(*In) attachCall) *service.Row {
	return attachment(name, kind, of, true, func(_ *service.Request, i *fsm.Identity, arn string) (fsm.Args, error) {
		at := slices.Index(i.Attached, arn)
		if at < 0 {
			return nil, noSuchPolicy(arn)
		}
		return changed(i, func(i *fsm.Identity) { i.Attached = slices.Delete(slices.Clone(i.Attached), at, at+1) }), nil
	})
}

// attachment describes a call that attaches or detaches a policy.
func attachment[In any](name string, kind fsm.IdentityKind, of func(*In) attachCall, once bool, change func(*service.Request, *fsm.Identity, string) (fsm.Args, error)) *service.Row {
	return iamRow(name, service.Op[In, service.None]{
		Once: once, Bounded: true, Resource: on(kind, func(in *In) string { return of(in).owner }),
		Conditions: func(in *In, key string) []string {
			if key == "iam:policyarn" {
				return []string{of(in).arn}
			}
			return nil
		},
		Params: func(in *In, p *audit.Params) {
			p.String(nouns[kind]+"Name", of(in).owner)
			p.String("policyArn", of(in).arn)
		},
		Write: func(_ context.Context, r *service.Request, in *In) (fsm.Args, *service.None, error) {
			i, err := find(r, kind, of(in).owner)
			if err != nil {
				return nil, nil, err
			}
			args, err := change(r, i, of(in).arn)
			return args, nil, err
		},
	})
}

func noSuchPolicy(arn string) error { return noSuch("Policy " + arn + " was not found.") }

// attachedList is a call that lists the managed policies of an identity.
type attachedList struct {
	owner  string
	prefix *string
	page   pager
}

func listAttached[In, Out any](name string, kind fsm.IdentityKind, of func(*In) attachedList, show func(listed[wire.AttachedPolicy]) *Out) *service.Row {
	return iamRow(name, service.Op[In, Out]{
		Resource: on(kind, func(in *In) string { return of(in).owner }),
		Params: func(in *In, p *audit.Params) {
			call := of(in)
			p.String(nouns[kind]+"Name", call.owner)
			p.OptString("pathPrefix", call.prefix)
			call.page.record(p)
		},
		Read: func(_ context.Context, r *service.Request, in *In) (*Out, error) {
			call := of(in)
			i, err := find(r, kind, call.owner)
			if err != nil {
				return nil, err
			}
			call.page.list = name + " " + i.ID + pathOr(call.prefix)
			page, err := pageOf(call.page, underPath(i.Attached, pathOr(call.prefix)), policyPlace, showAttached)
			return show(page), err
		},
	})
}

// underPath returns the policies whose path starts with prefix.
func underPath(arns []string, prefix string) (out []string) {
	for _, arn := range arns {
		if path, _ := pathAndName(arn); strings.HasPrefix(path, prefix) {
			out = append(out, arn)
		}
	}
	return out
}

// pathAndName splits what the ARN of a managed policy says of it.
func pathAndName(arn string) (path, name string) {
	_, resource, _ := strings.Cut(arn, ":policy/")
	at := strings.LastIndexByte(resource, '/') + 1
	return "/" + resource[:at], resource[at:]
}

// policyPlace is where a managed policy stands in a list: at its name, which is unique
// among the policies of the account, and among those of AWS.
func policyPlace(arn string) string {
	_, name := pathAndName(arn)
	parsed, _ := kms.ParseARN(arn)
	return strings.ToLower(name) + "/" + parsed.Account
}

func showAttached(arn string) wire.AttachedPolicy {
	_, name := pathAndName(arn)
	return wire.AttachedPolicy{PolicyName: &name, PolicyArn: &arn}
}

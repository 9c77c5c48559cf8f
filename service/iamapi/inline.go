package iamapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

// inlineCall is a call on an inline policy: whose it is, its name and, where the call
// has one, its text.
type inlineCall struct {
	owner, policy, document string
}

func (c inlineCall) record(kind fsm.IdentityKind, p *audit.Params) {
	p.String(nouns[kind]+"Name", c.owner)
	p.String("policyName", c.policy)
	if c.document != "" {
		p.String("policyDocument", c.document)
	}
}

func inlineRows() []*service.Row {
	return []*service.Row{
		putInline("PutUserPolicy", fsm.KindUser, func(in *wire.PutUserPolicyRequest) inlineCall {
			return inlineCall{in.UserName, in.PolicyName, in.PolicyDocument}
		}),
		putInline("PutGroupPolicy", fsm.KindGroup, func(in *wire.PutGroupPolicyRequest) inlineCall {
			return inlineCall{in.GroupName, in.PolicyName, in.PolicyDocument}
		}),
		putInline("PutRolePolicy", fsm.KindRole, func(in *wire.PutRolePolicyRequest) inlineCall {
			return inlineCall{in.RoleName, in.PolicyName, in.PolicyDocument}
		}),
		getInline("GetUserPolicy", fsm.KindUser, func(in *wire.GetUserPolicyRequest) inlineCall {
			return inlineCall{owner: in.UserName, policy: in.PolicyName}
		}, func(p inlineCall) *wire.GetUserPolicyResponse {
			return &wire.GetUserPolicyResponse{UserName: p.owner, PolicyName: p.policy, PolicyDocument: p.document}
		}),
		getInline("GetGroupPolicy", fsm.KindGroup, func(in *wire.GetGroupPolicyRequest) inlineCall {
			return inlineCall{owner: in.GroupName, policy: in.PolicyName}
		}, func(p inlineCall) *wire.GetGroupPolicyResponse {
			return &wire.GetGroupPolicyResponse{GroupName: p.owner, PolicyName: p.policy, PolicyDocument: p.document}
		}),
		getInline("GetRolePolicy", fsm.KindRole, func(in *wire.GetRolePolicyRequest) inlineCall {
			return inlineCall{owner: in.RoleName, policy: in.PolicyName}
		}, func(p inlineCall) *wire.GetRolePolicyResponse {
			return &wire.GetRolePolicyResponse{RoleName: p.owner, PolicyName: p.policy, PolicyDocument: p.document}
		}),
		deleteInline("DeleteUserPolicy", fsm.KindUser, func(in *wire.DeleteUserPolicyRequest) inlineCall {
			return inlineCall{owner: in.UserName, policy: in.PolicyName}
		}),
		deleteInline("DeleteGroupPolicy", fsm.KindGroup, func(in *wire.DeleteGroupPolicyRequest) inlineCall {
			return inlineCall{owner: in.GroupName, policy: in.PolicyName}
		}),
		deleteInline("DeleteRolePolicy", fsm.KindRole, func(in *wire.DeleteRolePolicyRequest) inlineCall {
			return inlineCall{owner: in.RoleName, policy: in.PolicyName}
		}),
		listInline("ListUserPolicies", fsm.KindUser, func(in *wire.ListUserPoliciesRequest) (string, pager) {
			return in.UserName, pager{marker: in.Marker, maxItems: in.MaxItems}
		}, func(l listed[string]) *wire.ListUserPoliciesResponse {
			return &wire.ListUserPoliciesResponse{PolicyNames: l.items, IsTruncated: l.truncated, Marker: l.marker}
		}),
		listInline("ListGroupPolicies", fsm.KindGroup, func(in *wire.ListGroupPoliciesRequest) (string, pager) {
			return in.GroupName, pager{marker: in.Marker, maxItems: in.MaxItems}
		}, func(l listed[string]) *wire.ListGroupPoliciesResponse {
			return &wire.ListGroupPoliciesResponse{PolicyNames: l.items, IsTruncated: l.truncated, Marker: l.marker}
		}),
		listInline("ListRolePolicies", fsm.KindRole, func(in *wire.ListRolePoliciesRequest) (string, pager) {
			return in.RoleName, pager{marker: in.Marker, maxItems: in.MaxItems}
		}, func(l listed[string]) *wire.ListRolePoliciesResponse {
			return &wire.ListRolePoliciesResponse{PolicyNames: l.items, IsTruncated: l.truncated, Marker: l.marker}
		}),
	}
}

func putInline[In any](name string, kind fsm.IdentityKind, of func(*In) inlineCall) *service.Row {
	return iamRow(name, service.Op[In, service.None]{
		Bounded: true, Resource: on(kind, func(in *In) string { return of(in).owner }),
		Params: func(in *In, p *audit.Params) { of(in).record(kind, p) },
		Write: func(_ context.Context, r *service.Request, in *In) (fsm.Args, *service.None, error) {
			call := of(in)
			i, err := find(r, kind, call.owner)
			if err != nil {
				return nil, nil, err
			}
			if _, err := iam.Parse(call.document, iam.IdentityPolicy); err != nil {
				return nil, nil, err
			}
			put := changed(i, func(i *fsm.Identity) { i.Inline = withInline(i.Inline, call) })
			put.Texts = []string{call.document}
			return put, nil, checkInlineSize(r, i, call)
		},
	})
}

func getInline[In, Out any](name string, kind fsm.IdentityKind, of func(*In) inlineCall, show func(inlineCall) *Out) *service.Row {
	return iamRow(name, service.Op[In, Out]{
		Resource: on(kind, func(in *In) string { return of(in).owner }),
		Params:   func(in *In, p *audit.Params) { of(in).record(kind, p) },
		Read: func(_ context.Context, r *service.Request, in *In) (*Out, error) {
			i, at, err := findInline(r, kind, of(in))
			if err != nil {
				return nil, err
			}
			return show(inlineCall{i.Name, i.Inline[at].Name, percentEncoded(text(r, i.Inline[at].Hash))}), nil
		},
	})
}

func deleteInline[In any](name string, kind fsm.IdentityKind, of func(*In) inlineCall) *service.Row {
	return iamRow(name, service.Op[In, service.None]{
		Once: true, Bounded: true, Resource: on(kind, func(in *In) string { return of(in).owner }),
		Params: func(in *In, p *audit.Params) { of(in).record(kind, p) },
		Write: func(_ context.Context, r *service.Request, in *In) (fsm.Args, *service.None, error) {
			i, at, err := findInline(r, kind, of(in))
			if err != nil {
				return nil, nil, err
			}
			return changed(i, func(i *fsm.Identity) { i.Inline = slices.Delete(slices.Clone(i.Inline), at, at+1) }), nil, nil
		},
	})
}

func listInline[In, Out any](name string, kind fsm.IdentityKind, of func(*In) (string, pager), show func(listed[string]) *Out) *service.Row {
	return iamRow(name, service.Op[In, Out]{
		Resource: on(kind, func(in *In) string { owner, _ := of(in); return owner }),
		Params: func(in *In, p *audit.Params) {
			owner, page := of(in)
			p.String(nouns[kind]+"Name", owner)
			page.record(p)
		},
		Read: func(_ context.Context, r *service.Request, in *In) (*Out, error) {
			owner, p := of(in)
			i, err := find(r, kind, owner)
			if err != nil {
				return nil, err
			}
			p.list = name + " " + i.ID
			page, err := pageOf(p, i.Inline, func(p fsm.InlinePolicy) string { return strings.ToLower(p.Name) }, func(p fsm.InlinePolicy) string { return p.Name })
			return show(page), err
		},
	})
}

// inlineAt finds an inline policy by its name in any case, -1 where there is none.
func inlineAt(policies []fsm.InlinePolicy, name string) int {
	return slices.IndexFunc(policies, func(p fsm.InlinePolicy) bool { return strings.EqualFold(p.Name, name) })
}

// findInline returns the identity and where its policy stands in Inline. Errors:
// NoSuchEntity.
func findInline(r *service.Request, kind fsm.IdentityKind, call inlineCall) (*fsm.Identity, int, error) {
	i, err := find(r, kind, call.owner)
	if err != nil {
		return nil, 0, err
	}
	at := inlineAt(i.Inline, call.policy)
	if at < 0 {
		return nil, 0, noSuch("The " + nouns[kind] + " policy with name " + call.policy + " cannot be found.")
	}
	return i, at, nil
}

// withInline returns the policies with that of the call added or replaced.
func withInline(policies []fsm.InlinePolicy, call inlineCall) []fsm.InlinePolicy {
	out, put := slices.Clone(policies), fsm.InlinePolicy{Name: call.policy, Hash: sha256.Sum256([]byte(call.document))}
	if at := inlineAt(out, call.policy); at >= 0 {
		out[at] = put
		return out
	}
	return append(out, put)
}

// inlineSizes are how long the inline policies of one identity may be in all, in
// characters without white space (AWS IAM: "IAM and AWS STS quotas").
var inlineSizes = map[fsm.IdentityKind]int{fsm.KindUser: 2048, fsm.KindGroup: 5120, fsm.KindRole: 10240}

// checkInlineSize refuses a policy with which those of the identity are too long.
func checkInlineSize(r *service.Request, i *fsm.Identity, call inlineCall) error {
	size := policySize(call.document)
	for _, p := range i.Inline {
		if !strings.EqualFold(p.Name, call.policy) {
			size += policySize(text(r, p.Hash))
		}
	}
	if limit := inlineSizes[i.Kind]; size > limit {
		return &kms.Error{Code: kms.CodeEntityLimitExceeded,
			Message: fmt.Sprintf("Maximum policy size of %d bytes exceeded for %s %s", limit, nouns[i.Kind], i.Name)}
	}
	return nil
}

// policySize is a policy's length as quotas count it: in characters, without white
// space.
func policySize(document string) (n int) {
	for _, c := range document {
		if !unicode.IsSpace(c) {
			n++
		}
	}
	return n
}

// text returns the text of a policy that a record in the View refers to.
func text(r *service.Request, hash [32]byte) string {
	document, ok := r.View.PolicyText(hash)
	if !ok {
		panic("kmsd: a record without its policy's text")
	}
	return document
}

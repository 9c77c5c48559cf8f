package iamapi

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

func policyListRows() []*service.Row {
	return []*service.Row{
		iamRow("ListPolicies", service.Op[wire.ListPoliciesRequest, wire.ListPoliciesResponse]{
			Resource: func(r *service.Request, in *wire.ListPoliciesRequest) (arn, shown string) {
				path := pathOr(in.PathPrefix)
				return "arn:" + kms.Partition + ":iam::" + r.Principal.Account + ":policy" + path, "policy path " + path
			},
			Params: func(in *wire.ListPoliciesRequest, p *audit.Params) {
				p.OptString("scope", nonEmpty(in.Scope))
				p.OptBool("onlyAttached", in.OnlyAttached)
				p.OptString("pathPrefix", in.PathPrefix)
				p.OptString("policyUsageFilter", nonEmpty(in.PolicyUsageFilter))
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listPolicies,
		}),
		iamRow("ListEntitiesForPolicy", service.Op[wire.ListEntitiesForPolicyRequest, wire.ListEntitiesForPolicyResponse]{
			Resource: onPolicy(func(in *wire.ListEntitiesForPolicyRequest) string { return in.PolicyArn }),
			Params: func(in *wire.ListEntitiesForPolicyRequest, p *audit.Params) {
				p.String("policyArn", in.PolicyArn)
				p.OptString("entityFilter", nonEmpty(in.EntityFilter))
				p.OptString("pathPrefix", in.PathPrefix)
				p.OptString("policyUsageFilter", nonEmpty(in.PolicyUsageFilter))
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listEntitiesForPolicy,
		}),
	}
}

// The prefixes of the places of managed policies in lists of several kinds. They come
// after those of fsm.PolicyEntityKey.
const (
	awsPrefix = "policy/aws/"
	ownPrefix = "policy/own/"
)

// mixedPlace is where a policy stands in a list of AWS's policies and the account's.
func mixedPlace(p *fsm.ManagedPolicy) string {
	if p.Account == awsAccount {
		return awsPrefix + policyKey(p)
	}
	return ownPrefix + policyKey(p)
}

// awsPolicies are the policies that AWS manages, in the order of their names in lower
// case.
func awsPolicies(after string, limit int) (out []*fsm.ManagedPolicy, more bool) {
	for _, p := range iam.AWSManagedPolicies() {
		if after == "" || strings.ToLower(p.Name) > after {
			out = append(out, awsPolicy(p))
		}
	}
	slices.SortFunc(out, func(a, b *fsm.ManagedPolicy) int { return cmp.Compare(policyKey(a), policyKey(b)) })
	return out[:min(len(out), limit)], len(out) > limit
}

// ownPolicies are the account's policies.
func ownPolicies(r *service.Request) source[*fsm.ManagedPolicy] {
	return func(after string, limit int) ([]*fsm.ManagedPolicy, bool) {
		return r.View.ManagedPolicies(r.Principal.Account, after, limit)
	}
}

// The values of PolicyUsageFilter.
const (
	asPermissions = "PermissionsPolicy"
	asBoundary    = "PermissionsBoundary"
)

// listPolicies lists policies with their uses in the account. OnlyAttached leaves those
// that a user, group or role has; a filter by usage those that are used so.
func listPolicies(_ context.Context, r *service.Request, in *wire.ListPoliciesRequest) (*wire.ListPoliciesResponse, error) {
	var sections []section[*fsm.ManagedPolicy]
	if in.Scope != "Local" {
		sections = append(sections, section[*fsm.ManagedPolicy]{awsPrefix, awsPolicies})
	}
	if in.Scope != "AWS" {
		sections = append(sections, section[*fsm.ManagedPolicy]{ownPrefix, ownPolicies(r)})
	}
	prefix, onlyAttached := pathOr(in.PathPrefix), in.OnlyAttached != nil && *in.OnlyAttached
	wanted := func(p *fsm.ManagedPolicy) bool {
		attached, bounding := r.View.PolicyUses(r.Principal.Account, p.ARN())
		return strings.HasPrefix(p.Path, prefix) && (attached > 0 || !onlyAttached && in.PolicyUsageFilter != asPermissions) &&
			(bounding > 0 || in.PolicyUsageFilter != asBoundary)
	}
	list := fmt.Sprint("ListPolicies ", r.Principal.Account, in.Scope, onlyAttached, in.PolicyUsageFilter, prefix)
	page, err := scan(pager{list: list, marker: in.Marker, maxItems: in.MaxItems}, chain(sections), mixedPlace, wanted, func(p *fsm.ManagedPolicy) wire.Policy {
		attached, bounding := r.View.PolicyUses(r.Principal.Account, p.ARN())
		return shownPolicy(p, attached, bounding)
	})
	if err != nil {
		return nil, err
	}
	return &wire.ListPoliciesResponse{Policies: page.items, IsTruncated: page.truncated, Marker: page.marker}, nil
}

// entityKinds are the values of EntityFilter that name identities. The others that the
// model allows name nothing that can have a policy.
var entityKinds = map[string]fsm.IdentityKind{"User": fsm.KindUser, "Group": fsm.KindGroup, "Role": fsm.KindRole}

// entities are the users, groups and roles that use a policy as usage says; "" stands
// for any use. Who uses it twice comes once.
func entities(r *service.Request, arn, usage string) source[*fsm.Identity] {
	return func(after string, limit int) (out []*fsm.Identity, more bool) {
		for _, u := range []struct {
			usage   string
			bounded bool
		}{{asPermissions, false}, {asBoundary, true}} {
			if usage != "" && usage != u.usage {
				continue
			}
			found, further := r.View.PolicyEntities(r.Principal.Account, arn, u.bounded, after, limit)
			out, more = append(out, found...), more || further
		}
		byKey := func(a, b *fsm.Identity) int { return cmp.Compare(fsm.PolicyEntityKey(a), fsm.PolicyEntityKey(b)) }
		slices.SortFunc(out, byKey)
		out = slices.CompactFunc(out, func(a, b *fsm.Identity) bool { return a.ID == b.ID })
		return out[:min(len(out), limit)], more || len(out) > limit
	}
}

func listEntitiesForPolicy(_ context.Context, r *service.Request, in *wire.ListEntitiesForPolicyRequest) (*wire.ListEntitiesForPolicyResponse, error) {
	p, err := managedPolicy(r, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	prefix := pathOr(in.PathPrefix)
	wanted := func(i *fsm.Identity) bool {
		return strings.HasPrefix(i.Path, prefix) && (in.EntityFilter == "" || entityKinds[in.EntityFilter] == i.Kind)
	}
	out := &wire.ListEntitiesForPolicyResponse{}
	list := "ListEntitiesForPolicy " + r.Principal.Account + p.ID + in.EntityFilter + in.PolicyUsageFilter + prefix
	page, err := scan(pager{list: list, marker: in.Marker, maxItems: in.MaxItems}, entities(r, in.PolicyArn, in.PolicyUsageFilter), fsm.PolicyEntityKey, wanted,
		func(i *fsm.Identity) *fsm.Identity { return i })
	if err != nil {
		return nil, err
	}
	for _, i := range page.items {
		switch i.Kind {
		case fsm.KindUser:
			out.PolicyUsers = append(out.PolicyUsers, wire.PolicyUser{UserName: &i.Name, UserId: &i.ID})
		case fsm.KindGroup:
			out.PolicyGroups = append(out.PolicyGroups, wire.PolicyGroup{GroupName: &i.Name, GroupId: &i.ID})
		case fsm.KindRole:
			out.PolicyRoles = append(out.PolicyRoles, wire.PolicyRole{RoleName: &i.Name, RoleId: &i.ID})
		}
	}
	out.IsTruncated, out.Marker = page.truncated, page.marker
	return out, nil
}

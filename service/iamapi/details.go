package iamapi

import (
	"context"
	"fmt"
	"slices"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

func detailRows() []*service.Row {
	return []*service.Row{
		iamRow("GetAccountAuthorizationDetails", service.Op[wire.GetAccountAuthorizationDetailsRequest, wire.GetAccountAuthorizationDetailsResponse]{
			Params: func(in *wire.GetAccountAuthorizationDetailsRequest, p *audit.Params) {
				if len(in.Filter) > 0 {
					p.Strings("filter", in.Filter)
				}
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: getAccountAuthorizationDetails,
		}),
	}
}

// detail is what GetAccountAuthorizationDetails tells about: an identity or a managed
// policy.
type detail struct {
	identity *fsm.Identity
	policy   *fsm.ManagedPolicy
}

func (d detail) place() string {
	if d.identity != nil {
		return fsm.PolicyEntityKey(d.identity)
	}
	return mixedPlace(d.policy)
}

// detailSections are the parts of the list that the filter asks for, all without one.
func detailSections(r *service.Request, filter []string) (out []section[detail]) {
	ofIdentity := func(i *fsm.Identity) detail { return detail{identity: i} }
	ofPolicy := func(p *fsm.ManagedPolicy) detail { return detail{policy: p} }
	for _, part := range []struct {
		filter, prefix string
		next           source[detail]
	}{
		{"Group", "Group/", converted(all(r, fsm.KindGroup), ofIdentity)},
		{"Role", "Role/", converted(all(r, fsm.KindRole), ofIdentity)},
		{"User", "User/", converted(all(r, fsm.KindUser), ofIdentity)},
		{"AWSManagedPolicy", awsPrefix, converted(awsPolicies, ofPolicy)},
		{"LocalManagedPolicy", ownPrefix, converted(ownPolicies(r), ofPolicy)},
	} {
		if len(filter) == 0 || slices.Contains(filter, part.filter) {
			out = append(out, section[detail]{part.prefix, part.next})
		}
	}
	return out
}

// converted gives the elements of a source as another type.
func converted[From, To any](next source[From], convert func(From) To) source[To] {
	return func(after string, limit int) ([]To, bool) {
		found, more := next(after, limit)
		out := make([]To, len(found))
		for i, e := range found {
			out[i] = convert(e)
		}
		return out, more
	}
}

// maxDetails is how long the documents on a page may be before it ends, in bytes as
// they are shown. One element can hold five versions of 131,072 characters, so that a
// page of a thousand could take a node's memory (AWS: a page may have less than
// MaxItems).
const maxDetails = 1 << 20

// details makes a page of details. One goroutine uses it.
type details struct {
	r    *service.Request
	out  wire.GetAccountAuthorizationDetailsResponse
	size int
	err  error
}

// getAccountAuthorizationDetails tells of AWS's policies only those that the account
// uses.
func getAccountAuthorizationDetails(_ context.Context, r *service.Request, in *wire.GetAccountAuthorizationDetailsRequest) (*wire.GetAccountAuthorizationDetailsResponse, error) {
	d := &details{r: r}
	p := pager{
		list:   fmt.Sprint("GetAccountAuthorizationDetails ", r.Principal.Account, slices.Sorted(slices.Values(in.Filter))),
		marker: in.Marker, maxItems: in.MaxItems, full: func() bool { return d.size > maxDetails },
	}
	page, err := scan(p, chain(detailSections(r, in.Filter)), detail.place, d.wanted, d.add)
	if err == nil {
		err = d.err
	}
	if err != nil {
		return nil, err
	}
	d.out.IsTruncated, d.out.Marker = page.truncated, page.marker
	return &d.out, nil
}

func (d *details) wanted(e detail) bool {
	if e.policy == nil || e.policy.Account != awsAccount {
		return true
	}
	attached, bounding := d.r.View.PolicyUses(d.r.Principal.Account, e.policy.ARN())
	return attached+bounding > 0
}

func (d *details) add(e detail) struct{} {
	switch i := e.identity; {
	case i == nil:
		d.out.Policies = append(d.out.Policies, d.policy(e.policy))
	case i.Kind == fsm.KindUser:
		d.out.UserDetailList = append(d.out.UserDetailList, d.user(i))
	case i.Kind == fsm.KindGroup:
		d.out.GroupDetailList = append(d.out.GroupDetailList, d.group(i))
	default:
		d.out.RoleDetailList = append(d.out.RoleDetailList, d.role(i))
	}
	return struct{}{}
}

func (d *details) user(i *fsm.Identity) wire.UserDetail {
	groups := []string{}
	for _, id := range i.Groups {
		if g, ok := d.r.View.Identity(id); ok {
			groups = append(groups, g.Name)
		}
	}
	return wire.UserDetail{
		Path: &i.Path, UserName: &i.Name, UserId: &i.ID, Arn: new(i.ARN()), CreateDate: at(i.Created),
		UserPolicyList: d.inline(i), GroupList: groups, AttachedManagedPolicies: attachments(i),
		PermissionsBoundary: boundary(i), Tags: shownTags(i.Tags),
	}
}

func (d *details) group(i *fsm.Identity) wire.GroupDetail {
	return wire.GroupDetail{
		Path: &i.Path, GroupName: &i.Name, GroupId: &i.ID, Arn: new(i.ARN()), CreateDate: at(i.Created),
		GroupPolicyList: d.inline(i), AttachedManagedPolicies: attachments(i),
	}
}

func (d *details) role(i *fsm.Identity) wire.RoleDetail {
	role, err := fullRole(d.r, i)
	if err != nil {
		d.err = err
		return wire.RoleDetail{}
	}
	d.size += len(*role.AssumeRolePolicyDocument)
	return wire.RoleDetail{
		Path: &i.Path, RoleName: &i.Name, RoleId: &i.ID, Arn: new(i.ARN()), CreateDate: role.CreateDate,
		AssumeRolePolicyDocument: role.AssumeRolePolicyDocument, InstanceProfileList: []wire.InstanceProfile{},
		RolePolicyList: d.inline(i), AttachedManagedPolicies: attachments(i),
		PermissionsBoundary: role.PermissionsBoundary, Tags: role.Tags, RoleLastUsed: role.RoleLastUsed,
	}
}

func (d *details) policy(p *fsm.ManagedPolicy) wire.ManagedPolicyDetail {
	attached, bounding := d.r.View.PolicyUses(d.r.Principal.Account, p.ARN())
	out := wire.ManagedPolicyDetail{
		PolicyName: &p.Name, PolicyId: &p.ID, Arn: new(p.ARN()), Path: &p.Path, DefaultVersionId: &p.Default,
		AttachmentCount: &attached, PermissionsBoundaryUsageCount: &bounding, IsAttachable: new(true), Description: nonEmpty(p.Description),
		CreateDate: at(p.Created), UpdateDate: at(p.Updated),
	}
	for _, v := range newestFirst(p) {
		version := fullVersion(d.r, p, v)
		d.size += len(*version.Document)
		out.PolicyVersionList = append(out.PolicyVersionList, version)
	}
	return out
}

// inline are the inline policies of an identity with their documents.
func (d *details) inline(i *fsm.Identity) []wire.PolicyDetail {
	out := []wire.PolicyDetail{}
	for _, p := range i.Inline {
		document := percentEncoded(text(d.r, p.Hash))
		d.size += len(document)
		out = append(out, wire.PolicyDetail{PolicyName: &p.Name, PolicyDocument: &document})
	}
	return out
}

// attachments are the managed policies of an identity.
func attachments(i *fsm.Identity) []wire.AttachedPolicy {
	out := []wire.AttachedPolicy{}
	for _, arn := range i.Attached {
		out = append(out, showAttached(arn))
	}
	return out
}

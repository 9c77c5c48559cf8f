package iamapi

import (
	"context"
	"crypto/sha256"
	"unicode"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

func roleRows() []*service.Row {
	return []*service.Row{
		iamRow("CreateRole", service.Op[wire.CreateRoleRequest, wire.CreateRoleResponse]{
			Once: true, Check: func(in *wire.CreateRoleRequest) error { return checkTags(in.Tags) },
			Makes: true, Resource: onNew(fsm.KindRole, func(in *wire.CreateRoleRequest) (*string, string) { return in.Path, in.RoleName }),
			Also: func(in *wire.CreateRoleRequest) []string { return tagAction("iam:TagRole", in.Tags) },
			Conditions: func(in *wire.CreateRoleRequest, key string) []string {
				return append(tagCondition(in.Tags, key), boundaryCondition(in.PermissionsBoundary, key)...)
			},
			Params: createRoleParams, Write: createRole, Repeat: repeatRole,
		}),
		iamRow("GetRole", service.Op[wire.GetRoleRequest, wire.GetRoleResponse]{
			Resource: on(fsm.KindRole, func(in *wire.GetRoleRequest) string { return in.RoleName }),
			Params:   named("roleName", func(in *wire.GetRoleRequest) string { return in.RoleName }),
			Read:     getRole,
		}),
		iamRow("UpdateRole", service.Op[wire.UpdateRoleRequest, wire.UpdateRoleResponse]{
			Resource: on(fsm.KindRole, func(in *wire.UpdateRoleRequest) string { return in.RoleName }),
			Params: func(in *wire.UpdateRoleRequest, p *audit.Params) {
				p.String("roleName", in.RoleName)
				p.OptString("description", in.Description)
				audit.OptInt(p, "maxSessionDuration", in.MaxSessionDuration)
			},
			Write: updateRole,
		}),
		iamRow("UpdateRoleDescription", service.Op[wire.UpdateRoleDescriptionRequest, wire.UpdateRoleDescriptionResponse]{
			Resource: on(fsm.KindRole, func(in *wire.UpdateRoleDescriptionRequest) string { return in.RoleName }),
			Params: func(in *wire.UpdateRoleDescriptionRequest, p *audit.Params) {
				p.String("roleName", in.RoleName)
				p.String("description", in.Description)
			},
			Write: updateRoleDescription,
		}),
		iamRow("UpdateAssumeRolePolicy", service.Op[wire.UpdateAssumeRolePolicyRequest, service.None]{
			Resource: on(fsm.KindRole, func(in *wire.UpdateAssumeRolePolicyRequest) string { return in.RoleName }),
			Params: func(in *wire.UpdateAssumeRolePolicyRequest, p *audit.Params) {
				p.String("roleName", in.RoleName)
				p.String("policyDocument", in.PolicyDocument)
			},
			Write: updateAssumeRolePolicy,
		}),
		iamRow("DeleteRole", service.Op[wire.DeleteRoleRequest, service.None]{
			Once: true, Resource: on(fsm.KindRole, func(in *wire.DeleteRoleRequest) string { return in.RoleName }),
			Params: named("roleName", func(in *wire.DeleteRoleRequest) string { return in.RoleName }),
			Write: func(_ context.Context, r *service.Request, in *wire.DeleteRoleRequest) (fsm.Args, *service.None, error) {
				return remove(r, fsm.KindRole, in.RoleName)
			},
		}),
		iamRow("ListRoles", service.Op[wire.ListRolesRequest, wire.ListRolesResponse]{
			Resource: onAll("role", func(in *wire.ListRolesRequest) *string { return in.PathPrefix }),
			Params: func(in *wire.ListRolesRequest, p *audit.Params) {
				p.OptString("pathPrefix", in.PathPrefix)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listRoles,
		}),
		iamRow("TagRole", service.Op[wire.TagRoleRequest, service.None]{
			Check:      func(in *wire.TagRoleRequest) error { return checkTags(in.Tags) },
			Resource:   on(fsm.KindRole, func(in *wire.TagRoleRequest) string { return in.RoleName }),
			Conditions: func(in *wire.TagRoleRequest, key string) []string { return tagCondition(in.Tags, key) },
			Params: func(in *wire.TagRoleRequest, p *audit.Params) {
				p.String("roleName", in.RoleName)
				recordTags(p, in.Tags)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.TagRoleRequest) (fsm.Args, *service.None, error) {
				return update(r, fsm.KindRole, in.RoleName, func(i *fsm.Identity) { i.Tags = tagged(i.Tags, in.Tags) })
			},
		}),
		iamRow("UntagRole", service.Op[wire.UntagRoleRequest, service.None]{
			Resource:   on(fsm.KindRole, func(in *wire.UntagRoleRequest) string { return in.RoleName }),
			Conditions: func(in *wire.UntagRoleRequest, key string) []string { return untagCondition(in.TagKeys, key) },
			Params: func(in *wire.UntagRoleRequest, p *audit.Params) {
				p.String("roleName", in.RoleName)
				p.Strings("tagKeys", in.TagKeys)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.UntagRoleRequest) (fsm.Args, *service.None, error) {
				return update(r, fsm.KindRole, in.RoleName, func(i *fsm.Identity) { i.Tags = untagged(i.Tags, in.TagKeys) })
			},
		}),
		iamRow("ListRoleTags", service.Op[wire.ListRoleTagsRequest, wire.ListRoleTagsResponse]{
			Resource: on(fsm.KindRole, func(in *wire.ListRoleTagsRequest) string { return in.RoleName }),
			Params: func(in *wire.ListRoleTagsRequest, p *audit.Params) {
				p.String("roleName", in.RoleName)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listRoleTags,
		}),
		iamRow("PutRolePermissionsBoundary", service.Op[wire.PutRolePermissionsBoundaryRequest, service.None]{
			Resource: on(fsm.KindRole, func(in *wire.PutRolePermissionsBoundaryRequest) string { return in.RoleName }),
			Conditions: func(in *wire.PutRolePermissionsBoundaryRequest, key string) []string {
				return boundaryCondition(&in.PermissionsBoundary, key)
			},
			Params: func(in *wire.PutRolePermissionsBoundaryRequest, p *audit.Params) {
				p.String("roleName", in.RoleName)
				p.String("permissionsBoundary", in.PermissionsBoundary)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.PutRolePermissionsBoundaryRequest) (fsm.Args, *service.None, error) {
				return putBoundary(r, fsm.KindRole, in.RoleName, in.PermissionsBoundary)
			},
		}),
		iamRow("DeleteRolePermissionsBoundary", service.Op[wire.DeleteRolePermissionsBoundaryRequest, service.None]{
			Bounded: true, Resource: on(fsm.KindRole, func(in *wire.DeleteRolePermissionsBoundaryRequest) string { return in.RoleName }),
			Params: named("roleName", func(in *wire.DeleteRolePermissionsBoundaryRequest) string { return in.RoleName }),
			Write: func(_ context.Context, r *service.Request, in *wire.DeleteRolePermissionsBoundaryRequest) (fsm.Args, *service.None, error) {
				return update(r, fsm.KindRole, in.RoleName, func(i *fsm.Identity) { i.Boundary = "" })
			},
		}),
		iamRow("ListInstanceProfilesForRole", service.Op[wire.ListInstanceProfilesForRoleRequest, wire.ListInstanceProfilesForRoleResponse]{
			Resource: on(fsm.KindRole, func(in *wire.ListInstanceProfilesForRoleRequest) string { return in.RoleName }),
			Params: func(in *wire.ListInstanceProfilesForRoleRequest, p *audit.Params) {
				p.String("roleName", in.RoleName)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: func(_ context.Context, r *service.Request, in *wire.ListInstanceProfilesForRoleRequest) (*wire.ListInstanceProfilesForRoleResponse, error) {
				_, err := find(r, fsm.KindRole, in.RoleName)
				return &wire.ListInstanceProfilesForRoleResponse{IsTruncated: new(false)}, err
			},
		}),
	}
}

func createRoleParams(in *wire.CreateRoleRequest, p *audit.Params) {
	p.OptString("path", in.Path)
	p.String("roleName", in.RoleName)
	p.String("assumeRolePolicyDocument", in.AssumeRolePolicyDocument)
	p.OptString("description", in.Description)
	audit.OptInt(p, "maxSessionDuration", in.MaxSessionDuration)
	p.OptString("permissionsBoundary", in.PermissionsBoundary)
	recordTags(p, in.Tags)
}

// defaultMaxSession is a new role's longest session, in seconds (AWS IAM: CreateRole).
const defaultMaxSession = 3600

// maxTrustPolicy is how long a trust policy may be, in characters without white space
// (AWS IAM: "IAM and AWS STS quotas").
const maxTrustPolicy = 2048

// trust checks a trust policy and returns it as it is stored. Errors:
// MalformedPolicyDocument, LimitExceeded.
func trust(r *service.Request, document string) (string, error) {
	p, err := iam.Parse(document, iam.TrustPolicy)
	if err != nil {
		return "", err
	}
	size := 0
	for _, c := range document {
		if !unicode.IsSpace(c) {
			size++
		}
	}
	if size > maxTrustPolicy {
		return "", &kms.Error{Code: kms.CodeEntityLimitExceeded, Message: "Cannot exceed quota for ACLSizePerRole: 2048"}
	}
	for _, principal := range p.Principals() {
		if !service.KnownPrincipal(r.View, principal) {
			return "", &kms.Error{Code: kms.CodeMalformedPolicy, Message: `Invalid principal in policy: "AWS":"` + principal + `"`}
		}
	}
	return service.BindPolicy(r.View, document)
}

func createRole(_ context.Context, r *service.Request, in *wire.CreateRoleRequest) (fsm.Args, *wire.CreateRoleResponse, error) {
	text, err := trust(r, in.AssumeRolePolicyDocument)
	if err != nil {
		return nil, nil, err
	}
	i := fsm.Identity{
		ID: service.NewUniqueID("AROA"), Kind: fsm.KindRole, Account: r.Principal.Account, Name: in.RoleName, Path: pathOr(in.Path),
		Created: r.Now, Tags: tagged(nil, in.Tags), Trust: sha256.Sum256([]byte(text)), MaxSession: defaultMaxSession,
	}
	if in.Description != nil {
		i.Description = *in.Description
	}
	if in.MaxSessionDuration != nil {
		i.MaxSession = uint32(*in.MaxSessionDuration)
	}
	if in.PermissionsBoundary != nil {
		if err := checkBoundary(r, *in.PermissionsBoundary); err != nil {
			return nil, nil, err
		}
		i.Boundary = *in.PermissionsBoundary
	}
	out, err := createdRole(r, &i, text)
	return fsm.CreateIdentity{Identity: i, Texts: []string{text}}, out, err
}

func repeatRole(r *service.Request, once *fsm.Once) (*wire.CreateRoleResponse, error) {
	i, err := created(r, once)
	if err != nil {
		return nil, err
	}
	return createdRole(r, i, stored(r, i))
}

// createdRole is the answer for a new role, which the record shows, too. AWS leaves
// out what the role has by default.
func createdRole(r *service.Request, i *fsm.Identity, text string) (*wire.CreateRoleResponse, error) {
	role, err := shownRole(r, i, text)
	if err != nil {
		return nil, err
	}
	role.PermissionsBoundary, role.Tags = boundary(i), shownTags(i.Tags)
	r.Record.ResponseElements.Object("role", func(p *audit.Params) {
		p.String("path", i.Path)
		p.String("roleName", i.Name)
		p.String("roleId", i.ID)
		p.String("arn", i.ARN())
		p.Time("createDate", i.Created)
		p.OptString("assumeRolePolicyDocument", role.AssumeRolePolicyDocument)
	})
	return &wire.CreateRoleResponse{Role: role}, nil
}

// stored is a role's trust policy as the state has it.
func stored(r *service.Request, i *fsm.Identity) string {
	text, ok := r.View.PolicyText(i.Trust)
	if !ok {
		panic("kmsd: a role without its trust policy's text")
	}
	return text
}

// shownRole is a role as lists show it: without its tags and its boundary (AWS IAM:
// ListRoles).
func shownRole(r *service.Request, i *fsm.Identity, text string) (*wire.Role, error) {
	document, err := service.ShowPolicy(r.View, text)
	if err != nil {
		return nil, err
	}
	role := &wire.Role{
		Path: i.Path, RoleName: i.Name, RoleId: i.ID, Arn: i.ARN(), CreateDate: at(i.Created),
		AssumeRolePolicyDocument: new(percentEncoded(document)), MaxSessionDuration: new(int(i.MaxSession)),
	}
	if i.Description != "" {
		role.Description = &i.Description
	}
	return role, nil
}

// fullRole is a role as GetRole shows it.
func fullRole(r *service.Request, i *fsm.Identity) (*wire.Role, error) {
	role, err := shownRole(r, i, stored(r, i))
	if err != nil {
		return nil, err
	}
	role.PermissionsBoundary, role.Tags, role.RoleLastUsed = boundary(i), shownTags(i.Tags), roleLastUsed(r, i)
	return role, nil
}

// roleTracking is for how long AWS shows a role's last use, in milliseconds: 400 days
// (AWS IAM: RoleLastUsed).
const roleTracking = 400 * 24 * 60 * 60 * 1000

// roleLastUsed shows the last request of any session of a role; empty for a role that
// was not used.
func roleLastUsed(r *service.Request, i *fsm.Identity) *wire.RoleLastUsed {
	u := r.LastSigned(i.ID)
	if u == nil || r.Now-u.Time > roleTracking {
		return &wire.RoleLastUsed{}
	}
	return &wire.RoleLastUsed{LastUsedDate: at(u.Time), Region: &u.Region}
}

func getRole(_ context.Context, r *service.Request, in *wire.GetRoleRequest) (*wire.GetRoleResponse, error) {
	i, err := find(r, fsm.KindRole, in.RoleName)
	if err != nil {
		return nil, err
	}
	role, err := fullRole(r, i)
	return &wire.GetRoleResponse{Role: role}, err
}

// updateRole sets what the call names; AWS takes an absent description for an empty
// one no more than an absent duration for the default.
func updateRole(_ context.Context, r *service.Request, in *wire.UpdateRoleRequest) (fsm.Args, *wire.UpdateRoleResponse, error) {
	args, _, err := update(r, fsm.KindRole, in.RoleName, func(i *fsm.Identity) {
		if in.Description != nil {
			i.Description = *in.Description
		}
		if in.MaxSessionDuration != nil {
			i.MaxSession = uint32(*in.MaxSessionDuration)
		}
	})
	return args, &wire.UpdateRoleResponse{}, err
}

func updateRoleDescription(_ context.Context, r *service.Request, in *wire.UpdateRoleDescriptionRequest) (fsm.Args, *wire.UpdateRoleDescriptionResponse, error) {
	i, err := find(r, fsm.KindRole, in.RoleName)
	if err != nil {
		return nil, nil, err
	}
	command := changed(i, func(i *fsm.Identity) { i.Description = in.Description })
	role, err := fullRole(r, &command.Identity)
	return command, &wire.UpdateRoleDescriptionResponse{Role: role}, err
}

func updateAssumeRolePolicy(_ context.Context, r *service.Request, in *wire.UpdateAssumeRolePolicyRequest) (fsm.Args, *service.None, error) {
	i, err := find(r, fsm.KindRole, in.RoleName)
	if err != nil {
		return nil, nil, err
	}
	text, err := trust(r, in.PolicyDocument)
	if err != nil {
		return nil, nil, err
	}
	command := changed(i, func(i *fsm.Identity) { i.Trust = sha256.Sum256([]byte(text)) })
	command.Texts = []string{text}
	return command, nil, nil
}

func listRoles(_ context.Context, r *service.Request, in *wire.ListRolesRequest) (*wire.ListRolesResponse, error) {
	prefix := pathOr(in.PathPrefix)
	p := pager{list: "ListRoles " + r.Principal.Account + prefix, marker: in.Marker, maxItems: in.MaxItems}
	page, err := identityPage(p, prefix, all(r, fsm.KindRole), func(i *fsm.Identity) *fsm.Identity { return i })
	if err != nil {
		return nil, err
	}
	out := &wire.ListRolesResponse{IsTruncated: page.truncated, Marker: page.marker}
	for _, i := range page.items {
		role, err := shownRole(r, i, stored(r, i))
		if err != nil {
			return nil, err
		}
		out.Roles = append(out.Roles, *role)
	}
	return out, nil
}

func listRoleTags(_ context.Context, r *service.Request, in *wire.ListRoleTagsRequest) (*wire.ListRoleTagsResponse, error) {
	i, err := find(r, fsm.KindRole, in.RoleName)
	if err != nil {
		return nil, err
	}
	page, err := tagPage(pager{list: "ListRoleTags " + i.ID, marker: in.Marker, maxItems: in.MaxItems}, i.Tags)
	if err != nil {
		return nil, err
	}
	return &wire.ListRoleTagsResponse{Tags: page.items, IsTruncated: page.truncated, Marker: page.marker}, nil
}

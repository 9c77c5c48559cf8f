package iamapi

import (
	"context"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

func userRows() []*service.Row {
	return []*service.Row{
		iamRow("CreateUser", service.Op[wire.CreateUserRequest, wire.CreateUserResponse]{
			Once: true, Check: func(in *wire.CreateUserRequest) error { return checkTags(in.Tags) },
			Makes: true, Resource: onNew(fsm.KindUser, func(in *wire.CreateUserRequest) (*string, string) { return in.Path, in.UserName }),
			Also: func(in *wire.CreateUserRequest) []string { return tagAction("iam:TagUser", in.Tags) },
			Conditions: func(in *wire.CreateUserRequest, key string) []string {
				return append(tagCondition(in.Tags, key), boundaryCondition(in.PermissionsBoundary, key)...)
			},
			Params: createUserParams, Write: createUser, Repeat: repeatUser,
		}),
		iamRow("GetUser", service.Op[wire.GetUserRequest, wire.GetUserResponse]{
			Resource: onUserOrCaller(func(in *wire.GetUserRequest) *string { return in.UserName }),
			Params:   func(in *wire.GetUserRequest, p *audit.Params) { p.OptString("userName", in.UserName) },
			Read:     getUser,
		}),
		iamRow("UpdateUser", service.Op[wire.UpdateUserRequest, service.None]{
			Once: true, Resource: on(fsm.KindUser, func(in *wire.UpdateUserRequest) string { return in.UserName }),
			Params: func(in *wire.UpdateUserRequest, p *audit.Params) {
				p.String("userName", in.UserName)
				p.OptString("newPath", in.NewPath)
				p.OptString("newUserName", in.NewUserName)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.UpdateUserRequest) (fsm.Args, *service.None, error) {
				return update(r, fsm.KindUser, in.UserName, rename(in.NewPath, in.NewUserName))
			},
		}),
		iamRow("DeleteUser", service.Op[wire.DeleteUserRequest, service.None]{
			Once: true, Resource: on(fsm.KindUser, func(in *wire.DeleteUserRequest) string { return in.UserName }),
			Params: named("userName", func(in *wire.DeleteUserRequest) string { return in.UserName }),
			Write: func(_ context.Context, r *service.Request, in *wire.DeleteUserRequest) (fsm.Args, *service.None, error) {
				return remove(r, fsm.KindUser, in.UserName)
			},
		}),
		iamRow("ListUsers", service.Op[wire.ListUsersRequest, wire.ListUsersResponse]{
			Resource: onAll("user", func(in *wire.ListUsersRequest) *string { return in.PathPrefix }),
			Params: func(in *wire.ListUsersRequest, p *audit.Params) {
				p.OptString("pathPrefix", in.PathPrefix)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listUsers,
		}),
		iamRow("TagUser", service.Op[wire.TagUserRequest, service.None]{
			Check:      func(in *wire.TagUserRequest) error { return checkTags(in.Tags) },
			Resource:   on(fsm.KindUser, func(in *wire.TagUserRequest) string { return in.UserName }),
			Conditions: func(in *wire.TagUserRequest, key string) []string { return tagCondition(in.Tags, key) },
			Params: func(in *wire.TagUserRequest, p *audit.Params) {
				p.String("userName", in.UserName)
				recordTags(p, in.Tags)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.TagUserRequest) (fsm.Args, *service.None, error) {
				return update(r, fsm.KindUser, in.UserName, func(i *fsm.Identity) { i.Tags = tagged(i.Tags, in.Tags) })
			},
		}),
		iamRow("UntagUser", service.Op[wire.UntagUserRequest, service.None]{
			Resource:   on(fsm.KindUser, func(in *wire.UntagUserRequest) string { return in.UserName }),
			Conditions: func(in *wire.UntagUserRequest, key string) []string { return untagCondition(in.TagKeys, key) },
			Params: func(in *wire.UntagUserRequest, p *audit.Params) {
				p.String("userName", in.UserName)
				p.Strings("tagKeys", in.TagKeys)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.UntagUserRequest) (fsm.Args, *service.None, error) {
				return update(r, fsm.KindUser, in.UserName, func(i *fsm.Identity) { i.Tags = untagged(i.Tags, in.TagKeys) })
			},
		}),
		iamRow("ListUserTags", service.Op[wire.ListUserTagsRequest, wire.ListUserTagsResponse]{
			Resource: on(fsm.KindUser, func(in *wire.ListUserTagsRequest) string { return in.UserName }),
			Params: func(in *wire.ListUserTagsRequest, p *audit.Params) {
				p.String("userName", in.UserName)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listUserTags,
		}),
		iamRow("PutUserPermissionsBoundary", service.Op[wire.PutUserPermissionsBoundaryRequest, service.None]{
			Resource: on(fsm.KindUser, func(in *wire.PutUserPermissionsBoundaryRequest) string { return in.UserName }),
			Conditions: func(in *wire.PutUserPermissionsBoundaryRequest, key string) []string {
				return boundaryCondition(&in.PermissionsBoundary, key)
			},
			Params: func(in *wire.PutUserPermissionsBoundaryRequest, p *audit.Params) {
				p.String("userName", in.UserName)
				p.String("permissionsBoundary", in.PermissionsBoundary)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.PutUserPermissionsBoundaryRequest) (fsm.Args, *service.None, error) {
				return putBoundary(r, fsm.KindUser, in.UserName, in.PermissionsBoundary)
			},
		}),
		iamRow("DeleteUserPermissionsBoundary", service.Op[wire.DeleteUserPermissionsBoundaryRequest, service.None]{
			Bounded: true, Resource: on(fsm.KindUser, func(in *wire.DeleteUserPermissionsBoundaryRequest) string { return in.UserName }),
			Params: named("userName", func(in *wire.DeleteUserPermissionsBoundaryRequest) string { return in.UserName }),
			Write: func(_ context.Context, r *service.Request, in *wire.DeleteUserPermissionsBoundaryRequest) (fsm.Args, *service.None, error) {
				return update(r, fsm.KindUser, in.UserName, func(i *fsm.Identity) { i.Boundary = "" })
			},
		}),
	}
}

// update changes an identity of the account.
func update(r *service.Request, kind fsm.IdentityKind, name string, change func(*fsm.Identity)) (fsm.Args, *service.None, error) {
	i, err := find(r, kind, name)
	if err != nil {
		return nil, nil, err
	}
	return changed(i, change), nil, nil
}

// remove deletes an identity of the account.
func remove(r *service.Request, kind fsm.IdentityKind, name string) (fsm.Args, *service.None, error) {
	i, err := find(r, kind, name)
	if err != nil {
		return nil, nil, err
	}
	return fsm.DeleteIdentity{ID: i.ID}, nil, nil
}

func putBoundary(r *service.Request, kind fsm.IdentityKind, name, arn string) (fsm.Args, *service.None, error) {
	i, err := find(r, kind, name)
	if err == nil {
		err = checkBoundary(r, arn)
	}
	if err != nil {
		return nil, nil, err
	}
	return changed(i, func(i *fsm.Identity) { i.Boundary = arn }), nil, nil
}

func createUserParams(in *wire.CreateUserRequest, p *audit.Params) {
	p.OptString("path", in.Path)
	p.String("userName", in.UserName)
	p.OptString("permissionsBoundary", in.PermissionsBoundary)
	recordTags(p, in.Tags)
}

func createUser(_ context.Context, r *service.Request, in *wire.CreateUserRequest) (fsm.Args, *wire.CreateUserResponse, error) {
	i := fsm.Identity{
		ID: service.NewUniqueID("AIDA"), Kind: fsm.KindUser, Account: r.Principal.Account, Name: in.UserName, Path: pathOr(in.Path),
		Created: r.Now, Tags: tagged(nil, in.Tags),
	}
	if in.PermissionsBoundary != nil {
		if err := checkBoundary(r, *in.PermissionsBoundary); err != nil {
			return nil, nil, err
		}
		i.Boundary = *in.PermissionsBoundary
	}
	return fsm.CreateIdentity{Identity: i}, createdUser(r, &i), nil
}

func repeatUser(r *service.Request, once *fsm.Once) (*wire.CreateUserResponse, error) {
	i, err := created(r, once)
	if err != nil {
		return nil, err
	}
	return createdUser(r, i), nil
}

// createdUser is the answer for a new user, which the record shows, too.
func createdUser(r *service.Request, i *fsm.Identity) *wire.CreateUserResponse {
	r.Record.ResponseElements.Object("user", func(p *audit.Params) {
		p.String("path", i.Path)
		p.String("userName", i.Name)
		p.String("userId", i.ID)
		p.String("arn", i.ARN())
		p.Time("createDate", i.Created)
	})
	return &wire.CreateUserResponse{User: fullUser(i)}
}

// listedUser is a user as lists show it: without its tags and its boundary (AWS IAM:
// ListUsers).
func listedUser(i *fsm.Identity) wire.User {
	return wire.User{Path: i.Path, UserName: i.Name, UserId: i.ID, Arn: i.ARN(), CreateDate: at(i.Created)}
}

func fullUser(i *fsm.Identity) *wire.User {
	u := listedUser(i)
	u.PermissionsBoundary, u.Tags = boundary(i), shownTags(i.Tags)
	return &u
}

// onUserOrCaller is the resource of calls on a user that is the caller by default.
func onUserOrCaller[In any](name func(*In) *string) resource[In] {
	return func(r *service.Request, in *In) (arn, shown string) {
		switch sent := name(in); {
		case sent != nil:
			return onNamed(r, fsm.KindUser, *sent)
		case r.Principal.Type == kms.PrincipalUser:
			return onNamed(r, fsm.KindUser, r.Principal.Name())
		}
		return r.Principal.ARN, r.Principal.ARN
	}
}

// userOrCaller returns the user that a call names; without a name the caller, nil
// for a root user.
func userOrCaller(r *service.Request, name *string) (*fsm.Identity, error) {
	switch {
	case name != nil:
		return find(r, fsm.KindUser, *name)
	case r.Principal.Type == kms.PrincipalRoot:
		return nil, nil
	case r.Principal.Type != kms.PrincipalUser:
		return nil, invalid("Must specify userName when calling with non-User credentials")
	}
	i, ok := r.View.Identity(r.Principal.UniqueID)
	if !ok {
		return nil, noSuch("The user with name " + r.Principal.Name() + " cannot be found.")
	}
	return i, nil
}

func getUser(_ context.Context, r *service.Request, in *wire.GetUserRequest) (*wire.GetUserResponse, error) {
	i, err := userOrCaller(r, in.UserName)
	switch {
	case err != nil:
		return nil, err
	case i != nil:
		return &wire.GetUserResponse{User: fullUser(i)}, nil
	}
	root := wire.User{Path: "/", UserName: "root", UserId: r.Principal.Account, Arn: r.Principal.ARN}
	if account, ok := r.View.Account(r.Principal.Account); ok {
		root.CreateDate = at(account.Created)
	}
	return &wire.GetUserResponse{User: &root}, nil
}

func listUsers(_ context.Context, r *service.Request, in *wire.ListUsersRequest) (*wire.ListUsersResponse, error) {
	prefix := pathOr(in.PathPrefix)
	p := pager{list: "ListUsers " + r.Principal.Account + prefix, marker: in.Marker, maxItems: in.MaxItems}
	page, err := identityPage(p, prefix, all(r, fsm.KindUser), listedUser)
	if err != nil {
		return nil, err
	}
	return &wire.ListUsersResponse{Users: page.items, IsTruncated: page.truncated, Marker: page.marker}, nil
}

func listUserTags(_ context.Context, r *service.Request, in *wire.ListUserTagsRequest) (*wire.ListUserTagsResponse, error) {
	i, err := find(r, fsm.KindUser, in.UserName)
	if err != nil {
		return nil, err
	}
	page, err := tagPage(pager{list: "ListUserTags " + i.ID, marker: in.Marker, maxItems: in.MaxItems}, i.Tags)
	if err != nil {
		return nil, err
	}
	return &wire.ListUserTagsResponse{Tags: page.items, IsTruncated: page.truncated, Marker: page.marker}, nil
}

package iamapi

import (
	"context"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

func groupRows() []*service.Row {
	return []*service.Row{
		iamRow("CreateGroup", service.Op[wire.CreateGroupRequest, wire.CreateGroupResponse]{
			Once: true, Makes: true, Resource: onNew(fsm.KindGroup, func(in *wire.CreateGroupRequest) (*string, string) { return in.Path, in.GroupName }),
			Params: func(in *wire.CreateGroupRequest, p *audit.Params) {
				p.OptString("path", in.Path)
				p.String("groupName", in.GroupName)
			},
			Write: createGroup, Repeat: repeatGroup,
		}),
		iamRow("GetGroup", service.Op[wire.GetGroupRequest, wire.GetGroupResponse]{
			Resource: on(fsm.KindGroup, func(in *wire.GetGroupRequest) string { return in.GroupName }),
			Params: func(in *wire.GetGroupRequest, p *audit.Params) {
				p.String("groupName", in.GroupName)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: getGroup,
		}),
		iamRow("UpdateGroup", service.Op[wire.UpdateGroupRequest, service.None]{
			Once: true, Resource: on(fsm.KindGroup, func(in *wire.UpdateGroupRequest) string { return in.GroupName }),
			Params: func(in *wire.UpdateGroupRequest, p *audit.Params) {
				p.String("groupName", in.GroupName)
				p.OptString("newPath", in.NewPath)
				p.OptString("newGroupName", in.NewGroupName)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.UpdateGroupRequest) (fsm.Args, *service.None, error) {
				return update(r, fsm.KindGroup, in.GroupName, rename(in.NewPath, in.NewGroupName))
			},
		}),
		iamRow("DeleteGroup", service.Op[wire.DeleteGroupRequest, service.None]{
			Once: true, Resource: on(fsm.KindGroup, func(in *wire.DeleteGroupRequest) string { return in.GroupName }),
			Params: named("groupName", func(in *wire.DeleteGroupRequest) string { return in.GroupName }),
			Write: func(_ context.Context, r *service.Request, in *wire.DeleteGroupRequest) (fsm.Args, *service.None, error) {
				return remove(r, fsm.KindGroup, in.GroupName)
			},
		}),
		iamRow("ListGroups", service.Op[wire.ListGroupsRequest, wire.ListGroupsResponse]{
			Resource: onAll("group", func(in *wire.ListGroupsRequest) *string { return in.PathPrefix }),
			Params: func(in *wire.ListGroupsRequest, p *audit.Params) {
				p.OptString("pathPrefix", in.PathPrefix)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listGroups,
		}),
		iamRow("AddUserToGroup", service.Op[wire.AddUserToGroupRequest, service.None]{
			Resource: on(fsm.KindGroup, func(in *wire.AddUserToGroupRequest) string { return in.GroupName }),
			Params: func(in *wire.AddUserToGroupRequest, p *audit.Params) {
				p.String("groupName", in.GroupName)
				p.String("userName", in.UserName)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.AddUserToGroupRequest) (fsm.Args, *service.None, error) {
				return setMembership(r, in.GroupName, in.UserName, true)
			},
		}),
		iamRow("RemoveUserFromGroup", service.Op[wire.RemoveUserFromGroupRequest, service.None]{
			Resource: on(fsm.KindGroup, func(in *wire.RemoveUserFromGroupRequest) string { return in.GroupName }),
			Params: func(in *wire.RemoveUserFromGroupRequest, p *audit.Params) {
				p.String("groupName", in.GroupName)
				p.String("userName", in.UserName)
			},
			Write: func(_ context.Context, r *service.Request, in *wire.RemoveUserFromGroupRequest) (fsm.Args, *service.None, error) {
				return setMembership(r, in.GroupName, in.UserName, false)
			},
		}),
		iamRow("ListGroupsForUser", service.Op[wire.ListGroupsForUserRequest, wire.ListGroupsForUserResponse]{
			Resource: on(fsm.KindUser, func(in *wire.ListGroupsForUserRequest) string { return in.UserName }),
			Params: func(in *wire.ListGroupsForUserRequest, p *audit.Params) {
				p.String("userName", in.UserName)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listGroupsForUser,
		}),
	}
}

func createGroup(_ context.Context, r *service.Request, in *wire.CreateGroupRequest) (fsm.Args, *wire.CreateGroupResponse, error) {
	i := fsm.Identity{
		ID: service.NewUniqueID("AGPA"), Kind: fsm.KindGroup, Account: r.Principal.Account, Name: in.GroupName, Path: pathOr(in.Path), Created: r.Now,
	}
	return fsm.CreateIdentity{Identity: i}, createdGroup(r, &i), nil
}

func repeatGroup(r *service.Request, once *fsm.Once) (*wire.CreateGroupResponse, error) {
	i, err := created(r, once)
	if err != nil {
		return nil, err
	}
	return createdGroup(r, i), nil
}

// createdGroup is the answer for a new group, which the record shows, too.
func createdGroup(r *service.Request, i *fsm.Identity) *wire.CreateGroupResponse {
	r.Record.ResponseElements.Object("group", func(p *audit.Params) {
		p.String("path", i.Path)
		p.String("groupName", i.Name)
		p.String("groupId", i.ID)
		p.String("arn", i.ARN())
		p.Time("createDate", i.Created)
	})
	return &wire.CreateGroupResponse{Group: new(shownGroup(i))}
}

func shownGroup(i *fsm.Identity) wire.Group {
	return wire.Group{Path: i.Path, GroupName: i.Name, GroupId: i.ID, Arn: i.ARN(), CreateDate: at(i.Created)}
}

func getGroup(_ context.Context, r *service.Request, in *wire.GetGroupRequest) (*wire.GetGroupResponse, error) {
	i, err := find(r, fsm.KindGroup, in.GroupName)
	if err != nil {
		return nil, err
	}
	members := func(after string, limit int) ([]*fsm.Identity, bool) { return r.View.GroupMembers(i.ID, after, limit) }
	page, err := identityPage(pager{list: "GetGroup " + i.ID, marker: in.Marker, maxItems: in.MaxItems}, "/", members, listedUser)
	if err != nil {
		return nil, err
	}
	return &wire.GetGroupResponse{Group: new(shownGroup(i)), Users: page.items, IsTruncated: page.truncated, Marker: page.marker}, nil
}

func listGroups(_ context.Context, r *service.Request, in *wire.ListGroupsRequest) (*wire.ListGroupsResponse, error) {
	prefix := pathOr(in.PathPrefix)
	p := pager{list: "ListGroups " + r.Principal.Account + prefix, marker: in.Marker, maxItems: in.MaxItems}
	page, err := identityPage(p, prefix, all(r, fsm.KindGroup), shownGroup)
	if err != nil {
		return nil, err
	}
	return &wire.ListGroupsResponse{Groups: page.items, IsTruncated: page.truncated, Marker: page.marker}, nil
}

// setMembership puts a user into a group or takes it out; what is so already stays.
func setMembership(r *service.Request, group, user string, member bool) (fsm.Args, *service.None, error) {
	g, err := find(r, fsm.KindGroup, group)
	if err != nil {
		return nil, nil, err
	}
	return update(r, fsm.KindUser, user, func(i *fsm.Identity) {
		i.Groups = slices.DeleteFunc(slices.Clone(i.Groups), func(id string) bool { return id == g.ID })
		if member {
			i.Groups = append(i.Groups, g.ID)
		}
	})
}

func listGroupsForUser(_ context.Context, r *service.Request, in *wire.ListGroupsForUserRequest) (*wire.ListGroupsForUserResponse, error) {
	i, err := find(r, fsm.KindUser, in.UserName)
	if err != nil {
		return nil, err
	}
	var groups []*fsm.Identity
	for _, id := range i.Groups {
		if g, ok := r.View.Identity(id); ok {
			groups = append(groups, g)
		}
	}
	p := pager{list: "ListGroupsForUser " + i.ID, marker: in.Marker, maxItems: in.MaxItems}
	page, err := pageOf(p, groups, func(g *fsm.Identity) string { return strings.ToLower(g.Name) }, shownGroup)
	if err != nil {
		return nil, err
	}
	return &wire.ListGroupsForUserResponse{Groups: page.items, IsTruncated: page.truncated, Marker: page.marker}, nil
}

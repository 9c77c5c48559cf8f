package iamapi

import (
	"context"
	"fmt"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	runtime "github.com/kmsd/kmsd/wire"
	wire "github.com/kmsd/kmsd/wire/iam"
)

func (a *api) accessKeyRows() []*service.Row {
	return []*service.Row{
		iamRow("CreateAccessKey", service.Op[wire.CreateAccessKeyRequest, wire.CreateAccessKeyResponse]{
			Once: true, Resource: onUserOrCaller(func(in *wire.CreateAccessKeyRequest) *string { return in.UserName }),
			Params: func(in *wire.CreateAccessKeyRequest, p *audit.Params) { p.OptString("userName", in.UserName) },
			Write:  a.createAccessKey, Repeat: a.repeatAccessKey,
		}),
		iamRow("ListAccessKeys", service.Op[wire.ListAccessKeysRequest, wire.ListAccessKeysResponse]{
			Resource: onUserOrCaller(func(in *wire.ListAccessKeysRequest) *string { return in.UserName }),
			Params: func(in *wire.ListAccessKeysRequest, p *audit.Params) {
				p.OptString("userName", in.UserName)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listAccessKeys,
		}),
		iamRow("UpdateAccessKey", service.Op[wire.UpdateAccessKeyRequest, service.None]{
			Check: checkStatus, Resource: onUserOrCaller(func(in *wire.UpdateAccessKeyRequest) *string { return in.UserName }),
			Params: func(in *wire.UpdateAccessKeyRequest, p *audit.Params) {
				p.OptString("userName", in.UserName)
				p.String("accessKeyId", in.AccessKeyId)
				p.String("status", in.Status)
			},
			Write: updateAccessKey,
		}),
		iamRow("DeleteAccessKey", service.Op[wire.DeleteAccessKeyRequest, service.None]{
			Once: true, Resource: onUserOrCaller(func(in *wire.DeleteAccessKeyRequest) *string { return in.UserName }),
			Params: func(in *wire.DeleteAccessKeyRequest, p *audit.Params) {
				p.OptString("userName", in.UserName)
				p.String("accessKeyId", in.AccessKeyId)
			},
			Write: deleteAccessKey,
		}),
		iamRow("GetAccessKeyLastUsed", service.Op[wire.GetAccessKeyLastUsedRequest, wire.GetAccessKeyLastUsedResponse]{
			Resource: onOwner, Params: named("accessKeyId", func(in *wire.GetAccessKeyLastUsedRequest) string { return in.AccessKeyId }),
			Read: getAccessKeyLastUsed,
		}),
	}
}

// owner is who an access key belongs to: a user, or the root user of the account.
type owner struct {
	kind     kms.PrincipalType
	uniqueID string
	name     *string // nil for a root user
}

func ownerOf(r *service.Request, name *string) (owner, error) {
	i, err := userOrCaller(r, name)
	switch {
	case err != nil:
		return owner{}, err
	case i == nil:
		return owner{kind: kms.PrincipalRoot, uniqueID: r.Principal.Account}, nil
	}
	return owner{kind: kms.PrincipalUser, uniqueID: i.ID, name: &i.Name}, nil
}

// key returns an access key of the owner's. Nobody else's can be reached through a
// user that the caller may manage.
func (o owner) key(r *service.Request, id string) (*fsm.AccessKey, error) {
	k, ok := r.View.AccessKey(id)
	if !ok || k.Account != r.Principal.Account || k.Type != o.kind || k.UniqueID != o.uniqueID {
		return nil, noSuchAccessKey(id)
	}
	return k, nil
}

func noSuchAccessKey(id string) error {
	return noSuch("The Access Key with id " + id + " cannot be found.")
}

func (a *api) createAccessKey(_ context.Context, r *service.Request, in *wire.CreateAccessKeyRequest) (fsm.Args, *wire.CreateAccessKeyResponse, error) {
	o, err := ownerOf(r, in.UserName)
	if err != nil {
		return nil, nil, err
	}
	id, secret := service.NewAccessKey("AKIA")
	sealed, term, err := a.seal(id, secret)
	if err != nil {
		return nil, nil, fmt.Errorf("sealing a new access key: %w", err)
	}
	k := fsm.AccessKey{
		ID: id, Account: r.Principal.Account, Type: o.kind, UniqueID: o.uniqueID, Status: fsm.StatusActive, Created: r.Now,
		SecretTerm: term, Secret: sealed,
	}
	return fsm.CreateAccessKey{AccessKey: k}, createdAccessKey(r, &k, o.name, secret), nil
}

// seal seals an access key's secret and tells under which term, also when the
// keyring gets a new one meanwhile.
func (a *api) seal(id, secret string) (sealed []byte, term uint32, err error) {
	for {
		term = a.keyring.Current()
		sealed, err = a.keyring.Seal(service.SecretPurpose, id, []byte(secret))
		if err != nil || a.keyring.Current() == term {
			return sealed, term, err
		}
	}
}

// repeatAccessKey renders an answer that was lost from the record: the secret is
// sealed there.
func (a *api) repeatAccessKey(r *service.Request, once *fsm.Once) (*wire.CreateAccessKeyResponse, error) {
	if len(once.IDs) != 1 {
		return nil, fmt.Errorf("kmsd: exactly-once entry of CreateAccessKey names %d keys", len(once.IDs))
	}
	k, ok := r.View.AccessKey(once.IDs[0])
	if !ok {
		return nil, noSuchAccessKey(once.IDs[0])
	}
	secret, err := a.keyring.Open(service.SecretPurpose, k.ID, k.Secret)
	if err != nil {
		return nil, fmt.Errorf("opening the new access key: %w", err)
	}
	var name *string
	if i, ok := r.View.Identity(k.UniqueID); ok {
		name = &i.Name
	}
	return createdAccessKey(r, k, name, string(secret)), nil
}

// createdAccessKey is the answer for a new access key, the only one that ever shows
// its secret. The record does not.
func createdAccessKey(r *service.Request, k *fsm.AccessKey, user *string, secret string) *wire.CreateAccessKeyResponse {
	r.Record.ResponseElements.Object("accessKey", func(p *audit.Params) {
		p.OptString("userName", user)
		p.String("accessKeyId", k.ID)
		p.String("status", fsm.StatusActive)
		p.Time("createDate", k.Created)
	})
	shown := &wire.AccessKey{AccessKeyId: k.ID, Status: fsm.StatusActive, SecretAccessKey: runtime.SensitiveString(secret), CreateDate: at(k.Created)}
	if user != nil {
		shown.UserName = *user
	}
	return &wire.CreateAccessKeyResponse{AccessKey: shown}
}

func listAccessKeys(_ context.Context, r *service.Request, in *wire.ListAccessKeysRequest) (*wire.ListAccessKeysResponse, error) {
	o, err := ownerOf(r, in.UserName)
	if err != nil {
		return nil, err
	}
	p := pager{list: "ListAccessKeys " + o.uniqueID, marker: in.Marker, maxItems: in.MaxItems}
	keys := r.View.AccessKeys(r.Principal.Account, o.kind, o.uniqueID)
	page, err := pageOf(p, keys, func(k *fsm.AccessKey) string { return k.ID }, func(k *fsm.AccessKey) wire.AccessKeyMetadata {
		return wire.AccessKeyMetadata{UserName: o.name, AccessKeyId: &k.ID, Status: k.Status, CreateDate: at(k.Created)}
	})
	if err != nil {
		return nil, err
	}
	return &wire.ListAccessKeysResponse{AccessKeyMetadata: page.items, IsTruncated: page.truncated, Marker: page.marker}, nil
}

// checkStatus refuses the status that only AWS itself gives.
func checkStatus(in *wire.UpdateAccessKeyRequest) error {
	if in.Status != fsm.StatusActive && in.Status != fsm.StatusInactive {
		return invalid("1 validation error detected: Value '" + in.Status + "' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]")
	}
	return nil
}

func updateAccessKey(_ context.Context, r *service.Request, in *wire.UpdateAccessKeyRequest) (fsm.Args, *service.None, error) {
	o, err := ownerOf(r, in.UserName)
	if err != nil {
		return nil, nil, err
	}
	k, err := o.key(r, in.AccessKeyId)
	if err != nil {
		return nil, nil, err
	}
	return fsm.SetAccessKeyStatus{Account: k.Account, ID: k.ID, Status: in.Status}, nil, nil
}

func deleteAccessKey(_ context.Context, r *service.Request, in *wire.DeleteAccessKeyRequest) (fsm.Args, *service.None, error) {
	o, err := ownerOf(r, in.UserName)
	if err != nil {
		return nil, nil, err
	}
	k, err := o.key(r, in.AccessKeyId)
	if err != nil {
		return nil, nil, err
	}
	return fsm.DeleteAccessKey{Account: k.Account, ID: k.ID}, nil, nil
}

// onOwner is the resource of a call on an access key: the user that it belongs to.
func onOwner(r *service.Request, in *wire.GetAccessKeyLastUsedRequest) (arn, shown string) {
	if k, ok := r.View.AccessKey(in.AccessKeyId); ok && k.Account == r.Principal.Account {
		if i, ok := r.View.Identity(k.UniqueID); ok {
			return onNamed(r, fsm.KindUser, i.Name)
		}
	}
	return "*", "*"
}

// notUsed is AWS's service and Region of an access key that was not used.
const notUsed = "N/A"

// getAccessKeyLastUsed shows the last request that was signed with an access key,
// whatever became of it.
func getAccessKeyLastUsed(_ context.Context, r *service.Request, in *wire.GetAccessKeyLastUsedRequest) (*wire.GetAccessKeyLastUsedResponse, error) {
	k, ok := r.View.AccessKey(in.AccessKeyId)
	if !ok || k.Account != r.Principal.Account {
		return nil, noSuchAccessKey(in.AccessKeyId)
	}
	out := &wire.GetAccessKeyLastUsedResponse{AccessKeyLastUsed: &wire.AccessKeyLastUsed{ServiceName: notUsed, Region: notUsed}}
	if u := r.LastSigned(k.ID); u != nil {
		out.AccessKeyLastUsed = &wire.AccessKeyLastUsed{LastUsedDate: at(u.Time), ServiceName: u.Service, Region: u.Region}
	}
	if i, ok := r.View.Identity(k.UniqueID); ok {
		out.UserName = &i.Name
	}
	return out, nil
}

package kmsapi

import (
	"context"
	"strings"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

// checkAliasName checks an alias name beyond the model (AWS: CreateAlias).
func checkAliasName(name string) error {
	rest, ok := strings.CutPrefix(name, kms.AliasPrefix)
	switch {
	case !ok:
		return invalid(`Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	case strings.HasPrefix(rest, "aws/"):
		return &kms.Error{Code: kms.CodeNotAuthorized}
	case rest == "" || strings.Contains(rest, ":"):
		return invalid(name + " contains invalid characters for an alias")
	}
	return nil
}

// checkAlias checks a name and the key that it is to name.
func checkAlias(name, target string) error {
	if err := checkAliasName(name); err != nil {
		return err
	}
	arn, _ := kms.ParseARN(target)
	if strings.HasPrefix(target, kms.AliasPrefix) || strings.HasPrefix(arn.Resource, kms.AliasPrefix) {
		return invalid("Aliases must refer to keys. Not aliases")
	}
	return nil
}

// recordAlias makes the record show the alias and the key that it names.
func recordAlias(r *service.Request, name string, key *service.Key) {
	r.Record.Resources = []audit.Resource{
		{Account: key.Account, ARN: kms.AliasARN(r.Region, key.Account, name)},
		{Account: key.Account, ARN: key.ARN},
	}
}

func createAlias(_ context.Context, r *service.Request, in *wire.CreateAliasRequest) (fsm.Args, *service.None, error) {
	key := &r.Keys[0]
	recordAlias(r, in.AliasName, key)
	r.Record.ResponseElements.String("keyId", key.ARN)
	return fsm.CreateAlias{Account: key.Account, Region: r.Region, Name: in.AliasName, KeyID: key.ID}, nil, nil
}

func updateAlias(_ context.Context, r *service.Request, in *wire.UpdateAliasRequest) (fsm.Args, *service.None, error) {
	key := &r.Keys[1]
	recordAlias(r, in.AliasName, key)
	r.Record.ResponseElements.String("keyId", key.ARN)
	return fsm.UpdateAlias{Account: key.Account, Region: r.Region, Name: in.AliasName, KeyID: key.ID}, nil, nil
}

func deleteAlias(_ context.Context, r *service.Request, in *wire.DeleteAliasRequest) (fsm.Args, *service.None, error) {
	key := &r.Keys[0]
	recordAlias(r, in.AliasName, key)
	return fsm.DeleteAlias{Account: key.Account, Region: r.Region, Name: in.AliasName}, nil, nil
}

func listAliases(_ context.Context, r *service.Request, in *wire.ListAliasesRequest) (*wire.ListAliasesResponse, error) {
	account := r.Principal.Account
	page := page{operation: "ListAliases", owner: account + "/" + r.Region}
	if key := r.Keys[0].Key; key != nil {
		page.owner += "/" + key.ID
	}
	after, err := page.after(in.Marker)
	if err != nil {
		return nil, err
	}
	aliases, more := findAliases(r, account, after, limit(in.Limit, 50, 100))
	out := &wire.ListAliasesResponse{Aliases: make([]wire.AliasListEntry, len(aliases)), Truncated: &more}
	for i, a := range aliases {
		out.Aliases[i] = wire.AliasListEntry{
			AliasName: &a.Name, AliasArn: new(a.ARN()), TargetKeyId: &a.KeyID,
			CreationDate: new(time.UnixMilli(a.Created).UTC()), LastUpdatedDate: new(time.UnixMilli(a.Updated).UTC()),
		}
	}
	if more {
		out.NextMarker = page.marker(aliases[len(aliases)-1].Name)
	}
	return out, nil
}

// findAliases lists the account's aliases, or one key's where the call names one.
func findAliases(r *service.Request, account, after string, limit int) ([]*fsm.Alias, bool) {
	if key := r.Keys[0].Key; key != nil {
		return r.View.ListKeyAliases(account, r.Region, key.ID, after, limit)
	}
	return r.View.ListAliases(account, r.Region, after, limit)
}

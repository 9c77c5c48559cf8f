package adminapi

import (
	"context"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	runtime "github.com/kmsd/kmsd/wire"
	wire "github.com/kmsd/kmsd/wire/admin"
)

// accountRows are the operations on accounts. CreateAccount is Once, unlike the other
// writes whose replies hold a secret: a retry must not leave an account behind that
// nobody knows of.
func (a *api) accountRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.CreateAccountRequest, wire.RootCredential]{
			Service: wire.ServiceName, Name: "CreateAccount", Operator: "kmsd:CreateAccount", Once: true,
			Params: func(in *wire.CreateAccountRequest, p *audit.Params) { p.OptString("accountId", in.AccountID) },
			Write:  a.createAccount, Repeat: a.repeatRootCredential,
		}.Row(),
		service.Op[wire.ListAccountsRequest, wire.ListAccountsResponse]{
			Service: wire.ServiceName, Name: "ListAccounts", Operator: "kmsd:ListAccounts",
			Params: func(in *wire.ListAccountsRequest, p *audit.Params) { p.OptString("marker", in.Marker) },
			Read:   listAccounts,
		}.Row(),
		service.Op[wire.CloseAccountRequest, wire.CloseAccountResponse]{
			Service: wire.ServiceName, Name: "CloseAccount", Operator: "kmsd:CloseAccount",
			Params: func(in *wire.CloseAccountRequest, p *audit.Params) { p.String("accountId", in.AccountID) },
			Write:  closeAccount,
			Repeat: func(*service.Request, *fsm.Once) (*wire.CloseAccountResponse, error) {
				return &wire.CloseAccountResponse{}, nil
			},
		}.Row(),
	}
}

// createAccount makes an account. That its id is free is the command's precondition.
func (a *api) createAccount(_ context.Context, r *service.Request, in *wire.CreateAccountRequest) (fsm.Args, *wire.RootCredential, error) {
	account := freeAccount(r.View)
	if in.AccountID != nil {
		account = *in.AccountID
	}
	if _, taken := r.View.Account(account); taken {
		return nil, nil, &kms.Error{Code: kms.CodeAlreadyExists, Message: "The account " + account + " already exists."}
	}
	key, out, err := a.newRootKey(account, r.Now)
	if err != nil {
		return nil, nil, err
	}
	recordRootKey(r, &key)
	return fsm.CreateAccount{Account: fsm.Account{ID: account, Created: r.Now, Status: fsm.StatusActive}, AccessKey: key}, out, nil
}

// freeAccount draws the id of an account that does not exist.
func freeAccount(view *fsm.View) string {
	for {
		id := service.NewAccountID()
		if _, taken := view.Account(id); !taken {
			return id
		}
	}
}

// newRootKey makes an access key for an account's root user, with the reply that shows
// its secret.
func (a *api) newRootKey(account string, now int64) (fsm.AccessKey, *wire.RootCredential, error) {
	id, secret := service.NewAccessKey("AKIA")
	sealed, term, err := a.seal(id, secret)
	if err != nil {
		return fsm.AccessKey{}, nil, fmt.Errorf("sealing a new credential: %w", err)
	}
	key := fsm.AccessKey{
		ID: id, Account: account, Type: kms.PrincipalRoot, UniqueID: account,
		Status: fsm.StatusActive, Created: now, SecretTerm: term, Secret: sealed,
	}
	return key, &wire.RootCredential{AccountID: account, AccessKeyID: id, SecretAccessKey: runtime.SensitiveString(secret)}, nil
}

// recordRootKey shows in the record which account's root user has which new key.
func recordRootKey(r *service.Request, key *fsm.AccessKey) {
	r.Record.ResponseElements.String("accountId", key.Account)
	r.Record.ResponseElements.String("accessKeyId", key.ID)
}

func listAccounts(_ context.Context, r *service.Request, in *wire.ListAccountsRequest) (*wire.ListAccountsResponse, error) {
	after := ""
	if in.Marker != nil {
		after = *in.Marker
	}
	page, more := r.View.Accounts(after, wire.AccountsPage)
	out := &wire.ListAccountsResponse{Accounts: make([]wire.Account, len(page))}
	for i, a := range page {
		out.Accounts[i] = wire.Account{AccountID: a.ID, Status: a.Status, Created: time.UnixMilli(a.Created).UTC()}
	}
	if more {
		out.NextMarker = page[len(page)-1].ID
	}
	return out, nil
}

// closeAccount ends an account. Closing it again succeeds and changes nothing.
func closeAccount(_ context.Context, r *service.Request, in *wire.CloseAccountRequest) (fsm.Args, *wire.CloseAccountResponse, error) {
	switch _, ok := r.View.Account(in.AccountID); {
	case !ok:
		return nil, nil, noSuchAccount(in.AccountID)
	case in.AccountID == r.View.Meta().OperatorAccount:
		return nil, nil, &kms.Error{Code: kms.CodeConflict, Message: "The operator's account cannot be closed."}
	}
	return fsm.CloseAccount{ID: in.AccountID}, &wire.CloseAccountResponse{}, nil
}

func noSuchAccount(id string) error {
	return &kms.Error{Code: kms.CodeNotFound, Message: "The account " + id + " does not exist."}
}

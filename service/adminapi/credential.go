package adminapi

import (
	"context"
	"fmt"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	runtime "github.com/kmsd/kmsd/wire"
	wire "github.com/kmsd/kmsd/wire/admin"
)

// resetRootCredential gives an account's root user a new access key. The command
// deletes the old ones, perhaps also the one that signed this call.
func (a *api) resetRootCredential(_ context.Context, r *service.Request, in *wire.ResetRootCredentialRequest) (fsm.Args, *wire.RootCredential, error) {
	switch account, ok := r.View.Account(in.AccountID); {
	case !ok:
		return nil, nil, noSuchAccount(in.AccountID)
	case account.Status == fsm.StatusClosed:
		return nil, nil, &kms.Error{Code: kms.CodeConflict, Message: "The account " + in.AccountID + " is closed."}
	}
	key, out, err := a.newRootKey(in.AccountID, r.Now)
	if err != nil {
		return nil, nil, err
	}
	recordRootKey(r, &key)
	return fsm.ResetRootCredential{Account: in.AccountID, AccessKey: key}, out, nil
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

// repeatRootCredential renders the reply that was lost between nodes from the
// record: the secret is sealed there.
func (a *api) repeatRootCredential(r *service.Request, once *fsm.Once) (*wire.RootCredential, error) {
	key, ok := r.View.AccessKey(made(once))
	if !ok {
		return nil, &kms.Error{Code: kms.CodeConflict, Message: "The credential was replaced by a later reset."}
	}
	secret, err := a.keyring.Open(service.SecretPurpose, key.ID, key.Secret)
	if err != nil {
		return nil, fmt.Errorf("opening the new credential: %w", err)
	}
	recordRootKey(r, key)
	return &wire.RootCredential{
		AccountID: key.Account, AccessKeyID: key.ID, SecretAccessKey: runtime.SensitiveString(secret),
	}, nil
}

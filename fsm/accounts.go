package fsm

import (
	"errors"

	"github.com/kmsd/kmsd/kms"
)

// The values of Account.Status and AccessKey.Status.
const (
	StatusActive   = "Active"
	StatusInactive = "Inactive"
	// StatusClosed is an account's that was closed.
	StatusClosed = "Closed"
)

// Account is an account of the cluster.
type Account struct {
	Versioned
	ID      string `cbor:"1,keyasint"` // 12 digits
	Created int64  `cbor:"2,keyasint"` // milliseconds since 1970
	Status  string `cbor:"3,keyasint"`
}

func (a *Account) appendID(dst []byte) []byte { return append(dst, a.ID...) }

func accountPlaces(rec record) []place {
	return []place{{index: accountsByID, key: rec.(*Account).ID}}
}

// AccessKey is a long-term credential. Its secret is sealed under a term of the
// keyring.
type AccessKey struct {
	Versioned
	ID         string            `cbor:"1,keyasint"`
	Account    string            `cbor:"2,keyasint"`
	Type       kms.PrincipalType `cbor:"3,keyasint"`
	UniqueID   string            `cbor:"4,keyasint"`
	Status     string            `cbor:"5,keyasint"`
	Created    int64             `cbor:"6,keyasint"` // milliseconds since 1970
	SecretTerm uint32            `cbor:"7,keyasint"`
	Secret     []byte            `cbor:"8,keyasint"`
}

func (k *AccessKey) appendID(dst []byte) []byte { return append(dst, k.ID...) }

func accessKeyPlaces(rec record) []place {
	k := rec.(*AccessKey)
	return []place{{index: accessKeysByOwner, owner: k.owner(), key: k.ID}}
}

// owner is the owner of the index in which the key lies. Root users need no id.
func (k *AccessKey) owner() string {
	if k.Type == kms.PrincipalRoot {
		return k.Account + "/" + string(k.Type)
	}
	return k.Account + "/" + string(k.Type) + "/" + k.UniqueID
}

// ResetRootCredential gives an account's root user a new access key and deletes
// every one that it had, so that a lost or disclosed credential ends with it. A
// closed account gets none. If the new key's id is taken, the command conflicts.
type ResetRootCredential struct {
	Account   string    `cbor:"1,keyasint"`
	AccessKey AccessKey `cbor:"2,keyasint"`
}

func (ResetRootCredential) command() (Type, uint8) { return TypeResetRootCredential, 1 }

func (c ResetRootCredential) check() error {
	k := &c.AccessKey
	switch {
	case !kms.ValidAccount(c.Account):
		return errors.New("not an account id")
	case k.Account != c.Account || k.Type != kms.PrincipalRoot:
		return errors.New("not an access key of the account's root user")
	case k.ID == "" || k.Status != StatusActive || len(k.Secret) == 0:
		return errors.New("not a usable access key")
	case k.ModIndex != 0:
		return errors.New("an access key that has an index")
	}
	return nil
}

func resetRootCredential(t *txn, c *ResetRootCredential) (*kms.Error, error) {
	switch a, ok := t.state.get(tableAccounts, c.Account).(*Account); {
	case !ok:
		return notFound("The account " + c.Account + " does not exist."), nil
	case a.Status == StatusClosed:
		return conflicting("The account " + c.Account + " is closed."), nil
	}
	if t.state.get(tableAccessKeys, c.AccessKey.ID) != nil {
		t.conflict = true
		return nil, nil
	}
	old, _ := t.state.owned(accessKeysByOwner, c.Account, string(kms.PrincipalRoot))
	keys, _ := old.page("", maxListed)
	for _, e := range keys {
		t.dropAccessKey(e.rec.(*AccessKey))
	}
	t.put(tableAccessKeys, &c.AccessKey)
	t.made = append(t.made, c.AccessKey.ID)
	return nil, nil
}

// CreateAccessKey gives a user, or an account's root user, one access key more. If
// the new key's id is taken, the command conflicts.
type CreateAccessKey struct {
	AccessKey AccessKey `cbor:"1,keyasint"`
}

func (CreateAccessKey) command() (Type, uint8) { return TypeCreateAccessKey, 1 }

func (c CreateAccessKey) check() error {
	k := &c.AccessKey
	switch {
	case !kms.ValidAccount(k.Account) || k.UniqueID == "" || k.Type != kms.PrincipalUser && k.Type != kms.PrincipalRoot:
		return errors.New("an access key of nobody")
	case k.ID == "" || k.Status != StatusActive || len(k.Secret) == 0 || k.ModIndex != 0:
		return errors.New("not a usable access key")
	}
	return nil
}

func createAccessKey(t *txn, c *CreateAccessKey) (*kms.Error, error) {
	k := &c.AccessKey
	if refusal := t.checkAccount(k.Account); refusal != nil {
		return refusal, nil
	}
	if k.Type == kms.PrincipalUser {
		if i, ok := t.state.get(tableIdentities, k.UniqueID).(*Identity); !ok || i.Kind != KindUser || i.Account != k.Account {
			return &kms.Error{Code: kms.CodeNoSuchEntity, Message: "The user cannot be found."}, nil
		}
	}
	if o, _ := t.state.owned(accessKeysByOwner, k.owner()); o != nil && o.tree.Len() >= maxAccessKeys {
		return quotaExceeded("AccessKeysPerUser", maxAccessKeys), nil
	}
	if t.state.get(tableAccessKeys, k.ID) != nil {
		t.conflict = true
		return nil, nil
	}
	t.put(tableAccessKeys, k)
	t.made = []string{k.ID}
	return nil, nil
}

// SetAccessKeyStatus is UpdateAccessKey.
type SetAccessKeyStatus struct {
	Account string `cbor:"1,keyasint"`
	ID      string `cbor:"2,keyasint"`
	Status  string `cbor:"3,keyasint"` // StatusActive or StatusInactive
}

func (SetAccessKeyStatus) command() (Type, uint8) { return TypeSetAccessKeyStatus, 1 }

func (c SetAccessKeyStatus) check() error {
	if c.Status != StatusActive && c.Status != StatusInactive {
		return errors.New("not a status of access keys")
	}
	return nil
}

func setAccessKeyStatus(t *txn, c *SetAccessKeyStatus) (*kms.Error, error) {
	k, refusal := t.accessKey(c.Account, c.ID)
	if refusal != nil || k.Status == c.Status {
		return refusal, nil
	}
	changed := *k
	changed.Status = c.Status
	t.put(tableAccessKeys, &changed)
	return nil, nil
}

// DeleteAccessKey deletes an access key and its secret.
type DeleteAccessKey struct {
	Account string `cbor:"1,keyasint"`
	ID      string `cbor:"2,keyasint"`
}

func (DeleteAccessKey) command() (Type, uint8) { return TypeDeleteAccessKey, 1 }

func (c DeleteAccessKey) check() error {
	if c.ID == "" {
		return errors.New("no access key's id")
	}
	return nil
}

func deleteAccessKey(t *txn, c *DeleteAccessKey) (*kms.Error, error) {
	k, refusal := t.accessKey(c.Account, c.ID)
	if refusal != nil {
		return refusal, nil
	}
	t.dropAccessKey(k)
	return nil, nil
}

// dropAccessKey deletes an access key with its secret and its last use.
func (t *txn) dropAccessKey(k *AccessKey) {
	t.drop(tableAccessKeys, k)
	t.erase(k.ID)
	t.dropCredentialUse(k.ID)
}

// accessKey returns the account's access key, or the refusal when it has no such key.
func (t *txn) accessKey(account, id string) (*AccessKey, *kms.Error) {
	k, ok := t.state.get(tableAccessKeys, id).(*AccessKey)
	if !ok || k.Account != account {
		return nil, &kms.Error{Code: kms.CodeNoSuchEntity, Message: "The Access Key with id " + id + " cannot be found."}
	}
	return k, nil
}

// CreateAccount makes an account with the first access key of its root user. If the
// key's id is taken, the command conflicts.
type CreateAccount struct {
	Account   Account   `cbor:"1,keyasint"`
	AccessKey AccessKey `cbor:"2,keyasint"`
}

func (CreateAccount) command() (Type, uint8) { return TypeCreateAccount, 1 }

func (c CreateAccount) check() error {
	if c.Account.Status != StatusActive || c.Account.ModIndex != 0 {
		return errors.New("a new account that is not active or has an index")
	}
	return ResetRootCredential{Account: c.Account.ID, AccessKey: c.AccessKey}.check()
}

func createAccount(t *txn, c *CreateAccount) (*kms.Error, error) {
	if t.state.get(tableAccounts, c.Account.ID) != nil {
		return &kms.Error{Code: kms.CodeAlreadyExists, Message: "The account " + c.Account.ID + " already exists."}, nil
	}
	if t.state.get(tableAccessKeys, c.AccessKey.ID) != nil {
		t.conflict = true
		return nil, nil
	}
	t.put(tableAccounts, &c.Account)
	t.put(tableAccessKeys, &c.AccessKey)
	t.made = []string{c.AccessKey.ID}
	return nil, nil
}

// CloseAccount ends an account for good: nobody of it is let in any more, nobody else
// can use its keys or assume its roles, and its id is never given again. What it owns
// stays, and what has a date comes due: a key that waits for its deletion is destroyed.
// Closing it again changes nothing. The operator's account cannot be closed.
type CloseAccount struct {
	ID string `cbor:"1,keyasint"`
}

func (CloseAccount) command() (Type, uint8) { return TypeCloseAccount, 1 }

func (c CloseAccount) check() error {
	if !kms.ValidAccount(c.ID) {
		return errors.New("not an account id")
	}
	return nil
}

func closeAccount(t *txn, c *CloseAccount) (*kms.Error, error) {
	a, ok := t.state.get(tableAccounts, c.ID).(*Account)
	if !ok {
		return notFound("The account " + c.ID + " does not exist."), nil
	}
	if cluster, ok := t.state.get(tableMeta, "cluster").(*Cluster); ok && cluster.OperatorAccount == c.ID {
		return conflicting("The operator's account cannot be closed."), nil
	}
	if a.Status == StatusClosed {
		return nil, nil
	}
	closed := *a
	closed.Status = StatusClosed
	t.put(tableAccounts, &closed)
	return nil, nil
}

package fsm

import (
	"errors"

	"github.com/kmsd/kmsd/kms"
)

// The values of Account.Status and AccessKey.Status.
const (
	StatusActive   = "Active"
	StatusInactive = "Inactive"
)

// Account is an account of the cluster.
type Account struct {
	Versioned
	ID      string `cbor:"1,keyasint"` // 12 digits
	Created int64  `cbor:"2,keyasint"` // milliseconds since 1970
	Status  string `cbor:"3,keyasint"`
}

func (a *Account) appendID(dst []byte) []byte { return append(dst, a.ID...) }

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
	return []place{{index: accessKeysByOwner, owner: k.Account + "/" + string(k.Type), key: k.ID}}
}

// ResetRootCredential gives an account's root user a new access key and deletes
// every one that it had, so that a lost or disclosed credential ends with it. If
// the new key's id is taken, the command conflicts.
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
	if t.state.get(tableAccounts, c.Account) == nil {
		return notFound("The account " + c.Account + " does not exist."), nil
	}
	if t.state.get(tableAccessKeys, c.AccessKey.ID) != nil {
		t.conflict = true
		return nil, nil
	}
	old, _ := t.state.owned(accessKeysByOwner, c.Account, string(kms.PrincipalRoot))
	keys, _ := old.page("", maxListed)
	for _, e := range keys {
		t.drop(tableAccessKeys, e.rec)
		t.erase(e.id)
	}
	t.put(tableAccessKeys, &c.AccessKey)
	t.made = append(t.made, c.AccessKey.ID)
	return nil, nil
}

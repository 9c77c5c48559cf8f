package fsm

import (
	"errors"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// Alias is a name of a key.
type Alias struct {
	Versioned
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	Name    string `cbor:"3,keyasint"` // with its prefix "alias/"
	KeyID   string `cbor:"4,keyasint"`
	Created int64  `cbor:"5,keyasint"` // milliseconds since 1970
	Updated int64  `cbor:"6,keyasint"` // milliseconds since 1970
}

func (a *Alias) appendID(dst []byte) []byte { return appendJoined(dst, a.Account, a.Region, a.Name) }

// ARN is the alias's ARN.
func (a *Alias) ARN() string { return kms.AliasARN(a.Region, a.Account, a.Name) }

func aliasPlaces(rec record) []place {
	a := rec.(*Alias)
	owner := a.Account + "/" + a.Region
	return []place{
		{index: aliasesByOwner, owner: owner, key: a.Name},
		{index: aliasesByKey, owner: owner + "/" + a.KeyID, key: a.Name, weight: 1},
	}
}

// CreateAlias gives a key a name that is free in its account and Region.
type CreateAlias struct {
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	Name    string `cbor:"3,keyasint"`
	KeyID   string `cbor:"4,keyasint"`
}

func (CreateAlias) command() (Type, uint8) { return TypeCreateAlias, 1 }

func (c CreateAlias) check() error {
	return errors.Join(checkKeyRef(c.Account, c.Region, c.KeyID), checkAliasName(c.Name))
}

func createAlias(t *txn, c *CreateAlias) (*kms.Error, error) {
	k, refusal := t.livingKey(c.Account, c.Region, c.KeyID)
	if refusal != nil {
		return refusal, nil
	}
	if t.state.get(tableAliases, c.Account, c.Region, c.Name) != nil {
		arn := kms.AliasARN(c.Region, c.Account, c.Name)
		return &kms.Error{Code: kms.CodeAlreadyExists, Message: "An alias with the name " + arn + " already exists"}, nil
	}
	if refusal := t.checkAliasQuota(k); refusal != nil {
		return refusal, nil
	}
	t.put(tableAliases, &Alias{Account: c.Account, Region: c.Region, Name: c.Name, KeyID: c.KeyID, Created: t.now, Updated: t.now})
	return nil, nil
}

// checkAliasQuota refuses one alias more on the key when it has all that it may
// have.
func (t *txn) checkAliasQuota(k *Key) *kms.Error {
	o, _ := t.state.owned(aliasesByKey, k.Account, k.Region, k.ID)
	if o != nil && o.weight >= int(t.state.config().AliasesPerKey) {
		return limitExceeded("You have exceeded the number of aliases allowed for this KMS key.")
	}
	return nil
}

// UpdateAlias moves a name to another key of its account and Region. Moving it to
// the key that it names already only touches its date.
type UpdateAlias struct {
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	Name    string `cbor:"3,keyasint"`
	KeyID   string `cbor:"4,keyasint"`
}

func (UpdateAlias) command() (Type, uint8) { return TypeUpdateAlias, 1 }

func (c UpdateAlias) check() error { return CreateAlias(c).check() }

func updateAlias(t *txn, c *UpdateAlias) (*kms.Error, error) {
	a, refusal := t.alias(c.Account, c.Region, c.Name)
	if refusal != nil {
		return refusal, nil
	}
	k, refusal := t.livingKey(c.Account, c.Region, c.KeyID)
	if refusal == nil && k.ID != a.KeyID {
		refusal = t.checkMove(a, k)
	}
	if refusal != nil {
		return refusal, nil
	}
	moved := *a
	moved.KeyID, moved.Updated = k.ID, t.now
	t.put(tableAliases, &moved)
	return nil, nil
}

// checkMove checks that the alias may change over to another key.
func (t *txn) checkMove(a *Alias, to *Key) *kms.Error {
	from, ok := t.state.get(tableKeys, a.Region, a.KeyID).(*Key)
	if ok && (from.class() != to.class() || from.Usage != to.Usage) {
		return &kms.Error{Code: kms.CodeValidation, Message: "Alias " + a.ARN() + " cannot be changed from " + from.ARN() + " to " + to.ARN() +
			". The current and new key must be the same type and have the same key usage."}
	}
	return t.checkAliasQuota(to)
}

// class is the type of key within which aliases move: symmetric encryption, HMAC
// or asymmetric (AWS: UpdateAlias).
func (k *Key) class() string {
	switch {
	case k.Spec == kms.SymmetricDefault:
		return "symmetric"
	case strings.HasPrefix(string(k.Spec), "HMAC_"):
		return "hmac"
	}
	return "asymmetric"
}

// DeleteAlias takes a name away, whatever the state of its key.
type DeleteAlias struct {
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	Name    string `cbor:"3,keyasint"`
}

func (DeleteAlias) command() (Type, uint8) { return TypeDeleteAlias, 1 }

func (c DeleteAlias) check() error {
	if !kms.ValidAccount(c.Account) || !kms.ValidRegion(c.Region) {
		return errors.New("not an alias's account and Region")
	}
	return checkAliasName(c.Name)
}

func deleteAlias(t *txn, c *DeleteAlias) (*kms.Error, error) {
	a, refusal := t.alias(c.Account, c.Region, c.Name)
	if refusal != nil {
		return refusal, nil
	}
	t.drop(tableAliases, a)
	return nil, nil
}

// alias returns the account's alias, or the refusal when it has no such alias.
func (t *txn) alias(account, region, name string) (*Alias, *kms.Error) {
	a, ok := t.state.get(tableAliases, account, region, name).(*Alias)
	if !ok {
		return nil, &kms.Error{Code: kms.CodeNotFound, Message: "Alias " + kms.AliasARN(region, account, name) + " is not found."}
	}
	return a, nil
}

// maxAliasName bounds an alias's name with its prefix, in bytes (AWS:
// AliasNameType).
const maxAliasName = 256

func checkAliasName(name string) error {
	if !strings.HasPrefix(name, kms.AliasPrefix) || len(name) == len(kms.AliasPrefix) || len(name) > maxAliasName {
		return errors.New("not an alias's name")
	}
	return nil
}

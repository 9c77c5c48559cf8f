package fsm

import (
	"errors"

	"github.com/kmsd/kmsd/kms"
)

// ManagedRotation is how often AWS managed keys rotate, in days (AWS: "Rotating AWS
// managed keys").
const ManagedRotation = 365

// CreateManagedKey makes the AWS managed key of a service in an account and Region, with
// its alias. The leader drew the ids; if one is taken, or the alias is there already, the
// command conflicts, so that two first uses make one key. So it does when the account is
// not active any more: the leader then finds no caller.
type CreateManagedKey struct {
	Key      Key      `cbor:"1,keyasint"`
	Material Material `cbor:"2,keyasint"`
	Policy   string   `cbor:"3,keyasint"`
	Service  string   `cbor:"4,keyasint"` // "s3"
}

func (CreateManagedKey) command() (Type, uint8) { return TypeCreateManagedKey, 1 }

func (c CreateManagedKey) check() error {
	k := &c.Key
	switch {
	case k.Manager != kms.ManagerAWS || k.Spec != kms.SymmetricDefault || k.MultiRegion:
		return errors.New("an AWS managed key is a symmetric encryption key of one Region")
	case k.RotationPeriod != ManagedRotation || k.NextRotation != k.Created+ManagedRotation*day:
		return errors.New("an AWS managed key rotates every year")
	case !kms.ValidServiceName(c.Service):
		return errors.New("an AWS managed key without a service")
	}
	plain := *k
	plain.RotationPeriod, plain.NextRotation = 0, 0
	return CreateKey{Key: plain, Material: &c.Material, Policy: c.Policy}.check()
}

func createManagedKey(t *txn, c *CreateManagedKey) (*kms.Error, error) {
	k, name := &c.Key, kms.ManagedAliasPrefix+c.Service
	if t.checkAccount(k.Account) != nil || t.state.get(tableAliases, k.Account, k.Region, name) != nil || t.state.get(tableKeys, k.Region, k.ID) != nil ||
		t.state.get(tableMaterials, k.ID, c.Material.ID[:materialPrefix]) != nil {
		t.conflict = true
		return nil, nil
	}
	t.put(tableMaterials, &c.Material)
	t.putNewKey(k, c.Policy, nil)
	t.put(tableAliases, &Alias{Account: k.Account, Region: k.Region, Name: name, KeyID: k.ID, Created: t.now, Updated: t.now})
	return nil, nil
}

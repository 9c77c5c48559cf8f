package kmsapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func (a *api) createKey(ctx context.Context, r *service.Request, in *wire.CreateKeyRequest) (fsm.Args, *wire.CreateKeyResponse, error) {
	key := fsm.Key{
		Account: r.Principal.Account, Region: r.Region, ID: newKeyID(in), Created: r.Now, Description: text(in.Description),
		Spec: kms.KeySpec(keySpec(in)), Usage: keyUsage(in), Origin: kms.OriginKMS, Manager: kms.ManagerCustomer,
		State: kms.Enabled, MultiRegion: isTrue(in.MultiRegion),
	}
	policy, err := firstPolicy(r, &key, in)
	if err != nil {
		return nil, nil, err
	}
	key.PolicyHash = sha256.Sum256([]byte(policy))
	material, err := a.firstMaterial(ctx, r, &key, kms.Origin(origin(in)))
	if err != nil {
		return nil, nil, err
	}
	metadata := keyMetadata(r.View, &key)
	r.Record.ResponseElements.Object("keyMetadata", func(p *audit.Params) { recordMetadata(p, metadata) })
	r.Record.Resources = []audit.Resource{{Account: key.Account, ARN: key.ARN()}}
	return fsm.CreateKey{Key: key, Material: material, Policy: policy, Tags: tags(in.Tags)}, &wire.CreateKeyResponse{KeyMetadata: metadata}, nil
}

func newKeyID(in *wire.CreateKeyRequest) string {
	if isTrue(in.MultiRegion) {
		return newMultiRegionID()
	}
	return service.NewUUID()
}

// firstMaterial makes a new key's material, unless it is imported later.
func (a *api) firstMaterial(ctx context.Context, r *service.Request, key *fsm.Key, origin kms.Origin) (*fsm.Material, error) {
	if origin == kms.OriginExternal {
		key.Origin, key.State = origin, kms.PendingImport
		return nil, nil
	}
	id, spec, now := key.ID, key.Spec, r.Now
	material, err := making(ctx, r, spec, func() (*fsm.Material, error) { return a.newMaterial(id, spec, now) })
	if err != nil {
		return nil, err
	}
	key.ID, key.CurrentMaterial = material.KeyID, material.ID // an earlier attempt's, if that made it
	return material, nil
}

// firstPolicy is a new key's policy: the caller's, or the default one.
func firstPolicy(r *service.Request, key *fsm.Key, in *wire.CreateKeyRequest) (string, error) {
	if in.Policy == nil {
		return iam.DefaultKeyPolicy(key.Account), nil
	}
	return newPolicy(r, &service.Key{Key: key, ARN: key.ARN(), NewTags: tags(in.Tags)}, *in.Policy, isTrue(in.BypassPolicyLockoutSafetyCheck))
}

// createdKey answers a CreateKey that was applied before.
func createdKey(r *service.Request, once *fsm.Once) (*wire.CreateKeyResponse, error) {
	if len(once.IDs) != 1 {
		return nil, fmt.Errorf("kmsd: exactly-once entry of CreateKey names %d keys", len(once.IDs))
	}
	key, ok := r.View.Key(r.Region, once.IDs[0])
	if !ok {
		return nil, kms.ErrOutcomeUnknown
	}
	metadata := keyMetadata(r.View, key)
	r.Record.ResponseElements.Object("keyMetadata", func(p *audit.Params) { recordMetadata(p, metadata) })
	r.Record.Resources = []audit.Resource{{Account: key.Account, ARN: key.ARN()}}
	return &wire.CreateKeyResponse{KeyMetadata: metadata}, nil
}

func describeKey(_ context.Context, r *service.Request, _ *wire.DescribeKeyRequest) (*wire.DescribeKeyResponse, error) {
	return &wire.DescribeKeyResponse{KeyMetadata: keyMetadata(r.View, r.Keys[0].Key)}, nil
}

// keyMetadata renders a key (AWS: KeyMetadata). The members' presence follows
// from the key's type and state.
func keyMetadata(v *fsm.View, k *fsm.Key) *wire.KeyMetadata {
	can := algorithmsOf(k)
	m := &wire.KeyMetadata{
		AWSAccountId: &k.Account, KeyId: k.ID, Arn: new(k.ARN()), CreationDate: new(time.UnixMilli(k.Created).UTC()),
		Enabled: new(k.State == kms.Enabled), Description: &k.Description, KeyUsage: string(k.Usage), KeyState: string(k.State),
		Origin: string(k.Origin), KeyManager: string(k.Manager), CustomerMasterKeySpec: string(k.Spec), KeySpec: string(k.Spec),
		EncryptionAlgorithms: can.encryption, SigningAlgorithms: can.signing, KeyAgreementAlgorithms: can.keyAgreement,
		MacAlgorithms: can.mac, EncapsulationAlgorithms: can.encapsulation, MultiRegion: &k.MultiRegion,
		MultiRegionConfiguration: multiRegion(v, k),
	}
	if k.Spec == kms.SymmetricDefault && k.CurrentMaterial != "" {
		m.CurrentKeyMaterialId = &k.CurrentMaterial
	}
	if k.Origin == kms.OriginExternal && k.CurrentMaterial != "" && !k.Incomplete {
		m.ExpirationModel, m.ValidTo = expiration(k.ValidTo)
	}
	switch k.State {
	case kms.PendingDeletion:
		m.DeletionDate = new(time.UnixMilli(k.DeletionDate).UTC())
	case kms.PendingReplicaDeletion:
		m.PendingDeletionWindowInDays = new(int(k.PendingWindow))
	}
	return m
}

// recordMetadata adds the metadata as CloudTrail shows it.
func recordMetadata(p *audit.Params, m *wire.KeyMetadata) {
	p.String("AWSAccountId", *m.AWSAccountId)
	p.String("keyId", m.KeyId)
	p.String("arn", *m.Arn)
	p.Time("creationDate", m.CreationDate.UnixMilli())
	p.Bool("enabled", *m.Enabled)
	p.String("description", *m.Description)
	p.String("keyUsage", m.KeyUsage)
	p.String("keyState", m.KeyState)
	p.String("origin", m.Origin)
	p.String("keyManager", m.KeyManager)
	p.String("customerMasterKeySpec", m.CustomerMasterKeySpec)
	p.String("keySpec", m.KeySpec)
	for _, list := range []struct {
		name string
		can  []string
	}{
		{"encryptionAlgorithms", m.EncryptionAlgorithms}, {"signingAlgorithms", m.SigningAlgorithms},
		{"keyAgreementAlgorithms", m.KeyAgreementAlgorithms}, {"macAlgorithms", m.MacAlgorithms},
		{"encapsulationAlgorithms", m.EncapsulationAlgorithms},
	} {
		if len(list.can) > 0 {
			p.Strings(list.name, list.can)
		}
	}
	p.Bool("multiRegion", *m.MultiRegion)
	recordMultiRegion(p, m.MultiRegionConfiguration)
	if m.ExpirationModel != "" {
		p.String("expirationModel", m.ExpirationModel)
	}
	if m.ValidTo != nil {
		p.Time("validTo", m.ValidTo.UnixMilli())
	}
	p.OptString("currentKeyMaterialId", m.CurrentKeyMaterialId)
}

func listKeys(_ context.Context, r *service.Request, in *wire.ListKeysRequest) (*wire.ListKeysResponse, error) {
	page := page{operation: "ListKeys", owner: r.Principal.Account + "/" + r.Region}
	after, err := page.after(in.Marker)
	if err != nil {
		return nil, err
	}
	ids, more := r.View.ListKeys(r.Principal.Account, r.Region, after, limit(in.Limit, 100, 1000))
	out := &wire.ListKeysResponse{Keys: make([]wire.KeyListEntry, len(ids)), Truncated: &more}
	for i, id := range ids {
		out.Keys[i] = wire.KeyListEntry{KeyId: &ids[i], KeyArn: new(kms.KeyARN(r.Region, r.Principal.Account, id))}
	}
	if more {
		out.NextMarker = page.marker(ids[len(ids)-1])
	}
	return out, nil
}

// setKeyState is EnableKey and DisableKey.
func setKeyState[In any](enabled bool) func(context.Context, *service.Request, *In) (fsm.Args, *service.None, error) {
	return func(_ context.Context, r *service.Request, _ *In) (fsm.Args, *service.None, error) {
		key := &r.Keys[0]
		r.Record.ResponseElements.String("keyId", key.ARN)
		return fsm.SetKeyState{Account: key.Account, Region: key.Region, KeyID: key.ID, Enabled: enabled}, nil, nil
	}
}

func updateKeyDescription(_ context.Context, r *service.Request, in *wire.UpdateKeyDescriptionRequest) (fsm.Args, *service.None, error) {
	key := &r.Keys[0]
	r.Record.ResponseElements.String("keyId", key.ARN)
	return fsm.SetKeyDescription{Account: key.Account, Region: key.Region, KeyID: key.ID, Description: in.Description}, nil, nil
}

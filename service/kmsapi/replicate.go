package kmsapi

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func multiRegionRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.ReplicateKeyRequest, wire.ReplicateKeyResponse]{
			Service: serviceName, Name: "ReplicateKey", Once: true, CallerAccount: true,
			Keys: []service.KeyRule[wire.ReplicateKeyRequest]{{
				ID: func(in *wire.ReplicateKeyRequest) string { return in.KeyId }, Action: "kms:ReplicateKey", States: service.Replicable, Primary: true,
				Conditions: func(in *wire.ReplicateKeyRequest, key string) []string {
					return parameter(key, "kms:replicaregion", in.ReplicaRegion)
				},
				Copies: replicaRights,
			}},
			// AWS counts a replica as two calls of CreateKey, of which one is a dry run.
			There: func(in *wire.ReplicateKeyRequest) (string, []service.Quota) {
				return in.ReplicaRegion, []service.Quota{"CreateKey", "CreateKey"}
			},
			Check:  func(in *wire.ReplicateKeyRequest) error { return checkTags(in.Tags) },
			Params: replicateKeyParams,
			Write:  replicateKey, Repeat: replicatedKey,
		}.Row(),
		service.Op[wire.UpdatePrimaryRegionRequest, service.None]{
			Service: serviceName, Name: "UpdatePrimaryRegion", Once: true,
			Keys: []service.KeyRule[wire.UpdatePrimaryRegionRequest]{
				{
					ID: func(in *wire.UpdatePrimaryRegionRequest) string { return in.KeyId }, Action: "kms:UpdatePrimaryRegion", States: service.Usable,
					Primary: true, Conditions: primaryRegion,
				},
				{
					Related: func(in *wire.UpdatePrimaryRegionRequest) string { return in.PrimaryRegion }, Action: "kms:UpdatePrimaryRegion", States: service.Usable,
					Conditions: primaryRegion,
				},
			},
			There: func(in *wire.UpdatePrimaryRegionRequest) (string, []service.Quota) {
				return in.PrimaryRegion, []service.Quota{"UpdatePrimaryRegion"}
			},
			Params: updatePrimaryRegionParams,
			Write:  updatePrimaryRegion,
		}.Row(),
	}
}

// asCreateKey is the call of CreateKey in the replica's Region that a ReplicateKey stands
// for (AWS KMS: "Logging AWS KMS API calls with AWS CloudTrail", ReplicateKey).
func asCreateKey(primary *fsm.Key, in *wire.ReplicateKeyRequest) *wire.CreateKeyRequest {
	return &wire.CreateKeyRequest{
		Description: in.Description, Policy: in.Policy, BypassPolicyLockoutSafetyCheck: in.BypassPolicyLockoutSafetyCheck, Tags: in.Tags,
		KeySpec: string(primary.Spec), KeyUsage: string(primary.Usage), Origin: string(primary.Origin), MultiRegion: new(true),
	}
}

// replicaRights is what identity policies must allow in the replica's Region.
func replicaRights(primary *service.Key, in *wire.ReplicateKeyRequest) service.Elsewhere {
	create := asCreateKey(primary.Key, in)
	return service.Elsewhere{
		Region: in.ReplicaRegion, Identity: "kms:CreateKey", Also: createKeyAlso(create),
		Conditions: func(key string) []string {
			if key == "kms:multiregionkeytype" {
				return []string{typeReplica}
			}
			return createKeyConditions(create, key)
		},
	}
}

func replicateKeyParams(in *wire.ReplicateKeyRequest, p *audit.Params) {
	p.String("keyId", in.KeyId)
	p.String("replicaRegion", in.ReplicaRegion)
	p.Bool("bypassPolicyLockoutSafetyCheck", isTrue(in.BypassPolicyLockoutSafetyCheck))
	p.OptString("description", in.Description)
	p.OptString("policy", in.Policy)
	recordTags(p, in.Tags)
}

func replicateKey(_ context.Context, r *service.Request, in *wire.ReplicateKeyRequest) (fsm.Args, *wire.ReplicateKeyResponse, error) {
	if in.ReplicaRegion == r.Region {
		return nil, nil, invalid("The replica Region " + in.ReplicaRegion + " is the Region of the primary key.")
	}
	primary := r.Keys[0].Key
	replica := fsm.Key{
		Account: primary.Account, Region: in.ReplicaRegion, ID: primary.ID, Created: r.Now, Description: text(in.Description),
		Spec: primary.Spec, Usage: primary.Usage, Origin: primary.Origin, Manager: primary.Manager,
		MultiRegion: true, Replica: true, CurrentMaterial: primary.CurrentMaterial, Incomplete: primary.Origin == kms.OriginExternal,
	}
	create := asCreateKey(primary, in)
	policy, err := firstPolicy(r, &replica, create)
	if err != nil {
		return nil, nil, err
	}
	replica.PolicyHash = sha256.Sum256([]byte(policy))
	out, err := answerReplica(r, replica, policy, tags(in.Tags))
	if err != nil {
		return nil, nil, err
	}
	there := recordElsewhere("CreateKey", replica.Region, &replica)
	createKeyParams(create, &there.RequestParameters)
	there.ResponseElements.Object("keyMetadata", func(p *audit.Params) { recordMetadata(p, out.ReplicaKeyMetadata) })
	r.Record.Elsewhere = []audit.Elsewhere{there}
	return fsm.ReplicateKey{
		Account: primary.Account, Region: primary.Region, KeyID: primary.ID, ReplicaRegion: replica.Region,
		Created: replica.Created, Description: replica.Description, Policy: policy, Tags: tags(in.Tags),
	}, out, nil
}

// answerReplica answers with a new replica, and shows the answer in the record. Clients
// wait until a replica is no longer being created: it never is when they ask, but
// the answer says so as AWS's does.
func answerReplica(r *service.Request, replica fsm.Key, policy string, tags []fsm.Tag) (*wire.ReplicateKeyResponse, error) {
	shown, err := service.ShowPolicy(r.View, policy)
	if err != nil {
		return nil, err
	}
	replica.State = kms.Creating
	out := &wire.ReplicateKeyResponse{ReplicaKeyMetadata: keyMetadata(r.View, &replica), ReplicaPolicy: &shown, ReplicaTags: shownTags(tags)}
	r.Record.ResponseElements.Object("replicaKeyMetadata", func(p *audit.Params) { recordMetadata(p, out.ReplicaKeyMetadata) })
	r.Record.ResponseElements.String("replicaPolicy", shown)
	return out, nil
}

// replicatedKey answers a ReplicateKey that was applied before.
func replicatedKey(r *service.Request, once *fsm.Once) (*wire.ReplicateKeyResponse, error) {
	if len(once.IDs) != 2 {
		return nil, fmt.Errorf("kmsd: exactly-once entry of ReplicateKey names %d things, not key and Region", len(once.IDs))
	}
	replica, ok := r.View.Key(once.IDs[1], once.IDs[0])
	if !ok {
		return nil, kms.ErrOutcomeUnknown
	}
	policy, ok := r.View.PolicyText(replica.PolicyHash)
	if !ok {
		panic("kmsd: key without a policy")
	}
	r.Record.Resources = []audit.Resource{{Account: replica.Account, ARN: kms.KeyARN(r.Region, replica.Account, replica.ID)}}
	return answerReplica(r, *replica, policy, r.View.Tags(replica.Region, replica.ID))
}

func primaryRegion(in *wire.UpdatePrimaryRegionRequest, key string) []string {
	return parameter(key, "kms:primaryregion", in.PrimaryRegion)
}

func updatePrimaryRegionParams(in *wire.UpdatePrimaryRegionRequest, p *audit.Params) {
	p.String("keyId", in.KeyId)
	p.String("primaryRegion", in.PrimaryRegion)
}

func updatePrimaryRegion(_ context.Context, r *service.Request, in *wire.UpdatePrimaryRegionRequest) (fsm.Args, *service.None, error) {
	old, next := &r.Keys[0], &r.Keys[1]
	if !next.Replica {
		return nil, nil, unsupported(next.ARN + " is the multi-region primary key already.")
	}
	r.Record.ResponseElements.String("keyId", old.ARN)
	there := recordElsewhere(r.Operation, next.Region, next.Key)
	updatePrimaryRegionParams(in, &there.RequestParameters)
	there.ResponseElements.String("keyId", next.ARN)
	r.Record.Elsewhere = []audit.Elsewhere{there}
	return fsm.UpdatePrimaryRegion{Account: old.Account, Region: old.Region, KeyID: old.ID, PrimaryRegion: next.Region}, nil, nil
}

// recordElsewhere begins the record of what was done with a key in another Region.
func recordElsewhere(event, region string, k *fsm.Key) audit.Elsewhere {
	return audit.Elsewhere{EventID: service.NewUUID(), EventName: event, Region: region, Resources: []audit.Resource{{Account: k.Account, ARN: k.ARN()}}}
}

// synchronized records that the replicas of a key got what they share with it
// (CloudTrail: SynchronizeMultiRegionKey).
func synchronized(v *fsm.View, primary *fsm.Key) (out []audit.Elsewhere) {
	for _, other := range v.Related(primary) {
		if other.Replica {
			there := recordElsewhere("SynchronizeMultiRegionKey", other.Region, primary)
			there.RequestID = service.NewUUID()
			out = append(out, there)
		}
	}
	return out
}

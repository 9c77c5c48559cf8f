package fsm

import (
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// Related multi-Region keys are the keys of one id in several Regions: one primary and
// its replicas (AWS: "Multi-Region keys in AWS KMS"). They share id, material, spec,
// usage, origin and rotation; the rest is each key's own. Materials hang on the id, so
// that the keys of a set share them without more; imported ones hang on Region and id.
// The schedule of rotation and the count of rotations on demand stand in the primary
// alone.
//
// Whatever adds a key to a set, takes one from it or moves its primary writes all keys
// of the set anew, so that a command which was decided from any of them is decided
// again.

// relatedPlaces is where a multi-Region key stands among its related keys.
func (k *Key) relatedPlaces() []place {
	if !k.MultiRegion {
		return nil
	}
	return []place{{index: relatedByID, owner: k.ID, key: k.Region}}
}

// related returns the keys of a multi-Region key's set, itself included, in the order
// of their Regions; none for a key of a single Region.
func (t *txn) related(k *Key) []*Key {
	if !k.MultiRegion {
		return nil
	}
	records := t.owned(relatedByID, k.ID)
	out := make([]*Key, len(records))
	for i, rec := range records {
		out[i] = rec.(*Key)
	}
	return out
}

// touch writes the keys of k's set anew, but for k itself.
func (t *txn) touch(k *Key) {
	for _, other := range t.related(k) {
		if other.Region != k.Region {
			same := *other
			t.put(tableKeys, &same)
		}
	}
}

// Related returns the keys of a multi-Region key's set, itself included, in the order
// of their Regions; none for a key of a single Region.
func (v *View) Related(k *Key) []*Key {
	if !k.MultiRegion {
		return nil
	}
	found, _ := v.page(relatedByID, "", maxRelated, k.ID)
	return cast[*Key](found)
}

// maxRelated bounds the keys of a set: more than AWS has Regions, while every name is one
// here.
const maxRelated = 100

// Primary returns the key that rules a key's rotation: the primary of its set, or the
// key itself where it is of a single Region.
func (v *View) Primary(k *Key) *Key {
	if !k.Replica {
		return k
	}
	for _, other := range v.Related(k) {
		if !other.Replica {
			return other
		}
	}
	panic("kmsd: replica without a primary")
}

// ReplicateKey makes a replica of a multi-Region primary key in another Region. What
// related keys share comes from the primary.
type ReplicateKey struct {
	Account       string `cbor:"1,keyasint"`
	Region        string `cbor:"2,keyasint"` // the primary's
	KeyID         string `cbor:"3,keyasint"`
	ReplicaRegion string `cbor:"4,keyasint"`
	Created       int64  `cbor:"5,keyasint"` // milliseconds since 1970
	Description   string `cbor:"6,keyasint,omitempty"`
	Policy        string `cbor:"7,keyasint"`
	Tags          []Tag  `cbor:"8,keyasint,omitempty"`
}

func (ReplicateKey) command() (Type, uint8) { return TypeReplicateKey, 1 }

func (c ReplicateKey) check() error { return checkMove(c.Account, c.Region, c.KeyID, c.ReplicaRegion) }

// checkMove checks a command about a multi-Region key in two Regions.
func checkMove(account, region, id, other string) error {
	switch {
	case !strings.HasPrefix(id, "mrk-"):
		return errors.New("not a multi-Region key")
	case !kms.ValidRegion(other) || other == region:
		return errors.New("not another Region")
	}
	return checkKeyRef(account, region, id)
}

func replicateKey(t *txn, c *ReplicateKey) (*kms.Error, error) {
	k, refusal := t.primaryKey(c.Account, c.Region, c.KeyID)
	if refusal == nil {
		refusal = refuseState(k, kms.Updating)
	}
	if refusal != nil {
		return refusal, nil
	}
	if t.state.get(tableKeys, c.ReplicaRegion, c.KeyID) != nil {
		return &kms.Error{Code: kms.CodeAlreadyExists,
			Message: "Unable to replicate key " + k.ARN() + " to region " + c.ReplicaRegion + ", as it already exist."}, nil
	}
	if len(t.related(k)) >= maxRelated {
		return limitExceeded("You have exceeded the number of related multi-Region keys allowed for this KMS key."), nil
	}
	replica := &Key{
		Account: k.Account, Region: c.ReplicaRegion, ID: k.ID, Created: c.Created, Description: c.Description,
		Spec: k.Spec, Usage: k.Usage, Origin: k.Origin, Manager: k.Manager, State: kms.Enabled, MultiRegion: true, Replica: true,
		PolicyHash: sha256.Sum256([]byte(c.Policy)), CurrentMaterial: k.CurrentMaterial,
	}
	if refusal := t.checkNewKey(&CreateKey{Key: *replica, Policy: c.Policy, Tags: c.Tags}); refusal != nil {
		return refusal, nil
	}
	t.touch(replica)
	t.awaitMaterials(replica, k)
	t.putNewKey(replica, c.Policy, c.Tags)
	t.made = []string{replica.ID, replica.Region}
	return nil, nil
}

// primaryKey returns the account's key if it is a usable multi-Region primary.
func (t *txn) primaryKey(account, region, id string) (*Key, *kms.Error) {
	k, refusal := t.key(account, region, id)
	if refusal == nil {
		refusal = refuseUnusable(k)
	}
	if refusal == nil && (!k.MultiRegion || k.Replica) {
		refusal = &kms.Error{Code: kms.CodeUnsupportedOperation, Message: k.ARN() + " is not a multi-region primary key."}
	}
	return k, refusal
}

// refuseUnusable refuses a key that cryptographic operations would refuse.
func refuseUnusable(k *Key) *kms.Error {
	if k.State == kms.Disabled {
		return &kms.Error{Code: kms.CodeDisabled, Message: k.ARN() + " is disabled."}
	}
	return refuseState(k, kms.PendingDeletion, kms.PendingReplicaDeletion, kms.PendingImport, kms.Creating)
}

// UpdatePrimaryRegion makes a replica the primary of its set, and the primary a
// replica. The schedule of rotation goes with it.
type UpdatePrimaryRegion struct {
	Account       string `cbor:"1,keyasint"`
	Region        string `cbor:"2,keyasint"` // the primary's
	KeyID         string `cbor:"3,keyasint"`
	PrimaryRegion string `cbor:"4,keyasint"` // the replica's
}

func (UpdatePrimaryRegion) command() (Type, uint8) { return TypeUpdatePrimaryRegion, 1 }

func (c UpdatePrimaryRegion) check() error {
	return checkMove(c.Account, c.Region, c.KeyID, c.PrimaryRegion)
}

func updatePrimaryRegion(t *txn, c *UpdatePrimaryRegion) (*kms.Error, error) {
	k, refusal := t.primaryKey(c.Account, c.Region, c.KeyID)
	if refusal != nil {
		return refusal, nil
	}
	replica, refusal := t.key(c.Account, c.PrimaryRegion, c.KeyID)
	if refusal == nil {
		refusal = refuseUnusable(replica)
	}
	if refusal != nil {
		return refusal, nil
	}
	t.touch(k)
	old, primary := *k, *replica
	old.Replica, primary.Replica = true, false
	primary.RotationPeriod, primary.NextRotation = k.RotationPeriod, k.NextRotation
	primary.OnDemandStart, primary.OnDemandCount = k.OnDemandStart, k.OnDemandCount
	old.RotationPeriod, old.NextRotation, old.OnDemandStart, old.OnDemandCount = 0, 0, 0, 0
	t.put(tableKeys, &old)
	t.put(tableKeys, &primary)
	return nil, nil
}

// release takes a destroyed key out of its set. It tells whether others still use the
// set's materials. The waiting period of a primary that waited for its last replica
// begins.
func (t *txn) release(k *Key) (shared bool) {
	related := t.related(k)
	for _, other := range related {
		if other.Region == k.Region {
			continue
		}
		left := *other
		if left.State == kms.PendingReplicaDeletion && len(related) == 2 {
			left.State, left.DeletionDate = kms.PendingDeletion, t.meta.Time+int64(left.PendingWindow)*day
		}
		t.put(tableKeys, &left)
	}
	return len(related) > 1
}

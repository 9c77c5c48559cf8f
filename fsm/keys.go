package fsm

import (
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// Key is a KMS key: what DescribeKey shows of it and what decides over its use.
type Key struct {
	Versioned
	Account     string         `cbor:"1,keyasint"`
	Region      string         `cbor:"2,keyasint"`
	ID          string         `cbor:"3,keyasint"`
	Created     int64          `cbor:"4,keyasint"` // milliseconds since 1970
	Description string         `cbor:"5,keyasint,omitempty"`
	Spec        kms.KeySpec    `cbor:"6,keyasint"`
	Usage       kms.KeyUsage   `cbor:"7,keyasint"`
	Origin      kms.Origin     `cbor:"8,keyasint"`
	Manager     kms.KeyManager `cbor:"9,keyasint"`
	// State is never Unavailable: that is derived from the state of a key's
	// custom key store.
	State       kms.KeyState `cbor:"10,keyasint"`
	MultiRegion bool         `cbor:"11,keyasint,omitempty"`
	// PolicyHash is SHA-256 over the text of the key's policy.
	PolicyHash [32]byte `cbor:"12,keyasint"`
	// CurrentMaterial is the id of the material that encrypts, 64 hexadecimal
	// digits; empty when the key has none.
	CurrentMaterial string `cbor:"13,keyasint,omitempty"`
	// DeletionDate is when the key may be destroyed, in milliseconds since 1970; 0
	// unless it is pending deletion.
	DeletionDate int64 `cbor:"14,keyasint,omitempty"`
	// PendingWindow is the waiting period that the deletion was scheduled with, in
	// days.
	PendingWindow uint16 `cbor:"15,keyasint,omitempty"`
	// RotationPeriod is how often the key rotates by itself, in days; 0 if it does
	// not. It outlives a scheduled deletion that is cancelled.
	RotationPeriod uint16 `cbor:"16,keyasint,omitempty"`
	// NextRotation is when the next automatic rotation is due, in milliseconds since
	// 1970; 0 without automatic rotation.
	NextRotation int64 `cbor:"17,keyasint,omitempty"`
	// OnDemandStart is when the rotation was asked for that has not been carried out
	// yet, in milliseconds since 1970; 0 if there is none.
	OnDemandStart int64 `cbor:"18,keyasint,omitempty"`
	// OnDemandCount counts the rotations on demand over the key's life.
	OnDemandCount uint8 `cbor:"19,keyasint,omitempty"`
	// Replica tells that a multi-Region key is not the primary of its set.
	Replica bool `cbor:"26,keyasint,omitempty"`
	// ValidTo is the earliest end of the key's imported materials, in milliseconds since
	// 1970, without a pending one; 0 if none ends.
	ValidTo int64 `cbor:"30,keyasint,omitempty"`
	// NextExpiry is ValidTo with the pending material.
	NextExpiry int64 `cbor:"31,keyasint,omitempty"`
	// PendingMaterial is the id of the imported material that waits for a rotation.
	PendingMaterial string `cbor:"32,keyasint,omitempty"`
	// Incomplete tells that an imported material was deleted or has expired.
	Incomplete bool `cbor:"33,keyasint,omitempty"`
}

func (k *Key) appendID(dst []byte) []byte { return appendJoined(dst, k.Region, k.ID) }

// ARN is the key's ARN.
func (k *Key) ARN() string { return kms.KeyARN(k.Region, k.Account, k.ID) }

func keyPlaces(rec record) []place {
	k := rec.(*Key)
	p := place{index: keysByOwner, owner: k.Account + "/" + k.Region, key: k.ID, bare: true}
	if k.Manager == kms.ManagerCustomer {
		p.weight = 1
	}
	return append(append([]place{p}, k.relatedPlaces()...), k.duePlaces()...)
}

// materialPrefix is how many digits of a material's id name it within its key:
// the 16 bytes that a ciphertext carries.
const materialPrefix = 32

// Material is one generation of a key's material, sealed under a term of the
// keyring. The machine parses neither the secret nor the public key.
type Material struct {
	Versioned
	KeyID   string `cbor:"1,keyasint"`
	ID      string `cbor:"2,keyasint"` // 64 hexadecimal digits
	Created int64  `cbor:"3,keyasint"` // milliseconds since 1970
	// Sealed is empty for an imported material that is not there.
	Sealed []byte `cbor:"4,keyasint"`
	// Seq numbers the generations of one key; 0 is the first.
	Seq uint32 `cbor:"5,keyasint,omitempty"`
	// Rotated is when the key changed over to this material, in milliseconds since
	// 1970; 0 for the first.
	Rotated int64 `cbor:"6,keyasint,omitempty"`
	// RotationType is what the change was; empty for the first.
	RotationType kms.RotationType `cbor:"7,keyasint,omitempty"`
	// Public is the public key of an asymmetric key, DER SubjectPublicKeyInfo; empty
	// for all others.
	Public []byte `cbor:"8,keyasint,omitempty"`
	// ValidTo is when an imported material expires, in milliseconds since 1970; 0 if it
	// does not.
	ValidTo int64 `cbor:"30,keyasint,omitempty"`
	// Description is an imported material's.
	Description string `cbor:"31,keyasint,omitempty"`
	// Pending tells that an imported material waits for the rotation to it.
	Pending bool `cbor:"32,keyasint,omitempty"`
	// Region is that of the multi-Region key whose imported material it is; empty for
	// materials of all other keys.
	Region string `cbor:"33,keyasint,omitempty"`
}

func (m *Material) appendID(dst []byte) []byte {
	return appendJoined(dst, materialOwner(m.Region, m.KeyID), m.ID[:min(len(m.ID), materialPrefix)])
}

// materialOwner is what materials hang on: a key's id, and its Region where the key has
// materials of its own.
func materialOwner(region, keyID string) string {
	if region == "" {
		return keyID
	}
	return region + "/" + keyID
}

// MaterialOwner names the key to View.Material and View.Materials. Related keys have one
// name, unless each of them imports its materials.
func (k *Key) MaterialOwner() string { return materialOwner(k.materialRegion(), k.ID) }

// materialRegion is the Region of the key's materials' records.
func (k *Key) materialRegion() string {
	if k.MultiRegion && k.Origin == kms.OriginExternal {
		return k.Region
	}
	return ""
}

func materialPlaces(rec record) []place {
	m := rec.(*Material)
	return []place{{index: materialsByKey, owner: materialOwner(m.Region, m.KeyID), key: indexKey(uint64(m.Seq))}}
}

// appendJoined appends parts, joined with slashes.
func appendJoined(dst []byte, parts ...string) []byte {
	return append(dst, strings.Join(parts, "/")...)
}

// CreateKey makes a key with its material, policy and tags. The leader drew the
// ids; if one is taken, the command conflicts.
type CreateKey struct {
	Key Key `cbor:"1,keyasint"`
	// Material is nil for a key whose material is imported later.
	Material *Material `cbor:"2,keyasint,omitempty"`
	Policy   string    `cbor:"3,keyasint"`
	Tags     []Tag     `cbor:"4,keyasint,omitempty"`
}

func (CreateKey) command() (Type, uint8) { return TypeCreateKey, 1 }

func (c CreateKey) check() error {
	k := &c.Key
	switch {
	case !kms.ValidKeyID(k.ID) || !kms.ValidAccount(k.Account) || !kms.ValidRegion(k.Region):
		return errors.New("a key without a valid id, account and Region")
	case k.MultiRegion != strings.HasPrefix(k.ID, "mrk-"):
		return errors.New("a multi-Region key's id starts with mrk-, and no other's does")
	case k.ModIndex != 0:
		return errors.New("a key that has an index")
	case k.Spec == "" || k.Usage == "" || k.Manager == "":
		return errors.New("a key without spec, usage or manager")
	case k.PolicyHash != sha256.Sum256([]byte(c.Policy)):
		return errors.New("a key whose policy hash is not its policy's")
	case k.Replica:
		return errors.New("a new key that is a replica")
	case k.scheduled():
		return errors.New("a new key with a deletion or a rotation")
	case c.Material == nil:
		return k.checkEmpty()
	}
	return c.Material.checkFirst(k)
}

// scheduled tells whether anything is to happen to the key by itself.
func (k *Key) scheduled() bool {
	return k.DeletionDate != 0 || k.PendingWindow != 0 || k.RotationPeriod != 0 || k.NextRotation != 0 ||
		k.OnDemandStart != 0 || k.OnDemandCount != 0 ||
		k.ValidTo != 0 || k.NextExpiry != 0 || k.PendingMaterial != "" || k.Incomplete
}

// checkEmpty checks a new key that has no material yet.
func (k *Key) checkEmpty() error {
	if k.CurrentMaterial != "" || k.Origin != kms.OriginExternal || k.State != kms.PendingImport {
		return errors.New("only a key that waits for import has no material")
	}
	return nil
}

// checkFirst checks a new key's material.
func (m *Material) checkFirst(k *Key) error {
	switch {
	case m.KeyID != k.ID || m.ID != k.CurrentMaterial || len(m.ID) != 64:
		return errors.New("a key whose material is not its own")
	case len(m.Sealed) == 0 || m.ModIndex != 0:
		return errors.New("a material that is empty or has an index")
	case m.Seq != 0 || m.Rotated != 0 || m.RotationType != "":
		return errors.New("a first material that was rotated to")
	case m.ValidTo != 0 || m.Description != "" || m.Pending || m.Region != "":
		return errors.New("a first material that was imported")
	case (len(m.Public) != 0) != k.Spec.Asymmetric():
		return errors.New("an asymmetric key has a public key, and no other has one")
	case k.State != kms.Enabled || k.Origin != kms.OriginKMS:
		return errors.New("a new key with material is enabled and of origin AWS_KMS")
	}
	return nil
}

func createKey(t *txn, c *CreateKey) (*kms.Error, error) {
	k := &c.Key
	if refusal := t.checkNewKey(c); refusal != nil {
		return refusal, nil
	}
	if t.state.get(tableKeys, k.Region, k.ID) != nil || len(t.related(k)) > 0 ||
		c.Material != nil && t.state.get(tableMaterials, k.ID, c.Material.ID[:materialPrefix]) != nil {
		t.conflict = true
		return nil, nil
	}
	if c.Material != nil {
		t.put(tableMaterials, c.Material)
	}
	t.putNewKey(k, c.Policy, c.Tags)
	return nil, nil
}

// putNewKey writes a new key with its policy and tags.
func (t *txn) putNewKey(k *Key, policy string, tags []Tag) {
	t.put(tableKeys, k)
	t.recount(nil, [][32]byte{k.PolicyHash}, []string{policy})
	if len(tags) > 0 {
		t.put(tableTags, &tagSet{Region: k.Region, KeyID: k.ID, Tags: tags})
	}
	t.made = []string{k.ID}
}

// checkNewKey holds a new key against the quotas.
func (t *txn) checkNewKey(c *CreateKey) *kms.Error {
	switch {
	case len(c.Policy) > maxPolicy:
		return limitExceeded("The key policy exceeds the maximum size allowed.")
	case len(c.Tags) > maxTags:
		return &kms.Error{Code: kms.CodeTag, Message: "Too many tags"}
	case c.Key.Manager == kms.ManagerCustomer && t.customerKeys(c.Key.Account, c.Key.Region) >= t.keyQuota():
		return errKeyQuota()
	}
	return nil
}

func (t *txn) keyQuota() int { return int(t.state.config().KeysPerRegion) }

// customerKeys counts an account's customer managed keys in a Region.
func (t *txn) customerKeys(account, region string) int {
	if o, _ := t.state.owned(keysByOwner, account, region); o != nil {
		return o.weight
	}
	return 0
}

func errKeyQuota() *kms.Error {
	return limitExceeded("You have exceeded the number of KMS keys allowed for this account and Region.")
}

func limitExceeded(message string) *kms.Error {
	return &kms.Error{Code: kms.CodeLimitExceeded, Message: message}
}

// SetKeyState is EnableKey and DisableKey. Account is the key's; it serves the
// text of the refusal when the key is gone.
type SetKeyState struct {
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	KeyID   string `cbor:"3,keyasint"`
	Enabled bool   `cbor:"4,keyasint"`
}

func (SetKeyState) command() (Type, uint8) { return TypeSetKeyState, 1 }

func (c SetKeyState) check() error { return checkKeyRef(c.Account, c.Region, c.KeyID) }

func setKeyState(t *txn, c *SetKeyState) (*kms.Error, error) {
	k, refusal := t.key(c.Account, c.Region, c.KeyID)
	if refusal == nil {
		refusal = refuseState(k, kms.PendingDeletion, kms.PendingReplicaDeletion, kms.PendingImport, kms.Creating, kms.Updating)
	}
	if refusal != nil {
		return refusal, nil
	}
	to := kms.Disabled
	if c.Enabled {
		to = kms.Enabled
	}
	if k.State == to {
		return nil, nil
	}
	if c.Enabled && k.Manager == kms.ManagerCustomer && t.customerKeys(k.Account, k.Region) > t.keyQuota() {
		return errKeyQuota(), nil
	}
	changed := *k
	changed.State = to
	t.put(tableKeys, &changed)
	return nil, nil
}

// SetKeyDescription is UpdateKeyDescription.
type SetKeyDescription struct {
	Account     string `cbor:"1,keyasint"`
	Region      string `cbor:"2,keyasint"`
	KeyID       string `cbor:"3,keyasint"`
	Description string `cbor:"4,keyasint"`
}

func (SetKeyDescription) command() (Type, uint8) { return TypeSetKeyDescription, 1 }

func (c SetKeyDescription) check() error { return checkKeyRef(c.Account, c.Region, c.KeyID) }

func setKeyDescription(t *txn, c *SetKeyDescription) (*kms.Error, error) {
	k, refusal := t.livingKey(c.Account, c.Region, c.KeyID)
	if refusal != nil || k.Description == c.Description {
		return refusal, nil
	}
	changed := *k
	changed.Description = c.Description
	t.put(tableKeys, &changed)
	return nil, nil
}

// livingKey returns the account's key, or the refusal when it has no such key or
// is about to lose it.
func (t *txn) livingKey(account, region, id string) (*Key, *kms.Error) {
	k, refusal := t.key(account, region, id)
	if refusal == nil {
		refusal = refuseState(k, kms.PendingDeletion, kms.PendingReplicaDeletion)
	}
	return k, refusal
}

// key returns the account's key, or the refusal when it has no such key.
func (t *txn) key(account, region, id string) (*Key, *kms.Error) {
	k, ok := t.state.get(tableKeys, region, id).(*Key)
	if !ok || k.Account != account {
		return nil, &kms.Error{Code: kms.CodeNotFound, Message: "Key '" + kms.KeyARN(region, account, id) + "' does not exist"}
	}
	return k, nil
}

func checkKeyRef(account, region, id string) error {
	if !kms.ValidAccount(account) || !kms.ValidRegion(region) || !kms.ValidKeyID(id) {
		return errors.New("not a key's account, Region and id")
	}
	return nil
}

// stateTexts are the endings of KMSInvalidStateException's texts (AWS: "Key
// states of AWS KMS keys", notes 3, 5, 14 and 15).
var stateTexts = map[kms.KeyState]string{
	kms.PendingDeletion:        "is pending deletion.",
	kms.PendingReplicaDeletion: "is pending replica deletion.",
	kms.PendingImport:          "is pending import.",
	kms.Creating:               "is creating.",
	kms.Updating:               "is updating.",
}

// refuseState refuses a key that is in one of the states.
func refuseState(k *Key, states ...kms.KeyState) *kms.Error {
	for _, s := range states {
		if k.State == s {
			return &kms.Error{Code: kms.CodeInvalidState, Message: k.ARN() + " " + stateTexts[s]}
		}
	}
	return nil
}

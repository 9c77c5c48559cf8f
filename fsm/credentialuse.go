package fsm

import (
	"errors"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// CredentialUse is the last request that is known to have been signed with an access
// key, or in any session of a role (AWS IAM: GetAccessKeyLastUsed, RoleLastUsed). A
// credential that was not used has none.
type CredentialUse struct {
	Versioned
	ID      string `cbor:"1,keyasint"` // AKIA… of an access key, AROA… of a role
	Service string `cbor:"2,keyasint"` // the service's namespace: "kms"
	Region  string `cbor:"3,keyasint"`
	// Time is when the request came, in milliseconds since 1970, by the clock of the
	// node that served it.
	Time int64 `cbor:"4,keyasint"`
}

func (u *CredentialUse) appendID(dst []byte) []byte { return append(dst, u.ID...) }

// After tells whether the use is later than another one of the same credential. Service
// and Region decide between uses of one millisecond, so that all nodes keep the same.
func (u *CredentialUse) After(other *CredentialUse) bool {
	if u.Time != other.Time {
		return u.Time > other.Time
	}
	if u.Service != other.Service {
		return u.Service > other.Service
	}
	return u.Region > other.Region
}

const (
	maxCredentialID = 128 // bytes (AWS IAM: accessKeyIdType)
	maxServiceName  = 64  // bytes
)

// Check refuses a use that no command can carry.
func (u *CredentialUse) Check() error {
	switch {
	case u.ID == "" || len(u.ID) > maxCredentialID:
		return errors.New("a use of no credential")
	case u.Service == "" || len(u.Service) > maxServiceName:
		return errors.New("a use with no service")
	case !kms.ValidRegion(u.Region):
		return errors.New("a use in no Region")
	case u.Time < 0 || u.ModIndex != 0:
		return errors.New("a use that has a negative time or an index")
	}
	return nil
}

// Compare orders uses by their credentials.
func (u *CredentialUse) Compare(other *CredentialUse) int { return strings.Compare(u.ID, other.ID) }

// RecordCredentials is RecordUsage for access keys and roles: at most MaxUsages, in the
// order of CredentialUse.Compare and each credential once.
type RecordCredentials struct {
	Entries []CredentialUse `cbor:"1,keyasint"`
}

func (RecordCredentials) command() (Type, uint8) { return TypeRecordCredentials, 1 }

func (c RecordCredentials) check() error { return checkUses(c.Entries) }

func recordCredentials(t *txn, c *RecordCredentials) (*kms.Error, error) {
	for i := range c.Entries {
		u := c.Entries[i] // a copy: the state must not keep the whole command alive
		if known, exists := t.state.credentialUse(u.ID); exists && (known == nil || u.After(known)) {
			t.put(tableCredentialUses, &u)
		}
	}
	return nil, nil
}

// dropCredentialUse forgets the uses of a credential that is deleted.
func (t *txn) dropCredentialUse(id string) {
	if u := t.state.get(tableCredentialUses, id); u != nil {
		t.drop(tableCredentialUses, u)
	}
}

// credentialUse returns a credential's last use, nil for none, and whether there is
// such an access key or role.
func (r *root) credentialUse(id string) (u *CredentialUse, exists bool) {
	if r.get(tableAccessKeys, id) == nil {
		if i, ok := r.get(tableIdentities, id).(*Identity); !ok || i.Kind != KindRole {
			return nil, false
		}
	}
	u, _ = r.get(tableCredentialUses, id).(*CredentialUse)
	return u, true
}

// CredentialUse is Usage for an access key or a role.
func (v *View) CredentialUse(id string) (u *CredentialUse, exists bool) {
	return v.root.credentialUse(id)
}

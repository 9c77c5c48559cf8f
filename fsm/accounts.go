package fsm

import "github.com/kmsd/kmsd/kms"

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

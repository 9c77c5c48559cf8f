package crypto

import (
	"encoding/hex"
	"fmt"
)

// RootSize is the size of a root key in bytes.
const RootSize = 32

const (
	rootIDSize  = 16 // bytes; the id is their hexadecimal form
	rootIDInfo  = "kmsd/root-id/v1"
	rootBoxInfo = "kmsd/root-box/v1"

	rootBoxVersion  = 1
	rootBoxOverhead = 1 + saltSize + nonceSize + tagSize
)

// Root is the key at the top of a cluster's hierarchy: a seal (package
// crypto/seal) protects it on each node's disk, it wraps the keyring's terms,
// and those protect everything else. It is immutable and safe for concurrent
// use.
type Root struct {
	redacted
	key Secret
	id  string
}

// NewRoot makes a random root key.
func NewRoot() *Root { return newRoot(Random(RootSize)) }

// ParseRoot takes ownership of the 32 bytes that a seal gave back. It fails when
// they are not RootSize long.
func ParseRoot(key []byte) (*Root, error) {
	if len(key) != RootSize {
		return nil, fmt.Errorf("kmsd: a root key has %d bytes, not %d", RootSize, len(key))
	}
	return newRoot(key), nil
}

func newRoot(key []byte) *Root {
	return &Root{key: NewSecret(key), id: hex.EncodeToString(deriveKey(key, nil, rootIDInfo, rootIDSize))}
}

// ID names the root key without disclosing it: 32 lower-case hexadecimal digits
// derived from the key, so that the same key has the same id on every node.
func (r *Root) ID() string { return r.id }

// Bytes returns the key itself, for a seal. It must not be changed or kept.
func (r *Root) Bytes() []byte { return r.key.Bytes() }

// Seal protects a node's own small secrets, which are needed before the keyring
// is there: version ‖ salt ‖ nonce ‖ ciphertext ‖ tag, bound to purpose, id and
// the root's id.
func (r *Root) Seal(purpose, id string, plaintext []byte) []byte {
	out := make([]byte, 0, rootBoxOverhead+len(plaintext))
	out = append(append(out, rootBoxVersion), Random(saltSize)...)
	key := deriveKey(r.key.Bytes(), out[1:], rootBoxInfo, keySize)
	defer Wipe(key)
	return sealGCM(key, out, plaintext, r.aad(out, purpose, id))
}

// Open reverses Seal. It returns ErrOpen when sealed was changed, or was made for
// another purpose or id, or under another root.
func (r *Root) Open(purpose, id string, sealed []byte) ([]byte, error) {
	if len(sealed) < rootBoxOverhead || sealed[0] != rootBoxVersion {
		return nil, ErrOpen
	}
	head, box := sealed[:1+saltSize], sealed[1+saltSize:]
	key := deriveKey(r.key.Bytes(), head[1:], rootBoxInfo, keySize)
	defer Wipe(key)
	out, err := openGCM(key, nil, box, r.aad(head, purpose, id))
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

func (r *Root) aad(head []byte, purpose, id string) []byte {
	aad := appendField(nil, rootBoxInfo)
	aad = appendField(aad, head)
	aad = appendField(aad, r.id)
	aad = appendField(aad, purpose)
	return appendField(aad, id)
}

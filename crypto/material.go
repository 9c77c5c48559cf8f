package crypto

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// MaterialSize is the size of a symmetric encryption key's material in bytes.
const MaterialSize = 32

const materialIDLabel = "kmsd/material-id/v1"

// ErrPlaintextTooLarge is returned by Encrypt above MaxPlaintext.
var ErrPlaintextTooLarge = errors.New("kmsd: the plaintext is too large to be encrypted")

// NewMaterial returns 32 random bytes for a symmetric encryption key. The caller
// seals them (Keyring.Seal) and wipes them.
func NewMaterial() []byte { return Random(MaterialSize) }

// MaterialID is the KeyMaterialId: 64 lower-case hexadecimal digits, a function of
// the key id and the material, so that the same bytes imported again have the
// same id, and under another key a different one (AWS: KeyMaterialId). It tells
// nothing else about random material.
func MaterialID(keyID string, material []byte) string {
	sum := materialSum(keyID, material)
	return hex.EncodeToString(sum[:])
}

func materialSum(keyID string, material []byte) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, []byte(materialIDLabel))
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(keyID)))
	mac.Write(size[:])
	mac.Write([]byte(keyID))
	mac.Write(material)
	mac.Sum(sum[:0])
	return sum
}

// Material is the opened material of a symmetric encryption key. It is safe for
// concurrent use; only its owner may Wipe it, when nobody uses it any more.
type Material struct {
	redacted
	keyID  string
	id     string
	secret Secret
	prefix [saltAt]byte // the start of every blob: versions and ids
	info   string       // HKDF's info
	wiped  atomic.Bool
}

// OpenMaterial takes ownership of secret, the 32 bytes of a key's material as
// Keyring.Open returned them, and wipes it on failure. It fails for another
// length or a malformed key id.
func OpenMaterial(keyID string, secret []byte) (*Material, error) {
	if len(secret) != MaterialSize {
		Wipe(secret)
		return nil, fmt.Errorf("kmsd: the material of key %s has %d bytes, not %d", keyID, len(secret), MaterialSize)
	}
	sum := materialSum(keyID, secret)
	prefix, err := appendKeyID([]byte{blobVersion, blobAlgorithm}, keyID)
	if err != nil {
		Wipe(secret)
		return nil, err
	}
	m := &Material{keyID: keyID, id: hex.EncodeToString(sum[:]), secret: NewSecret(secret)}
	m.prefix = [saltAt]byte(append(prefix, sum[:materialIDSize]...))
	m.info = blobInfo + string(m.prefix[keyIDAt:])
	return m, nil
}

// KeyID returns the id of the key that the material belongs to.
func (m *Material) KeyID() string { return m.keyID }

// ID returns the KeyMaterialId, 64 hexadecimal digits.
func (m *Material) ID() string { return m.id }

// Wipe overwrites the material. Using it afterwards panics.
func (m *Material) Wipe() {
	m.wiped.Store(true)
	m.secret.Wipe()
}

// Encrypt appends the blob of plaintext to dst. The context is what
// CanonicalContext returned, and only the same bytes decrypt the blob. The
// plaintext has at most MaxPlaintext bytes (else ErrPlaintextTooLarge) and must
// not overlap dst's spare capacity.
func (m *Material) Encrypt(dst, context, plaintext []byte) ([]byte, error) {
	if len(plaintext) > MaxPlaintext {
		return nil, ErrPlaintextTooLarge
	}
	start := len(dst)
	dst = slices.Grow(dst, BlobOverhead+len(plaintext))
	dst = append(dst, m.prefix[:]...)
	salt := dst[start+saltAt : start+commitmentAt]
	_, _ = rand.Read(salt) // never fails: see Random
	keys := m.derive(salt)
	defer Wipe(keys)
	dst = append(dst[:start+commitmentAt], keys[keySize:]...)
	return sealGCM(keys[:keySize], dst, plaintext, blobAAD(dst[start:], context)), nil
}

// Decrypt appends the plaintext of b to dst. Every failure — other key, other
// material, other context, changed bytes — is ErrCiphertext after the same work.
// The dst must not overlap the blob.
func (m *Material) Decrypt(dst, context []byte, b Blob) ([]byte, error) {
	if len(b.raw) < BlobOverhead {
		return nil, DummyDecrypt(context, b.raw)
	}
	head, box := b.raw[:blobHeadSize], b.raw[blobHeadSize:]
	keys := m.derive(head[saltAt:commitmentAt])
	defer Wipe(keys)
	genuine := subtle.ConstantTimeCompare(head[:saltAt], m.prefix[:]) &
		subtle.ConstantTimeCompare(head[commitmentAt:], keys[keySize:])
	// GCM runs also when the commitment has failed already: the time must not tell
	// which of the two it was.
	out, err := openGCM(keys[:keySize], dst, box, blobAAD(head, context))
	if err == nil && genuine == 1 {
		return out, nil
	}
	if err == nil {
		Wipe(out[len(dst):])
	}
	return nil, ErrCiphertext
}

// derive returns the message's key and its commitment. It runs the standard
// library's HKDF, which allocates about twenty times, rather than a leaner one of
// our own: this one is inside the FIPS module.
func (m *Material) derive(salt []byte) []byte {
	if m.wiped.Load() {
		panic("kmsd: key material is used after it was wiped")
	}
	return deriveKey(m.secret.Bytes(), salt, m.info, keySize+commitmentSize)
}

// blobAAD copies, because the header lies in the buffer that GCM writes to.
func blobAAD(head, context []byte) []byte {
	aad := make([]byte, 0, blobHeadSize+len(context))
	return append(append(aad, head...), context...)
}

// dummy is a key that no blob was made with.
var dummy = sync.OnceValue(func() *Material {
	m, err := OpenMaterial("00000000-0000-0000-0000-000000000000", NewMaterial())
	if err != nil {
		panic("kmsd: dummy material: " + err.Error())
	}
	return m
})

// DummyDecrypt does the work of a Decrypt that fails and returns ErrCiphertext. It
// is for ciphertext that ParseBlob refused or whose key or material does not
// exist, so that the time of the answer does not tell.
func DummyDecrypt(context, ciphertext []byte) error {
	raw := make([]byte, max(BlobOverhead, min(len(ciphertext), MaxBlob)))
	copy(raw, ciphertext)
	_, err := dummy().Decrypt(nil, context, Blob{raw: raw})
	return err
}

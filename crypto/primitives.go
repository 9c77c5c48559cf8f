package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Sizes in bytes. Keys are AES-256 keys; nonce and tag are those of AES-GCM as
// SP 800-38D recommends them.
const (
	keySize   = 32
	nonceSize = 12
	tagSize   = 16
	// saltSize is the size of the random value from which a message's own key is
	// derived. Two messages share key and nonce only when 16 + 12 random bytes
	// collide, so that no realistic number of messages under one secret comes near
	// AES-GCM's limit of 2^32 for random nonces (SP 800-38D §8.3).
	saltSize = 16
)

// errAEAD is what openGCM returns; exported functions replace it by theirs.
var errAEAD = errors.New("kmsd: message authentication failed")

// deriveKey is HKDF-SHA-256 (RFC 5869): n bytes, at most 8,160, from secret.
func deriveKey(secret, salt []byte, info string, n int) []byte {
	out, err := hkdf.Key(sha256.New, secret, salt, info, n)
	if err != nil {
		panic("kmsd: deriving a key: " + err.Error())
	}
	return out
}

// newBlock builds AES-256. A key of another size is a bug of this package: all
// keys are derived or checked where they enter.
func newBlock(key []byte) cipher.Block {
	if len(key) != keySize {
		panic("kmsd: AES key is not 32 bytes")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("kmsd: AES: " + err.Error())
	}
	return block
}

// sealGCM appends nonce ‖ ciphertext ‖ tag to dst, with a random nonce. The
// plaintext may not overlap dst's spare capacity, nor may aad.
func sealGCM(key, dst, plaintext, aad []byte) []byte {
	aead, err := cipher.NewGCMWithRandomNonce(newBlock(key))
	if err != nil {
		panic("kmsd: AES-GCM: " + err.Error())
	}
	return aead.Seal(dst, nil, plaintext, aad)
}

// openGCM appends the plaintext of box, as sealGCM made it, to dst. Its one
// error is errAEAD.
func openGCM(key, dst, box, aad []byte) ([]byte, error) {
	aead, err := cipher.NewGCMWithRandomNonce(newBlock(key))
	if err != nil {
		panic("kmsd: AES-GCM: " + err.Error())
	}
	out, err := aead.Open(dst, nil, box, aad)
	if err != nil {
		return nil, errAEAD
	}
	return out, nil
}

// newGCM is AES-256-GCM with nonces that the caller counts. The caller must use
// the key for one sequence of nonces only.
func newGCM(key []byte) cipher.AEAD {
	aead, err := cipher.NewGCM(newBlock(key))
	if err != nil {
		panic("kmsd: AES-GCM: " + err.Error())
	}
	return aead
}

// appendField appends field with its length in front, so that a sequence of
// fields has one reading only.
func appendField[T ~string | ~[]byte](dst []byte, field T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(field)))
	return append(dst, field...)
}

package crypto

import (
	"encoding/hex"
	"errors"

	"github.com/kmsd/kmsd/kms"
)

// The symmetric ciphertext blob that clients keep (sizes in bytes):
//
//	version 1 ‖ algorithm 1 ‖ form of the key id 1 ‖ key id 16 ‖ material id 16 ‖
//	salt 16 ‖ commitment 32 ‖ nonce 12 ‖ ciphertext ‖ tag 16
//
// Everything before the nonce is the header. The key of the message and the
// commitment are the two halves of HKDF-SHA-256(material, salt, blobInfo ‖ form ‖
// key id ‖ material id); the associated data are header ‖ canonical context. The
// header has a fixed size, so that this concatenation has one reading only. The
// commitment makes a blob open under one key at most, which AES-GCM alone does
// not promise.
const (
	blobInfo = "kmsd/enc/v1"

	blobVersion   = 1
	blobAlgorithm = 1 // AES-256-GCM, key and commitment by HKDF-SHA-256

	keyIDUUID = 1 // the 32 digits of a UUID
	keyIDMRK  = 2 // the 32 digits after "mrk-"

	keyIDSize      = 16
	materialIDSize = 16 // the first bytes of the KeyMaterialId
	commitmentSize = 32

	keyIDAt      = 2
	materialIDAt = keyIDAt + 1 + keyIDSize
	saltAt       = materialIDAt + materialIDSize
	commitmentAt = saltAt + saltSize
	blobHeadSize = commitmentAt + commitmentSize

	// BlobOverhead is how much longer than its plaintext a blob is, in bytes.
	BlobOverhead = blobHeadSize + nonceSize + tagSize
	// MaxBlob is the longest blob in bytes: Decrypt takes no more
	// (AWS: Decrypt, CiphertextBlob).
	MaxBlob = 6144
	// MaxPlaintext is the longest plaintext in bytes whose blob a client can hand
	// back. Encrypt's own limit of 4,096 bytes is checked elsewhere: the private
	// half of a data key pair is longer than some limits and comes through here too.
	MaxPlaintext = MaxBlob - BlobOverhead
)

// ErrCiphertext is the one error of everything that can be wrong with a blob, so
// that it tells an attacker nothing more.
var ErrCiphertext = errors.New("kmsd: the ciphertext is not valid")

// Blob is a ciphertext blob whose form has been checked and nothing else. Its ids
// are what the blob claims, genuine only after Material.Decrypt has succeeded.
type Blob struct {
	raw []byte
	// KeyID is a key ID: a UUID, or "mrk-" and 32 digits.
	KeyID string
	// MaterialID is the first half of the KeyMaterialId: 32 hexadecimal digits.
	MaterialID string
}

// ParseBlob reads a blob's header. The result refers to b, which must not change
// while it is used. It returns ErrCiphertext unless b has a known version and
// algorithm, a key id in one of its forms and BlobOverhead to MaxBlob bytes.
func ParseBlob(b []byte) (Blob, error) {
	if len(b) < BlobOverhead || len(b) > MaxBlob || b[0] != blobVersion || b[1] != blobAlgorithm {
		return Blob{}, ErrCiphertext
	}
	keyID, ok := formatKeyID(b[keyIDAt:materialIDAt])
	if !ok {
		return Blob{}, ErrCiphertext
	}
	return Blob{raw: b, KeyID: keyID, MaterialID: hex.EncodeToString(b[materialIDAt:saltAt])}, nil
}

// appendKeyID appends the blob's form of a key id: its kind, then 16 bytes.
func appendKeyID(dst []byte, keyID string) ([]byte, error) {
	if !kms.ValidKeyID(keyID) {
		return nil, errors.New("kmsd: not a key id: " + keyID)
	}
	if len(keyID) == len("mrk-")+2*keyIDSize && keyID[:4] == "mrk-" {
		return hex.AppendDecode(append(dst, keyIDMRK), []byte(keyID[4:]))
	}
	digits := keyID[:8] + keyID[9:13] + keyID[14:18] + keyID[19:23] + keyID[24:]
	return hex.AppendDecode(append(dst, keyIDUUID), []byte(digits))
}

// formatKeyID reverses appendKeyID.
func formatKeyID(b []byte) (string, bool) {
	var digits [2 * keyIDSize]byte
	hex.Encode(digits[:], b[1:])
	switch b[0] {
	case keyIDMRK:
		return "mrk-" + string(digits[:]), true
	case keyIDUUID:
		out := make([]byte, 0, 36)
		for i, part := range [][]byte{digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]} {
			if i > 0 {
				out = append(out, '-')
			}
			out = append(out, part...)
		}
		return string(out), true
	}
	return "", false
}

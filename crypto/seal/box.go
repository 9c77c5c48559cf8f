package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// A sealed root key of the seals of this package (sizes in bytes):
//
//	magic 8 ‖ format 1 ‖ length of kind 1 ‖ kind ‖ key id 8 ‖ nonce 12 ‖ ciphertext ‖ tag 16
//
// Everything before the nonce, and the caller's aad, are AES-256-GCM's associated
// data. The nonce is random: a seal key seals a root key a few times in its life,
// and SP 800-38D allows 2^32.
const (
	magic     = "KMSDROOT"
	format    = 1
	keySize   = 32
	keyIDSize = 8
	overhead  = 12 + 16 // nonce and tag
	maxSealed = 1024    // a root key has 32 bytes
	keyIDInfo = "kmsd/seal-key-id/v1"

	kindMemory = "memory"
	kindFile   = "file"
)

// box is a kind of seal that holds its AES-256 key in memory. The key lies in a
// closure, where no formatter or logger finds it.
type box struct {
	kind string
	key  func() []byte
}

// newBox takes ownership of key, keySize bytes.
func newBox(kind string, key []byte) *box {
	return &box{kind: kind, key: func() []byte { return key }}
}

// keyID names the key without disclosing it.
func (b *box) keyID() []byte {
	mac := hmac.New(sha256.New, b.key())
	mac.Write([]byte(keyIDInfo))
	return mac.Sum(nil)[:keyIDSize]
}

func (b *box) seal(plaintext, aad []byte) ([]byte, error) {
	aead, err := b.aead()
	if err != nil {
		return nil, err
	}
	head := append([]byte(magic), format, byte(len(b.kind)))
	head = append(append(head, b.kind...), b.keyID()...)
	if len(head)+overhead+len(plaintext) > maxSealed {
		return nil, fmt.Errorf("kmsd: %d bytes are too many for a %s seal", len(plaintext), b.kind)
	}
	return aead.Seal(head, nil, plaintext, bind(head, aad)), nil
}

// open checks kind and key id first, for the sake of the message: both are
// authenticated, so a forged one only changes which refusal is given.
func (b *box) open(sealed, aad []byte) ([]byte, error) {
	kind, keyID, head, err := parse(sealed)
	if err != nil {
		return nil, err
	}
	if kind != b.kind {
		return nil, fmt.Errorf("kmsd: the root key was sealed by a %q seal, but a %q seal is configured: configure the seal that it was sealed with", kind, b.kind)
	}
	if !hmac.Equal(keyID, b.keyID()) {
		return nil, fmt.Errorf("kmsd: the root key was sealed with the %s seal's key %s, but this seal has key %s: configure the key that it was sealed with",
			kind, hex.EncodeToString(keyID), hex.EncodeToString(b.keyID()))
	}
	aead, err := b.aead()
	if err != nil {
		return nil, err
	}
	out, err := aead.Open(nil, nil, sealed[len(head):], bind(head, aad))
	if err != nil {
		return nil, errors.New("kmsd: the sealed root key does not open: the file was changed, or belongs to another node or cluster: restore it, or wipe the node and join again")
	}
	return out, nil
}

// parse reads the head of a sealed root key.
func parse(sealed []byte) (kind string, keyID, head []byte, err error) {
	const fixed = len(magic) + 2
	if len(sealed) < fixed || string(sealed[:len(magic)]) != magic {
		return "", nil, nil, errors.New("kmsd: this is not a sealed root key")
	}
	if f := sealed[len(magic)]; f != format {
		return "", nil, nil, fmt.Errorf("kmsd: a sealed root key of format %d, this version reads %d", f, format)
	}
	end := fixed + int(sealed[fixed-1]) + keyIDSize
	if len(sealed) < end+overhead || len(sealed) > maxSealed {
		return "", nil, nil, errors.New("kmsd: the sealed root key is cut short or has grown: restore it, or wipe the node and join again")
	}
	return string(sealed[fixed : end-keyIDSize]), sealed[end-keyIDSize : end], sealed[:end], nil
}

// bind frames the two parts of the associated data.
func bind(head, aad []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(head)))
	return append(append(out, head...), aad...)
}

func (b *box) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(b.key())
	if err != nil {
		return nil, fmt.Errorf("building the %s seal's cipher: %w", b.kind, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("building the %s seal's cipher: %w", b.kind, err)
	}
	return aead, nil
}

// newKey comes from the operating system's generator, which never fails
// (crypto/rand).
func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key)
	return key
}

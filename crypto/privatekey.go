package crypto

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/kmsd/kmsd/kms"
)

// What a private key may be able to do.
type (
	signer interface {
		sign(in signingInput) ([]byte, error)
	}
	decrypter interface {
		decrypt(alg kms.EncryptionAlgorithm, ciphertext []byte) ([]byte, error)
	}
	agreer interface {
		agree(peer []byte) ([]byte, error)
	}
	decapsulator interface {
		decapsulate(ciphertext []byte) ([]byte, error)
	}
)

// PrivateKey is the opened private key of an asymmetric KMS key. Everything that can be
// computed beforehand was computed when it was opened, so that it is worth caching. It
// is safe for concurrent use; only its owner may Wipe it, when nobody uses it any more.
type PrivateKey struct {
	redacted
	public *PublicKey
	// key is nil once the key was wiped. An atomic pointer also hides the key from
	// those who walk a struct by reflection.
	key atomic.Pointer[privateKey]
}

// OpenPrivateKey takes ownership of secret, as GenerateKey made it and Keyring.Open
// returned it, and wipes it. public is the key's SubjectPublicKeyInfo. It returns
// ErrKeySpec unless the spec is an asymmetric one, and ErrPrivateKey unless the secret is
// the strict encoding of a key of that spec to which exactly that public key belongs.
func OpenPrivateKey(spec kms.KeySpec, secret, public []byte) (*PrivateKey, error) {
	defer Wipe(secret)
	s, ok := schemes[spec]
	if !ok {
		return nil, ErrKeySpec
	}
	key, err := s.openPrivate(secret)
	if err != nil {
		return nil, fmt.Errorf("opening a key of spec %s: %w", spec, err)
	}
	own := key.public()
	if !bytes.Equal(own.spki(), public) {
		key.wipe()
		return nil, fmt.Errorf("opening a key of spec %s: %w", spec, ErrPrivateKey)
	}
	k := &PrivateKey{public: newPublicKey(spec, own)}
	k.key.Store(&key)
	return k, nil
}

// Spec returns the key's spec.
func (k *PrivateKey) Spec() kms.KeySpec { return k.public.spec }

// Public returns the key's public half, which stays valid after Wipe.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// Wipe overwrites the key as far as Go's types allow: the numbers of RSA and elliptic
// curve keys and Ed25519's seed. Copies inside the standard library, and keys of ML-DSA
// and ML-KEM, are only let go, for the garbage collector to free. Using the key afterwards
// panics.
func (k *PrivateKey) Wipe() {
	if key := k.key.Swap(nil); key != nil {
		(*key).wipe()
	}
}

func (k *PrivateKey) opened() privateKey {
	key := k.key.Load()
	if key == nil {
		panic("kmsd: a private key is used after it was wiped")
	}
	return *key
}

// Sign signs message with one of the spec's signing algorithms. It returns
// ErrAlgorithm, or ErrMessageType or ErrMessageLength as prepareSigning finds them. A RAW
// message may be of any length, also empty; AWS's limit of 4,096 bytes is checked with
// the other constraints of its model.
//
// Signatures are randomised except for PKCS #1 v1.5 and Ed25519, which are not by their
// definition. ECDSA signatures are in DER, with either of the two values of s. No time
// depends on a private key; what each algorithm's implementation promises stands with its
// file.
func (k *PrivateKey) Sign(alg kms.SigningAlgorithm, messageType kms.MessageType, message []byte) ([]byte, error) {
	if !slices.Contains(k.public.signing, alg) {
		return nil, ErrAlgorithm
	}
	in, err := prepareSigning(alg, messageType, message)
	if err != nil {
		return nil, err
	}
	signature, err := k.opened().(signer).sign(in)
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", alg, err)
	}
	return signature, nil
}

// Decrypt reverses PublicKey.Encrypt. It returns ErrAlgorithm, or ErrCiphertext for
// everything that can be wrong with the ciphertext, in a time that does not tell what it
// was, except that what cannot be a ciphertext by public values alone is refused at once:
// one of another length than the modulus, or not below it.
func (k *PrivateKey) Decrypt(alg kms.EncryptionAlgorithm, ciphertext []byte) ([]byte, error) {
	if !slices.Contains(k.public.encryption, alg) {
		return nil, ErrAlgorithm
	}
	return k.opened().(decrypter).decrypt(alg, ciphertext)
}

// DeriveSharedSecret returns the ECDH secret shared with a peer: the x-coordinate, big
// endian, as long as the curve's field elements (32, 48 or 66 bytes; SP 800-56A
// §5.7.1.2, cofactor 1). It returns ErrAlgorithm for keys that are not on a NIST curve,
// and ErrPublicKey unless peer is the strict SubjectPublicKeyInfo of a point on the same
// curve, uncompressed and not at infinity.
func (k *PrivateKey) DeriveSharedSecret(peer []byte) ([]byte, error) {
	key, ok := k.opened().(agreer)
	if !ok {
		return nil, ErrAlgorithm
	}
	return key.agree(peer)
}

// Decapsulate returns the 32 bytes that an ML-KEM ciphertext holds. It returns
// ErrAlgorithm for other keys, and ErrCiphertext for another length than the spec's (768,
// 1,088 or 1,568 bytes). Everything else succeeds: a ciphertext that was altered, or made
// for another key, gives other bytes, in the same time (FIPS 203 §6.3, implicit
// rejection).
func (k *PrivateKey) Decapsulate(ciphertext []byte) ([]byte, error) {
	key, ok := k.opened().(decapsulator)
	if !ok {
		return nil, ErrAlgorithm
	}
	return key.decapsulate(ciphertext)
}

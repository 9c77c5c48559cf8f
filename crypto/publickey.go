package crypto

import (
	"slices"

	"github.com/kmsd/kmsd/kms"
)

// What a public key may be able to do.
type (
	verifier interface {
		verify(in signingInput, signature []byte) bool
	}
	encrypter interface {
		encrypt(alg kms.EncryptionAlgorithm, plaintext []byte) ([]byte, error)
		maxPlaintext(alg kms.EncryptionAlgorithm) int
	}
	encapsulator interface {
		encapsulate() (secret, ciphertext []byte)
	}
)

// PublicKey is the public key of an asymmetric KMS key. It is immutable and safe for
// concurrent use.
type PublicKey struct {
	spec       kms.KeySpec
	key        publicKey
	signing    []kms.SigningAlgorithm
	encryption []kms.EncryptionAlgorithm
}

func newPublicKey(spec kms.KeySpec, key publicKey) *PublicKey {
	return &PublicKey{spec: spec, key: key, signing: spec.SigningAlgorithms(), encryption: spec.EncryptionAlgorithms()}
}

// ParsePublicKey reads a DER SubjectPublicKeyInfo. It returns ErrKeySpec unless the spec
// is an asymmetric one, and ErrPublicKey unless der is the one encoding of a key of that
// spec: nothing behind it; RSA with a modulus of the spec's length, and an odd exponent
// from 65,537 up (FIPS 186-5 §5.1); points uncompressed, on the spec's curve, which is
// named; ML-KEM coefficients reduced.
func ParsePublicKey(spec kms.KeySpec, der []byte) (*PublicKey, error) {
	s, ok := schemes[spec]
	if !ok {
		return nil, ErrKeySpec
	}
	key, err := s.openPublic(der)
	if err != nil {
		return nil, err
	}
	return newPublicKey(spec, key), nil
}

// Spec returns the key's spec.
func (k *PublicKey) Spec() kms.KeySpec { return k.spec }

// DER returns the key as DER SubjectPublicKeyInfo, in a copy: what GetPublicKey shows.
func (k *PublicKey) DER() []byte { return slices.Clone(k.key.spki()) }

// Verify returns nil if the signature is valid for message, ErrSignature for every one
// that is not, and otherwise the errors of PrivateKey.Sign. The message type may differ
// from that of Sign: a message's signature is its digest's. It works on public values
// only, in a time that may depend on all of them.
func (k *PublicKey) Verify(alg kms.SigningAlgorithm, messageType kms.MessageType, message, signature []byte) error {
	if !slices.Contains(k.signing, alg) {
		return ErrAlgorithm
	}
	in, err := prepareSigning(alg, messageType, message)
	if err != nil {
		return err
	}
	if !k.key.(verifier).verify(in, signature) {
		return ErrSignature
	}
	return nil
}

// Encrypt encrypts plaintext with RSAES-OAEP (RFC 8017 §7.1): MGF1 with the same hash, and
// an empty label. The ciphertext is as long as the modulus. It returns ErrAlgorithm, or
// ErrPlaintextTooLarge above MaxPlaintext.
func (k *PublicKey) Encrypt(alg kms.EncryptionAlgorithm, plaintext []byte) ([]byte, error) {
	if !slices.Contains(k.encryption, alg) {
		return nil, ErrAlgorithm
	}
	return k.key.(encrypter).encrypt(alg, plaintext)
}

// MaxPlaintext returns how many bytes Encrypt takes at most: the modulus less twice the
// hash and 2 bytes; 0 for an algorithm that the key does not have.
func (k *PublicKey) MaxPlaintext(alg kms.EncryptionAlgorithm) int {
	if !slices.Contains(k.encryption, alg) {
		return 0
	}
	return k.key.(encrypter).maxPlaintext(alg)
}

// Encapsulate makes 32 random bytes and the ML-KEM ciphertext from which the private key
// recovers them. It returns ErrAlgorithm for other keys.
func (k *PublicKey) Encapsulate() (secret, ciphertext []byte, err error) {
	key, ok := k.key.(encapsulator)
	if !ok {
		return nil, nil, ErrAlgorithm
	}
	secret, ciphertext = key.encapsulate()
	return secret, ciphertext, nil
}

package crypto

import (
	"errors"
	"fmt"

	"github.com/kmsd/kmsd/kms"
)

// Errors of asymmetric and HMAC keys. None says more than its text.
var (
	// ErrKeySpec is returned for a key spec that the function has no keys of.
	ErrKeySpec = errors.New("kmsd: there is no such key of this spec")
	// ErrPublicKey is returned for bytes that are not the one encoding of a public
	// key of the spec.
	ErrPublicKey = errors.New("kmsd: the public key is not valid")
	// ErrPrivateKey is returned for bytes that are not the one encoding of a private
	// key of the spec, or whose public key is another one.
	ErrPrivateKey = errors.New("kmsd: the private key is not valid")
	// ErrAlgorithm is returned for an algorithm that keys of the spec do not have.
	ErrAlgorithm = errors.New("kmsd: the algorithm is incompatible with the key spec")
	// ErrMessageType is returned for a message type that the algorithm does not take.
	ErrMessageType = errors.New("kmsd: the signing algorithm does not take this message type")
	// ErrMessageLength is returned for a DIGEST that is not as long as the algorithm's
	// hash, and an EXTERNAL_MU that is not 64 bytes long.
	ErrMessageLength = errors.New("kmsd: the length of the digest is wrong for the signing algorithm")
	// ErrSignature is the one error of Verify for everything that can be wrong with a
	// signature.
	ErrSignature = errors.New("kmsd: the signature is not valid")
	// ErrMAC is the one error of VerifyMAC for everything that can be wrong with a MAC.
	ErrMAC = errors.New("kmsd: the message authentication code is not valid")
)

// scheme is one asymmetric key spec. The secret is what a record keeps, sealed, and
// has one encoding per key:
//
//   - RSA, ECC: DER PKCS#8 as crypto/x509 writes it. AWS hands out the private keys of
//     data key pairs so, and takes imported ones; the key's parts belong together.
//   - ML-DSA, ML-KEM: the seed, 32 and 64 bytes (FIPS 204 ξ; FIPS 203 d ‖ z). It
//     determines the key, has no invalid values, and no expanded form that could
//     contradict it.
//
// The public key is a DER SubjectPublicKeyInfo.
type scheme interface {
	// generate makes a new key.
	generate() (secret, public []byte, err error)
	// openPrivate parses a secret, which it does not keep, and precomputes all that
	// the key needs.
	openPrivate(secret []byte) (privateKey, error)
	openPublic(der []byte) (publicKey, error)
	// pkcs8 returns a copy of the secret in PKCS#8.
	pkcs8(secret []byte) ([]byte, error)
}

// privateKey is the opened key of a scheme. What it can do besides is told by the
// interfaces signer, decrypter, agreer and decapsulator.
type privateKey interface {
	public() publicKey
	// wipe overwrites what Go's types let one reach.
	wipe()
}

// publicKey is verifier, encrypter or encapsulator, too.
type publicKey interface {
	// spki returns the encoding that openPublic reads.
	spki() []byte
}

var schemes = map[kms.KeySpec]scheme{
	kms.RSA2048:             rsaScheme{2048},
	kms.RSA3072:             rsaScheme{3072},
	kms.RSA4096:             rsaScheme{4096},
	kms.ECCNistP256:         p256,
	kms.ECCNistP384:         p384,
	kms.ECCNistP521:         p521,
	kms.ECCSecgP256K1:       secp256k1Scheme{},
	kms.ECCNistEdwards25519: ed25519Scheme{},
	kms.MLDSA44:             mldsa44,
	kms.MLDSA65:             mldsa65,
	kms.MLDSA87:             mldsa87,
	kms.MLKEM512:            mlkem512Scheme,
	kms.MLKEM768:            mlkem768Scheme,
	kms.MLKEM1024:           mlkem1024Scheme,
}

// GenerateKey makes a new key: the secret, which the caller seals (Keyring.Seal) and
// wipes, and the public key as DER SubjectPublicKeyInfo, which HMAC keys do not have.
// RSA keys take from a tenth of a second to several seconds of one core, and have the
// public exponent 65,537. It returns ErrKeySpec for any other spec than the
// asymmetric and the HMAC ones: see NewMaterial for symmetric encryption keys.
func GenerateKey(spec kms.KeySpec) (secret, public []byte, err error) {
	if hash, ok := macs[spec]; ok {
		return Random(hash.Size()), nil, nil
	}
	s, ok := schemes[spec]
	if !ok {
		return nil, nil, ErrKeySpec
	}
	if secret, public, err = s.generate(); err != nil {
		return nil, nil, fmt.Errorf("generating a key of spec %s: %w", spec, err)
	}
	return secret, public, nil
}

// MarshalPKCS8 returns the private key that GenerateKey made as DER PKCS#8, which the
// caller wipes: what GenerateDataKeyPair hands out. For RSA and ECC keys these are the
// bytes of the secret; ML-DSA and ML-KEM keys have the form that holds the seed only
// (RFC 9881 §6, RFC 9935 §6). It returns ErrKeySpec for specs that have no private key,
// and ErrPrivateKey for a seed of another length; it checks nothing else.
func MarshalPKCS8(spec kms.KeySpec, secret []byte) ([]byte, error) {
	s, ok := schemes[spec]
	if !ok {
		return nil, ErrKeySpec
	}
	return s.pkcs8(secret)
}

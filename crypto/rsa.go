package crypto

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"hash"
	"math/big"

	"github.com/kmsd/kmsd/kms"
)

// minRSAExponent is the smallest public exponent that FIPS 186-5 §5.1 allows, and the
// one of generated keys.
const minRSAExponent = 65537

// rsaScheme is RSA with a modulus of so many bits, by crypto/rsa, inside the FIPS module
// except for OAEP with SHA-1. Operations with the private key take a time that does not
// depend on it, nor on the plaintext, nor on whether and where OAEP's padding is wrong;
// signatures are verified before they leave crypto/rsa, which an attacker who disturbs
// the CPU would have to get around. Generation is not constant-time.
type rsaScheme struct{ bits int }

type rsaPublic struct {
	key *rsa.PublicKey
	der []byte
}

type rsaPrivate struct {
	key *rsa.PrivateKey
	pub rsaPublic
}

func (s rsaScheme) generate() (secret, public []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, s.bits)
	if err != nil {
		return nil, nil, err
	}
	defer wipeRSA(key)
	if secret, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, nil, err
	}
	public, err = x509.MarshalPKIXPublicKey(&key.PublicKey)
	return secret, public, err
}

func (s rsaScheme) openPrivate(secret []byte) (privateKey, error) {
	key, err := parsePKCS8[*rsa.PrivateKey](secret)
	if err != nil {
		return nil, err
	}
	// A copy: a pointer into the private key would keep that in memory.
	pub, err := s.checked(&rsa.PublicKey{N: key.N, E: key.E})
	if err != nil || len(key.Primes) != 2 {
		wipeRSA(key)
		return nil, ErrPrivateKey
	}
	return rsaPrivate{key, pub}, nil
}

func (s rsaScheme) openPublic(der []byte) (publicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, ErrPublicKey
	}
	rsaKey, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, ErrPublicKey
	}
	pub, err := s.checked(rsaKey)
	if err != nil || !bytes.Equal(pub.der, der) {
		return nil, ErrPublicKey
	}
	return pub, nil
}

func (rsaScheme) pkcs8(secret []byte) ([]byte, error) { return bytes.Clone(secret), nil }

func (s rsaScheme) checked(key *rsa.PublicKey) (rsaPublic, error) {
	if key.N.BitLen() != s.bits || key.N.Bit(0) == 0 || key.E < minRSAExponent || key.E&1 == 0 {
		return rsaPublic{}, ErrPublicKey
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	return rsaPublic{key, der}, err
}

// parsePKCS8 reads a key whose type is K. It refuses what crypto/x509 would write in
// another way, with that also trailing bytes.
func parsePKCS8[K any](der []byte) (K, error) {
	var none K
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return none, ErrPrivateKey
	}
	typed, ok := key.(K)
	if !ok {
		return none, ErrPrivateKey
	}
	again, err := x509.MarshalPKCS8PrivateKey(key)
	defer Wipe(again)
	if err != nil || subtle.ConstantTimeCompare(again, der) != 1 {
		return none, ErrPrivateKey
	}
	return typed, nil
}

func (p rsaPublic) spki() []byte { return p.der }

func (k rsaPrivate) public() publicKey { return k.pub }

func (k rsaPrivate) wipe() { wipeRSA(k.key) }

// wipeRSA leaves what crypto/rsa has computed for itself and does not export.
func wipeRSA(key *rsa.PrivateKey) {
	pre := &key.Precomputed
	for _, n := range append([]*big.Int{key.D, pre.Dp, pre.Dq, pre.Qinv}, key.Primes...) {
		if n != nil {
			clear(n.Bits())
		}
	}
}

var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}

func (k rsaPrivate) sign(in signingInput) ([]byte, error) {
	if in.pss {
		return rsa.SignPSS(rand.Reader, k.key, in.hash, in.bytes, pssOptions)
	}
	return rsa.SignPKCS1v15(nil, k.key, in.hash, in.bytes)
}

func (p rsaPublic) verify(in signingInput, signature []byte) bool {
	if in.pss {
		return rsa.VerifyPSS(p.key, in.hash, in.bytes, signature, pssOptions) == nil
	}
	return rsa.VerifyPKCS1v15(p.key, in.hash, in.bytes, signature) == nil
}

// oaepHash is the hash of an OAEP algorithm. SHA-1 is there because AWS has it: its
// collisions do not touch OAEP, but FIPS 140-3 does not approve of it.
func oaepHash(alg kms.EncryptionAlgorithm) hash.Hash {
	if alg == kms.RSAESOAEPSHA1 {
		return sha1.New()
	}
	return sha256.New()
}

func (p rsaPublic) maxPlaintext(alg kms.EncryptionAlgorithm) int {
	return p.key.Size() - 2*oaepHash(alg).Size() - 2
}

func (p rsaPublic) encrypt(alg kms.EncryptionAlgorithm, plaintext []byte) ([]byte, error) {
	if len(plaintext) > p.maxPlaintext(alg) {
		return nil, ErrPlaintextTooLarge
	}
	return rsa.EncryptOAEP(oaepHash(alg), rand.Reader, p.key, plaintext, nil)
}

func (k rsaPrivate) decrypt(alg kms.EncryptionAlgorithm, ciphertext []byte) ([]byte, error) {
	if len(ciphertext) != k.key.Size() {
		return nil, ErrCiphertext // crypto/rsa takes shorter ones
	}
	plaintext, err := rsa.DecryptOAEP(oaepHash(alg), nil, k.key, ciphertext, nil)
	if err != nil {
		return nil, ErrCiphertext
	}
	return plaintext, nil
}

package crypto

import (
	stdcrypto "crypto"
	"crypto/hmac"
	"fmt"
	"hash"
	"slices"
	"sync/atomic"

	"github.com/kmsd/kmsd/kms"
)

// macs are the hash functions of the HMAC specs. A generated key is as long as the hash.
var macs = map[kms.KeySpec]stdcrypto.Hash{
	kms.HMAC224: stdcrypto.SHA224,
	kms.HMAC256: stdcrypto.SHA256,
	kms.HMAC384: stdcrypto.SHA384,
	kms.HMAC512: stdcrypto.SHA512,
}

// maxMACKeySize is the longest HMAC key in bytes: imported ones may be longer than the
// hash (AWS: "Importing key material", 1,024 bits).
const maxMACKeySize = 128

// MACKey is the opened key of an HMAC KMS key (FIPS 198-1), by crypto/hmac inside the FIPS
// module, in constant time. The key's two blocks were hashed when it was opened, so that
// it is worth caching. It is safe for concurrent use; only its owner may Wipe it, when
// nobody uses it any more.
type MACKey struct {
	redacted
	spec kms.KeySpec
	// keyed is nil once the key was wiped. The hash is never written to, only cloned.
	keyed atomic.Pointer[hash.Cloner]
}

// OpenMACKey takes ownership of secret, as GenerateKey made it and Keyring.Open returned
// it, and wipes it. It returns ErrKeySpec unless the spec is an HMAC one, and
// ErrPrivateKey unless the secret has from as many bytes as the spec's hash to 128. Any
// bytes are a key, so they are kept as they are.
func OpenMACKey(spec kms.KeySpec, secret []byte) (*MACKey, error) {
	defer Wipe(secret)
	h, ok := macs[spec]
	if !ok {
		return nil, ErrKeySpec
	}
	if len(secret) < h.Size() || len(secret) > maxMACKeySize {
		return nil, fmt.Errorf("opening a key of spec %s: %w", spec, ErrPrivateKey)
	}
	mac := hmac.New(h.New, secret)
	mac.Reset() // makes crypto/hmac replace the key by the state after hashing it
	k := &MACKey{spec: spec}
	keyed := mac.(hash.Cloner)
	k.keyed.Store(&keyed)
	return k, nil
}

// Spec returns the key's spec.
func (k *MACKey) Spec() kms.KeySpec { return k.spec }

// Wipe lets go of the key, which crypto/hmac holds and lets nobody overwrite, for the
// garbage collector to free. Using the key afterwards panics.
func (k *MACKey) Wipe() { k.keyed.Store(nil) }

// MAC returns the whole MAC of message, which may be of any length: 28, 32, 48 or 64
// bytes. It returns ErrAlgorithm for another algorithm than the spec's.
func (k *MACKey) MAC(alg kms.MacAlgorithm, message []byte) ([]byte, error) {
	if !slices.Contains(k.spec.MacAlgorithms(), alg) {
		return nil, ErrAlgorithm
	}
	keyed := k.keyed.Load()
	if keyed == nil {
		panic("kmsd: a MAC key is used after it was wiped")
	}
	mac, err := (*keyed).Clone()
	if err != nil {
		panic("kmsd: cloning HMAC: " + err.Error())
	}
	mac.Write(message)
	return mac.Sum(nil), nil
}

// VerifyMAC returns nil if mac is the MAC of message, and ErrMAC if not, also for another
// length. The comparison takes the same time wherever they differ. It returns
// ErrAlgorithm for another algorithm than the spec's.
func (k *MACKey) VerifyMAC(alg kms.MacAlgorithm, message, mac []byte) error {
	want, err := k.MAC(alg, message)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, mac) {
		return ErrMAC
	}
	return nil
}

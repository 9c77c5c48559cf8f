package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/mlkem"
	"encoding/binary"
	"math/big"
	"runtime"

	"github.com/kmsd/kmsd/kms"
)

// The primitives, so that published vectors run through the very functions that
// the package uses.
var (
	DeriveKey = deriveKey
	SealGCM   = sealGCM
	OpenGCM   = openGCM
	NewGCM    = newGCM
	ToDER     = toDER
)

// Sizes that tests put their boundaries around.
const (
	ChunkSize       = chunkSize
	ChunkTagSize    = tagSize
	BlobHeadSize    = blobHeadSize
	MaxStreamTerms  = maxTerms
	WrappedTermSize = wrappedSize
)

// Wiped tells whether Wipe was called.
func (m *Material) Wiped() bool { return m.wiped.Load() }

// Weights returns what the halves of a spec's keys weigh in a cache.
func Weights(spec kms.KeySpec) (private, public int) {
	return privateWeights[spec], publicWeights[spec]
}

// StreamHeaderSize is the size of the header that k writes.
func (k *Keyring) StreamHeaderSize() int {
	h, err := k.streamHeader(k.terms.Load(), 0, make([]byte, streamSaltSize))
	if err != nil {
		panic(err)
	}
	return len(h)
}

// SealStreamEmptyEnd seals one full chunk and an empty last one, which no writer
// of this package does.
func SealStreamEmptyEnd(k *Keyring, chunk []byte) []byte {
	var out bytes.Buffer
	w, err := k.SealStream(&out, 1)
	if err != nil {
		panic(err)
	}
	s := w.(*streamWriter)
	s.buf = append(s.buf, chunk...)
	s.flush(false)
	s.flush(true)
	return out.Bytes()
}

// PrivateNumbers returns a function that reads the secret numbers of a key, which goes on
// when the key has been wiped.
func PrivateNumbers(k *PrivateKey) func() [][]byte {
	switch key := k.opened().(type) {
	case rsaPrivate:
		return func() (all [][]byte) {
			pre := key.key.Precomputed
			for _, n := range append([]*big.Int{key.key.D, pre.Dp, pre.Dq, pre.Qinv}, key.key.Primes...) {
				all = append(all, wordsOf(n))
			}
			return all
		}
	case eccPrivate:
		//lint:ignore SA1019 The number is what the test is about.
		return func() [][]byte { return [][]byte{wordsOf(key.key.D)} }
	case secp256k1Private:
		return func() [][]byte { scalar := key.scalar.Bytes(); return [][]byte{scalar[:]} }
	case ed25519Private:
		return func() [][]byte { return [][]byte{key.key} }
	}
	return nil
}

// WatchPrivate returns a channel that is closed when the garbage collector has freed the
// standard library's key in k.
func WatchPrivate(k *PrivateKey) <-chan struct{} {
	freed := make(chan struct{})
	done := func(c chan struct{}) { close(c) }
	switch key := k.opened().(type) {
	case rsaPrivate:
		runtime.AddCleanup(key.key, done, freed)
	case eccPrivate:
		runtime.AddCleanup(key.key, done, freed)
	case ed25519Private:
		runtime.AddCleanup(&key.key[0], done, freed)
	case secp256k1Private:
		runtime.AddCleanup(key.scalar, done, freed)
	case mldsaPrivate:
		runtime.AddCleanup(key.key, done, freed)
	case mlkemPrivate:
		watchDecapsulator(key.key, done, freed)
	}
	return freed
}

func watchDecapsulator(key any, done func(chan struct{}), freed chan struct{}) {
	switch key := key.(type) {
	case *mlkem.DecapsulationKey768:
		runtime.AddCleanup(key, done, freed)
	case *mlkem.DecapsulationKey1024:
		runtime.AddCleanup(key, done, freed)
	case decapsulationKey512:
		runtime.AddCleanup(key.key, done, freed)
	}
}

func wordsOf(n *big.Int) (b []byte) {
	for _, word := range n.Bits() {
		b = binary.BigEndian.AppendUint64(b, uint64(word))
	}
	return b
}

// SignEd25519ph signs what PH has made of a message, for vectors whose message is not a
// digest.
func SignEd25519ph(k *PrivateKey, prehashed []byte) ([]byte, error) {
	return k.opened().(signer).sign(signingInput{signing: signings[kms.Ed25519PHSHA512], bytes: prehashed})
}

// Encapsulate512 is Encapsulate with the randomness m.
func Encapsulate512(k *PublicKey, m []byte) (secret, ciphertext []byte) {
	return k.key.(mlkemPublic).key.(encapsulationKey512).encapsulate(m)
}

// UnwrapKWP unwraps under an AES key of any size.
func UnwrapKWP(key, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	return unwrapKWP(block, wrapped)
}

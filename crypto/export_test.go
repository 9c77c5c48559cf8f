package crypto

import "bytes"

// The primitives, so that published vectors run through the very functions that
// the package uses.
var (
	DeriveKey = deriveKey
	SealGCM   = sealGCM
	OpenGCM   = openGCM
	NewGCM    = newGCM
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

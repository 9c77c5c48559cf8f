package crypto

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// The snapshot stream (sizes in bytes, integers big-endian):
//
//	magic 8 ‖ format 1 ‖ length of cluster id 1 ‖ cluster id ‖ root id 16 ‖ index 8 ‖
//	term 4 ‖ salt 32 ‖ number of terms 2 ‖ (term 4 ‖ wrapped key 77)* ‖ chunk*
//
// Terms ascend, and one of them is the stream's. A chunk is up to 64 KiB of
// plaintext and its tag under AES-256-GCM with HKDF-SHA-256(term, salt,
// streamInfo); its nonce is an 11-byte counter from 0 and a byte that is 1 for the
// last chunk and 0 for the others; its associated data are streamInfo and the
// SHA-256 of all that precedes the chunks. Every chunk but the last is full, and
// the last is empty only if the whole stream is. The construction is that of
// Hoang, Reyhanitabar, Rogaway and Vizár ("STREAM", CRYPTO 2015).
const (
	streamMagic    = "KMSDSNAP"
	streamFormat   = 1
	streamInfo     = "kmsd/snapshot/v1"
	streamSaltSize = 32

	chunkSize = 64 << 10
	sealedMax = chunkSize + tagSize
)

// streamKey is the state that both directions share.
type streamKey struct {
	aead  cipher.AEAD
	aad   []byte
	count uint64
}

func newStreamKey(t *term, salt, header []byte) *streamKey {
	key := deriveKey(t.key.Bytes(), salt, streamInfo, keySize)
	defer Wipe(key)
	sum := sha256.Sum256(header)
	return &streamKey{aead: newGCM(key), aad: append([]byte(streamInfo), sum[:]...)}
}

// nonce returns the nonce of the next chunk. A counted nonce is safe here because
// a key belongs to one stream: it is derived from 32 random bytes that are drawn
// for that stream, the counter never returns (2^64 chunks are 2^80 bytes), and
// after the last chunk the writer refuses to go on.
func (k *streamKey) nonce(last bool) []byte {
	var n [nonceSize]byte
	binary.BigEndian.PutUint64(n[3:], k.count)
	if last {
		n[nonceSize-1] = 1
	}
	k.count++
	return n[:]
}

// SealStream writes a stream's header, which carries the keyring wrapped by the
// root and the log index of what follows, and returns a writer that seals. The
// writer must be closed: only then is the stream complete. Closing does not close
// w. It returns ErrNoTerm before the first Load.
func (k *Keyring) SealStream(w io.Writer, index uint64) (io.WriteCloser, error) {
	set := k.terms.Load()
	if set.current.number == 0 {
		return nil, ErrNoTerm
	}
	set.current.seals.Add(1)
	salt := Random(streamSaltSize)
	header, err := k.streamHeader(set, index, salt)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(header); err != nil {
		return nil, fmt.Errorf("writing a sealed stream's header: %w", err)
	}
	return &streamWriter{w: w, key: newStreamKey(set.current, salt, header), buf: make([]byte, 0, chunkSize)}, nil
}

func (k *Keyring) streamHeader(set *termSet, index uint64, salt []byte) ([]byte, error) {
	rootID, err := hex.DecodeString(k.root.ID())
	if err != nil {
		panic("kmsd: root id: " + err.Error())
	}
	numbers := slices.Sorted(maps.Keys(set.byNumber))[1:] // all but term 0
	if len(numbers) > maxTerms {
		return nil, fmt.Errorf("sealing a keyring of %d terms: %w", len(numbers), ErrTooLarge)
	}
	out := append([]byte(streamMagic), streamFormat, byte(len(k.clusterID)))
	out = append(append(out, k.clusterID...), rootID...)
	out = binary.BigEndian.AppendUint64(out, index)
	out = binary.BigEndian.AppendUint32(out, set.current.number)
	out = append(out, salt...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(numbers)))
	for _, number := range numbers {
		out = binary.BigEndian.AppendUint32(out, number)
		out = append(out, set.byNumber[number].wrapped...)
	}
	return out, nil
}

var errStreamClosed = errors.New("kmsd: write to a sealed stream that is closed")

// streamWriter is owned by one goroutine.
type streamWriter struct {
	w   io.Writer
	key *streamKey
	buf []byte // plaintext of the chunk to come
	out []byte // scratch for its sealed form
	err error  // sticky
}

// Write seals p. A full chunk is written only when more follows, because the last
// one is marked.
func (s *streamWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 && s.err == nil {
		if len(s.buf) == chunkSize {
			s.flush(false)
			continue
		}
		n := min(len(p), chunkSize-len(s.buf))
		s.buf = append(s.buf, p[:n]...)
		p = p[n:]
		written += n
	}
	if len(p) > 0 {
		return written, s.err
	}
	return written, nil
}

// Close writes the last chunk. Closing twice is harmless.
func (s *streamWriter) Close() error {
	if s.err != nil {
		if errors.Is(s.err, errStreamClosed) {
			return nil
		}
		return s.err
	}
	if s.flush(true); s.err != nil {
		return s.err
	}
	s.err = errStreamClosed
	Wipe(s.buf[:cap(s.buf)])
	return nil
}

func (s *streamWriter) flush(last bool) {
	s.out = s.key.aead.Seal(s.out[:0], s.key.nonce(last), s.buf, s.key.aad)
	s.buf = s.buf[:0]
	if _, err := s.w.Write(s.out); err != nil {
		s.err = fmt.Errorf("writing a sealed stream: %w", err)
	}
}

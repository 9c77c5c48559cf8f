package crypto

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// OpenStream reads the header of a stream that SealStream made, checks it and the
// first chunk, and adds the header's terms to the keyring. The reader it returns
// yields only verified bytes, and io.EOF only after the last chunk: whoever gets
// another error (ErrOpen for a stream that was cut, reordered, changed or
// continued) must discard everything that was read. It reads r to its end.
//
// A stream of another cluster or under another root is refused with an error that
// says so.
func (k *Keyring) OpenStream(r io.Reader) (io.Reader, error) {
	src := bufio.NewReaderSize(r, sealedMax+1) // the one byte more tells whether a chunk is the last
	h, err := k.readStreamHeader(src)
	if err != nil {
		return nil, err
	}
	t := h.terms[h.term]
	if t == nil {
		return nil, fmt.Errorf("opening a sealed stream: %w (term %d)", ErrUnknownTerm, h.term)
	}
	s := &streamReader{src: src, key: newStreamKey(t, h.salt, h.raw)}
	if err := s.next(); err != nil {
		return nil, err
	}
	if err := k.merge(h.terms); err != nil {
		return nil, err
	}
	return s, nil
}

// A streamHeader is parsed; its terms are opened, the rest is not verified yet.
type streamHeader struct {
	raw   []byte
	term  uint32
	salt  []byte
	terms map[uint32]*term
}

// readStreamHeader takes the header apart and refuses what is not meant for this
// keyring. The index needs no check: it is bound to every chunk and repeated in
// what is sealed.
func (k *Keyring) readStreamHeader(r io.Reader) (*streamHeader, error) {
	h := &streamHeader{}
	start, err := h.read(r, len(streamMagic)+2)
	if err != nil {
		return nil, err
	}
	if string(start[:len(streamMagic)]) != streamMagic {
		return nil, errors.New("kmsd: not a sealed stream")
	}
	if f := start[len(streamMagic)]; f != streamFormat {
		return nil, fmt.Errorf("kmsd: a sealed stream of format %d, this version reads %d", f, streamFormat)
	}
	if err := k.readStreamOwner(r, h, int(start[len(streamMagic)+1])); err != nil {
		return nil, err
	}
	fixed, err := h.read(r, 8+4+streamSaltSize+2)
	if err != nil {
		return nil, err
	}
	h.term = binary.BigEndian.Uint32(fixed[8:])
	h.salt = fixed[12 : 12+streamSaltSize]
	return h, k.readStreamTerms(r, h, int(binary.BigEndian.Uint16(fixed[12+streamSaltSize:])))
}

func (k *Keyring) readStreamOwner(r io.Reader, h *streamHeader, clusterIDSize int) error {
	owner, err := h.read(r, clusterIDSize+rootIDSize)
	if err != nil {
		return err
	}
	if id := string(owner[:clusterIDSize]); id != k.clusterID {
		return fmt.Errorf("kmsd: a sealed stream of cluster %q, this is cluster %q", id, k.clusterID)
	}
	if id := hex.EncodeToString(owner[clusterIDSize:]); id != k.root.ID() {
		return fmt.Errorf("kmsd: a stream sealed under root key %s, this node holds %s", id, k.root.ID())
	}
	return nil
}

func (k *Keyring) readStreamTerms(r io.Reader, h *streamHeader, count int) error {
	if count == 0 || count > maxTerms {
		return fmt.Errorf("kmsd: a sealed stream with %d keyring terms", count)
	}
	h.terms = make(map[uint32]*term, count)
	have := k.terms.Load().byNumber
	previous := uint32(0)
	for range count {
		b, err := h.read(r, 4+wrappedSize)
		if err != nil {
			return err
		}
		number := binary.BigEndian.Uint32(b)
		if number <= previous {
			return errors.New("kmsd: a sealed stream whose keyring terms do not ascend")
		}
		t, err := k.unwrap(number, b[4:], have[number])
		if err != nil {
			return err
		}
		h.terms[number], previous = t, number
	}
	return nil
}

// read returns the next n bytes of the header and keeps them for its hash.
func (h *streamHeader) read(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("reading a sealed stream's header: %w", noEOF(err))
	}
	h.raw = append(h.raw, b...)
	return b, nil
}

// noEOF keeps a header that ends early from looking like an empty stream.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// streamReader is owned by one goroutine.
type streamReader struct {
	src   *bufio.Reader
	key   *streamKey
	plain []byte // verified, not yet read
	buf   []byte // backs plain
	last  bool   // plain is of the last chunk
	err   error  // sticky
}

// Read returns verified plaintext.
func (s *streamReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.plain) == 0 {
		if s.err == nil && s.last {
			s.err = io.EOF
		}
		if s.err == nil {
			s.err = s.next()
		}
		if s.err != nil {
			return 0, s.err
		}
	}
	n := copy(p, s.plain)
	s.plain = s.plain[n:]
	return n, nil
}

// next opens the next chunk. One that is followed by at least one byte is not the
// last.
func (s *streamReader) next() error {
	sealed, err := s.src.Peek(sealedMax + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading a sealed stream: %w", err)
	}
	s.last = len(sealed) <= sealedMax
	sealed = sealed[:min(len(sealed), sealedMax)]
	first := s.key.count == 0
	s.buf, err = s.key.aead.Open(s.buf[:0], s.key.nonce(s.last), sealed, s.key.aad)
	if err != nil || (len(s.buf) == 0 && !first) {
		return ErrOpen
	}
	s.plain = s.buf
	_, err = s.src.Discard(len(sealed))
	return err
}

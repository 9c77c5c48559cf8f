package crypto

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

const (
	semiblock = 8 // bytes
	// kwpMark is the constant half of the alternative initial value (RFC 5649 §3).
	kwpMark = 0xa65959a6
)

// unwrapKWP reverses AES Key Wrap with Padding (RFC 5649 §4.2, SP 800-38F §6.3) under a
// block cipher of 16 bytes. Everything that can be wrong is ErrCiphertext, after the same
// work. The caller wipes the result.
func unwrapKWP(block cipher.Block, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 2*semiblock || len(wrapped)%semiblock != 0 {
		return nil, ErrCiphertext
	}
	buf := make([]byte, len(wrapped))
	if len(buf) == 2*semiblock {
		block.Decrypt(buf, wrapped)
	} else {
		copy(buf, wrapped)
		unwrapBlocks(block, buf)
	}
	size, padded := binary.BigEndian.Uint32(buf[4:]), uint32(len(buf)-semiblock)
	good := subtle.ConstantTimeEq(int32(binary.BigEndian.Uint32(buf)^kwpMark), 0)
	if size > padded || size+semiblock <= padded {
		size, good = padded, 0
	}
	pad := buf[semiblock+size:]
	good &= subtle.ConstantTimeCompare(pad, make([]byte, len(pad)))
	if good != 1 {
		Wipe(buf)
		return nil, ErrCiphertext
	}
	return buf[semiblock : semiblock+size], nil
}

// unwrapBlocks is the inverse of the wrapping function W (SP 800-38F §6.1), in place: the
// initial value comes out first, then the semiblocks.
func unwrapBlocks(block cipher.Block, buf []byte) {
	var b [2 * semiblock]byte
	copy(b[:semiblock], buf)
	n := len(buf)/semiblock - 1
	for t := 6 * n; t > 0; t-- {
		r := buf[semiblock*(1+(t-1)%n):][:semiblock]
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^uint64(t))
		copy(b[semiblock:], r)
		block.Decrypt(b[:], b[:])
		copy(r, b[semiblock:])
	}
	copy(buf, b[:semiblock])
	Wipe(b[:])
}

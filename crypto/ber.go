package crypto

import (
	"bytes"
	"encoding/asn1"
)

// maxBERDepth bounds how deep values lie within each other. A PKCS #8 key has four levels.
const maxBERDepth = 16

// Tags of X.690 §8.1.2 with the bit of constructed values.
const (
	berConstructed           = 0x20
	berConstructedBits       = asn1.TagBitString | berConstructed
	berConstructedOctets     = asn1.TagOctetString | berConstructed
	berIndefinite        int = -1
)

// toDER re-encodes the one value in BER (X.690 §8): lengths become definite and as short
// as they can be, strings in pieces become whole. The caller wipes the result. It refuses
// tags above 30, which no private key has, and returns ErrPrivateKey for everything that
// is wrong. What lies within a string stays as it is.
func toDER(ber []byte) ([]byte, error) {
	out, rest, err := appendDER(make([]byte, 0, len(ber)), ber, 0)
	if err != nil || len(rest) != 0 {
		Wipe(out)
		return nil, ErrPrivateKey
	}
	return out, nil
}

// appendDER appends the first value, and returns what follows it.
func appendDER(dst, ber []byte, depth int) (out, rest []byte, err error) {
	tag, length, rest, err := readBERHeader(ber)
	if err != nil || depth > maxBERDepth {
		return dst, nil, ErrPrivateKey
	}
	if tag&berConstructed == 0 {
		return append(appendDERHeader(dst, tag, length), rest[:length]...), rest[length:], nil
	}
	body := make([]byte, 0, len(ber)) // no shorter than its DER below 64 KiB: nothing moves
	defer func() { Wipe(body) }()
	pieces := tag == berConstructedBits || tag == berConstructedOctets
	after := rest
	if length != berIndefinite {
		rest, after = rest[:length], rest[length:]
	}
	for length == berIndefinite || len(rest) > 0 {
		if length == berIndefinite && bytes.HasPrefix(rest, []byte{0, 0}) {
			after = rest[2:]
			break
		}
		from := len(body)
		if body, rest, err = appendDER(body, rest, depth+1); err != nil {
			return dst, nil, err
		}
		if pieces {
			if body, err = joinPiece(body, from, tag&^berConstructed); err != nil {
				return dst, nil, err
			}
		}
	}
	if pieces {
		tag &^= berConstructed
	}
	if tag == asn1.TagBitString && len(body) == 0 {
		return dst, nil, ErrPrivateKey
	}
	return append(appendDERHeader(dst, tag, len(body)), body...), after, nil
}

// readBERHeader reads a tag and a length that the rest has at least; it is berIndefinite
// where the value ends by its contents.
func readBERHeader(ber []byte) (tag byte, length int, rest []byte, err error) {
	if len(ber) < 2 || ber[0] == 0 || ber[0]&0x1f == 0x1f {
		return 0, 0, nil, ErrPrivateKey
	}
	tag, length, rest = ber[0], int(ber[1]), ber[2:]
	switch {
	case length == 0x80 && tag&berConstructed != 0:
		return tag, berIndefinite, rest, nil
	case length >= 0x80:
		size := length & 0x7f
		if size == 0 || size > len(rest) {
			return 0, 0, nil, ErrPrivateKey
		}
		length = 0
		for _, b := range rest[:size] {
			if length = length<<8 | int(b); length > len(ber) {
				return 0, 0, nil, ErrPrivateKey
			}
		}
		rest = rest[size:]
	}
	if length > len(rest) {
		return 0, 0, nil, ErrPrivateKey
	}
	return tag, length, rest, nil
}

// joinPiece makes of the pieces of a string before from, and of one more that lies there
// in DER, the longer piece (X.690 §8.6.4, §8.7.3). All but the last piece of a string of
// bits must be of whole octets.
func joinPiece(body []byte, from int, tag byte) ([]byte, error) {
	kind, _, piece, err := readBERHeader(body[from:])
	if err != nil || kind != tag {
		return body, ErrPrivateKey
	}
	if tag == asn1.TagBitString {
		switch {
		case len(piece) == 0 || from > 0 && body[0] != 0:
			return body, ErrPrivateKey
		case from > 0:
			body[0], piece = piece[0], piece[1:]
		}
	}
	whole := append(body[:from], piece...)
	Wipe(body[len(whole):])
	return whole, nil
}

// appendDERHeader appends a tag and the shortest form of a length (X.690 §10.1).
func appendDERHeader(dst []byte, tag byte, length int) []byte {
	dst = append(dst, tag)
	switch {
	case length < 0x80:
		return append(dst, byte(length))
	case length < 1<<8:
		return append(dst, 0x81, byte(length))
	case length < 1<<16:
		return append(dst, 0x82, byte(length>>8), byte(length))
	}
	return append(dst, 0x83, byte(length>>16), byte(length>>8), byte(length))
}

package fsm

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Bounds of what is decoded. A command is at most MaxBody bytes long, so that
// the element counts below are never what limits it.
const (
	maxNesting  = 8
	maxElements = 1 << 17
	maxPairs    = 1 << 10
)

// encoding and decoding are the one CBOR dialect of commands and snapshots:
// RFC 8949 §4.2.1 core deterministic encoding, integer keys in sorted order.
var (
	encoding = mustEncoding()
	decoding = mustDecoding()
)

func mustEncoding() cbor.UserBufferEncMode {
	mode, err := cbor.CoreDetEncOptions().UserBufferEncMode()
	if err != nil {
		panic("kmsd: CBOR encoding options: " + err.Error())
	}
	return mode
}

func mustDecoding() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxPairs,
	}.DecMode()
	if err != nil {
		panic("kmsd: CBOR decoding options: " + err.Error())
	}
	return mode
}

// encode appends the encoding of v to buf. The types of this package always
// encode.
func encode(buf *bytes.Buffer, v any) {
	if err := encoding.MarshalToBuffer(v, buf); err != nil {
		panic(fmt.Sprintf("kmsd: encoding %T: %v", v, err))
	}
}

// decode fills v from data, which must be its one encoding. The error names the
// kind of mistake and no byte of data: the CBOR library's own texts may quote
// what they met.
func decode(data []byte, v any) error {
	if err := decoding.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %T", ErrUndecodable, err)
	}
	var buf bytes.Buffer
	buf.Grow(len(data))
	if encode(&buf, v); !bytes.Equal(buf.Bytes(), data) {
		return fmt.Errorf("%w: not the canonical encoding", ErrUndecodable)
	}
	return nil
}

package attestation

import (
	"bytes"
	"errors"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// Sizes, in bytes where nothing else is said.
const (
	// MaxSize bounds a document with its signature (AWS: AttestationDocumentType).
	MaxSize = 262144
	// maxCertificate, maxPublicKey and maxData bound members (AWS: "Attestation Document
	// Specification"). Of what the page says twice of user_data and nonce it is the
	// larger: nothing here reads them.
	maxCertificate = 1024
	maxPublicKey   = 1024
	maxData        = 1024
	// maxBundle is how many certificates a bundle may have: AWS's have four.
	maxBundle = 16
	// maxPCRs is how many platform configuration registers there are.
	maxPCRs = 32
	// signatureSize is the length of an ES384 signature: r and s (RFC 9053 §2.1).
	signatureSize = 2 * scalarSize
	scalarSize    = 48
)

// ErrSyntax is returned for bytes that are no attestation document.
var ErrSyntax = errors.New("it is not the attestation document of an enclave or of NitroTPM")

// Platform is what a document is of.
type Platform uint8

// The platforms, whose registers mean different things.
const (
	Enclave Platform = iota + 1
	NitroTPM
)

// Document is what a verified attestation document says. It is immutable.
type Document struct {
	// ModuleID names the enclave, or the instance and its TPM.
	ModuleID string
	Platform Platform

	pcrs map[uint64]cbor.ByteString
	key  *crypto.PublicKey
}

// PCR returns a platform configuration register of the Platform; false where the document does not have
// it. The caller must not change it.
func (d *Document) PCR(n int) ([]byte, bool) {
	if n < 0 {
		return nil, false
	}
	value, ok := d.pcrs[uint64(n)]
	return value.Bytes(), ok
}

// envelope is a COSE_Sign1 (RFC 9052 §4.2).
type envelope struct {
	_           struct{} `cbor:",toarray"`
	Protected   cbor.ByteString
	Unprotected cbor.RawMessage
	Payload     cbor.ByteString
	Signature   cbor.ByteString
}

// tagSign1 is the tag of a COSE_Sign1, 18, which may stand before it (RFC 9052 §2).
const tagSign1 = 0xd2

// es384 is the protected header that tells the one algorithm, {1: -35} (RFC 9053 §2.1),
// and noHeader an empty map.
var (
	es384    = []byte{0xa1, 0x01, 0x38, 0x22}
	noHeader = []byte{0xa0}
)

// statement is the payload (AWS: "Attestation Document Specification"). The optional
// members are null where none were given. A document has the registers of one platform.
type statement struct {
	ModuleID    string                     `cbor:"module_id"`
	Digest      string                     `cbor:"digest"`
	Timestamp   uint64                     `cbor:"timestamp"` // milliseconds since 1970
	PCRs        map[uint64]cbor.ByteString `cbor:"pcrs"`
	TPM         map[uint64]cbor.ByteString `cbor:"nitrotpm_pcrs"`
	Certificate cbor.ByteString            `cbor:"certificate"`
	Bundle      []cbor.ByteString          `cbor:"cabundle"` // the root first
	PublicKey   cbor.ByteString            `cbor:"public_key"`
	UserData    cbor.ByteString            `cbor:"user_data"`
	Nonce       cbor.ByteString            `cbor:"nonce"`
}

var decoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		UTF8: cbor.UTF8RejectInvalid, MaxNestedLevels: 4, MaxArrayElements: maxBundle, MaxMapPairs: maxPCRs,
	}.DecMode()
	if err != nil {
		panic("kmsd: CBOR decoding options: " + err.Error())
	}
	return mode
}()

// parse reads a document without believing anything of it. Errors: ErrSyntax.
func parse(signed []byte) (*envelope, *statement, error) {
	if len(signed) > MaxSize {
		return nil, nil, ErrSyntax
	}
	if len(signed) > 0 && signed[0] == tagSign1 {
		signed = signed[1:]
	}
	e, s := new(envelope), new(statement)
	if decoding.Unmarshal(signed, e) != nil || !e.valid() || decoding.Unmarshal(e.Payload.Bytes(), s) != nil || !s.valid() {
		return nil, nil, ErrSyntax
	}
	return e, s, nil
}

func (e *envelope) valid() bool {
	return bytes.Equal(e.Protected.Bytes(), es384) && bytes.Equal(e.Unprotected, noHeader) && len(e.Signature) == signatureSize
}

// valid holds what AWS demands of the members ("Syntactical validation").
func (s *statement) valid() bool {
	_, pcrs := s.registers()
	for n, value := range pcrs {
		if n >= maxPCRs || len(value) != 32 && len(value) != 48 && len(value) != 64 {
			return false
		}
	}
	for _, c := range append(slices.Clip(s.Bundle), s.Certificate) {
		if len(c) == 0 || len(c) > maxCertificate {
			return false
		}
	}
	return s.ModuleID != "" && s.Digest == "SHA384" && s.Timestamp > 0 && len(pcrs) > 0 && len(s.Bundle) > 0 &&
		len(s.PublicKey) <= maxPublicKey && len(s.UserData) <= maxData && len(s.Nonce) <= maxData
}

// registers returns the registers and whose they are; none where both platforms' are
// there.
func (s *statement) registers() (Platform, map[uint64]cbor.ByteString) {
	switch {
	case s.TPM == nil:
		return Enclave, s.PCRs
	case s.PCRs == nil:
		return NitroTPM, s.TPM
	}
	return 0, nil
}

// publicKey reads the key to encrypt with. Errors: ErrPublicKey.
func (s *statement) publicKey() (*crypto.PublicKey, error) {
	key, err := crypto.ParsePublicKey(kms.RSA2048, s.PublicKey.Bytes())
	if err != nil {
		return nil, ErrPublicKey
	}
	return key, nil
}

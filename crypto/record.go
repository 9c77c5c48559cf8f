package crypto

import (
	"encoding/binary"
	"fmt"
)

// MaxRecordSecret is the largest secret of a record in bytes. The largest that
// kmsd stores is an RSA-4096 private key of about 2,400.
const MaxRecordSecret = 64 << 10

const (
	recordInfo     = "kmsd/record/v1"
	recordVersion  = 1
	recordHeadSize = 1 + 4 + saltSize
	recordOverhead = recordHeadSize + nonceSize + tagSize
)

// Seal protects a secret of a record under the current term:
// version ‖ term ‖ salt ‖ nonce ‖ ciphertext ‖ tag. The purpose, the id and the
// cluster's id are bound, so that sealed bytes that are moved to another record
// do not open. It returns ErrTooLarge above MaxRecordSecret and ErrNoTerm before
// the first Load.
func (k *Keyring) Seal(purpose, id string, plaintext []byte) ([]byte, error) {
	if len(plaintext) > MaxRecordSecret {
		return nil, ErrTooLarge
	}
	t := k.terms.Load().current
	if t.number == 0 {
		return nil, ErrNoTerm
	}
	t.seals.Add(1)
	out := make([]byte, 0, recordOverhead+len(plaintext))
	out = binary.BigEndian.AppendUint32(append(out, recordVersion), t.number)
	out = append(out, Random(saltSize)...)
	key := deriveKey(t.key.Bytes(), out[recordHeadSize-saltSize:], recordInfo, keySize)
	defer Wipe(key)
	return sealGCM(key, out, plaintext, k.recordAAD(out, purpose, id)), nil
}

// Open reverses Seal. It returns ErrUnknownTerm, or ErrOpen for everything else.
func (k *Keyring) Open(purpose, id string, sealed []byte) ([]byte, error) {
	if len(sealed) < recordOverhead || len(sealed) > recordOverhead+MaxRecordSecret || sealed[0] != recordVersion {
		return nil, ErrOpen
	}
	head, box := sealed[:recordHeadSize], sealed[recordHeadSize:]
	number := binary.BigEndian.Uint32(head[1:])
	if number == 0 {
		return nil, ErrOpen
	}
	t, err := k.byNumber(number)
	if err != nil {
		return nil, fmt.Errorf("opening a record's secret: %w", err)
	}
	key := deriveKey(t.key.Bytes(), head[recordHeadSize-saltSize:], recordInfo, keySize)
	defer Wipe(key)
	out, err := openGCM(key, nil, box, k.recordAAD(head, purpose, id))
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

func (k *Keyring) recordAAD(head []byte, purpose, id string) []byte {
	aad := appendField(make([]byte, 0, 160), recordInfo)
	aad = appendField(aad, head)
	aad = appendField(aad, k.clusterID)
	aad = appendField(aad, purpose)
	return appendField(aad, id)
}

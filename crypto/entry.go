package crypto

import (
	"encoding/binary"
	"fmt"
)

// MaxEntry is the largest sealed log entry in bytes.
const MaxEntry = 256 << 10

const (
	entryInfo     = "kmsd/entry/v1"
	entryFormat   = 1
	entryHeadSize = 1 + 4 + 2 + 1 + reqKeySize + 4 + saltSize
	reqKeySize    = 16

	// EntryOverhead is how much larger than its body a sealed entry is, in bytes.
	EntryOverhead = entryHeadSize + nonceSize + tagSize
)

// EntryHeader is the part of a log entry that stays readable: what is needed to
// choose the key, to refuse an entry from the future, and to name in an error
// what could not be decoded.
type EntryHeader struct {
	ClusterVersion uint32
	Type           uint16 // the command's type and version, as in fsm
	Version        uint8
	ReqKey         [reqKeySize]byte
	Term           uint32 // the keyring term; SealEntry sets it, whatever it held
}

// SealEntry seals the body of a command for the log: format ‖ header ‖ salt ‖
// nonce ‖ ciphertext ‖ tag. Everything before the nonce, the cluster's id and the
// restore epoch are bound. Before the first Load it uses term 0, which is meant
// for the cluster's first entry alone: the opener of an entry of term 0 must
// check that it is that one. It returns ErrTooLarge when the result would exceed
// MaxEntry.
func (k *Keyring) SealEntry(h EntryHeader, body []byte) ([]byte, error) {
	if len(body) > MaxEntry-EntryOverhead {
		return nil, fmt.Errorf("sealing a log entry of %d bytes: %w", len(body), ErrTooLarge)
	}
	t := k.terms.Load().current
	t.seals.Add(1)
	h.Term = t.number
	out := h.append(make([]byte, 0, EntryOverhead+len(body)))
	out = append(out, Random(saltSize)...)
	key := deriveKey(t.key.Bytes(), out[entryHeadSize-saltSize:], entryInfo, keySize)
	defer Wipe(key)
	return sealGCM(key, out, body, k.entryAAD(out)), nil
}

// OpenEntry reverses SealEntry. The header is returned also with an error, as far
// as it could be read, for the message; it is genuine only without one. The
// errors are ErrUnknownTerm, or ErrOpen for everything else.
func (k *Keyring) OpenEntry(data []byte) (EntryHeader, []byte, error) {
	h, head, box, err := parseEntry(data)
	if err != nil {
		return h, nil, err
	}
	t, err := k.byNumber(h.Term)
	if err != nil {
		return h, nil, fmt.Errorf("opening a log entry: %w", err)
	}
	key := deriveKey(t.key.Bytes(), head[entryHeadSize-saltSize:], entryInfo, keySize)
	defer Wipe(key)
	body, err := openGCM(key, nil, box, k.entryAAD(head))
	if err != nil {
		return h, nil, ErrOpen
	}
	return h, body, nil
}

func parseEntry(data []byte) (h EntryHeader, head, box []byte, err error) {
	if len(data) < EntryOverhead || len(data) > MaxEntry || data[0] != entryFormat {
		return h, nil, nil, ErrOpen
	}
	h.ClusterVersion = binary.BigEndian.Uint32(data[1:])
	h.Type = binary.BigEndian.Uint16(data[5:])
	h.Version = data[7]
	h.ReqKey = [reqKeySize]byte(data[8:])
	h.Term = binary.BigEndian.Uint32(data[8+reqKeySize:])
	return h, data[:entryHeadSize], data[entryHeadSize:], nil
}

// append writes everything of the entry's head but the salt.
func (h *EntryHeader) append(dst []byte) []byte {
	dst = append(dst, entryFormat)
	dst = binary.BigEndian.AppendUint32(dst, h.ClusterVersion)
	dst = binary.BigEndian.AppendUint16(dst, h.Type)
	dst = append(dst, h.Version)
	dst = append(dst, h.ReqKey[:]...)
	return binary.BigEndian.AppendUint32(dst, h.Term)
}

func (k *Keyring) entryAAD(head []byte) []byte {
	aad := appendField(make([]byte, 0, 160), entryInfo)
	aad = appendField(aad, head)
	aad = appendField(aad, k.clusterID)
	return binary.BigEndian.AppendUint64(aad, k.epoch.Load())
}

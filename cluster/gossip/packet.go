package gossip

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes in bytes.
const (
	keySize = 32 // AES-256
	maxKeys = 8
	// saltSize is the size of the random value from which a packet's own key is
	// derived. Two packets share key and nonce only when 16 + 12 random bytes
	// collide, so that a gossip key which is never rotated stays far from AES-GCM's
	// limit of 2^32 random nonces (SP 800-38D §8.3).
	saltSize  = 16
	nonceSize = 12
	tagSize   = 16
	// sealOverhead is what sealing adds: version, salt, nonce and tag.
	sealOverhead = 1 + saltSize + nonceSize + tagSize
	// crcOverhead is what memberlist puts before a message without counting it.
	crcOverhead = 5
	// maxSent is the largest packet that memberlist is told to build, sealed: it fits
	// the MTU of Ethernet behind a tunnel.
	maxSent = 1400
	// maxPacket is the largest packet that is read. Larger ones are dropped.
	maxPacket = 1500
)

// packetVersion is the first byte of every packet.
const packetVersion = 1

// packetInfo names what the packets' keys are derived for.
const packetInfo = "kmsd/gossip-packet/v1"

// A ring holds the gossip keys: the first seals, all open. Immutable.
type ring struct {
	clusterID string
	keys      [][]byte
}

func newRing(clusterID string, keys [][]byte) (*ring, error) {
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("gossip: %d keys, want 1 to %d", len(keys), maxKeys)
	}
	r := &ring{clusterID: clusterID}
	for _, k := range keys {
		if len(k) != keySize {
			return nil, fmt.Errorf("gossip: a key of %d bytes, want %d", len(k), keySize)
		}
		r.keys = append(r.keys, bytes.Clone(k))
	}
	return r, nil
}

// aead returns the cipher of the packet with this salt.
func aead(key, salt []byte) cipher.AEAD {
	k, err := hkdf.Key(sha256.New, key, salt, packetInfo, keySize)
	if err != nil {
		panic("kmsd: deriving a key: " + err.Error())
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		panic("kmsd: AES: " + err.Error())
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("kmsd: AES-GCM: " + err.Error())
	}
	return a
}

// bound returns the associated data of a packet: its version and the cluster.
func (r *ring) bound() []byte { return append([]byte{packetVersion}, r.clusterID...) }

// seal returns version ‖ salt ‖ nonce ‖ ciphertext ‖ tag.
func (r *ring) seal(msg []byte) []byte {
	out := make([]byte, 1+saltSize, sealOverhead+len(msg))
	out[0] = packetVersion
	_, _ = rand.Read(out[1:]) // never fails
	return aead(r.keys[0], out[1:]).Seal(out, nil, msg, r.bound())
}

var errPacket = errors.New("gossip: not a packet of this cluster")

// open returns what seal was given, under any of the keys. Its one error is
// errPacket.
func (r *ring) open(packet []byte) ([]byte, error) {
	if len(packet) < sealOverhead || packet[0] != packetVersion {
		return nil, errPacket
	}
	salt, box := packet[1:1+saltSize], packet[1+saltSize:]
	for _, k := range r.keys {
		if msg, err := aead(k, salt).Open(nil, nil, box, r.bound()); err == nil {
			return msg, nil
		}
	}
	return nil, errPacket
}

// The first bytes of memberlist's messages (protocol 5, net.go).
const (
	typePing         = 0
	typeIndirectPing = 1
	typeAck          = 2
	typeSuspect      = 3
	typeAlive        = 4
	typeDead         = 5
	typeCompound     = 7
	typeNack         = 11
	typeCRC          = 12
	typeLabel        = 244
)

// legal tells whether an opened packet has the shape of what members send: the
// label, perhaps a checksum, then one plain message or one list of plain messages.
// Compression, nesting, user messages and whatever else memberlist would take
// apart is refused, because a holder of the key could put a bomb in it.
func (r *ring) legal(packet []byte) bool {
	label := append([]byte{typeLabel, byte(len(r.clusterID))}, r.clusterID...)
	msg, ok := bytes.CutPrefix(packet, label)
	if !ok {
		return false
	}
	if len(msg) > crcOverhead && msg[0] == typeCRC {
		msg = msg[crcOverhead:]
	}
	if len(msg) > 0 && msg[0] == typeCompound {
		return legalList(msg[1:])
	}
	return legalMessage(msg)
}

// legalList checks number ‖ number × length ‖ messages, and that nothing is left.
func legalList(list []byte) bool {
	if len(list) == 0 || len(list) < 1+2*int(list[0]) {
		return false
	}
	n := int(list[0])
	lengths, messages := list[1:1+2*n], list[1+2*n:]
	for ; len(lengths) > 0; lengths = lengths[2:] {
		size := int(binary.BigEndian.Uint16(lengths))
		if size > len(messages) || !legalMessage(messages[:size]) {
			return false
		}
		messages = messages[size:]
	}
	return len(messages) == 0
}

func legalMessage(msg []byte) bool {
	if len(msg) == 0 {
		return false
	}
	switch msg[0] {
	case typePing, typeIndirectPing, typeAck, typeNack, typeSuspect, typeAlive, typeDead:
		return true
	}
	return false
}

package crypto

import (
	stdcrypto "crypto"
	"crypto/sha256"
	"crypto/sha512"

	"github.com/kmsd/kmsd/kms"
)

// externalMuSize is the size in bytes of μ (FIPS 204, algorithm 7, line 6).
const externalMuSize = 64

// signing is how an algorithm turns messages into what is signed.
type signing struct {
	hash stdcrypto.Hash // of a RAW message, whose place a DIGEST takes; 0 without hashing
	pss  bool           // RSA: PSS rather than PKCS #1 v1.5
	// digestOnly is Ed25519ph, as AWS has it: the DIGEST is the message M of RFC 8032
	// §5.1, which PH hashes again.
	digestOnly bool
	externalMu bool // takes EXTERNAL_MU
}

var signings = map[kms.SigningAlgorithm]signing{
	kms.RSASSAPKCS1SHA256: {hash: stdcrypto.SHA256},
	kms.RSASSAPKCS1SHA384: {hash: stdcrypto.SHA384},
	kms.RSASSAPKCS1SHA512: {hash: stdcrypto.SHA512},
	kms.RSASSAPSSSHA256:   {hash: stdcrypto.SHA256, pss: true},
	kms.RSASSAPSSSHA384:   {hash: stdcrypto.SHA384, pss: true},
	kms.RSASSAPSSSHA512:   {hash: stdcrypto.SHA512, pss: true},
	kms.ECDSASHA256:       {hash: stdcrypto.SHA256},
	kms.ECDSASHA384:       {hash: stdcrypto.SHA384},
	kms.ECDSASHA512:       {hash: stdcrypto.SHA512},
	kms.Ed25519SHA512:     {},
	kms.Ed25519PHSHA512:   {hash: stdcrypto.SHA512, digestOnly: true},
	kms.MLDSAShake256:     {externalMu: true},
}

// signingInput is a message made ready for a key: its digest, itself, or μ.
type signingInput struct {
	signing
	bytes []byte
	mu    bool // bytes are μ
}

// prepareSigning checks the message's type and length and hashes what has to be hashed.
// It returns ErrMessageType and ErrMessageLength (AWS: Sign, MessageType).
func prepareSigning(alg kms.SigningAlgorithm, messageType kms.MessageType, message []byte) (signingInput, error) {
	s := signings[alg]
	switch {
	case messageType == kms.MessageRaw && !s.digestOnly:
		if s.hash == 0 {
			return signingInput{signing: s, bytes: message}, nil
		}
		return signingInput{signing: s, bytes: digest(s.hash, message)}, nil
	case messageType == kms.MessageDigest && s.hash != 0:
		if len(message) != s.hash.Size() {
			return signingInput{}, ErrMessageLength
		}
		if s.digestOnly {
			message = digest(s.hash, message)
		}
		return signingInput{signing: s, bytes: message}, nil
	case messageType == kms.MessageExternalMu && s.externalMu:
		if len(message) != externalMuSize {
			return signingInput{}, ErrMessageLength
		}
		return signingInput{signing: s, bytes: message, mu: true}, nil
	}
	return signingInput{}, ErrMessageType
}

func digest(hash stdcrypto.Hash, message []byte) []byte {
	switch hash {
	case stdcrypto.SHA256:
		sum := sha256.Sum256(message)
		return sum[:]
	case stdcrypto.SHA384:
		sum := sha512.Sum384(message)
		return sum[:]
	case stdcrypto.SHA512:
		sum := sha512.Sum512(message)
		return sum[:]
	}
	panic("kmsd: no signing algorithm has the hash " + hash.String())
}

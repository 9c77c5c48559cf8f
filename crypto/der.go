package crypto

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
)

// Object identifiers of public keys.
var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1} // RFC 5480 §2.1.1
	oidP256        = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	oidP384        = asn1.ObjectIdentifier{1, 3, 132, 0, 34}
	oidP521        = asn1.ObjectIdentifier{1, 3, 132, 0, 35}
	oidSecp256k1   = asn1.ObjectIdentifier{1, 3, 132, 0, 10} // SEC 2 §A.2.1
	oidEd25519     = asn1.ObjectIdentifier{1, 3, 101, 112}   // RFC 8410 §3
	oidMLDSA44     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}
	oidMLDSA65     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}
	oidMLDSA87     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 19} // RFC 9881 §2
	oidMLKEM512    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 1}
	oidMLKEM768    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 2}
	oidMLKEM1024   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 3} // RFC 9935 §3
)

// oneAsymmetricKey is PKCS #8's PrivateKeyInfo without attributes (RFC 5208 §5).
type oneAsymmetricKey struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	PrivateKey []byte
}

func namedCurve(curve asn1.ObjectIdentifier) pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: oidECPublicKey, Parameters: asn1.RawValue{FullBytes: marshalDER(curve)}}
}

// marshalDER encodes a value of which this package knows that it can be encoded.
func marshalDER(value any) []byte {
	der, err := asn1.Marshal(value)
	if err != nil {
		panic("kmsd: encoding DER: " + err.Error())
	}
	return der
}

// A fixedDER is an encoding that has one length and one beginning, with a key of a fixed
// size behind it. Reading one is comparing the beginning, so that there is no parser
// that could take two encodings for one key.
type fixedDER struct {
	prefix []byte
	size   int // of what follows, in bytes
}

// spkiOf is the SubjectPublicKeyInfo of keys of the algorithm.
func spkiOf(algorithm pkix.AlgorithmIdentifier, size int) fixedDER {
	der := marshalDER(struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}{algorithm, asn1.BitString{Bytes: make([]byte, size), BitLength: 8 * size}})
	return fixedDER{prefix: der[:len(der)-size], size: size}
}

// seedPKCS8Of is the PKCS #8 form of private keys that consist of a seed, which is in
// the CHOICE's context-specific tag 0 (RFC 9881 §6, RFC 9935 §6).
func seedPKCS8Of(algorithm pkix.AlgorithmIdentifier, size int) fixedDER {
	seed := marshalDER(asn1.RawValue{Class: asn1.ClassContextSpecific, Bytes: make([]byte, size)})
	der := marshalDER(oneAsymmetricKey{Algorithm: algorithm, PrivateKey: seed})
	return fixedDER{prefix: der[:len(der)-size], size: size}
}

// join returns the encoding of key, which has f.size bytes.
func (f fixedDER) join(key []byte) []byte {
	if len(key) != f.size {
		panic("kmsd: encoding a key of the wrong size")
	}
	der := make([]byte, 0, len(f.prefix)+f.size)
	return append(append(der, f.prefix...), key...)
}

// cut returns the key in der, without copying.
func (f fixedDER) cut(der []byte) ([]byte, bool) {
	key, ok := bytes.CutPrefix(der, f.prefix)
	return key, ok && len(key) == f.size
}

// wrap is join for a secret, which may be of a wrong size: ErrPrivateKey.
func (f fixedDER) wrap(secret []byte) ([]byte, error) {
	if len(secret) != f.size {
		return nil, ErrPrivateKey
	}
	return f.join(secret), nil
}

package crypto

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/kmsd/kmsd/kms"
)

// UnwrapMaterial decrypts imported key material (AWS: "Encrypting key material"), which
// the caller wipes. wrappingKey is the private key of the RSA spec as GenerateKey made it.
// RSA_AES_KEY_WRAP is PKCS #11's CKM_RSA_AES_KEY_WRAP with an AES-256 key. It returns
// ErrKeySpec, ErrPrivateKey or ErrAlgorithm for what is not its own, and ErrCiphertext for
// everything that can be wrong with what was wrapped.
func UnwrapMaterial(spec kms.KeySpec, wrappingKey []byte, alg kms.WrappingAlgorithm, wrapped []byte) ([]byte, error) {
	s, ok := schemes[spec].(rsaScheme)
	if !ok {
		return nil, ErrKeySpec
	}
	opened, err := s.openPrivate(wrappingKey)
	if err != nil {
		return nil, err
	}
	defer opened.wipe()
	key := opened.(rsaPrivate)
	switch alg {
	case kms.WrapOAEPSHA1:
		return key.decrypt(kms.RSAESOAEPSHA1, wrapped)
	case kms.WrapOAEPSHA256:
		return key.decrypt(kms.RSAESOAEPSHA256, wrapped)
	case kms.WrapAESSHA1:
		return key.unwrapAES(kms.RSAESOAEPSHA1, wrapped)
	case kms.WrapAESSHA256:
		return key.unwrapAES(kms.RSAESOAEPSHA256, wrapped)
	}
	return nil, ErrAlgorithm
}

func (k rsaPrivate) unwrapAES(alg kms.EncryptionAlgorithm, wrapped []byte) ([]byte, error) {
	size := k.key.Size()
	if len(wrapped) < size {
		return nil, ErrCiphertext
	}
	key, err := k.decrypt(alg, wrapped[:size])
	if err != nil {
		return nil, err
	}
	defer Wipe(key)
	if len(key) != keySize {
		return nil, ErrCiphertext
	}
	return unwrapKWP(newBlock(key), wrapped[size:])
}

// ImportKey makes of unwrapped material what GenerateKey returns for the spec: the
// secret, which the caller seals and wipes, and the public key. Symmetric encryption and
// HMAC keys are the bytes themselves. Private keys are PKCS #8 in BER (RFC 5208), elliptic
// ones with a named curve, whose point may be left out or compressed (RFC 5915); a point
// that is not the key's is refused. ErrPrivateKey tells that it is no key of the spec,
// and ErrKeySpec that keys of the spec are not imported.
func ImportKey(spec kms.KeySpec, material []byte) (secret, public []byte, err error) {
	if hash, ok := macs[spec]; ok || spec == kms.SymmetricDefault {
		least, most := MaterialSize, MaterialSize
		if ok {
			least, most = hash.Size(), maxMACKeySize
		}
		if len(material) < least || len(material) > most {
			return nil, nil, ErrPrivateKey
		}
		return bytes.Clone(material), nil, nil
	}
	s, ok := schemes[spec]
	if !ok || !spec.Imports() {
		return nil, nil, ErrKeySpec
	}
	if secret, err = normalise(s, material); err != nil {
		return nil, nil, err
	}
	key, err := s.openPrivate(secret)
	if err != nil {
		Wipe(secret)
		return nil, nil, ErrPrivateKey
	}
	defer key.wipe()
	return secret, key.public().spki(), nil
}

// privateKeyInfo is PKCS #8 as it is imported (RFC 5208 §5).
type privateKeyInfo struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	PrivateKey []byte
	Attributes asn1.RawValue `asn1:"optional,tag:0"`
}

// ecPrivateKey is RFC 5915's, with a named curve.
type ecPrivateKey struct {
	Version    int
	PrivateKey []byte
	Curve      asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	Point      asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

// parseDER reads the one encoding of a value: encoding/asn1 would take what follows the
// members that it knows.
func parseDER[T any](der []byte) (value T, err error) {
	if rest, err := asn1.Unmarshal(der, &value); err != nil || len(rest) != 0 {
		return value, ErrPrivateKey
	}
	again, err := asn1.Marshal(value)
	defer Wipe(again)
	if err != nil || !bytes.Equal(again, der) {
		return value, ErrPrivateKey
	}
	return value, nil
}

// normalise returns the encoding that the scheme reads.
func normalise(s scheme, ber []byte) ([]byte, error) {
	der, err := toDER(ber)
	if err != nil {
		return nil, err
	}
	defer Wipe(der)
	info, err := parseDER[privateKeyInfo](der)
	if err != nil || info.Version != 0 {
		return nil, ErrPrivateKey
	}
	inner := info.PrivateKey
	defer Wipe(inner)
	if info.PrivateKey, err = toDER(inner); err != nil {
		return nil, err
	}
	defer Wipe(info.PrivateKey)
	switch s := s.(type) {
	case eccScheme:
		return s.normalise(info)
	case secp256k1Scheme:
		return s.normalise(info)
	}
	return marshalDER(oneAsymmetricKey{Algorithm: info.Algorithm, PrivateKey: info.PrivateKey}), nil
}

func (s eccScheme) normalise(info privateKeyInfo) ([]byte, error) {
	inner, err := parseEC(info, s.oid)
	if err != nil {
		return nil, err
	}
	defer Wipe(inner.PrivateKey)
	key, err := ecdsa.ParseRawPrivateKey(s.curve, inner.PrivateKey)
	if err != nil {
		return nil, ErrPrivateKey
	}
	defer wipeECC(key)
	point, err := key.PublicKey.Bytes()
	if err != nil || !inner.has(point) {
		return nil, ErrPrivateKey
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

func (secp256k1Scheme) normalise(info privateKeyInfo) ([]byte, error) {
	inner, err := parseEC(info, oidSecp256k1)
	if err != nil {
		return nil, err
	}
	defer Wipe(inner.PrivateKey)
	var scalar secp256k1.ModNScalar
	defer scalar.Zero()
	if len(inner.PrivateKey) != secp256k1ScalarSize || scalar.SetByteSlice(inner.PrivateKey) || scalar.IsZero() {
		return nil, ErrPrivateKey
	}
	point := secp256k1PublicOf(&scalar).key.SerializeUncompressed()
	if !inner.has(point) {
		return nil, ErrPrivateKey
	}
	return marshalSecp256k1(inner.PrivateKey, point), nil
}

// parseEC reads an elliptic curve key on the named curve.
func parseEC(info privateKeyInfo, curve asn1.ObjectIdentifier) (key ecPrivateKey, err error) {
	named := namedCurve(curve)
	if !info.Algorithm.Algorithm.Equal(named.Algorithm) || !bytes.Equal(info.Algorithm.Parameters.FullBytes, named.Parameters.FullBytes) {
		return key, ErrPrivateKey
	}
	key, err = parseDER[ecPrivateKey](info.PrivateKey)
	if err != nil || key.Version != 1 || key.Curve != nil && !key.Curve.Equal(curve) {
		Wipe(key.PrivateKey)
		return key, ErrPrivateKey
	}
	return key, nil
}

// has tells whether the key's point, if it names one, is the uncompressed point, in
// either form (SEC 1 §2.3.3).
func (k *ecPrivateKey) has(point []byte) bool {
	named := k.Point.Bytes
	if len(named) == 0 {
		return true
	}
	if k.Point.BitLength != 8*len(named) {
		return false
	}
	x := point[1 : 1+len(point)/2]
	parity := point[len(point)-1] & 1
	return bytes.Equal(named, point) || bytes.Equal(named, append([]byte{2 | parity}, x...))
}

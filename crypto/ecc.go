package crypto

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
)

// eccScheme is ECDSA and ECDH on a NIST curve, by crypto/ecdsa and crypto/ecdh, inside
// the FIPS module. Operations with the private key are constant-time; ECDSA's nonces mix
// the key and the digest with random bytes, so that they stay secret and do not repeat
// even if the generator failed. Verification is not constant-time.
type eccScheme struct {
	curve elliptic.Curve
	ecdh  ecdh.Curve
	oid   asn1.ObjectIdentifier
	spki  fixedDER
}

func newECCScheme(curve elliptic.Curve, dh ecdh.Curve, oid asn1.ObjectIdentifier) eccScheme {
	const form = 1 // the byte that says "uncompressed"
	field := (curve.Params().BitSize + 7) / 8
	return eccScheme{curve: curve, ecdh: dh, oid: oid, spki: spkiOf(namedCurve(oid), form+2*field)}
}

var (
	p256 = newECCScheme(elliptic.P256(), ecdh.P256(), oidP256)
	p384 = newECCScheme(elliptic.P384(), ecdh.P384(), oidP384)
	p521 = newECCScheme(elliptic.P521(), ecdh.P521(), oidP521)
)

type eccPublic struct {
	key *ecdsa.PublicKey
	der []byte
}

type eccPrivate struct {
	scheme eccScheme
	key    *ecdsa.PrivateKey
	ecdh   *ecdh.PrivateKey
	pub    eccPublic
}

func (s eccScheme) generate() (secret, public []byte, err error) {
	key, err := ecdsa.GenerateKey(s.curve, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	defer wipeECC(key)
	if secret, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, nil, err
	}
	return secret, s.spki.join(point), nil
}

func (s eccScheme) openPrivate(secret []byte) (privateKey, error) {
	key, err := parsePKCS8[*ecdsa.PrivateKey](secret)
	if err != nil {
		return nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil || key.Curve != s.curve {
		wipeECC(key)
		return nil, ErrPrivateKey
	}
	// Parsed anew: a pointer into the private key would keep that in memory.
	pub, err := ecdsa.ParseUncompressedPublicKey(s.curve, point)
	if err != nil {
		wipeECC(key)
		return nil, ErrPrivateKey
	}
	agreement, err := key.ECDH()
	if err != nil {
		wipeECC(key)
		return nil, ErrPrivateKey
	}
	return eccPrivate{s, key, agreement, eccPublic{pub, s.spki.join(point)}}, nil
}

func (s eccScheme) openPublic(der []byte) (publicKey, error) {
	point, ok := s.spki.cut(der)
	if !ok {
		return nil, ErrPublicKey
	}
	key, err := ecdsa.ParseUncompressedPublicKey(s.curve, point)
	if err != nil {
		return nil, ErrPublicKey
	}
	return eccPublic{key, s.spki.join(point)}, nil
}

func (eccScheme) pkcs8(secret []byte) ([]byte, error) { return bytes.Clone(secret), nil }

func (p eccPublic) spki() []byte { return p.der }

func (p eccPublic) verify(in signingInput, signature []byte) bool {
	return ecdsa.VerifyASN1(p.key, in.bytes, signature)
}

func (k eccPrivate) public() publicKey { return k.pub }

func (k eccPrivate) wipe() { wipeECC(k.key) }

func wipeECC(key *ecdsa.PrivateKey) {
	//lint:ignore SA1019 The number is overwritten because it is never used again.
	clear(key.D.Bits())
}

func (k eccPrivate) sign(in signingInput) ([]byte, error) {
	return ecdsa.SignASN1(rand.Reader, k.key, in.bytes)
}

func (k eccPrivate) agree(peer []byte) ([]byte, error) {
	point, ok := k.scheme.spki.cut(peer)
	if !ok {
		return nil, ErrPublicKey
	}
	key, err := k.scheme.ecdh.NewPublicKey(point)
	if err != nil {
		return nil, ErrPublicKey
	}
	secret, err := k.ecdh.ECDH(key)
	if err != nil {
		return nil, ErrPublicKey
	}
	return secret, nil
}

package crypto

import (
	"bytes"
	"crypto/subtle"
	"encoding/asn1"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// secp256k1Scheme is ECDSA on the curve secp256k1, by decred's library, outside the FIPS
// module. The library's arithmetic modulo the order is constant-time; its multiplication
// of points and its inverse are not. They therefore see only numbers that are blinded by
// fresh random ones (baseMult, signOnce), so that their time tells nothing about a key or
// a nonce that could be added up over signatures. Verification is not constant-time.
type secp256k1Scheme struct{}

const (
	secp256k1ScalarSize = 32
	secp256k1PointSize  = 65
	uncompressedPoint   = 4 // the first byte of a point (SEC 1 §2.3.3)
)

var (
	secp256k1SPKI = spkiOf(namedCurve(oidSecp256k1), secp256k1PointSize)
	// secp256k1ScalarAt is where the scalar stands in PKCS #8, which has one length.
	secp256k1ScalarAt, secp256k1PKCS8Size = func() (at, size int) {
		mark := bytes.Repeat([]byte{0xff}, secp256k1ScalarSize)
		der := marshalSecp256k1(mark, make([]byte, secp256k1PointSize))
		return bytes.Index(der, mark), len(der)
	}()
)

// marshalSecp256k1 writes PKCS #8 around RFC 5915's ECPrivateKey without its parameters,
// which stand in the AlgorithmIdentifier: crypto/x509's form, which does not know the
// curve.
func marshalSecp256k1(scalar, point []byte) []byte {
	inner := marshalDER(struct {
		Version    int
		PrivateKey []byte
		PublicKey  asn1.BitString `asn1:"explicit,tag:1"`
	}{1, scalar, asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
	defer Wipe(inner)
	return marshalDER(oneAsymmetricKey{Algorithm: namedCurve(oidSecp256k1), PrivateKey: inner})
}

type secp256k1Public struct {
	key *secp256k1.PublicKey
	der []byte
}

type secp256k1Private struct {
	scalar *secp256k1.ModNScalar
	pub    secp256k1Public
}

func (secp256k1Scheme) generate() (secret, public []byte, err error) {
	key, err := secp256k1.GeneratePrivateKey()
	if err != nil {
		return nil, nil, err
	}
	defer key.Zero()
	scalar, pub := key.Key.Bytes(), secp256k1PublicOf(&key.Key)
	defer Wipe(scalar[:])
	return marshalSecp256k1(scalar[:], pub.key.SerializeUncompressed()), pub.der, nil
}

func (secp256k1Scheme) openPrivate(secret []byte) (privateKey, error) {
	if len(secret) != secp256k1PKCS8Size {
		return nil, ErrPrivateKey
	}
	scalar, k := secret[secp256k1ScalarAt:][:secp256k1ScalarSize], new(secp256k1.ModNScalar)
	if k.SetByteSlice(scalar) || k.IsZero() {
		return nil, ErrPrivateKey
	}
	pub := secp256k1PublicOf(k)
	again := marshalSecp256k1(scalar, pub.key.SerializeUncompressed())
	defer Wipe(again)
	if subtle.ConstantTimeCompare(again, secret) != 1 {
		k.Zero()
		return nil, ErrPrivateKey
	}
	return secp256k1Private{k, pub}, nil
}

func (secp256k1Scheme) openPublic(der []byte) (publicKey, error) {
	point, ok := secp256k1SPKI.cut(der)
	if !ok || point[0] != uncompressedPoint { // the library takes the hybrid form, too
		return nil, ErrPublicKey
	}
	key, err := secp256k1.ParsePubKey(point)
	if err != nil {
		return nil, ErrPublicKey
	}
	return secp256k1Public{key, secp256k1SPKI.join(point)}, nil
}

func (secp256k1Scheme) pkcs8(secret []byte) ([]byte, error) { return bytes.Clone(secret), nil }

func secp256k1PublicOf(scalar *secp256k1.ModNScalar) secp256k1Public {
	point := baseMult(scalar)
	key := secp256k1.NewPublicKey(&point.X, &point.Y)
	return secp256k1Public{key, secp256k1SPKI.join(key.SerializeUncompressed())}
}

// baseMult returns scalar·G, affine, as (scalar−b)·G + b·G for a random b: each of the
// two multiplications sees a number that is uniformly random by itself.
func baseMult(scalar *secp256k1.ModNScalar) secp256k1.JacobianPoint {
	blind := randomScalar()
	defer blind.Zero()
	rest := new(secp256k1.ModNScalar).NegateVal(blind).Add(scalar)
	defer rest.Zero()
	var a, b, sum secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(rest, &a)
	secp256k1.ScalarBaseMultNonConst(blind, &b)
	secp256k1.AddNonConst(&a, &b, &sum)
	sum.ToAffine()
	return sum
}

// randomScalar is a random number below the order, off uniform by less than 2^-127. It is
// zero with a chance of 2^-256.
func randomScalar() *secp256k1.ModNScalar {
	random := Random(secp256k1ScalarSize)
	defer Wipe(random)
	var s secp256k1.ModNScalar
	s.SetByteSlice(random)
	return &s
}

func (p secp256k1Public) spki() []byte { return p.der }

func (p secp256k1Public) verify(in signingInput, signature []byte) bool {
	sig, err := ecdsa.ParseDERSignature(signature)
	return err == nil && sig.Verify(in.bytes, p.key)
}

func (k secp256k1Private) public() publicKey { return k.pub }

func (k secp256k1Private) wipe() { k.scalar.Zero() }

// sign makes an ECDSA signature (FIPS 186-5 §6.4.1). The nonce is RFC 6979's with random
// bytes as the additional data of its §3.6: it stays secret and does not repeat even if
// the generator failed, and a computation that was disturbed cannot be had again
// undisturbed.
func (k secp256k1Private) sign(in signingInput) ([]byte, error) {
	key := k.scalar.Bytes()
	defer Wipe(key[:])
	extra := Random(secp256k1ScalarSize)
	for i := uint32(0); ; i++ {
		nonce := secp256k1.NonceRFC6979(key[:], in.bytes, extra, nil, i)
		signature := k.signOnce(in.bytes, nonce)
		nonce.Zero()
		if signature != nil {
			return signature, nil
		}
	}
}

// signOnce returns nil for a nonce that gives no signature, which one in 2^256 does. It
// leaves s as it is, like AWS: who needs the lower of s and the order less s takes it.
func (k secp256k1Private) signOnce(digest []byte, nonce *secp256k1.ModNScalar) []byte {
	var r, z secp256k1.ModNScalar
	point := baseMult(nonce)
	r.SetBytes(point.X.Bytes())
	z.SetByteSlice(digest)
	// s = (z + r·key)/nonce, computed as blind·(z + r·key)/(blind·nonce).
	blind := randomScalar()
	defer blind.Zero()
	s := new(secp256k1.ModNScalar).Mul2(&r, k.scalar).Add(&z).Mul(blind)
	s.Mul(blind.Mul(nonce).InverseNonConst())
	if r.IsZero() || s.IsZero() {
		return nil
	}
	return marshalDER(struct{ R, S *big.Int }{bigOf(&r), bigOf(s)})
}

// bigOf converts a number that is public.
func bigOf(s *secp256k1.ModNScalar) *big.Int {
	b := s.Bytes()
	return new(big.Int).SetBytes(b[:])
}

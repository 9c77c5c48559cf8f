package crypto

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
)

// ed25519Scheme is Ed25519 and Ed25519ph (RFC 8032 §5.1, FIPS 186-5 §7), by
// crypto/ed25519, inside the FIPS module. Signing is constant-time and deterministic;
// verification is not constant-time, refuses an S that is not reduced, and does not
// multiply by the cofactor.
type ed25519Scheme struct{}

var ed25519SPKI = spkiOf(pkix.AlgorithmIdentifier{Algorithm: oidEd25519}, ed25519.PublicKeySize)

type ed25519Public struct {
	key ed25519.PublicKey
	der []byte
}

type ed25519Private struct {
	key ed25519.PrivateKey
	pub ed25519Public
}

func (ed25519Scheme) generate() (secret, public []byte, err error) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, err
	}
	defer Wipe(key)
	secret, err = x509.MarshalPKCS8PrivateKey(key)
	return secret, ed25519SPKI.join(pub), err
}

func (ed25519Scheme) openPrivate(secret []byte) (privateKey, error) {
	key, err := parsePKCS8[ed25519.PrivateKey](secret)
	if err != nil {
		return nil, err
	}
	// A copy: the public key outlives the private one.
	pub := bytes.Clone(key.Public().(ed25519.PublicKey))
	return ed25519Private{key, ed25519Public{pub, ed25519SPKI.join(pub)}}, nil
}

func (ed25519Scheme) openPublic(der []byte) (publicKey, error) {
	key, ok := ed25519SPKI.cut(der)
	if !ok || !validEd25519Point(key) {
		return nil, ErrPublicKey
	}
	key = bytes.Clone(key)
	return ed25519Public{key, ed25519SPKI.join(key)}, nil
}

func (ed25519Scheme) pkcs8(secret []byte) ([]byte, error) { return bytes.Clone(secret), nil }

// The field's prime 2^255 − 19 and the curve's constant d = −121665/121666 (RFC 8032
// §5.1).
var (
	ed25519P = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	ed25519D = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), ed25519P)
		return d.Mod(d.Mul(d, big.NewInt(-121665)), ed25519P)
	}()
)

// validEd25519Point tells whether key is the canonical encoding of a point (RFC 8032
// §5.1.3): y is reduced, and x² = (y² − 1)/(dy² + 1) is a square and not zero. Zero would
// be the neutral element or the point of order 2, which nobody's key is, and which would
// have two encodings. crypto/ed25519 finds a key that is no point when it verifies.
func validEd25519Point(key []byte) bool {
	b := bytes.Clone(key)
	slices.Reverse(b)
	b[0] &= 0x7f // the sign of x
	y := new(big.Int).SetBytes(b)
	if y.Cmp(ed25519P) >= 0 {
		return false
	}
	one := big.NewInt(1)
	y.Mul(y, y)
	u := new(big.Int).Sub(y, one)
	v := y.Add(y.Mul(y, ed25519D), one)
	return big.Jacobi(u.Mul(u, v).Mod(u, ed25519P), ed25519P) == 1
}

func (p ed25519Public) spki() []byte { return p.der }

func (p ed25519Public) verify(in signingInput, signature []byte) bool {
	return ed25519.VerifyWithOptions(p.key, in.bytes, signature, &ed25519.Options{Hash: in.hash}) == nil
}

func (k ed25519Private) public() publicKey { return k.pub }

func (k ed25519Private) wipe() { Wipe(k.key) }

func (k ed25519Private) sign(in signingInput) ([]byte, error) {
	return k.key.Sign(nil, in.bytes, &ed25519.Options{Hash: in.hash})
}

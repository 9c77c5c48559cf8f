package crypto

import (
	stdcrypto "crypto"
	"crypto/mlkem"
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
)

// mlkemScheme is ML-KEM (FIPS 203): 768 and 1024 by crypto/mlkem, inside the FIPS module,
// and 512, which that lacks, by circl, outside of it. Decapsulation is constant-time in
// both, also in whether the ciphertext was genuine. The time of expanding a key depends
// on its public half, from which the matrix is sampled.
type mlkemScheme struct {
	spki       fixedDER
	seedPKCS8  fixedDER
	ciphertext int // bytes
	// generateSeed returns d ‖ z.
	generateSeed func() ([]byte, error)
	newPrivate   func(seed []byte) (stdcrypto.Decapsulator, error)
	newPublic    func(raw []byte) (stdcrypto.Encapsulator, error)
}

func newMLKEMScheme(oid asn1.ObjectIdentifier, publicKey, ciphertext int) mlkemScheme {
	algorithm := pkix.AlgorithmIdentifier{Algorithm: oid}
	return mlkemScheme{
		spki:       spkiOf(algorithm, publicKey),
		seedPKCS8:  seedPKCS8Of(algorithm, mlkem.SeedSize),
		ciphertext: ciphertext,
	}
}

var mlkem512Scheme = func() mlkemScheme {
	s := newMLKEMScheme(oidMLKEM512, mlkem512.PublicKeySize, mlkem512.CiphertextSize)
	s.generateSeed = func() ([]byte, error) { return Random(mlkem512.KeySeedSize), nil }
	s.newPrivate = newDecapsulationKey512
	s.newPublic = newEncapsulationKey512
	return s
}()

var mlkem768Scheme = func() mlkemScheme {
	s := newMLKEMScheme(oidMLKEM768, mlkem.EncapsulationKeySize768, mlkem.CiphertextSize768)
	s.generateSeed = func() ([]byte, error) { return seedOf(mlkem.GenerateKey768()) }
	s.newPrivate = func(seed []byte) (stdcrypto.Decapsulator, error) { return mlkem.NewDecapsulationKey768(seed) }
	s.newPublic = func(raw []byte) (stdcrypto.Encapsulator, error) { return mlkem.NewEncapsulationKey768(raw) }
	return s
}()

var mlkem1024Scheme = func() mlkemScheme {
	s := newMLKEMScheme(oidMLKEM1024, mlkem.EncapsulationKeySize1024, mlkem.CiphertextSize1024)
	s.generateSeed = func() ([]byte, error) { return seedOf(mlkem.GenerateKey1024()) }
	s.newPrivate = func(seed []byte) (stdcrypto.Decapsulator, error) { return mlkem.NewDecapsulationKey1024(seed) }
	s.newPublic = func(raw []byte) (stdcrypto.Encapsulator, error) { return mlkem.NewEncapsulationKey1024(raw) }
	return s
}()

func seedOf(key interface{ Bytes() []byte }, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return key.Bytes(), nil
}

type mlkemPublic struct {
	key stdcrypto.Encapsulator
	der []byte
}

type mlkemPrivate struct {
	key        stdcrypto.Decapsulator
	ciphertext int
	pub        mlkemPublic
}

func (s mlkemScheme) generate() (secret, public []byte, err error) {
	seed, err := s.generateSeed()
	if err != nil {
		return nil, nil, err
	}
	key, err := s.newPrivate(seed)
	if err != nil {
		Wipe(seed)
		return nil, nil, err
	}
	return seed, s.spki.join(key.Encapsulator().Bytes()), nil
}

func (s mlkemScheme) openPrivate(secret []byte) (privateKey, error) {
	key, err := s.newPrivate(secret)
	if err != nil {
		return nil, ErrPrivateKey
	}
	pub := key.Encapsulator()
	return mlkemPrivate{key, s.ciphertext, mlkemPublic{pub, s.spki.join(pub.Bytes())}}, nil
}

func (s mlkemScheme) openPublic(der []byte) (publicKey, error) {
	raw, ok := s.spki.cut(der)
	if !ok {
		return nil, ErrPublicKey
	}
	key, err := s.newPublic(raw)
	if err != nil {
		return nil, ErrPublicKey
	}
	return mlkemPublic{key, s.spki.join(raw)}, nil
}

func (s mlkemScheme) pkcs8(secret []byte) ([]byte, error) { return s.seedPKCS8.wrap(secret) }

func (p mlkemPublic) spki() []byte { return p.der }

func (p mlkemPublic) encapsulate() (secret, ciphertext []byte) { return p.key.Encapsulate() }

func (k mlkemPrivate) public() publicKey { return k.pub }

// wipe does nothing: the libraries let nobody reach their numbers.
func (mlkemPrivate) wipe() {}

func (k mlkemPrivate) decapsulate(ciphertext []byte) ([]byte, error) {
	if len(ciphertext) != k.ciphertext {
		return nil, ErrCiphertext
	}
	secret, err := k.key.Decapsulate(ciphertext)
	if err != nil {
		return nil, ErrCiphertext
	}
	return secret, nil
}

// encapsulationKey512 and decapsulationKey512 give circl's keys crypto/mlkem's methods.
type encapsulationKey512 struct{ key *mlkem512.PublicKey }

type decapsulationKey512 struct {
	key *mlkem512.PrivateKey
	pub encapsulationKey512
}

func newEncapsulationKey512(raw []byte) (stdcrypto.Encapsulator, error) {
	key := new(mlkem512.PublicKey)
	if err := key.Unpack(raw); err != nil { // refuses coefficients that are not reduced
		return nil, err
	}
	return encapsulationKey512{key}, nil
}

func newDecapsulationKey512(seed []byte) (stdcrypto.Decapsulator, error) {
	if len(seed) != mlkem512.KeySeedSize {
		return nil, ErrPrivateKey
	}
	pub, key := mlkem512.NewKeyFromSeed(seed)
	return decapsulationKey512{key, encapsulationKey512{pub}}, nil
}

func (k encapsulationKey512) Bytes() []byte {
	raw := make([]byte, mlkem512.PublicKeySize)
	k.key.Pack(raw)
	return raw
}

func (k encapsulationKey512) Encapsulate() (secret, ciphertext []byte) {
	seed := Random(mlkem512.EncapsulationSeedSize)
	defer Wipe(seed)
	return k.encapsulate(seed)
}

// encapsulate is ML-KEM.Encaps_internal (FIPS 203, algorithm 17): the seed is m.
func (k encapsulationKey512) encapsulate(seed []byte) (secret, ciphertext []byte) {
	secret, ciphertext = make([]byte, mlkem512.SharedKeySize), make([]byte, mlkem512.CiphertextSize)
	k.key.EncapsulateTo(ciphertext, secret, seed)
	return secret, ciphertext
}

func (k decapsulationKey512) Encapsulator() stdcrypto.Encapsulator { return k.pub }

func (k decapsulationKey512) Decapsulate(ciphertext []byte) ([]byte, error) {
	secret := make([]byte, mlkem512.SharedKeySize)
	k.key.DecapsulateTo(secret, ciphertext)
	return secret, nil
}

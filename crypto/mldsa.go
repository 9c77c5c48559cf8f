package crypto

import (
	"crypto/x509/pkix"
	"encoding/asn1"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
)

// mldsaScheme is ML-DSA (FIPS 204) with an empty context, by filippo.io/mldsa, which is
// the standard library's code of Go 1.27 and until then outside the FIPS module. Signing
// is hedged; its time depends on how many candidates were rejected, which FIPS 204 allows
// (§3.2: they tell nothing about the key), and on nothing else of the key. Verification is
// not constant-time. That of EXTERNAL_MU, which the library lacks, is muVerifier.
type mldsaScheme struct {
	parameters mldsa.Parameters
	spki       fixedDER
	seedPKCS8  fixedDER
	mu         muVerifier
}

func newMLDSAScheme(parameters mldsa.Parameters, oid asn1.ObjectIdentifier, mu muVerifier) mldsaScheme {
	algorithm := pkix.AlgorithmIdentifier{Algorithm: oid}
	return mldsaScheme{
		parameters: parameters,
		spki:       spkiOf(algorithm, parameters.PublicKeySize()),
		seedPKCS8:  seedPKCS8Of(algorithm, mldsa.PrivateKeySize),
		mu:         mu,
	}
}

var (
	mldsa44 = newMLDSAScheme(mldsa.MLDSA44(), oidMLDSA44, muVerifier44)
	mldsa65 = newMLDSAScheme(mldsa.MLDSA65(), oidMLDSA65, muVerifier65)
	mldsa87 = newMLDSAScheme(mldsa.MLDSA87(), oidMLDSA87, muVerifier87)
)

type mldsaPublic struct {
	scheme mldsaScheme
	key    *mldsa.PublicKey
	der    []byte
}

type mldsaPrivate struct {
	key *mldsa.PrivateKey
	pub mldsaPublic
}

func (s mldsaScheme) generate() (secret, public []byte, err error) {
	key, err := mldsa.GenerateKey(s.parameters)
	if err != nil {
		return nil, nil, err
	}
	return key.Bytes(), s.spki.join(key.PublicKey().Bytes()), nil
}

func (s mldsaScheme) openPrivate(secret []byte) (privateKey, error) {
	key, err := mldsa.NewPrivateKey(s.parameters, secret)
	if err != nil {
		return nil, ErrPrivateKey
	}
	pub := key.PublicKey()
	return mldsaPrivate{key, mldsaPublic{s, pub, s.spki.join(pub.Bytes())}}, nil
}

func (s mldsaScheme) openPublic(der []byte) (publicKey, error) {
	raw, ok := s.spki.cut(der)
	if !ok {
		return nil, ErrPublicKey
	}
	key, err := mldsa.NewPublicKey(s.parameters, raw)
	if err != nil {
		return nil, ErrPublicKey
	}
	return mldsaPublic{s, key, s.spki.join(raw)}, nil
}

func (s mldsaScheme) pkcs8(secret []byte) ([]byte, error) { return s.seedPKCS8.wrap(secret) }

func (p mldsaPublic) spki() []byte { return p.der }

func (p mldsaPublic) verify(in signingInput, signature []byte) bool {
	if in.mu {
		return p.scheme.mu.verify(p.key.Bytes(), [externalMuSize]byte(in.bytes), signature)
	}
	return mldsa.Verify(p.key, in.bytes, signature, nil) == nil
}

func (k mldsaPrivate) public() publicKey { return k.pub }

// wipe does nothing: the library lets nobody reach its numbers.
func (mldsaPrivate) wipe() {}

func (k mldsaPrivate) sign(in signingInput) ([]byte, error) {
	if in.mu {
		return k.key.Sign(nil, in.bytes, mldsacrypto.MLDSAMu)
	}
	return k.key.Sign(nil, in.bytes, nil)
}

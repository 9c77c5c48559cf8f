package crypto_test

import (
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// loop measures f, with its allocations.
func loop(b *testing.B, name string, f func() error) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchMessage is as long as AWS lets a RAW message be.
var benchMessage = make([]byte, 4096)

// eachSigning calls f with each signing algorithm of each spec.
func eachSigning(b *testing.B, f func(name string, key *crypto.PrivateKey, alg kms.SigningAlgorithm, mt kms.MessageType, m []byte)) {
	for _, spec := range asymmetricSpecs {
		key := openFixture(b, spec)
		for _, alg := range spec.SigningAlgorithms() {
			name, mt, m := string(spec)+"/"+string(alg), kms.MessageType("RAW"), benchMessage
			if alg == "ED25519_PH_SHA_512" {
				mt, m = "DIGEST", hashOf(alg, m)
			}
			f(name, key, alg, mt, m)
			if alg == "ML_DSA_SHAKE_256" {
				f(name+"/EXTERNAL_MU", key, alg, "EXTERNAL_MU", mu(key.Public().DER()[22:], m))
			}
		}
	}
}

// A signature allocates once for its digest and once for itself; the rest is the
// libraries'. PKCS #1 v1.5 takes 3 allocations with 2,048 bits, but 54 with more, where
// crypto/rsa's numbers do not fit their buffers; ECDSA takes about 60 for the generator of
// its nonce; ML-DSA 2 for a message, 1 for μ.
func BenchmarkSign(b *testing.B) {
	eachSigning(b, func(name string, key *crypto.PrivateKey, alg kms.SigningAlgorithm, mt kms.MessageType, m []byte) {
		loop(b, name, func() error { _, err := key.Sign(alg, mt, m); return err })
	})
}

func BenchmarkVerify(b *testing.B) {
	eachSigning(b, func(name string, key *crypto.PrivateKey, alg kms.SigningAlgorithm, mt kms.MessageType, m []byte) {
		public, signature := key.Public(), signWith(b, key, alg, mt, m)
		loop(b, name, func() error { return public.Verify(alg, mt, m, signature) })
	})
}

func BenchmarkOAEP(b *testing.B) {
	for spec, limits := range oaepLimits {
		key := openFixture(b, spec)
		for alg := range limits {
			ciphertext, err := key.Public().Encrypt(alg, planted)
			if err != nil {
				b.Fatal(err)
			}
			loop(b, "Encrypt/"+string(spec)+"/"+string(alg), func() error { _, err := key.Public().Encrypt(alg, planted); return err })
			loop(b, "Decrypt/"+string(spec)+"/"+string(alg), func() error { _, err := key.Decrypt(alg, ciphertext); return err })
		}
	}
}

func BenchmarkDeriveSharedSecret(b *testing.B) {
	for _, spec := range []kms.KeySpec{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"} {
		key, peer := openFixture(b, spec), generate(b, spec).Public
		loop(b, string(spec), func() error { _, err := key.DeriveSharedSecret(peer); return err })
	}
}

func BenchmarkMLKEM(b *testing.B) {
	for _, spec := range []kms.KeySpec{"ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"} {
		key := openFixture(b, spec)
		_, ciphertext := encapsulate(b, key.Public())
		loop(b, "Encapsulate/"+string(spec), func() error { _, _, err := key.Public().Encapsulate(); return err })
		loop(b, "Decapsulate/"+string(spec), func() error { _, err := key.Decapsulate(ciphertext); return err })
	}
}

func BenchmarkMAC(b *testing.B) {
	for _, spec := range []kms.KeySpec{"HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512"} {
		key, alg := openMAC(b, spec, generate(b, spec).Secret), spec.MacAlgorithms()[0]
		mac, err := key.MAC(alg, benchMessage)
		if err != nil {
			b.Fatal(err)
		}
		loop(b, "MAC/"+string(spec), func() error { _, err := key.MAC(alg, benchMessage); return err })
		loop(b, "VerifyMAC/"+string(spec), func() error { return key.VerifyMAC(alg, benchMessage, mac) })
	}
}

// BenchmarkGenerateKey: RSA takes from a tenth of a second to seconds, as primes come.
func BenchmarkGenerateKey(b *testing.B) {
	for _, spec := range asymmetricSpecs {
		loop(b, string(spec), func() error { _, _, err := crypto.GenerateKey(spec); return err })
	}
}

// BenchmarkOpenKey is what a cache saves: of private keys, and of public ones.
func BenchmarkOpenKey(b *testing.B) {
	for _, spec := range asymmetricSpecs {
		key := fixture(b, spec)
		secret := make([]byte, len(key.Secret))
		loop(b, "Private/"+string(spec), func() error {
			copy(secret, key.Secret)
			_, err := crypto.OpenPrivateKey(spec, secret, key.Public)
			return err
		})
		loop(b, "Public/"+string(spec), func() error { _, err := crypto.ParsePublicKey(spec, key.Public); return err })
	}
}

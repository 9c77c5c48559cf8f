package canary

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
)

// seedSize is the length of the secret at the end of keys that crypto/x509 does not read,
// in bytes: seeds of ML-DSA (FIPS 204 §3.6.3), the second half of ML-KEM's (FIPS 203 §7.1),
// keys of 256 bits.
const seedSize = 32

// scalarHead is what stands before a scalar of 256 bits in RFC 5915's ECPrivateKey: the
// version, tag and length. crypto/x509 does not know secp256k1.
var scalarHead = []byte{2, 1, 1, 4, 32}

// PrivateKey returns the key and what makes it secret, each as a canary: of an RSA key the
// primes and exponents, of an ECDSA key the scalar, of an Ed25519 key the seed, numbers
// also in decimal. The key is DER PKCS #8; of any other secret, such as a
// seed, it returns the whole and the last 32 bytes. It panics when the secret has less
// than 12 bytes.
//
// What a program made of a key is not found otherwise: expanded keys, or the limbs of a
// number.
func PrivateKey(name string, key []byte) []Canary {
	out := []Canary{{name, key}}
	number := func(part string, n *big.Int) {
		digits := n.Bytes()[1:] // whole bytes even if the digits of a hexadecimal form are odd in number
		out = append(out, Canary{name + ": " + part, digits}, Canary{name + ": " + part + " in decimal", []byte(n.String())})
	}
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	switch parsed := parsed.(type) {
	case *rsa.PrivateKey:
		number("exponent", parsed.D)
		for i, p := range parsed.Primes {
			number(fmt.Sprint("prime ", i), p)
		}
		number("exponent of prime 0", parsed.Precomputed.Dp)
		number("exponent of prime 1", parsed.Precomputed.Dq)
		number("coefficient", parsed.Precomputed.Qinv)
	case *ecdsa.PrivateKey:
		scalar, err := parsed.Bytes()
		if err != nil {
			panic("kmsd: a key that was read cannot be written: " + err.Error())
		}
		number("scalar", new(big.Int).SetBytes(scalar))
	case ed25519.PrivateKey:
		out = append(out, Canary{name + ": seed", parsed.Seed()})
	default:
		if _, behind, found := bytes.Cut(key, scalarHead); found && len(behind) > seedSize {
			out = append(out, Canary{name + ": scalar", behind[:seedSize]})
		} else if err != nil && len(key) > seedSize {
			out = append(out, Canary{name + ": its end", key[len(key)-seedSize:]})
		}
	}
	return out
}

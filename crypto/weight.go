package crypto

import "github.com/kmsd/kmsd/kms"

// The memory that opened keys take, as multiples of a symmetric key's material. ML-DSA
// keeps the expanded matrix, and so takes a hundred kilobytes.
var (
	privateWeights = map[kms.KeySpec]int{
		kms.RSA2048: 15, kms.RSA3072: 20, kms.RSA4096: 26,
		kms.ECCNistP256: 5, kms.ECCNistP384: 5, kms.ECCNistP521: 6, kms.ECCSecgP256K1: 2, kms.ECCNistEdwards25519: 2,
		kms.MLDSA44: 350, kms.MLDSA65: 350, kms.MLDSA87: 350,
		kms.MLKEM512: 19, kms.MLKEM768: 55, kms.MLKEM1024: 90,
	}
	publicWeights = map[kms.KeySpec]int{
		kms.RSA2048: 4, kms.RSA3072: 4, kms.RSA4096: 5,
		kms.ECCNistP256: 2, kms.ECCNistP384: 2, kms.ECCNistP521: 3, kms.ECCSecgP256K1: 2, kms.ECCNistEdwards25519: 1,
		kms.MLDSA44: 16, kms.MLDSA65: 18, kms.MLDSA87: 20,
		kms.MLKEM512: 15, kms.MLKEM768: 27, kms.MLKEM1024: 43,
	}
)

const macWeight = 4

func (k *PrivateKey) weight() int { return privateWeights[k.Spec()] }

func (k *PublicKey) weight() int { return publicWeights[k.Spec()] }

func (*MACKey) weight() int { return macWeight }

package kms_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/kms"
)

// algorithms are the lists of a spec, one per usage, as AWS shows them.
type algorithms struct{ encrypt, sign, mac, agree, encapsulate string }

const (
	oaep   = "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256"
	rsassa = "RSASSA_PKCS1_V1_5_SHA_256 RSASSA_PKCS1_V1_5_SHA_384 RSASSA_PKCS1_V1_5_SHA_512 " +
		"RSASSA_PSS_SHA_256 RSASSA_PSS_SHA_384 RSASSA_PSS_SHA_512"
)

func TestAlgorithmsOfSpecs(t *testing.T) {
	t.Parallel()
	for spec, want := range map[kms.KeySpec]algorithms{
		"SYMMETRIC_DEFAULT":     {encrypt: "SYMMETRIC_DEFAULT"},
		"RSA_2048":              {encrypt: oaep, sign: rsassa},
		"RSA_3072":              {encrypt: oaep, sign: rsassa},
		"RSA_4096":              {encrypt: oaep, sign: rsassa},
		"ECC_NIST_P256":         {sign: "ECDSA_SHA_256", agree: "ECDH"},
		"ECC_NIST_P384":         {sign: "ECDSA_SHA_384", agree: "ECDH"},
		"ECC_NIST_P521":         {sign: "ECDSA_SHA_512", agree: "ECDH"},
		"ECC_SECG_P256K1":       {sign: "ECDSA_SHA_256"},
		"ECC_NIST_EDWARDS25519": {sign: "ED25519_SHA_512 ED25519_PH_SHA_512"},
		"HMAC_224":              {mac: "HMAC_SHA_224"},
		"HMAC_256":              {mac: "HMAC_SHA_256"},
		"HMAC_384":              {mac: "HMAC_SHA_384"},
		"HMAC_512":              {mac: "HMAC_SHA_512"},
		"ML_DSA_44":             {sign: "ML_DSA_SHAKE_256"},
		"ML_DSA_65":             {sign: "ML_DSA_SHAKE_256"},
		"ML_DSA_87":             {sign: "ML_DSA_SHAKE_256"},
		"ML_KEM_512":            {encapsulate: "ML_KEM"},
		"ML_KEM_768":            {encapsulate: "ML_KEM"},
		"ML_KEM_1024":           {encapsulate: "ML_KEM"},
		"SM2":                   {},
		"":                      {},
	} {
		got := algorithms{
			joined(spec.EncryptionAlgorithms()), joined(spec.SigningAlgorithms()), joined(spec.MacAlgorithms()),
			joined(spec.KeyAgreementAlgorithms()), joined(spec.EncapsulationAlgorithms()),
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(algorithms{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", spec, diff)
		}
	}
}

func joined[T ~string](names []T) string {
	var all []string
	for _, name := range names {
		all = append(all, string(name))
	}
	return strings.Join(all, " ")
}

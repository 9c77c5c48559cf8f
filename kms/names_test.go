package kms_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/kms"
)

func TestAsymmetric(t *testing.T) {
	t.Parallel()
	for specs, want := range map[string]bool{
		"SYMMETRIC_DEFAULT HMAC_224 HMAC_256 HMAC_384 HMAC_512 SM2":                       false,
		"RSA_2048 RSA_3072 RSA_4096":                                                      true,
		"ECC_NIST_P256 ECC_NIST_P384 ECC_NIST_P521 ECC_SECG_P256K1 ECC_NIST_EDWARDS25519": true,
		"ML_DSA_44 ML_DSA_65 ML_DSA_87 ML_KEM_512 ML_KEM_768 ML_KEM_1024":                 true,
	} {
		for spec := range strings.FieldsSeq(specs) {
			if kms.KeySpec(spec).Asymmetric() != want {
				t.Errorf("%s is asymmetric: %v, want %v", spec, !want, want)
			}
		}
	}
}

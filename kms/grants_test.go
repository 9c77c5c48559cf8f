package kms_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/kms"
)

// grantOperations are AWS's in the order of the API model: their bits are stored.
const grantOperations = "Decrypt Encrypt GenerateDataKey GenerateDataKeyWithoutPlaintext ReEncryptFrom ReEncryptTo Sign Verify GetPublicKey CreateGrant RetireGrant " +
	"DescribeKey GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext GenerateMac VerifyMac DeriveSharedSecret Encapsulate Decapsulate"

func TestGrantOperations(t *testing.T) {
	t.Parallel()
	names := strings.Fields(grantOperations)
	if got := kms.AllGrantOperations.Names(); !slices.Equal(got, names) {
		t.Errorf("got %v, want %v", got, names)
	}
	for i, name := range names {
		op := kms.GrantOperation(name)
		if op != 1<<i || !slices.Equal(op.Names(), []string{name}) || !kms.AllGrantOperations.Has(op) {
			t.Errorf("%s is %b, want bit %d", name, op, i)
		}
	}
	for _, name := range []string{"", "decrypt", "RevokeGrant", "ReEncrypt", "ListGrants"} {
		if got := kms.GrantOperation(name); got != 0 {
			t.Errorf("%q is %b", name, got)
		}
	}
	two := kms.GrantSign | kms.GrantVerify
	if !two.Has(0) || !two.Has(two) || !two.Has(kms.GrantSign) || kms.GrantSign.Has(two) || two.Has(kms.GrantSign|kms.GrantDecrypt) {
		t.Error("Has is no superset")
	}
}

// AWS KMS: "Grants in AWS KMS", the table of grant operations by type of key.
func TestGrantOperationsOfKeys(t *testing.T) {
	t.Parallel()
	const all = " CreateGrant RetireGrant DescribeKey"
	for _, c := range []struct{ specs, usage, want string }{
		{"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "Decrypt Encrypt GenerateDataKey GenerateDataKeyWithoutPlaintext GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext ReEncryptFrom ReEncryptTo"},
		{"RSA_2048 RSA_3072 RSA_4096", "ENCRYPT_DECRYPT", "Decrypt Encrypt ReEncryptFrom ReEncryptTo GetPublicKey"},
		{"RSA_2048 ECC_NIST_P256 ECC_SECG_P256K1 ECC_NIST_EDWARDS25519 ML_DSA_44", "SIGN_VERIFY", "Sign Verify GetPublicKey"},
		{"ECC_NIST_P256 ECC_NIST_P521", "KEY_AGREEMENT", "DeriveSharedSecret GetPublicKey"},
		{"HMAC_224 HMAC_512", "GENERATE_VERIFY_MAC", "GenerateMac VerifyMac"},
		{"ML_KEM_512 ML_KEM_1024", "ENCAPSULATE_DECAPSULATE", "Encapsulate Decapsulate GetPublicKey"},
	} {
		want := strings.Fields(c.want + all)
		slices.Sort(want)
		for _, spec := range strings.Fields(c.specs) {
			got := kms.KeySpec(spec).GrantOperations(kms.KeyUsage(c.usage)).Names()
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s %s: got %v, want %v", spec, c.usage, got, want)
			}
		}
	}
}

package kms

import "math/bits"

// GrantOperations is a set of the operations that a grant permits (AWS:
// GrantOperation). The bits are part of what is stored: they are append-only.
type GrantOperations uint32

// The operations, in the model's order.
const (
	GrantDecrypt GrantOperations = 1 << iota
	GrantEncrypt
	GrantGenerateDataKey
	GrantGenerateDataKeyWithoutPlaintext
	GrantReEncryptFrom
	GrantReEncryptTo
	GrantSign
	GrantVerify
	GrantGetPublicKey
	GrantCreateGrant
	GrantRetireGrant
	GrantDescribeKey
	GrantGenerateDataKeyPair
	GrantGenerateDataKeyPairWithoutPlaintext
	GrantGenerateMac
	GrantVerifyMac
	GrantDeriveSharedSecret
	GrantEncapsulate
	GrantDecapsulate

	grantEnd
	// AllGrantOperations are all that there are.
	AllGrantOperations = grantEnd - 1
)

// grantNames are the API's names, by the number of the bit.
var grantNames = [...]string{
	"Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "Sign", "Verify", "GetPublicKey",
	"CreateGrant", "RetireGrant", "DescribeKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "GenerateMac", "VerifyMac",
	"DeriveSharedSecret", "Encapsulate", "Decapsulate",
}

// GrantOperation returns the operation of the name, 0 for one that no grant permits.
func GrantOperation(name string) GrantOperations {
	for i, known := range grantNames {
		if known == name {
			return 1 << i
		}
	}
	return 0
}

// Names returns the operations' names in the model's order.
func (o GrantOperations) Names() []string {
	names := make([]string, 0, bits.OnesCount32(uint32(o)))
	for i, name := range grantNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// Has tells whether the set has all of the others.
func (o GrantOperations) Has(others GrantOperations) bool { return o&others == others }

// GrantOperations returns what grants on a key of this spec and usage may permit (AWS
// KMS: "Grants in AWS KMS", grant operations).
func (s KeySpec) GrantOperations(usage KeyUsage) GrantOperations {
	const all = GrantCreateGrant | GrantRetireGrant | GrantDescribeKey
	switch {
	case s == SymmetricDefault:
		return all | GrantDecrypt | GrantEncrypt | GrantReEncryptFrom | GrantReEncryptTo | GrantGenerateDataKey | GrantGenerateDataKeyWithoutPlaintext |
			GrantGenerateDataKeyPair | GrantGenerateDataKeyPairWithoutPlaintext
	case usage == EncryptDecrypt:
		return all | GrantDecrypt | GrantEncrypt | GrantReEncryptFrom | GrantReEncryptTo | GrantGetPublicKey
	case usage == SignVerify:
		return all | GrantSign | GrantVerify | GrantGetPublicKey
	case usage == KeyAgreement:
		return all | GrantDeriveSharedSecret | GrantGetPublicKey
	case usage == GenerateVerifyMac:
		return all | GrantGenerateMac | GrantVerifyMac
	case usage == EncapsulateDecapsulate:
		return all | GrantEncapsulate | GrantDecapsulate | GrantGetPublicKey
	}
	return all
}

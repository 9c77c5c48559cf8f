package kmsapi

import (
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/kms"
	wire "github.com/kmsd/kmsd/wire/kms"
)

// usages are the key usages that each key spec allows (AWS: CreateKey, KeyUsage).
var usages = func() map[string][]kms.KeyUsage {
	m := map[string][]kms.KeyUsage{string(kms.SymmetricDefault): {kms.EncryptDecrypt}}
	for _, row := range []struct {
		specs  string
		usages []kms.KeyUsage
	}{
		{"RSA_2048 RSA_3072 RSA_4096", []kms.KeyUsage{kms.EncryptDecrypt, kms.SignVerify}},
		{"ECC_NIST_P256 ECC_NIST_P384 ECC_NIST_P521", []kms.KeyUsage{kms.SignVerify, kms.KeyAgreement}},
		{"ECC_SECG_P256K1 ECC_NIST_EDWARDS25519 ML_DSA_44 ML_DSA_65 ML_DSA_87", []kms.KeyUsage{kms.SignVerify}},
		{"HMAC_224 HMAC_256 HMAC_384 HMAC_512", []kms.KeyUsage{kms.GenerateVerifyMac}},
		{"SM2", []kms.KeyUsage{kms.EncryptDecrypt, kms.SignVerify, kms.KeyAgreement}},
		{"ML_KEM_512 ML_KEM_768 ML_KEM_1024", []kms.KeyUsage{kms.EncapsulateDecapsulate}},
	} {
		for spec := range strings.FieldsSeq(row.specs) {
			m[spec] = row.usages
		}
	}
	return m
}()

// keySpec is the spec that the request asks for, under either of its names.
func keySpec(in *wire.CreateKeyRequest) string {
	switch {
	case in.KeySpec != "":
		return in.KeySpec
	case in.CustomerMasterKeySpec != "":
		return in.CustomerMasterKeySpec
	}
	return string(kms.SymmetricDefault)
}

// keyUsage is the usage that the request asks for; empty where it has to name one and
// does not.
func keyUsage(in *wire.CreateKeyRequest) kms.KeyUsage {
	if in.KeyUsage == "" && keySpec(in) == string(kms.SymmetricDefault) {
		return kms.EncryptDecrypt
	}
	return kms.KeyUsage(in.KeyUsage)
}

// checkCreateKey checks what needs no state, in AWS's order, and then refuses what
// AWS has and this version of kmsd has not.
func checkCreateKey(in *wire.CreateKeyRequest) error {
	for _, check := range []func(*wire.CreateKeyRequest) error{checkUsage, checkOrigin, checkServed, checkNewTags} {
		if err := check(in); err != nil {
			return err
		}
	}
	return nil
}

func checkUsage(in *wire.CreateKeyRequest) error {
	spec, usage := keySpec(in), kms.KeyUsage(in.KeyUsage)
	symmetric := spec == string(kms.SymmetricDefault)
	switch {
	case in.KeySpec != "" && in.CustomerMasterKeySpec != "":
		return invalid("You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	case usage == "" && !symmetric:
		return invalid("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
	case usage == "":
		return nil
	}
	for _, allowed := range usages[spec] {
		if usage == allowed {
			return nil
		}
	}
	if symmetric {
		return invalid("The operation failed because the KeyUsage value of the CMK is " + in.KeyUsage + ". To perform this operation, the KeyUsage value must be ENCRYPT_DECRYPT.")
	}
	return invalid("KeyUsage " + in.KeyUsage + " is not compatible with KeySpec " + spec)
}

// origin is the origin that the request asks for.
func origin(in *wire.CreateKeyRequest) string {
	if in.Origin == "" {
		return string(kms.OriginKMS)
	}
	return in.Origin
}

func checkOrigin(in *wire.CreateKeyRequest) error {
	origin := origin(in)
	inStore := origin == "AWS_CLOUDHSM" || origin == "EXTERNAL_KEY_STORE"
	switch {
	case inStore && in.CustomKeyStoreId == nil:
		return invalid("You must specify a CustomKeyStoreId for a KMS key with an Origin of " + origin + ".")
	case !inStore && in.CustomKeyStoreId != nil:
		return invalid("CustomKeyStoreId can be specified only with an Origin of AWS_CLOUDHSM or EXTERNAL_KEY_STORE.")
	case origin == "EXTERNAL_KEY_STORE" && in.XksKeyId == nil:
		return invalid("You must specify an XksKeyId for a KMS key with an Origin of EXTERNAL_KEY_STORE.")
	case origin != "EXTERNAL_KEY_STORE" && in.XksKeyId != nil:
		return invalid("XksKeyId can be specified only with an Origin of EXTERNAL_KEY_STORE.")
	case inStore:
		return errNoKeyStore
	}
	return nil
}

// checkServed refuses what this version does not create.
func checkServed(in *wire.CreateKeyRequest) error {
	switch {
	case keySpec(in) == "SM2":
		return unsupported("KeySpec SM2 is not supported in this region")
	case origin(in) == string(kms.OriginExternal) && !kms.KeySpec(keySpec(in)).Imports():
		return unsupported("KeySpec " + keySpec(in) + " is not supported for keys of Origin EXTERNAL.")
	}
	return nil
}

func checkNewTags(in *wire.CreateKeyRequest) error { return checkTags(in.Tags) }

func createKeyParams(in *wire.CreateKeyRequest, p *audit.Params) {
	p.OptString("description", in.Description)
	p.String("origin", origin(in))
	p.Bool("bypassPolicyLockoutSafetyCheck", isTrue(in.BypassPolicyLockoutSafetyCheck))
	p.String("customerMasterKeySpec", keySpec(in))
	p.String("keySpec", keySpec(in))
	if usage := keyUsage(in); usage != "" {
		p.String("keyUsage", string(usage))
	}
	p.OptString("customKeyStoreId", in.CustomKeyStoreId)
	p.OptBool("multiRegion", in.MultiRegion)
	p.OptString("policy", in.Policy)
	recordTags(p, in.Tags)
	p.OptString("xksKeyId", in.XksKeyId)
}

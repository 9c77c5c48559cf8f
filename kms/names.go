package kms

// Partition is the only ARN partition that kmsd serves.
const Partition = "aws"

// KeySpec names the type of a key's material (AWS: KeySpec).
type KeySpec string

// The key specs. AWS's SM2 is not among them: it belongs to its Regions in China.
const (
	SymmetricDefault KeySpec = "SYMMETRIC_DEFAULT"

	RSA2048 KeySpec = "RSA_2048"
	RSA3072 KeySpec = "RSA_3072"
	RSA4096 KeySpec = "RSA_4096"

	ECCNistP256         KeySpec = "ECC_NIST_P256"
	ECCNistP384         KeySpec = "ECC_NIST_P384"
	ECCNistP521         KeySpec = "ECC_NIST_P521"
	ECCSecgP256K1       KeySpec = "ECC_SECG_P256K1"
	ECCNistEdwards25519 KeySpec = "ECC_NIST_EDWARDS25519"

	HMAC224 KeySpec = "HMAC_224"
	HMAC256 KeySpec = "HMAC_256"
	HMAC384 KeySpec = "HMAC_384"
	HMAC512 KeySpec = "HMAC_512"

	MLDSA44 KeySpec = "ML_DSA_44"
	MLDSA65 KeySpec = "ML_DSA_65"
	MLDSA87 KeySpec = "ML_DSA_87"

	MLKEM512  KeySpec = "ML_KEM_512"
	MLKEM768  KeySpec = "ML_KEM_768"
	MLKEM1024 KeySpec = "ML_KEM_1024"
)

// Asymmetric tells whether keys of this spec have a public key.
func (s KeySpec) Asymmetric() bool {
	switch s {
	case RSA2048, RSA3072, RSA4096,
		ECCNistP256, ECCNistP384, ECCNistP521, ECCSecgP256K1, ECCNistEdwards25519,
		MLDSA44, MLDSA65, MLDSA87, MLKEM512, MLKEM768, MLKEM1024:
		return true
	}
	return false
}

// KeyUsage says what a key may do (AWS: KeyUsage).
type KeyUsage string

// The key usages.
const (
	EncryptDecrypt         KeyUsage = "ENCRYPT_DECRYPT"
	SignVerify             KeyUsage = "SIGN_VERIFY"
	GenerateVerifyMac      KeyUsage = "GENERATE_VERIFY_MAC"
	KeyAgreement           KeyUsage = "KEY_AGREEMENT"
	EncapsulateDecapsulate KeyUsage = "ENCAPSULATE_DECAPSULATE"
)

// KeyState is a key's state (AWS: "Key states of AWS KMS keys").
type KeyState string

// The key states.
const (
	Enabled                KeyState = "Enabled"
	Disabled               KeyState = "Disabled"
	PendingDeletion        KeyState = "PendingDeletion"
	PendingReplicaDeletion KeyState = "PendingReplicaDeletion"
	PendingImport          KeyState = "PendingImport"
	Unavailable            KeyState = "Unavailable"
	Creating               KeyState = "Creating"
	Updating               KeyState = "Updating"
)

// Origin says where a key's material comes from (AWS: OriginType).
type Origin string

// The origins.
const (
	OriginKMS      Origin = "AWS_KMS"
	OriginExternal Origin = "EXTERNAL"
)

// RotationType says why a key's material was replaced (AWS: RotationType).
type RotationType string

// The types of rotation.
const (
	RotationAutomatic RotationType = "AUTOMATIC"
	RotationOnDemand  RotationType = "ON_DEMAND"
)

// KeyManager says who manages a key (AWS: KeyManagerType).
type KeyManager string

// The managers.
const (
	ManagerCustomer KeyManager = "CUSTOMER"
	ManagerAWS      KeyManager = "AWS"
)

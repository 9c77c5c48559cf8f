package kms

// Partition is the only ARN partition that kmsd serves.
const Partition = "aws"

// KeySpec names the type of a key's material (AWS: KeySpec).
type KeySpec string

// The key specs that kmsd creates.
const (
	SymmetricDefault KeySpec = "SYMMETRIC_DEFAULT"
)

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

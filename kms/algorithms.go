package kms

// EncryptionAlgorithm names how a key encrypts (AWS: EncryptionAlgorithmSpec).
type EncryptionAlgorithm string

// The encryption algorithms.
const (
	EncryptSymmetricDefault EncryptionAlgorithm = "SYMMETRIC_DEFAULT"
	RSAESOAEPSHA1           EncryptionAlgorithm = "RSAES_OAEP_SHA_1"
	RSAESOAEPSHA256         EncryptionAlgorithm = "RSAES_OAEP_SHA_256"
)

// SigningAlgorithm names how a key signs (AWS: SigningAlgorithmSpec).
type SigningAlgorithm string

// The signing algorithms.
const (
	RSASSAPKCS1SHA256 SigningAlgorithm = "RSASSA_PKCS1_V1_5_SHA_256"
	RSASSAPKCS1SHA384 SigningAlgorithm = "RSASSA_PKCS1_V1_5_SHA_384"
	RSASSAPKCS1SHA512 SigningAlgorithm = "RSASSA_PKCS1_V1_5_SHA_512"
	RSASSAPSSSHA256   SigningAlgorithm = "RSASSA_PSS_SHA_256"
	RSASSAPSSSHA384   SigningAlgorithm = "RSASSA_PSS_SHA_384"
	RSASSAPSSSHA512   SigningAlgorithm = "RSASSA_PSS_SHA_512"
	ECDSASHA256       SigningAlgorithm = "ECDSA_SHA_256"
	ECDSASHA384       SigningAlgorithm = "ECDSA_SHA_384"
	ECDSASHA512       SigningAlgorithm = "ECDSA_SHA_512"
	Ed25519SHA512     SigningAlgorithm = "ED25519_SHA_512"
	Ed25519PHSHA512   SigningAlgorithm = "ED25519_PH_SHA_512"
	MLDSAShake256     SigningAlgorithm = "ML_DSA_SHAKE_256"
)

// MessageType says what the message of a signature is (AWS: MessageType).
type MessageType string

// The message types.
const (
	// MessageRaw is the message itself.
	MessageRaw MessageType = "RAW"
	// MessageDigest is the message's hash, made with the algorithm's hash function.
	MessageDigest MessageType = "DIGEST"
	// MessageExternalMu is the 64 bytes μ of FIPS 204, algorithm 7, line 6.
	MessageExternalMu MessageType = "EXTERNAL_MU"
)

// MacAlgorithm names how a key authenticates messages (AWS: MacAlgorithmSpec).
type MacAlgorithm string

// The MAC algorithms.
const (
	HMACSHA224 MacAlgorithm = "HMAC_SHA_224"
	HMACSHA256 MacAlgorithm = "HMAC_SHA_256"
	HMACSHA384 MacAlgorithm = "HMAC_SHA_384"
	HMACSHA512 MacAlgorithm = "HMAC_SHA_512"
)

// KeyAgreementAlgorithm names how a shared secret is derived (AWS:
// KeyAgreementAlgorithmSpec).
type KeyAgreementAlgorithm string

// The key agreement algorithm.
const ECDH KeyAgreementAlgorithm = "ECDH"

// EncapsulationAlgorithm names how a shared secret is encapsulated (AWS:
// EncapsulationAlgorithmSpec).
type EncapsulationAlgorithm string

// The encapsulation algorithm.
const MLKEM EncapsulationAlgorithm = "ML_KEM"

// EncryptionAlgorithms returns the algorithms of a key of this spec whose usage is
// EncryptDecrypt, in AWS's order; none if there can be no such key.
func (s KeySpec) EncryptionAlgorithms() []EncryptionAlgorithm {
	switch s {
	case SymmetricDefault:
		return []EncryptionAlgorithm{EncryptSymmetricDefault}
	case RSA2048, RSA3072, RSA4096:
		return []EncryptionAlgorithm{RSAESOAEPSHA1, RSAESOAEPSHA256}
	}
	return nil
}

// SigningAlgorithms is EncryptionAlgorithms for the usage SignVerify.
func (s KeySpec) SigningAlgorithms() []SigningAlgorithm {
	switch s {
	case RSA2048, RSA3072, RSA4096:
		return []SigningAlgorithm{
			RSASSAPKCS1SHA256, RSASSAPKCS1SHA384, RSASSAPKCS1SHA512,
			RSASSAPSSSHA256, RSASSAPSSSHA384, RSASSAPSSSHA512,
		}
	case ECCNistP256, ECCSecgP256K1:
		return []SigningAlgorithm{ECDSASHA256}
	case ECCNistP384:
		return []SigningAlgorithm{ECDSASHA384}
	case ECCNistP521:
		return []SigningAlgorithm{ECDSASHA512}
	case ECCNistEdwards25519:
		return []SigningAlgorithm{Ed25519SHA512, Ed25519PHSHA512}
	case MLDSA44, MLDSA65, MLDSA87:
		return []SigningAlgorithm{MLDSAShake256}
	}
	return nil
}

// MacAlgorithms is EncryptionAlgorithms for the usage GenerateVerifyMac.
func (s KeySpec) MacAlgorithms() []MacAlgorithm {
	switch s {
	case HMAC224:
		return []MacAlgorithm{HMACSHA224}
	case HMAC256:
		return []MacAlgorithm{HMACSHA256}
	case HMAC384:
		return []MacAlgorithm{HMACSHA384}
	case HMAC512:
		return []MacAlgorithm{HMACSHA512}
	}
	return nil
}

// KeyAgreementAlgorithms is EncryptionAlgorithms for the usage KeyAgreement.
func (s KeySpec) KeyAgreementAlgorithms() []KeyAgreementAlgorithm {
	switch s {
	case ECCNistP256, ECCNistP384, ECCNistP521:
		return []KeyAgreementAlgorithm{ECDH}
	}
	return nil
}

// EncapsulationAlgorithms is EncryptionAlgorithms for the usage
// EncapsulateDecapsulate.
func (s KeySpec) EncapsulationAlgorithms() []EncapsulationAlgorithm {
	switch s {
	case MLKEM512, MLKEM768, MLKEM1024:
		return []EncapsulationAlgorithm{MLKEM}
	}
	return nil
}

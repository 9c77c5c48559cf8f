package kmsapi_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

func serialization(message string) outcome { return outcome{"SerializationException", message} }

const (
	structureFound = "Start of structure or map found where not expected"
	listFound      = "Start of list found where not expected"
	numberToText   = "NUMBER_VALUE cannot be converted to String"
	trueToText     = "TRUE_VALUE cannot be converted to String"
	textToInteger  = "STRING_VALUE cannot be converted to Integer"
	textToBoolean  = "STRING_VALUE cannot be converted to Boolean"
	algorithms     = "[SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE]"
	// The enum of SigningAlgorithmSpec in the model's order.
	signingAlgorithms = "[RSASSA_PSS_SHA_256, RSASSA_PSS_SHA_384, RSASSA_PSS_SHA_512, RSASSA_PKCS1_V1_5_SHA_256, RSASSA_PKCS1_V1_5_SHA_384, RSASSA_PKCS1_V1_5_SHA_512, " +
		"ECDSA_SHA_256, ECDSA_SHA_384, ECDSA_SHA_512, SM2DSA, ML_DSA_SHAKE_256, ED25519_SHA_512, ED25519_PH_SHA_512]"
	// The enum of KeySpec in the order in which it was published, and what is
	// younger in the model's.
	keySpecs = "[RSA_2048, ECC_NIST_P384, ECC_NIST_P256, ECC_NIST_P521, HMAC_384, RSA_3072, ECC_SECG_P256K1, RSA_4096, SYMMETRIC_DEFAULT, HMAC_256, HMAC_224, HMAC_512, SM2, " +
		"ML_DSA_44, ML_DSA_65, ML_DSA_87, ECC_NIST_EDWARDS25519, ML_KEM_512, ML_KEM_768, ML_KEM_1024]"
	pairSpecs = "[RSA_2048, RSA_3072, RSA_4096, ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521, ECC_SECG_P256K1, SM2, ECC_NIST_EDWARDS25519, ML_KEM_512, ML_KEM_768, ML_KEM_1024]"
)

// grantEnum is the enum of GrantOperation in the model's order.
const grantEnum = "[Decrypt, Encrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, ReEncryptFrom, ReEncryptTo, Sign, Verify, GetPublicKey, CreateGrant, RetireGrant, DescribeKey, " +
	"GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, GenerateMac, VerifyMac, DeriveSharedSecret, Encapsulate, Decapsulate]"

func notInEnum(value, member, enum string) outcome {
	return constraint("Value '" + value + "' at '" + member + "' failed to satisfy constraint: Member must satisfy enum value set: " + enum)
}

// notObjects are bodies that no operation takes.
var notObjects = []struct {
	body string
	want outcome
}{
	{`x`, serialization("")}, {`{`, serialization("")}, {`{"KeyId"`, serialization("")}, {`{"KeyId":}`, serialization("")}, {`{} {}`, serialization("")}, {`{},`, serialization("")},
	{`{"A":1,}`, serialization("")}, {`{'A':1}`, serialization("")}, {"{\"A\":\"\xff\"}", serialization("")}, {`{"A":"\ud800"}`, serialization("")}, {"{\"A\":\"\n\"}", serialization("")},
	{`null`, serialization("Unexpected value type in payload")}, {`[]`, serialization(listFound)}, {`"x"`, serialization("Unexpected value type in payload")}, {`7`, serialization("Unexpected value type in payload")},
}

// malformed are bodies that are wrong for one operation.
var malformed = []struct {
	op, body string
	want     outcome
}{
	{"CreateKey", `{"Description":7}`, serialization(numberToText)},
	{"CreateKey", `{"Description":{}}`, serialization(structureFound)},
	{"CreateKey", `{"Description":[]}`, serialization(listFound)},
	{"CreateKey", `{"MultiRegion":"true"}`, serialization(textToBoolean)},
	{"CreateKey", `{"MultiRegion":1}`, serialization("NUMBER_VALUE cannot be converted to Boolean")},
	{"CreateKey", `{"Tags":{}}`, serialization(structureFound)},
	{"CreateKey", `{"Tags":["x"]}`, serialization("Unexpected value type in payload")},
	{"CreateKey", `{"KeySpec":"AES_256"}`, notInEnum("AES_256", "keySpec", keySpecs)},
	{"CreateKey", `{"KeyUsage":"ENCRYPT"}`, notInEnum("ENCRYPT", "keyUsage", "[SIGN_VERIFY, ENCRYPT_DECRYPT, GENERATE_VERIFY_MAC, KEY_AGREEMENT, ENCAPSULATE_DECAPSULATE]")},
	{"CreateKey", `{"Origin":""}`, notInEnum("", "origin", "[AWS_KMS, EXTERNAL, AWS_CLOUDHSM, EXTERNAL_KEY_STORE]")},
	{"CreateKey", `{"Policy":""}`, validation(`2 validation errors detected: Value '' at 'policy' failed to satisfy constraint: Member must have length greater than or equal to 1; ` +
		`Value '' at 'policy' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`)},
	{"CreateKey", `{"Tags":[{}]}`, validation("2 validation errors detected: Value null at 'tags.1.member.tagKey' failed to satisfy constraint: Member must not be null; " +
		"Value null at 'tags.1.member.tagValue' failed to satisfy constraint: Member must not be null")},
	{"DescribeKey", `{}`, missing("keyId")},
	{"DescribeKey", ``, missing("keyId")},
	{"DescribeKey", `{"KeyId":null}`, missing("keyId")},
	{"DescribeKey", `{"keyId":"$ID"}`, missing("keyId")},
	{"DescribeKey", `{"KeyId":true}`, serialization(trueToText)},
	{"DescribeKey", `{"KeyId":"$ID","GrantTokens":"x"}`, serialization("Unexpected value type in payload")},
	{"ListKeys", `{"Limit":"7"}`, serialization(textToInteger)},
	{"ListKeys", `{"Limit":7.5}`, serialization("NUMBER_VALUE cannot be converted to Integer")},
	{"ListKeys", `{"Limit":true}`, serialization("TRUE_VALUE cannot be converted to Integer")},
	{"ListKeys", `{"Limit":0}`, constraint("Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1")},
	{"ListKeys", `{"Limit":1001}`, constraint("Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000")},
	{"ListKeys", `{"Marker":""}`, constraint("Value '' at 'marker' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"EnableKey", `{}`, missing("keyId")},
	{"EnableKey", `{"KeyId":{"x":1}}`, serialization(structureFound)},
	{"DisableKey", `{"KeyId":""}`, constraint("Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"DisableKey", `{"KeyId":false}`, serialization("FALSE_VALUE cannot be converted to String")},
	{"Encrypt", `{"KeyId":"$ID"}`, missing("plaintext")},
	{"Encrypt", `{}`, validation("2 validation errors detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null; " +
		"Value null at 'plaintext' failed to satisfy constraint: Member must not be null")},
	{"Encrypt", `{"KeyId":"$ID","Plaintext":7}`, serialization("NUMBER_VALUE cannot be converted to Blob")},
	{"Encrypt", `{"KeyId":"$ID","Plaintext":"A"}`, serialization("Payload holds a blob that is not valid base64")},
	{"Encrypt", `{"KeyId":"$ID","Plaintext":"_-8="}`, serialization("Payload holds a blob that is not valid base64")},
	{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA==\n"}`, serialization("Payload holds a blob that is not valid base64")},
	{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA==","EncryptionContext":[]}`, serialization(listFound)},
	{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA==","EncryptionContext":{"a":{}}}`, serialization(structureFound)},
	{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA==","EncryptionContext":{"a":[]}}`, serialization(listFound)},
	{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA==","EncryptionAlgorithm":"AES"}`, notInEnum("AES", "encryptionAlgorithm", algorithms)},
	{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA==","DryRun":"yes"}`, serialization(textToBoolean)},
	{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA==","GrantTokens":[""]}`,
		constraint("Value at 'grantTokens' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 8192, Member must have length greater than or equal to 1]")},
	{"Decrypt", `{}`, missing("ciphertextBlob")},
	{"Decrypt", `{"CiphertextBlob":""}`, constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=0 cap=0]' at 'ciphertextBlob' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"Decrypt", `{"CiphertextBlob":"*"}`, serialization("Payload holds a blob that is not valid base64")},
	{"Decrypt", `{"CiphertextBlob":"$BLOB","Recipient":"x"}`, serialization("Unexpected value type in payload")},
	{"Decrypt", `{"CiphertextBlob":"$BLOB","Recipient":{"KeyEncryptionAlgorithm":"x"}}`, notInEnum("x", "recipient.keyEncryptionAlgorithm", "[RSAES_OAEP_SHA_256]")},
	{"ReEncrypt", `{"CiphertextBlob":"$BLOB"}`, missing("destinationKeyId")},
	{"ReEncrypt", `{"CiphertextBlob":"$BLOB","DestinationKeyId":7}`, serialization(numberToText)},
	{"ReEncrypt", `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$ID","SourceEncryptionAlgorithm":"AES"}`, notInEnum("AES", "sourceEncryptionAlgorithm", algorithms)},
	{"GenerateDataKey", `{"KeyId":"$ID","KeySpec":"AES_512"}`, notInEnum("AES_512", "keySpec", keySpecs)},
	{"GenerateDataKey", `{"KeyId":"$ID","NumberOfBytes":"32"}`, serialization(textToInteger)},
	{"GenerateDataKeyPair", `{"KeyId":"$ID"}`, missing("keyPairSpec")},
	{"GenerateDataKeyPair", `{"KeyPairSpec":"RSA_2048"}`, missing("keyId")},
	{"GenerateDataKeyPair", `{"KeyId":"$ID","KeyPairSpec":"RSA_1024"}`, notInEnum("RSA_1024", "keyPairSpec", pairSpecs)},
	{"GenerateDataKeyPair", `{"KeyId":"$ID","KeyPairSpec":"ML_DSA_44"}`, notInEnum("ML_DSA_44", "keyPairSpec", pairSpecs)},
	{"GenerateDataKeyPair", `{"KeyId":"$ID","KeyPairSpec":7}`, serialization(numberToText)},
	{"GenerateDataKeyPairWithoutPlaintext", `{"KeyId":"$ID"}`, missing("keyPairSpec")},
	{"GenerateDataKeyPairWithoutPlaintext", `{"KeyPairSpec":"RSA_2048"}`, missing("keyId")},
	{"GenerateDataKeyPairWithoutPlaintext", `{"KeyId":"$ID","KeyPairSpec":"SYMMETRIC_DEFAULT"}`, notInEnum("SYMMETRIC_DEFAULT", "keyPairSpec", pairSpecs)},
	{"GenerateDataKeyWithoutPlaintext", `{"KeyId":"$ID","KeySpec":"AES_512"}`, notInEnum("AES_512", "keySpec", "[AES_256, AES_128]")},
	{"GenerateDataKeyWithoutPlaintext", `{"KeySpec":"AES_128"}`, missing("keyId")},
	{"GenerateRandom", `{"NumberOfBytes":[]}`, serialization(listFound)},
	{"GenerateRandom", `{"NumberOfBytes":1e99}`, serialization("NUMBER_VALUE cannot be converted to Integer")},
	{"GenerateRandom", `{"NumberOfBytes":1,"CustomKeyStoreId":""}`, constraint("Value '' at 'customKeyStoreId' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"CreateAlias", `{"AliasName":"","TargetKeyId":null}`, validation("3 validation errors detected: Value '' at 'aliasName' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
		"Value '' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$; Value null at 'targetKeyId' failed to satisfy constraint: Member must not be null")},
	{"CreateAlias", `{"AliasName":{},"TargetKeyId":"$ID"}`, serialization(structureFound)},
	{"UpdateAlias", `{"AliasName":"alias/app"}`, missing("targetKeyId")},
	{"UpdateAlias", `{"TargetKeyId":"$ID"}`, missing("aliasName")},
	{"DeleteAlias", `{}`, missing("aliasName")},
	{"DeleteAlias", `{"AliasName":7}`, serialization(numberToText)},
	{"ListAliases", `{"KeyId":""}`, constraint("Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"ListAliases", `{"Marker":7}`, serialization(numberToText)},
	{"GetKeyPolicy", `{"PolicyName":"default"}`, missing("keyId")},
	{"GetKeyPolicy", `{"KeyId":"$ID","PolicyName":""}`, validation(`2 validation errors detected: Value '' at 'policyName' failed to satisfy constraint: Member must have length greater than or equal to 1; ` +
		`Value '' at 'policyName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w]+`)},
	{"ScheduleKeyDeletion", `{"PendingWindowInDays":7}`, missing("keyId")},
	{"ScheduleKeyDeletion", `{"KeyId":"$ID","PendingWindowInDays":0}`, constraint("Value '0' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value greater than or equal to 1")},
	{"ScheduleKeyDeletion", `{"KeyId":"$ID","PendingWindowInDays":366}`, constraint("Value '366' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value less than or equal to 365")},
	{"ScheduleKeyDeletion", `{"KeyId":"$ID","PendingWindowInDays":"7"}`, serialization(textToInteger)},
	{"ScheduleKeyDeletion", `{"KeyId":"$ID","PendingWindowInDays":1}`, validation("PendingWindowInDays must be between 7 and 30.")},
	{"ScheduleKeyDeletion", `{"KeyId":"$ID","PendingWindowInDays":6}`, validation("PendingWindowInDays must be between 7 and 30.")},
	{"ScheduleKeyDeletion", `{"KeyId":"$ID","PendingWindowInDays":31}`, validation("PendingWindowInDays must be between 7 and 30.")},
	{"ScheduleKeyDeletion", `{"KeyId":"$ID","PendingWindowInDays":365}`, validation("PendingWindowInDays must be between 7 and 30.")},
	{"DeleteImportedKeyMaterial", `{}`, missing("keyId")},
	{"GetParametersForImport", `{"KeyId":7}`, serialization(numberToText)},
	{"ImportKeyMaterial", `{"KeyId":7}`, serialization(numberToText)},
	{"CancelKeyDeletion", `{}`, missing("keyId")},
	{"CancelKeyDeletion", `{"KeyId":7}`, serialization(numberToText)},
	{"UpdateKeyDescription", `{"KeyId":"$ID"}`, missing("description")},
	{"UpdateKeyDescription", `{"Description":"x"}`, missing("keyId")},
	{"UpdateKeyDescription", `{"KeyId":"$ID","Description":"` + strings.Repeat("a", 8193) + `"}`,
		constraint("Value '" + strings.Repeat("a", 8193) + "' at 'description' failed to satisfy constraint: Member must have length less than or equal to 8192")},
	{"EnableKeyRotation", `{}`, missing("keyId")},
	{"EnableKeyRotation", `{"KeyId":"$ID","RotationPeriodInDays":89}`, constraint("Value '89' at 'rotationPeriodInDays' failed to satisfy constraint: Member must have value greater than or equal to 90")},
	{"EnableKeyRotation", `{"KeyId":"$ID","RotationPeriodInDays":2561}`, constraint("Value '2561' at 'rotationPeriodInDays' failed to satisfy constraint: Member must have value less than or equal to 2560")},
	{"DisableKeyRotation", `{}`, missing("keyId")},
	{"GetKeyRotationStatus", `{}`, missing("keyId")},
	{"RotateKeyOnDemand", `{}`, missing("keyId")},
	{"ListKeyRotations", `{}`, missing("keyId")},
	{"ListKeyRotations", `{"KeyId":"$ID","IncludeKeyMaterial":"NONE"}`, notInEnum("NONE", "includeKeyMaterial", "[ALL_KEY_MATERIAL, ROTATIONS_ONLY]")},
	{"ListKeyRotations", `{"KeyId":"$ID","Limit":1001}`, constraint("Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000")},
	{"ReplicateKey", `{"KeyId":"$ID"}`, missing("replicaRegion")},
	{"ReplicateKey", `{"ReplicaRegion":"eu-west-1"}`, missing("keyId")},
	{"ReplicateKey", `{"KeyId":"$ID","ReplicaRegion":"Europe"}`, constraint(`Value 'Europe' at 'replicaRegion' failed to satisfy constraint: Member must satisfy regular expression pattern: ^([a-z]+-){2,3}\d+$`)},
	{"ReplicateKey", `{"KeyId":"$ID","ReplicaRegion":"eu-west-1","Tags":[{"TagKey":"a","TagValue":""},{"TagKey":"a","TagValue":""}]}`, outcome{"TagException", "Duplicate tag keys"}},
	{"UpdatePrimaryRegion", `{"KeyId":"$ID"}`, missing("primaryRegion")},
	{"UpdatePrimaryRegion", `{"PrimaryRegion":"eu-west-1"}`, missing("keyId")},
	{"UpdatePrimaryRegion", `{"KeyId":"$ID","PrimaryRegion":["eu-west-1"]}`, serialization(listFound)},
	{"TagResource", `{"KeyId":"$ID"}`, missing("tags")},
	{"TagResource", `{"KeyId":"$ID","Tags":[{"TagKey":"a"}]}`, missing("tags.1.member.tagValue")},
	{"TagResource", `{"KeyId":"$ID","Tags":[{"TagKey":"","TagValue":""}]}`, constraint("Value '' at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"TagResource", `{"KeyId":"$ID","Tags":[{"TagKey":"` + strings.Repeat("a", 129) + `","TagValue":""}]}`,
		constraint("Value '" + strings.Repeat("a", 129) + "' at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length less than or equal to 128")},
	{"TagResource", `{"KeyId":"$ID","Tags":[{"TagKey":"a","TagValue":"` + strings.Repeat("a", 257) + `"}]}`,
		constraint("Value '" + strings.Repeat("a", 257) + "' at 'tags.1.member.tagValue' failed to satisfy constraint: Member must have length less than or equal to 256")},
	{"UntagResource", `{"KeyId":"$ID"}`, missing("tagKeys")},
	{"UntagResource", `{"KeyId":"$ID","TagKeys":[7]}`, serialization(numberToText)},
	{"ListResourceTags", `{}`, missing("keyId")},
	{"ListResourceTags", `{"KeyId":"$ID","Limit":0}`, constraint("Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1")},
	{"ListKeyPolicies", `{}`, missing("keyId")},
	{"GetKeyLastUsage", `{}`, missing("keyId")},
	{"GetPublicKey", `{}`, missing("keyId")},
	{"GetPublicKey", `{"KeyId":7}`, serialization(numberToText)},
	{"GetPublicKey", `{"KeyId":"$ID","GrantTokens":"x"}`, serialization("Unexpected value type in payload")},
	{"GetKeyLastUsage", `{"KeyId":7}`, serialization(numberToText)},
	{"Sign", `{"KeyId":"$ID","SigningAlgorithm":"ECDSA_SHA_256"}`, missing("message")},
	{"Sign", `{"KeyId":"$ID","Message":"AA=="}`, missing("signingAlgorithm")},
	{"Sign", `{"KeyId":"$ID","Message":"AA==","SigningAlgorithm":"ECDSA"}`, notInEnum("ECDSA", "signingAlgorithm", signingAlgorithms)},
	{"Sign", `{"KeyId":"$ID","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256","MessageType":"raw"}`, notInEnum("raw", "messageType", "[RAW, DIGEST, EXTERNAL_MU]")},
	{"Sign", `{"KeyId":"$ID","Message":"","SigningAlgorithm":"ECDSA_SHA_256"}`,
		constraint("Value at 'message' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"Sign", `{"KeyId":"$ID","Message":"` + bytesOf(4097) + `","SigningAlgorithm":"ECDSA_SHA_256"}`,
		constraint("Value at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096")},
	{"Verify", `{"KeyId":"$ID","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256"}`, missing("signature")},
	{"Verify", `{"KeyId":"$ID","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256","Signature":""}`,
		constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=0 cap=0]' at 'signature' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"Verify", `{"KeyId":"$ID","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256","Signature":"` + bytesOf(6145) + `"}`,
		constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=6145 cap=6145]' at 'signature' failed to satisfy constraint: Member must have length less than or equal to 6144")},
	{"Verify", `{"KeyId":"$ID","Message":"A","SigningAlgorithm":"ECDSA_SHA_256","Signature":"AA=="}`, serialization("Payload holds a blob that is not valid base64")},
	{"DeriveSharedSecret", `{"KeyId":"$ID","PublicKey":"AA=="}`, missing("keyAgreementAlgorithm")},
	{"DeriveSharedSecret", `{"KeyId":"$ID","KeyAgreementAlgorithm":"ECDH"}`, missing("publicKey")},
	{"DeriveSharedSecret", `{"KeyId":"$ID","KeyAgreementAlgorithm":"X25519","PublicKey":"AA=="}`, notInEnum("X25519", "keyAgreementAlgorithm", "[ECDH]")},
	{"DeriveSharedSecret", `{"KeyId":"$ID","KeyAgreementAlgorithm":"ECDH","PublicKey":""}`,
		constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=0 cap=0]' at 'publicKey' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"DeriveSharedSecret", `{"KeyId":"$ID","KeyAgreementAlgorithm":"ECDH","PublicKey":"` + bytesOf(8193) + `"}`,
		constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=8193 cap=8193]' at 'publicKey' failed to satisfy constraint: Member must have length less than or equal to 8192")},
	{"Encapsulate", `{"KeyId":"$ID"}`, missing("encapsulationAlgorithm")},
	{"Encapsulate", `{"KeyId":"$ID","EncapsulationAlgorithm":"ML_KEM_768"}`, notInEnum("ML_KEM_768", "encapsulationAlgorithm", "[ML_KEM]")},
	{"Decapsulate", `{"KeyId":"$ID","EncapsulationAlgorithm":"ML_KEM"}`, missing("sharedSecretCiphertextBlob")},
	{"Decapsulate", `{"KeyId":"$ID","SharedSecretCiphertextBlob":"AA=="}`, missing("encapsulationAlgorithm")},
	{"Decapsulate", `{"KeyId":"$ID","EncapsulationAlgorithm":"ML_KEM","SharedSecretCiphertextBlob":"` + bytesOf(6145) + `"}`,
		constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=6145 cap=6145]' at 'sharedSecretCiphertextBlob' failed to satisfy constraint: Member must have length less than or equal to 6144")},
	{"GenerateMac", `{"KeyId":"$ID","MacAlgorithm":"HMAC_SHA_256"}`, missing("message")},
	{"GenerateMac", `{"KeyId":"$ID","Message":"AA==","MacAlgorithm":"HMAC_SHA_1"}`, notInEnum("HMAC_SHA_1", "macAlgorithm", "[HMAC_SHA_224, HMAC_SHA_256, HMAC_SHA_384, HMAC_SHA_512]")},
	{"GenerateMac", `{"KeyId":"$ID","Message":"` + bytesOf(4097) + `","MacAlgorithm":"HMAC_SHA_256"}`,
		constraint("Value at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096")},
	{"VerifyMac", `{"KeyId":"$ID","Message":"AA==","MacAlgorithm":"HMAC_SHA_256"}`, missing("mac")},
	{"VerifyMac", `{"KeyId":"$ID","Message":"AA==","MacAlgorithm":"HMAC_SHA_256","Mac":"` + bytesOf(6145) + `"}`,
		constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=6145 cap=6145]' at 'mac' failed to satisfy constraint: Member must have length less than or equal to 6144")},
	{"CreateGrant", `{"KeyId":"$ID","GranteePrincipal":"999999999999"}`, missing("operations")},
	{"CreateGrant", `{"KeyId":"$ID","GranteePrincipal":"999999999999","Operations":["Decrypt","decrypt"]}`, constraint("Value '[Decrypt, decrypt]' at 'operations' failed to satisfy constraint: " +
		"Member must satisfy constraint: [Member must satisfy enum value set: " + grantEnum + "]")},
	{"CreateGrant", `{"KeyId":"$ID","GranteePrincipal":"a b","Operations":["Decrypt"]}`, constraint(`Value 'a b' at 'granteePrincipal' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[\w+=,.@:/-]+$`)},
	{"CreateGrant", `{"KeyId":"$ID","GranteePrincipal":"999999999999","Operations":["Decrypt"],"Name":"a b"}`, constraint("Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")},
	{"ListGrants", `{}`, missing("keyId")},
	{"ListGrants", `{"KeyId":"$ID","GrantId":""}`, constraint("Value '' at 'grantId' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"ListRetirableGrants", `{"Limit":0}`, constraint("Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1")},
	{"RetireGrant", `{"GrantToken":7}`, serialization(numberToText)},
	{"RetireGrant", `{"GrantToken":""}`, constraint("Value at 'grantToken' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"RevokeGrant", `{"KeyId":"$ID"}`, missing("grantId")},
	{"PutKeyPolicy", `{"KeyId":"$ID"}`, missing("policy")},
	{"PutKeyPolicy", `{"KeyId":"$ID","Policy":"{}","PolicyName":"other"}`, notFound("No such policy exists")},
	{"PutKeyPolicy", `{"KeyId":"$ID","Policy":"{"}`, outcome{"MalformedPolicyDocumentException", "Policy contains invalid json"}},
	{"PutKeyPolicy", `{"KeyId":"$ID","Policy":"{\"Statement\":[]}"}`, outcome{"MalformedPolicyDocumentException", "Syntax errors in policy."}},
	{"PutKeyPolicy", `{"KeyId":"$ID","Policy":"` + strings.Repeat(" ", 32769) + `"}`, outcome{"LimitExceededException", "The key policy exceeds the size limit of 32768 bytes."}},
	{"ListKeyPolicies", `{"KeyId":"$ID","Limit":1001}`, constraint("Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000")},
}

// A malformed request has its documented error, changes nothing and is recorded.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	names := []string{"$ID", key, "$BLOB", s.NewBlob(t, key)}
	before := s.Machine.Digest()
	called := map[string]bool{}
	for _, row := range malformed {
		called[row.op] = true
		t.Run(row.op+" "+row.body, func(t *testing.T) {
			a := s.Call(t, testkit.Root, row.op, fill(row.body, names...))
			wantOutcome(t, a, outcome{row.want.code, fill(row.want.message, names...)})
			if s.Record(t, a)["errorCode"] != row.want.code {
				t.Error("not recorded")
			}
		})
	}
	for _, row := range rowCases {
		if !called[row.name] {
			t.Errorf("no malformed request for %s", row.name)
		}
		for _, bad := range notObjects {
			t.Run(row.name+" "+strings.ToValidUTF8(bad.body, "?"), func(t *testing.T) {
				wantOutcome(t, s.Call(t, testkit.Root, row.name, bad.body), bad.want)
			})
		}
	}
	if s.Machine.Digest() != before {
		t.Error("malformed requests changed the state")
	}
}

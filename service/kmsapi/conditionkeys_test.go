package kmsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// conditionCase is a condition key (AWS KMS: "AWS KMS condition keys"; IAM: "AWS global
// condition context keys") in a call that has it with the value. other is a value that
// it does not have there, absent the body of a call that does not have the key.
type conditionCase struct {
	key, op, body          string
	operator, value, other string
	absent                 string
	// action is what the condition stands on where the operation has two.
	action string
	// identityOnly tells that key policies do not have the key.
	identityOnly bool
	// unlet tells that the key's policy lets nobody do it.
	unlet bool
	// result is what the call is answered when it is allowed; success if empty.
	result string
}

// Bodies that several rows have: by the alias of the key, by its id, by the id of a key
// without aliases and tags.
const (
	byAlias  = `{"KeyId":"alias/app"}`
	byARN    = `{"KeyId":"arn:aws:kms:us-east-1:111122223333:alias/app"}`
	byID     = `{"KeyId":"$KEY"}`
	byBare   = `{"KeyId":"$BARE"}`
	inPair   = `{"KeyId":"alias/app","Plaintext":"AA==","EncryptionContext":{"App":"x","a:b":"y"}}`
	noPair   = `{"KeyId":"$KEY","Plaintext":"AA==","EncryptionContext":{}}`
	newPair  = `{"KeyId":"alias/app","KeySpec":"AES_256","EncryptionContext":{"App":"x","a:b":"y"}}`
	newNone  = `{"KeyId":"$KEY","KeySpec":"AES_256"}`
	openPair = `{"KeyId":"alias/app","CiphertextBlob":"$INPAIR","EncryptionContext":{"App":"x","a:b":"y"}}`
	openNone = `{"CiphertextBlob":"$BLOB"}`
	rePair   = `{"CiphertextBlob":"$INPAIR","SourceKeyId":"alias/app","SourceEncryptionContext":{"App":"x","a:b":"y"},"DestinationKeyId":"alias/second","DestinationEncryptionContext":{"Dest":"z"}}`
	reNone   = `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$KEY"}`
	tagged   = `{"KeyId":"$KEY","Tags":[{"TagKey":"A","TagValue":"1"},{"TagKey":"b","TagValue":"2"}]}`
	withSign = `{"KeyId":"alias/app","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256"}`
	signID   = `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256"}`
	signHash = `{"KeyId":"$KEY","Message":"LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=","MessageType":"DIGEST","SigningAlgorithm":"ECDSA_SHA_256"}`
	withMac  = `{"KeyId":"alias/app","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256"}`
	macID    = `{"KeyId":"$KEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256"}`

	withVerify    = `{"KeyId":"alias/app","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256","Signature":"$SIGNATURE"}`
	verifyID      = `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256","Signature":"$SIGNATURE"}`
	verifyHash    = `{"KeyId":"$KEY","Message":"LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=","MessageType":"DIGEST","SigningAlgorithm":"ECDSA_SHA_256","Signature":"$SIGNATURE"}`
	withVerifyMac = `{"KeyId":"alias/app","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256","Mac":"$MAC"}`
	verifyMacID   = `{"KeyId":"$KEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256","Mac":"$MAC"}`

	withDerive      = `{"KeyId":"alias/app","KeyAgreementAlgorithm":"ECDH","PublicKey":"` + generatorP256 + `"}`
	deriveID        = `{"KeyId":"$KEY","KeyAgreementAlgorithm":"ECDH","PublicKey":"` + generatorP256 + `"}`
	withEncapsulate = `{"KeyId":"alias/app","EncapsulationAlgorithm":"ML_KEM"}`
	encapsulateID   = `{"KeyId":"$KEY","EncapsulationAlgorithm":"ML_KEM"}`
	withDecapsulate = `{"KeyId":"alias/app","SharedSecretCiphertextBlob":"$ENCAPSULATED","EncapsulationAlgorithm":"ML_KEM"}`
	decapsulateID   = `{"KeyId":"$KEY","SharedSecretCiphertextBlob":"$ENCAPSULATED","EncapsulationAlgorithm":"ML_KEM"}`

	byGrant   = `{"KeyId":"$KEY","GrantId":"$GRANT"}`
	bareGrant = `{"KeyId":"$KEY","GranteePrincipal":"999999999999","Operations":["DescribeKey"]}`
	withGrant = `{"KeyId":"$KEY","GranteePrincipal":"arn:aws:iam::999999999999:role/R","RetiringPrincipal":"arn:aws:iam::999999999999:root","Operations":["Decrypt","ReEncryptFrom"],
		"Constraints":{"EncryptionContextSubset":{"App":"x","a:b":"y"},"SourceArn":"arn:aws:s3:us-east-1:999999999999:bucket"}}`
	equalsGrant  = `{"KeyId":"$KEY","GranteePrincipal":"999999999999","Operations":["Decrypt"],"Constraints":{"EncryptionContextEquals":{"App":"x"}}}`
	serviceGrant = `{"KeyId":"$KEY","GranteeServicePrincipal":"s3.amazonaws.com","RetiringServicePrincipal":"ec2.amazonaws.com","Operations":["Decrypt"],
		"Constraints":{"SourceArn":"arn:aws:s3:us-east-1:999999999999:bucket"}}`

	newTags = `{"Tags":[{"TagKey":"A","TagValue":"1"},{"TagKey":"b","TagValue":"2"}]}`
)

var conditionCases = slices.Concat([]conditionCase{
	{key: "kms:BypassPolicyLockoutSafetyCheck", op: "PutKeyPolicy", body: `{"KeyId":"$KEY","Policy":"$POLICY","BypassPolicyLockoutSafetyCheck":true}`, operator: "Bool", value: "true", other: "false", absent: `{"KeyId":"$KEY","Policy":"$POLICY"}`},
	{key: "kms:BypassPolicyLockoutSafetyCheck", op: "PutKeyPolicy", body: `{"KeyId":"$KEY","Policy":"$POLICY","BypassPolicyLockoutSafetyCheck":false}`, operator: "Bool", value: "false", other: "true"},
	{key: "kms:BypassPolicyLockoutSafetyCheck", op: "CreateKey", body: `{"BypassPolicyLockoutSafetyCheck":true}`, operator: "Bool", value: "true", other: "false", absent: `{}`},
	{key: "kms:CallerAccount", op: "DescribeKey", body: byID, value: "111122223333", other: "444455556666"},
	{key: "kms:CallerAccount", op: "CreateKey", body: `{}`, value: "111122223333", other: "444455556666"},
	{key: "kms:KeySpec", op: "DescribeKey", body: byID, value: "SYMMETRIC_DEFAULT", other: "RSA_2048"},
	{key: "kms:KeySpec", op: "CreateKey", body: `{}`, value: "SYMMETRIC_DEFAULT", other: "RSA_2048"},
	{key: "kms:KeySpec", op: "CreateKey", body: `{"CustomerMasterKeySpec":"SYMMETRIC_DEFAULT"}`, value: "SYMMETRIC_DEFAULT", other: "RSA_2048"},
	{key: "kms:CustomerMasterKeySpec", op: "DescribeKey", body: byID, value: "SYMMETRIC_DEFAULT", other: "RSA_2048"},
	{key: "kms:CustomerMasterKeySpec", op: "CreateKey", body: `{"KeySpec":"SYMMETRIC_DEFAULT"}`, value: "SYMMETRIC_DEFAULT", other: "RSA_2048"},
	{key: "kms:KeyUsage", op: "DescribeKey", body: byID, value: "ENCRYPT_DECRYPT", other: "SIGN_VERIFY"},
	{key: "kms:KeyUsage", op: "CreateKey", body: `{}`, value: "ENCRYPT_DECRYPT", other: "SIGN_VERIFY"},
	{key: "kms:CustomerMasterKeyUsage", op: "DescribeKey", body: byID, value: "ENCRYPT_DECRYPT", other: "SIGN_VERIFY"},
	{key: "kms:CustomerMasterKeyUsage", op: "CreateKey", body: `{"KeyUsage":"ENCRYPT_DECRYPT"}`, value: "ENCRYPT_DECRYPT", other: "SIGN_VERIFY"},
	{key: "kms:KeyOrigin", op: "DescribeKey", body: byID, value: "AWS_KMS", other: "EXTERNAL"},
	{key: "kms:KeyOrigin", op: "CreateKey", body: `{}`, value: "AWS_KMS", other: "EXTERNAL"},
	{key: "kms:MultiRegion", op: "DescribeKey", body: byID, operator: "Bool", value: "false", other: "true"},
	{key: "kms:MultiRegion", op: "CreateKey", body: `{}`, operator: "Bool", value: "false", other: "true"},
	{key: "kms:ResourceAliases", op: "DescribeKey", body: byID, operator: "ForAnyValue:StringLike", value: "alias/a*", other: "alias/A*", absent: byBare, identityOnly: true},
	{key: "kms:ReEncryptOnSameKey", op: "ReEncrypt", body: reNone, operator: "Bool", value: "true", other: "false"},
	{key: "kms:ReEncryptOnSameKey", op: "ReEncrypt", body: rePair, operator: "Bool", value: "false", other: "true", action: "kms:ReEncryptTo"},
	{key: "kms:RotationPeriodInDays", op: "EnableKeyRotation", body: `{"KeyId":"$KEY","RotationPeriodInDays":180}`, operator: "NumericEquals", value: "180", other: "181", absent: byID},
	{key: "kms:ScheduleKeyDeletionPendingWindowInDays", op: "ScheduleKeyDeletion", body: `{"KeyId":"$KEY","PendingWindowInDays":8}`, operator: "NumericEquals", value: "8", other: "9", absent: byID},
	{key: "kms:TrailingDaysWithoutKeyUsage", op: "ScheduleKeyDeletion", body: byID, operator: "NumericEquals", value: "10", other: "11"},
	{key: "kms:TrailingDaysWithoutKeyUsage", op: "DisableKey", body: byID, operator: "NumericEquals", value: "10", other: "11"},
	{key: "aws:ResourceTag/Team", op: "DescribeKey", body: byID, value: "red", other: "RED", absent: byBare, identityOnly: true},
	{key: "aws:ResourceAccount", op: "DescribeKey", body: byID, value: "111122223333", other: "444455556666"},
	{key: "aws:RequestTag/a", op: "TagResource", body: tagged, value: "1", other: "2", absent: `{"KeyId":"$KEY","Tags":[{"TagKey":"b","TagValue":"1"}]}`},
	{key: "aws:RequestTag/a", op: "CreateKey", body: newTags, value: "1", other: "2", absent: `{}`},
	{key: "aws:RequestTag/a", op: "CreateKey", body: newTags, value: "1", other: "2", action: "kms:TagResource"},
	{key: "aws:TagKeys", op: "TagResource", body: tagged, operator: "ForAllValues:StringEquals", value: `A","b`, other: `a","b`},
	{key: "aws:TagKeys", op: "UntagResource", body: `{"KeyId":"$KEY","TagKeys":["A","b"]}`, operator: "ForAnyValue:StringEquals", value: "b", other: "B", absent: `{"KeyId":"$KEY","TagKeys":[]}`},
	{key: "aws:TagKeys", op: "CreateKey", body: newTags, operator: "ForAnyValue:StringEquals", value: "A", other: "a", absent: `{}`},
	{key: "aws:TagKeys", op: "CreateKey", body: newTags, operator: "ForAnyValue:StringEquals", value: "A", other: "a", action: "kms:TagResource"},
}, grantConditionCases, regionConditionCases, ofAlias("DescribeKey", "", "alias/app", byAlias, byID), ofAlias("DescribeKey", "", "alias/app", byARN, `{"KeyId":"$ARN"}`),
	ofAlias("GetPublicKey", "", "alias/app", byAlias, byID),
	ofSigning("Sign", signID, signHash), ofAlias("Sign", "", "alias/app", withSign, signID),
	ofSigning("Verify", verifyID, verifyHash), ofAlias("Verify", "", "alias/app", withVerify, verifyID),
	ofAlias("GenerateMac", "", "alias/app", withMac, macID), ofAlias("VerifyMac", "", "alias/app", withVerifyMac, verifyMacID),
	ofAlias("DeriveSharedSecret", "", "alias/app", withDerive, deriveID),
	ofAlias("Encapsulate", "", "alias/app", withEncapsulate, encapsulateID), ofAlias("Decapsulate", "", "alias/app", withDecapsulate, decapsulateID),
	ofContext("Encrypt", "", inPair, noPair), ofAlias("Encrypt", "", "alias/app", inPair, noPair),
	ofContext("Decrypt", "", openPair, openNone), ofAlias("Decrypt", "", "alias/app", openPair, openNone),
	ofContext("GenerateDataKey", "", newPair, newNone), ofAlias("GenerateDataKey", "", "alias/app", newPair, newNone),
	ofContext("GenerateDataKeyPair", "", newKeyPair, newKeyNone), ofAlias("GenerateDataKeyPair", "", "alias/app", newKeyPair, newKeyNone),
	ofContext("GenerateDataKeyPairWithoutPlaintext", "", newKeyPair, newKeyNone), ofAlias("GenerateDataKeyPairWithoutPlaintext", "", "alias/app", newKeyPair, newKeyNone),
	[]conditionCase{
		{key: "kms:DataKeyPairSpec", op: "GenerateDataKeyPair", body: newKeyPair, value: "ECC_NIST_P256", other: "ECC_NIST_P384"},
		{key: "kms:DataKeyPairSpec", op: "GenerateDataKeyPairWithoutPlaintext", body: newKeyNone, value: "ECC_NIST_P384", other: "ECC_NIST_P256"},
	},
	ofContext("GenerateDataKeyWithoutPlaintext", "", newPair, newNone), ofAlias("GenerateDataKeyWithoutPlaintext", "", "alias/app", newPair, newNone),
	ofContext("ReEncrypt", "kms:ReEncryptFrom", rePair, reNone), ofAlias("ReEncrypt", "kms:ReEncryptFrom", "alias/app", rePair, reNone),
	ofAlias("ReEncrypt", "kms:ReEncryptTo", "alias/second", rePair, reNone),
	[]conditionCase{
		{key: "kms:ExpirationModel", op: "ImportKeyMaterial", body: toImport, value: "KEY_MATERIAL_EXPIRES", other: "KEY_MATERIAL_DOES_NOT_EXPIRE", result: "ExpiredImportTokenException"},
		{key: "kms:ValidTo", op: "ImportKeyMaterial", body: toImport, operator: "NumericEquals", value: "1800000000", other: "1800000001", result: "ExpiredImportTokenException"},
		{key: "kms:WrappingAlgorithm", op: "GetParametersForImport", body: toWrap, value: "RSAES_OAEP_SHA_256", other: "RSAES_OAEP_SHA_1"},
		{key: "kms:WrappingKeySpec", op: "GetParametersForImport", body: toWrap, value: "RSA_2048", other: "RSA_4096"},
		{key: "kms:KeyAgreementAlgorithm", op: "DeriveSharedSecret", body: deriveID, value: "ECDH", other: "ecdh"},
		{key: "kms:MacAlgorithm", op: "GenerateMac", body: macID, value: "HMAC_SHA_256", other: "HMAC_SHA_512"},
		{key: "kms:MacAlgorithm", op: "VerifyMac", body: verifyMacID, value: "HMAC_SHA_256", other: "HMAC_SHA_512"},
		{key: "kms:SigningAlgorithm", op: "Sign", body: `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"ED25519_SHA_512"}`, value: "ED25519_SHA_512", other: "ECDSA_SHA_256", result: "InvalidKeyUsageException"},
		{key: "kms:EncryptionContext:dest", op: "ReEncrypt", body: rePair, value: "z", other: "x", absent: reNone, action: "kms:ReEncryptTo"},
		{key: "kms:EncryptionContextKeys", op: "ReEncrypt", body: rePair, operator: "ForAllValues:StringEquals", value: "Dest", other: "App", action: "kms:ReEncryptTo"},
		{key: "kms:EncryptionAlgorithm", op: "ReEncrypt", body: rePair, value: "SYMMETRIC_DEFAULT", other: "RSAES_OAEP_SHA_256", action: "kms:ReEncryptTo"},
		{key: "kms:EncryptionAlgorithm", op: "Encrypt", body: `{"KeyId":"$KEY","Plaintext":"AA==","EncryptionAlgorithm":"RSAES_OAEP_SHA_256"}`, value: "RSAES_OAEP_SHA_256", other: "SYMMETRIC_DEFAULT", result: "InvalidKeyUsageException"},
	},
)

const (
	toReplicate = `{"KeyId":"$KEY","ReplicaRegion":"eu-west-1","BypassPolicyLockoutSafetyCheck":true,"Tags":[{"TagKey":"A","TagValue":"1"},{"TagKey":"b","TagValue":"2"}]}`
	toPromote   = `{"KeyId":"$KEY","PrimaryRegion":"eu-west-1"}`
	bareReplica = `{"KeyId":"$KEY","ReplicaRegion":"eu-west-1"}`
)

// regionConditionCases are the keys of the operations on multi-Region keys. A key and its
// replica have their own.
var regionConditionCases = []conditionCase{
	{key: "kms:ReplicaRegion", op: "ReplicateKey", body: toReplicate, value: "eu-west-1", other: "us-east-1"},
	{key: "kms:MultiRegionKeyType", op: "ReplicateKey", body: toReplicate, value: "PRIMARY", other: "REPLICA"},
	{key: "kms:MultiRegion", op: "ReplicateKey", body: toReplicate, operator: "Bool", value: "true", other: "false"},
	{key: "kms:CallerAccount", op: "ReplicateKey", body: toReplicate, value: "111122223333", other: "444455556666", action: "kms:CreateKey"},
	{key: "kms:MultiRegionKeyType", op: "ReplicateKey", body: toReplicate, value: "REPLICA", other: "PRIMARY", action: "kms:CreateKey"},
	{key: "kms:MultiRegion", op: "ReplicateKey", body: toReplicate, operator: "Bool", value: "true", other: "false", action: "kms:CreateKey"},
	{key: "kms:KeySpec", op: "ReplicateKey", body: toReplicate, value: "SYMMETRIC_DEFAULT", other: "RSA_2048", action: "kms:CreateKey"},
	{key: "kms:CustomerMasterKeySpec", op: "ReplicateKey", body: toReplicate, value: "SYMMETRIC_DEFAULT", other: "RSA_2048", action: "kms:CreateKey"},
	{key: "kms:KeyUsage", op: "ReplicateKey", body: toReplicate, value: "ENCRYPT_DECRYPT", other: "SIGN_VERIFY", action: "kms:CreateKey"},
	{key: "kms:CustomerMasterKeyUsage", op: "ReplicateKey", body: toReplicate, value: "ENCRYPT_DECRYPT", other: "SIGN_VERIFY", action: "kms:CreateKey"},
	{key: "kms:KeyOrigin", op: "ReplicateKey", body: toReplicate, value: "AWS_KMS", other: "EXTERNAL", action: "kms:CreateKey"},
	{key: "kms:BypassPolicyLockoutSafetyCheck", op: "ReplicateKey", body: toReplicate, operator: "Bool", value: "true", other: "false", absent: bareReplica, action: "kms:CreateKey"},
	{key: "aws:RequestTag/a", op: "ReplicateKey", body: toReplicate, value: "1", other: "2", absent: bareReplica, action: "kms:CreateKey"},
	{key: "aws:RequestTag/a", op: "ReplicateKey", body: toReplicate, value: "1", other: "2", action: "kms:TagResource"},
	{key: "aws:TagKeys", op: "ReplicateKey", body: toReplicate, operator: "ForAnyValue:StringEquals", value: "A", other: "a", absent: bareReplica, action: "kms:CreateKey"},
	{key: "aws:TagKeys", op: "ReplicateKey", body: toReplicate, operator: "ForAnyValue:StringEquals", value: "A", other: "a", action: "kms:TagResource"},
	{key: "aws:RequestedRegion", op: "ReplicateKey", body: toReplicate, value: "us-east-1", other: "eu-west-1"},
	{key: "aws:RequestedRegion", op: "ReplicateKey", body: toReplicate, value: "eu-west-1", other: "us-east-1", action: "kms:CreateKey"},
	{key: "aws:RequestedRegion", op: "ReplicateKey", body: toReplicate, value: "eu-west-1", other: "us-east-1", action: "kms:TagResource"},
	{key: "kms:PrimaryRegion", op: "UpdatePrimaryRegion", body: toPromote, value: "eu-west-1", other: "us-east-1"},
	{key: "kms:MultiRegionKeyType", op: "UpdatePrimaryRegion", body: toPromote, value: `PRIMARY","REPLICA`, other: "PRIMARY"},
	{key: "kms:MultiRegionKeyType", op: "UpdatePrimaryRegion", body: toPromote, value: `PRIMARY","REPLICA`, other: "REPLICA"},
	{key: "aws:RequestedRegion", op: "UpdatePrimaryRegion", body: toPromote, value: `us-east-1","eu-west-1`, other: "us-east-1"},
	{key: "aws:RequestedRegion", op: "UpdatePrimaryRegion", body: toPromote, value: `us-east-1","eu-west-1`, other: "eu-west-1"},
}

// grantConditionCases are the keys of the operations on grants.
var grantConditionCases = []conditionCase{
	{key: "kms:GrantConstraintType", op: "CreateGrant", body: withGrant, value: "EncryptionContextSubset", other: "EncryptionContextEquals", absent: bareGrant},
	{key: "kms:GrantConstraintType", op: "CreateGrant", body: equalsGrant, value: "EncryptionContextEquals", other: "EncryptionContextSubset", absent: serviceGrant},
	{key: "kms:GrantConstraintSourceArn", op: "CreateGrant", body: withGrant, operator: "ArnLike", value: "arn:aws:s3:*:999999999999:b*", other: "arn:aws:s3:*:999999999999:c*", absent: bareGrant},
	{key: "kms:GrantIsForAWSResource", op: "CreateGrant", body: bareGrant, operator: "Bool", value: "false", other: "true"},
	{key: "kms:GrantIsForAWSResource", op: "ListGrants", body: byID, operator: "Bool", value: "false", other: "true"},
	{key: "kms:GrantIsForAWSResource", op: "RevokeGrant", body: byGrant, operator: "Bool", value: "false", other: "true"},
	{key: "kms:GrantOperations", op: "CreateGrant", body: withGrant, operator: "ForAllValues:StringEquals", value: `Decrypt","ReEncryptFrom`, other: `Decrypt","reencryptfrom`},
	{key: "kms:GrantOperations", op: "CreateGrant", body: withGrant, operator: "ForAnyValue:StringEquals", value: "ReEncryptFrom", other: "ReEncryptTo"},
	{key: "kms:GranteePrincipal", op: "CreateGrant", body: withGrant, value: "arn:aws:iam::999999999999:role/R", other: "arn:aws:iam::999999999999:role/S", absent: serviceGrant},
	{key: "kms:GranteePrincipal", op: "CreateGrant", body: bareGrant, value: "999999999999", other: "arn:aws:iam::999999999999:root"},
	{key: "kms:RetiringPrincipal", op: "CreateGrant", body: withGrant, value: "arn:aws:iam::999999999999:root", other: "999999999999", absent: bareGrant},
	{key: "kms:GranteeServicePrincipal", op: "CreateGrant", body: serviceGrant, value: "s3.amazonaws.com", other: "ec2.amazonaws.com", absent: bareGrant},
	{key: "kms:RetiringServicePrincipal", op: "CreateGrant", body: serviceGrant, value: "ec2.amazonaws.com", other: "s3.amazonaws.com", absent: bareGrant},
	{key: "kms:EncryptionContext:app", op: "CreateGrant", body: withGrant, value: "x", other: "X", absent: bareGrant},
	{key: "kms:EncryptionContext:app", op: "CreateGrant", body: equalsGrant, value: "x", other: "X", absent: serviceGrant},
	{key: "KMS:EncryptionContext:A:B", op: "CreateGrant", body: withGrant, value: "y", other: "x", absent: equalsGrant},
	{key: "kms:EncryptionContextKeys", op: "CreateGrant", body: withGrant, operator: "ForAnyValue:StringEquals", value: "App", other: "app", absent: bareGrant},
	{key: "kms:CallerAccount", op: "RetireGrant", body: byGrant, value: "111122223333", other: "444455556666", unlet: true},
	{key: "aws:ResourceTag/Team", op: "RetireGrant", body: byGrant, value: "red", other: "RED", unlet: true},
}

// ofContext are the keys of an operation with an encryption context: "App" is "x" and
// "a:b" is "y" in body, and there is none in absent.
func ofContext(op, action, body, absent string) []conditionCase {
	return []conditionCase{
		{key: "kms:EncryptionAlgorithm", op: op, body: absent, value: "SYMMETRIC_DEFAULT", other: "RSAES_OAEP_SHA_256", action: action},
		{key: "kms:EncryptionContext:app", op: op, body: body, value: "x", other: "X", absent: absent, action: action},
		{key: "KMS:EncryptionContext:A:B", op: op, body: body, value: "y", other: "x", absent: absent, action: action},
		{key: "kms:EncryptionContextKeys", op: op, body: body, operator: "ForAnyValue:StringEquals", value: "App", other: "app", absent: absent, action: action},
		{key: "kms:EncryptionContextKeys", op: op, body: body, operator: "ForAnyValue:StringEqualsIgnoreCase", value: "app", other: "ap", action: action},
	}
}

// ofSigning are the keys of an operation with signatures: raw leaves the message type
// out, hashed has a digest.
func ofSigning(op, raw, hashed string) []conditionCase {
	return []conditionCase{
		{key: "kms:SigningAlgorithm", op: op, body: raw, value: "ECDSA_SHA_256", other: "ECDSA_SHA_384"},
		{key: "kms:MessageType", op: op, body: raw, value: "RAW", other: "DIGEST"},
		{key: "kms:MessageType", op: op, body: hashed, value: "DIGEST", other: "RAW"},
	}
}

func ofAlias(op, action, name, body, absent string) []conditionCase {
	return []conditionCase{{key: "kms:RequestAlias", op: op, body: body, value: name, other: strings.Replace(name, "alias/", "alias/A", 1), absent: absent, action: action}}
}

// condition writes a Condition element.
func condition(operator, key, value string) string {
	return fmt.Sprintf(`{%q:{%q:["%s"]}}`, operator, key, value)
}

// conditional allows user/alice the action under a condition and all others without.
func conditional(action, condition string, inKeyPolicy bool) (statements []string) {
	principal := ""
	if inKeyPolicy {
		principal = `"Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},`
	}
	return []string{
		`{"Effect":"Allow",` + principal + `"Action":"` + action + `","Resource":"*","Condition":` + condition + `}`,
		`{"Effect":"Allow",` + principal + `"NotAction":"` + action + `","Resource":"*"}`,
	}
}

// newConditions is newRights with what the cases speak of: tags on the keys, an alias
// for the second, a key without anything, and a ciphertext that has a context.
func newConditions(t *testing.T, op string) *rights {
	r := newRights(t, op)
	key, second, bare := r.keys[0], r.keys[1], newKeyFor(t, r.Solo, op)
	r.NewAlias(t, "alias/second", second)
	for _, id := range r.keys {
		r.Must(t, "TagResource", obj{"KeyId": id, "Tags": []obj{{"TagKey": "team", "TagValue": "red"}}})
	}
	if kinds[op] == "" {
		in := r.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": "AA==", "EncryptionContext": obj{"App": "x", "a:b": "y"}})
		r.names = append(r.names, "$INPAIR", in["CiphertextBlob"].(string))
	}
	policy := strings.TrimSuffix(rootPolicy, `]}`) + "," + lets("Allow", "arn:aws:iam::111122223333:user/alice", "kms:PutKeyPolicy", "") + `]}`
	r.keys = append(r.keys, bare)
	r.names = append([]string{"$BARE", bare, "$POLICY", strings.ReplaceAll(policy, `"`, `\"`)}, r.names...)
	r.Advance(10 * 24 * time.Hour)
	return r
}

// decides makes the call as user/alice, who may the action under the condition, by its
// identity policy or by the key's, and tells whether that allowed it.
func (c *conditionCase) decides(t *testing.T, body, condition string, inKeyPolicy bool) bool {
	t.Helper()
	r := newConditions(t, c.op)
	action := "kms:" + c.op
	if c.action != "" {
		action = c.action
	} else if c.op == "ReEncrypt" {
		action = "kms:ReEncryptFrom"
	}
	statements := conditional(action, condition, inKeyPolicy)
	var identity []string
	if !inKeyPolicy {
		identity = []string{`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`}
	}
	if inKeyPolicy && c.op == "ReplicateKey" {
		identity = []string{allowing("kms:CreateKey kms:TagResource", "*", "")}
	}
	who, _ := r.NewUser(t, testkit.Account, "alice", identity...)
	if inKeyPolicy {
		r.letIn(t, strings.Join(statements, ","))
	}
	a := r.Call(t, who, c.op, fill(body, r.names...))
	code := ""
	if a.Refusal != nil {
		code = a.Refusal.Code
	}
	if a.Err != nil || code != c.result && code != "AccessDeniedException" {
		t.Errorf("%s: got %v %v", condition, a.Refusal, a.Err)
	}
	return code == c.result
}

func (c *conditionCase) check(t *testing.T, inKeyPolicy bool) {
	t.Helper()
	operator := c.operator
	if operator == "" {
		operator = "StringEquals"
	}
	want := func(body, condition string, want bool) {
		t.Helper()
		if got := c.decides(t, body, condition, inKeyPolicy); got != want {
			t.Errorf("%s, in a key policy %t: got allowed %t, want %t\n%s", condition, inKeyPolicy, got, want, body)
		}
	}
	there := !inKeyPolicy || !c.identityOnly
	want(c.body, condition(operator, c.key, c.value), there)
	want(c.body, condition(operator, c.key, c.other), false)
	want(c.body, condition("Null", c.key, "false"), there)
	want(c.body, condition("Null", c.key, "true"), !there)
	if c.absent != "" {
		want(c.absent, condition(operator, c.key, c.value), false)
		want(c.absent, condition(operator+"IfExists", c.key, c.value), true)
		want(c.absent, condition("Null", c.key, "true"), true)
	}
}

// A condition on each key lets the value in, no other value, and nothing where the key
// is absent; in identity policies and in those of keys.
func TestConditionKeyValues(t *testing.T) {
	t.Parallel()
	for _, c := range conditionCases {
		t.Run(c.op+" "+c.key+" "+c.action, func(t *testing.T) {
			t.Parallel()
			c.check(t, false)
			if c.op != "CreateKey" && c.action != "kms:CreateKey" && c.action != "kms:TagResource" && !c.unlet {
				c.check(t, true)
			}
		})
	}
}

// A key's last use counts from its answer on, before the cluster has heard of it.
func TestTrailingDaysCountFreshUse(t *testing.T) {
	t.Parallel()
	r := newConditions(t, "DisableKey")
	unused := condition("NumericGreaterThanEquals", "kms:TrailingDaysWithoutKeyUsage", "1")
	who, _ := r.NewUser(t, testkit.Account, "alice", allowing("kms:DisableKey", "*", unused))
	r.NewBlob(t, r.keys[0])
	wantOutcome(t, r.Call(t, who, "DisableKey", obj{"KeyId": r.keys[0]}), deniedUser("alice", "kms:DisableKey", testkit.ARN(r.keys[0]), "because no identity-based policy allows the kms:DisableKey action"))
	r.Advance(23 * time.Hour)
	wantOutcome(t, r.Call(t, who, "DisableKey", obj{"KeyId": r.keys[1]}), success)
	wantOutcome(t, r.Call(t, who, "DisableKey", obj{"KeyId": r.keys[0]}), deniedUser("alice", "kms:DisableKey", testkit.ARN(r.keys[0]), "because no identity-based policy allows the kms:DisableKey action"))
	r.Advance(time.Hour)
	wantOutcome(t, r.Call(t, who, "DisableKey", obj{"KeyId": r.keys[0]}), success)
}

// A key of more aliases than 50 is let in by no condition on them, and denied by each
// (AWS KMS: "Alias authorization").
func TestTooManyAliasesForConditions(t *testing.T) {
	t.Parallel()
	s := testkit.StartWith(t, &fsm.Config{AliasesPerKey: 60})
	key := s.NewKey(t)
	for i := range 50 {
		s.NewAlias(t, fmt.Sprintf("alias/app-%d", i), key)
	}
	apps := condition("ForAllValues:StringLike", "kms:ResourceAliases", "alias/app-*")
	let, _ := s.NewUser(t, testkit.Account, "let", allowing("kms:DescribeKey", "*", apps))
	kept, _ := s.NewUser(t, testkit.Account, "kept", allowing("kms:*", "*", ""),
		strings.Replace(allowing("kms:*", "*", condition("ForAnyValue:StringLike", "kms:ResourceAliases", "alias/prod-*")), "Allow", "Deny", 1))
	for _, who := range []testkit.Caller{let, kept} {
		wantOutcome(t, s.Call(t, who, "DescribeKey", obj{"KeyId": key}), success)
	}
	s.NewAlias(t, "alias/app-50", key)
	wantOutcome(t, s.Call(t, let, "DescribeKey", obj{"KeyId": key}), deniedUser("let", "kms:DescribeKey", testkit.ARN(key), "because no identity-based policy allows the kms:DescribeKey action"))
	wantOutcome(t, s.Call(t, kept, "DescribeKey", obj{"KeyId": key}), deniedUser("kept", "kms:DescribeKey", testkit.ARN(key), "with an explicit deny in an identity-based policy"))
}

// The lockout check sees the tags that the new key will have.
func TestLockoutSeesNewTags(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	red, _ := s.NewUser(t, testkit.Account, "red", allowing("kms:CreateKey kms:TagResource", "*", ""), allowing("kms:PutKeyPolicy", "*", condition("StringEquals", "aws:ResourceTag/team", "red")))
	locked := outcome{"MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future."}
	for value, want := range map[string]outcome{"red": success, "blue": locked} {
		wantOutcome(t, s.Call(t, red, "CreateKey", obj{"Policy": rootPolicy, "Tags": []obj{{"TagKey": "Team", "TagValue": value}}}), want)
	}
	wantOutcome(t, s.Call(t, red, "CreateKey", obj{"Policy": rootPolicy}), locked)
}

// Source addresses are the client's, and the headers what the client sent.
func TestConditionsOnTheSource(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	for name, c := range map[string]struct {
		condition string
		source    kms.Source
		want      bool
	}{
		"address":            {condition("IpAddress", "aws:SourceIp", "203.0.113.0/24"), kms.Source{IP: "203.0.113.7"}, true},
		"another address":    {condition("IpAddress", "aws:SourceIp", "203.0.113.0/24"), kms.Source{IP: "192.0.2.7"}, false},
		"IPv6":               {condition("IpAddress", "aws:SourceIp", "2001:db8::/32"), kms.Source{IP: "2001:db8::7"}, true},
		"no address":         {condition("Null", "aws:SourceIp", "true"), kms.Source{UserAgent: "x"}, true},
		"plain HTTP":         {condition("Bool", "aws:SecureTransport", "false"), kms.Source{IP: "192.0.2.7"}, true},
		"TLS":                {condition("Bool", "aws:SecureTransport", "false"), kms.Source{TLSVersion: "TLSv1.3"}, false},
		"user agent":         {condition("StringLike", "aws:UserAgent", "aws-cli/*"), kms.Source{UserAgent: "aws-cli/1.45.11"}, true},
		"another user agent": {condition("StringLike", "aws:UserAgent", "aws-cli/*"), kms.Source{UserAgent: "Boto3/1"}, false},
		"no user agent":      {condition("Null", "aws:UserAgent", "true"), kms.Source{IP: "192.0.2.7"}, true},
		"referer":            {condition("StringLike", "aws:Referer", "https://app.example.com/*"), kms.Source{Referer: "https://app.example.com/x"}, true},
		"no referer":         {condition("Null", "aws:Referer", "true"), kms.Source{IP: "192.0.2.7"}, true},
	} {
		who, _ := s.NewUser(t, testkit.Account, strings.ReplaceAll(name, " ", "-"), allowing("kms:*", "*", c.condition))
		who.Source = c.source
		// One is decided where it was received, the other one on the leader.
		for _, op := range []string{"DescribeKey", "EnableKey"} {
			if a := s.Call(t, who, op, obj{"KeyId": key}); a.Err != nil || (a.Refusal == nil) != c.want {
				t.Errorf("%s, %s: got %v %v, want allowed %t", name, op, a.Refusal, a.Err, c.want)
			}
		}
	}
}

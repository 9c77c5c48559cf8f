package kmsapi_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// recordCase is the record of a call (AWS: CloudTrail record contents): its
// requestParameters, responseElements, additionalEventData and resources as JSON,
// "" where the member is absent. Names starting with $ stand for what the test
// made: $ID, $ARN and $M are a key's id, ARN and material, $TO and $TM those of
// another key, $ALIAS names the first, $BLOB is a ciphertext of its, $NEW and $NM
// are the id and material of a created key.
type recordCase struct {
	op, body                        string
	request, response, event, res   string
	readOnly                        bool
	errorCode, errorMessage, caller string
}

const (
	keyResource  = `{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"$ARN"}`
	toResource   = `{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"$TO"}`
	signResource = `{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"$SIGNARN"}`
	kemResource  = `{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"$KEMARN"}`
	ecdhResource = `{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"$ECDHARN"}`
	macResource  = `{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"$MACARN"}`
	newMetadata  = `{"AWSAccountId":"111122223333","keyId":"$NEW","arn":"arn:aws:kms:us-east-1:111122223333:key/$NEW","creationDate":"Nov 24, 2026, 12:00:00 PM",
		"enabled":true,"description":"$D","keyUsage":"ENCRYPT_DECRYPT","keyState":"Enabled","origin":"AWS_KMS","keyManager":"CUSTOMER",
		"customerMasterKeySpec":"SYMMETRIC_DEFAULT","keySpec":"SYMMETRIC_DEFAULT","encryptionAlgorithms":["SYMMETRIC_DEFAULT"],"multiRegion":false,"currentKeyMaterialId":"$NM"}`
)

func aliasResource(name string) string {
	return `{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111122223333:` + name + `"}`
}

const serviceGrantOfID = `{"KeyId":"$ID","GranteeServicePrincipal":"s3.amazonaws.com","RetiringServicePrincipal":"ec2.amazonaws.com","Operations":["Decrypt"],
	"Constraints":{"EncryptionContextEquals":{"a":"1"},"SourceArn":"arn:aws:s3:us-east-1:999999999999:bucket"}}`

var recordCases = []recordCase{
	{op: "Encrypt", body: `{"KeyId":"$ALIAS","Plaintext":"cGxhaW50ZXh0","EncryptionContext":{"b":"2","app":"x"}}`,
		request: `{"keyId":"$ALIAS","encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"app":"x","b":"2"}}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "Encrypt", body: `{"KeyId":"$ID","Plaintext":"cGxhaW50ZXh0"}`,
		request: `{"keyId":"$ID","encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "Decrypt", body: `{"CiphertextBlob":"$BLOB"}`,
		request: `{"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, response: `null`, event: `{"keyMaterialId":"$M"}`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "Decrypt", body: `{"CiphertextBlob":"$BLOB","KeyId":"$ARN","EncryptionContext":{}}`,
		request: `{"keyId":"$ARN","encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{}}`, response: `null`, event: `{"keyMaterialId":"$M"}`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "ReEncrypt", body: `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$TO","DestinationEncryptionContext":{"b":"2"}}`,
		request:  `{"sourceEncryptionAlgorithm":"SYMMETRIC_DEFAULT","destinationKeyId":"$TO","destinationEncryptionAlgorithm":"SYMMETRIC_DEFAULT","destinationEncryptionContext":{"b":"2"}}`,
		response: `null`, event: `{"sourceKeyMaterialId":"$M","destinationKeyMaterialId":"$TM"}`, res: `[` + keyResource + `,` + toResource + `]`, readOnly: true},
	{op: "ReEncrypt", body: `{"CiphertextBlob":"$BLOB","SourceKeyId":"$ALIAS","SourceEncryptionContext":{},"DestinationKeyId":"$ID"}`,
		request: `{"sourceEncryptionAlgorithm":"SYMMETRIC_DEFAULT","sourceEncryptionContext":{},"sourceKeyId":"$ALIAS","destinationKeyId":"$ID",
			"destinationEncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`,
		response: `null`, event: `{"sourceKeyMaterialId":"$M","destinationKeyMaterialId":"$M"}`, res: `[` + keyResource + `,` + keyResource + `]`, readOnly: true},
	{op: "GenerateDataKey", body: `{"KeyId":"$ID","KeySpec":"AES_256","EncryptionContext":{"a":"1"}}`,
		request: `{"keyId":"$ID","keySpec":"AES_256","encryptionContext":{"a":"1"}}`, response: `null`, event: `{"keyMaterialId":"$M"}`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "GenerateDataKeyPair", body: `{"KeyId":"$ALIAS","KeyPairSpec":"ECC_NIST_P256","EncryptionContext":{"a":"1"}}`,
		request: `{"keyId":"$ALIAS","keyPairSpec":"ECC_NIST_P256","encryptionContext":{"a":"1"}}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "GenerateDataKeyPairWithoutPlaintext", body: `{"KeyId":"$ID","KeyPairSpec":"ML_KEM_768"}`,
		request: `{"keyId":"$ID","keyPairSpec":"ML_KEM_768"}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "GenerateDataKeyWithoutPlaintext", body: `{"KeyId":"$ARN","NumberOfBytes":64}`,
		request: `{"keyId":"$ARN","numberOfBytes":64}`, response: `null`, event: `{"keyMaterialId":"$M"}`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "GenerateRandom", body: `{"NumberOfBytes":32}`, request: `null`, response: `null`, res: `[]`, readOnly: true},
	{op: "Sign", body: `{"KeyId":"$SIGNARN","Message":"cGxhaW50ZXh0","SigningAlgorithm":"ECDSA_SHA_256"}`,
		request: `{"keyId":"$SIGNARN","messageType":"RAW","signingAlgorithm":"ECDSA_SHA_256"}`, response: `null`, res: `[` + signResource + `]`, readOnly: true},
	{op: "Sign", body: `{"KeyId":"$SIGN","Message":"LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=","MessageType":"DIGEST","SigningAlgorithm":"ECDSA_SHA_256"}`,
		request: `{"keyId":"$SIGN","messageType":"DIGEST","signingAlgorithm":"ECDSA_SHA_256"}`, response: `null`, res: `[` + signResource + `]`, readOnly: true},
	{op: "Verify", body: `{"KeyId":"$SIGN","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256","Signature":"$SIGNATURE"}`,
		request: `{"keyId":"$SIGN","messageType":"RAW","signingAlgorithm":"ECDSA_SHA_256"}`, response: `null`, res: `[` + signResource + `]`, readOnly: true},
	{op: "GenerateMac", body: `{"KeyId":"$MACKEY","Message":"cGxhaW50ZXh0","MacAlgorithm":"HMAC_SHA_256"}`,
		request: `{"keyId":"$MACKEY","macAlgorithm":"HMAC_SHA_256"}`, response: `null`, res: `[` + macResource + `]`, readOnly: true},
	{op: "VerifyMac", body: `{"KeyId":"$MACKEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256","Mac":"$MAC"}`,
		request: `{"keyId":"$MACKEY","macAlgorithm":"HMAC_SHA_256"}`, response: `null`, res: `[` + macResource + `]`, readOnly: true},
	{op: "DeriveSharedSecret", body: `{"KeyId":"$ECDH","KeyAgreementAlgorithm":"ECDH","PublicKey":"` + generatorP256 + `"}`,
		request: `{"keyId":"$ECDH","keyAgreementAlgorithm":"ECDH"}`, response: `null`, res: `[` + ecdhResource + `]`, readOnly: true},
	{op: "Encapsulate", body: `{"KeyId":"$KEMARN","EncapsulationAlgorithm":"ML_KEM"}`,
		request: `{"keyId":"$KEMARN","encapsulationAlgorithm":"ML_KEM"}`, response: `null`, res: `[` + kemResource + `]`, readOnly: true},
	{op: "Decapsulate", body: `{"KeyId":"$KEM","SharedSecretCiphertextBlob":"$ENCAPSULATED","EncapsulationAlgorithm":"ML_KEM"}`,
		request: `{"keyId":"$KEM","encapsulationAlgorithm":"ML_KEM"}`, response: `null`, res: `[` + kemResource + `]`, readOnly: true},
	{op: "GetPublicKey", body: `{"KeyId":"$SIGN"}`, request: `{"keyId":"$SIGN"}`, response: `null`, res: `[` + signResource + `]`, readOnly: true},
	{op: "DescribeKey", body: `{"KeyId":"$ALIAS"}`, request: `{"keyId":"$ALIAS"}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "GetKeyPolicy", body: `{"KeyId":"$ID","PolicyName":"default"}`, request: `{"keyId":"$ID","policyName":"default"}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "ListKeys", body: `{}`, request: `null`, response: `null`, res: `[]`, readOnly: true},
	{op: "ListKeys", body: `{"Limit":5}`, request: `{"limit":5}`, response: `null`, res: `[]`, readOnly: true},
	{op: "ListAliases", body: ``, request: `null`, response: `null`, res: `[]`, readOnly: true},
	{op: "ListAliases", body: `{"KeyId":"$ID","Limit":7.0}`, request: `{"keyId":"$ID","limit":7}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "CreateGrant", res: `[` + keyResource + `]`, response: `{"grantId":"$GRANTID","keyId":"$ARN"}`,
		body: `{"KeyId":"$ID","GranteePrincipal":"111122223333","RetiringPrincipal":"arn:aws:iam::999999999999:role/R","Operations":["ReEncryptTo","Decrypt"],"Name":"n/1",
			"Constraints":{"EncryptionContextSubset":{"b":"2","a":"1"},"SourceArn":"arn:aws:s3:us-east-1:999999999999:bucket"}}`,
		request: `{"keyId":"$ID","constraints":{"encryptionContextSubset":{"a":"1","b":"2"},"sourceArn":"arn:aws:s3:us-east-1:999999999999:bucket"},
			"operations":["ReEncryptTo","Decrypt"],"granteePrincipal":"111122223333","retiringPrincipal":"arn:aws:iam::999999999999:role/R","name":"n/1"}`},
	{op: "CreateGrant", body: serviceGrantOfID, res: `[` + keyResource + `]`, response: `{"grantId":"$GRANTID","keyId":"$ARN"}`,
		request: `{"keyId":"$ID","constraints":{"encryptionContextEquals":{"a":"1"},"sourceArn":"arn:aws:s3:us-east-1:999999999999:bucket"},"operations":["Decrypt"],
			"granteeServicePrincipal":"s3.amazonaws.com","retiringServicePrincipal":"ec2.amazonaws.com"}`},
	{op: "ListGrants", body: `{"KeyId":"$ARN","Limit":7}`, request: `{"keyId":"$ARN","limit":7}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "ListGrants", body: `{"KeyId":"$ID","GrantId":"$GRANT","GranteePrincipal":"111122223333"}`, request: `{"keyId":"$ID","grantId":"$GRANT","granteePrincipal":"111122223333"}`,
		response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "ListRetirableGrants", body: `{"RetiringPrincipal":"111122223333","Limit":7}`, request: `{"limit":7,"retiringPrincipal":"111122223333"}`, response: `null`, res: `[]`, readOnly: true},
	{op: "RetireGrant", body: `{"GrantToken":"$TOKEN"}`, request: `null`, response: `{"keyId":"$ARN"}`, event: `{"grantId":"$BYTOKEN"}`, res: `[` + keyResource + `]`},
	{op: "RetireGrant", body: `{"KeyId":"$ARN","GrantId":"$GRANT"}`, request: `{"keyId":"$ARN","grantId":"$GRANT"}`, response: `{"keyId":"$ARN"}`, event: `{"grantId":"$GRANT"}`, res: `[` + keyResource + `]`},
	{op: "RevokeGrant", body: `{"KeyId":"$ID","GrantId":"$REVOKE"}`, request: `{"keyId":"$ID","grantId":"$REVOKE"}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "DisableKey", body: `{"KeyId":"$ID"}`, request: `{"keyId":"$ID"}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "EnableKey", body: `{"KeyId":"$ARN"}`, request: `{"keyId":"$ARN"}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "CreateAlias", body: `{"AliasName":"alias/made","TargetKeyId":"$ID"}`, request: `{"aliasName":"alias/made","targetKeyId":"$ID"}`,
		response: `{"keyId":"$ARN"}`, res: `[` + aliasResource("alias/made") + `,` + keyResource + `]`},
	{op: "UpdateAlias", body: `{"AliasName":"alias/made","TargetKeyId":"$TO"}`, request: `{"aliasName":"alias/made","targetKeyId":"$TO"}`,
		response: `{"keyId":"$TO"}`, res: `[` + aliasResource("alias/made") + `,` + toResource + `]`},
	{op: "DeleteAlias", body: `{"AliasName":"alias/made"}`, request: `{"aliasName":"alias/made"}`,
		response: `null`, res: `[` + aliasResource("alias/made") + `,` + toResource + `]`},
	{op: "CreateKey", body: `{}`,
		request:  `{"origin":"AWS_KMS","bypassPolicyLockoutSafetyCheck":false,"customerMasterKeySpec":"SYMMETRIC_DEFAULT","keySpec":"SYMMETRIC_DEFAULT","keyUsage":"ENCRYPT_DECRYPT"}`,
		response: `{"keyMetadata":` + strings.ReplaceAll(newMetadata, "$D", "") + `}`, res: `[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111122223333:key/$NEW"}]`},
	{op: "CreateKey", body: `{"Description":"my \"key\"","MultiRegion":false,"BypassPolicyLockoutSafetyCheck":true,"Tags":[{"TagKey":"team","TagValue":"a b"}],"Policy":"$POLICY"}`,
		request: `{"description":"my \"key\"","origin":"AWS_KMS","bypassPolicyLockoutSafetyCheck":true,"customerMasterKeySpec":"SYMMETRIC_DEFAULT","keySpec":"SYMMETRIC_DEFAULT",
			"keyUsage":"ENCRYPT_DECRYPT","multiRegion":false,"policy":"$POLICY","tags":[{"tagKey":"team","tagValue":"a b"}]}`,
		response: `{"keyMetadata":` + strings.ReplaceAll(newMetadata, "$D", `my \"key\"`) + `}`, res: `[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111122223333:key/$NEW"}]`},
}

// life are the records of the calls that manage a key's life, in this order.
var life = []recordCase{
	{op: "UpdateKeyDescription", body: `{"KeyId":"$ID","Description":"a \"b\""}`, request: `{"keyId":"$ID","description":"a \"b\""}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "TagResource", body: `{"KeyId":"$ARN","Tags":[{"TagKey":"team","TagValue":"a b"},{"TagKey":"x","TagValue":""}]}`,
		request: `{"keyId":"$ARN","tags":[{"tagKey":"team","tagValue":"a b"},{"tagKey":"x","tagValue":""}]}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "UntagResource", body: `{"KeyId":"$ID","TagKeys":["team","y"]}`, request: `{"keyId":"$ID","tagKeys":["team","y"]}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "ListResourceTags", body: `{"KeyId":"$ID","Limit":5}`, request: `{"keyId":"$ID","limit":5}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "GetKeyLastUsage", body: `{"KeyId":"$ARN"}`, request: `{"keyId":"$ARN"}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "ListKeyPolicies", body: `{"KeyId":"$ID"}`, request: `{"keyId":"$ID"}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "EnableKeyRotation", body: `{"KeyId":"$ID","RotationPeriodInDays":90}`, request: `{"keyId":"$ID","rotationPeriodInDays":90}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "EnableKeyRotation", body: `{"KeyId":"$ID"}`, request: `{"keyId":"$ID"}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "GetKeyRotationStatus", body: `{"KeyId":"$ARN"}`, request: `{"keyId":"$ARN"}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "DisableKeyRotation", body: `{"KeyId":"$ID"}`, request: `{"keyId":"$ID"}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "RotateKeyOnDemand", body: `{"KeyId":"$ID"}`, request: `{"keyId":"$ID"}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "ListKeyRotations", body: `{"KeyId":"$ID","IncludeKeyMaterial":"ALL_KEY_MATERIAL","Limit":9}`,
		request: `{"keyId":"$ID","includeKeyMaterial":"ALL_KEY_MATERIAL","limit":9}`, response: `null`, res: `[` + keyResource + `]`, readOnly: true},
	{op: "ScheduleKeyDeletion", body: `{"KeyId":"$ID","PendingWindowInDays":7}`, request: `{"keyId":"$ID","pendingWindowInDays":7}`, res: `[` + keyResource + `]`,
		response: `{"keyId":"$ARN","keyState":"PendingDeletion","deletionDate":"Dec 1, 2026, 12:00:00 PM","pendingWindowInDays":7}`},
	{op: "TagResource", body: `{"KeyId":"$ID","Tags":[]}`, request: `{"keyId":"$ID"}`, res: `[` + keyResource + `]`,
		errorCode: "KMSInvalidStateException", errorMessage: "$ARN is pending deletion."},
	{op: "CancelKeyDeletion", body: `{"KeyId":"$ID"}`, request: `{"keyId":"$ID"}`, response: `{"keyId":"$ARN"}`, res: `[` + keyResource + `]`},
	{op: "CancelKeyDeletion", body: `{"KeyId":"$ID"}`, request: `{"keyId":"$ID"}`, res: `[` + keyResource + `]`,
		errorCode: "KMSInvalidStateException", errorMessage: "$ARN is not pending deletion."},
	{op: "ScheduleKeyDeletion", body: `{"KeyId":"$ID"}`, request: `{"keyId":"$ID"}`, res: `[` + keyResource + `]`,
		response: `{"keyId":"$ARN","keyState":"PendingDeletion","deletionDate":"Dec 24, 2026, 12:00:00 PM","pendingWindowInDays":30}`},
	{op: "ScheduleKeyDeletion", body: `{"KeyId":"$ID","PendingWindowInDays":31}`, request: `{"keyId":"$ID","pendingWindowInDays":31}`,
		errorCode: "ValidationException", errorMessage: "PendingWindowInDays must be between 7 and 30."},
}

func TestLifeRecords(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	for _, row := range life {
		t.Run(row.op+" "+row.errorCode, func(t *testing.T) { testRecord(t, s, row, []string{"$ID", key, "$ARN", testkit.ARN(key)}) })
	}
}

// The records of refusals: the parameters as far as they were read, the key as far
// as it was resolved.
var refusalCases = []recordCase{
	{op: "Encrypt", body: `{"KeyId":"$ALIAS","Plaintext":"cGxhaW50ZXh0","GrantTokens":["secretToken"]}`, request: `{"keyId":"$ALIAS","encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`,
		res: `[` + keyResource + `]`, readOnly: true, errorCode: "InvalidGrantTokenException", errorMessage: "The grant token is not valid."},
	{op: "Encrypt", body: `{"KeyId":"alias/nope","Plaintext":"cGxhaW50ZXh0"}`, request: `{"keyId":"alias/nope","encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`,
		readOnly: true, errorCode: "NotFoundException", errorMessage: "Alias arn:aws:kms:us-east-1:111122223333:alias/nope is not found."},
	{op: "Encrypt", body: `{"KeyId":"$ID","Plaintext":"cGxhaW50ZXh0","DryRun":true}`, request: `{"keyId":"$ID","encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`,
		res: `[` + keyResource + `]`, readOnly: true, errorCode: "DryRunOperationException", errorMessage: "The request would have succeeded, but the DryRun option is set."},
	{op: "Encrypt", body: `{"KeyId":"$ID"}`, request: `null`, readOnly: true, errorCode: "ValidationException",
		errorMessage: "1 validation error detected: Value null at 'plaintext' failed to satisfy constraint: Member must not be null"},
	{op: "Encrypt", body: `{"KeyId":`, request: `null`, readOnly: true, errorCode: "SerializationException"},
	{op: "Decrypt", body: `{"CiphertextBlob":"Y2lwaGVydGV4dA=="}`, request: `{"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, readOnly: true, errorCode: "InvalidCiphertextException"},
	{op: "Decrypt", body: `{"CiphertextBlob":"$BLOB","EncryptionContext":{"a":"1"}}`, request: `{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"a":"1"}}`,
		res: `[` + keyResource + `]`, readOnly: true, errorCode: "InvalidCiphertextException"},
	{op: "Decrypt", body: `{"CiphertextBlob":"$BLOB"}`, caller: testkit.OtherKey, request: `{"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, readOnly: true, errorCode: "AccessDenied",
		errorMessage: "User: arn:aws:iam::444455556666:root is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext" + threeReasons},
	{op: "Encrypt", body: `{"KeyId":"$ARN","Plaintext":"cGxhaW50ZXh0"}`, caller: testkit.OtherKey, request: `{"keyId":"$ARN","encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, readOnly: true,
		errorCode: "AccessDenied", errorMessage: "User: arn:aws:iam::444455556666:root is not authorized to perform: kms:Encrypt on resource: $ARN" + threeReasons},
	{op: "Encrypt", body: `{"KeyId":"$ARN","Plaintext":"cGxhaW50ZXh0","GrantTokens":["secretToken"]}`, caller: testkit.OtherKey, request: `{"keyId":"$ARN","encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, readOnly: true,
		errorCode: "InvalidGrantTokenException", errorMessage: "The grant token is not valid."},
	{op: "ReEncrypt", body: `{"CiphertextBlob":"$BLOB","DestinationKeyId":"alias/nope"}`,
		request: `{"sourceEncryptionAlgorithm":"SYMMETRIC_DEFAULT","destinationKeyId":"alias/nope","destinationEncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`,
		res:     `[` + keyResource + `]`, readOnly: true, errorCode: "NotFoundException", errorMessage: "Alias arn:aws:kms:us-east-1:111122223333:alias/nope is not found."},
	{op: "Verify", body: `{"KeyId":"$SIGN","Message":"cGxhaW50ZXh0","SigningAlgorithm":"ECDSA_SHA_256","Signature":"$SIGNATURE"}`,
		request: `{"keyId":"$SIGN","messageType":"RAW","signingAlgorithm":"ECDSA_SHA_256"}`, res: `[` + signResource + `]`, readOnly: true, errorCode: "KMSInvalidSignatureException"},
	{op: "DeriveSharedSecret", body: `{"KeyId":"$ECDH","KeyAgreementAlgorithm":"ECDH","PublicKey":"AA=="}`,
		request: `{"keyId":"$ECDH","keyAgreementAlgorithm":"ECDH"}`, res: `[` + ecdhResource + `]`, readOnly: true, errorCode: "ValidationException", errorMessage: badPublicKey("ECC_NIST_P256").message},
	{op: "Decapsulate", body: `{"KeyId":"$KEM","SharedSecretCiphertextBlob":"AA==","EncapsulationAlgorithm":"ML_KEM"}`,
		request: `{"keyId":"$KEM","encapsulationAlgorithm":"ML_KEM"}`, res: `[` + kemResource + `]`, readOnly: true, errorCode: "InvalidCiphertextException"},
	{op: "VerifyMac", body: `{"KeyId":"$MACKEY","Message":"cGxhaW50ZXh0","MacAlgorithm":"HMAC_SHA_256","Mac":"$MAC"}`,
		request: `{"keyId":"$MACKEY","macAlgorithm":"HMAC_SHA_256"}`, res: `[` + macResource + `]`, readOnly: true, errorCode: "KMSInvalidMacException"},
	{op: "Sign", body: `{"KeyId":"$ID","Message":"cGxhaW50ZXh0","SigningAlgorithm":"ECDSA_SHA_256"}`, request: `{"keyId":"$ID","messageType":"RAW","signingAlgorithm":"ECDSA_SHA_256"}`,
		res: `[` + keyResource + `]`, readOnly: true, errorCode: "InvalidKeyUsageException", errorMessage: "$ARN key usage is ENCRYPT_DECRYPT which is not valid for Sign."},
	{op: "GenerateRandom", body: `{"NumberOfBytes":1,"CustomKeyStoreId":"cks-1"}`, request: `{"customKeyStoreId":"cks-1"}`, res: `[]`, readOnly: true,
		errorCode: "CustomKeyStoreNotFoundException", errorMessage: "The custom key store does not exist."},
	{op: "ListKeys", body: `{"Marker":"x"}`, request: `{"marker":"x"}`, res: `[]`, readOnly: true, errorCode: "InvalidMarkerException", errorMessage: "Could not deserialize marker 'x'"},
	{op: "CreateAlias", body: `{"AliasName":"$ALIAS","TargetKeyId":"$ID"}`, request: `{"aliasName":"$ALIAS","targetKeyId":"$ID"}`,
		res: `[` + aliasResource("$ALIAS") + `,` + keyResource + `]`, errorCode: "AlreadyExistsException", errorMessage: "An alias with the name arn:aws:kms:us-east-1:111122223333:$ALIAS already exists"},
	{op: "CreateGrant", body: `{"KeyId":"$ID","GranteePrincipal":"111122223333","Operations":["Sign"]}`, request: `{"keyId":"$ID","operations":["Sign"],"granteePrincipal":"111122223333"}`,
		res: `[` + keyResource + `]`, errorCode: "ValidationException", errorMessage: "Sign is not supported for this key"},
	{op: "RetireGrant", body: `{"GrantToken":"secretToken"}`, request: `null`, errorCode: "InvalidGrantTokenException", errorMessage: "The grant token is not valid."},
	{op: "RetireGrant", body: `{"KeyId":"$ID","GrantId":"` + noGrant + `"}`, request: `{"keyId":"$ID","grantId":"` + noGrant + `"}`, res: `[` + keyResource + `]`,
		errorCode: "NotFoundException", errorMessage: "Grant ID " + noGrant + " not found"},
	{op: "RetireGrant", body: `{"KeyId":"$ARN","GrantId":"` + noGrant + `"}`, caller: testkit.OtherKey, request: `{"keyId":"$ARN","grantId":"` + noGrant + `"}`, errorCode: "AccessDenied",
		errorMessage: "User: arn:aws:iam::444455556666:root is not authorized to perform: kms:RetireGrant on resource: $ARN" + threeReasons},
	{op: "RevokeGrant", body: `{"KeyId":"$ID","GrantId":"$FOREVER","DryRun":true}`, request: `{"keyId":"$ID","grantId":"$FOREVER"}`, res: `[` + keyResource + `]`,
		errorCode: "DryRunOperationException", errorMessage: "The request would have succeeded, but the DryRun option is set."},
	{op: "CreateAlias", body: `{"AliasName":"alias/aws/x","TargetKeyId":"$ID"}`, request: `{"aliasName":"alias/aws/x","targetKeyId":"$ID"}`, errorCode: "NotAuthorizedException"},
	{op: "DisableKey", body: `{"KeyId":"$ARN"}`, caller: testkit.OtherKey, request: `{"keyId":"$ARN"}`,
		errorCode: "AccessDenied", errorMessage: "User: arn:aws:iam::444455556666:root is not authorized to perform: kms:DisableKey on resource: $ARN" + threeReasons},
	{op: "CreateKey", body: `{"Origin":"EXTERNAL","KeySpec":"ML_DSA_44","KeyUsage":"SIGN_VERIFY"}`, res: `[]`,
		request:   `{"origin":"EXTERNAL","bypassPolicyLockoutSafetyCheck":false,"customerMasterKeySpec":"ML_DSA_44","keySpec":"ML_DSA_44","keyUsage":"SIGN_VERIFY"}`,
		errorCode: "UnsupportedOperationException", errorMessage: "KeySpec ML_DSA_44 is not supported for keys of Origin EXTERNAL."},
}

func TestRecords(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, to := s.NewKey(t), s.NewKey(t)
	s.NewAlias(t, "alias/app", key)
	signer, mac := newKeyFor(t, s, "Verify"), newKeyFor(t, s, "VerifyMac")
	made := slices.Concat(newMade(t, s, "Verify", signer), []string{"$SIGNARN", testkit.ARN(signer), "$SIGN", signer, "$MACARN", testkit.ARN(mac), "$MACKEY", mac}, newMade(t, s, "VerifyMac", mac))
	kem, ecdh := newKeyFor(t, s, "Decapsulate"), newKeyFor(t, s, "DeriveSharedSecret")
	made = slices.Concat(made, newMade(t, s, "Decapsulate", kem), []string{"$KEMARN", testkit.ARN(kem), "$KEM", kem, "$ECDHARN", testkit.ARN(ecdh), "$ECDH", ecdh})
	tokened := s.Must(t, "CreateGrant", obj{"KeyId": key, "GranteePrincipal": testkit.Account, "Operations": []string{"Decrypt"}})
	made = append(made, "$TOKEN", tokened["GrantToken"].(string), "$BYTOKEN", tokened["GrantId"].(string))
	for _, name := range []string{"$GRANT", "$REVOKE", "$FOREVER"} {
		made = append(made, name, newGrant(t, s, key, testkit.Account, "Decrypt"))
	}
	names := append(made, "$ID", key, "$ARN", testkit.ARN(key), "$M", materialOf(t, s, key), "$TO", testkit.ARN(to), "$TM", materialOf(t, s, to), "$ALIAS", "alias/app", "$BLOB", s.NewBlob(t, key),
		"$POLICY", `{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"111122223333\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}]}`)
	for _, row := range append(recordCases, refusalCases...) {
		t.Run(row.op+" "+row.errorCode, func(t *testing.T) { testRecord(t, s, row, names) })
	}
}

func testRecord(t *testing.T, s *testkit.Solo, row recordCase, names []string) {
	who := testkit.Root
	if row.caller != "" {
		who.AccessKey = row.caller
	}
	a := s.Call(t, who, row.op, fill(row.body, names...))
	if made, ok := a.Body["KeyMetadata"].(obj); ok {
		names = append([]string{"$NEW", made["KeyId"].(string), "$NM", made["CurrentKeyMaterialId"].(string)}, names...)
	}
	if id, ok := a.Body["GrantId"].(string); ok {
		names = append([]string{"$GRANTID", id}, names...)
	}
	rec := s.Record(t, a)
	wantMember := func(name, want string) {
		t.Helper()
		got, present := rec[name]
		if present != (want != "") {
			t.Errorf("%s is %v, want %q", name, got, want)
		} else if present {
			wantJSON(t, got, fill(want, names...))
		}
	}
	if row.errorCode != "" {
		row.response = `null`
	}
	wantMember("requestParameters", row.request)
	wantMember("responseElements", row.response)
	wantMember("additionalEventData", row.event)
	wantMember("resources", row.res)
	if rec["eventName"] != row.op || rec["readOnly"] != row.readOnly {
		t.Errorf("eventName %v, readOnly %v", rec["eventName"], rec["readOnly"])
	}
	code, _ := rec["errorCode"].(string)
	message, _ := rec["errorMessage"].(string)
	if code != row.errorCode || message != fill(row.errorMessage, names...) {
		t.Errorf("errorCode %q, errorMessage %q", code, message)
	}
}

// Every member of a record, once.
func TestWholeRecord(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	a := s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": key})
	rec := s.Record(t, a)
	if id, _ := rec["eventID"].(string); !uuid.MatchString(id) {
		t.Errorf("eventID is %v", rec["eventID"])
	}
	delete(rec, "eventID")
	delete(rec, "kmsd") // the chain of the file, which package audit tests
	wantJSON(t, rec, fill(`{"eventVersion":"1.11","userIdentity":{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333",
		"accessKeyId":"AKIAIOSFODNN7EXAMPLE"},"eventTime":"2026-11-24T12:00:00Z","eventSource":"kms.amazonaws.com","eventName":"DescribeKey","awsRegion":"us-east-1",
		"sourceIPAddress":"192.0.2.7","userAgent":"test/1","requestParameters":{"keyId":"$ID"},"responseElements":null,"requestID":"$REQUEST","readOnly":true,
		"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"$ARN"}],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333",
		"eventCategory":"Management","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.us-east-1.amazonaws.com"}}`,
		"$ID", key, "$ARN", testkit.ARN(key), "$REQUEST", a.RequestID))
}

// What must never be logged: plaintexts, ciphertexts, data keys, random bytes and
// grant tokens, of calls that succeed and of calls that fail.
func TestRecordsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	plaintext, token := []byte("a plaintext that nobody logs"), "a-grant-token-that-nobody-logs"
	secrets := map[string][]byte{"plaintext": plaintext, "token": []byte(token)}
	sealed := unb64(t, s.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": b64(plaintext)})["CiphertextBlob"])
	made := s.Must(t, "GenerateDataKey", obj{"KeyId": key, "KeySpec": "AES_256"})
	secrets["ciphertext"], secrets["data key"], secrets["sealed data key"] = sealed, unb64(t, made["Plaintext"]), unb64(t, made["CiphertextBlob"])
	secrets["random"] = unb64(t, s.Must(t, "GenerateRandom", obj{"NumberOfBytes": 64})["Plaintext"])
	secrets["closed data key"] = unb64(t, s.Must(t, "GenerateDataKeyWithoutPlaintext", obj{"KeyId": key, "KeySpec": "AES_256"})["CiphertextBlob"])
	secrets["re-encrypted"] = unb64(t, s.Must(t, "ReEncrypt", obj{"CiphertextBlob": b64(sealed), "DestinationKeyId": key})["CiphertextBlob"])
	s.Must(t, "Decrypt", obj{"CiphertextBlob": b64(sealed)})
	for name, secret := range signAndMac(t, s, plaintext) {
		secrets[name] = secret
	}
	granted := s.Must(t, "CreateGrant", obj{"KeyId": key, "GranteePrincipal": testkit.Account, "Operations": []string{"Decrypt"}})["GrantToken"].(string)
	secrets["grant token"], secrets["grant token as text"] = unb64(t, granted), []byte(granted)
	s.Must(t, "Decrypt", obj{"CiphertextBlob": b64(sealed), "GrantTokens": []string{granted}})
	s.Must(t, "RetireGrant", obj{"GrantToken": granted})
	s.Call(t, testkit.Root, "RetireGrant", obj{"GrantToken": granted})
	pair := s.Must(t, "GenerateDataKeyPair", obj{"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"})
	secrets["private key of a pair"], secrets["sealed private key"] = unb64(t, pair["PrivateKeyPlaintext"]), unb64(t, pair["PrivateKeyCiphertextBlob"])
	secrets["scalar of a pair"] = secrets["private key of a pair"][36:68] // behind the head that all P-256 keys share (RFC 5915, RFC 5208)
	for name, secret := range shareSecrets(t, s) {
		secrets[name] = secret
	}
	for _, body := range []obj{
		{"CiphertextBlob": b64(sealed), "EncryptionContext": obj{"a": "1"}}, {"CiphertextBlob": b64(sealed), "KeyId": "alias/nope"},
		{"CiphertextBlob": b64(sealed), "GrantTokens": []string{token}}, {"CiphertextBlob": b64(append(sealed, 0)), "KeyId": key},
		{"CiphertextBlob": b64(bytes.Repeat(sealed, 60)), "KeyId": key}, {"CiphertextBlob": b64(sealed) + "!"}, {"CiphertextBlob": b64(sealed), "GrantTokens": []any{token, 1}},
		{"CiphertextBlob": obj{"x": b64(sealed)}},
	} {
		s.Call(t, testkit.Root, "Decrypt", body)
	}
	for _, body := range []obj{
		{"KeyId": "alias/nope", "Plaintext": b64(plaintext)}, {"KeyId": key, "Plaintext": b64(bytes.Repeat(plaintext, 200))}, {"KeyId": key, "Plaintext": string(plaintext)},
		{"KeyId": key, "Plaintext": b64(plaintext), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}, {"Plaintext": b64(plaintext)},
	} {
		s.Call(t, testkit.Root, "Encrypt", body)
	}
	wantNowhere(t, s.AuditDir, secrets)
}

// signAndMac makes calls with the message, good ones and bad ones, and returns what they
// were answered and the secrets of the keys.
func signAndMac(t *testing.T, s *testkit.Solo, message []byte) map[string][]byte {
	t.Helper()
	signer, keyed := newKeyOf(t, s, "ECC_NIST_EDWARDS25519 SIGN_VERIFY"), newKeyFor(t, s, "GenerateMac")
	sign := obj{"KeyId": signer, "Message": b64(message), "SigningAlgorithm": "ED25519_SHA_512"}
	mac := obj{"KeyId": keyed, "Message": b64(message), "MacAlgorithm": "HMAC_SHA_256"}
	signed, maced := s.Must(t, "Sign", sign)["Signature"], s.Must(t, "GenerateMac", mac)["Mac"]
	for _, more := range []obj{{}, {"Message": "AA=="}, {"KeyId": "alias/nope"}, {"MessageType": "DIGEST"}, {"Message": b64(bytes.Repeat(message, 200))}, {"Message": string(message)}} {
		for op, body := range map[string]obj{
			"Sign": sign, "Verify": with(sign, obj{"Signature": signed}), "GenerateMac": mac, "VerifyMac": with(mac, obj{"Mac": maced}),
		} {
			s.Call(t, testkit.Root, op, with(body, more))
		}
	}
	secret := secretOf(t, s, signer)
	return map[string][]byte{"signature": unb64(t, signed), "MAC": unb64(t, maced), "HMAC key": secretOf(t, s, keyed), "private key": secret[len(secret)-32:]}
}

// shareSecrets makes calls that share secrets, good ones and bad ones, and returns what
// they were answered and the secrets of the keys.
func shareSecrets(t *testing.T, s *testkit.Solo) map[string][]byte {
	t.Helper()
	ecdh, kem := newKeyFor(t, s, "DeriveSharedSecret"), newKeyFor(t, s, "Encapsulate")
	derive := obj{"KeyId": ecdh, "KeyAgreementAlgorithm": "ECDH", "PublicKey": b64(publicOf(t, s, newKeyFor(t, s, "DeriveSharedSecret")))}
	encapsulate := obj{"KeyId": kem, "EncapsulationAlgorithm": "ML_KEM"}
	agreed, made := s.Must(t, "DeriveSharedSecret", derive), s.Must(t, "Encapsulate", encapsulate)
	decapsulate := with(encapsulate, obj{"SharedSecretCiphertextBlob": made["SharedSecretCiphertextBlob"]})
	for _, more := range []obj{{}, {"KeyId": "alias/nope"}, {"DryRun": true}, {"PublicKey": "AA==", "SharedSecretCiphertextBlob": "AA=="}} {
		for op, body := range map[string]obj{"DeriveSharedSecret": derive, "Encapsulate": encapsulate, "Decapsulate": decapsulate} {
			s.Call(t, testkit.Root, op, with(body, more))
		}
	}
	return map[string][]byte{
		"agreed": unb64(t, agreed["SharedSecret"]), "encapsulated": unb64(t, made["SharedSecret"]), "its ciphertext": unb64(t, made["SharedSecretCiphertextBlob"]),
		"agreement key": secretOf(t, s, ecdh), "encapsulation key": secretOf(t, s, kem),
	}
}

// wantNowhere searches the directory's files for secrets: raw, in hexadecimal and
// in base64 at each of its three phases.
func wantNowhere(t *testing.T, dir string, secrets map[string][]byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for name, secret := range secrets {
			for form, needle := range needles(secret) {
				if bytes.Contains(text, needle) {
					t.Errorf("%s holds the %s in form %s", filepath.Base(f), name, form)
				}
			}
		}
	}
}

func needles(secret []byte) map[string][]byte {
	part := secret[:min(len(secret), 18)]
	out := map[string][]byte{"raw": part, "hex": []byte(hex.EncodeToString(part))}
	for phase := range 3 {
		text := b64(append(make([]byte, phase), part...))
		out["base64 "+string(rune('0'+phase))] = []byte(text[4 : len(text)-4])
	}
	return out
}

func TestNeedlesFindTheirSecret(t *testing.T) {
	t.Parallel()
	secret := []byte("a secret of 24 characters")
	for phase, form := range []string{"base64 0", "base64 1", "base64 2"} {
		if text := b64(append(bytes.Repeat([]byte("x"), 3+phase), secret...)); !strings.Contains(text, string(needles(secret)[form])) {
			t.Errorf("%s is not in %s", form, text)
		}
	}
}

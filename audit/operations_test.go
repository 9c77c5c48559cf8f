package audit_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/audit"
)

// The typed resources of these tests.
const (
	noResources    = `"resources":[],`
	keyResource    = `"resources":[{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],`
	twoKeys        = `"resources":[{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"},{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/0987dcba-09fe-87dc-65ba-ab0987654321"}],`
	aliasResources = `"resources":[{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:alias/app"},{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],`
	keyElement     = `{"keyId":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}`
)

// The contents that aws/kms-behaviour.md §7.3 gives each operation.
var operations = []struct {
	name       string
	write      bool
	fill       func(r *audit.Record)
	request    string
	response   string
	additional string // with its comma
	resources  string
}{
	{name: "Encrypt", fill: func(r *audit.Record) {
		r.RequestParameters.String("keyId", "alias/app")
		r.RequestParameters.String("encryptionAlgorithm", "SYMMETRIC_DEFAULT")
		r.RequestParameters.Map("encryptionContext", map[string]string{"stage": "prod", "app": "x"})
		r.Resources = []audit.Resource{key(keyARN)}
	},
		request:   `{"keyId":"alias/app","encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"app":"x","stage":"prod"}}`,
		response:  `null`,
		resources: keyResource},
	{name: "Decrypt", fill: func(r *audit.Record) {
		r.RequestParameters.String("encryptionAlgorithm", "SYMMETRIC_DEFAULT")
		r.Additional.String("keyMaterialId", material)
		r.Resources = []audit.Resource{key(keyARN)}
	},
		request:    `{"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`,
		response:   `null`,
		additional: `"additionalEventData":{"keyMaterialId":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},`,
		resources:  keyResource},
	{name: "ReEncrypt", fill: func(r *audit.Record) {
		p := &r.RequestParameters
		p.String("sourceEncryptionAlgorithm", "SYMMETRIC_DEFAULT")
		p.Map("sourceEncryptionContext", map[string]string{"a": "1"})
		p.String("sourceKeyId", keyID)
		p.String("destinationKeyId", otherARN)
		p.String("destinationEncryptionAlgorithm", "SYMMETRIC_DEFAULT")
		p.Map("destinationEncryptionContext", map[string]string{"b": "2"})
		r.Additional.String("sourceKeyMaterialId", material)
		r.Additional.String("destinationKeyMaterialId", material)
		r.Resources = []audit.Resource{key(keyARN), key(otherARN)}
	},
		request:    `{"sourceEncryptionAlgorithm":"SYMMETRIC_DEFAULT","sourceEncryptionContext":{"a":"1"},"sourceKeyId":"1234abcd-12ab-34cd-56ef-1234567890ab","destinationKeyId":"arn:aws:kms:us-east-1:111111111111:key/0987dcba-09fe-87dc-65ba-ab0987654321","destinationEncryptionAlgorithm":"SYMMETRIC_DEFAULT","destinationEncryptionContext":{"b":"2"}}`,
		response:   `null`,
		additional: `"additionalEventData":{"sourceKeyMaterialId":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","destinationKeyMaterialId":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},`,
		resources:  twoKeys},
	{name: "GenerateDataKey", fill: func(r *audit.Record) {
		r.RequestParameters.String("keyId", keyID)
		r.RequestParameters.String("keySpec", "AES_256")
		r.Additional.String("keyMaterialId", material)
		r.Resources = []audit.Resource{key(keyARN)}
	},
		request:    `{"keyId":"1234abcd-12ab-34cd-56ef-1234567890ab","keySpec":"AES_256"}`,
		response:   `null`,
		additional: `"additionalEventData":{"keyMaterialId":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},`,
		resources:  keyResource},
	{name: "GenerateDataKeyWithoutPlaintext", fill: func(r *audit.Record) {
		r.RequestParameters.String("keyId", keyID)
		r.RequestParameters.Int("numberOfBytes", 64)
		r.RequestParameters.Map("encryptionContext", map[string]string{"a": "1"})
		r.Additional.String("keyMaterialId", material)
		r.Resources = []audit.Resource{key(keyARN)}
	},
		request:    `{"keyId":"1234abcd-12ab-34cd-56ef-1234567890ab","numberOfBytes":64,"encryptionContext":{"a":"1"}}`,
		response:   `null`,
		additional: `"additionalEventData":{"keyMaterialId":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},`,
		resources:  keyResource},
	{name: "GenerateRandom", fill: func(r *audit.Record) { r.Resources = []audit.Resource{} },
		request: `null`, response: `null`, resources: noResources},
	{name: "DescribeKey", fill: func(r *audit.Record) {
		r.RequestParameters.String("keyId", "alias/app")
		r.Resources = []audit.Resource{key(keyARN)}
	},
		request: `{"keyId":"alias/app"}`, response: `null`, resources: keyResource},
	{name: "GetKeyPolicy", fill: func(r *audit.Record) {
		r.RequestParameters.String("keyId", keyID)
		r.RequestParameters.String("policyName", "default")
		r.Resources = []audit.Resource{key(keyARN)}
	},
		request: `{"keyId":"1234abcd-12ab-34cd-56ef-1234567890ab","policyName":"default"}`, response: `null`, resources: keyResource},
	{name: "ListKeys", fill: func(r *audit.Record) {
		r.RequestParameters.Int("limit", 100)
		r.RequestParameters.String("marker", "m1")
		r.Resources = []audit.Resource{}
	},
		request: `{"limit":100,"marker":"m1"}`, response: `null`, resources: noResources},
	{name: "ListAliases", fill: func(r *audit.Record) {
		r.RequestParameters.String("keyId", keyID)
		r.Resources = []audit.Resource{key(keyARN)}
	},
		request: `{"keyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}`, response: `null`, resources: keyResource},
	{name: "CreateKey", write: true, fill: createKey,
		request: `{"description":"","origin":"AWS_KMS","bypassPolicyLockoutSafetyCheck":false,"customerMasterKeySpec":"SYMMETRIC_DEFAULT","keySpec":"SYMMETRIC_DEFAULT","keyUsage":"ENCRYPT_DECRYPT","tags":[{"tagKey":"team","tagValue":"a"},{"tagKey":"cost","tagValue":""}]}`,
		response: `{"keyMetadata":{"AWSAccountId":"111111111111","keyId":"1234abcd-12ab-34cd-56ef-1234567890ab","arn":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab",` +
			`"creationDate":"May 1, 2024, 12:00:00 PM","enabled":true,"description":"","keyUsage":"ENCRYPT_DECRYPT","keyState":"Enabled","origin":"AWS_KMS","keyManager":"CUSTOMER",` +
			`"customerMasterKeySpec":"SYMMETRIC_DEFAULT","keySpec":"SYMMETRIC_DEFAULT","encryptionAlgorithms":["SYMMETRIC_DEFAULT"],"multiRegion":false,` +
			`"currentKeyMaterialId":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}}`,
		resources: keyResource},
	{name: "EnableKey", write: true, fill: keyWrite, request: `{"keyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}`, response: keyElement, resources: keyResource},
	{name: "DisableKey", write: true, fill: keyWrite, request: `{"keyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}`, response: keyElement, resources: keyResource},
	{name: "CreateAlias", write: true, fill: aliasWrite, request: `{"aliasName":"alias/app","targetKeyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}`, response: keyElement, resources: aliasResources},
	{name: "UpdateAlias", write: true, fill: aliasWrite, request: `{"aliasName":"alias/app","targetKeyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}`, response: keyElement, resources: aliasResources},
	{name: "DeleteAlias", write: true, fill: func(r *audit.Record) {
		r.RequestParameters.String("aliasName", "alias/app")
		r.Resources = []audit.Resource{key(aliasARN), key(keyARN)}
	},
		request: `{"aliasName":"alias/app"}`, response: `null`, resources: aliasResources},
	{name: "GetCallerIdentity", fill: func(r *audit.Record) { r.EventSource = audit.SourceSTS },
		request: `null`, response: `null`},
}

func createKey(r *audit.Record) {
	p := &r.RequestParameters
	p.String("description", "")
	p.String("origin", "AWS_KMS")
	p.Bool("bypassPolicyLockoutSafetyCheck", false)
	p.String("customerMasterKeySpec", "SYMMETRIC_DEFAULT")
	p.String("keySpec", "SYMMETRIC_DEFAULT")
	p.String("keyUsage", "ENCRYPT_DECRYPT")
	tags := [][2]string{{"team", "a"}, {"cost", ""}}
	p.Objects("tags", len(tags), func(i int, p *audit.Params) {
		p.String("tagKey", tags[i][0])
		p.String("tagValue", tags[i][1])
	})
	r.ResponseElements.Object("keyMetadata", keyMetadata)
	r.Resources = []audit.Resource{key(keyARN)}
}

func keyMetadata(p *audit.Params) {
	p.String("AWSAccountId", "111111111111")
	p.String("keyId", keyID)
	p.String("arn", keyARN)
	p.Time("creationDate", 1714564800999)
	p.Bool("enabled", true)
	p.String("description", "")
	p.String("keyUsage", "ENCRYPT_DECRYPT")
	p.String("keyState", "Enabled")
	p.String("origin", "AWS_KMS")
	p.String("keyManager", "CUSTOMER")
	p.String("customerMasterKeySpec", "SYMMETRIC_DEFAULT")
	p.String("keySpec", "SYMMETRIC_DEFAULT")
	p.Strings("encryptionAlgorithms", []string{"SYMMETRIC_DEFAULT"})
	p.Bool("multiRegion", false)
	p.String("currentKeyMaterialId", material)
}

func keyWrite(r *audit.Record) {
	r.RequestParameters.String("keyId", keyID)
	r.ResponseElements.String("keyId", keyARN)
	r.Resources = []audit.Resource{key(keyARN)}
}

func aliasWrite(r *audit.Record) {
	r.RequestParameters.String("aliasName", "alias/app")
	r.RequestParameters.String("targetKeyId", keyID)
	r.ResponseElements.String("keyId", keyARN)
	r.Resources = []audit.Resource{key(aliasARN), key(keyARN)}
}

// frame is every record's part that does not depend on the operation's contents.
const frame = `{"eventVersion":"1.11",` +
	`"userIdentity":{"type":"Root","principalId":"111111111111","arn":"arn:aws:iam::111111111111:root","accountId":"111111111111","accessKeyId":"AKIAIOSFODNN7EXAMPLE"},` +
	`"eventTime":"2024-05-01T12:00:00Z","eventSource":"SOURCE","eventName":"NAME","awsRegion":"us-east-1",` +
	`"sourceIPAddress":"192.0.2.7","userAgent":"aws-sdk-go-v2/1.26.1",` +
	`"requestParameters":REQUEST,"responseElements":RESPONSE,ADDITIONAL` +
	`"requestID":"4e5d4b1c-0000-4000-8000-000000000002","eventID":"e158beb4-0000-4000-8000-000000000001","readOnly":READONLY,RESOURCES` +
	`"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111111111111","eventCategory":"Management",` +
	`"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.us-east-1.amazonaws.com"}}`

func TestOperations(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			r := newRecord(op.name)
			r.ReadOnly = !op.write
			op.fill(r)
			source, readOnly := "kms.amazonaws.com", "true"
			if op.name == "GetCallerIdentity" {
				source = "sts.amazonaws.com"
			}
			if op.write {
				readOnly = "false"
			}
			check(t, r, strings.NewReplacer("SOURCE", source, "NAME", op.name, "REQUEST", op.request, "RESPONSE", op.response,
				"ADDITIONAL", op.additional, "READONLY", readOnly, "RESOURCES", op.resources).Replace(frame))
		})
	}
}

package kms_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/kms"
)

// TestResponses types its bodies from the behaviour document and AWS's examples.
func TestResponses(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1700000000123)
	for _, c := range []struct {
		name string
		out  wire.Response
		want string
	}{
		{"empty structure", &kms.ConnectCustomKeyStoreResponse{}, `{}`},
		{"everything absent", &kms.DescribeKeyResponse{}, `{}`},
		{"Encrypt", &kms.EncryptResponse{CiphertextBlob: []byte{0, 0xff, 0xfe}, KeyId: new("arn"), EncryptionAlgorithm: "SYMMETRIC_DEFAULT"},
			`{"CiphertextBlob":"AP/+","KeyId":"arn","EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`},
		{"Decrypt", &kms.DecryptResponse{KeyId: new("arn"), Plaintext: wire.Sensitive("hunter2"), EncryptionAlgorithm: "SYMMETRIC_DEFAULT", KeyMaterialId: new("00ff")},
			`{"KeyId":"arn","Plaintext":"aHVudGVyMg==","EncryptionAlgorithm":"SYMMETRIC_DEFAULT","KeyMaterialId":"00ff"}`},
		{"false is no absence", &kms.ListKeysResponse{Keys: []kms.KeyListEntry{{KeyId: new("a"), KeyArn: new("b")}, {}}, Truncated: new(false)},
			`{"Keys":[{"KeyId":"a","KeyArn":"b"},{}],"Truncated":false}`},
		{"empty list", &kms.ListAliasesResponse{Aliases: []kms.AliasListEntry{}, Truncated: new(true), NextMarker: new("m")},
			`{"Aliases":[],"NextMarker":"m","Truncated":true}`},
		{"policies are not escaped for HTML", &kms.GetKeyPolicyResponse{Policy: new("{\"a\" : \"<&>\"\n}"), PolicyName: new("default")},
			`{"Policy":"{\"a\" : \"<&>\"\n}","PolicyName":"default"}`},
		{"empty name of a grant", &kms.ListGrantsResponse{Grants: []kms.GrantListEntry{{Name: new(""), CreationDate: &at, Operations: []string{"Decrypt"},
			Constraints: &kms.GrantConstraints{EncryptionContextEquals: map[string]string{"b": "2", "a": "1"}}}}},
			`{"Grants":[{"Name":"","CreationDate":1700000000.123,"Operations":["Decrypt"],"Constraints":{"EncryptionContextEquals":{"a":"1","b":"2"}}}]}`},
		{"KeyMetadata", &kms.CreateKeyResponse{KeyMetadata: &kms.KeyMetadata{
			AWSAccountId: new("111111111111"), KeyId: "mrk-0", Arn: new("arn-0"), CreationDate: &at, Enabled: new(true), Description: new(""),
			KeyUsage: "ENCRYPT_DECRYPT", KeyState: "Enabled", Origin: "AWS_KMS", KeyManager: "CUSTOMER", CustomerMasterKeySpec: "SYMMETRIC_DEFAULT",
			KeySpec: "SYMMETRIC_DEFAULT", EncryptionAlgorithms: []string{"SYMMETRIC_DEFAULT"}, MultiRegion: new(true),
			MultiRegionConfiguration: &kms.MultiRegionConfiguration{MultiRegionKeyType: "PRIMARY",
				PrimaryKey:  &kms.MultiRegionKey{Arn: new("arn-0"), Region: new("us-east-1")},
				ReplicaKeys: []kms.MultiRegionKey{{Arn: new("arn-1"), Region: new("eu-west-1")}}},
			CurrentKeyMaterialId: new("ff"),
		}}, `{"KeyMetadata":{"AWSAccountId":"111111111111","KeyId":"mrk-0","Arn":"arn-0","CreationDate":1700000000.123,"Enabled":true,"Description":"",` +
			`"KeyUsage":"ENCRYPT_DECRYPT","KeyState":"Enabled","Origin":"AWS_KMS","KeyManager":"CUSTOMER","CustomerMasterKeySpec":"SYMMETRIC_DEFAULT",` +
			`"KeySpec":"SYMMETRIC_DEFAULT","EncryptionAlgorithms":["SYMMETRIC_DEFAULT"],"MultiRegion":true,` +
			`"MultiRegionConfiguration":{"MultiRegionKeyType":"PRIMARY","PrimaryKey":{"Arn":"arn-0","Region":"us-east-1"},` +
			`"ReplicaKeys":[{"Arn":"arn-1","Region":"eu-west-1"}]},"CurrentKeyMaterialId":"ff"}}`},
		{"required members are always there", &kms.ListResourceTagsResponse{Tags: []kms.Tag{{TagKey: "a"}}}, `{"Tags":[{"TagKey":"a","TagValue":""}]}`},
		{"integer", &kms.ScheduleKeyDeletionResponse{KeyId: new("a"), DeletionDate: &at, KeyState: "PendingDeletion", PendingWindowInDays: new(30)},
			`{"KeyId":"a","DeletionDate":1700000000.123,"KeyState":"PendingDeletion","PendingWindowInDays":30}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := string(c.out.AppendJSON(nil)); got != strings.ReplaceAll(c.want, "\n}", `\n}`) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if got := string(c.out.AppendJSON([]byte(`{"x":`))); !strings.HasPrefix(got, `{"x":{`) {
				t.Errorf("appended to other text: got %s", got)
			}
		})
	}
}

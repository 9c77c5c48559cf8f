package kmsapi_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

// defaultPolicy is the policy of a key that was created without one, as AWS KMS
// returns it.
const defaultPolicy = `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::111122223333:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`

const usageOfSymmetric = "The operation failed because the KeyUsage value of the CMK is %s. To perform this operation, the KeyUsage value must be ENCRYPT_DECRYPT."

func unsupported(message string) outcome {
	return outcome{"UnsupportedOperationException", message}
}

func tagRefusal(message string) outcome { return outcome{"TagException", message} }

// createRefusals are the bodies that CreateKey refuses.
var createRefusals = []struct {
	name, body string
	want       outcome
}{
	{"both names of the spec", `{"KeySpec":"RSA_2048","CustomerMasterKeySpec":"RSA_4096"}`,
		validation("You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")},
	{"both names, equal", `{"KeySpec":"SYMMETRIC_DEFAULT","CustomerMasterKeySpec":"SYMMETRIC_DEFAULT"}`,
		validation("You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")},
	{"no usage, RSA", `{"KeySpec":"RSA_2048"}`, validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")},
	{"no usage, HMAC", `{"KeySpec":"HMAC_256"}`, validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")},
	{"no usage, old name", `{"CustomerMasterKeySpec":"ECC_NIST_P256"}`, validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")},
	{"symmetric and signing", `{"KeyUsage":"SIGN_VERIFY"}`, validation(fmt.Sprintf(usageOfSymmetric, "SIGN_VERIFY"))},
	{"symmetric and MAC", `{"KeyUsage":"GENERATE_VERIFY_MAC","KeySpec":"SYMMETRIC_DEFAULT"}`, validation(fmt.Sprintf(usageOfSymmetric, "GENERATE_VERIFY_MAC"))},
	{"ECC and encryption", `{"KeySpec":"ECC_NIST_P256","KeyUsage":"ENCRYPT_DECRYPT"}`, validation("KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec ECC_NIST_P256")},
	{"secp256k1 and agreement", `{"KeySpec":"ECC_SECG_P256K1","KeyUsage":"KEY_AGREEMENT"}`, validation("KeyUsage KEY_AGREEMENT is not compatible with KeySpec ECC_SECG_P256K1")},
	{"RSA and MAC", `{"KeySpec":"RSA_4096","KeyUsage":"GENERATE_VERIFY_MAC"}`, validation("KeyUsage GENERATE_VERIFY_MAC is not compatible with KeySpec RSA_4096")},
	{"HMAC and signing", `{"KeySpec":"HMAC_512","KeyUsage":"SIGN_VERIFY"}`, validation("KeyUsage SIGN_VERIFY is not compatible with KeySpec HMAC_512")},
	{"ML-KEM and encryption", `{"KeySpec":"ML_KEM_768","KeyUsage":"ENCRYPT_DECRYPT"}`, validation("KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec ML_KEM_768")},
	{"SM2", `{"KeySpec":"SM2","KeyUsage":"SIGN_VERIFY"}`, unsupported("KeySpec SM2 is not supported in this region")},
	{"imported ML-DSA", `{"KeySpec":"ML_DSA_44","KeyUsage":"SIGN_VERIFY","Origin":"EXTERNAL"}`, unsupported("KeySpec ML_DSA_44 is not supported for keys of Origin EXTERNAL.")},
	{"CloudHSM without a store", `{"Origin":"AWS_CLOUDHSM"}`, validation("You must specify a CustomKeyStoreId for a KMS key with an Origin of AWS_CLOUDHSM.")},
	{"external store without a store", `{"Origin":"EXTERNAL_KEY_STORE","XksKeyId":"k"}`, validation("You must specify a CustomKeyStoreId for a KMS key with an Origin of EXTERNAL_KEY_STORE.")},
	{"store without its origin", `{"CustomKeyStoreId":"cks-1"}`, validation("CustomKeyStoreId can be specified only with an Origin of AWS_CLOUDHSM or EXTERNAL_KEY_STORE.")},
	{"external store without a key", `{"Origin":"EXTERNAL_KEY_STORE","CustomKeyStoreId":"cks-1"}`, validation("You must specify an XksKeyId for a KMS key with an Origin of EXTERNAL_KEY_STORE.")},
	{"external key without its origin", `{"XksKeyId":"k"}`, validation("XksKeyId can be specified only with an Origin of EXTERNAL_KEY_STORE.")},
	{"no such store", `{"Origin":"AWS_CLOUDHSM","CustomKeyStoreId":"cks-1"}`, outcome{"CustomKeyStoreNotFoundException", "The custom key store does not exist."}},
	{"duplicate tags", `{"Tags":[{"TagKey":"a","TagValue":"1"},{"TagKey":"a","TagValue":"2"}]}`, tagRefusal("Duplicate tag keys")},
	{"reserved tag", `{"Tags":[{"TagKey":"aws:x","TagValue":"1"}]}`, tagRefusal("Tags beginning with aws: are reserved")},
	{"reserved tag in capitals", `{"Tags":[{"TagKey":"AwS:x","TagValue":"1"}]}`, tagRefusal("Tags beginning with aws: are reserved")},
	{"51 tags", `{"Tags":[` + tagList(51) + `]}`, tagRefusal("Too many tags")},
	{"tag key with other characters", `{"Tags":[{"TagKey":"a!","TagValue":"1"}]}`, tagRefusal("Tag keys and values can contain only letters, digits, white space and the characters _ . / = + - @ :")},
	{"tag value with other characters", `{"Tags":[{"TagKey":"a","TagValue":"<"}]}`, tagRefusal("Tag keys and values can contain only letters, digits, white space and the characters _ . / = + - @ :")},
	{"empty tag key", `{"Tags":[{"TagKey":"","TagValue":"1"}]}`, constraint("Value '' at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length greater than or equal to 1")},
	{"no JSON policy", `{"Policy":"x"}`, outcome{"MalformedPolicyDocumentException", "Policy contains invalid json"}},
	{"no policy's syntax", `{"Policy":"{}"}`, outcome{"MalformedPolicyDocumentException", "Syntax errors in policy."}},
	{"another account's policy", `{"Policy":"{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"444455556666\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}}"}`,
		outcome{"MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future."}},
	{"policy beyond the quota", `{"Policy":"` + strings.Repeat(" ", 32769) + `"}`, outcome{"LimitExceededException", "The key policy exceeds the size limit of 32768 bytes."}},
	{"policy beyond the model", `{"Policy":"` + "ł" + `"}`, constraint(`Value 'ł' at 'policy' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`)},
}

func tagList(n int) string {
	var tags []string
	for i := range n {
		tags = append(tags, fmt.Sprintf(`{"TagKey":"key%d","TagValue":"v"}`, i))
	}
	return strings.Join(tags, ",")
}

func TestCreateKeyRefuses(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	before := s.Prune(t)
	for _, row := range createRefusals {
		t.Run(row.name, func(t *testing.T) { wantOutcome(t, s.Call(t, testkit.Root, "CreateKey", row.body), row.want) })
	}
	if s.Prune(t) != before {
		t.Error("refused calls changed the state")
	}
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestKeyMetadata(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, row := range []struct{ body, description string }{
		{``, ``},
		{`{}`, ``},
		{`{"Description":null,"Tags":[],"MultiRegion":false}`, ``},
		{`{"Description":"billing \u00fc \ud83d\ude00","KeySpec":"SYMMETRIC_DEFAULT","KeyUsage":"ENCRYPT_DECRYPT","Origin":"AWS_KMS","Tags":[` + tagList(50) + `]}`, "billing ü 😀"},
		{`{"CustomerMasterKeySpec":"SYMMETRIC_DEFAULT","BypassPolicyLockoutSafetyCheck":true,"Unknown":[{}]}`, ``},
	} {
		a := s.Call(t, testkit.Root, "CreateKey", row.body)
		wantOutcome(t, a, success)
		made := a.Body["KeyMetadata"].(obj)
		id, material := made["KeyId"].(string), made["CurrentKeyMaterialId"].(string)
		if !uuid.MatchString(id) {
			t.Errorf("the key ID is %s", id)
		}
		if len(material) != 64 {
			t.Errorf("the material id is %s", material)
		}
		if !strings.Contains(string(a.Raw), `"CreationDate":1795521600.345`) {
			t.Errorf("the date in %s is not 1795521600.345", a.Raw)
		}
		wantJSON(t, a.Body, fill(`{"KeyMetadata":{"AWSAccountId":"111122223333","KeyId":"$ID","Arn":"arn:aws:kms:us-east-1:111122223333:key/$ID",
			"CreationDate":1795521600.345,"Enabled":true,"Description":"$D","KeyUsage":"ENCRYPT_DECRYPT","KeyState":"Enabled","Origin":"AWS_KMS","KeyManager":"CUSTOMER",
			"CustomerMasterKeySpec":"SYMMETRIC_DEFAULT","KeySpec":"SYMMETRIC_DEFAULT","EncryptionAlgorithms":["SYMMETRIC_DEFAULT"],"MultiRegion":false,
			"CurrentKeyMaterialId":"$M"}}`, "$ID", id, "$D", row.description, "$M", material))
		s.Advance(1000)
		wantJSON(t, s.Must(t, "DescribeKey", obj{"KeyId": id}), string(a.Raw))
	}
}

// The largest CreateKey and ReplicateKey that the limits allow must fit into a log entry.
func TestLargestCreateKey(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	wide := "\U00010400" // a letter of four bytes
	var tags []obj
	for i := range 50 {
		tags = append(tags, obj{"TagKey": fmt.Sprintf("%02d", i) + strings.Repeat(wide, 126), "TagValue": strings.Repeat(wide, 256)})
	}
	padded := defaultPolicy + strings.Repeat("\t", 32768-len(defaultPolicy))
	for name, body := range map[string]obj{
		"everything":         {"Description": strings.Repeat(wide, 8192), "Tags": tags, "Policy": padded},
		"control characters": {"Description": strings.Repeat("\x01", 8192), "Tags": tags[:30], "Policy": padded},
		"the longest key":    {"Description": strings.Repeat(wide, 8192), "Tags": tags, "Policy": padded, "KeySpec": "RSA_4096", "KeyUsage": "SIGN_VERIFY"},
		"a long public key":  {"Description": strings.Repeat(wide, 8192), "Tags": tags, "Policy": padded, "KeySpec": "ML_DSA_87", "KeyUsage": "SIGN_VERIFY"},
		"just recorded":      {"Description": strings.Repeat(wide, 8192), "Tags": tags[:44]},
		"escapes":            {"Description": strings.Repeat("\x01", 8192), "Tags": tags[:33]},
	} {
		a := s.Call(t, testkit.Root, "CreateKey", body)
		wantOutcome(t, a, success)
		if a.Refusal == nil && s.Record(t, a)["eventName"] != "CreateKey" {
			t.Errorf("%s: not recorded", name)
		}
		replica := with(body, obj{"KeyId": newPrimary(t, s, nil), "ReplicaRegion": "eu-west-1"})
		delete(replica, "KeySpec")
		delete(replica, "KeyUsage")
		a = s.Call(t, testkit.Root, "ReplicateKey", replica)
		wantOutcome(t, a, success)
		if len(s.RecordsOf(t, a.RequestID)) != 2 {
			t.Errorf("%s: the replica is not recorded", name)
		}
	}
	wantOutcome(t, s.Call(t, testkit.Root, "CreateKey", obj{"Description": strings.Repeat(wide, 8193)}),
		constraint("Value '"+strings.Repeat(wide, 8193)+"' at 'description' failed to satisfy constraint: Member must have length less than or equal to 8192"))
}

func TestKeyQuota(t *testing.T) {
	t.Parallel()
	s := testkit.StartWith(t, &fsm.Config{KeysPerRegion: 2})
	first := s.NewKey(t)
	s.NewKey(t)
	full := outcome{"LimitExceededException", "You have exceeded the number of KMS keys allowed for this account and Region."}
	before := s.Prune(t)
	wantOutcome(t, s.Call(t, testkit.Root, "CreateKey", obj{}), full)
	if s.Prune(t) != before {
		t.Error("the refused call changed the state")
	}
	s.SetState(t, first, "PendingDeletion")
	wantOutcome(t, s.Call(t, testkit.Root, "CreateKey", obj{}), full)
	wantOutcome(t, s.Call(t, testkit.Root.In("eu-west-1"), "CreateKey", obj{}), success)
	wantOutcome(t, s.Call(t, testkit.Other, "CreateKey", obj{}), success)
}

func TestGetKeyPolicy(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	given := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`
	plain := s.NewKey(t)
	other := s.Must(t, "CreateKey", obj{"Policy": given})["KeyMetadata"].(obj)["KeyId"].(string)
	for _, row := range []struct {
		key  string
		name obj
		want string
	}{
		{plain, obj{}, defaultPolicy}, {plain, obj{"PolicyName": "default"}, defaultPolicy}, {other, obj{"PolicyName": nil}, given},
	} {
		got := s.Must(t, "GetKeyPolicy", with(row.name, obj{"KeyId": row.key}))
		if got["Policy"] != row.want || got["PolicyName"] != "default" || len(got) != 2 {
			t.Errorf("got %v", got)
		}
	}
	wantOutcome(t, s.Call(t, testkit.Root, "GetKeyPolicy", obj{"KeyId": plain, "PolicyName": "other"}), notFound("No such policy exists"))
	wantOutcome(t, s.Call(t, testkit.Root, "GetKeyPolicy", obj{"KeyId": plain, "PolicyName": "a b"}),
		constraint(`Value 'a b' at 'policyName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w]+`))
}

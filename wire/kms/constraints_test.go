package kms_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/wire"
)

// one is the text of a single violation.
func one(entry string) string { return "1 validation error detected: " + entry }

// bytes returns a blob of n bytes in base64.
func bytes(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }

// letters returns a string of n letters.
func letters(n int) string { return strings.Repeat("a", n) }

const (
	keySpecs = "[RSA_2048, ECC_NIST_P384, ECC_NIST_P256, ECC_NIST_P521, HMAC_384, RSA_3072, ECC_SECG_P256K1, RSA_4096, " +
		"SYMMETRIC_DEFAULT, HMAC_256, HMAC_224, HMAC_512, SM2, ML_DSA_44, ML_DSA_65, ML_DSA_87, ECC_NIST_EDWARDS25519, " +
		"ML_KEM_512, ML_KEM_768, ML_KEM_1024]"
	grantOperations = "[Decrypt, Encrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, ReEncryptFrom, ReEncryptTo, Sign, Verify, " +
		"GetPublicKey, CreateGrant, RetireGrant, DescribeKey, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, GenerateMac, " +
		"VerifyMac, DeriveSharedSecret, Encapsulate, Decapsulate]"
)

func TestConstraintTexts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, op, body, want string }{
		{"required, missing", "DescribeKey", `{}`,
			one("Value null at 'keyId' failed to satisfy constraint: Member must not be null")},
		{"required, null", "DescribeKey", `{"KeyId":null}`,
			one("Value null at 'keyId' failed to satisfy constraint: Member must not be null")},
		{"required blob", "Encrypt", `{"KeyId":"k"}`,
			one("Value null at 'plaintext' failed to satisfy constraint: Member must not be null")},
		{"required list", "UntagResource", `{"KeyId":"k"}`,
			one("Value null at 'tagKeys' failed to satisfy constraint: Member must not be null")},
		{"required enum", "GetParametersForImport", `{"KeyId":"k","WrappingAlgorithm":"RSAES_OAEP_SHA_1"}`,
			one("Value null at 'wrappingKeySpec' failed to satisfy constraint: Member must not be null")},
		{"enum", "CreateKey", `{"KeyUsage":"X"}`,
			one("Value 'X' at 'keyUsage' failed to satisfy constraint: Member must satisfy enum value set: " +
				"[SIGN_VERIFY, ENCRYPT_DECRYPT, GENERATE_VERIFY_MAC, KEY_AGREEMENT, ENCAPSULATE_DECAPSULATE]")},
		{"empty enum", "CreateKey", `{"Origin":""}`,
			one("Value '' at 'origin' failed to satisfy constraint: Member must satisfy enum value set: " +
				"[AWS_KMS, EXTERNAL, AWS_CLOUDHSM, EXTERNAL_KEY_STORE]")},
		{"enums are case-sensitive", "GetParametersForImport", `{"KeyId":"k","WrappingAlgorithm":"RSAES_OAEP_SHA_1","WrappingKeySpec":"rsa_2048"}`,
			one("Value 'rsa_2048' at 'wrappingKeySpec' failed to satisfy constraint: Member must satisfy enum value set: [RSA_2048, RSA_3072, RSA_4096, SM2]")},
		{"KeySpec in its published order", "CreateKey", `{"KeySpec":"AES_256"}`,
			one("Value 'AES_256' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: " + keySpecs)},
		{"GenerateDataKey lists KeySpec", "GenerateDataKey", `{"KeyId":"k","KeySpec":"X"}`,
			one("Value 'X' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: " + keySpecs)},
		{"GenerateDataKey takes only DataKeySpec", "GenerateDataKey", `{"KeyId":"k","KeySpec":"RSA_2048"}`,
			one("Value 'RSA_2048' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: " + keySpecs)},
		{"GenerateDataKeyWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", `{"KeyId":"k","KeySpec":"X"}`,
			one("Value 'X' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [AES_256, AES_128]")},
		{"maximum length", "CreateKey", `{"Description":"` + letters(8193) + `"}`,
			one("Value '" + letters(8193) + "' at 'description' failed to satisfy constraint: Member must have length less than or equal to 8192")},
		{"minimum length", "DescribeKey", `{"KeyId":""}`,
			one("Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1")},
		{"lengths count characters", "DescribeKey", `{"KeyId":"` + strings.Repeat("🔑", 2049) + `"}`,
			one("Value '" + strings.Repeat("🔑", 2049) + "' at 'keyId' failed to satisfy constraint: Member must have length less than or equal to 2048")},
		{"pattern", "CreateAlias", `{"AliasName":"alias/ä","TargetKeyId":"k"}`,
			one("Value 'alias/ä' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")},
		{"pattern and a line break", "CreateAlias", `{"AliasName":"alias/a\n","TargetKeyId":"k"}`,
			one("Value 'alias/a\n' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")},
		{"pattern without anchors", "GetKeyPolicy", `{"KeyId":"k","PolicyName":"a b"}`,
			one(`Value 'a b' at 'policyName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w]+`)},
		{"policy beyond Latin-1", "PutKeyPolicy", `{"KeyId":"k","Policy":"{Ж}"}`,
			one(`Value '{Ж}' at 'policy' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`)},
		{"integer maximum", "ListKeys", `{"Limit":1001}`,
			one("Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000")},
		{"integer minimum", "ListKeys", `{"Limit":0}`,
			one("Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1")},
		{"negative integer", "GenerateRandom", `{"NumberOfBytes":-1}`,
			one("Value '-1' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1")},
		{"list too long", "DescribeKey", `{"KeyId":"k","GrantTokens":["a","b","c","d","e","f","g","h","i","j","k"]}`,
			one("Value at 'grantTokens' failed to satisfy constraint: Member must have length less than or equal to 10")},
		{"enum in a list", "CreateGrant", `{"KeyId":"k","Operations":["Foo","Bar"]}`,
			one("Value '[Foo, Bar]' at 'operations' failed to satisfy constraint: Member must satisfy constraint: " +
				"[Member must satisfy enum value set: " + grantOperations + "]")},
		{"length in a list", "UntagResource", `{"KeyId":"k","TagKeys":["a",""]}`,
			one("Value '[a, ]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: " +
				"[Member must have length less than or equal to 128, Member must have length greater than or equal to 1]")},
		{"null in a list", "UntagResource", `{"KeyId":"k","TagKeys":["a",null]}`,
			one("Value '[a, null]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must not be null]")},
		{"null in a map", "Encrypt", `{"KeyId":"k","Plaintext":"YQ==","EncryptionContext":{"b":null,"a":"x"}}`,
			one("Value '{a=x, b=null}' at 'encryptionContext' failed to satisfy constraint: Map value must satisfy constraint: [Member must not be null]")},
		{"structure in a list", "TagResource", `{"KeyId":"k","Tags":[{"TagKey":"","TagValue":"v"}]}`,
			one("Value '' at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length greater than or equal to 1")},
		{"second structure in a list", "CreateKey", `{"Tags":[{"TagKey":"a","TagValue":""},{"TagKey":"b"}]}`,
			one("Value null at 'tags.2.member.tagValue' failed to satisfy constraint: Member must not be null")},
		{"null structure in a list", "CreateKey", `{"Tags":[null]}`,
			"2 validation errors detected: Value null at 'tags.1.member.tagKey' failed to satisfy constraint: Member must not be null; " +
				"Value null at 'tags.1.member.tagValue' failed to satisfy constraint: Member must not be null"},
		{"nested structure", "CreateGrant", `{"KeyId":"k","Operations":["Sign"],"Constraints":{"SourceArn":"arn:aws:s3:::` + letters(20) + `"}}`,
			one("Value 'arn:aws:s3:::" + letters(20) + "' at 'constraints.sourceArn' failed to satisfy constraint: " +
				"Member must satisfy regular expression pattern: ^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$")},
		{"nested enum", "Decrypt", `{"Recipient":{"KeyEncryptionAlgorithm":"X"}}`,
			one("Value 'X' at 'recipient.keyEncryptionAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [RSAES_OAEP_SHA_256]")},
		{"sensitive blob, too long", "Encrypt", `{"KeyId":"k","Plaintext":"` + bytes(4097) + `"}`,
			one("Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096")},
		{"sensitive blob, empty", "Sign", `{"KeyId":"k","Message":"","SigningAlgorithm":"ECDSA_SHA_256"}`,
			one("Value at 'message' failed to satisfy constraint: Member must have length greater than or equal to 1")},
		{"blob, too long", "Decrypt", `{"CiphertextBlob":"` + bytes(6145) + `"}`,
			one("Value 'java.nio.HeapByteBuffer[pos=0 lim=6145 cap=6145]' at 'ciphertextBlob' failed to satisfy constraint: " +
				"Member must have length less than or equal to 6144")},
		{"blob, empty", "Decrypt", `{"CiphertextBlob":""}`,
			one("Value 'java.nio.HeapByteBuffer[pos=0 lim=0 cap=0]' at 'ciphertextBlob' failed to satisfy constraint: " +
				"Member must have length greater than or equal to 1")},
		{"sensitive text", "CreateCustomKeyStore", `{"CustomKeyStoreName":"n","KeyStorePassword":"hunter"}`,
			one("Value at 'keyStorePassword' failed to satisfy constraint: Member must have length greater than or equal to 7")},
		{"sensitive text in a structure", "CreateCustomKeyStore",
			`{"CustomKeyStoreName":"n","XksProxyAuthenticationCredential":{"AccessKeyId":"hunter2","RawSecretAccessKey":"hunter2!"}}`,
			"4 validation errors detected: " +
				"Value at 'xksProxyAuthenticationCredential.accessKeyId' failed to satisfy constraint: Member must have length greater than or equal to 20; " +
				"Value at 'xksProxyAuthenticationCredential.accessKeyId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[A-Z2-7]+$; " +
				"Value at 'xksProxyAuthenticationCredential.rawSecretAccessKey' failed to satisfy constraint: Member must have length greater than or equal to 43; " +
				`Value at 'xksProxyAuthenticationCredential.rawSecretAccessKey' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9\/+=]+$`},
		{"sensitive text missing", "UpdateCustomKeyStore", `{"CustomKeyStoreId":"c","XksProxyAuthenticationCredential":{"AccessKeyId":"` + strings.Repeat("A", 20) + `"}}`,
			one("Value null at 'xksProxyAuthenticationCredential.rawSecretAccessKey' failed to satisfy constraint: Member must not be null")},
		{"several: the documented pair", "Encrypt", `{"KeyId":""}`,
			"2 validation errors detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
				"Value null at 'plaintext' failed to satisfy constraint: Member must not be null"},
		{"several: length before pattern, order of declaration", "CreateAlias", `{"TargetKeyId":null,"AliasName":""}`,
			"3 validation errors detected: Value '' at 'aliasName' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
				"Value '' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$; " +
				"Value null at 'targetKeyId' failed to satisfy constraint: Member must not be null"},
		{"several: nothing left out", "CreateGrant", `{"Operations":null,"Name":" ","GrantTokens":[""],"Constraints":{"SourceArn":"x"}}`,
			"6 validation errors detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null; " +
				"Value null at 'operations' failed to satisfy constraint: Member must not be null; " +
				"Value 'x' at 'constraints.sourceArn' failed to satisfy constraint: Member must have length greater than or equal to 20; " +
				"Value 'x' at 'constraints.sourceArn' failed to satisfy constraint: Member must satisfy regular expression pattern: ^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$; " +
				"Value at 'grantTokens' failed to satisfy constraint: Member must satisfy constraint: " +
				"[Member must have length less than or equal to 8192, Member must have length greater than or equal to 1]; " +
				"Value ' ' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := decode(t, c.op, c.body)
			var got *wire.ConstraintError
			if !errors.As(err, &got) {
				t.Fatalf("got %v, want a *ConstraintError", err)
			}
			if got.Error() != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.Contains(got.Error(), "hunter") {
				t.Errorf("got %s, which shows a sensitive value", got)
			}
		})
	}
}

// TestConstraintLimits holds the values that the behaviour document lists: the
// value at the limit passes, the next one does not.
func TestConstraintLimits(t *testing.T) {
	t.Parallel()
	const anyKey = `"KeyId":"k",`
	text := func(member string) func(int) string {
		return func(n int) string { return `"` + member + `":"` + letters(n) + `"` }
	}
	blob := func(member string) func(int) string {
		return func(n int) string { return `"` + member + `":"` + bytes(n) + `"` }
	}
	integer := func(member string) func(int) string {
		return func(n int) string { b, _ := json.Marshal(n); return `"` + member + `":` + string(b) }
	}
	for _, c := range []struct {
		op, rest string
		member   func(int) string
		min, max int
	}{
		{"DescribeKey", "", text("KeyId"), 1, 2048},
		{"CreateKey", "", text("Description"), 0, 8192},
		{"DeleteAlias", "", text("AliasName"), 1, 256},
		{"RetireGrant", "", text("GrantToken"), 1, 8192},
		{"CreateKey", "", text("Policy"), 1, 131072},
		{"Encrypt", anyKey, blob("Plaintext"), 1, 4096},
		{"GenerateMac", anyKey + `"MacAlgorithm":"HMAC_SHA_256",`, blob("Message"), 1, 4096},
		{"Decrypt", "", blob("CiphertextBlob"), 1, 6144},
		{"Verify", anyKey + `"Message":"YQ==","SigningAlgorithm":"ECDSA_SHA_256",`, blob("Signature"), 1, 6144},
		{"VerifyMac", anyKey + `"Message":"YQ==","MacAlgorithm":"HMAC_SHA_256",`, blob("Mac"), 1, 6144},
		{"DeriveSharedSecret", anyKey + `"KeyAgreementAlgorithm":"ECDH",`, blob("PublicKey"), 1, 8192},
		{"GenerateRandom", "", func(n int) string { return `"Recipient":{` + blob("AttestationDocument")(n) + `}` }, 1, 262144},
		{"ListKeys", "", integer("Limit"), 1, 1000},
		{"ListKeys", "", text("Marker"), 1, 1024},
		{"GenerateRandom", "", integer("NumberOfBytes"), 1, 1024},
		{"EnableKeyRotation", anyKey, integer("RotationPeriodInDays"), 90, 2560},
		{"ScheduleKeyDeletion", anyKey, integer("PendingWindowInDays"), 1, 365},
		{"ListRetirableGrants", "", text("RetiringPrincipal"), 1, 256},
		{"TagResource", anyKey, func(n int) string { return `"Tags":[{"TagValue":"",` + text("TagKey")(n) + `}]` }, 1, 128},
		{"TagResource", anyKey, func(n int) string { return `"Tags":[{"TagKey":"a",` + text("TagValue")(n) + `}]` }, 0, 256},
	} {
		for n, ok := range map[int]bool{c.min: true, c.max: true, c.max + 1: false, c.min - 1: false} {
			if n < 0 {
				continue
			}
			body := "{" + c.rest + c.member(n) + "}"
			_, err := decode(t, c.op, body)
			var broken *wire.ConstraintError
			if got := err == nil; got != ok || !ok && !errors.As(err, &broken) {
				t.Errorf("%s %.60s… with %d: got %v, want accepted %t", c.op, body, n, err, ok)
			}
		}
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	accept, refuse := true, false
	for _, c := range []struct {
		op, member, value string
		want              bool
	}{
		{"CreateKey", "Policy", "a\t\n\r ~\u00a0ÿ", accept},
		{"CreateKey", "Policy", "a\u0000", refuse},
		{"CreateKey", "Policy", "\u0100", refuse},
		{"CreateKey", "Policy", "\v", refuse},
		{"ListKeys", "Marker", "a ÿ\u0080", accept},
		{"ListKeys", "Marker", "a\n", refuse},
		{"CreateKey", "XksKeyId", "aZ0-_.", accept},
		{"CreateKey", "XksKeyId", "a:", refuse},
		{"ListRetirableGrants", "RetiringPrincipal", `a_+=,.@:/-`, accept},
		{"ListRetirableGrants", "RetiringPrincipal", "a b", refuse},
		{"ListRetirableGrants", "RetiringServicePrincipal", "a.b-1.com", accept},
		{"ListRetirableGrants", "RetiringServicePrincipal", "a.com", refuse},
		{"CreateCustomKeyStore", "XksProxyUriPath", "/kms/xks/v1", accept},
		{"CreateCustomKeyStore", "XksProxyUriPath", "/a/b/kms/xks/v12", accept},
		{"CreateCustomKeyStore", "XksProxyUriPath", "/kms/xks/v1/kms", refuse},
		{"CreateCustomKeyStore", "XksProxyUriPath", "x/kms/xks/v1", refuse},
		{"CreateCustomKeyStore", "XksProxyUriEndpoint", "https://a.example", accept},
		{"CreateCustomKeyStore", "XksProxyUriEndpoint", "https://a.example/", refuse},
		{"CreateCustomKeyStore", "XksProxyVpcEndpointServiceOwner", "123456789012", accept},
		{"CreateCustomKeyStore", "XksProxyVpcEndpointServiceOwner", "12345678901x", refuse},
		{"CreateCustomKeyStore", "XksProxyVpcEndpointServiceName", "com.amazonaws.vpce.us-east-1.vpce-svc-0a1", accept},
		{"CreateCustomKeyStore", "XksProxyVpcEndpointServiceName", "org.amazonaws.vpce.us-east-1.vpce-svc-0a1", refuse},
	} {
		value, err := json.Marshal(c.value)
		if err != nil {
			t.Fatal(err)
		}
		_, err = decode(t, c.op, `{"CustomKeyStoreName":"n","`+c.member+`":`+string(value)+`}`)
		if got := err == nil; got != c.want {
			t.Errorf("%s.%s %q: got %v, want accepted %t", c.op, c.member, c.value, err, c.want)
		}
	}
}

func TestKeyMaterialDescriptionTakesEveryJavaSpace(t *testing.T) {
	t.Parallel()
	const rest = `"KeyId":"k","ImportToken":"YQ==","EncryptedKeyMaterial":"YQ==","KeyMaterialDescription":`
	for value, want := range map[string]bool{`"a \t\n\u000b\f\r.-:/_"`: true, `"\u0085"`: false, `"\u00a0"`: false, `"a\\\\s"`: false} {
		_, err := decode(t, "ImportKeyMaterial", `{`+rest+value+`}`)
		if got := err == nil; got != want {
			t.Errorf("%s: got %v, want accepted %t", value, err, want)
		}
	}
}

func TestSourceArnHoldsNoLineBreak(t *testing.T) {
	t.Parallel()
	for tail, want := range map[string]bool{"x": true, "ü 🔑": true, `\n`: false, `\r`: false, `\u0085`: false, `\u2028`: false, `a\u2029`: false, "": false} {
		_, err := decode(t, "CreateGrant",
			`{"KeyId":"k","Operations":["Sign"],"Constraints":{"SourceArn":"arn:aws:s3:us-east-1:123456789012:`+tail+`"}}`)
		if got := err == nil; got != want {
			t.Errorf("%s: got %v, want accepted %t", tail, err, want)
		}
	}
}

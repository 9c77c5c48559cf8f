package kms_test

import (
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/kms"
)

// decode decodes body as the request of an operation.
func decode(t *testing.T, op, body string) (wire.Request, error) {
	t.Helper()
	row, ok := kms.Lookup(op)
	if !ok {
		t.Fatalf("operation %s is unknown", op)
	}
	in := row.New()
	return in, in.Decode([]byte(body))
}

func TestRequestTypeRules(t *testing.T) {
	t.Parallel()
	const key, blob = `"KeyId":"k"`, `"Plaintext":"YQ=="`
	for _, c := range []struct {
		name, op, body string
		want           wire.Request
	}{
		{"empty body", "ListKeys", ``, &kms.ListKeysRequest{}},
		{"empty object", "ListKeys", `{}`, &kms.ListKeysRequest{}},
		{"unknown members", "DescribeKey", `{"keyId":7,"Foo":{"a":[1,{}]},` + key + `}`, &kms.DescribeKeyRequest{KeyId: "k"}},
		{"null", "DescribeKey", `{` + key + `,"GrantTokens":null}`, &kms.DescribeKeyRequest{KeyId: "k"}},
		{"duplicates", "DescribeKey", `{"KeyId":"a","KeyId":"k"}`, &kms.DescribeKeyRequest{KeyId: "k"}},
		{"duplicate structures", "GenerateRandom",
			`{"Recipient":{"AttestationDocument":"YQ=="},"Recipient":{"KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_256"}}`,
			&kms.GenerateRandomRequest{Recipient: &kms.RecipientInfo{KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256"}}},
		{"structure, then null", "GenerateRandom", `{"Recipient":{"AttestationDocument":""},"Recipient":null}`, &kms.GenerateRandomRequest{}},
		{"empty list", "DescribeKey", `{` + key + `,"GrantTokens":[]}`, &kms.DescribeKeyRequest{KeyId: "k", GrantTokens: []string{}}},
		{"blob", "Encrypt", `{` + key + `,"Plaintext":"+/8="}`, &kms.EncryptRequest{KeyId: "k", Plaintext: wire.Sensitive{0xfb, 0xff}}},
		{"blob with escapes", "Encrypt", `{` + key + `,"Plaintext":"+\/\u0038="}`, &kms.EncryptRequest{KeyId: "k", Plaintext: wire.Sensitive{0xfb, 0xff}}},
		{"context", "Encrypt", `{` + key + `,` + blob + `,"EncryptionContext":{"a":"b","n":1.50e2,"t":true,"f":false,"":"","n":-7}}`,
			&kms.EncryptRequest{KeyId: "k", Plaintext: wire.Sensitive("a"),
				EncryptionContext: map[string]string{"a": "b", "n": "-7", "t": "true", "f": "false", "": ""}}},
		{"literal text of a number", "Decrypt", `{"EncryptionContext":{"n":1.50E+2}}`,
			&kms.DecryptRequest{EncryptionContext: map[string]string{"n": "1.50E+2"}}},
		{"empty context", "Decrypt", `{"EncryptionContext":{}}`, &kms.DecryptRequest{EncryptionContext: map[string]string{}}},
		{"nested contexts", "CreateGrant",
			`{` + key + `,"Operations":["Decrypt","Sign"],"Constraints":{"EncryptionContextSubset":{"a":1},"EncryptionContextEquals":{"b":true}}}`,
			&kms.CreateGrantRequest{KeyId: "k", Operations: []string{"Decrypt", "Sign"}, Constraints: &kms.GrantConstraints{
				EncryptionContextSubset: map[string]string{"a": "1"}, EncryptionContextEquals: map[string]string{"b": "true"}}}},
		{"both contexts of ReEncrypt", "ReEncrypt", `{"DestinationKeyId":"d","SourceEncryptionContext":{"a":1},"DestinationEncryptionContext":{"a":2}}`,
			&kms.ReEncryptRequest{DestinationKeyId: "d", SourceEncryptionContext: map[string]string{"a": "1"}, DestinationEncryptionContext: map[string]string{"a": "2"}}},
		{"integer 7.0", "GenerateRandom", `{"NumberOfBytes":7.0}`, &kms.GenerateRandomRequest{NumberOfBytes: new(7)}},
		{"integer 1e2", "GenerateRandom", `{"NumberOfBytes":1e2}`, &kms.GenerateRandomRequest{NumberOfBytes: new(100)}},
		{"boolean", "CreateKey", `{"MultiRegion":true,"BypassPolicyLockoutSafetyCheck":false}`,
			&kms.CreateKeyRequest{MultiRegion: new(true), BypassPolicyLockoutSafetyCheck: new(false)}},
		{"tags", "TagResource", `{` + key + `,"Tags":[{"TagKey":"a","TagValue":""},{"TagValue":"c","TagKey":"b","X":1}]}`,
			&kms.TagResourceRequest{KeyId: "k", Tags: []kms.Tag{{TagKey: "a"}, {TagKey: "b", TagValue: "c"}}}},
		{"empty text that is allowed", "UpdateKeyDescription", `{` + key + `,"Description":""}`, &kms.UpdateKeyDescriptionRequest{KeyId: "k"}},
		{"optional text", "CreateKey", `{"Description":""}`, &kms.CreateKeyRequest{Description: new("")}},
		{"timestamp", "ImportKeyMaterial", `{` + key + `,"ImportToken":"YQ==","EncryptedKeyMaterial":"Yg==","ValidTo":1.516435200399E9}`,
			&kms.ImportKeyMaterialRequest{KeyId: "k", ImportToken: []byte("a"), EncryptedKeyMaterial: []byte("b"),
				ValidTo: new(time.UnixMilli(1516435200399).UTC())}},
		{"a required member that the model dropped", "Decrypt", `{}`, &kms.DecryptRequest{}},
		{"credential", "UpdateCustomKeyStore", `{"CustomKeyStoreId":"c","KeyStorePassword":"hunter2"}`,
			&kms.UpdateCustomKeyStoreRequest{CustomKeyStoreId: "c", KeyStorePassword: new(wire.SensitiveString("hunter2"))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := decode(t, c.op, c.body)
			if err != nil {
				t.Fatalf("got %v, want no error", err)
			}
			if diff := cmp.Diff(got, c.want); diff != "" {
				t.Errorf("-got +want\n%s", diff)
			}
		})
	}
}

func TestSerializationErrors(t *testing.T) {
	t.Parallel()
	const (
		structure = "Start of structure or map found where not expected"
		list      = "Start of list found where not expected"
		scalar    = "Unexpected value type in payload"
		base64ed  = "Payload holds a blob that is not valid base64"
	)
	for _, c := range []struct{ op, body, want string }{
		{"DescribeKey", `{"KeyId":`, ""},
		{"DescribeKey", `KeyId=x`, ""},
		{"DescribeKey", `[]`, list},
		{"DescribeKey", `"x"`, scalar},
		{"DescribeKey", `{"KeyId":7}`, "NUMBER_VALUE cannot be converted to String"},
		{"DescribeKey", `{"KeyId":true}`, "TRUE_VALUE cannot be converted to String"},
		{"DescribeKey", `{"KeyId":false}`, "FALSE_VALUE cannot be converted to String"},
		{"DescribeKey", `{"KeyId":{}}`, structure},
		{"DescribeKey", `{"KeyId":["k"]}`, list},
		{"DescribeKey", `{"GrantTokens":"x"}`, scalar},
		{"DescribeKey", `{"GrantTokens":7}`, scalar},
		{"DescribeKey", `{"GrantTokens":{}}`, structure},
		{"DescribeKey", `{"GrantTokens":[7]}`, "NUMBER_VALUE cannot be converted to String"},
		{"DescribeKey", `{"GrantTokens":[["a"]]}`, list},
		{"GenerateRandom", `{"NumberOfBytes":"7"}`, "STRING_VALUE cannot be converted to Integer"},
		{"GenerateRandom", `{"NumberOfBytes":true}`, "TRUE_VALUE cannot be converted to Integer"},
		{"GenerateRandom", `{"NumberOfBytes":7.5}`, "NUMBER_VALUE cannot be converted to Integer"},
		{"GenerateRandom", `{"NumberOfBytes":4294967303}`, "NUMBER_VALUE cannot be converted to Integer"},
		{"GenerateRandom", `{"NumberOfBytes":[7]}`, list},
		{"GenerateRandom", `{"Recipient":"x"}`, scalar},
		{"GenerateRandom", `{"Recipient":[]}`, list},
		{"GenerateRandom", `{"Recipient":{"AttestationDocument":7}}`, "NUMBER_VALUE cannot be converted to Blob"},
		{"CreateKey", `{"MultiRegion":"true"}`, "STRING_VALUE cannot be converted to Boolean"},
		{"CreateKey", `{"MultiRegion":1}`, "NUMBER_VALUE cannot be converted to Boolean"},
		{"CreateKey", `{"MultiRegion":{}}`, structure},
		{"CreateKey", `{"KeySpec":7}`, "NUMBER_VALUE cannot be converted to String"},
		{"CreateKey", `{"Tags":{"a":"b"}}`, structure},
		{"CreateKey", `{"Tags":["a"]}`, scalar},
		{"CreateKey", `{"Tags":[{"TagKey":7}]}`, "NUMBER_VALUE cannot be converted to String"},
		{"ImportKeyMaterial", `{"ValidTo":"2018-01-20T08:00:00Z"}`, "STRING_VALUE cannot be converted to milliseconds since epoch"},
		{"Encrypt", `{"EncryptionContext":"x"}`, scalar},
		{"Encrypt", `{"EncryptionContext":[]}`, list},
		{"Encrypt", `{"EncryptionContext":{"a":{}}}`, structure},
		{"Encrypt", `{"EncryptionContext":{"a":["b"]}}`, list},
		{"CreateGrant", `{"Constraints":{"EncryptionContextEquals":{"a":{"b":"c"}}}}`, structure},
		{"Encrypt", `{"Plaintext":"YQ"}`, base64ed},
		{"Encrypt", `{"Plaintext":"YQ="}`, base64ed},
		{"Encrypt", `{"Plaintext":"YR=="}`, base64ed},
		{"Encrypt", `{"Plaintext":"-_8="}`, base64ed},
		{"Encrypt", `{"Plaintext":"YWJj\nYWJj"}`, base64ed},
		{"Encrypt", `{"Plaintext":"YWJj\r\n"}`, base64ed},
		{"Encrypt", `{"Plaintext":"YW Jj"}`, base64ed},
		{"Encrypt", `{"Plaintext":"YQ==YQ=="}`, base64ed},
		{"Encrypt", `{"Plaintext":"hunter2!"}`, base64ed},
		// A wrong type is found before any constraint.
		{"CreateAlias", `{"AliasName":"","TargetKeyId":7}`, "NUMBER_VALUE cannot be converted to String"},
	} {
		in, err := decode(t, c.op, c.body)
		var got *wire.SerializationError
		if !errors.As(err, &got) || got.Message != c.want {
			t.Errorf("%s %s: got %v, want message %q", c.op, c.body, err, c.want)
		}
		if empty := newRequest(c.op); !cmp.Equal(in, empty) {
			t.Errorf("%s %s: got request %v after the error, want an empty one", c.op, c.body, in)
		}
	}
}

func newRequest(op string) wire.Request {
	row, _ := kms.Lookup(op)
	return row.New()
}

func TestDecodeKeepsNothingOfTheBody(t *testing.T) {
	t.Parallel()
	body := []byte(`{"KeyId":"alias/a","Plaintext":"` + base64.StdEncoding.EncodeToString([]byte("secret")) + `","EncryptionContext":{"k":"v"},"GrantTokens":["t"]}`)
	var in kms.EncryptRequest
	if err := in.Decode(body); err != nil {
		t.Fatal(err)
	}
	clear(body)
	want := kms.EncryptRequest{KeyId: "alias/a", Plaintext: wire.Sensitive("secret"), EncryptionContext: map[string]string{"k": "v"}, GrantTokens: []string{"t"}}
	if diff := cmp.Diff(in, want); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
}

func TestDecodeReplacesWhatWasThere(t *testing.T) {
	t.Parallel()
	in := kms.EncryptRequest{KeyId: "old", EncryptionContext: map[string]string{"old": ""}, DryRun: new(true)}
	if err := in.Decode([]byte(`{"KeyId":"new","Plaintext":"YQ=="}`)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, kms.EncryptRequest{KeyId: "new", Plaintext: wire.Sensitive("a")}); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
}

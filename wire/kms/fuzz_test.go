package kms_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/kms"
)

// FuzzDecode feeds one body to every request type. What a type accepts must
// decode to the same value again after it was encoded by encode, which shares
// nothing with the decoder.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `[]`, `{"KeyId":"k"}`, `{"KeyId":7}`,
		`{"KeyId":"k","Plaintext":"YQ==","EncryptionContext":{"a":"b","n":1e2},"GrantTokens":["t"],"EncryptionAlgorithm":"SYMMETRIC_DEFAULT","DryRun":true}`,
		`{"KeyId":"k","Tags":[{"TagKey":"a","TagValue":""}],"Description":"","Policy":"{}","NumberOfBytes":16.0,"Limit":7,"Marker":"m"}`,
		`{"KeyId":"k","Operations":["Decrypt"],"Constraints":{"EncryptionContextSubset":{"a":null}},"TagKeys":["x"],"AliasName":"alias/a","TargetKeyId":"k"}`,
		`{"KeyId":"k","ImportToken":"YQ==","EncryptedKeyMaterial":"YQ==","ValidTo":1516435200.399,"ExpirationModel":"KEY_MATERIAL_EXPIRES"}`,
		`{"CustomKeyStoreName":"n","CustomKeyStoreId":"c","KeyStorePassword":"hunter2","XksProxyAuthenticationCredential":{"AccessKeyId":"AAAAAAAAAAAAAAAAAAAA","RawSecretAccessKey":"` + letters(43) + `"}}`,
		`{"KeyId":"k","Message":"YQ==","Signature":"YQ==","Mac":"YQ==","SigningAlgorithm":"ECDSA_SHA_256","MacAlgorithm":"HMAC_SHA_256","PublicKey":"YQ==","KeyAgreementAlgorithm":"ECDH"}`,
		`{"CiphertextBlob":"YQ==","Recipient":{"KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_256","AttestationDocument":"YQ=="},"DestinationKeyId":"d","DryRunModifiers":["IGNORE_CIPHERTEXT"]}`,
		"{\"KeyId\":\"\xff\"}", `{"KeyId":"\ud83d"}`, `{"KeyId":"\u0000"}`,
	} {
		f.Add([]byte(body))
	}
	operations := kms.Operations()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, op := range operations {
			in := op.New()
			err := in.Decode(body)
			if err != nil {
				checkRefusal(t, op, in, err)
				continue
			}
			again := op.New()
			encoded := encode(t, reflect.ValueOf(in).Elem())
			if err := again.Decode(encoded); err != nil {
				t.Fatalf("%s: decoding %s again: %v", op.Name, encoded, err)
			}
			if diff := cmp.Diff(in, again); diff != "" {
				t.Errorf("%s: -first +second\n%s", op.Name, diff)
			}
			if strings.Contains(string(encoded), wire.Absent) {
				t.Errorf("%s: an absent member was left in %s", op.Name, encoded)
			}
		}
	})
}

func checkRefusal(t *testing.T, op wire.Operation, in wire.Request, err error) {
	t.Helper()
	var s *wire.SerializationError
	var c *wire.ConstraintError
	if !errors.As(err, &s) && !errors.As(err, &c) {
		t.Errorf("%s: got a %T, want one of the two", op.Name, err)
	}
	if !reflect.ValueOf(in).Elem().IsZero() {
		t.Errorf("%s: the request is not empty after %v", op.Name, err)
	}
}

// TestSharedStructuresRoundTrip compares encoder and decoder of the structures
// that both directions use.
func TestSharedStructuresRoundTrip(t *testing.T) {
	t.Parallel()
	constraints := &kms.GrantConstraints{
		EncryptionContextSubset: map[string]string{"a\"\\\n\x00🔑": "<&>\u2028"},
		EncryptionContextEquals: map[string]string{},
		SourceArn:               new("arn:aws:s3:us-east-1:123456789012:b"),
	}
	grant := string(constraints.AppendJSON(nil))
	got, err := decode(t, "CreateGrant", `{"KeyId":"k","Operations":["Sign"],"Constraints":`+grant+`}`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got.(*kms.CreateGrantRequest).Constraints, constraints); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
	tag := kms.Tag{TagKey: "a\t", TagValue: "é"}
	got, err = decode(t, "CreateKey", `{"Tags":[`+string(tag.AppendJSON(nil))+`]}`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got.(*kms.CreateKeyRequest).Tags, []kms.Tag{tag}); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
}

// encode writes a request as JSON by reflection and encoding/json.
func encode(t *testing.T, v reflect.Value) []byte {
	t.Helper()
	b, err := json.Marshal(plain(v))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mayBeEmpty names the required strings that may be "", which enums may not.
var mayBeEmpty = map[string]bool{"Description": true, "TagValue": true}

// plain turns a request into values that encoding/json writes in the same form.
func plain(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case wire.Sensitive:
		return base64.StdEncoding.EncodeToString(x)
	case []byte:
		return base64.StdEncoding.EncodeToString(x)
	case time.Time:
		return json.Number(new(big.Rat).SetFrac64(x.UnixMilli(), 1000).FloatString(3))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return plain(v.Elem())
	case reflect.String:
		return v.String()
	case reflect.Slice:
		list := []any{}
		for i := range v.Len() {
			list = append(list, plain(v.Index(i)))
		}
		return list
	case reflect.Struct:
		members := map[string]any{}
		for i := range v.NumField() {
			field, name := v.Field(i), v.Type().Field(i).Name
			absent := field.IsZero() && !(field.Kind() == reflect.String && mayBeEmpty[name])
			if !absent {
				members[name] = plain(field)
			}
		}
		return members
	}
	return v.Interface()
}

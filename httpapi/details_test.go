package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// details are those of the forty details in §9 of the behaviour document that only the
// bytes on the wire show, by their numbers. Package kmsapi tests the others.
var details = map[int]struct {
	title string
	test  func(*testing.T, *node)
}{
	1: {"every client error is 400", testClientErrors},
	2: {"Message and message", testMessages},
	4: {"no output is an empty body", testEmptyBodies},
	5: {"timestamps are numbers", testTimestamps},
	6: {"null is absent, unknown is ignored", testNullAndUnknown},
	8: {"session tokens", testSessionTokens},
}

func TestForty(t *testing.T) {
	t.Parallel()
	if got, want := slices.Sorted(maps.Keys(details)), []int{1, 2, 4, 5, 6, 8}; !slices.Equal(got, want) {
		t.Errorf("details %v, want %v", got, want)
	}
	for n, d := range details {
		t.Run(fmt.Sprintf("%02d %s", n, d.title), func(t *testing.T) {
			t.Parallel()
			d.test(t, newNode(t, nil))
		})
	}
}

// node is a whole service behind the protocols.
type node struct {
	*testkit.Solo
	addr string
}

func newNode(t *testing.T, config *fsm.Config) *node {
	t.Helper()
	s := testkit.StartWith(t, config)
	return &node{s, start(t, newFakeService(t), func(c *httpapi.Config) { c.Backend, c.Now = httpapi.Wrap(s.Service), s.Now })}
}

// call makes a signed call of the root user's.
func (n *node) call(t *testing.T, op, body string) response {
	t.Helper()
	return send(t, n.addr, raw(t, signedRequest(t, "kms", http.MethodPost, "http://"+n.addr+"/", kmsHeader(op), body, n.Now())))
}

// must is call for a call that has to succeed; it returns the answer's object.
func (n *node) must(t *testing.T, op, body string) map[string]any {
	t.Helper()
	got, out := n.call(t, op, body), map[string]any{}
	if got.status != "HTTP/1.1 200 OK" {
		t.Fatalf("%s %s: %s %s", op, body, got.status, got.body)
	}
	if got.body != "" {
		if err := json.Unmarshal([]byte(got.body), &out); err != nil {
			t.Fatalf("%s answers %q: %v", op, got.body, err)
		}
	}
	return out
}

// want400 checks that an answer is the body of an error, and its status 400.
func want400(t *testing.T, got response, body string) {
	t.Helper()
	if got.status != "HTTP/1.1 400 Bad Request" || got.body != body {
		t.Errorf("got  %s %s\nwant 400 %s", got.status, got.body, body)
	}
}

const foreignKey = "arn:aws:kms:us-east-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"

func testClientErrors(t *testing.T, n *node) {
	key := n.NewKey(t)
	unsigned := "POST / HTTP/1.1\r\nHost: kms\r\nX-Amz-Target: TrentService.ListKeys\r\nContent-Length: 2\r\n\r\n{}"
	signed := raw(t, signedRequest(t, "kms", http.MethodPost, "http://"+n.addr+"/", kmsHeader("ListKeys"), "{}", n.Now()))
	for code, got := range map[string]response{
		"MissingAuthenticationTokenException": send(t, n.addr, unsigned),
		"IncompleteSignatureException":        send(t, n.addr, strings.Replace(signed, "/kms/aws4_request", "/kms", 1)),
		"UnrecognizedClientException":         send(t, n.addr, strings.Replace(signed, accessKey, "AKIAOTHERKEYEXAMPLE2", 1)),
		"InvalidSignatureException":           send(t, n.addr, strings.Replace(signed, "\r\n\r\n{}", "\r\n\r\n[]", 1)),
		"UnknownOperationException":           n.call(t, "Nothing", "{}"),
		"SerializationException":              n.call(t, "DescribeKey", `{"KeyId":1}`),
		"ValidationException":                 n.call(t, "DescribeKey", `{}`),
		"NotFoundException":                   n.call(t, "DescribeKey", `{"KeyId":"alias/nope"}`),
		"AccessDeniedException":               n.call(t, "DescribeKey", `{"KeyId":"`+foreignKey+`"}`),
		"NotAuthorizedException":              n.call(t, "CreateAlias", `{"AliasName":"alias/aws/x","TargetKeyId":"`+key+`"}`),
		"InvalidCiphertextException":          n.call(t, "Decrypt", `{"KeyId":"`+key+`","CiphertextBlob":"AA=="}`),
		"DryRunOperationException":            n.call(t, "Encrypt", `{"KeyId":"`+key+`","Plaintext":"AA==","DryRun":true}`),
	} {
		if got.status != "HTTP/1.1 400 Bad Request" || got.header["x-amzn-ErrorType"] != code {
			t.Errorf("%s: got %s %s", code, got.status, got.body)
		}
	}
	slow := newNode(t, &fsm.Config{Throttle: &fsm.Throttle{Rates: []fsm.Rate{{Quota: "DescribeKey", Milli: 1000}}}})
	statuses := map[string]bool{}
	for range 20 {
		statuses[slow.call(t, "DescribeKey", `{"KeyId":"alias/nope"}`).header["x-amzn-ErrorType"]] = true
	}
	if !statuses["ThrottlingException"] {
		t.Errorf("no call of 20 was throttled: %v", statuses)
	}
	want400(t, slow.call(t, "DescribeKey", `{"KeyId":"alias/nope"}`), `{"__type":"ThrottlingException","message":"You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."}`)
}

func testMessages(t *testing.T, n *node) {
	key := n.NewKey(t)
	mac := n.must(t, "CreateKey", `{"KeySpec":"HMAC_256","KeyUsage":"GENERATE_VERIFY_MAC"}`)["KeyMetadata"].(map[string]any)["KeyId"].(string)
	signer := n.must(t, "CreateKey", `{"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY"}`)["KeyMetadata"].(map[string]any)["KeyId"].(string)
	for _, row := range []struct{ op, body, want string }{
		{"DescribeKey", `{"KeyId":"` + foreignKey + `"}`, `{"__type":"AccessDeniedException","Message":"User: arn:aws:iam::111122223333:root is not authorized to perform: kms:DescribeKey on resource: ` + foreignKey +
			` because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"}`},
		{"DescribeKey", `{"KeyId":1}`, `{"__type":"SerializationException","Message":"NUMBER_VALUE cannot be converted to String"}`},
		{"DescribeKey", `{"KeyId":"alias/nope"}`, `{"__type":"NotFoundException","message":"Alias arn:aws:kms:us-east-1:111122223333:alias/nope is not found."}`},
		{"DescribeKey", `{}`, `{"__type":"ValidationException","message":"1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"}`},
		{"Encrypt", `{"KeyId":"` + key + `","Plaintext":"AA==","DryRun":true}`, `{"__type":"DryRunOperationException","message":"The request would have succeeded, but the DryRun option is set."}`},
		{"Decrypt", `{"KeyId":"` + key + `","CiphertextBlob":"AA=="}`, `{"__type":"InvalidCiphertextException"}`},
		{"ReEncrypt", `{"CiphertextBlob":"AA==","DestinationKeyId":"` + key + `"}`, `{"__type":"InvalidCiphertextException"}`},
		{"CreateAlias", `{"AliasName":"alias/aws/x","TargetKeyId":"` + key + `"}`, `{"__type":"NotAuthorizedException"}`},
		{"Nothing", `{}`, `{"__type":"UnknownOperationException"}`},
		{"Verify", `{"KeyId":"` + signer + `","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256","Signature":"AA=="}`, `{"__type":"KMSInvalidSignatureException"}`},
		{"VerifyMac", `{"KeyId":"` + mac + `","Message":"AA==","MacAlgorithm":"HMAC_SHA_256","Mac":"AA=="}`, `{"__type":"KMSInvalidMacException"}`},
	} {
		want400(t, n.call(t, row.op, row.body), row.want)
	}
}

func testEmptyBodies(t *testing.T, n *node) {
	key := n.NewKey(t)
	grant := func() string {
		return n.must(t, "CreateGrant", `{"KeyId":"`+key+`","GranteePrincipal":"111122223333","Operations":["Decrypt"]}`)["GrantId"].(string)
	}
	id := `{"KeyId":"` + key + `"`
	for _, row := range []struct{ op, body string }{
		{"CreateAlias", `{"AliasName":"alias/app","TargetKeyId":"` + key + `"}`}, {"UpdateAlias", `{"AliasName":"alias/app","TargetKeyId":"` + key + `"}`}, {"DeleteAlias", `{"AliasName":"alias/app"}`},
		{"DisableKey", id + `}`}, {"EnableKey", id + `}`}, {"EnableKeyRotation", id + `}`}, {"DisableKeyRotation", id + `}`}, {"UpdateKeyDescription", id + `,"Description":"x"}`},
		{"TagResource", id + `,"Tags":[{"TagKey":"a","TagValue":"b"}]}`}, {"UntagResource", id + `,"TagKeys":["a"]}`},
		{"PutKeyPolicy", id + `,"BypassPolicyLockoutSafetyCheck":true,"Policy":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"111122223333\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}]}"}`},
		{"RetireGrant", id + `,"GrantId":"` + grant() + `"}`}, {"RevokeGrant", id + `,"GrantId":"` + grant() + `"}`},
	} {
		got := n.call(t, row.op, row.body)
		if got.status != "HTTP/1.1 200 OK" || got.body != "" || got.header["Content-Length"] != "0" || got.header["Content-Type"] != "application/x-amz-json-1.1" {
			t.Errorf("%s: got %s %v %q", row.op, got.status, got.header, got.body)
		}
	}
}

func testTimestamps(t *testing.T, n *node) {
	got := n.call(t, "CreateKey", `{"Origin":"EXTERNAL"}`)
	if !strings.Contains(got.body, `"CreationDate":1795521600.345,`) { // 2026-11-24T12:00:00.345Z
		t.Errorf("CreateKey answers %s", got.body)
	}
	var made struct{ KeyMetadata struct{ KeyId string } }
	if err := json.Unmarshal([]byte(got.body), &made); err != nil {
		t.Fatal(err)
	}
	body := func(validTo string) string {
		return `{"KeyId":"` + made.KeyMetadata.KeyId + `","ImportToken":"AA==","EncryptedKeyMaterial":"AA==","ExpirationModel":"KEY_MATERIAL_EXPIRES","ValidTo":` + validTo + `}`
	}
	for _, number := range []string{"1795608000", "1795608000.0", "1795608000.345", "1.795608e9"} {
		if got := n.call(t, "ImportKeyMaterial", body(number)); got.header["x-amzn-ErrorType"] != "InvalidImportTokenException" { // what comes after the date
			t.Errorf("ValidTo %s: got %s", number, got.body)
		}
	}
	if got := n.call(t, "ImportKeyMaterial", body(`"2026-11-25T12:00:00Z"`)); got.header["x-amzn-ErrorType"] != "SerializationException" {
		t.Errorf("an ISO string: got %s", got.body)
	}
	scheduled := n.call(t, "ScheduleKeyDeletion", `{"KeyId":"`+made.KeyMetadata.KeyId+`","PendingWindowInDays":7}`)
	if !regexp.MustCompile(`"DeletionDate":1796126400\.345\b`).MatchString(scheduled.body) {
		t.Errorf("ScheduleKeyDeletion answers %s", scheduled.body)
	}
}

func testNullAndUnknown(t *testing.T, n *node) {
	key := n.NewKey(t)
	for _, row := range []struct{ op, body string }{
		{"CreateKey", `{"Description":null,"KeySpec":null,"Tags":null,"MultiRegion":null,"Policy":null,"Unknown":{"a":[1,null,"x"]}}`},
		{"Encrypt", `{"KeyId":"` + key + `","Plaintext":"AA==","EncryptionContext":null,"GrantTokens":null,"DryRun":null,"keyId":7,"Nothing":null}`},
		{"GenerateDataKey", `{"KeyId":"` + key + `","KeySpec":"AES_128","NumberOfBytes":null,"Recipient":null}`},
		{"ListKeys", `{"Limit":null,"Marker":null,"limit":0}`},
		{"ListKeys", ``},
	} {
		if got := n.call(t, row.op, row.body); got.status != "HTTP/1.1 200 OK" {
			t.Errorf("%s %s: got %s %s", row.op, row.body, got.status, got.body)
		}
	}
	want400(t, n.call(t, "DescribeKey", `{"KeyId":null,"keyId":"`+key+`"}`), failure("ValidationException", "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"))
}

func testSessionTokens(t *testing.T, n *node) {
	token := service.Token{Type: kms.PrincipalRoot, Account: account, Subject: account, By: accessKey, Issued: n.Now().UnixMilli(), Expires: n.Now().Add(time.Hour).UnixMilli()}
	token.AccessKeyID, token.Secret = service.NewAccessKey("ASIA")
	sealed, err := token.Seal(n.Keyring)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(sent string) *http.Request {
		r, err := http.NewRequest(http.MethodPost, "http://"+n.addr+"/", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range kmsHeader("ListKeys") {
			r.Header.Set(k, v)
		}
		creds := aws.Credentials{AccessKeyID: token.AccessKeyID, SecretAccessKey: token.Secret, SessionToken: sent}
		if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hexHash("{}"), "kms", "us-east-1", n.Now()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if got := send(t, n.addr, raw(t, signed(string(sealed)))); got.status != "HTTP/1.1 200 OK" {
		t.Errorf("a session: got %s %s", got.status, got.body)
	}
	unsigned := signed("")
	unsigned.Header.Set("X-Amz-Security-Token", string(sealed))
	if got := send(t, n.addr, raw(t, unsigned)); got.header["x-amzn-ErrorType"] != "InvalidSignatureException" {
		t.Errorf("a token that is not signed: got %s %s", got.status, got.body)
	}
	unknown := failure("UnrecognizedClientException", notValid)
	want400(t, send(t, n.addr, raw(t, signed(""))), unknown)
	want400(t, send(t, n.addr, raw(t, signed(string(sealed[:len(sealed)-1])))), unknown)
	want400(t, send(t, n.addr, strings.Replace(raw(t, signed(string(sealed))), token.AccessKeyID, "ASIAOTHERKEYEXAMPLE2", 1)), unknown)
	n.Advance(time.Hour)
	want400(t, send(t, n.addr, raw(t, signed(string(sealed)))), failure("ExpiredTokenException", "The security token included in the request is expired"))
}

package audit_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/kms"
)

const (
	keyID    = "1234abcd-12ab-34cd-56ef-1234567890ab"
	keyARN   = "arn:aws:kms:us-east-1:111111111111:key/" + keyID
	otherARN = "arn:aws:kms:us-east-1:111111111111:key/0987dcba-09fe-87dc-65ba-ab0987654321"
	aliasARN = "arn:aws:kms:us-east-1:111111111111:alias/app"
	material = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// newRecord returns a record of success by the root user over TLS, at
// 2024-05-01T12:00:00.999Z.
func newRecord(name string) *audit.Record {
	return &audit.Record{
		EventID:     "e158beb4-0000-4000-8000-000000000001",
		RequestID:   "4e5d4b1c-0000-4000-8000-000000000002",
		EventName:   name,
		EventSource: audit.SourceKMS,
		Region:      "us-east-1",
		Time:        1714564800999,
		Principal:   kms.RootPrincipal("111111111111", "AKIAIOSFODNN7EXAMPLE"),
		Source: kms.Source{
			IP: "192.0.2.7", UserAgent: "aws-sdk-go-v2/1.26.1", Host: "kms.us-east-1.amazonaws.com",
			TLSVersion: "TLSv1.3", TLSCipher: "TLS_AES_128_GCM_SHA256",
		},
		ReadOnly: true,
	}
}

func key(arn string) audit.Resource { return audit.Resource{Account: "111111111111", ARN: arn} }

// oneLine joins the lines of a typed JSON text, without the spaces that indent
// them.
func oneLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimLeft(lines[i], " \t")
	}
	return strings.Join(lines, "")
}

func check(t *testing.T, r *audit.Record, want string) {
	t.Helper()
	got := string(r.AppendJSON(nil))
	if !json.Valid([]byte(got)) {
		t.Errorf("not valid JSON: %s", got)
	}
	if diff := cmp.Diff(oneLine(want), got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func decrypt() *audit.Record {
	r := newRecord("Decrypt")
	r.RequestParameters.String("encryptionAlgorithm", "SYMMETRIC_DEFAULT")
	r.RequestParameters.String("keyId", "alias/app")
	r.RequestParameters.Map("encryptionContext", map[string]string{"app": "x"})
	r.Additional.String("keyMaterialId", material)
	r.Resources = []audit.Resource{key(keyARN)}
	return r
}

func TestRecordOfDecrypt(t *testing.T) {
	t.Parallel()
	check(t, decrypt(), `
		{"eventVersion":"1.11",
		"userIdentity":{"type":"Root","principalId":"111111111111","arn":"arn:aws:iam::111111111111:root",
		"accountId":"111111111111","accessKeyId":"AKIAIOSFODNN7EXAMPLE"},
		"eventTime":"2024-05-01T12:00:00Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"us-east-1",
		"sourceIPAddress":"192.0.2.7","userAgent":"aws-sdk-go-v2/1.26.1",
		"requestParameters":{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","keyId":"alias/app","encryptionContext":{"app":"x"}},
		"responseElements":null,"additionalEventData":{"keyMaterialId":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
		"requestID":"4e5d4b1c-0000-4000-8000-000000000002","eventID":"e158beb4-0000-4000-8000-000000000001","readOnly":true,
		"resources":[{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],
		"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111111111111","eventCategory":"Management",
		"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.us-east-1.amazonaws.com"}}`)
}

func TestRecordOfDeniedDecrypt(t *testing.T) {
	t.Parallel()
	r := decrypt()
	r.Err = &kms.Error{Code: kms.CodeAccessDenied, Message: "User: arn:aws:iam::111111111111:root is not authorized to perform: kms:Decrypt on resource: " +
		keyARN + " because no identity-based policy allows the kms:Decrypt action"}
	check(t, r, `
		{"eventVersion":"1.11",
		"userIdentity":{"type":"Root","principalId":"111111111111","arn":"arn:aws:iam::111111111111:root",
		"accountId":"111111111111","accessKeyId":"AKIAIOSFODNN7EXAMPLE"},
		"eventTime":"2024-05-01T12:00:00Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"us-east-1",
		"sourceIPAddress":"192.0.2.7","userAgent":"aws-sdk-go-v2/1.26.1",
		"errorCode":"AccessDenied","errorMessage":"User: arn:aws:iam::111111111111:root is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab because no identity-based policy allows the kms:Decrypt action",
		"requestParameters":{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","keyId":"alias/app","encryptionContext":{"app":"x"}},
		"responseElements":null,
		"requestID":"4e5d4b1c-0000-4000-8000-000000000002","eventID":"e158beb4-0000-4000-8000-000000000001","readOnly":true,
		"resources":[{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],
		"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111111111111","eventCategory":"Management",
		"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.us-east-1.amazonaws.com"}}`)
}

// Plain HTTP, no user agent, an error without a message, nothing parsed, no key
// resolved, another recipient.
func TestRecordWithoutOptionalMembers(t *testing.T) {
	t.Parallel()
	r := newRecord("Encrypt")
	r.Source = kms.Source{IP: "192.0.2.7", Host: "127.0.0.1:9400"}
	r.Err = &kms.Error{Code: kms.CodeInvalidCiphertext}
	r.RecipientAccount = "222222222222"
	check(t, r, `
		{"eventVersion":"1.11",
		"userIdentity":{"type":"Root","principalId":"111111111111","arn":"arn:aws:iam::111111111111:root",
		"accountId":"111111111111","accessKeyId":"AKIAIOSFODNN7EXAMPLE"},
		"eventTime":"2024-05-01T12:00:00Z","eventSource":"kms.amazonaws.com","eventName":"Encrypt","awsRegion":"us-east-1",
		"sourceIPAddress":"192.0.2.7","errorCode":"InvalidCiphertextException",
		"requestParameters":null,"responseElements":null,
		"requestID":"4e5d4b1c-0000-4000-8000-000000000002","eventID":"e158beb4-0000-4000-8000-000000000001","readOnly":true,
		"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"222222222222","eventCategory":"Management"}`)
}

func TestErrorCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ code, want string }{
		{kms.CodeAccessDenied, "AccessDenied"},
		{kms.CodeNotFound, "NotFoundException"},
		{kms.CodeInvalidKeyUsage, "InvalidKeyUsageException"},
		{kms.CodeDisabled, "DisabledException"},
		{kms.CodeDryRun, "DryRunOperationException"},
		{kms.CodeInternal, "KMSInternalException"},
	} {
		r := newRecord("Encrypt")
		r.Err = &kms.Error{Code: tt.code, Message: "text"}
		want := `,"errorCode":"` + tt.want + `","errorMessage":"text","requestParameters":`
		if got := string(r.AppendJSON(nil)); !strings.Contains(got, want) {
			t.Errorf("%s: %s lacks %s", tt.code, got, want)
		}
	}
}

// text returns the value of a string member of a rendered record.
func text(t *testing.T, r *audit.Record, path ...string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(r.AppendJSON(nil), &v); err != nil {
		t.Fatal(err)
	}
	for _, name := range path {
		v = v.(map[string]any)[name]
	}
	s, ok := v.(string)
	if !ok {
		t.Fatalf("%v is %T, want a string", path, v)
	}
	return s
}

func TestTextIsCutBetweenRunes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{strings.Repeat("a", 1024), strings.Repeat("a", 1024)},
		{strings.Repeat("a", 1025), strings.Repeat("a", 1024)},
		{strings.Repeat("\n", 1025), strings.Repeat("\n", 1024)},
		{strings.Repeat("é", 600), strings.Repeat("é", 512)},
		{"a" + strings.Repeat("é", 600), "a" + strings.Repeat("é", 511)},
		{strings.Repeat("世", 400), strings.Repeat("世", 341)},
		{strings.Repeat("😀", 300), strings.Repeat("😀", 256)},
		{strings.Repeat("\xff", 400), strings.Repeat("\uFFFD", 341)},
		{strings.Repeat("\u2028", 400), strings.Repeat("\u2028", 341)},
	} {
		r := newRecord("Encrypt")
		r.Source.UserAgent, r.Source.Host = tt.in, tt.in
		r.Err = &kms.Error{Code: kms.CodeValidation, Message: tt.in}
		for _, path := range [][]string{{"userAgent"}, {"errorMessage"}, {"tlsDetails", "clientProvidedHostHeader"}} {
			if got := text(t, r, path...); got != tt.want {
				t.Errorf("%v of %.12q…: got %d bytes %.12q…, want %d", path, tt.in, len(got), got, len(tt.want))
			}
		}
	}
}

func TestLargeObjectsAreDropped(t *testing.T) {
	t.Parallel()
	// {"policy":"…"} around n bytes is n+13 bytes.
	for _, tt := range []struct {
		n    int
		want bool
	}{{102400 - 13, true}, {102400 - 12, false}} {
		var p audit.Params
		p.String("policy", strings.Repeat("x", tt.n))
		r := newRecord("CreateKey")
		r.RequestParameters, r.ResponseElements, r.Additional = p, p, p
		got := string(r.AppendJSON(nil))
		if kept := strings.Contains(got, `"requestParameters":{"policy":"xx`); kept != tt.want {
			t.Errorf("%d bytes: requestParameters kept: %v, want %v", tt.n, kept, tt.want)
		}
		if dropped := strings.Contains(got, `"requestParameters":null,"responseElements":null,"requestID"`); dropped == tt.want {
			t.Errorf("%d bytes: dropped: %v, want %v", tt.n, dropped, !tt.want)
		}
	}
}

func TestTimeText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ms   int64
		want string
	}{
		{1660171107000, "Aug 10, 2022, 10:38:27 PM"},
		{1659344703999, "Aug 1, 2022, 9:05:03 AM"},
		{1704067200000, "Jan 1, 2024, 12:00:00 AM"},
		{1704110400000, "Jan 1, 2024, 12:00:00 PM"},
	} {
		if got := audit.TimeText(tt.ms); got != tt.want {
			t.Errorf("TimeText(%d) = %q, want %q", tt.ms, got, tt.want)
		}
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	yes, seven, empty := true, int32(7), ""
	for _, tt := range []struct {
		name string
		fill func(p *audit.Params)
		want string
	}{
		{"nothing", func(*audit.Params) {}, `null`},
		{"absent optional members", func(p *audit.Params) {
			p.OptString("a", nil)
			audit.OptInt[int32](p, "b", nil)
			p.OptBool("c", nil)
			p.Strings("d", nil)
			p.Map("e", nil)
			p.Objects("f", 0, nil)
		}, `null`},
		{"present optional members", func(p *audit.Params) {
			p.OptString("a", &empty)
			audit.OptInt(p, "b", &seven)
			p.OptBool("c", &yes)
			p.Strings("d", []string{})
			p.Map("e", map[string]string{})
		}, `{"a":"","b":7,"c":true,"d":[],"e":{}}`},
		{"the order of the calls", func(p *audit.Params) {
			p.Int("z", -1)
			p.Bool("a", false)
			p.Strings("m", []string{"y", "x"})
		}, `{"z":-1,"a":false,"m":["y","x"]}`},
		{"a map is sorted", func(p *audit.Params) {
			p.Map("m", map[string]string{"b": "1", "a": "2", "{": "}", "B": "3"})
		}, `{"m":{"B":"3","a":"2","b":"1","{":"}"}}`},
		{"nested objects", func(p *audit.Params) {
			p.Object("o", func(p *audit.Params) {
				p.Object("inner", func(*audit.Params) {})
				p.Time("date", 1660171107000)
			})
			p.Objects("tags", 2, func(i int, p *audit.Params) { p.Int("i", int64(i)) })
		}, `{"o":{"inner":{},"date":"Aug 10, 2022, 10:38:27 PM"},"tags":[{"i":0},{"i":1}]}`},
		{"escapes", func(p *audit.Params) {
			p.String("a\"b", "\\ \" / < > & \b\f\n\r\t\x00\x1b\x7f\u0085\u009b\u2028\u2029 é 世 😀 \xff\xc3(")
		}, `{"a\"b":"\\ \" / < > & \u0008\u000c\n\r\t\u0000\u001b\u007f\u0085\u009b\u2028\u2029 é 世 😀 ` + "\uFFFD\uFFFD" + `("}`},
	} {
		r := newRecord("Encrypt")
		tt.fill(&r.RequestParameters)
		got := string(r.AppendJSON(nil))
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: not valid JSON: %s", tt.name, got)
		}
		_, got, _ = strings.Cut(got, `"requestParameters":`)
		got, _, _ = strings.Cut(got, `,"responseElements"`)
		if got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// Any text gives one line of valid JSON that holds the text.
func FuzzRecord(f *testing.F) {
	f.Add("alias/app", "context")
	f.Add("\x00\n\r\u2028\"\\", "\xff\xed\xa0\x80\u0085{")
	f.Fuzz(func(t *testing.T, a, b string) {
		r := newRecord("Encrypt")
		r.Source.UserAgent, r.Source.Host, r.Region = a, b, b
		r.RequestParameters.String("keyId", a)
		r.RequestParameters.Map("encryptionContext", map[string]string{a: b, b: a})
		r.Resources = []audit.Resource{key(a)}
		r.Err = &kms.Error{Code: kms.CodeNotFound, Message: b}
		line := r.AppendJSON(nil)
		if !json.Valid(line) || !utf8.Valid(line) {
			t.Fatalf("not valid JSON: %q", line)
		}
		if i := strings.IndexFunc(string(line), func(c rune) bool {
			return c < ' ' || 0x7f <= c && c <= 0x9f || c == '\u2028' || c == '\u2029'
		}); i >= 0 {
			t.Fatalf("control character at %d: %q", i, line)
		}
		if got, want := text(t, r, "awsRegion"), string([]rune(b)); got != want {
			t.Errorf("text read back: got %q, want %q", got, want)
		}
		encoded, err := r.Encode()
		if err != nil {
			return // too large
		}
		again, err := audit.DecodeRecord(encoded)
		if err != nil {
			t.Fatalf("decoding: %v", err)
		}
		if got := again.AppendJSON(nil); string(got) != string(line) {
			t.Errorf("after a round trip:\n got %s\nwant %s", got, line)
		}
	})
}

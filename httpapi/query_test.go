package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

const (
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	iamNamespace = "https://iam.amazonaws.com/doc/2010-05-08/"
)

// presigned is the URL of appendix A.1.
const presigned = "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256" +
	"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20230501%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Date=20230501T120000Z&X-Amz-Expires=60" +
	"&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature=136847ea1c3d5e0eb179c52b37276f4087decefc4d9a3f7a4c44c08a2ea8f62b"

const identity = "<GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:root</Arn><UserId>111122223333</UserId><Account>111122223333</Account></GetCallerIdentityResult>"

func identityService(t testing.TB) *fakeService {
	f := newFakeService(t)
	f.do = func(context.Context, *service.Call) ([]byte, error) { return []byte(identity), nil }
	return f
}

// checkIdentity compares an answer with appendix A.5.
func checkIdentity(t *testing.T, got response) {
	t.Helper()
	want := `<GetCallerIdentityResponse xmlns="` + stsNamespace + `">` + identity +
		"<ResponseMetadata><RequestId>" + got.header["x-amzn-RequestId"] + "</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
	if got.status != "HTTP/1.1 200 OK" || got.body != want {
		t.Errorf("got %s %s\nwant %s", got.status, got.body, want)
	}
	checkHeader(t, got, map[string]string{"Content-Type": "text/xml", "Content-Length": fmt.Sprint(len(want))})
}

func TestPresignedGet(t *testing.T) {
	t.Parallel()
	f := identityService(t)
	addr := start(t, f)
	checkIdentity(t, send(t, addr, "GET "+presigned+" HTTP/1.1\r\nHost: sts.us-east-1.amazonaws.com\r\nx-k8s-aws-id: demo\r\n\r\n"))
	calls := f.seen()
	if len(calls) != 1 {
		t.Fatalf("%d calls", len(calls))
	}
	c := calls[0]
	if c.Service != "sts" || c.Operation != "GetCallerIdentity" || c.Region != "us-east-1" || string(c.Body) != "Action=GetCallerIdentity&Version=2011-06-15" {
		t.Errorf("got %+v with body %s", c, c.Body)
	}
}

func TestSignedQueryCalls(t *testing.T) {
	t.Parallel()
	f := identityService(t)
	addr := start(t, f)
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
	for _, r := range []*http.Request{
		signedRequest(t, "sts", "POST", "http://"+addr+"/", form, "Version=2011-06-15&Action=GetCallerIdentity", now),
		signedRequest(t, "sts", "POST", "http://"+addr+"/", nil, "Action=GetCallerIdentity&Version=2011-06-15", now),
		signedRequest(t, "sts", "POST", "http://"+addr+"/?Action=GetCallerIdentity&Version=2011-06-15", nil, "", now),
		signedRequest(t, "sts", "POST", "http://"+addr+"/?Action=GetCallerIdentity", form, "Version=2011-06-15", now),
		signedRequest(t, "sts", "GET", "http://"+addr+"/?Action=GetCallerIdentity&Version=2011-06-15", nil, "", now),
		signedRequest(t, "sts", "POST", "http://"+addr+"/", form, "Action=GetCallerIdentity&Version=2011-06-15", now.Add(-15*time.Minute)),
	} {
		checkIdentity(t, send(t, addr, raw(t, r)))
	}
	for _, c := range f.seen() {
		if string(c.Body) != "Action=GetCallerIdentity&Version=2011-06-15" {
			t.Errorf("the service got %s", c.Body)
		}
	}
}

// TestQueryOperationWithoutOutput checks that the Result element is left out and
// the metadata kept.
func TestQueryOperationWithoutOutput(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	f.known["iam.DeleteUser"] = true
	addr := start(t, f)
	got := send(t, addr, raw(t, signedRequest(t, "iam", "POST", "http://"+addr+"/", nil, "Action=DeleteUser&Version=2010-05-08&UserName=bob", now)))
	want := `<DeleteUserResponse xmlns="` + iamNamespace + `"><ResponseMetadata><RequestId>` +
		got.header["x-amzn-RequestId"] + `</RequestId></ResponseMetadata></DeleteUserResponse>`
	if got.status != "HTTP/1.1 200 OK" || got.body != want {
		t.Errorf("got %s %s", got.status, got.body)
	}
}

// TestIAMCalls checks that calls for IAM reach it by the scope, whichever Region that
// and a host name have: IAM belongs to none.
func TestIAMCalls(t *testing.T) {
	t.Parallel()
	f := newFakeService(t)
	f.known["iam.DeleteUser"] = true
	addr := start(t, f)
	const body = "Action=DeleteUser&Version=2010-05-08&UserName=bob"
	for host, region := range map[string]string{addr: "eu-central-1", "iam.amazonaws.com": "us-east-1", "iam.eu-west-1.amazonaws.com": "us-east-1"} {
		header := map[string]string{"Host": host, "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
		got := send(t, addr, raw(t, signedFor(t, "iam", region, "POST", "http://"+addr+"/", header, body, now)))
		if got.status != "HTTP/1.1 200 OK" {
			t.Errorf("%s: got %s %s", host, got.status, got.body)
		}
	}
	for _, c := range f.seen() {
		if c.Service != "iam" || c.Operation != "DeleteUser" || c.Region != "us-east-1" || string(c.Body) != "Action=DeleteUser&UserName=bob&Version=2010-05-08" {
			t.Errorf("got %s %s in %s with body %s", c.Service, c.Operation, c.Region, c.Body)
		}
	}
	if n := len(f.seen()); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

func queryFailure(namespace, kind, code, message, id string) string {
	return `<ErrorResponse xmlns="` + namespace + `"><Error><Type>` + kind + `</Type><Code>` + code + `</Code><Message>` + message +
		`</Message></Error><RequestId>` + id + `</RequestId></ErrorResponse>`
}

// TestQueryRefusals checks what is refused before the service.
func TestQueryRefusals(t *testing.T) {
	t.Parallel()
	const get = "GET /?Action=GetCallerIdentity&Version=2011-06-15 HTTP/1.1\r\nHost: sts\r\n\r\n"
	post := func(body string) string {
		return fmt.Sprintf("POST / HTTP/1.1\r\nHost: sts\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	signed := func(service, body string, at time.Time) string {
		return raw(t, signedRequest(t, service, "POST", "http://sts/", nil, body, at))
	}
	const call = "Action=GetCallerIdentity&Version=2011-06-15"
	long := strings.Repeat("x", 128)
	for _, c := range []struct{ name, request, status, code, message string }{
		{"unsigned GET", get, "403 Forbidden", "MissingAuthenticationToken", "Request is missing Authentication Token"},
		{"unsigned POST", post(call), "403 Forbidden", "MissingAuthenticationToken", "Request is missing Authentication Token"},
		{"unknown action", post("Action=Nope&Version=2011-06-15"), "400 Bad Request", "InvalidAction", "Could not find operation Nope for version 2011-06-15"},
		{"of another service", post("Action=Encrypt&Version=2011-06-15"), "400 Bad Request", "InvalidAction", "Could not find operation Encrypt for version 2011-06-15"},
		{"unknown version", post("Action=GetCallerIdentity&Version=1999-01-01"), "400 Bad Request", "InvalidAction", "Could not find operation GetCallerIdentity for version 1999-01-01"},
		{"no version", post("Action=GetCallerIdentity"), "400 Bad Request", "InvalidAction", "Could not find operation GetCallerIdentity for version NO_VERSION_SPECIFIED"},
		{"action twice", post(call + "&Action=GetCallerIdentity"), "400 Bad Request", "InvalidAction", "Could not find operation GetCallerIdentity for version 2011-06-15"},
		{"no action", post("Version=2011-06-15"), "400 Bad Request", "MissingAction", "The request is missing an action or a required parameter."},
		{"markup in the action", post("Action=%3Ca%3E%0D%0A&Version=%26"), "400 Bad Request", "InvalidAction", "Could not find operation &lt;a&gt;&#xD;\n for version &amp;"},
		{"long action", post("Action=" + long + "y&Version=" + long + "y"), "400 Bad Request", "InvalidAction", "Could not find operation " + long + " for version " + long},
		{"bad escape", post(call + "&x=%zz"), "400 Bad Request", "MalformedInput", "The parameters of the request are not correctly encoded."},
		{"too many parameters", signed("sts", call+strings.Repeat("&a", 999), now), "400 Bad Request", "MalformedInput", "The parameters of the request are not correctly encoded."},
		{"unknown access key", strings.Replace(signed("sts", call, now), accessKey, "AKIAOTHERKEYEXAMPLE2", 1), "403 Forbidden", "InvalidClientTokenId", notValid},
		{"tampered with", strings.Replace(signed("sts", call+"&a=1", now), "&a=1", "&a=2", 1), "403 Forbidden", "SignatureDoesNotMatch", notMatching},
		{"expired", signed("sts", call, now.Add(-15*time.Minute-time.Second)), "403 Forbidden", "SignatureDoesNotMatch",
			"Signature expired: 20230501T114459Z is now earlier than 20230501T114500Z (20230501T120000Z - 15 min.)"},
		{"no Region in an IAM scope", strings.Replace(signed("iam", "Action=DeleteUser&Version=2010-05-08", now), "/us-east-1/iam/", "/Frankfurt/iam/", 1),
			"403 Forbidden", "SignatureDoesNotMatch", "Credential should be scoped to a valid region. "},
		{"scope of STS for an IAM call", signed("sts", "Action=DeleteUser&Version=2010-05-08", now), "400 Bad Request", "InvalidAction", "Could not find operation DeleteUser for version 2010-05-08"},
		{"IAM unsigned", post("Action=DeleteUser&Version=2010-05-08"), "403 Forbidden", "MissingAuthenticationToken", "Request is missing Authentication Token"},
		{"IAM with the version of STS", signed("iam", "Action=DeleteUser&Version=2011-06-15", now), "400 Bad Request", "InvalidAction", "Could not find operation DeleteUser for version 2011-06-15"},
		{"no such IAM operation", signed("iam", "Action=GetUser&Version=2010-05-08", now), "400 Bad Request", "InvalidAction", "Could not find operation GetUser for version 2010-05-08"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := identityService(t)
			f.known["iam.DeleteUser"] = true
			addr := start(t, f)
			got := send(t, addr, c.request)
			namespace := stsNamespace
			if strings.Contains(c.name, "IAM") && !strings.Contains(c.name, "STS for") {
				namespace = iamNamespace
			}
			want := queryFailure(namespace, "Sender", c.code, c.message, got.header["x-amzn-RequestId"])
			if got.status != "HTTP/1.1 "+c.status || got.body != want {
				t.Errorf("got %s %s\nwant %s %s", got.status, got.body, c.status, want)
			}
			checkHeader(t, got, map[string]string{"Content-Type": "text/xml", "Content-Length": fmt.Sprint(len(want)), "x-amzn-ErrorType": c.code})
			if opened, settled := f.counts(); opened != settled || len(f.seen()) != 0 {
				t.Errorf("opened %d, settled %d, called %d", opened, settled, len(f.seen()))
			}
		})
	}
}

// TestQueryErrors checks how the service's errors leave in XML.
func TestQueryErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err                         error
		status, kind, code, message string
	}{
		{&kms.Error{Code: "ThrottlingException", Message: "Rate exceeded"}, "400 Bad Request", "Sender", "Throttling", "Rate exceeded"},
		{&kms.Error{Code: "ValidationException", Message: "1 validation error detected: 'x' <y>"}, "400 Bad Request", "Sender", "ValidationError", "1 validation error detected: &#39;x&#39; &lt;y&gt;"},
		{&kms.Error{Code: "SerializationException", Message: "Unexpected list element termination"}, "400 Bad Request", "Sender", "MalformedInput", "Unexpected list element termination"},
		{&kms.Error{Code: "AccessDeniedException", Message: "no"}, "403 Forbidden", "Sender", "AccessDenied", "no"},
		{&kms.Error{Code: "LimitExceededException", Message: "Cannot exceed quota"}, "409 Conflict", "Sender", "LimitExceeded", "Cannot exceed quota"},
		{&kms.Error{Code: "MalformedPolicyDocumentException", Message: "Syntax errors in policy."}, "400 Bad Request", "Sender", "MalformedPolicyDocument", "Syntax errors in policy."},
		{&kms.Error{Code: "NoSuchEntity", Message: "gone"}, "404 Not Found", "Sender", "NoSuchEntity", "gone"},
		{&kms.Error{Code: "EntityAlreadyExists", Message: "there"}, "409 Conflict", "Sender", "EntityAlreadyExists", "there"},
		{&kms.Error{Code: "DeleteConflict", Message: "used"}, "409 Conflict", "Sender", "DeleteConflict", "used"},
		{&kms.Error{Code: "ConcurrentModification", Message: "again"}, "409 Conflict", "Sender", "ConcurrentModification", "again"},
		{&kms.Error{Code: "PackedPolicyTooLarge", Message: "large"}, "400 Bad Request", "Sender", "PackedPolicyTooLarge", "large"},
		{&kms.Error{Code: "InvalidInput", Message: "bad"}, "400 Bad Request", "Sender", "InvalidInput", "bad"},
		{&kms.Error{Code: "UnmodifiableEntity", Message: "fixed"}, "400 Bad Request", "Sender", "UnmodifiableEntity", "fixed"},
		{&kms.Error{Code: "PolicyNotAttachable", Message: "no"}, "400 Bad Request", "Sender", "PolicyNotAttachable", "no"},
		{&kms.Error{Code: "ExpiredToken", Message: "old"}, "403 Forbidden", "Sender", "ExpiredToken", "old"},
		{kms.ErrUnavailable, "503 Service Unavailable", "Receiver", "ServiceUnavailable", "The service cannot serve the request now. Nothing was done."},
		{kms.ErrOutcomeUnknown, "500 Internal Server Error", "Receiver", "InternalFailure", "The outcome of this request is unknown."},
		{errors.New("boom"), "500 Internal Server Error", "Receiver", "InternalFailure", "The request was rejected because an internal exception occurred. The request can be retried."},
	} {
		t.Run(c.code, func(t *testing.T) {
			t.Parallel()
			f := newFakeService(t)
			f.do = func(context.Context, *service.Call) ([]byte, error) { return nil, c.err }
			addr := start(t, f)
			got := send(t, addr, raw(t, signedRequest(t, "sts", "POST", "http://"+addr+"/", nil, "Action=GetCallerIdentity&Version=2011-06-15", now)))
			want := queryFailure(stsNamespace, c.kind, c.code, c.message, got.header["x-amzn-RequestId"])
			if got.status != "HTTP/1.1 "+c.status || got.body != want {
				t.Errorf("got %s %s\nwant %s %s", got.status, got.body, c.status, want)
			}
		})
	}
}

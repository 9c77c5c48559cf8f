package sts_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/sts"
)

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	op, ok := sts.Lookup("GetCallerIdentity")
	if !ok || op.Output != wire.MembersOutput {
		t.Fatalf("got %v, %t, want an operation with output", op, ok)
	}
	if err := op.New().Decode([]byte("Action=GetCallerIdentity&Version=2011-06-15")); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	out := sts.GetCallerIdentityResponse{
		Arn: new("arn:aws:iam::111111111111:user/eng/alice"), UserId: new("AIDAEXAMPLEEXAMPLE111"), Account: new("111111111111"),
	}
	got := string(wire.AppendQueryResponse(nil, op.Name, sts.Namespace, "req-1", out.AppendXML(nil)))
	want := `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>` +
		`<Arn>arn:aws:iam::111111111111:user/eng/alice</Arn><UserId>AIDAEXAMPLEEXAMPLE111</UserId><Account>111111111111</Account>` +
		`</GetCallerIdentityResult><ResponseMetadata><RequestId>req-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var parsed struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		Arn     string   `xml:"GetCallerIdentityResult>Arn"`
	}
	if err := xml.Unmarshal([]byte(got), &parsed); err != nil || parsed.Arn != *out.Arn {
		t.Errorf("parsed: got %v, %v, want the ARN", parsed, err)
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	var got []string
	for _, op := range sts.Operations() {
		got = append(got, op.Name)
	}
	if want := []string{"AssumeRole", "GetAccessKeyInfo", "GetCallerIdentity", "GetSessionToken"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	op, _ := sts.Lookup("AssumeRole")
	want := []string{"MalformedPolicyDocument", "PackedPolicyTooLarge", "RegionDisabledException", "ExpiredTokenException"}
	if !slices.Equal(op.Errors, want) {
		t.Errorf("AssumeRole: got errors %v, want %v", op.Errors, want)
	}
}

const role = "arn:aws:iam::111111111111:role/eng/App"

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	body := "Action=AssumeRole&Version=2011-06-15&RoleArn=" + role + "&RoleSessionName=ci&DurationSeconds=900&ExternalId=a%3Ab" +
		"&Policy=%7B%7D&PolicyArns.member.1.arn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FA&PolicyArns.member.2.arn=" + role +
		"&Tags.member.1.Key=k&Tags.member.1.Value=&TransitiveTagKeys.member.1=k&SourceIdentity=me&SerialNumber=123456789&TokenCode=123456" +
		"&ProvidedContexts.member.1.ProviderArn=" + role + "&ProvidedContexts.member.1.ContextAssertion=jwt."
	want := sts.AssumeRoleRequest{
		RoleArn: role, RoleSessionName: "ci", DurationSeconds: new(900), ExternalId: new("a:b"), Policy: new("{}"),
		PolicyArns: []sts.PolicyDescriptorType{{Arn: new("arn:aws:iam::aws:policy/A")}, {Arn: new(role)}},
		Tags:       []sts.Tag{{Key: "k"}}, TransitiveTagKeys: []string{"k"},
		SourceIdentity: new("me"), SerialNumber: new("123456789"), TokenCode: new("123456"),
		ProvidedContexts: []sts.ProvidedContext{{ProviderArn: new(role), ContextAssertion: new("jwt.")}},
	}
	var got sts.AssumeRoleRequest
	if err := got.Decode([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
}

func TestConstraints(t *testing.T) {
	t.Parallel()
	const valid = "RoleArn=" + role + "&RoleSessionName=ci"
	for body, want := range map[string]string{
		"": "2 validation errors detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null",
		"RoleArn=arn%3Aaws%3Aiam%3A%3A123456&RoleSessionName=ci": "1 validation error detected: Value 'arn:aws:iam::123456' at 'roleArn' failed to satisfy constraint: " +
			"Member must have length greater than or equal to 20",
		"RoleArn=" + role + "&RoleSessionName=a%2Fb": "1 validation error detected: Value 'a/b' at 'roleSessionName' failed to satisfy constraint: " +
			`Member must satisfy regular expression pattern: [\w+=,.@-]*`,
		valid + "&DurationSeconds=43201": "1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: " +
			"Member must have value less than or equal to 43200",
		valid + "&PolicyArns.member.1.arn=x": "1 validation error detected: Value 'x' at 'policyArns.1.member.arn' failed to satisfy constraint: " +
			"Member must have length greater than or equal to 20",
		valid + "&ProvidedContexts=": "1 validation error detected: Value at 'providedContexts' failed to satisfy constraint: " +
			"Member must have length greater than or equal to 1",
	} {
		var in sts.AssumeRoleRequest
		err := in.Decode([]byte(body))
		var broken *wire.ConstraintError
		if !errors.As(err, &broken) || broken.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", body, err, want)
		}
	}
}

// TestSessionPoliciesAreNotLost: a session whose policies are misspelt would have all
// rights of its role.
func TestSessionPoliciesAreNotLost(t *testing.T) {
	t.Parallel()
	for _, misspelt := range []string{
		"PolicyArns.1.arn=" + role, "PolicyArns.member.1=" + role, "PolicyArns=" + role, "PolicyArns.member.2.arn=" + role,
		"Policy.member.1=%7B%7D", "Policy=%7B%7D&Policy=%7B%7D",
	} {
		var in sts.AssumeRoleRequest
		err := in.Decode([]byte("RoleArn=" + role + "&RoleSessionName=ci&" + misspelt))
		var got *wire.SerializationError
		if !errors.As(err, &got) {
			t.Errorf("%s: got %v, want a SerializationError", misspelt, err)
		}
	}
}

// TestAssumeRoleResponse compares an answer with AWS's.
func TestAssumeRoleResponse(t *testing.T) {
	t.Parallel()
	out := sts.AssumeRoleResponse{
		Credentials: &sts.Credentials{
			AccessKeyId: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret", SessionToken: "token==",
			Expiration: new(time.Date(2024, 5, 1, 13, 0, 0, 0, time.UTC)),
		},
		AssumedRoleUser:  &sts.AssumedRoleUser{AssumedRoleId: "AROAEXAMPLEEXAMPLE111:ci", Arn: "arn:aws:sts::111111111111:assumed-role/App/ci"},
		PackedPolicySize: new(6),
	}
	want := `<AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROAEXAMPLEEXAMPLE111:ci</AssumedRoleId><Arn>arn:aws:sts::111111111111:assumed-role/App/ci</Arn></AssumedRoleUser>` +
		`<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token==</SessionToken>` +
		`<Expiration>2024-05-01T13:00:00Z</Expiration></Credentials><PackedPolicySize>6</PackedPolicySize></AssumeRoleResult>`
	if got := string(out.AppendXML(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if got := fmt.Sprintf(verb, *out.Credentials); strings.Contains(got, "token==") || strings.Contains(got, "secret") {
			t.Errorf("%s: got %s, want no secret", verb, got)
		}
	}
}

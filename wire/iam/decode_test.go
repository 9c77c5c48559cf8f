package iam_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/iam"
)

func decode(t *testing.T, op, body string) (wire.Request, error) {
	t.Helper()
	row, ok := iam.Lookup(op)
	if !ok {
		t.Fatalf("no operation %s", op)
	}
	in := row.New()
	return in, in.Decode([]byte(body))
}

func TestDecode(t *testing.T) {
	t.Parallel()
	const call = "Action=Do&Version=2010-05-08&"
	const arn = "arn:aws:iam::111111111111:policy/eng/App"
	for _, c := range []struct {
		op, body string
		want     wire.Request
	}{
		{"CreateUser", "UserName=alice&Path=%2Feng%2F&Tags.member.1.Key=team&Tags.member.1.Value=a+b&Tags.member.2.Key=empty&Tags.member.2.Value=",
			&iam.CreateUserRequest{UserName: "alice", Path: new("/eng/"), Tags: []iam.Tag{{Key: "team", Value: "a b"}, {Key: "empty"}}}},
		{"GetUser", "", &iam.GetUserRequest{}},
		{"GetAccountSummary", "MaxItems=x", &iam.GetAccountSummaryRequest{}},
		{"GetAccountAuthorizationDetails", "Filter.member.1=User&Filter.member.2=LocalManagedPolicy&MaxItems=7",
			&iam.GetAccountAuthorizationDetailsRequest{Filter: []string{"User", "LocalManagedPolicy"}, MaxItems: new(7)}},
		{"ListUsers", "PathPrefix=%2F&MaxItems=1000&Marker=m", &iam.ListUsersRequest{PathPrefix: new("/"), MaxItems: new(1000), Marker: new("m")}},
		{"UntagUser", "UserName=a&TagKeys.member.1=x&TagKeys.member.2=y+z", &iam.UntagUserRequest{UserName: "a", TagKeys: []string{"x", "y z"}}},
		{"TagUser", "UserName=a&Tags=", &iam.TagUserRequest{UserName: "a", Tags: []iam.Tag{}}},
		{"CreateRole", "RoleName=App&AssumeRolePolicyDocument=%7B%0A%7D&MaxSessionDuration=3600&Description=",
			&iam.CreateRoleRequest{RoleName: "App", AssumeRolePolicyDocument: "{\n}", MaxSessionDuration: new(3600), Description: new("")}},
		{"UpdateRoleDescription", "RoleName=App&Description=", &iam.UpdateRoleDescriptionRequest{RoleName: "App"}},
		{"CreatePolicyVersion", "PolicyArn=" + arn + "&PolicyDocument=%7B%7D&SetAsDefault=true",
			&iam.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: "{}", SetAsDefault: new(true)}},
		{"ListPolicies", "Scope=Local&OnlyAttached=false&PolicyUsageFilter=PermissionsBoundary",
			&iam.ListPoliciesRequest{Scope: "Local", OnlyAttached: new(false), PolicyUsageFilter: "PermissionsBoundary"}},
		{"SetDefaultPolicyVersion", "PolicyArn=" + arn + "&VersionId=v12", &iam.SetDefaultPolicyVersionRequest{PolicyArn: arn, VersionId: "v12"}},
		{"UpdateAccessKey", "AccessKeyId=AKIAIOSFODNN7EXAMPLE&Status=Inactive", &iam.UpdateAccessKeyRequest{AccessKeyId: "AKIAIOSFODNN7EXAMPLE", Status: "Inactive"}},
		{"ListServiceSpecificCredentials", "AllUsers=true&ServiceName=", &iam.ListServiceSpecificCredentialsRequest{AllUsers: new(true), ServiceName: new("")}},
		// What the model does not know has no effect.
		{"DeleteUser", "UserName=a&userName=b&Force=true&Tags.1.Key=", &iam.DeleteUserRequest{UserName: "a"}},
	} {
		got, err := decode(t, c.op, call+c.body)
		if err != nil {
			t.Errorf("%s %s: %v", c.op, c.body, err)
			continue
		}
		if diff := cmp.Diff(got, c.want); diff != "" {
			t.Errorf("%s %s: -got +want\n%s", c.op, c.body, diff)
		}
	}
}

func one(entry string) string { return "1 validation error detected: " + entry }

func TestConstraintTexts(t *testing.T) {
	t.Parallel()
	const names = `Member must satisfy regular expression pattern: [\w+=,.@-]+`
	letters := func(n int) string { return strings.Repeat("a", n) }
	for _, c := range []struct{ op, body, want string }{
		{"CreateUser", "", one("Value null at 'userName' failed to satisfy constraint: Member must not be null")},
		{"CreateUser", "UserName=" + letters(65), one("Value '" + letters(65) + "' at 'userName' failed to satisfy constraint: Member must have length less than or equal to 64")},
		{"GetUser", "UserName=" + letters(129), one("Value '" + letters(129) + "' at 'userName' failed to satisfy constraint: Member must have length less than or equal to 128")},
		{"CreateUser", "UserName=a+b", one("Value 'a b' at 'userName' failed to satisfy constraint: " + names)},
		{"CreateUser", "UserName=", "2 validation errors detected: Value '' at 'userName' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
			"Value '' at 'userName' failed to satisfy constraint: " + names},
		{"CreateUser", "UserName=a&Path=eng", one(`Value 'eng' at 'path' failed to satisfy constraint: Member must satisfy regular expression pattern: (\u002F)|(\u002F[\u0021-\u007E]+\u002F)`)},
		{"CreatePolicy", "PolicyName=p&PolicyDocument=%7B%7D&Path=%2Feng", one(`Value '/eng' at 'path' failed to satisfy constraint: Member must satisfy regular expression pattern: ((/[A-Za-z0-9\.,\+@=_-]+)*)/`)},
		{"ListUsers", "MaxItems=1001", one("Value '1001' at 'maxItems' failed to satisfy constraint: Member must have value less than or equal to 1000")},
		{"ListUsers", "MaxItems=0", one("Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1")},
		{"CreateRole", "RoleName=r&AssumeRolePolicyDocument=%7B%7D&MaxSessionDuration=3599", one("Value '3599' at 'maxSessionDuration' failed to satisfy constraint: Member must have value greater than or equal to 3600")},
		{"CreateRole", "RoleName=r&AssumeRolePolicyDocument=%D0%96", one(`Value 'Ж' at 'assumeRolePolicyDocument' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`)},
		{"UpdateAccessKey", "AccessKeyId=AKIAIOSFODNN7EXAMPLE&Status=active", one("Value 'active' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive, Expired]")},
		{"ListPolicies", "Scope=", one("Value '' at 'scope' failed to satisfy constraint: Member must satisfy enum value set: [All, AWS, Local]")},
		{"GetPolicy", "PolicyArn=arn", one("Value 'arn' at 'policyArn' failed to satisfy constraint: Member must have length greater than or equal to 20")},
		{"GetPolicyVersion", "PolicyArn=" + letters(20) + "&VersionId=v0", one(`Value 'v0' at 'versionId' failed to satisfy constraint: Member must satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?`)},
		{"TagUser", "UserName=a", one("Value null at 'tags' failed to satisfy constraint: Member must not be null")},
		{"TagUser", "UserName=a&Tags.member.1.Key=k", one("Value null at 'tags.1.member.value' failed to satisfy constraint: Member must not be null")},
		{"TagUser", "UserName=a&Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.2.Key=b&Tags.member.2.Value=a%2Cb",
			one(`Value 'a,b' at 'tags.2.member.value' failed to satisfy constraint: Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*`)},
		{"TagUser", "UserName=a" + tags(51), one("Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50")},
		{"UntagUser", "UserName=a&TagKeys.member.1=k&TagKeys.member.2=", one("Value '[k, ]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: " +
			"[Member must have length less than or equal to 128, Member must have length greater than or equal to 1, " +
			`Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+]`)},
		{"AddUserToGroup", "GroupName=a%2Fb", "2 validation errors detected: Value 'a/b' at 'groupName' failed to satisfy constraint: " + names +
			"; Value null at 'userName' failed to satisfy constraint: Member must not be null"},
	} {
		in, err := decode(t, c.op, c.body)
		var broken *wire.ConstraintError
		if !errors.As(err, &broken) || broken.Error() != c.want {
			t.Errorf("%s %.60s:\ngot  %v\nwant %s", c.op, c.body, err, c.want)
		}
		row, _ := iam.Lookup(c.op)
		if !cmp.Equal(in, row.New()) {
			t.Errorf("%s %.60s: got request %v after the error, want an empty one", c.op, c.body, in)
		}
	}
	if _, err := decode(t, "TagUser", "UserName=a"+tags(50)); err != nil {
		t.Errorf("50 tags: %v", err)
	}
}

// tags returns the parameters of n tags.
func tags(n int) string {
	var b strings.Builder
	for i := range n {
		prefix := "&Tags.member." + number(i+1)
		b.WriteString(prefix + ".Key=k" + number(i+1) + prefix + ".Value=v")
	}
	return b.String()
}

func TestMalformedParameters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ op, body, want string }{
		{"ListUsers", "MaxItems=ten", "STRING_VALUE cannot be converted to Integer"},
		{"CreatePolicyVersion", "SetAsDefault=yes", "STRING_VALUE cannot be converted to Boolean"},
		{"TagUser", "UserName=a&Tags.1.Key=k", "Unexpected list element termination"},
		{"TagUser", "UserName=a&Tags.member.2.Key=k", "Unexpected list element termination"},
		{"TagUser", "UserName=a&Tags.member.1=k", "Unexpected complex element termination"},
		{"GetUser", "UserName=a&UserName=b", "A parameter of the request was given more than once."},
	} {
		_, err := decode(t, c.op, c.body)
		var got *wire.SerializationError
		if !errors.As(err, &got) || got.Message != c.want {
			t.Errorf("%s %s: got %v, want %q", c.op, c.body, err, c.want)
		}
	}
}

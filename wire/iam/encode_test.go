package iam_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/iam"
)

func number(n int) string { return strconv.Itoa(n) }

var noon = time.Date(2024, 5, 1, 12, 0, 0, 999_000_000, time.UTC)

func TestEncode(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("east", 3600)
	for _, c := range []struct {
		out  wire.XMLResponse
		want string
	}{
		{&iam.CreateAccessKeyResponse{AccessKey: &iam.AccessKey{
			UserName: "alice", AccessKeyId: "AKIAIOSFODNN7EXAMPLE", Status: "Active", SecretAccessKey: "a/b+c", CreateDate: &noon,
		}}, `<CreateAccessKeyResult><AccessKey><UserName>alice</UserName><AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId><Status>Active</Status>` +
			`<SecretAccessKey>a/b+c</SecretAccessKey><CreateDate>2024-05-01T12:00:00Z</CreateDate></AccessKey></CreateAccessKeyResult>`},
		{&iam.GetUserResponse{User: &iam.User{Path: "/", UserName: "a", UserId: "AIDA", Arn: "arn", CreateDate: new(noon.In(zone))}},
			`<GetUserResult><User><Path>/</Path><UserName>a</UserName><UserId>AIDA</UserId><Arn>arn</Arn><CreateDate>2024-05-01T12:00:00Z</CreateDate></User></GetUserResult>`},
		{&iam.GetUserResponse{User: &iam.User{
			Tags:                []iam.Tag{{Key: "k", Value: "<&>"}, {Key: "e"}},
			PermissionsBoundary: &iam.AttachedPermissionsBoundary{PermissionsBoundaryType: "PermissionsBoundaryPolicy", PermissionsBoundaryArn: new("arn")},
		}}, `<GetUserResult><User><Path></Path><UserName></UserName><UserId></UserId><Arn></Arn>` +
			`<PermissionsBoundary><PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType><PermissionsBoundaryArn>arn</PermissionsBoundaryArn></PermissionsBoundary>` +
			`<Tags><member><Key>k</Key><Value>&lt;&amp;&gt;</Value></member><member><Key>e</Key><Value></Value></member></Tags></User></GetUserResult>`},
		{&iam.ListUsersResponse{IsTruncated: new(false)}, `<ListUsersResult><Users></Users><IsTruncated>false</IsTruncated></ListUsersResult>`},
		{&iam.ListUsersResponse{Users: []iam.User{}, IsTruncated: new(true), Marker: new("m")},
			`<ListUsersResult><Users></Users><IsTruncated>true</IsTruncated><Marker>m</Marker></ListUsersResult>`},
		{&iam.ListAttachedRolePoliciesResponse{}, `<ListAttachedRolePoliciesResult><AttachedPolicies></AttachedPolicies></ListAttachedRolePoliciesResult>`},
		{&iam.ListUserPoliciesResponse{PolicyNames: []string{"p", "q&"}},
			`<ListUserPoliciesResult><PolicyNames><member>p</member><member>q&amp;</member></PolicyNames></ListUserPoliciesResult>`},
		{&iam.ListEntitiesForPolicyResponse{PolicyUsers: []iam.PolicyUser{{UserName: new("a"), UserId: new("AIDA")}}},
			`<ListEntitiesForPolicyResult><PolicyGroups></PolicyGroups><PolicyUsers><member><UserName>a</UserName><UserId>AIDA</UserId></member></PolicyUsers>` +
				`<PolicyRoles></PolicyRoles></ListEntitiesForPolicyResult>`},
		{&iam.GetRolePolicyResponse{RoleName: "r", PolicyName: "p", PolicyDocument: "%7B%7D"},
			`<GetRolePolicyResult><RoleName>r</RoleName><PolicyName>p</PolicyName><PolicyDocument>%7B%7D</PolicyDocument></GetRolePolicyResult>`},
		{&iam.GetRoleResponse{Role: &iam.Role{
			Path: "/", RoleName: "r", RoleId: "AROA", Arn: "arn", CreateDate: &noon, AssumeRolePolicyDocument: new("%7B%7D"), MaxSessionDuration: new(3600),
			Tags: []iam.Tag{}, RoleLastUsed: &iam.RoleLastUsed{},
		}}, `<GetRoleResult><Role><Path>/</Path><RoleName>r</RoleName><RoleId>AROA</RoleId><Arn>arn</Arn><CreateDate>2024-05-01T12:00:00Z</CreateDate>` +
			`<AssumeRolePolicyDocument>%7B%7D</AssumeRolePolicyDocument><MaxSessionDuration>3600</MaxSessionDuration><Tags></Tags><RoleLastUsed></RoleLastUsed></Role></GetRoleResult>`},
		{&iam.GetPolicyResponse{Policy: &iam.Policy{AttachmentCount: new(0), IsAttachable: new(true)}},
			`<GetPolicyResult><Policy><AttachmentCount>0</AttachmentCount><IsAttachable>true</IsAttachable></Policy></GetPolicyResult>`},
		{&iam.GetAccountSummaryResponse{SummaryMap: map[string]int{"UsersQuota": 5000, "Users": 2, "Groups": 0}},
			`<GetAccountSummaryResult><SummaryMap><entry><key>Groups</key><value>0</value></entry><entry><key>Users</key><value>2</value></entry>` +
				`<entry><key>UsersQuota</key><value>5000</value></entry></SummaryMap></GetAccountSummaryResult>`},
		{&iam.GetAccountSummaryResponse{}, `<GetAccountSummaryResult><SummaryMap></SummaryMap></GetAccountSummaryResult>`},
		{&iam.GetAccessKeyLastUsedResponse{UserName: new("a"), AccessKeyLastUsed: &iam.AccessKeyLastUsed{ServiceName: "N/A", Region: "N/A"}},
			`<GetAccessKeyLastUsedResult><UserName>a</UserName><AccessKeyLastUsed><ServiceName>N/A</ServiceName><Region>N/A</Region></AccessKeyLastUsed></GetAccessKeyLastUsedResult>`},
		{&iam.ListInstanceProfilesForRoleResponse{InstanceProfiles: []iam.InstanceProfile{{}}},
			`<ListInstanceProfilesForRoleResult><InstanceProfiles><member><Path></Path><InstanceProfileName></InstanceProfileName><InstanceProfileId></InstanceProfileId>` +
				`<Arn></Arn><Roles></Roles></member></InstanceProfiles></ListInstanceProfilesForRoleResult>`},
		{&iam.ListVirtualMFADevicesResponse{VirtualMFADevices: []iam.VirtualMFADevice{{SerialNumber: "s", QRCodePNG: wire.Sensitive("png")}}},
			`<ListVirtualMFADevicesResult><VirtualMFADevices><member><SerialNumber>s</SerialNumber><QRCodePNG>cG5n</QRCodePNG></member></VirtualMFADevices></ListVirtualMFADevicesResult>`},
		{&iam.UpdateRoleResponse{}, `<UpdateRoleResult></UpdateRoleResult>`},
	} {
		got := string(c.out.AppendXML([]byte("x")))
		if got != "x"+c.want {
			t.Errorf("%T:\ngot  %s\nwant %s", c.out, got, c.want)
		}
		wellFormed(t, got[1:])
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// TestEnvelope compares a whole answer with the behaviour of the query protocol.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	out := iam.GetUserPolicyResponse{UserName: "a", PolicyName: "p", PolicyDocument: "%7B%7D"}
	got := string(wire.AppendQueryResponse(nil, "GetUserPolicy", iam.Namespace, "uuid", out.AppendXML(nil)))
	want := `<GetUserPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetUserPolicyResult><UserName>a</UserName><PolicyName>p</PolicyName>` +
		`<PolicyDocument>%7B%7D</PolicyDocument></GetUserPolicyResult><ResponseMetadata><RequestId>uuid</RequestId></ResponseMetadata></GetUserPolicyResponse>`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	key := iam.AccessKey{SecretAccessKey: "hunter2"}
	if got := fmt.Sprintf("%v %+v %#v", key, &key, key.SecretAccessKey); strings.Contains(got, "hunter2") {
		t.Errorf("got %s, want no secret", got)
	}
}

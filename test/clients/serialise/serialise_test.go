// Package serialise_test compares the requests and responses of wire/iam and wire/sts
// with the serialisers of the AWS SDK for Go, member by member and without a cluster:
// what the SDK writes must be read as it was meant, and the other way round.
package serialise_test

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/iam"
	"github.com/kmsd/kmsd/wire/sts"
)

// responses are the outputs of all operations that have one, under their names with
// "Response" behind.
var responses = []wire.XMLResponse{
	new(iam.CreateAccessKeyResponse), new(iam.CreateGroupResponse), new(iam.CreatePolicyResponse), new(iam.CreatePolicyVersionResponse),
	new(iam.CreateRoleResponse), new(iam.CreateUserResponse), new(iam.GetAccessKeyLastUsedResponse), new(iam.GetAccountSummaryResponse),
	new(iam.GetAccountAuthorizationDetailsResponse),
	new(iam.GetGroupResponse), new(iam.GetGroupPolicyResponse), new(iam.GetLoginProfileResponse), new(iam.GetPolicyResponse),
	new(iam.GetPolicyVersionResponse), new(iam.GetRoleResponse), new(iam.GetRolePolicyResponse), new(iam.GetUserResponse),
	new(iam.GetUserPolicyResponse), new(iam.ListAccessKeysResponse), new(iam.ListAccountAliasesResponse),
	new(iam.ListAttachedGroupPoliciesResponse), new(iam.ListAttachedRolePoliciesResponse), new(iam.ListAttachedUserPoliciesResponse),
	new(iam.ListEntitiesForPolicyResponse), new(iam.ListGroupPoliciesResponse), new(iam.ListGroupsResponse),
	new(iam.ListGroupsForUserResponse), new(iam.ListInstanceProfilesForRoleResponse), new(iam.ListMFADevicesResponse),
	new(iam.ListPoliciesResponse), new(iam.ListPolicyTagsResponse), new(iam.ListPolicyVersionsResponse), new(iam.ListRolePoliciesResponse),
	new(iam.ListRoleTagsResponse), new(iam.ListRolesResponse), new(iam.ListSSHPublicKeysResponse),
	new(iam.ListServiceSpecificCredentialsResponse), new(iam.ListSigningCertificatesResponse), new(iam.ListUserPoliciesResponse),
	new(iam.ListUserTagsResponse), new(iam.ListUsersResponse), new(iam.ListVirtualMFADevicesResponse),
	new(iam.UpdateRoleResponse), new(iam.UpdateRoleDescriptionResponse),
	new(sts.AssumeRoleResponse), new(sts.GetAccessKeyInfoResponse), new(sts.GetCallerIdentityResponse), new(sts.GetSessionTokenResponse),
}

// transport keeps the request that the SDK sends and answers it.
type transport struct {
	body   []byte
	answer []byte
}

func (x *transport) Do(r *http.Request) (*http.Response, error) {
	var err error
	x.body, err = io.ReadAll(r.Body)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(bytes.NewReader(x.answer)), Request: r}, err
}

func TestSerialisers(t *testing.T) {
	t.Parallel()
	outputs := map[string]wire.XMLResponse{}
	for _, out := range responses {
		outputs[strings.TrimSuffix(reflect.TypeOf(out).Elem().Name(), "Response")] = out
	}
	x := &transport{}
	cfg := aws.Config{
		Region: "us-east-1", HTTPClient: x, BaseEndpoint: aws.String("http://localhost"), Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
	}
	for _, s := range []struct {
		client     any
		operations []wire.Operation
		namespace  string
	}{
		{sdkiam.NewFromConfig(cfg), iam.Operations(), iam.Namespace},
		{sdksts.NewFromConfig(cfg), sts.Operations(), sts.Namespace},
	} {
		for _, op := range s.operations {
			var result []byte
			out := outputs[op.Name]
			if (out != nil) != (op.Output != wire.NoOutput) {
				t.Fatalf("%s: the list of outputs is not complete", op.Name)
			}
			if out != nil {
				fill(t, reflect.ValueOf(out).Elem(), "", 0)
				result = out.AppendXML(nil)
			}
			x.answer = wire.AppendQueryResponse(nil, op.Name, s.namespace, "uuid", result)
			sent, got := call(t, s.client, op.Name)
			in := op.New()
			if err := in.Decode(x.body); err != nil {
				t.Errorf("%s: decoding %s: %v", op.Name, x.body, err)
			}
			if diff := cmp.Diff(plain(reflect.ValueOf(in)), plain(sent)); diff != "" {
				t.Errorf("%s: request: -decoded +sent\n%s", op.Name, diff)
			}
			if out == nil {
				continue
			}
			if diff := cmp.Diff(plain(got), plain(reflect.ValueOf(out))); diff != "" {
				t.Errorf("%s: response: -received +written\n%s", op.Name, diff)
			}
		}
	}
}

// call makes a call with every member of the input filled, and returns both sides.
func call(t *testing.T, client any, operation string) (in, out reflect.Value) {
	t.Helper()
	method := reflect.ValueOf(client).MethodByName(operation)
	in = reflect.New(method.Type().In(1).Elem())
	fill(t, in.Elem(), "", 0)
	results := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
	if err := results[1].Interface(); err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
	return in, results[0]
}

// Values for members that not every text or number fits.
var (
	texts = map[string]string{
		"Path": "/path/", "NewPath": "/new/", "PathPrefix": "/prefix/", "VersionId": "v7", "TokenCode": "123456",
		"PolicyDocument": "{\"a\": \"é +&=%<>'\"}\r\n\t", "Policy": "{}", "Description": "<a & b>",
		"Status": "Inactive", "Scope": "Local", "EntityFilter": "Role", "Filter": "User", "PolicyUsageFilter": "PermissionsBoundary", "AssignmentStatus": "Unassigned",
	}
	numbers = map[string]int64{"MaxItems": 7, "MaxSessionDuration": 3600, "DurationSeconds": 3601}
)

// fill gives every member a value of its own: that of element i, if it is in a list.
func fill(t *testing.T, v reflect.Value, name string, i int) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), name, i)
	case reflect.String:
		text, ok := texts[name]
		if !ok {
			text = name + strings.Repeat("x", 20) + strconv.Itoa(i)
		}
		v.SetString(text)
	case reflect.Int, reflect.Int32:
		n, ok := numbers[name]
		if !ok {
			n = int64(len(name))
		}
		v.SetInt(n)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"Users", "Groups"} {
			v.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(len(key)).Convert(v.Type().Elem()))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), name, i)
		}
	case reflect.Uint8:
		v.SetUint(uint64(200 + i))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2024, 5, 1, 12, len(name), i, 0, time.UTC)))
			return
		}
		for _, m := range members(v) {
			fill(t, v.FieldByName(m), m, i)
		}
	default:
		t.Fatalf("%s: a member of kind %s", name, v.Kind())
	}
}

// added are the fields that are no members, and members that the SDK has before the
// models do.
var added = map[string]bool{
	"ResultMetadata": true, "SourceRoleTemplate": true,
	"MinimumSessionTokenSize": true, "SessionTokenSize": true, "SessionTokenUtilization": true,
}

// members are the names of a structure's members, without what the SDK adds.
func members(v reflect.Value) []string {
	var out []string
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && !added[f.Name] {
			out = append(out, f.Name)
		}
	}
	return out
}

// plain turns a value of either side into the same form.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.String:
		return v.String()
	case reflect.Int, reflect.Int32:
		return v.Int()
	case reflect.Uint8:
		return v.Uint()
	case reflect.Slice:
		list := []any{}
		for i := range v.Len() {
			list = append(list, plain(v.Index(i)))
		}
		return list
	case reflect.Map:
		m := map[string]any{}
		for _, key := range v.MapKeys() {
			m[key.String()] = plain(v.MapIndex(key))
		}
		return m
	case reflect.Struct:
		if at, ok := v.Interface().(time.Time); ok {
			return at.Unix()
		}
		m := map[string]any{}
		for _, name := range members(v) {
			m[name] = plain(v.FieldByName(name))
		}
		return m
	}
	return v.Interface()
}

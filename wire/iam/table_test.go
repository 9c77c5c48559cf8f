package iam_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/iam"
)

// The operations by what a successful answer holds.
const (
	withoutOutput = `AddUserToGroup AttachGroupPolicy AttachRolePolicy AttachUserPolicy DeleteAccessKey DeleteGroup DeleteGroupPolicy
		DeleteLoginProfile DeletePolicy DeletePolicyVersion DeleteRole DeleteRolePermissionsBoundary DeleteRolePolicy DeleteUser
		DeleteUserPermissionsBoundary DeleteUserPolicy DetachGroupPolicy DetachRolePolicy DetachUserPolicy PutGroupPolicy
		PutRolePermissionsBoundary PutRolePolicy PutUserPermissionsBoundary PutUserPolicy RemoveUserFromGroup
		SetDefaultPolicyVersion TagPolicy TagRole TagUser UntagPolicy UntagRole UntagUser UpdateAccessKey UpdateAssumeRolePolicy
		UpdateGroup UpdateUser`
	emptyOutput = `UpdateRole`
	withMembers = `CreateAccessKey CreateGroup CreatePolicy CreatePolicyVersion CreateRole CreateUser GetAccessKeyLastUsed
		GetAccountAuthorizationDetails GetAccountSummary GetGroup GetGroupPolicy GetLoginProfile GetPolicy GetPolicyVersion GetRole GetRolePolicy GetUser
		GetUserPolicy ListAccessKeys ListAccountAliases ListAttachedGroupPolicies ListAttachedRolePolicies
		ListAttachedUserPolicies ListEntitiesForPolicy ListGroupPolicies ListGroups ListGroupsForUser
		ListInstanceProfilesForRole ListMFADevices ListPolicies ListPolicyTags ListPolicyVersions ListRolePolicies ListRoleTags
		ListRoles ListSSHPublicKeys ListServiceSpecificCredentials ListSigningCertificates ListUserPolicies ListUserTags
		ListUsers ListVirtualMFADevices UpdateRoleDescription`
)

func TestOperations(t *testing.T) {
	t.Parallel()
	want := map[string]wire.Output{}
	for output, names := range map[wire.Output]string{
		wire.NoOutput: withoutOutput, wire.EmptyOutput: emptyOutput, wire.MembersOutput: withMembers,
	} {
		for _, name := range strings.Fields(names) {
			want[name] = output
		}
	}
	operations := iam.Operations()
	if len(operations) != 80 || len(want) != 80 {
		t.Errorf("got %d operations, want %d and 80", len(operations), len(want))
	}
	for _, op := range operations {
		output, ok := want[op.Name]
		if !ok || op.Output != output {
			t.Errorf("%s: got output %d, want %d, %t", op.Name, op.Output, output, ok)
		}
	}
	for _, name := range []string{"", "getUser", "GetUser ", "SimulatePrincipalPolicy"} {
		if _, ok := iam.Lookup(name); ok {
			t.Errorf("Lookup(%q): got an operation, want none", name)
		}
	}
	if iam.ServiceName != "iam" || iam.APIVersion != "2010-05-08" || iam.Namespace != "https://iam.amazonaws.com/doc/2010-05-08/" {
		t.Errorf("got %s, %s, %s", iam.ServiceName, iam.APIVersion, iam.Namespace)
	}
}

// TestDeclaredErrors checks that the table names errors by their codes, which in the
// query protocol are not the names of their shapes.
func TestDeclaredErrors(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"CreateUser":                     "ConcurrentModification EntityAlreadyExists InvalidInput LimitExceeded NoSuchEntity ServiceFailure",
		"DeleteUser":                     "ConcurrentModification DeleteConflict LimitExceeded NoSuchEntity ServiceFailure",
		"PutRolePolicy":                  "LimitExceeded MalformedPolicyDocument NoSuchEntity ServiceFailure UnmodifiableEntity",
		"AttachUserPolicy":               "InvalidInput LimitExceeded NoSuchEntity PolicyNotAttachable ServiceFailure",
		"DeleteLoginProfile":             "EntityTemporarilyUnmodifiable LimitExceeded NoSuchEntity ServiceFailure",
		"ListServiceSpecificCredentials": "NoSuchEntity NotSupportedService",
		"GetAccessKeyLastUsed":           "",
	} {
		op, _ := iam.Lookup(name)
		if got := slices.Sorted(slices.Values(op.Errors)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: got errors %v, want %v", name, got, strings.Fields(want))
		}
	}
}

package main

import "strings"

// served are the operations to generate, where they are not all of the model.
var served = map[string][]string{
	"iam": strings.Fields(`CreateUser GetUser UpdateUser DeleteUser ListUsers TagUser UntagUser ListUserTags CreateAccessKey
		ListAccessKeys UpdateAccessKey DeleteAccessKey GetAccessKeyLastUsed PutUserPolicy GetUserPolicy
		DeleteUserPolicy ListUserPolicies AttachUserPolicy DetachUserPolicy ListAttachedUserPolicies
		PutUserPermissionsBoundary DeleteUserPermissionsBoundary ListGroupsForUser CreateGroup GetGroup
		UpdateGroup DeleteGroup ListGroups AddUserToGroup RemoveUserFromGroup PutGroupPolicy
		GetGroupPolicy DeleteGroupPolicy ListGroupPolicies AttachGroupPolicy DetachGroupPolicy
		ListAttachedGroupPolicies CreateRole GetRole UpdateRole UpdateRoleDescription
		UpdateAssumeRolePolicy DeleteRole ListRoles TagRole UntagRole ListRoleTags PutRolePolicy
		GetRolePolicy DeleteRolePolicy ListRolePolicies AttachRolePolicy DetachRolePolicy
		ListAttachedRolePolicies PutRolePermissionsBoundary DeleteRolePermissionsBoundary
		ListInstanceProfilesForRole CreatePolicy GetPolicy DeletePolicy ListPolicies CreatePolicyVersion
		GetPolicyVersion ListPolicyVersions DeletePolicyVersion SetDefaultPolicyVersion TagPolicy
		UntagPolicy ListPolicyTags ListEntitiesForPolicy GetAccountSummary ListAccountAliases
		ListMFADevices ListVirtualMFADevices ListSSHPublicKeys ListSigningCertificates
		ListServiceSpecificCredentials GetLoginProfile DeleteLoginProfile GetAccountAuthorizationDetails`),
	"sts": {"AssumeRole", "GetAccessKeyInfo", "GetCallerIdentity", "GetSessionToken"},
}

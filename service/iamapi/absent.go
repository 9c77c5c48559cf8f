package iamapi

import (
	"context"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

// absentRows are the calls that clients make about features that kmsd has not:
// passwords, devices, certificates, SSH keys. They answer as AWS does where there are
// none.
func absentRows() []*service.Row {
	return []*service.Row{
		noneOf("ListMFADevices", func(in *wire.ListMFADevicesRequest) *string { return in.UserName },
			wire.ListMFADevicesResponse{IsTruncated: new(false)}),
		noneOf("ListSSHPublicKeys", func(in *wire.ListSSHPublicKeysRequest) *string { return in.UserName },
			wire.ListSSHPublicKeysResponse{IsTruncated: new(false)}),
		noneOf("ListSigningCertificates", func(in *wire.ListSigningCertificatesRequest) *string { return in.UserName },
			wire.ListSigningCertificatesResponse{IsTruncated: new(false)}),
		noneOf("ListServiceSpecificCredentials", func(in *wire.ListServiceSpecificCredentialsRequest) *string { return in.UserName },
			wire.ListServiceSpecificCredentialsResponse{IsTruncated: new(false)}),
		iamRow("ListVirtualMFADevices", service.Op[wire.ListVirtualMFADevicesRequest, wire.ListVirtualMFADevicesResponse]{
			Resource: onAll("mfa", func(*wire.ListVirtualMFADevicesRequest) *string { return nil }),
			Read: func(context.Context, *service.Request, *wire.ListVirtualMFADevicesRequest) (*wire.ListVirtualMFADevicesResponse, error) {
				return &wire.ListVirtualMFADevicesResponse{IsTruncated: new(false)}, nil
			},
		}),
		iamRow("ListAccountAliases", service.Op[wire.ListAccountAliasesRequest, wire.ListAccountAliasesResponse]{
			Read: func(context.Context, *service.Request, *wire.ListAccountAliasesRequest) (*wire.ListAccountAliasesResponse, error) {
				return &wire.ListAccountAliasesResponse{IsTruncated: new(false)}, nil
			},
		}),
		iamRow("GetLoginProfile", service.Op[wire.GetLoginProfileRequest, wire.GetLoginProfileResponse]{
			Resource: onUserOrCaller(func(in *wire.GetLoginProfileRequest) *string { return in.UserName }),
			Params:   func(in *wire.GetLoginProfileRequest, p *audit.Params) { p.OptString("userName", in.UserName) },
			Read: func(_ context.Context, r *service.Request, in *wire.GetLoginProfileRequest) (*wire.GetLoginProfileResponse, error) {
				return nil, noLoginProfile(r, in.UserName)
			},
		}),
		iamRow("DeleteLoginProfile", service.Op[wire.DeleteLoginProfileRequest, service.None]{
			Resource: onUserOrCaller(func(in *wire.DeleteLoginProfileRequest) *string { return in.UserName }),
			Params:   func(in *wire.DeleteLoginProfileRequest, p *audit.Params) { p.OptString("userName", in.UserName) },
			Write: func(_ context.Context, r *service.Request, in *wire.DeleteLoginProfileRequest) (fsm.Args, *service.None, error) {
				return nil, nil, noLoginProfile(r, in.UserName)
			},
		}),
		iamRow("GetAccountSummary", service.Op[wire.GetAccountSummaryRequest, wire.GetAccountSummaryResponse]{Read: getAccountSummary}),
	}
}

// noneOf is a list of something that no user has.
func noneOf[In, Out any](name string, user func(*In) *string, none Out) *service.Row {
	return iamRow(name, service.Op[In, Out]{
		Resource: onUserOrCaller(user),
		Params:   func(in *In, p *audit.Params) { p.OptString("userName", user(in)) },
		Read: func(_ context.Context, r *service.Request, in *In) (*Out, error) {
			if _, err := userOrCaller(r, user(in)); err != nil {
				return nil, err
			}
			return &none, nil
		},
	})
}

func noLoginProfile(r *service.Request, name *string) error {
	i, err := userOrCaller(r, name)
	if err != nil {
		return err
	}
	shown := "root"
	if i != nil {
		shown = i.Name
	}
	return noSuch("Login Profile for User " + shown + " cannot be found.")
}

// counted is how many records GetAccountSummary reads at a time.
const counted = 1000

// getAccountSummary counts what there is, and tells the quotas that are enforced.
func getAccountSummary(_ context.Context, r *service.Request, _ *wire.GetAccountSummaryRequest) (*wire.GetAccountSummaryResponse, error) {
	account := r.Principal.Account
	summary := map[string]int{
		"AccessKeysPerUserQuota": 2, "GroupsPerUserQuota": 10, "VersionsPerPolicyQuota": 5,
		"AttachedPoliciesPerUserQuota": 10, "AttachedPoliciesPerGroupQuota": 10, "AttachedPoliciesPerRoleQuota": 10,
		"AssumeRolePolicySizeQuota": maxTrustPolicy, "PolicySizeQuota": maxManagedPolicy, "AccountMFAEnabled": 0, "MFADevices": 0, "MFADevicesInUse": 0,
		"AccountAccessKeysPresent": min(1, len(r.View.AccessKeys(account, kms.PrincipalRoot, account))),
	}
	for name, kind := range map[string]fsm.IdentityKind{"Users": fsm.KindUser, "Groups": fsm.KindGroup, "Roles": fsm.KindRole} {
		summary[name] = 0
		for after, more := "", true; more; {
			var found []*fsm.Identity
			found, more = r.View.Identities(account, kind, after, counted)
			summary[name] += len(found)
			if more {
				after = nameKey(found[len(found)-1])
			}
		}
	}
	policies, more := r.View.ManagedPolicies(account, "", counted)
	for summary["Policies"] = len(policies); more; summary["Policies"] += len(policies) {
		policies, more = r.View.ManagedPolicies(account, policyKey(policies[len(policies)-1]), counted)
	}
	return &wire.GetAccountSummaryResponse{SummaryMap: summary}, nil
}

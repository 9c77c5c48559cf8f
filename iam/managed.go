package iam

import (
	"sync"

	"github.com/kmsd/kmsd/kms"
)

// AWSManagedPrefix starts the ARNs of the policies that AWS manages.
const AWSManagedPrefix = "arn:" + kms.Partition + ":iam::aws:policy/"

// A ManagedPolicy is one of the policies that AWS manages and kmsd has, too.
type ManagedPolicy struct {
	Name, Description, Text string
	*Policy
}

// ARN is the policy's ARN.
func (p *ManagedPolicy) ARN() string { return AWSManagedPrefix + p.Name }

// awsManaged are in the order of their names (AWS: "AWS managed policies").
var awsManaged = sync.OnceValue(func() []*ManagedPolicy {
	list := []*ManagedPolicy{
		{Name: "AWSKeyManagementServicePowerUser", Description: "Provides access to AWS Key Management Service (KMS).", Text: `{
  "Version": "2012-10-17",
  "Statement": [{
    "Effect": "Allow",
    "Action": ["kms:CreateAlias", "kms:CreateKey", "kms:DeleteAlias", "kms:Describe*", "kms:GenerateRandom", "kms:Get*", "kms:List*", "kms:TagResource", "kms:UntagResource", "iam:ListGroups", "iam:ListRoles", "iam:ListUsers"],
    "Resource": "*"
  }]
}`},
		{Name: "AdministratorAccess", Description: "Provides full access to AWS services and resources.", Text: `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
}`},
		{Name: "IAMFullAccess", Description: "Provides full access to IAM via the AWS Management Console.", Text: `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": "iam:*", "Resource": "*"}]
}`},
		{Name: "ReadOnlyAccess", Description: "Provides read-only access to AWS services and resources.", Text: `{
  "Version": "2012-10-17",
  "Statement": [{
    "Effect": "Allow",
    "Action": ["kms:Describe*", "kms:Get*", "kms:List*", "iam:GenerateCredentialReport", "iam:Get*", "iam:List*", "iam:Simulate*", "sts:GetAccessKeyInfo", "sts:GetCallerIdentity", "cloudtrail:LookupEvents"],
    "Resource": "*"
  }]
}`},
	}
	for _, p := range list {
		compiled, err := Parse(p.Text, IdentityPolicy)
		if err != nil {
			panic("kmsd: the policy " + p.Name + ": " + err.Error())
		}
		p.Policy = compiled
	}
	return list
})

// AWSManagedPolicies returns the policies that AWS manages, in the order of their
// names.
func AWSManagedPolicies() []*ManagedPolicy { return awsManaged() }

// AWSManaged returns one of them by its ARN.
func AWSManaged(arn string) (*ManagedPolicy, bool) {
	for _, p := range awsManaged() {
		if p.ARN() == arn {
			return p, true
		}
	}
	return nil, false
}

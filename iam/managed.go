package iam

import (
	"sync"
	"time"

	"github.com/kmsd/kmsd/kms"
)

// AWSManagedPrefix starts the ARNs of the policies that AWS manages.
const AWSManagedPrefix = "arn:" + kms.Partition + ":iam::aws:policy/"

// A ManagedPolicy is one of the policies that AWS manages and kmsd has, too. Its id and
// when it was made are AWS's; the text has the actions that kmsd knows.
type ManagedPolicy struct {
	ID, Name, Description, Text string
	Created                     int64 // milliseconds since 1970
	*Policy
}

// ARN is the policy's ARN.
func (p *ManagedPolicy) ARN() string { return AWSManagedPrefix + p.Name }

// launched is when AWS made its first policies: on 2015-02-06, some minutes and seconds
// after 18:00 (AWS: "AWS managed policy reference").
func launched(minute, second int) int64 {
	return time.Date(2015, time.February, 6, 18, minute, second, 0, time.UTC).UnixMilli()
}

// awsManaged are in the order of their names (AWS: "AWS managed policies").
var awsManaged = sync.OnceValue(func() []*ManagedPolicy {
	list := []*ManagedPolicy{
		{ID: "ANPAJNPP7PPPPMJRV2SA4", Created: launched(40, 40), Name: "AWSKeyManagementServicePowerUser", Description: "Provides access to AWS Key Management Service (KMS).", Text: `{
  "Version": "2012-10-17",
  "Statement": [{
    "Effect": "Allow",
    "Action": ["kms:CreateAlias", "kms:CreateKey", "kms:DeleteAlias", "kms:Describe*", "kms:GenerateRandom", "kms:Get*", "kms:List*", "kms:TagResource", "kms:UntagResource", "iam:ListGroups", "iam:ListRoles", "iam:ListUsers"],
    "Resource": "*"
  }]
}`},
		{ID: "ANPAIWMBCKSKIEE64ZLYK", Created: launched(39, 46), Name: "AdministratorAccess", Description: "Provides full access to AWS services and resources.", Text: `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
}`},
		{ID: "ANPAI7XKCFMBPM3QQRRVQ", Created: launched(40, 38), Name: "IAMFullAccess", Description: "Provides full access to IAM via the AWS Management Console.", Text: `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": "iam:*", "Resource": "*"}]
}`},
		{ID: "ANPAILL3HVNFSB6DCOWYQ", Created: launched(39, 48), Name: "ReadOnlyAccess", Description: "Provides read-only access to AWS services and resources.", Text: `{
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

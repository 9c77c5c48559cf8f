package iam

import "github.com/kmsd/kmsd/kms"

// DefaultKeyPolicy is the policy of a key that was created without one, in the
// form in which AWS KMS returns it.
func DefaultKeyPolicy(account string) string {
	return `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "` + kms.RootARN(account) + `"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`
}

// ManagedKeyPolicy is the policy of the AWS managed key of a service: whoever is of the
// account uses it through the service, and the account reads what it is (AWS KMS: "Key
// policies of AWS managed keys").
func ManagedKeyPolicy(account, region, service string) string {
	via := kms.Service{Name: service, Region: region}
	return `{
  "Version" : "2012-10-17",
  "Id" : "auto-` + service + `-2",
  "Statement" : [ {
    "Sid" : "Use through the service by all principals in the account",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "*"
    },
    "Action" : [ "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey" ],
    "Resource" : "*",
    "Condition" : {
      "StringEquals" : {
        "kms:CallerAccount" : "` + account + `",
        "kms:ViaService" : "` + via.Via() + `"
      }
    }
  }, {
    "Sid" : "Reading by the account",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "` + kms.RootARN(account) + `"
    },
    "Action" : [ "kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant" ],
    "Resource" : "*"
  } ]
}`
}

package iam

import (
	"github.com/kmsd/kmsd/kms"
)

// MaxKeyPolicy is the largest key policy in bytes (AWS: "Resource quotas", key
// policy document size).
const MaxKeyPolicy = 32768

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

// A KeyPolicy is a parsed key policy that kmsd enforces.
type KeyPolicy struct {
	// account is the account that the policy lets in.
	account string
}

// ParseKeyPolicy parses a key policy for a key of the account. Errors are
// *kms.Error: LimitExceededException above MaxKeyPolicy bytes,
// MalformedPolicyDocumentException for what is no policy, and
// UnsupportedOperationException for a policy that says anything but what the
// default key policy says.
func ParseKeyPolicy(text, account string) (KeyPolicy, error) {
	if len(text) > MaxKeyPolicy {
		return KeyPolicy{}, &kms.Error{Code: kms.CodeLimitExceeded, Message: "The key policy exceeds the size limit of 32768 bytes."}
	}
	doc, err := parseDocument(text)
	if err != nil {
		return KeyPolicy{}, err
	}
	if !doc.isDefault(account) {
		return KeyPolicy{}, &kms.Error{Code: kms.CodeUnsupportedOperation,
			Message: "This version of kmsd enforces the default key policy only. A policy that says anything else is refused."}
	}
	return KeyPolicy{account: account}, nil
}

// isDefault tells whether the document allows the account every action on the
// key, and nothing else. Id and Sid carry no meaning.
func (d document) isDefault(account string) bool {
	if len(d.Statement) != 1 {
		return false
	}
	s := d.Statement[0]
	return s.Effect == "Allow" && !s.hasCondition && !s.negated &&
		s.Principal.is(account) &&
		s.Action.only("kms:*") && s.Resource.only("*")
}

// A Decision is the answer to one question "may this caller do this?".
type Decision struct {
	Allowed bool
	// Reason completes AccessDeniedException's text: "because no … allows …".
	Reason string
}

// Decide answers whether the caller may do the action on a key of the account
// keyAccount under the policy (AWS: "Policy evaluation logic"). The root user of
// the account that the policy names is covered directly.
func (p KeyPolicy) Decide(caller kms.Principal, action, keyAccount string) Decision {
	if caller.Account != keyAccount {
		return Decision{Reason: "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"}
	}
	if caller.Type == kms.PrincipalRoot && caller.Account == p.account {
		return Decision{Allowed: true}
	}
	return Decision{Reason: "because no identity-based policy allows the " + action + " action"}
}

// DecideIdentity answers for the actions that only identity policies govern, such
// as kms:CreateKey. The root user of an account may do all of them.
func DecideIdentity(caller kms.Principal, action string) Decision {
	if caller.Type == kms.PrincipalRoot {
		return Decision{Allowed: true}
	}
	return Decision{Reason: "because no identity-based policy allows the " + action + " action"}
}

package kms

import "strings"

// The tags that make a service and its sessions. They count as they are written here
// alone, whatever case IAM takes two tag keys for the same in.
const (
	// ServiceTag names the service that a role of the operator account is.
	ServiceTag = "kmsd:service"
	// CallerTag is a session's: the account for which the service uses keys.
	CallerTag = "kmsd:account"
	// SourceARNTag and SourceAccountTag are a session's: the resource on behalf of which
	// the service calls, and that resource's account.
	SourceARNTag     = "kmsd:source-arn"
	SourceAccountTag = "kmsd:source-account"
	// ServiceTagPrefix starts all of them.
	ServiceTagPrefix = "kmsd:"
)

// ManagedAliasPrefix starts the names of the aliases of AWS managed keys; the name of
// the service follows.
const ManagedAliasPrefix = AliasPrefix + "aws/"

// Service is a service that uses keys for an account other than its role's.
type Service struct {
	Name string // "s3"
	// Region is the call's.
	Region string
	// Caller is the account for which the service uses keys.
	Caller string
	// SourceARN and SourceAccount are aws:SourceArn and aws:SourceAccount; empty where
	// the session does not say them.
	SourceARN, SourceAccount string
	// Operator is the account of the service's role, Session the ARN of the session of
	// that role which calls.
	Operator, Session string
}

// ServiceSuffix ends service principals.
const ServiceSuffix = ".amazonaws.com"

// Principal is the service principal, such as s3.amazonaws.com.
func (s *Service) Principal() string { return s.Name + ServiceSuffix }

// Via is the service principal in the call's Region, such as
// s3.us-east-1.amazonaws.com (AWS KMS: kms:ViaService).
func (s *Service) Via() string { return s.Name + "." + s.Region + ServiceSuffix }

// Is tells whether a principal is the service: everywhere, or in the call's Region.
func (s *Service) Is(principal string) bool {
	return principal == s.Principal() || principal == s.Via()
}

// maxServiceName bounds a service's name, in bytes.
const maxServiceName = 63

// ValidServiceName tells whether s can be a service's name: at most 63 lower-case
// letters, digits and hyphens, of which a hyphen is neither the first nor the last.
func ValidServiceName(s string) bool {
	return s != "" && len(s) <= maxServiceName && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// AsService returns the caller as the service that its session is; Service must be set.
// Account, ARN and type are the service's from then on.
func (p Principal) AsService(region string) Principal {
	s := *p.Service
	s.Region = region
	p.Type, p.Account, p.ARN, p.Service = PrincipalService, s.Caller, s.Principal(), &s
	return p
}

// IsService tells whether a service calls, for an account.
func (p *Principal) IsService() bool { return p.Type == PrincipalService }

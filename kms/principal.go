package kms

import (
	"strconv"
	"strings"
)

// PrincipalType is the kind of a caller, as CloudTrail's userIdentity.type
// names it.
type PrincipalType string

// The kinds of callers.
const (
	PrincipalRoot        PrincipalType = "Root"
	PrincipalUser        PrincipalType = "IAMUser"
	PrincipalAssumedRole PrincipalType = "AssumedRole"
	// PrincipalService is a service that uses keys for an account.
	PrincipalService PrincipalType = "AWSService"
	// PrincipalLocalOperator is whoever opens a node's admin socket without
	// credentials. CloudTrail has no such type.
	PrincipalLocalOperator PrincipalType = "LocalOperator"
)

// Principal is an authenticated caller. It is a value: nothing in it changes
// after authentication.
type Principal struct {
	Type    PrincipalType
	Account string // 12 digits
	// UniqueID is CloudTrail's principalId: the account for its root user, AIDA… for a
	// user, AROA…:<session> for a role's session; a local operator's uid.
	UniqueID string
	// ARN is that of the root user, user or session; of a service, its service principal;
	// empty for a local operator.
	ARN         string
	AccessKeyID string // the credential that signed the call; empty for a local operator
	// RoleID and RoleARN are the unique id and the ARN of the role that a session has
	// assumed; empty otherwise.
	RoleID, RoleARN string
	// Session is set for temporary credentials.
	Session *Session
	// Service is set for the sessions of services. Calls of KMS are made by the service
	// itself then, and Type is PrincipalService; all others by the session.
	Service *Service
}

// Name is the last part of the principal's ARN: a user's name, a session's, "root".
func (p *Principal) Name() string {
	return p.ARN[strings.LastIndexAny(p.ARN, "/:")+1:]
}

// PolicyARN is the ARN by which policies know the principal: of a session, its
// role's (AWS: aws:PrincipalArn).
func (p *Principal) PolicyARN() string {
	if p.RoleARN != "" {
		return p.RoleARN
	}
	return p.ARN
}

// RootPrincipal returns the root user of an account, authenticated by the
// access key.
func RootPrincipal(account, accessKeyID string) Principal {
	return Principal{
		Type:        PrincipalRoot,
		Account:     account,
		UniqueID:    account,
		ARN:         RootARN(account),
		AccessKeyID: accessKeyID,
	}
}

// LocalOperator returns the caller at a node's admin socket, whose process runs
// under the uid. The account is empty until the state is known.
func LocalOperator(uid uint32) Principal {
	return Principal{Type: PrincipalLocalOperator, UniqueID: strconv.FormatUint(uint64(uid), 10)}
}

// RootARN is the ARN of an account's root user, which as a policy's principal
// stands for the whole account.
func RootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

// Source says where a call came from, as CloudTrail records it.
type Source struct {
	IP        string
	UserAgent string
	Referer   string
	Host      string // the Host header as received
	// TLSVersion and TLSCipher are empty for plain HTTP.
	TLSVersion string // "TLSv1.3"
	TLSCipher  string // "TLS_AES_128_GCM_SHA256"
}

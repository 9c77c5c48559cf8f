package kms

// PrincipalType is the kind of a caller, as CloudTrail's userIdentity.type
// names it.
type PrincipalType string

// The kinds of callers.
const (
	PrincipalRoot PrincipalType = "Root"
)

// Principal is an authenticated caller. It is a value: nothing in it changes
// after authentication.
type Principal struct {
	Type        PrincipalType
	Account     string // 12 digits
	UniqueID    string // principalId of CloudTrail: the account for its root user
	ARN         string // arn:aws:iam::<account>:root
	AccessKeyID string // the credential that signed the call
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

// RootARN is the ARN of an account's root user, which as a policy's principal
// stands for the whole account.
func RootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

// Source says where a call came from, as CloudTrail records it.
type Source struct {
	IP        string
	UserAgent string
	Host      string // the Host header as received
	// TLSVersion and TLSCipher are empty for plain HTTP.
	TLSVersion string // "TLSv1.3"
	TLSCipher  string // "TLS_AES_128_GCM_SHA256"
}

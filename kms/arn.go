package kms

import "strings"

// ARN is an Amazon Resource Name split into its parts:
// arn:<partition>:<service>:<region>:<account>:<resource>.
type ARN struct {
	Partition, Service, Region, Account, Resource string
}

// ParseARN splits s. It reports false unless s starts with "arn:" and has all
// six parts; parts other than the first may be empty.
func ParseARN(s string) (ARN, bool) {
	rest, ok := strings.CutPrefix(s, "arn:")
	if !ok {
		return ARN{}, false
	}
	var a ARN
	for _, part := range []*string{&a.Partition, &a.Service, &a.Region, &a.Account} {
		if *part, rest, ok = strings.Cut(rest, ":"); !ok {
			return ARN{}, false
		}
	}
	a.Resource = rest
	return a, true
}

// String joins the parts. ParseARN(a.String()) is a for every a whose parts hold
// no colon but the resource's.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// KeyARN is the ARN of a key.
func KeyARN(region, account, keyID string) string {
	return "arn:" + Partition + ":kms:" + region + ":" + account + ":key/" + keyID
}

// AliasARN is the ARN of an alias. The name carries its prefix "alias/".
func AliasARN(region, account, name string) string {
	return "arn:" + Partition + ":kms:" + region + ":" + account + ":" + name
}

// SessionARN is the ARN of a role's session. The role's path is no part of it.
func SessionARN(account, role, session string) string {
	return "arn:" + Partition + ":sts::" + account + ":assumed-role/" + role + "/" + session
}

// ClusterARN is the ARN of a cluster: the resource of the actions kmsd:*.
func ClusterARN(operator, clusterID string) string {
	return "arn:" + Partition + ":kmsd::" + operator + ":cluster/" + clusterID
}

// AliasPrefix starts every alias name.
const AliasPrefix = "alias/"

// ValidKeyID tells whether s has the shape of a key ID: a lower-case UUID, or
// "mrk-" and 32 lower-case hexadecimal digits (AWS: KeyId).
func ValidKeyID(s string) bool {
	if hex, ok := strings.CutPrefix(s, "mrk-"); ok {
		return len(hex) == 32 && isLowerHex(hex)
	}
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	return isLowerHex(s[:8]) && isLowerHex(s[9:13]) && isLowerHex(s[14:18]) && isLowerHex(s[19:23]) && isLowerHex(s[24:])
}

func isLowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ValidAccount tells whether s is a 12-digit account id.
func ValidAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// ValidRegion tells whether s has the shape of a Region's name, such as
// us-east-1 or us-gov-west-1 (AWS: RegionType), at most 32 characters.
func ValidRegion(s string) bool {
	if len(s) == 0 || len(s) > 32 {
		return false
	}
	parts := strings.Split(s, "-")
	if len(parts) < 3 || len(parts) > 4 {
		return false
	}
	for _, p := range parts[:len(parts)-1] {
		if p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz") != "" {
			return false
		}
	}
	last := parts[len(parts)-1]
	return last != "" && strings.Trim(last, "0123456789") == ""
}

package iam

import (
	"slices"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// principals is a Principal element, compiled. Users and roles stand in it by their
// unique ids, so that one that was deleted and made anew has nothing of what its
// namesake had (AWS: "Principals in key policies"): the service writes ids for
// ARNs before it stores a policy. An ARN that is still there names nobody.
type principals struct {
	anyone   bool
	accounts []string
	// ids are unique ids: AIDA… of users, AROA… of roles, AROA…:name of sessions, and
	// <account>:name of federated users.
	ids []string
	// services are service principals, such as s3.amazonaws.com.
	services []string
}

// principalForm is how an AWS principal is written.
type principalForm uint8

const (
	formInvalid principalForm = iota
	formBrokenARN
	formAnyone
	formAccount // value: the account
	formID      // value: the unique id
	formARN     // value: the ARN of a user, role or session
)

// readPrincipal classifies the text of an AWS principal (AWS: "IAM JSON policy
// elements: Principal").
func readPrincipal(text string) (form principalForm, value string) {
	switch {
	case text == "*":
		return formAnyone, ""
	case kms.ValidAccount(text):
		return formAccount, text
	case strings.HasPrefix(text, "arn:"):
		return readPrincipalARN(text)
	case isUniqueID(text):
		return formID, text
	}
	return formInvalid, ""
}

func readPrincipalARN(text string) (form principalForm, value string) {
	arn, ok := kms.ParseARN(text)
	kind, name, _ := strings.Cut(arn.Resource, "/")
	switch {
	case strings.ContainsAny(text, "*?"):
		return formInvalid, ""
	case !ok || arn.Region != "" || !kms.ValidAccount(arn.Account):
		return formBrokenARN, ""
	case arn.Partition != kms.Partition:
		return formInvalid, ""
	case arn.Service == "iam" && arn.Resource == "root":
		return formAccount, arn.Account
	case arn.Service == "iam" && (kind == "user" || kind == "role") && validName(lastPart(name)),
		arn.Service == "sts" && kind == "assumed-role" && strings.Count(name, "/") == 1 && !strings.HasPrefix(name, "/") && !strings.HasSuffix(name, "/"),
		arn.Service == "sts" && kind == "federated-user" && validName(name):
		return formARN, text
	}
	return formBrokenARN, ""
}

// GranteeARN tells whether the text can be the principal of a grant: an account's
// number, or the ARN of an account, a user, a role, a session or a federated user (AWS
// KMS: CreateGrant). It returns the account where it is the whole of one.
func GranteeARN(text string) (account string, ok bool) {
	switch form, value := readPrincipal(text); form {
	case formAccount:
		return value, true
	case formARN:
		return "", true
	}
	return "", false
}

// IsUniqueID tells whether the text is the unique id of a user, of a role or of a
// role's session, as a policy and a list of grants show it once its owner is gone.
func IsUniqueID(text string) bool { return isUniqueID(text) }

func lastPart(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// validName tells whether the text is a name of IAM's: 1 to 64 of [\w+=,.@-].
func validName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_+=,.@-", c) >= 0) {
			return false
		}
	}
	return true
}

// isUniqueID tells whether the text is the unique id of a user, of a role or of a
// role's session.
func isUniqueID(s string) bool {
	id, session, isSession := strings.Cut(s, ":")
	switch {
	case strings.HasPrefix(id, "AIDA"):
		return !isSession && isBase32(id[4:])
	case strings.HasPrefix(id, "AROA"):
		return isBase32(id[4:]) && (!isSession || validName(session))
	}
	return false
}

// isBase32 tells whether the text is the rest of a unique id.
func isBase32(s string) bool {
	return len(s) >= 12 && len(s) <= 124 && strings.IndexFunc(s, func(r rune) bool { return !(r >= 'A' && r <= 'Z' || r >= '0' && r <= '9') }) < 0
}

// match says how a statement names a caller.
type match uint8

const (
	// byAnyone: as everybody.
	byAnyone match = 1 << iota
	// byAccount: by the account, which delegates to identity policies.
	byAccount
	// byRole: by the role of a session.
	byRole
	// byName: as user or as session, itself.
	byName
	// byService: as the service that it is.
	byService
)

// of returns all ways in which the element names the caller. A service is named as what
// it is, and besides as all that stands behind it: its role and session, the account of
// that role, and the account for which it calls.
func (p *principals) of(caller *kms.Principal) (m match) {
	if p.anyone {
		m |= byAnyone
	}
	if caller.IsService() {
		m |= p.ofService(caller.Service)
	}
	for _, a := range p.accounts {
		if a == caller.Account {
			m |= byAccount
		}
	}
	for _, id := range p.ids {
		switch {
		case id == caller.UniqueID:
			m |= byName
		case caller.RoleID != "" && id == caller.RoleID:
			m |= byRole
		}
	}
	return m
}

func (p *principals) ofService(caller *kms.Service) (m match) {
	if slices.ContainsFunc(p.services, caller.Is) {
		m |= byService
	}
	if slices.Contains(p.accounts, caller.Operator) {
		m |= byAccount
	}
	return m
}

// exempts tells whether a NotPrincipal element takes a caller out of a Deny: it must
// list every principal that the caller is (AWS: "NotPrincipal with Deny"). A service is
// its service principal.
func (p *principals) exempts(caller *kms.Principal) bool {
	m := p.of(caller)
	if caller.IsService() {
		return m&(byAnyone|byService) != 0
	}
	need := byAccount
	if caller.Type != kms.PrincipalRoot {
		need |= byName
	}
	if caller.RoleID != "" {
		need |= byRole
	}
	return m&byAnyone != 0 || m&need == need
}

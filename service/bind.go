package service

import (
	"strings"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// BindPolicy returns a key's policy as it is stored: with the unique ids of the users
// and roles that it names, so that a namesake made later has none of their rights
// (AWS KMS: "Key policies"). Whoever is to be found in an account of this cluster and
// is not there makes the policy invalid; other accounts' principals are kept as they
// are, and name nobody.
func BindPolicy(view *fsm.View, text string) (string, error) {
	invalid := false
	bound, err := iam.Rewrite(text, func(principal string) string {
		id, ok := bind(view, principal)
		invalid = invalid || !ok
		return id
	})
	if err == nil && invalid {
		err = iam.ErrInvalidPrincipals
	}
	return bound, err
}

// bind returns what a stored policy says for a principal; ok is false for one that
// does not exist.
func bind(view *fsm.View, principal string) (bound string, ok bool) {
	if kms.ValidAccount(principal) {
		return kms.RootARN(principal), true
	}
	if id, session, _ := strings.Cut(principal, ":"); strings.HasPrefix(id, "AIDA") || strings.HasPrefix(id, "AROA") {
		i, found := view.Identity(id)
		return principal, found && (session == "" || i.Kind == fsm.KindRole)
	}
	arn, ok := kms.ParseARN(principal)
	if !ok || arn.Resource == "root" {
		return principal, true
	}
	if _, ours := view.Account(arn.Account); !ours {
		return principal, true
	}
	kind, name, _ := strings.Cut(arn.Resource, "/")
	switch kind {
	case "user":
		i, found := named(view, arn.Account, fsm.KindUser, name)
		return i.ID, found && i.ARN() == principal
	case "role":
		i, found := named(view, arn.Account, fsm.KindRole, name)
		return i.ID, found && i.ARN() == principal
	case "assumed-role":
		role, session, _ := strings.Cut(name, "/")
		i, found := named(view, arn.Account, fsm.KindRole, role)
		return i.ID + ":" + session, found && i.Name == role
	}
	return principal, true // a federated user
}

// named finds an identity by its name or by path and name. It never returns nil.
func named(view *fsm.View, account string, kind fsm.IdentityKind, name string) (*fsm.Identity, bool) {
	i, ok := view.IdentityNamed(account, kind, name[strings.LastIndexByte(name, '/')+1:])
	if !ok {
		i = new(fsm.Identity)
	}
	return i, ok
}

// ShowPolicy returns a stored policy as it is shown: with ARNs for the unique ids of
// users and roles that are still there.
func ShowPolicy(view *fsm.View, stored string) (string, error) {
	return iam.Rewrite(stored, func(principal string) string { return show(view, principal) })
}

// show returns the ARN of a unique id whose user or role is still there, and everything
// else as it is.
func show(view *fsm.View, principal string) string {
	id, session, isSession := strings.Cut(principal, ":")
	if !strings.HasPrefix(id, "AIDA") && !strings.HasPrefix(id, "AROA") {
		return principal
	}
	switch i, ok := view.Identity(id); {
	case !ok:
		return principal
	case isSession:
		return kms.SessionARN(i.Account, i.Name, session)
	default:
		return i.ARN()
	}
}

// BindPrincipal returns a principal as a grant has it: an account by its number, users,
// roles and sessions by unique ids, so that a namesake made later has none of their
// rights. Errors: InvalidArnException for who does not exist, and for what is no ARN of
// an account, a user, a role, a session or a federated user (AWS KMS: CreateGrant).
func BindPrincipal(view *fsm.View, principal string) (string, error) {
	account, ok := iam.GranteeARN(principal)
	if ok && account != "" {
		return account, nil
	}
	bound, known := bind(view, principal)
	if !ok || !known {
		return "", NoPrincipal(principal)
	}
	return bound, nil
}

// NoPrincipal is the answer to a principal that no grant can have.
func NoPrincipal(principal string) error {
	return &kms.Error{Code: kms.CodeInvalidArn, Message: "ARN does not refer to a valid principal: " + principal}
}

// BindListed is BindPrincipal for the grants that a list is to show. Those of who does
// not exist any more are found by what lists show instead of an ARN.
func BindListed(view *fsm.View, principal string) (string, error) {
	if iam.IsUniqueID(principal) {
		return principal, nil
	}
	return BindPrincipal(view, principal)
}

// ShowPrincipal returns a grant's principal as it is shown: with ARNs for accounts and
// for the unique ids of users and roles that are still there.
func ShowPrincipal(view *fsm.View, bound string) string {
	if kms.ValidAccount(bound) {
		return kms.RootARN(bound)
	}
	return show(view, bound)
}

// KnownPrincipal tells whether BindPolicy would accept a principal.
func KnownPrincipal(view *fsm.View, principal string) bool {
	_, ok := bind(view, principal)
	return ok
}

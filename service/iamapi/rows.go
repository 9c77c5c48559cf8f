package iamapi

import (
	"net/url"
	"strings"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

// iamRow completes the description of an operation of IAM, whose permission has its
// name.
func iamRow[In, Out any](name string, o service.Op[In, Out]) *service.Row {
	o.Service, o.Name, o.Identity = "iam", name, "iam:"+name
	return o.Row()
}

// A resource says what a call is on: its ARN, and how a refusal names it.
type resource[In any] func(*service.Request, *In) (arn, shown string)

// nouns are how ARNs and texts name the kinds.
var nouns = map[fsm.IdentityKind]string{fsm.KindUser: "user", fsm.KindGroup: "group", fsm.KindRole: "role"}

// on is the resource of calls on one user, group or role, which need not exist.
func on[In any](kind fsm.IdentityKind, name func(*In) string) resource[In] {
	return func(r *service.Request, in *In) (arn, shown string) { return onNamed(r, kind, name(in)) }
}

func onNamed(r *service.Request, kind fsm.IdentityKind, name string) (arn, shown string) {
	shown = nouns[kind] + " " + name
	i, ok := r.View.IdentityNamed(r.Principal.Account, kind, name)
	if !ok {
		return newARN(r, kind, "/", name), shown
	}
	r.SetTarget(i)
	return i.ARN(), shown
}

// onNew is the resource of a call that makes a user, group or role: one that Makes.
func onNew[In any](kind fsm.IdentityKind, named func(*In) (path *string, name string)) resource[In] {
	return func(r *service.Request, in *In) (arn, shown string) {
		path, name := named(in)
		arn = newARN(r, kind, pathOr(path), name)
		return arn, arn
	}
}

// onAll is the resource of a call that lists a kind: "user", "group", "role", "mfa".
func onAll[In any](kind string, prefix func(*In) *string) resource[In] {
	return func(r *service.Request, in *In) (arn, shown string) {
		arn = "arn:" + kms.Partition + ":iam::" + r.Principal.Account + ":" + kind + pathOr(prefix(in))
		return arn, arn
	}
}

func newARN(r *service.Request, kind fsm.IdentityKind, path, name string) string {
	return (&fsm.Identity{Kind: kind, Account: r.Principal.Account, Path: path, Name: name}).ARN()
}

// pathOr is the path that a call names, or the default.
func pathOr(path *string) string {
	if path == nil {
		return "/"
	}
	return *path
}

// find returns the account's user, group or role of a name. Errors: NoSuchEntity.
func find(r *service.Request, kind fsm.IdentityKind, name string) (*fsm.Identity, error) {
	i, ok := r.View.IdentityNamed(r.Principal.Account, kind, name)
	if !ok {
		return nil, noSuch("The " + nouns[kind] + " with name " + name + " cannot be found.")
	}
	return i, nil
}

// changed is the command that replaces an identity by what change makes of it.
func changed(i *fsm.Identity, change func(*fsm.Identity)) fsm.SetIdentity {
	next := *i
	next.ModIndex = 0
	change(&next)
	return fsm.SetIdentity{Identity: next}
}

// created returns the identity that a command made before, for the answer to a
// retry.
func created(r *service.Request, once *fsm.Once) (*fsm.Identity, error) {
	for _, id := range once.IDs {
		if i, ok := r.View.Identity(id); ok {
			return i, nil
		}
	}
	return nil, noSuch("The entity that the request created cannot be found.")
}

func noSuch(message string) error { return &kms.Error{Code: kms.CodeNoSuchEntity, Message: message} }

func invalidInput(message string) error {
	return &kms.Error{Code: kms.CodeInvalidInput, Message: message}
}

// rename checks the new name and path of an identity and returns its change.
func rename(path, name *string) func(*fsm.Identity) {
	return func(i *fsm.Identity) {
		if path != nil {
			i.Path = *path
		}
		if name != nil {
			i.Name = *name
		}
	}
}

// at is a time of the state as answers show it.
func at(ms int64) *time.Time { return new(time.UnixMilli(ms).UTC()) }

// percentEncoded is how answers show policy documents (RFC 3986).
func percentEncoded(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

// boundary is a permissions boundary as answers show it. Its type is what AWS sends; the
// model's enumeration has another word (awsdocs/iam-user-guide#82).
func boundary(i *fsm.Identity) *wire.AttachedPermissionsBoundary {
	if i.Boundary == "" {
		return nil
	}
	return &wire.AttachedPermissionsBoundary{PermissionsBoundaryType: "Policy", PermissionsBoundaryArn: &i.Boundary}
}

// checkBoundary refuses a boundary that is no policy of the account's or of AWS.
func checkBoundary(r *service.Request, arn string) error {
	if _, ok := kms.ParseARN(arn); !ok {
		return invalidInput("ARN " + arn + " is not valid.")
	}
	if !r.AttachablePolicy(r.Principal.Account, arn) {
		return noSuch("Policy " + arn + " does not exist or is not attachable.")
	}
	return nil
}

// boundaryCondition has the condition key of calls that set a boundary.
func boundaryCondition(arn *string, key string) []string {
	if key != "iam:permissionsboundary" || arn == nil {
		return nil
	}
	return []string{*arn}
}

// named adds a call's one name to its record.
func named[In any](name string, of func(*In) string) func(*In, *audit.Params) {
	return func(in *In, p *audit.Params) { p.String(name, of(in)) }
}

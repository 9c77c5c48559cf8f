package iam

import (
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// Kind is what a policy document is attached to, which decides what may stand in
// it.
type Kind uint8

const (
	// KeyPolicy is a key's policy: it names principals.
	KeyPolicy Kind = iota
	// IdentityPolicy is a policy of a user, group or role, a permissions boundary or
	// a session policy: it names resources and no principals.
	IdentityPolicy
	// TrustPolicy is a role's: it names principals and no resources.
	TrustPolicy
)

// MaxKeyPolicy is the largest key policy in bytes (AWS: "Resource quotas", key
// policy document size).
const MaxKeyPolicy = 32768

// A Policy is a compiled policy document. It is immutable and safe for concurrent
// use.
type Policy struct {
	kind       Kind
	statements []statement
	principals []string
}

// statement is a compiled statement. One without actions, or without resources in a
// kind of policy that has them, has no effect (AWS: PutKeyPolicy).
type statement struct {
	sid          string
	deny         bool
	principals   principals
	notPrincipal bool
	actions      []actionPattern
	notAction    bool
	resources    []arnPattern
	notResource  bool
	conditions   []condition
	void         bool
}

// Parse parses and compiles a policy document. It accepts what AWS accepts, and
// refuses what is malformed before it is ever stored (AWS: "IAM JSON policy
// reference"; for key policies PutKeyPolicy). Errors are *kms.Error:
// MalformedPolicyDocumentException; InvalidArnException for a principal of a key
// policy that is a broken ARN; LimitExceededException for a key policy above
// MaxKeyPolicy bytes.
func Parse(text string, kind Kind) (*Policy, error) {
	if kind == KeyPolicy && len(text) > MaxKeyPolicy {
		return nil, &kms.Error{Code: kms.CodeLimitExceeded, Message: "The key policy exceeds the size limit of 32768 bytes."}
	}
	doc, err := parseDocument(text)
	if err == errJSON { // errors.Is goes by the code, which errSyntax has, too
		return nil, notJSON(kind)
	}
	if err != nil {
		return nil, err
	}
	p := &Policy{kind: kind, statements: make([]statement, len(doc.statements))}
	for i := range doc.statements {
		c := &doc.statements[i]
		if p.statements[i], err = c.compile(kind, doc.version == version2012); err != nil {
			return nil, err
		}
		for _, t := range c.principalText {
			p.principals = append(p.principals, t.value)
		}
	}
	if err := p.check(&doc); err != nil {
		return nil, err
	}
	return p, nil
}

// Principals returns the AWS principals that the policy names, as written.
func (p *Policy) Principals() []string { return p.principals }

// checks are what is checked of every statement after the syntax. Of several faults
// that of the earlier check is answered, in whichever statement it is (AWS KMS:
// PutKeyPolicy).
var checks = map[Kind][]func(*clause, *statement) error{
	KeyPolicy:      {(*clause).checkNamed, checkKinds(false), (*clause).checkARNs, checkPermissive},
	TrustPolicy:    {(*clause).checkTrust, checkKinds(true)},
	IdentityPolicy: {(*clause).checkIdentity},
}

func (p *Policy) check(doc *document) error {
	for _, check := range checks[p.kind] {
		for i := range doc.statements {
			if err := check(&doc.statements[i], &p.statements[i]); err != nil {
				return err
			}
		}
	}
	if p.kind == IdentityPolicy {
		return doc.checkSids()
	}
	return nil
}

func (d *document) checkSids() error {
	seen := map[string]bool{}
	for i := range d.statements {
		sid := d.statements[i].sid
		if sid != "" && seen[sid] {
			return malformed("Statement IDs (SID) in a single policy must be unique.")
		}
		seen[sid] = true
	}
	return nil
}

func (c *clause) checkNamed(*statement) error {
	if !c.hasPrincipal {
		return malformed("Policy contains a statement with no principal.")
	}
	return nil
}

func (c *clause) checkTrust(*statement) error {
	switch {
	case !c.hasPrincipal:
		return malformed("Missing required field Principal")
	case c.hasResource:
		return malformed("Has prohibited field Resource")
	case c.notPrincipal && c.effect == "Allow":
		return malformed("Allow with NotPrincipal is not allowed in a trust policy.")
	case len(c.actions) == 0:
		return malformed("Policy statement must contain actions.")
	}
	return nil
}

// checkIdentity checks a statement of an identity policy, whose errors IAM words.
func (c *clause) checkIdentity(*statement) error {
	switch {
	case c.hasPrincipal:
		return malformed("Policy document should not specify a principal.")
	case len(c.actions) == 0:
		return malformed("Policy statement must contain actions.")
	case len(c.resources) == 0:
		return malformed("Policy statement must contain resources.")
	case strings.IndexFunc(c.sid, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9') }) >= 0:
		return malformed("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
	}
	for _, a := range c.actions {
		if vendor, name, ok := strings.Cut(a, ":"); a != "*" && (!ok || vendor == "" || name == "") {
			return malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
		}
	}
	for _, r := range c.resources {
		if r != "*" && !strings.HasPrefix(r, "arn:") && !strings.HasPrefix(r, "*:") {
			return malformed("Resource " + r + " must be in ARN format or \"*\".")
		}
	}
	return nil
}

// checkKinds checks who the principals are, as far as their texts tell.
func checkKinds(trust bool) func(*clause, *statement) error {
	return func(c *clause, _ *statement) error {
		for _, p := range c.principals {
			if !p.valid(trust) {
				return invalidPrincipal(trust, p)
			}
		}
		return nil
	}
}

// valid tells whether the principal is of a kind that the policy may name. That an ARN
// is broken has an answer of its own in a key's policy.
func (p principal) valid(trust bool) bool {
	switch p.kind {
	case "AWS":
		form, _ := readPrincipal(p.value)
		return form != formInvalid && !(form == formBrokenARN && trust)
	case "Service":
		return isService(p.value)
	}
	return p.kind == "Federated" && trust
}

// isService tells whether the text is a service principal, such as ec2.amazonaws.com.
func isService(s string) bool {
	name, ok := strings.CutSuffix(s, ".amazonaws.com")
	return ok && name != "" && strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.')
	}) < 0
}

func (c *clause) checkARNs(*statement) error {
	for _, p := range c.principals {
		if form, _ := readPrincipal(p.value); p.kind == "AWS" && form == formBrokenARN {
			return &kms.Error{Code: kms.CodeInvalidArn, Message: "An ARN in the specified key policy is invalid."}
		}
	}
	return nil
}

func checkPermissive(_ *clause, s *statement) error {
	for i := range s.conditions {
		if c := &s.conditions[i]; c.overlyPermissive() {
			return c.refusal()
		}
	}
	return nil
}

// invalidPrincipal is the refusal of a principal, as KMS and IAM word it.
func invalidPrincipal(trust bool, p principal) error {
	if trust {
		return malformed(`Invalid principal in policy: "` + p.kind + `":"` + p.value + `"`)
	}
	return ErrInvalidPrincipals
}

// ErrInvalidPrincipals is the refusal of a key policy that names somebody who does
// not exist.
var ErrInvalidPrincipals = malformed("Policy contains a statement with one or more invalid principals.")

func (c *clause) compile(kind Kind, variables bool) (statement, error) {
	s := statement{sid: c.sid, deny: c.effect == "Deny", notPrincipal: c.notPrincipal, notAction: c.notAction, notResource: c.notResource}
	rules := patternRules{variables: variables, ofKey: kind == KeyPolicy}
	s.void = len(c.actions) == 0 || kind != TrustPolicy && len(c.resources) == 0
	for _, p := range c.principals {
		s.principals.add(p)
	}
	for _, a := range c.actions {
		s.actions = append(s.actions, compileAction(a))
	}
	for _, r := range c.resources {
		patterns, ok := compileResource(r, kind, rules.wild())
		if !ok {
			return s, errSyntax
		}
		s.resources = append(s.resources, patterns...)
	}
	for _, comparison := range c.conditions {
		cond, err := compileCondition(comparison, rules)
		if err != nil {
			return s, err
		}
		s.conditions = append(s.conditions, cond)
	}
	return s, nil
}

// add adds one principal. Federated users call kmsd through sessions, whose principals
// are roles and users.
func (p *principals) add(written principal) {
	switch written.kind {
	case "AWS":
	case "Service":
		p.services = append(p.services, written.value)
		return
	default:
		return
	}
	switch form, value := readPrincipal(written.value); form {
	case formAnyone:
		p.anyone = true
	case formAccount:
		p.accounts = append(p.accounts, value)
	case formID:
		p.ids = append(p.ids, value)
	}
}

// overlyPermissive tells that the condition looks like a restriction and is none for
// requests without the key (AWS: "ForAllValues with single-valued keys").
func (c *condition) overlyPermissive() bool {
	return c.set == forAllValues && (c.isContext() || strings.HasPrefix(c.key, "aws:requesttag/"))
}

func (c *condition) isContext() bool { return strings.HasPrefix(c.key, "kms:encryptioncontext:") }

func (c *condition) refusal() error {
	what := "tag"
	if c.isContext() {
		what = "encryption context"
	}
	return malformed("OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified " + what +
		" or with an unspecified " + what + ". To fix, remove ForAllValues.")
}

// applies tells whether the statement speaks of the request, whoever makes it.
func (s *statement) applies(r *Request, kind Kind) bool {
	return !s.void && s.appliesToAction(r.Action) && (kind == TrustPolicy || s.appliesToResource(r)) && s.conditionsHold(r, kind)
}

func (s *statement) appliesToAction(action string) bool {
	for i := range s.actions {
		if s.actions[i].matches(action) {
			return !s.notAction
		}
	}
	return s.notAction
}

func (s *statement) appliesToResource(r *Request) bool {
	for i := range s.resources {
		if s.resources[i].matches(r.Resource, r.Context) {
			return !s.notResource
		}
	}
	return s.notResource
}

func (s *statement) conditionsHold(r *Request, kind Kind) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(r.Context, kind, s.deny) {
			return false
		}
	}
	return true
}

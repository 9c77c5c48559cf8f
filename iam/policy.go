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
	sids := map[string]bool{}
	for i := range doc.statements {
		c := &doc.statements[i]
		if err := c.check(kind); err != nil {
			return nil, err
		}
		if kind == IdentityPolicy && c.sid != "" {
			if sids[c.sid] {
				return nil, malformed("Statement IDs (SID) in a single policy must be unique.")
			}
			sids[c.sid] = true
		}
		if p.statements[i], err = c.compile(kind, doc.version == version2012); err != nil {
			return nil, err
		}
		for _, t := range c.principalText {
			p.principals = append(p.principals, t.value)
		}
	}
	return p, nil
}

// Principals returns the AWS principals that the policy names, as written.
func (p *Policy) Principals() []string { return p.principals }

// check checks what may stand in a statement of the kind.
func (c *clause) check(kind Kind) error {
	switch kind {
	case KeyPolicy:
		if !c.hasPrincipal {
			return malformed("Policy contains a statement with no principal.")
		}
		return c.checkPrincipals(kind)
	case TrustPolicy:
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
		return c.checkPrincipals(kind)
	}
	return c.checkIdentity()
}

// checkIdentity checks a statement of an identity policy, whose errors IAM words.
func (c *clause) checkIdentity() error {
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

func (c *clause) checkPrincipals(kind Kind) error {
	for _, p := range c.principals {
		switch p.kind {
		case "Service":
		case "AWS":
			if err := checkPrincipal(p.value, kind); err != nil {
				return err
			}
		case "Federated":
			if kind == KeyPolicy {
				return invalidPrincipal(kind, p)
			}
		default:
			return invalidPrincipal(kind, p)
		}
		if p.kind == "Service" && !strings.HasSuffix(p.value, ".amazonaws.com") {
			return invalidPrincipal(kind, p)
		}
	}
	return nil
}

func checkPrincipal(value string, kind Kind) error {
	switch form, _ := readPrincipal(value); {
	case form == formInvalid, form == formBrokenARN && kind == TrustPolicy:
		return invalidPrincipal(kind, principal{"AWS", value})
	case form == formBrokenARN:
		return &kms.Error{Code: kms.CodeInvalidArn, Message: "An ARN in the specified key policy is invalid."}
	}
	return nil
}

// invalidPrincipal is the refusal of a principal, as KMS and IAM word it.
func invalidPrincipal(kind Kind, p principal) error {
	if kind == TrustPolicy {
		return malformed(`Invalid principal in policy: "` + p.kind + `":"` + p.value + `"`)
	}
	return ErrInvalidPrincipals
}

// ErrInvalidPrincipals is the refusal of a key policy that names somebody who does
// not exist.
var ErrInvalidPrincipals = malformed("Policy contains a statement with one or more invalid principals.")

func (c *clause) compile(kind Kind, variables bool) (statement, error) {
	s := statement{sid: c.sid, deny: c.effect == "Deny", notPrincipal: c.notPrincipal, notAction: c.notAction, notResource: c.notResource}
	s.void = len(c.actions) == 0 || kind != TrustPolicy && len(c.resources) == 0
	for _, p := range c.principals {
		s.principals.add(p)
	}
	for _, a := range c.actions {
		s.actions = append(s.actions, compileAction(a))
	}
	for _, r := range c.resources {
		a, ok := compileARN(r, patternRules{wildcards: true, variables: variables})
		if !ok {
			return s, errSyntax
		}
		s.resources = append(s.resources, a)
	}
	for _, comparison := range c.conditions {
		cond, err := compileCondition(comparison, variables)
		if err != nil {
			return s, err
		}
		if kind == KeyPolicy && cond.overlyPermissive() {
			return s, cond.refusal()
		}
		s.conditions = append(s.conditions, cond)
	}
	return s, nil
}

// add adds one principal. Services and federated users call kmsd through sessions,
// whose principals are roles and users.
func (p *principals) add(written principal) {
	if written.kind != "AWS" {
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

// appliesToResource leaves out a resource whose variables have no value; in a
// NotResource element that leaves nothing to say.
func (s *statement) appliesToResource(r *Request) bool {
	for i := range s.resources {
		switch match, bound := s.resources[i].matches(r.Resource, r.Context); {
		case match:
			return !s.notResource
		case !bound && s.notResource:
			return false
		}
	}
	return s.notResource
}

func (s *statement) conditionsHold(r *Request, kind Kind) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(r.Context, kind) {
			return false
		}
	}
	return true
}

package service

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// policyKey names a compiled policy: a text means another thing as a key's policy
// than as a user's.
type policyKey struct {
	hash [32]byte
	kind iam.Kind
}

// policy returns a compiled policy. The cache never answers by itself: the hash comes
// from a record in the request's View.
func (s *Service) policy(view *fsm.View, hash [32]byte, kind iam.Kind) (*iam.Policy, error) {
	if p, ok := s.policies.Load(policyKey{hash, kind}); ok {
		return p.(*iam.Policy), nil
	}
	text, ok := view.PolicyText(hash)
	if !ok {
		panic("kmsd: a record without its policy's text")
	}
	return s.compiled(text, hash, kind)
}

// maxCompiled bounds the compiled policies. Reaching it empties the cache: texts that
// are still in use come back with the next call.
const maxCompiled = 1 << 16

// compiled returns the policy with the text, whose SHA-256 is hash.
func (s *Service) compiled(text string, hash [32]byte, kind iam.Kind) (*iam.Policy, error) {
	key := policyKey{hash, kind}
	if p, ok := s.policies.Load(key); ok {
		return p.(*iam.Policy), nil
	}
	p, err := iam.Parse(text, kind)
	if err != nil {
		return nil, fmt.Errorf("compiling a stored policy: %v", err)
	}
	if s.compiledCount.Add(1) > maxCompiled {
		s.policies.Clear()
		s.compiledCount.Store(1)
	}
	s.policies.Store(key, p)
	return p, nil
}

// subject returns the caller with all policies that apply to it, from the request's
// View, once per request.
func (s *Service) subject(r *Request) (*iam.Subject, error) {
	if r.subject.Principal != nil {
		return &r.subject, nil
	}
	subject := iam.Subject{Principal: &r.Principal}
	id := r.Principal.UniqueID
	if r.Principal.RoleID != "" {
		id = r.Principal.RoleID
	}
	switch r.Principal.Type {
	case kms.PrincipalUser, kms.PrincipalAssumedRole, kms.PrincipalService:
		identity, ok := r.View.Identity(id)
		if !ok {
			return nil, errUnrecognized // deleted since the call was signed
		}
		if err := s.attach(r.View, &subject, identity); err != nil {
			return nil, err
		}
		r.tags = identity.Tags
	}
	if r.Principal.Session != nil {
		if err := s.attachSession(r.View, &subject, r.Principal.Session); err != nil {
			return nil, err
		}
	}
	r.subject = subject
	return &r.subject, nil
}

// attach adds the policies of an identity and of its groups, and its boundary.
func (s *Service) attach(view *fsm.View, subject *iam.Subject, identity *fsm.Identity) error {
	if err := s.attachOwn(view, subject, identity); err != nil {
		return err
	}
	for _, id := range identity.Groups {
		group, ok := view.Identity(id)
		if !ok {
			panic("kmsd: a user in a group that does not exist")
		}
		if err := s.attachOwn(view, subject, group); err != nil {
			return err
		}
	}
	if identity.Boundary == "" {
		return nil
	}
	boundary, err := s.managed(view, identity.Boundary)
	subject.Boundary = iam.Attached{Policy: boundary, Name: identity.Boundary}
	return err
}

// attachSession adds the session's policies. Their texts come with the token. One that
// was named by its ARN and is gone leaves the session nothing.
func (s *Service) attachSession(view *fsm.View, subject *iam.Subject, session *kms.Session) error {
	for _, text := range session.Policies {
		p, err := s.compiled(text, sha256.Sum256([]byte(text)), iam.IdentityPolicy)
		if err != nil {
			return err
		}
		subject.Session = append(subject.Session, iam.Attached{Policy: p, Name: "session policy"})
	}
	for _, arn := range session.PolicyARNs {
		p, err := s.managed(view, arn)
		switch {
		case errors.Is(err, errNoManagedPolicy):
			p = new(iam.Policy)
		case err != nil:
			return err
		}
		subject.Session = append(subject.Session, iam.Attached{Policy: p, Name: arn})
	}
	return nil
}

func (s *Service) attachOwn(view *fsm.View, subject *iam.Subject, identity *fsm.Identity) error {
	for _, inline := range identity.Inline {
		p, err := s.policy(view, inline.Hash, iam.IdentityPolicy)
		if err != nil {
			return err
		}
		subject.Identity = append(subject.Identity, iam.Attached{Policy: p, Name: identity.ARN() + " " + inline.Name})
	}
	for _, arn := range identity.Attached {
		p, err := s.managed(view, arn)
		if err != nil {
			return err
		}
		subject.Identity = append(subject.Identity, iam.Attached{Policy: p, Name: arn})
	}
	return nil
}

var errNoManagedPolicy = errors.New("the managed policy does not exist")

// managed returns the version in force of a managed policy. Errors: errNoManagedPolicy,
// which cannot be for what an identity has.
func (s *Service) managed(view *fsm.View, arn string) (*iam.Policy, error) {
	if p, ok := iam.AWSManaged(arn); ok {
		return p.Policy, nil
	}
	record, ok := view.ManagedPolicy(arn)
	if !ok {
		return nil, fmt.Errorf("%w: %s", errNoManagedPolicy, arn)
	}
	version, _ := record.Version(record.Default)
	return s.policy(view, version.Hash, iam.IdentityPolicy)
}

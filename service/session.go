package service

import (
	"context"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/kms"
)

// SecretPurpose is the purpose under which access key secrets are sealed.
const SecretPurpose = "kmsd/access-key/v1"

// Session is what one request sees: one View, from authentication on. One
// goroutine uses it.
type Session struct {
	service *Service
	view    *fsm.View // nil in a local session of a node without fresh state
}

// Open returns the session of one request. It returns kms.ErrUnavailable when the
// node cannot prove that its state is fresh.
func (s *Service) Open(ctx context.Context) (*Session, error) {
	view, err := s.cluster.View(ctx)
	if err != nil {
		return nil, err
	}
	return &Session{service: s, view: view}, nil
}

// localPatience bounds the wait for fresh state by those who are answered without it:
// whoever asks a node how it is does not wait for an election.
const localPatience = time.Second

// OpenLocal returns the session of a request whose caller no credential names: the
// local operator at the admin socket, or anybody for what is public. A node that
// cannot prove that its state is fresh has such sessions, too.
func (s *Service) OpenLocal(ctx context.Context) *Session {
	ctx, cancel := context.WithTimeout(ctx, localPatience)
	defer cancel()
	view, err := s.cluster.View(ctx)
	if err != nil {
		view = nil
	}
	return &Session{service: s, view: view}
}

// Secret finds the access key of a call: how to open its secret, and whose it is.
// Temporary credentials are known by their token alone. It reports false for a key
// that is unknown or inactive, and for a token that is missing or not the key's.
func (x *Session) Secret(accessKeyID string, token kms.SessionToken) (sigv4.Secret, kms.Principal, bool) {
	if token != "" {
		return x.temporary(accessKeyID, token)
	}
	key, principal, ok := activeKey(x.view, accessKeyID)
	if !ok {
		return sigv4.Secret{}, kms.Principal{}, false
	}
	return sigv4.Secret{
		AccessKeyID: key.ID, ModIndex: key.ModIndex,
		Open: func() ([]byte, error) { return x.service.keys.Open(SecretPurpose, key.ID, key.Secret) },
	}, principal, true
}

// temporary is Secret for temporary credentials. One access key's id has one token, so
// that signing keys may be cached under it.
func (x *Session) temporary(accessKeyID string, token kms.SessionToken) (sigv4.Secret, kms.Principal, bool) {
	t, err := x.service.openToken(accessKeyID, token)
	if err != nil {
		return sigv4.Secret{}, kms.Principal{}, false
	}
	principal, ok := t.principal(x.view)
	return sigv4.Secret{
		AccessKeyID: t.AccessKeyID, Temporary: true, Expires: time.UnixMilli(t.Expires),
		Open: func() ([]byte, error) { return []byte(t.Secret), nil },
	}, principal, ok
}

// Settle waits until all that the session read is what every node serves.
func (x *Session) Settle(ctx context.Context) error {
	if x.view == nil {
		return nil
	}
	return x.service.cluster.Settle(ctx, x.view.MaxIndex())
}

// Do runs the authenticated call from the session's View, and notes the use of the
// credential that signed it.
func (x *Session) Do(ctx context.Context, c *Call) ([]byte, error) {
	if x.view != nil && c.Principal.Type == kms.PrincipalLocalOperator {
		c.Principal, _ = x.service.identify(x.view, c)
	}
	c.Principal = c.caller(c.Principal)
	return x.service.do(ctx, c, x.view)
}

// identify finds the caller that a call names in the state: who holds the access
// key, if it is active; a local operator belongs to the operator account.
func (s *Service) identify(view *fsm.View, c *Call) (kms.Principal, bool) {
	if c.Principal.Type == kms.PrincipalLocalOperator {
		named := c.Principal
		named.Account = view.Meta().OperatorAccount
		return named, true
	}
	if c.SessionToken != "" {
		t, err := s.openToken(c.Principal.AccessKeyID, c.SessionToken)
		if err != nil {
			return kms.Principal{}, false
		}
		found, ok := t.principal(view)
		return c.caller(found), ok
	}
	_, found, ok := activeKey(view, c.Principal.AccessKeyID)
	return found, ok
}

// activeKey returns the access key and the principal that it authenticates, if key,
// account and user are there and active.
func activeKey(view *fsm.View, accessKeyID string) (*fsm.AccessKey, kms.Principal, bool) {
	key, ok := view.AccessKey(accessKeyID)
	if !ok || key.Status != fsm.StatusActive {
		return nil, kms.Principal{}, false
	}
	if !accountActive(view, key.Account) {
		return nil, kms.Principal{}, false
	}
	switch key.Type {
	case kms.PrincipalRoot:
		return key, kms.RootPrincipal(key.Account, key.ID), true
	case kms.PrincipalUser:
		user, ok := view.Identity(key.UniqueID)
		if !ok {
			return nil, kms.Principal{}, false
		}
		return key, kms.Principal{Type: key.Type, Account: key.Account, UniqueID: user.ID, ARN: user.ARN(), AccessKeyID: key.ID}, true
	}
	return nil, kms.Principal{}, false
}

func accountActive(view *fsm.View, id string) bool {
	account, ok := view.Account(id)
	return ok && account.Status == fsm.StatusActive
}

package service

import (
	"context"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/kms"
)

// SecretPurpose is the purpose under which access key secrets are sealed.
const SecretPurpose = "kmsd/access-key/v1"

// active is the status of an access key that may sign (AWS: AccessKey Status).
const active = "Active"

// Session is what one request sees: one View, from authentication on. One
// goroutine uses it.
type Session struct {
	service *Service
	view    *fsm.View
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

// Secret finds an active access key: how to open its secret, and whose it is. It
// reports false for a key that is unknown or inactive.
func (x *Session) Secret(accessKeyID string) (sigv4.Secret, kms.Principal, bool) {
	key, principal, ok := activeKey(x.view, accessKeyID)
	if !ok {
		return sigv4.Secret{}, kms.Principal{}, false
	}
	return sigv4.Secret{
		AccessKeyID: key.ID, ModIndex: key.ModIndex,
		Open: func() ([]byte, error) { return x.service.keys.Open(SecretPurpose, key.ID, key.Secret) },
	}, principal, true
}

// Settle waits until all that the session read is what every node serves.
func (x *Session) Settle(ctx context.Context) error {
	return x.service.cluster.Settle(ctx, x.view.MaxIndex())
}

// Do runs the authenticated call from the session's View.
func (x *Session) Do(ctx context.Context, c *Call) ([]byte, error) {
	return x.service.do(ctx, c, x.view)
}

// activeKey returns the access key and the principal that it authenticates, if
// the key is active.
func activeKey(view *fsm.View, accessKeyID string) (*fsm.AccessKey, kms.Principal, bool) {
	key, ok := view.AccessKey(accessKeyID)
	if !ok || key.Status != active || key.Type != kms.PrincipalRoot {
		return nil, kms.Principal{}, false
	}
	return key, kms.RootPrincipal(key.Account, key.ID), true
}

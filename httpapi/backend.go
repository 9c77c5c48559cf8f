package httpapi

import (
	"context"

	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// Backend is what this package needs of the service below it; Wrap makes one of
// a service.Service. Its methods are called by many goroutines at once.
type Backend interface {
	// Open returns the view of replicated state that decides one request. It
	// returns kms.ErrUnavailable when the node cannot prove that its state is
	// fresh.
	Open(ctx context.Context) (Session, error)
	// Knows tells whether the operation of the AWS service ("kms", "sts") is
	// served. It must be cheap: unauthenticated clients reach it, with names of
	// any length.
	Knows(service, operation string) bool
	// Ready returns nil while this node may serve; the error says why not, in
	// words for an operator: anybody who reaches the listener can read them.
	Ready(ctx context.Context) error
}

// Session is one request's view of replicated state. One goroutine uses it.
type Session interface {
	// Secret finds an access key, by its session token where it is temporary: how to
	// open its secret, and whose it is. It reports false for a key that is unknown or
	// inactive, and for a token that is not the key's.
	Secret(accessKeyID string, token kms.SessionToken) (sigv4.Secret, kms.Principal, bool)
	// Settle waits until all that the session read is what every node serves. An
	// answer that depends on the session may leave only after it.
	Settle(ctx context.Context) error
	// Do runs the authenticated call: the body of the answer as JSON, or the XML
	// result element of the query protocol; empty for operations without output.
	// It settles what it answers. Errors that are no *kms.Error, and none of the
	// conditions of package kms, are answered as internal ones. The call is Do's
	// to keep.
	Do(ctx context.Context, call *service.Call) ([]byte, error)
}

// Wrap makes a Backend of s.
func Wrap(s *service.Service) Backend { return wrapped{s} }

type wrapped struct{ *service.Service }

func (w wrapped) Open(ctx context.Context) (Session, error) {
	x, err := w.Service.Open(ctx)
	if err != nil {
		return nil, err // and no Session that holds a nil pointer
	}
	return x, nil
}

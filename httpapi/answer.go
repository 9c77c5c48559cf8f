package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/kmsd/kmsd/kms"
)

// The answers to the conditions that are no error of an operation.
var (
	errUnavailable = &kms.Error{Code: kms.CodeServiceUnavailable, Message: "The service cannot serve the request now. Nothing was done."}
	errUnknown     = &kms.Error{Code: kms.CodeInternal, Message: "The outcome of this request is unknown."}
)

// answer converts err for the client. What is no answer yet is logged here, with
// the request id, and nowhere else.
func (x *exchange) answer(err error) *kms.Error {
	switch {
	case errors.Is(err, kms.ErrOutcomeUnknown):
		x.log(slog.LevelError, "the outcome of a request is unknown", err)
		return errUnknown
	case errors.Is(err, kms.ErrUnavailable), errors.Is(err, kms.ErrNotLeader):
		x.log(slog.LevelDebug, "a request was refused: the node cannot serve", err)
		return errUnavailable
	}
	e, ok := kms.AsError(err)
	switch {
	case ok:
	case x.r.Context().Err() != nil && errors.Is(err, context.Canceled):
		x.log(slog.LevelDebug, "a client went away", err)
	default:
		x.log(slog.LevelError, "a request failed", err)
	}
	return e
}

func (x *exchange) log(level slog.Level, message string, err error) {
	x.server.cfg.Logger.Log(x.r.Context(), level, message, "request_id", x.id, "operation", x.route.label, "error", err)
}

// undone turns a lack of time before the call began into what it means to the
// client: nothing was done.
func undone(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", kms.ErrUnavailable, err)
	}
	return err
}

package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/kms"
)

const (
	// actDeadline bounds an Act, but for Config.Drain: a member that leaves drains its
	// connections, hands leadership over and waits for leases. The answer has to reach
	// the client before its connection's write deadline.
	actDeadline = 40 * time.Second
	// actRecordDeadline bounds the writing of its record.
	actRecordDeadline = 5 * time.Second
)

// act runs a call that changes the cluster through this node. It goes on when the
// client hangs up. The gate stands before the work: afterwards this node may be no
// member any more, and nothing will open it.
func (s *Service) act(ctx context.Context, r *Request, in any) ([]byte, error) {
	r.row.params(in, &r.Record.RequestParameters)
	if err := s.mayAct(ctx, r, in); err != nil {
		return nil, s.refuse(ctx, r, err)
	}
	ctx = context.WithoutCancel(ctx)
	out, err := s.actNow(ctx, r, in)
	if err != nil {
		r.Record.Err = s.answer(r.Call, err)
	}
	recording, cancel := context.WithTimeout(ctx, actRecordDeadline)
	defer cancel()
	appendErr := s.trail.Append(recording, &r.Record)
	switch {
	case appendErr != nil && err == nil:
		return nil, s.unrecorded(ctx, r, kms.ErrOutcomeUnknown, appendErr)
	case appendErr != nil:
		return nil, s.unrecorded(ctx, r, err, appendErr)
	case err != nil:
		return nil, r.Record.Err
	}
	return out.body(), nil
}

// mayAct decides whether the call may go on.
func (s *Service) mayAct(ctx context.Context, r *Request, in any) error {
	if err := s.trail.Healthy(); err != nil {
		return kms.ErrUnavailable
	}
	if err := s.admit(ctx, r, in); err != nil {
		return err
	}
	err := s.check(r, in)
	r.leave()
	if err != nil {
		return err
	}
	return s.settle(ctx, r)
}

func (s *Service) actNow(ctx context.Context, r *Request, in any) (output, error) {
	ctx, cancel := context.WithTimeout(ctx, actDeadline+s.drain)
	defer cancel()
	out, err := r.row.read(ctx, r, in)
	if err != nil {
		r.Record.ResponseElements, r.Record.Additional = audit.Params{}, audit.Params{}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%w: %w", kms.ErrOutcomeUnknown, err)
	}
	return out, err
}

// readPublic answers what anybody may read. There is no record: nobody is proven
// to have asked.
func (s *Service) readPublic(ctx context.Context, r *Request, in any, err error) ([]byte, error) {
	if err == nil {
		err = s.admit(ctx, r, in)
	}
	var out output
	if err == nil {
		out, err = r.row.read(ctx, r, in)
		r.leave()
	}
	if err == nil {
		err = s.settle(ctx, r)
	}
	if err != nil {
		return nil, s.answer(r.Call, err)
	}
	return out.body(), nil
}

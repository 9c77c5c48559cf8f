package service

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// maxAttempts is how often a write is decided anew because the state that it was
// decided from changed before it was applied.
const maxAttempts = 8

// forwardWrite sends a decoded write to the leader. The leader records the call;
// this node does so only when there was no leader to do it, or nobody knows what
// became of it.
func (s *Service) forwardWrite(ctx context.Context, r *Request, in any) ([]byte, error) {
	r.reqKey = requestKey(r.Call, r.row.Once)
	body, err := s.forward(ctx, r.Call)
	var answered *kms.Error
	if err == nil || errors.As(err, &answered) {
		return body, err
	}
	r.row.params(in, &r.Record.RequestParameters)
	return nil, s.refuse(ctx, r, err)
}

// executeCall decides a forwarded call on the leader. Transient errors are for
// the cluster, which retries; all others are recorded answers. The index is the
// log entry that the answer speaks of, 0 for a refusal that needed none.
func (s *Service) executeCall(ctx context.Context, c *Call) ([]byte, uint64, error) {
	row := s.rows[rowKey{c.Service, c.Operation}]
	if row == nil || !row.Write {
		return nil, 0, kms.ErrNotLeader // a node of another version knows it
	}
	in, err := row.decode(c.Body)
	if err != nil {
		return nil, 0, kms.ErrNotLeader
	}
	var r *Request
	for range maxAttempts {
		if r, err = s.begin(ctx, c, row); err != nil {
			return nil, 0, err
		}
		body, index, err := s.attempt(ctx, r, in)
		if !errors.Is(err, errConflict) {
			return body, index, err
		}
	}
	return nil, 0, s.refuseWrite(ctx, r, errThrottled)
}

// errConflict is returned when the state changed under a decision.
var errConflict = errors.New("kmsd: the state changed before the command was applied")

// begin opens the leader's own View and finds the caller in it. A caller that is
// gone is refused, unless this forward of the call was applied before: it may be
// the call that ended its own credential, and a refusal would deny it.
func (s *Service) begin(ctx context.Context, c *Call, row *Row) (*Request, error) {
	view, err := s.cluster.View(ctx)
	if err != nil {
		return nil, err
	}
	principal, active := s.identify(view, c)
	if active {
		c.Principal = principal
		return s.newRequest(c, row, view), nil
	}
	if _, applied := view.Once(c.reqKey); applied && !row.Once {
		return nil, kms.ErrOutcomeUnknown
	}
	if err := s.cluster.Settle(ctx, view.MaxIndex()); err != nil {
		return nil, err
	}
	return nil, errUnrecognized
}

// attempt decides the call once.
func (s *Service) attempt(ctx context.Context, r *Request, in any) ([]byte, uint64, error) {
	r.row.params(in, &r.Record.RequestParameters)
	if once, ok := r.View.Once(r.reqKey); ok {
		return s.repeat(ctx, r, once)
	}
	args, out, err := s.plan(ctx, r, in)
	defer r.leave()
	if err != nil {
		return nil, 0, s.refuseWrite(ctx, r, err)
	}
	return s.propose(ctx, r, args, out)
}

// plan runs the steps between the exactly-once table and the proposal. The place
// that it takes is the call's until its command is acknowledged.
func (s *Service) plan(ctx context.Context, r *Request, in any) (fsm.Args, output, error) {
	if err := s.trail.Healthy(); err != nil {
		return nil, nil, kms.ErrUnavailable
	}
	if err := s.admit(ctx, r, in); err != nil {
		return nil, nil, err
	}
	if err := s.check(r, in); err != nil {
		return nil, nil, err
	}
	args, out, err := r.row.write(ctx, r, in)
	if err == nil && r.row.dryRun(in) {
		err = errDryRun
	}
	return args, out, err
}

// propose replicates the command and answers what became of it.
func (s *Service) propose(ctx context.Context, r *Request, args fsm.Args, out output) ([]byte, uint64, error) {
	r.share()
	meta := fsm.Meta{Time: r.Now, RequestID: r.RequestID, Reads: r.View.Reads()}
	result, index, err := s.commit(ctx, r.reqKey, meta, &r.Record, args)
	if errors.Is(err, fsm.ErrTooLarge) || errors.Is(err, audit.ErrTooLarge) {
		err = &kms.Error{Code: kms.CodeLimitExceeded, Message: "The request is too large: policy, description and tags together exceed what can be stored."}
	}
	switch {
	case err != nil:
		return nil, 0, s.refuseWrite(ctx, r, err)
	case result.Conflict:
		return nil, 0, errConflict
	case result.Repeat != nil:
		return s.repeat(ctx, r, result.Repeat)
	}
	if err := s.record(ctx, &r.Record, index); err != nil {
		return nil, 0, err
	}
	if result.Err != nil {
		return nil, index, result.Err
	}
	return out.body(), index, nil
}

// commit replicates a command with its audit record, and tells what became of it. A
// refusal is entered into the record, which the caller writes then.
func (s *Service) commit(ctx context.Context, key fsm.ReqKey, meta fsm.Meta, record *audit.Record, args fsm.Args) (fsm.Result, uint64, error) {
	var err error
	if meta.Audit, err = record.Encode(); err != nil {
		return fsm.Result{}, 0, fmt.Errorf("encoding the audit record: %w", err)
	}
	meta.Recorded = s.recorded.list()
	cmd, err := fsm.NewCommand(key, meta, args)
	if err != nil {
		return fsm.Result{}, 0, err
	}
	result, index, err := s.cluster.Propose(ctx, cmd)
	if err != nil {
		return fsm.Result{}, 0, err
	}
	s.recorded.forget(meta.Recorded)
	if result.Err != nil {
		record.Err = result.Err
	}
	s.wrote()
	return result, index, nil
}

// record writes the record of an applied command. When that fails, the command's
// own copy stays in replicated state and the next leader writes it; the client
// hears that the outcome is unknown, because no reply goes without a record.
func (s *Service) record(ctx context.Context, record *audit.Record, index uint64) error {
	if err := s.trail.Append(ctx, record); err != nil {
		s.log.Error("audit record not written", "event", record.EventName, "requestID", record.RequestID, "index", index, "error", err)
		return kms.ErrOutcomeUnknown
	}
	s.recorded.add(index)
	return nil
}

// repeat answers a call whose command was applied before. What an attempt has put
// into the record goes: it speaks of a command that was not applied. Whatever
// fails here, the outcome stays open for the caller: something was done.
func (s *Service) repeat(ctx context.Context, r *Request, once *fsm.Once) ([]byte, uint64, error) {
	r.Record.ResponseElements, r.Record.Additional, r.Record.Resources = audit.Params{}, audit.Params{}, nil
	r.Record.SharedEventID, r.Record.Copies, r.Record.Elsewhere = "", nil, nil
	if r.View.Index() < once.Index {
		view, err := s.cluster.View(ctx)
		if err != nil {
			return nil, 0, kms.ErrOutcomeUnknown
		}
		r.View = view
	}
	out, err := r.row.repeat(r, once)
	if err != nil {
		return nil, 0, s.refuseWrite(ctx, r, err)
	}
	if err := s.cluster.Settle(ctx, max(r.View.MaxIndex(), once.Index)); err != nil {
		return nil, 0, kms.ErrOutcomeUnknown
	}
	r.Record.Repeat(once.RequestID)
	if err := s.trail.Append(ctx, &r.Record); err != nil {
		return nil, 0, kms.ErrOutcomeUnknown
	}
	return out.body(), once.Index, nil
}

// refuseWrite is refuse for the leader: what the cluster retries is not recorded.
func (s *Service) refuseWrite(ctx context.Context, r *Request, err error) error {
	if isTransient(err) {
		return err
	}
	return s.refuse(ctx, r, err)
}

// NewUUID returns a random UUID (RFC 9562, version 4) in lower case.
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:], b[0:4])
	hex.Encode(text[9:], b[4:6])
	hex.Encode(text[14:], b[6:8])
	hex.Encode(text[19:], b[8:10])
	hex.Encode(text[24:], b[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

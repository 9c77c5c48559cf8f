package service

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// do runs one call. The order of the steps is AWS's (kms: "order of checks") and
// stands here once:
//
//  1. decode and the model's constraints; pure, so also before a forward
//  2. a write goes to the leader, which repeats all of it from its own View; what
//     nobody needs to be proven for is answered at once
//  3. the exactly-once table (leader)
//  4. request quotas, then admission to the pool of the call's kind
//  5. combinations of parameters that need no state
//  6. per key: resolution, grant tokens, authorisation, state, usage; an AWS managed key
//     that the call is the first to use is made by the leader now
//  7. the handler
//  8. dry runs end here
//  9. propose (leader)
//  10. the gate: what the answer rests on is what every node serves
//  11. the audit record, with its copies for the owners of other accounts' keys; then
//     the answer
//
// Steps 3 to 9 happen on the node that executes the call, which also records it:
// reads where they were received, writes on the leader. The receiver of a write
// records it only when nobody else did. Last of all the receiver notes the use of the
// credential that signed the call: it was proven before this.
func (s *Service) do(ctx context.Context, c *Call, view *fsm.View) ([]byte, error) {
	row := s.rows[rowKey{c.Service, c.Operation}]
	if row == nil {
		return nil, &kms.Error{Code: kms.CodeUnknownOperation}
	}
	if view == nil && c.Principal.Type != kms.PrincipalLocalOperator && !row.Public {
		return nil, kms.ErrUnavailable
	}
	r := s.newRequest(c, row, view)
	defer s.countCaller(r)
	in, err := row.decode(c.Body)
	if row.Public {
		return s.readPublic(ctx, r, in, err)
	}
	if err != nil {
		return nil, s.refuse(ctx, r, err)
	}
	switch {
	case row.Write:
		return s.forwardWrite(ctx, r, in)
	case row.acts:
		return s.act(ctx, r, in)
	}
	return s.read(ctx, r, in)
}

func (s *Service) newRequest(c *Call, row *Row, view *fsm.View) *Request {
	r := &Request{Call: c, View: view, Now: s.now().UnixMilli(), row: row, usage: s.usage, service: s}
	r.Record = audit.Record{
		EventID: NewUUID(), RequestID: c.RequestID, EventName: c.Operation, EventSource: row.eventSource,
		Region: c.Region, Time: r.Now, Principal: c.Principal, Source: c.Source, ReadOnly: !row.Write && !row.acts,
	}
	if row.resourcesEmpty {
		r.Record.Resources = []audit.Resource{}
	}
	return r
}

// read answers a call from the View.
func (s *Service) read(ctx context.Context, r *Request, in any) ([]byte, error) {
	r.row.params(in, &r.Record.RequestParameters)
	if err := s.admit(ctx, r, in); err != nil {
		return nil, s.refuse(ctx, r, err)
	}
	out, err := s.readAdmitted(ctx, r, in)
	if err == nil {
		err = s.settle(ctx, r)
	}
	if err != nil {
		return nil, s.refuse(ctx, r, err)
	}
	r.share()
	if err := s.trail.Append(ctx, &r.Record); err != nil {
		return nil, s.unrecorded(ctx, r, nil, err)
	}
	s.countUse(r)
	return out, nil
}

func (s *Service) readAdmitted(ctx context.Context, r *Request, in any) ([]byte, error) {
	defer r.leave()
	if err := s.check(r, in); err != nil {
		return nil, err
	}
	if r.plannedKey() != nil {
		if err := s.bringForth(ctx, r, in); err != nil {
			return nil, err
		}
	}
	out, err := r.row.read(ctx, r, in)
	if err != nil {
		return nil, err
	}
	if r.row.dryRun(in) {
		return nil, errDryRun
	}
	return out.body(), nil
}

var errDryRun = &kms.Error{Code: kms.CodeDryRun, Message: "The request would have succeeded, but the DryRun option is set."}

// staleAfter is how long a call may wait for its turn before its View is opened
// anew.
const staleAfter = 100 * time.Millisecond

// admit counts the call towards its request quotas and waits for a place, which it
// keeps until leave. A call that waited long decides from a new View, and so from a
// credential that is still active then.
func (s *Service) admit(ctx context.Context, r *Request, in any) error {
	charges := r.charges(in)
	if used, err := s.throttle.admit(r, charges); err != nil {
		s.metrics.throttled.WithLabelValues(string(used)).Inc()
		return err
	}
	r.attested.signed = r.row.recipient(in)
	pool := s.pools.of(r)
	if pool.try() {
		r.pool = pool
		return nil
	}
	began := time.Now()
	if err := pool.enter(ctx); err != nil {
		return err
	}
	r.pool = pool
	if time.Since(began) <= staleAfter {
		return nil
	}
	if err := s.reopen(ctx, r); err != nil {
		r.leave()
		return err
	}
	return nil
}

// leave gives the call's place back, if it has one.
func (r *Request) leave() {
	if r.pool != nil {
		r.pool.leave()
		r.pool = nil
	}
}

func (s *Service) reopen(ctx context.Context, r *Request) error {
	if r.Principal.Type == kms.PrincipalLocalOperator && !r.row.Write {
		return nil // neither right nor answer rests on the state
	}
	view, err := s.cluster.View(ctx)
	if err != nil {
		return err
	}
	principal, ok := s.identify(view, r.Call)
	if !ok {
		return errUnrecognized
	}
	r.View, r.resolved, r.Principal, r.subject = view, 0, principal, iam.Subject{}
	return nil
}

// errUnrecognized is the answer to a credential that is no longer active.
var errUnrecognized = &kms.Error{Code: kms.CodeUnrecognizedClient, Message: "The security token included in the request is invalid."}

// check runs steps 5 and 6.
func (s *Service) check(r *Request, in any) error {
	if r.Principal.Type == kms.PrincipalLocalOperator && !r.row.Local {
		return errNoCredentials
	}
	if r.Principal.Session != nil && r.Principal.RoleID == "" && !r.row.Open && r.row.Service != kmsService && r.row.Operator == "" {
		return errUnrecognized // IAM without a second factor, most of STS (AWS STS: GetSessionToken)
	}
	if err := r.row.check(in, r.Now); err != nil {
		return err
	}
	if err := s.authorize(r, in); err != nil {
		return err
	}
	for i := range r.row.keys {
		if err := s.checkKey(r, i, in); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) checkKey(r *Request, i int, in any) error {
	rule := &r.row.keys[i]
	key, err := r.key(i, in)
	if err != nil {
		return err
	}
	r.Keys = r.keys[:i+1]
	if key.ARN == "" && !key.byBlob {
		return nil // an optional key that the call leaves out
	}
	own := key.ownedBy(r.Principal.Account)
	if own && key.planned == nil {
		r.recordKey(key)
	}
	if i == 0 {
		if err := r.checkGrantTokens(r.row.grantTokens(in)); err != nil {
			return err
		}
	}
	if err := s.authorizeKey(r, rule, key, in); err != nil {
		return err
	}
	if !own {
		r.recordKey(key)
	}
	if err := s.authorizeCopy(r, rule, key, in); err != nil {
		return err
	}
	if rule.origin != "" && key.Origin != rule.origin {
		return &kms.Error{Code: kms.CodeUnsupportedOperation,
			Message: key.ARN + " origin is " + string(key.Origin) + " which is not valid for this operation."}
	}
	if err := rule.states.check(r.state(key), key.ARN); err != nil {
		return err
	}
	if rule.usage != "" && key.Usage != rule.usage {
		return &kms.Error{Code: kms.CodeInvalidKeyUsage,
			Message: key.ARN + " key usage is " + string(key.Usage) + " which is not valid for " + r.Operation + "."}
	}
	if rule.primary && (!key.MultiRegion || key.Replica) {
		return &kms.Error{Code: kms.CodeUnsupportedOperation, Message: key.ARN + " is not a multi-region primary key."}
	}
	return nil
}

// state is the key's state, except that a key whose imported material has expired waits
// for its import already: the leader may be late in saying so.
func (r *Request) state(key *Key) kms.KeyState {
	switch key.State {
	case kms.Enabled, kms.Updating:
		if key.ImportExpired(max(r.Now, r.View.Time())) {
			return kms.PendingImport
		}
	}
	return key.State
}

// recordKey makes the record show the key. The caller's own keys stand in the
// record of a refusal, too; another account's only once the caller may use it,
// because the caller reads the record. A key of another Region stands in that Region's
// record.
func (r *Request) recordKey(key *Key) {
	if key.Region != r.Region {
		return
	}
	if r.Record.Resources == nil {
		r.Record.Resources = r.resources[:0]
	}
	r.Record.Resources = append(r.Record.Resources, audit.Resource{Account: key.Account, ARN: key.ARN})
}

// share gives the owners of other accounts' keys, and the operator account of a service
// that calls, their copies of the record. Calling it
// again changes nothing. Whether copies are written is the record's business: those of
// a call that authorisation refused are not.
func (r *Request) share() {
	for i := range r.Record.Resources {
		r.shareWith(r.Record.Resources[i].Account)
	}
	if r.Principal.IsService() {
		r.shareWith(r.Principal.Service.Operator)
	}
}

func (r *Request) shareWith(account string) {
	if account == r.Principal.Account || slices.ContainsFunc(r.Record.Copies, func(c audit.Copy) bool { return c.Account == account }) {
		return
	}
	if r.Record.SharedEventID == "" {
		r.Record.SharedEventID = NewUUID()
	}
	r.Record.Copies = append(r.Record.Copies, audit.Copy{EventID: NewUUID(), Account: account})
}

// settle is the gate.
func (s *Service) settle(ctx context.Context, r *Request) error {
	if r.View == nil {
		return nil
	}
	return s.cluster.Settle(ctx, r.View.MaxIndex())
}

// refuse records a refusal and returns the answer. A refusal that was decided
// from state passes the gate like any other answer; if the gate stays shut, the
// answer is that there is none.
func (s *Service) refuse(ctx context.Context, r *Request, err error) error {
	if !isTransient(err) {
		if settleErr := s.settle(ctx, r); settleErr != nil {
			err = settleErr
		}
	}
	r.Record.Err = s.answer(r.Call, err)
	r.share()
	if appendErr := s.trail.Append(ctx, &r.Record); appendErr != nil {
		return s.unrecorded(ctx, r, err, appendErr)
	}
	return r.Record.Err
}

// unrecorded is the answer to a call whose record could not be written: no
// record, no reply. An unknown outcome stays one. A client that hung up before
// the record was written is no fault of the log.
func (s *Service) unrecorded(ctx context.Context, r *Request, err, appendErr error) error {
	if ctx.Err() == nil {
		s.log.Error("audit record not written", "requestID", r.RequestID, "error", appendErr)
	}
	if errors.Is(err, kms.ErrOutcomeUnknown) {
		return err
	}
	return kms.ErrUnavailable
}

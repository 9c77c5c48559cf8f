package service

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// forwardVersion is the format of forwarded calls and their replies. A node that
// meets another version answers ErrNotLeader, so that the call goes elsewhere.
const forwardVersion = 1

// writeDeadline bounds a write from its forwarding on. It outlives the ten
// seconds during which a forward is retried, so that the unknown outcome is
// reported as such.
const writeDeadline = 12 * time.Second

// forwardedCall is a write on its way to the leader. It carries identifiers, and the
// token of temporary credentials: the leader reads the caller's rights from its own
// state.
type forwardedCall struct {
	Version     uint16     `cbor:"1,keyasint"`
	Service     string     `cbor:"2,keyasint"`
	Operation   string     `cbor:"3,keyasint"`
	Body        []byte     `cbor:"4,keyasint"`
	Region      string     `cbor:"5,keyasint"`
	AccessKeyID string     `cbor:"6,keyasint"`
	Source      kms.Source `cbor:"7,keyasint"`
	RequestID   string     `cbor:"8,keyasint"`
	ReqKey      fsm.ReqKey `cbor:"9,keyasint"`
	// LocalUID is that of a local operator, who has no access key.
	LocalUID *uint32 `cbor:"10,keyasint,omitempty"`
	// Usage or Credentials, where there are any, are all that is sent: no call, but what
	// another node hands over (GatherUsage).
	Usage []fsm.Usage `cbor:"11,keyasint,omitempty"`
	// SessionToken is that of temporary credentials, which the leader opens itself.
	SessionToken []byte              `cbor:"12,keyasint,omitempty"`
	Credentials  []fsm.CredentialUse `cbor:"13,keyasint,omitempty"`
	// FirstUse tells that the call is a read which the sender answers, once the AWS managed
	// key is there that it brings into being.
	FirstUse bool `cbor:"14,keyasint,omitempty"`
}

// caller is whom the call names, for identify to find.
func (f *forwardedCall) caller() kms.Principal {
	if f.LocalUID != nil {
		return kms.LocalOperator(*f.LocalUID)
	}
	return kms.Principal{AccessKeyID: f.AccessKeyID}
}

// localUID is the uid of a local operator, nil for everybody else.
func localUID(p kms.Principal) *uint32 {
	if p.Type != kms.PrincipalLocalOperator {
		return nil
	}
	n, err := strconv.ParseUint(p.UniqueID, 10, 32)
	if err != nil {
		panic("kmsd: a local operator without a uid")
	}
	uid := uint32(n)
	return &uid
}

// forwardedReply is the leader's answer. Code is empty for success.
type forwardedReply struct {
	Version uint16 `cbor:"1,keyasint"`
	Code    string `cbor:"2,keyasint,omitempty"`
	Message string `cbor:"3,keyasint,omitempty"`
	Body    []byte `cbor:"4,keyasint,omitempty"`
}

var forwardDecoder = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8: cbor.UTF8DecodeInvalid, // a user agent is whatever the client sent
	}.DecMode()
	if err != nil {
		panic("kmsd: CBOR options: " + err.Error())
	}
	return mode
}()

// forward sends the call to the leader, which may be this node, and returns the
// leader's answer. It goes on when the client hangs up: what may be proposed
// needs its audit record and its place in the exactly-once table.
func (s *Service) forward(ctx context.Context, c *Call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeDeadline)
	defer cancel()
	data, err := cbor.Marshal(forwardedCall{
		Version: forwardVersion, Service: c.Service, Operation: c.Operation, Body: c.Body, Region: c.Region,
		AccessKeyID: c.Principal.AccessKeyID, Source: c.Source, RequestID: c.RequestID, ReqKey: c.reqKey, LocalUID: localUID(c.Principal),
		SessionToken: []byte(c.SessionToken), FirstUse: c.firstUse,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a call to forward: %w", err)
	}
	data, err = s.cluster.Forward(ctx, data)
	if err != nil {
		return nil, err
	}
	var reply forwardedReply
	if err := forwardDecoder.Unmarshal(data, &reply); err != nil || reply.Version != forwardVersion {
		return nil, kms.ErrOutcomeUnknown
	}
	if reply.Code != "" {
		return nil, &kms.Error{Code: reply.Code, Message: reply.Message}
	}
	return reply.Body, nil
}

// Execute runs a forwarded call on the leader: the cluster calls it with what
// Forward was given, on whichever node leads. The index is the log entry that the
// answer speaks of; the forwarding node answers after it has applied it.
//
// A peer that may call this holds the root key, and with it every right: the
// named credential is looked up and must be active, nothing else of the call is
// proof of anything. A local operator is whom the peer says it is.
func (s *Service) Execute(ctx context.Context, data []byte) (reply []byte, index uint64, err error) {
	var f forwardedCall
	if err := forwardDecoder.Unmarshal(data, &f); err != nil || f.Version != forwardVersion {
		return nil, 0, kms.ErrNotLeader
	}
	if len(f.Usage) > 0 || len(f.Credentials) > 0 {
		s.usage.take(f.Usage, f.Credentials)
		return nil, 0, nil
	}
	c := &Call{Service: f.Service, Operation: f.Operation, Body: f.Body, Region: f.Region, Principal: f.caller(), SessionToken: kms.SessionToken(f.SessionToken), Source: f.Source, RequestID: f.RequestID, reqKey: f.ReqKey}
	execute := s.executeCall
	if f.FirstUse {
		execute = s.executeFirstUse
	}
	body, index, err := execute(ctx, c)
	if isTransient(err) {
		return nil, 0, err
	}
	out := forwardedReply{Version: forwardVersion, Body: body}
	if err != nil {
		e := s.answer(c, err)
		out = forwardedReply{Version: forwardVersion, Code: e.Code, Message: e.Message}
	}
	data, err = cbor.Marshal(out)
	return data, index, err
}

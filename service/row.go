package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/admin"
)

// Op describes one operation. The pipeline does everything that is common to
// operations from these fields; the handler does what is unique to this one.
// Exactly one of Read, Write and Act is set.
type Op[In, Out any] struct {
	Service string // AWS name of the service: "kms", "sts"
	Name    string // the API's name of the operation
	// Once tells that a second application of the same call would give another
	// result: retries of one SDK call then make one command.
	Once bool
	// Open tells that no permission is needed (sts:GetCallerIdentity).
	Open bool
	// Public tells that not even a caller is needed: nobody is proven, so there is
	// no record. The View may be nil.
	Public bool
	// Operator is the action where only principals of the operator account may be
	// allowed, such as kmsd:GetStatus.
	Operator string
	// Local tells that whoever may open the node's admin socket needs no
	// credentials. Read and Act then get no View when the node cannot prove that
	// its state is fresh.
	Local bool
	// Identity is the action where only identity policies decide, such as
	// kms:CreateKey; empty when the actions of Keys decide.
	Identity string
	// CallerAccount tells that what only identity policies decide has the condition key
	// kms:CallerAccount, too, which all actions on keys have.
	CallerAccount bool
	// Keys are the keys that the call names, in the order in which they are
	// checked.
	Keys []KeyRule[In]
	// Quota is the request quota that calls count towards. Default: that of the
	// operation's name, if AWS has one; else calls are not counted.
	Quota Quota
	// QuotaOf, where set, gives the quota by the spec of each key that the call
	// names, instead of Quota.
	QuotaOf func(kms.KeySpec) Quota
	// QuotaFor, where set, gives the quota by the parameters, instead of Quota; "" is
	// none.
	QuotaFor func(*In) Quota
	// There returns the other Region that the call reaches into, and the quotas that it
	// counts towards in that Region besides its own; nil where it reaches into none.
	There func(*In) (region string, quotas []Quota)
	// Resource returns the ARN of what Identity is asked on, and how a refusal names it;
	// nil where that is "*".
	Resource func(*Request, *In) (arn, shown string)
	// Makes tells that the call makes what Resource names, so that conditions know
	// nothing of it.
	Makes bool
	// Bounded tells that the action knows the condition key iam:PermissionsBoundary of
	// the user or role that Resource names.
	Bounded bool
	// Also returns actions that identity policies must allow beside Identity, because of
	// what the call's parameters ask for, on the same resource; nil where there are none.
	Also func(*In) []string
	// Own tells whether a service that calls asks for nothing of an account's, but for what
	// is its own: the policies of its role then decide Identity. Nil where none does.
	Own func(*In, *kms.Service) bool
	// Alias returns the alias that the call makes, moves or deletes. Identity policies
	// must allow the keys' action on it, too.
	Alias func(*In) string
	// Conditions returns the values of condition keys that come from the parameters, by
	// their names in lower case; nil for absent ones. It serves Identity and Alias.
	Conditions func(in *In, key string) []string
	// Check refuses combinations of parameters that need no state.
	Check func(*In) error
	// CheckAt is Check where the time of the decision counts, in milliseconds since 1970.
	CheckAt func(in *In, now int64) error
	// DryRun tells whether the call asks for a dry run; nil where the operation
	// has none.
	DryRun func(*In) bool
	// GrantTokens returns the grant tokens of the call; nil where the operation
	// takes none.
	GrantTokens func(*In) []string
	// Recipient returns the attestation document of the call, nil for a call without one;
	// nil where the operation takes none.
	Recipient func(*In) []byte
	// Params adds the request parameters that CloudTrail shows.
	Params func(*In, *audit.Params)
	// Read answers from the View. It changes nothing.
	Read func(context.Context, *Request, *In) (*Out, error)
	// Act changes the cluster through the node that received the call, and returns
	// once it has. Errors are as Cluster's: kms.ErrUnavailable tells that nothing
	// was done.
	Act func(context.Context, *Request, *In) (*Out, error)
	// Write runs on the leader and returns the command and the answer that is
	// true once the command has been applied.
	Write func(context.Context, *Request, *In) (fsm.Args, *Out, error)
	// Repeat renders the answer of a Write that was applied before; nil where
	// there is none to render.
	Repeat func(*Request, *fsm.Once) (*Out, error)
}

// None is the output of operations that have none.
type None struct{}

// KeyRule says how a call names a key and what must hold of it.
type KeyRule[In any] struct {
	// ID returns the identifier as sent, "" if absent.
	ID func(*In) string
	// Blob returns the ciphertext that names its key (Decrypt, ReEncrypt); nil
	// where no ciphertext does.
	Blob func(*In) []byte
	// Related returns the Region of the key where it is the one that is related to the
	// call's first key, a multi-Region key; nil where the call names the key.
	Related func(*In) string
	// Optional tells that the call may leave the key out.
	Optional bool
	// Aliases tells that alias names and alias ARNs are accepted.
	Aliases bool
	// Action is checked against the key: "kms:Encrypt". It is empty where the row's
	// Identity decides alone, for keys of the caller's account only.
	Action string
	// CrossAccount tells that callers of other accounts may be allowed.
	CrossAccount bool
	// Usage is the key usage that the operation needs, "" for any. An operation that
	// needs one uses the key: its success is the key's last use (GetKeyLastUsage).
	Usage kms.KeyUsage
	// Origin is the origin that the key must have, whatever its state; "" for any.
	Origin kms.Origin
	// States are the key states in which the operation works.
	States States
	// Primary tells that the key must be the primary of a set of multi-Region keys.
	Primary bool
	// Copies returns what identity policies must allow in another Region, where the call
	// makes a key there of this one; nil where it makes none.
	Copies func(*Key, *In) Elsewhere
	// DaysUnused tells that Action has the condition key
	// kms:TrailingDaysWithoutKeyUsage.
	DaysUnused bool
	// Granted returns what a grant must have that allows Action; nil where none can. Of
	// CreateGrant it is what the new grant has, whose SourceARN is the Source.
	Granted func(*In) fsm.GrantQuery
	// Retires returns how the call names the grant that it retires, which decides who
	// may; nil where it retires none. A token names the key, too.
	Retires func(*In) GrantRef
	// Managed says whose calls, naming the key by its alias, bring an AWS managed key into
	// being.
	Managed Managed
	// Conditions is as Op's, for this key.
	Conditions func(in *In, key string) []string
}

// Elsewhere is what identity policies must allow in another Region than the call's.
type Elsewhere struct {
	Region string
	// Identity and Also are as Op's, on every resource.
	Identity string
	Also     []string
	// Conditions is as Op's.
	Conditions func(key string) []string
}

// Row is an Op without its types: what the pipeline runs.
type Row struct {
	Service, Name  string
	Write          bool
	Once           bool
	Open           bool
	Public         bool
	Local          bool
	Identity       string
	Operator       string
	CrossAccount   bool
	HasDryRun      bool
	named          bool // there is a Resource
	onAlias        bool // there is an Alias
	callerAccount  bool
	makes, bounded bool
	acts           bool
	keys           []keyRule
	quota          Quota
	quotaOf        func(kms.KeySpec) Quota
	quotaFor       func(in any) Quota // nil where the parameters do not decide
	there          func(in any) (region string, quotas []Quota)
	decode         func(body []byte) (any, error)
	check          func(in any, now int64) error
	dryRun         func(in any) bool
	grantTokens    func(in any) []string
	recipient      func(in any) []byte
	resource       func(r *Request, in any) (arn, shown string)
	also           func(in any) []string
	alias          func(in any) string
	own            func(in any, s *kms.Service) bool
	conditions     func(in any) func(key string) []string
	params         func(in any, p *audit.Params)
	read           func(context.Context, *Request, any) (output, error) // Act, too
	write          func(context.Context, *Request, any) (fsm.Args, output, error)
	repeat         func(*Request, *fsm.Once) (output, error)
	resourcesEmpty bool
	eventSource    string // CloudTrail's name of the service
}

// keyRule is a KeyRule without its type.
type keyRule struct {
	id           func(in any) string
	blob         func(in any) []byte
	related      func(in any) string // nil where the call names the key
	optional     bool
	aliases      bool
	action       string
	listed       bool // the row's Identity decides alone
	crossAccount bool
	daysUnused   bool
	usage        kms.KeyUsage
	origin       kms.Origin
	states       States
	primary      bool
	copies       func(k *Key, in any) Elsewhere // nil where the call makes no key of it
	granted      func(in any) fsm.GrantQuery
	retires      func(in any) GrantRef
	managed      Managed
	conditions   func(in any) func(key string) []string
}

// output renders an answer's body; nil is an empty body.
type output func(dst []byte) []byte

// replySize is the first allocation of an answer's body, in bytes: enough for a
// data key and its ciphertext.
const replySize = 1024

func (o output) body() []byte {
	if o == nil {
		return nil
	}
	return o(make([]byte, 0, replySize))
}

// Row erases the types. It panics when the description contradicts itself, which
// a test of the table finds.
func (o Op[In, Out]) Row() *Row {
	_, decodes := any(new(In)).(wire.Request)
	guarded := o.Identity != "" || o.Operator != "" || len(o.Keys) > 0
	if !decodes || guarded == (o.Open || o.Public) || o.kinds() != 1 || (o.Local && o.Operator == "") ||
		(o.Check != nil && o.CheckAt != nil) || len(o.Keys) > maxKeys || (o.Quota != "" && !o.Quota.Known()) {
		panic("kmsd: operation " + o.Name + " is not described completely")
	}
	row := &Row{
		Service: o.Service, Name: o.Name, Write: o.Write != nil, Once: o.Once, Open: o.Open, Public: o.Public, Local: o.Local,
		Identity: o.Identity, Operator: o.Operator,
		HasDryRun: o.DryRun != nil, named: o.Resource != nil, makes: o.Makes, bounded: o.Bounded, onAlias: o.Alias != nil, callerAccount: o.CallerAccount, acts: o.Act != nil, resourcesEmpty: o.Identity != "",
		eventSource: eventSource(o.Service), quota: o.quota(), quotaOf: o.QuotaOf, quotaFor: eraseQuota(o.QuotaFor), there: eraseThere(o.There),
		decode: func(body []byte) (any, error) {
			in := new(In)
			return in, decodeError(any(in).(wire.Request).Decode(body))
		},
		check:       o.check,
		dryRun:      func(in any) bool { return call(o.DryRun, in) },
		grantTokens: func(in any) []string { return call(o.GrantTokens, in) },
		recipient:   func(in any) []byte { return call(o.Recipient, in) },
		resource:    eraseResource(o.Resource),
		also:        func(in any) []string { return call(o.Also, in) },
		alias:       func(in any) string { return call(o.Alias, in) },
		own:         func(in any, s *kms.Service) bool { return o.Own != nil && o.Own(in.(*In), s) },
		conditions:  eraseConditions(o.Conditions),
		params: func(in any, p *audit.Params) {
			if o.Params != nil {
				o.Params(in.(*In), p)
			}
		},
	}
	for _, k := range o.Keys {
		row.CrossAccount = row.CrossAccount || k.CrossAccount
		row.keys = append(row.keys, k.erase(o.Identity))
	}
	row.setHandlers(o.handlers())
	return row
}

func (o *Op[In, Out]) check(in any, now int64) error {
	if o.CheckAt != nil {
		return o.CheckAt(in.(*In), now)
	}
	return call(o.Check, in)
}

// kinds counts the handlers that do the operation's work.
func (o Op[In, Out]) kinds() (n int) {
	for _, set := range []bool{o.Read != nil, o.Write != nil, o.Act != nil} {
		if set {
			n++
		}
	}
	return n
}

// quota is the quota of every call, "" where there is none or keys decide.
func (o Op[In, Out]) quota() Quota {
	if q := Quota(o.Name); o.Quota == "" && o.Service == kmsService && q.Known() {
		return q
	}
	return o.Quota
}

// eventSource is CloudTrail's name of a service.
func eventSource(service string) string {
	if service == admin.ServiceName {
		return audit.SourceAdmin
	}
	return service + ".amazonaws.com"
}

// Actions are the permissions that the operation needs, in the order in which
// they are checked.
func (r *Row) Actions() []string {
	var out []string
	if r.Identity != "" {
		out = append(out, r.Identity)
	}
	if r.Operator != "" {
		out = append(out, r.Operator)
	}
	for _, k := range r.keys {
		if !slices.Contains(out, k.action) {
			out = append(out, k.action)
		}
	}
	return out
}

// call runs f on the typed input, or returns zero where there is no f.
func call[In, R any](f func(*In) R, in any) (zero R) {
	if f == nil {
		return zero
	}
	return f(in.(*In))
}

func (k KeyRule[In]) erase(identity string) keyRule {
	rule := keyRule{
		id:         func(in any) string { return call(k.ID, in) },
		conditions: eraseConditions(k.Conditions),
		optional:   k.Optional, aliases: k.Aliases, action: cmp.Or(k.Action, identity), listed: k.Action == "", crossAccount: k.CrossAccount, daysUnused: k.DaysUnused, usage: k.Usage, origin: k.Origin, states: k.States, primary: k.Primary, managed: k.Managed,
	}
	if k.Blob != nil {
		rule.blob = func(in any) []byte { return k.Blob(in.(*In)) }
	}
	if k.Related != nil {
		rule.related = func(in any) string { return k.Related(in.(*In)) }
	}
	if k.Copies != nil {
		rule.copies = func(key *Key, in any) Elsewhere { return k.Copies(key, in.(*In)) }
	}
	if k.Granted != nil {
		rule.granted = func(in any) fsm.GrantQuery { return k.Granted(in.(*In)) }
	}
	if k.Retires != nil {
		rule.retires = func(in any) GrantRef { return k.Retires(in.(*In)) }
	}
	return rule
}

func eraseQuota[In any](f func(*In) Quota) func(any) Quota {
	if f == nil {
		return nil
	}
	return func(in any) Quota { return f(in.(*In)) }
}

func eraseThere[In any](f func(*In) (string, []Quota)) func(any) (string, []Quota) {
	if f == nil {
		return func(any) (string, []Quota) { return "", nil }
	}
	return func(in any) (string, []Quota) { return f(in.(*In)) }
}

func eraseResource[In any](f func(*Request, *In) (string, string)) func(*Request, any) (string, string) {
	if f == nil {
		return func(*Request, any) (string, string) { return "*", "*" }
	}
	return func(r *Request, in any) (string, string) { return f(r, in.(*In)) }
}

// eraseConditions binds a call's condition keys to its parameters.
func eraseConditions[In any](f func(*In, string) []string) func(in any) func(string) []string {
	if f == nil {
		return func(any) func(string) []string { return absent }
	}
	return func(in any) func(string) []string {
		return func(key string) []string { return f(in.(*In), key) }
	}
}

type handlers struct {
	read   func(context.Context, *Request, any) (output, error)
	write  func(context.Context, *Request, any) (fsm.Args, output, error)
	repeat func(*Request, *fsm.Once) (output, error)
}

func (r *Row) setHandlers(h handlers) { r.read, r.write, r.repeat = h.read, h.write, h.repeat }

func (o Op[In, Out]) handlers() handlers {
	read := o.Read
	if o.Act != nil {
		read = o.Act
	}
	return handlers{
		read: func(ctx context.Context, r *Request, in any) (output, error) {
			out, err := read(ctx, r, in.(*In))
			return render(out), err
		},
		write: func(ctx context.Context, r *Request, in any) (fsm.Args, output, error) {
			args, out, err := o.Write(ctx, r, in.(*In))
			return args, render(out), err
		},
		repeat: func(r *Request, once *fsm.Once) (output, error) {
			if o.Repeat == nil {
				return nil, nil
			}
			out, err := o.Repeat(r, once)
			return render(out), err
		},
	}
}

func render[Out any](out *Out) output {
	if out == nil {
		return nil
	}
	switch out := any(out).(type) {
	case wire.Response:
		return out.AppendJSON
	case wire.XMLResponse:
		return out.AppendXML
	case *None:
		return nil
	}
	panic(fmt.Sprintf("kmsd: %T cannot be rendered", out))
}

// decodeError turns the wire package's errors into the answers for the client.
func decodeError(err error) error {
	if err == nil {
		return nil
	}
	var serialization *wire.SerializationError
	var constraint *wire.ConstraintError
	switch {
	case errors.As(err, &serialization):
		return &kms.Error{Code: kms.CodeSerialization, Message: serialization.Message}
	case errors.As(err, &constraint):
		return &kms.Error{Code: kms.CodeValidation, Message: constraint.Error()}
	}
	return err
}

package service

import (
	"maps"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// Question asks how one permission of a call would be decided that nobody makes.
type Question struct {
	// Principal is who would call: the ARN of a user, a role, a session or an
	// account's root user, a unique id, or a service principal. A role stands for any
	// session of it.
	Principal string
	Action    string // "kms:Decrypt", in any case
	// Resource is the ARN of what the action is on, or "*".
	Resource string
	// Context has condition keys, in lower case. They go before what the state says;
	// one without values is absent.
	Context map[string][]string
	// EncryptionContext is that of Context, with the names as they are written: grants
	// tell their case apart, and conditions do not.
	EncryptionContext map[string]string
}

// Explanation is how the permission is decided, and why.
type Explanation struct {
	Principal kms.Principal
	// Action and Resource are what the policies were asked for: the action as it is
	// spelt, the key of an alias.
	Action, Resource string
	// Open tells that no policy is asked: whoever has credentials may.
	Open     bool
	Decision iam.Decision
	// Grant is the one that allows, nil where none does; Grantee is whom it names.
	Grant   *fsm.Grant
	Grantee string
	// Message is that of the AccessDeniedException, empty where it is allowed.
	Message string
	// Decisive is the policy whose statement decided, nil without one; Statement is
	// that statement, as JSON.
	Decisive  *Consulted
	Statement string
	// Consulted are the policies that had a say, in the order identity, groups,
	// boundary, key or role.
	Consulted []Consulted
	// Absent are the condition keys, in lower case, that policies asked for and that
	// neither state nor question has, sorted.
	Absent []string
}

// Explain decides what the question asks as Do would, from the state and the time of
// the present call. It asks policies alone: a real call can be refused for the state of
// its key or for its parameters besides. What only a real call or a session has is
// absent unless the question names it: parameters, source, and a session's policies,
// tags and age. Errors: NotFoundException for a principal, key, alias or role that does
// not exist; ValidationException for what nobody can ask; those of the key's
// identifier.
func (r *Request) Explain(q *Question) (*Explanation, error) {
	principal, err := suppose(r.View, q.Principal)
	if err != nil {
		return nil, err
	}
	if principal.Service != nil {
		if principal, err = q.through(r.View, principal); err != nil {
			return nil, err
		}
	}
	x := &explainer{action: r.service.actionNamed(q.Action), out: &Explanation{Principal: principal, Resource: q.Resource}}
	x.out.Action = x.action.name
	x.call = &Request{
		Call: &Call{Principal: principal}, View: r.View, Now: r.Now, service: r.service, row: x.action.supposed(),
		hypothesis: &hypothesis{given: q.Context, context: q.EncryptionContext, absent: map[string]bool{}},
	}
	if err := x.decide(); err != nil {
		return nil, err
	}
	if !x.out.Open {
		err = x.consult()
	}
	x.out.Absent = slices.Sorted(maps.Keys(x.call.hypothesis.absent))
	return x.out, err
}

// hypothesis is what a question says of a call that nobody makes.
type hypothesis struct {
	given   map[string][]string
	context map[string]string // the encryption context
	absent  map[string]bool
}

// need is what a call would need of a grant. A new grant would be as the question's
// condition keys say.
func (h *hypothesis) need(operation string) fsm.GrantQuery {
	q := fsm.GrantQuery{Operations: kms.GrantOperation(operation), Context: ContextPairs(h.context), Whole: true}
	switch q.Operations {
	case kms.GrantDescribeKey:
		q.AnyContext = true
	case kms.GrantCreateGrant:
		for _, name := range h.given["kms:grantoperations"] {
			q.Operations |= kms.GrantOperation(name)
		}
		q.Whole = slices.Equal(h.given["kms:grantconstrainttype"], []string{"EncryptionContextEquals"})
		if source := h.given["kms:grantconstraintsourcearn"]; len(source) == 1 {
			q.Source = source[0]
		}
	}
	return q
}

// ofCallsAlone are condition keys that the state alone would answer wrongly.
var ofCallsAlone = map[string]bool{"aws:securetransport": true, "aws:tokenissuetime": true}

func (h *hypothesis) values(c *conditions, name string) ([]string, bool) {
	values, given := h.given[name]
	if !given && !ofCallsAlone[name] {
		values = c.values(name)
	}
	if len(values) == 0 {
		h.absent[name] = true
	}
	return values, len(values) > 0
}

// An action is what the rows know of a permission.
type action struct {
	name string
	row  *Row     // nil for an action of no operation
	rule *keyRule // nil where none is checked on a key
	open bool
}

// roleActions are asked of the trust policy of a role.
var roleActions = []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"}

// operatorPrefix starts the actions on the cluster.
const operatorPrefix = "kmsd:"

func (s *Service) actionNamed(name string) action {
	for _, known := range roleActions {
		if strings.EqualFold(known, name) {
			return action{name: known}
		}
	}
	for _, row := range s.rows {
		if own := row.Service + ":" + row.Name; (row.Open || row.Public) && strings.EqualFold(own, name) {
			return action{name: own, row: row, open: true}
		}
		for _, known := range row.Actions() {
			if strings.EqualFold(known, name) {
				return action{known, row, row.rule(known), false}
			}
		}
	}
	return action{name: name}
}

// rule returns the first rule of a key that has the action, nil without one.
func (r *Row) rule(action string) *keyRule {
	for i := range r.keys {
		if r.keys[i].action == action {
			return &r.keys[i]
		}
	}
	return nil
}

// supposed is the row of a call without parameters.
func (a *action) supposed() *Row {
	row := new(Row)
	if a.row != nil {
		row.makes, row.bounded, row.callerAccount = a.row.makes, a.row.bounded, a.row.callerAccount
	}
	return row
}

// tagKey is asked on no key where CreateKey brings tags.
const tagKey = "kms:TagResource"

// onNothing tells whether calls ask for the action without a resource.
func (a *action) onNothing() bool {
	return a.row == nil || a.name == tagKey || a.row.Identity == a.name
}

// explainer works one explanation out.
type explainer struct {
	action action
	call   *Request // the supposed one
	arn    kms.ARN  // the resource; zero for "*"
	// guard is the policy that names principals: the key's or the role's.
	guard *Consulted
	out   *Explanation
}

// decide finds out what the action is on, which decides whose policies are asked.
func (x *explainer) decide() error {
	var ok bool
	if x.arn, ok = kms.ParseARN(x.out.Resource); !ok && x.out.Resource != "*" {
		return invalid("The value " + x.out.Resource + " at 'resource' is neither an ARN nor *.")
	}
	x.call.Region = x.arn.Region
	isAlias := strings.HasPrefix(x.arn.Resource, kms.AliasPrefix)
	isKey := x.arn.Service == kmsService && (isAlias || strings.HasPrefix(x.arn.Resource, "key/"))
	a := &x.action
	onKey := isKey && (a.row == nil || a.rule != nil && !(isAlias && a.row.onAlias))
	switch {
	case x.call.Principal.IsService() && !onKey:
		return invalid("A service has no rights but on keys: the resource must be the ARN of a key or of an alias.")
	case a.open:
		x.out.Open, x.out.Decision.Allowed = true, true
		return nil
	case strings.HasPrefix(strings.ToLower(a.name), operatorPrefix):
		return x.onCluster()
	case slices.Contains(roleActions, a.name):
		return x.onRole()
	case onKey:
		return x.onKey()
	case a.rule != nil && !isKey && !(x.out.Resource == "*" && a.onNothing()):
		return x.elsewhere("the ARN of a key or of an alias")
	case a.row != nil && a.rule == nil && !a.row.named && x.out.Resource != "*":
		return x.elsewhere("*")
	}
	return x.onIdentity()
}

// elsewhere refuses a question that no call asks.
func (x *explainer) elsewhere(where string) error {
	return invalid("The action " + x.out.Action + " is not asked on " + x.out.Resource + ", but on " + where + ".")
}

// conclude takes a decision over. refusal makes the answer that it has where it is
// against the caller.
func (x *explainer) conclude(decision iam.Decision, refusal func() error) {
	x.out.Decision = decision
	if !decision.Allowed {
		e, _ := kms.AsError(refusal())
		x.out.Message = e.Message
	}
}

func (x *explainer) onKey() error {
	r, rule := x.call, keyRule{action: x.action.name, aliases: true}
	if x.action.rule != nil {
		rule = *x.action.rule
	}
	rule.conditions = func(any) func(string) []string { return absent }
	if rule.granted != nil {
		rule.granted = func(any) fsm.GrantQuery { return r.hypothesis.need(strings.TrimPrefix(rule.action, "kms:")) }
	}
	var key Key
	if err := r.resolveARN(&key, &rule, x.out.Resource); err != nil {
		return err
	}
	switch {
	case key.Key == nil && key.Alias != "":
		return aliasNotFound(x.out.Resource)
	case key.Key == nil, !accountActive(r.View, key.Account):
		return keyNotFound(x.out.Resource)
	}
	decision, err := r.service.decideKey(r, &rule, &key, nil)
	if err != nil {
		return err
	}
	x.out.Resource = key.Key.ARN()
	x.guard = &Consulted{Kind: KindKey, Name: "default", Holder: x.out.Resource, ground: iam.ByKeyPolicy, hash: key.PolicyHash}
	if decision.Ground == iam.ByGrant {
		x.out.Grant, _ = r.View.Grant(key.Region, key.ID, decision.Policy)
		x.out.Grantee = ShowPrincipal(r.View, x.out.Grant.GranteeName())
	}
	x.conclude(decision, func() error { return r.keyRefusal(&rule, &key, decision) })
	return nil
}

func (x *explainer) onRole() error {
	r := x.call
	if x.arn.Service != "iam" || !strings.HasPrefix(x.arn.Resource, "role/") {
		return x.elsewhere("the ARN of a role")
	}
	role, ok := r.Role(x.out.Resource)
	if !ok {
		return notThere("role", x.out.Resource)
	}
	decision, err := r.service.decideRole(r, x.action.name, role, absent)
	if err != nil {
		return err
	}
	x.guard = &Consulted{Kind: KindTrust, Name: "trust policy", Holder: role.ARN(), ground: iam.ByKeyPolicy, hash: role.Trust}
	if err := r.CheckAssumes(); err != nil {
		x.conclude(iam.Decision{}, func() error { return err })
		return nil
	}
	x.conclude(decision, func() error { return r.RoleDenied(x.action.name, role.ARN()) })
	return nil
}

func (x *explainer) onCluster() error {
	r, arn := x.call, x.call.clusterARN()
	if x.out.Resource != "*" && x.out.Resource != arn {
		return x.elsewhere(arn)
	}
	decision, err := r.service.decideOperator(r, x.action.name, arn)
	if err != nil {
		return err
	}
	x.out.Resource = arn
	x.conclude(decision, func() error { return r.refusal(decision, x.action.name, " on resource: "+arn) })
	return nil
}

// iamRegion is where calls of IAM are.
const iamRegion = "us-east-1"

func (x *explainer) onIdentity() error {
	r, where := x.call, " on resource: "+x.out.Resource
	switch {
	case kms.ValidAccount(x.arn.Account) && x.arn.Account != r.Principal.Account:
		return invalid("The resource " + x.out.Resource + " is of another account than the principal, where the action " + x.action.name + " does not reach.")
	case x.action.name == tagKey:
		where = ""
	case strings.HasPrefix(x.action.name, "iam:"):
		r.Region = iamRegion
		if shown := x.target(); shown != "" {
			where = " on resource: " + shown
		}
	}
	decision, err := r.service.decideIdentity(r, r.Region, absent, x.action.name, x.out.Resource)
	if err != nil {
		return err
	}
	x.conclude(decision, func() error { return r.refusal(decision, x.action.name, where) })
	return nil
}

// target tells the conditions which user, group, role or policy the call is on, and
// returns how a refusal of IAM's names it; empty where it shows the resource.
func (x *explainer) target() (shown string) {
	noun, path, _ := strings.Cut(x.arn.Resource, "/")
	kind, ok := kinds[noun]
	name := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case name != "" && noun == "policy":
		return noun + " " + x.targetPolicy(name)
	case !ok || name == "" || x.call.row.makes:
		return ""
	}
	if i, ok := named(x.call.View, x.arn.Account, kind, name); ok && i.ARN() == x.out.Resource {
		x.call.SetTarget(i)
	}
	return noun + " " + name
}

// targetPolicy is target for a managed policy, which refusals name by its ARN once it is
// there.
func (x *explainer) targetPolicy(name string) (shown string) {
	if x.call.row.makes {
		return name
	}
	if p, ok := x.call.View.ManagedPolicy(x.out.Resource); ok {
		x.call.Target = Target{Tags: p.Tags}
	}
	return x.out.Resource
}

func invalid(message string) error { return &kms.Error{Code: kms.CodeValidation, Message: message} }

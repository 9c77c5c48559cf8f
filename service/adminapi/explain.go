package adminapi

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/admin"
)

// explainRows are the questions of an operator about decisions. An answer shows the
// policies of every account; nothing else of the admin API does. The record has the
// names of the condition keys alone: their values can be those of encryption contexts
// that nobody sent.
func explainRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.ExplainRequest, wire.ExplainResponse]{
			Service: wire.ServiceName, Name: "Explain", Operator: "kmsd:Explain",
			Params: func(in *wire.ExplainRequest, p *audit.Params) {
				p.String("principalArn", in.Principal)
				p.String("action", in.Action)
				p.String("resource", in.Resource)
				p.Strings("contextKeys", slices.Sorted(maps.Keys(in.Context)))
			},
			Read: explain,
		}.Row(),
	}
}

// contextPrefix starts the condition keys of pairs of the encryption context.
const contextPrefix = "kms:EncryptionContext:"

func explain(_ context.Context, r *service.Request, in *wire.ExplainRequest) (*wire.ExplainResponse, error) {
	q := &service.Question{Principal: in.Principal, Action: in.Action, Resource: in.Resource, Context: make(map[string][]string, len(in.Context)), EncryptionContext: map[string]string{}}
	for key, values := range in.Context {
		q.Context[strings.ToLower(key)] = values
		if name := key[min(len(key), len(contextPrefix)):]; len(values) == 1 && strings.EqualFold(key[:len(key)-len(name)], contextPrefix) {
			q.EncryptionContext[name] = values[0]
		}
	}
	e, err := r.Explain(q)
	if err != nil {
		return nil, err
	}
	p, d := &e.Principal, &e.Decision
	out := &wire.ExplainResponse{
		Allowed: d.Allowed, Explicit: d.Decided(), Ground: d.Ground.String(), Message: e.Message,
		Principal: wire.PrincipalSeen{Type: string(p.Type), ARN: p.ARN, UniqueID: p.UniqueID},
		Action:    e.Action, Resource: e.Resource, Policies: []wire.PolicySay{}, AbsentKeys: e.Absent,
	}
	for i := range e.Consulted {
		c := &e.Consulted[i]
		out.Policies = append(out.Policies, wire.PolicySay{Kind: policyKinds[c.Kind], Policy: c.Name, Holder: c.Holder, Allows: c.Allows, Denies: c.Denies})
	}
	if c := e.Decisive; c != nil {
		out.Statement = &wire.Statement{Policy: c.Name, Holder: c.Holder, Index: d.Statement, Sid: d.Sid, Text: json.RawMessage(e.Statement)}
	}
	if g := e.Grant; g != nil {
		out.Grant = &wire.GrantSeen{ID: g.ID, Name: g.Name, Grantee: e.Grantee, Operations: g.Operations.Names()}
	}
	return out, nil
}

var policyKinds = map[service.PolicyKind]string{
	service.KindIdentity: wire.PolicyIdentity, service.KindBoundary: wire.PolicyBoundary, service.KindKey: wire.PolicyKey, service.KindTrust: wire.PolicyTrust,
}

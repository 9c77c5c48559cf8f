package kmsapi

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func (a *api) grantRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.CreateGrantRequest, wire.CreateGrantResponse]{
			Service: serviceName, Name: "CreateGrant", Once: true,
			Keys: []service.KeyRule[wire.CreateGrantRequest]{{
				ID: func(in *wire.CreateGrantRequest) string { return in.KeyId }, Action: "kms:CreateGrant", CrossAccount: true, States: service.Grantable,
				Granted: grantedOn, Conditions: grantConditions,
			}},
			Check:       checkCreateGrant,
			DryRun:      func(in *wire.CreateGrantRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.CreateGrantRequest) []string { return in.GrantTokens },
			Params:      createGrantParams,
			Write:       a.createGrant, Repeat: a.createdGrant,
		}.Row(),
		service.Op[wire.ListGrantsRequest, wire.ListGrantsResponse]{
			Service: serviceName, Name: "ListGrants",
			Keys: []service.KeyRule[wire.ListGrantsRequest]{{
				ID: func(in *wire.ListGrantsRequest) string { return in.KeyId }, Action: "kms:ListGrants", CrossAccount: true, States: service.AnyState,
				Conditions: func(_ *wire.ListGrantsRequest, key string) []string { return forAWSResource(key) },
			}},
			Check: checkListGrants,
			Params: func(in *wire.ListGrantsRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				p.OptString("grantId", in.GrantId)
				p.OptString("granteePrincipal", in.GranteePrincipal)
				p.OptString("granteeServicePrincipal", in.GranteeServicePrincipal)
				audit.OptInt(p, "limit", in.Limit)
				p.OptString("marker", in.Marker)
			},
			Read: listGrants,
		}.Row(),
		service.Op[wire.ListRetirableGrantsRequest, wire.ListGrantsResponse]{
			Service: serviceName, Name: "ListRetirableGrants", Identity: "kms:ListRetirableGrants",
			Check: checkListRetirable,
			Own: func(in *wire.ListRetirableGrantsRequest, s *kms.Service) bool {
				return s.Is(text(in.RetiringServicePrincipal))
			},
			Params: func(in *wire.ListRetirableGrantsRequest, p *audit.Params) {
				audit.OptInt(p, "limit", in.Limit)
				p.OptString("marker", in.Marker)
				p.OptString("retiringPrincipal", in.RetiringPrincipal)
				p.OptString("retiringServicePrincipal", in.RetiringServicePrincipal)
			},
			Read: listRetirableGrants,
		}.Row(),
		service.Op[wire.RetireGrantRequest, service.None]{
			Service: serviceName, Name: "RetireGrant", Once: true,
			Keys: []service.KeyRule[wire.RetireGrantRequest]{{
				ID: func(in *wire.RetireGrantRequest) string { return text(in.KeyId) }, Action: "kms:RetireGrant", CrossAccount: true, States: service.AnyState,
				Retires: func(in *wire.RetireGrantRequest) service.GrantRef {
					return service.GrantRef{ID: text(in.GrantId), Token: text(in.GrantToken)}
				},
			}},
			Check:  checkRetire,
			DryRun: func(in *wire.RetireGrantRequest) bool { return isTrue(in.DryRun) },
			Params: func(in *wire.RetireGrantRequest, p *audit.Params) {
				p.OptString("keyId", in.KeyId)
				p.OptString("grantId", in.GrantId)
			},
			Write: retireGrant,
		}.Row(),
		service.Op[wire.RevokeGrantRequest, service.None]{
			Service: serviceName, Name: "RevokeGrant", Once: true,
			Keys: []service.KeyRule[wire.RevokeGrantRequest]{{
				ID: func(in *wire.RevokeGrantRequest) string { return in.KeyId }, Action: "kms:RevokeGrant", CrossAccount: true, States: service.AnyState,
				Conditions: func(_ *wire.RevokeGrantRequest, key string) []string { return forAWSResource(key) },
			}},
			Check:  func(in *wire.RevokeGrantRequest) error { return checkGrantID(in.GrantId) },
			DryRun: func(in *wire.RevokeGrantRequest) bool { return isTrue(in.DryRun) },
			Params: func(in *wire.RevokeGrantRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				p.String("grantId", in.GrantId)
			},
			Write: revokeGrant,
		}.Row(),
	}
}

// The bounds of a grant's encryption context constraint (AWS: GrantConstraints).
const (
	maxConstraintPairs = 8
	maxConstraintValue = 384 // characters
)

// checkCreateGrant checks what the parameters must be together (AWS: CreateGrant).
func checkCreateGrant(in *wire.CreateGrantRequest) error {
	retiring := in.RetiringPrincipal != nil || in.RetiringServicePrincipal != nil
	switch {
	case len(in.Operations) == 0:
		return invalid("Operations must not be empty.")
	case (in.GranteePrincipal == nil) == (in.GranteeServicePrincipal == nil):
		return invalid("You must specify either GranteePrincipal or GranteeServicePrincipal, but not both.")
	case in.RetiringPrincipal != nil && in.RetiringServicePrincipal != nil:
		return invalid("You can specify either RetiringPrincipal or RetiringServicePrincipal, but not both.")
	case in.GranteeServicePrincipal != nil && (sourceConstraint(in.Constraints) == "" || !retiring):
		return invalid("When you specify GranteeServicePrincipal, you must also specify a SourceArn grant constraint and a RetiringPrincipal or a RetiringServicePrincipal.")
	}
	return checkConstraints(in.Constraints)
}

func checkConstraints(c *wire.GrantConstraints) error {
	if c == nil {
		return nil
	}
	if c.EncryptionContextEquals != nil && c.EncryptionContextSubset != nil {
		return invalid("You can specify either EncryptionContextEquals or EncryptionContextSubset, but not both.")
	}
	_, pairs := contextConstraint(c)
	if len(pairs) > maxConstraintPairs {
		return invalid("A grant constraint can include up to 8 encryption context pairs.")
	}
	for _, value := range pairs {
		if utf8.RuneCountInString(value) > maxConstraintValue {
			return invalid("The encryption context value in a grant constraint cannot exceed 384 characters.")
		}
	}
	return nil
}

// grantIDSize is the length of a grant's id, in hexadecimal digits.
const grantIDSize = 64

func checkGrantID(id string) error {
	if len(id) != grantIDSize || strings.Trim(id, "0123456789abcdef") != "" {
		return &kms.Error{Code: kms.CodeInvalidGrantID, Message: "The grant ID is not valid."}
	}
	return nil
}

func checkListGrants(in *wire.ListGrantsRequest) error {
	switch {
	case in.GranteePrincipal != nil && in.GranteeServicePrincipal != nil:
		return invalid("You can specify either GranteePrincipal or GranteeServicePrincipal, but not both.")
	case in.GrantId != nil:
		return checkGrantID(*in.GrantId)
	}
	return nil
}

// forServices refuses a parameter that only services may use.
func forServices(r *service.Request, name string, sent *string) error {
	if sent != nil && !r.Principal.IsService() {
		return invalid(name + " can be used by service principals only.")
	}
	return nil
}

func checkListRetirable(in *wire.ListRetirableGrantsRequest) error {
	if (in.RetiringPrincipal == nil) == (in.RetiringServicePrincipal == nil) {
		return invalid("You must specify either RetiringPrincipal or RetiringServicePrincipal, but not both.")
	}
	return nil
}

func checkRetire(in *wire.RetireGrantRequest) error {
	switch {
	case in.GrantToken != nil && in.KeyId == nil && in.GrantId == nil:
		return nil
	case in.GrantToken != nil || in.KeyId == nil || in.GrantId == nil:
		return invalid("You must specify either GrantToken, or both KeyId and GrantId.")
	}
	return checkGrantID(*in.GrantId)
}

func createGrantParams(in *wire.CreateGrantRequest, p *audit.Params) {
	p.String("keyId", in.KeyId)
	if c := in.Constraints; c != nil {
		p.Object("constraints", func(p *audit.Params) {
			p.Map("encryptionContextSubset", c.EncryptionContextSubset)
			p.Map("encryptionContextEquals", c.EncryptionContextEquals)
			p.OptString("sourceArn", c.SourceArn)
		})
	}
	p.Strings("operations", in.Operations)
	p.OptString("granteePrincipal", in.GranteePrincipal)
	p.OptString("granteeServicePrincipal", in.GranteeServicePrincipal)
	p.OptString("retiringPrincipal", in.RetiringPrincipal)
	p.OptString("retiringServicePrincipal", in.RetiringServicePrincipal)
	p.OptString("name", in.Name)
}

// grantedOn is what a grant must have that lets its grantee make the new one: all of
// its operations, and no wider constraints (AWS KMS: "Granting CreateGrant permission").
func grantedOn(in *wire.CreateGrantRequest) fsm.GrantQuery {
	constraint, pairs := contextConstraint(in.Constraints)
	return fsm.GrantQuery{
		Operations: kms.GrantCreateGrant | operationsOf(in), Source: sourceConstraint(in.Constraints),
		Context: service.ContextPairs(pairs), Whole: constraint == fsm.ContextEquals,
	}
}

// grantConditions has the keys of CreateGrant.
func grantConditions(in *wire.CreateGrantRequest, key string) []string {
	constraint, pairs := contextConstraint(in.Constraints)
	switch key {
	case "kms:grantconstrainttype":
		return constraintTypes[constraint]
	case "kms:grantconstraintsourcearn":
		return present(sourceConstraint(in.Constraints))
	case "kms:grantoperations":
		return in.Operations
	case "kms:granteeprincipal":
		return present(text(in.GranteePrincipal))
	case "kms:granteeserviceprincipal":
		return present(text(in.GranteeServicePrincipal))
	case "kms:retiringprincipal":
		return present(text(in.RetiringPrincipal))
	case "kms:retiringserviceprincipal":
		return present(text(in.RetiringServicePrincipal))
	case "kms:encryptioncontextkeys":
		return slices.Sorted(maps.Keys(pairs))
	}
	if name, ok := strings.CutPrefix(key, "kms:encryptioncontext:"); ok {
		return pairNamed(pairs, name)
	}
	return forAWSResource(key)
}

var constraintTypes = map[fsm.GrantConstraint][]string{
	fsm.ContextEquals: {"EncryptionContextEquals"}, fsm.ContextSubset: {"EncryptionContextSubset"},
}

// forAWSResource is kms:GrantIsForAWSResource, where an operation has it; the pipeline
// knows which calls are made by services.
func forAWSResource(key string) []string { return parameter(key, "kms:grantisforawsresource", "false") }

func present(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

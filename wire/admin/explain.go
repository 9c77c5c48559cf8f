package admin

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/wire"
)

// The bounds of an ExplainRequest.
const (
	MaxContextKeys   = 50
	MaxContextValues = 50
	maxContextKey    = 512  // characters
	maxContextValue  = 2048 // characters
)

// ExplainRequest is POST /v1/explain: how would a permission be decided, and why?
type ExplainRequest struct {
	// Principal is the ARN of a user, a role (any session of it), a session or an
	// account's root user, or a unique id: 12 to 2,048 printable ASCII characters.
	Principal string `json:"principal"`
	Action    string `json:"action"` // "kms:Decrypt": at most 128 characters
	// Resource is the ARN of what the action is on, or "*": at most 2,048 characters.
	Resource string `json:"resource"`
	// Context has condition keys with their values, which go before what the state
	// says; a key without values is absent. At most 50 keys of 512 characters, with 50
	// values of 2,048 each. Names differ in more than case.
	Context map[string][]string `json:"context,omitempty"`
}

// The kinds of policies, as PolicySay has them.
const (
	PolicyIdentity = "identity"
	PolicyBoundary = "boundary"
	PolicyKey      = "key"
	PolicyTrust    = "trust"
)

// ExplainResponse is a decision and what it rests on. It shows policies of every
// account.
type ExplainResponse struct {
	Allowed bool `json:"allowed"`
	// Explicit tells that a statement decided: without one a grant allowed, or an
	// account's root user was allowed, or nobody allowed.
	Explicit bool `json:"explicit"`
	// Ground is the kind of policy that decided or should have allowed:
	// "identity-based policy", "resource-based policy", "permissions boundary",
	// "session policy", "grant". Absent where no policy had a say.
	Ground string `json:"ground,omitempty"`
	// Statement is the one that decided; absent without one.
	Statement *Statement `json:"statement,omitempty"`
	// Grant is the one that allows; absent where none does.
	Grant *GrantSeen `json:"grant,omitempty"`
	// Message is that of the AccessDeniedException; absent where it is allowed.
	Message   string        `json:"message,omitempty"`
	Principal PrincipalSeen `json:"principal"`
	// Action and Resource are what the policies were asked for: the action as it is
	// spelt, the key of an alias.
	Action   string `json:"action"`
	Resource string `json:"resource"`
	// Policies are those that had a say: the principal's own, its groups', its
	// boundary, then the key's or the role's.
	Policies []PolicySay `json:"policies"`
	// AbsentKeys are condition keys, in lower case, that policies asked for and that
	// neither the state nor the request has.
	AbsentKeys []string `json:"absentContextKeys,omitempty"`
}

// Statement is a statement of a policy.
type Statement struct {
	Policy string `json:"policy"`     // as in PolicySay
	Holder string `json:"attachedTo"` // as in PolicySay
	Index  int    `json:"index"`      // from 0
	Sid    string `json:"sid,omitempty"`
	// Text is the statement itself.
	Text json.RawMessage `json:"text"`
}

// GrantSeen is a grant that allows what was asked for.
type GrantSeen struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// Grantee is the ARN of whom the grant names: the principal, its role or its account.
	Grantee    string   `json:"granteePrincipal"`
	Operations []string `json:"operations"`
}

// PrincipalSeen is a principal as policies see it.
type PrincipalSeen struct {
	Type     string `json:"type"` // Root, IAMUser or AssumedRole
	ARN      string `json:"arn"`
	UniqueID string `json:"uniqueId"`
}

// PolicySay is a policy that had a say.
type PolicySay struct {
	Kind   string `json:"kind"`
	Policy string `json:"policy"` // an inline policy's name, or an ARN
	// Holder is the ARN of the user, group, role or key that has it.
	Holder string `json:"attachedTo"`
	// Allows and Denies tell what statements of this policy say, whatever others do.
	Allows bool `json:"allows"`
	Denies bool `json:"denies"`
}

var (
	rulePrincipal = wire.TextRule{Min: 12, Max: 2048, Pattern: wire.MustPattern("[!-~]+", "[!-~]+")}
	ruleAction    = wire.TextRule{Min: 3, Max: 128, Pattern: wire.MustPattern("[a-zA-Z0-9-]+:[a-zA-Z0-9]+", "[a-zA-Z0-9-]+:[a-zA-Z0-9]+")}
	ruleResource  = wire.TextRule{Min: 1, Max: 2048}
	// Values can be confidential: no message repeats them.
	ruleContextValue  = wire.TextRule{Max: maxContextValue, Hidden: true}
	ruleContextValues = wire.ListRule{Max: MaxContextValues, Element: &ruleContextValue}
	ruleContextKey    = wire.TextRule{Min: 3, Max: maxContextKey, Pattern: wire.MustPattern("[a-zA-Z0-9-]+:.+", "(?s)[a-zA-Z0-9-]+:.+"), Hidden: true}
)

// Decode implements wire.Request.
func (v *ExplainRequest) Decode(body []byte) error {
	var problem string
	v.Principal, v.Action, v.Resource = wire.Absent, wire.Absent, wire.Absent
	err := decode(body,
		func(c *wire.Checker) {
			c.RequiredText("principal", &v.Principal, &rulePrincipal)
			c.RequiredText("action", &v.Action, &ruleAction)
			c.RequiredText("resource", &v.Resource, &ruleResource)
			for _, key := range slices.Sorted(maps.Keys(v.Context)) {
				c.OptionalText("context", &key, &ruleContextKey)
				c.Texts("context", v.Context[key], &ruleContextValues)
			}
		},
		member{"principal", func(r *wire.Reader) { v.Principal = r.Text() }},
		member{"action", func(r *wire.Reader) { v.Action = r.Text() }},
		member{"resource", func(r *wire.Reader) { v.Resource = r.Text() }},
		member{"context", func(r *wire.Reader) { v.Context, problem = readContext(r) }},
	)
	if err == nil && problem != "" {
		err = &wire.SerializationError{Message: problem}
	}
	return emptied(v, err)
}

// readContext reads an object of lists of text, at most MaxContextKeys. It returns
// nil for null.
func readContext(r *wire.Reader) (context map[string][]string, problem string) {
	if !r.Object() {
		return nil, ""
	}
	context = map[string][]string{}
	seen := map[string]bool{}
	for r.Next() {
		name := string(r.Name())
		folded := strings.ToLower(name)
		values := r.Texts()
		switch {
		case seen[folded]:
			problem = messageTwice
		case values == nil:
			problem = messageNullValues
		case len(context) == MaxContextKeys:
			problem = messageTooManyKeys
		default:
			seen[folded] = true
			context[name] = values
		}
	}
	return context, problem
}

const (
	messageNullValues  = "Payload holds a condition key whose values are null"
	messageTooManyKeys = "Payload holds too many condition keys"
)

// AppendJSON implements wire.Response.
func (v *ExplainResponse) AppendJSON(dst []byte) []byte { return appendJSON(dst, v) }

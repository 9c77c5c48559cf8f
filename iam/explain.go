package iam

import (
	"bytes"
	"encoding/json"
)

// String names the kind of policy as AccessDeniedException does.
func (g Ground) String() string { return groundTexts[g] }

// Decided tells whether a statement decided, which Policy, Statement and Sid then
// name. Without one a grant allowed, or the root user was allowed, or nothing allowed
// anybody else.
func (d Decision) Decided() bool {
	return d.Explicit || d.Allowed && d.Ground != ByGrant && (d.Ground == ByKeyPolicy || d.Policy != "")
}

// Says tells whether statements of the policy allow, and deny, what the caller asks
// for, whatever other policies say. In a policy that names principals only the
// statements that name the caller, or its account, speak.
func (p *Policy) Says(r *Request, caller *Subject) (allows, denies bool) {
	for i := range p.statements {
		s := &p.statements[i]
		if p.kind != IdentityPolicy && s.names(caller) == 0 || !s.applies(r, p.kind) {
			continue
		}
		allows, denies = allows || !s.deny, denies || s.deny
	}
	return allows, denies
}

// StatementText returns a statement, counted from 0, of a policy document that Parse
// accepts, as JSON without white space.
func StatementText(document string, index int) string {
	var d struct{ Statement json.RawMessage }
	err := json.Unmarshal([]byte(document), &d)
	list := []json.RawMessage{d.Statement}
	if err == nil && d.Statement[0] == '[' {
		err = json.Unmarshal(d.Statement, &list)
	}
	var text bytes.Buffer
	if err == nil {
		err = json.Compact(&text, list[index])
	}
	if err != nil {
		panic("kmsd: a policy that was parsed: " + err.Error())
	}
	return text.String()
}

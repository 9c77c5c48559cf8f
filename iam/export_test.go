package iam

import "encoding/json"

// Render writes a policy anew from what was understood of its text.
func Render(text string) (string, error) {
	doc, err := parseDocument(text)
	if err != nil {
		return "", err
	}
	statements := []any{}
	for i := range doc.statements {
		statements = append(statements, doc.statements[i].render())
	}
	b, err := json.Marshal(map[string]any{"Version": doc.version, "Statement": statements})
	return string(b), err
}

func (c *clause) render() map[string]any {
	out := map[string]any{"Sid": c.sid, "Effect": c.effect}
	negate := func(name string, not bool) string {
		if not {
			return "Not" + name
		}
		return name
	}
	if c.hasPrincipal {
		byKind := map[string][]string{}
		for _, p := range c.principals {
			byKind[p.kind] = append(byKind[p.kind], p.value)
		}
		out[negate("Principal", c.notPrincipal)] = byKind
	}
	if c.hasAction {
		out[negate("Action", c.notAction)] = c.actions
	}
	if c.hasResource {
		out[negate("Resource", c.notResource)] = c.resources
	}
	conditions := map[string]map[string][]string{}
	for _, cmp := range c.conditions {
		if conditions[cmp.operator] == nil {
			conditions[cmp.operator] = map[string][]string{}
		}
		conditions[cmp.operator][cmp.key] = cmp.values
	}
	out["Condition"] = conditions
	return out
}

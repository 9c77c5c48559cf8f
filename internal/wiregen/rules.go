package main

import (
	"fmt"
	"slices"
	"strings"
)

// declareRule adds the constraints of a member to the plan and names them in the
// field.
func (p *plan) declareRule(s *structure, f *field) error {
	var rule string
	var err error
	f.rule = ruleName(f.shape)
	switch f.kind {
	case kindText:
		rule, err = textRule(f.shape, nil)
	case kindEnum:
		other := p.model.Shapes[listedEnum[s.name+"."+f.name]]
		if other != nil {
			f.rule = "rule" + s.name + f.name
		}
		rule, err = textRule(f.shape, other)
	case kindBlob:
		rule, err = blobRule(f.shape)
	case kindInt:
		rule, err = intRule(f.shape)
	case kindTexts:
		rule, err = p.listRule(f)
	case kindStructures:
		if f.shape.constrained() {
			rule, err = p.listRule(f)
			break
		}
		f.rule = ""
	default:
		f.rule = ""
		if f.shape.constrained() {
			err = fmt.Errorf("constraints on a %s are not supported", f.shape.Type)
		}
	}
	if err != nil || f.rule == "" {
		return err
	}
	return p.addRule(f.rule, rule)
}

// addRule refuses two rules of one name: shapes may differ in the case of their
// first letter alone.
func (p *plan) addRule(name, rule string) error {
	if present, ok := p.rules[name]; ok && present != rule {
		return fmt.Errorf("two shapes share the name %s", name)
	}
	p.rules[name] = rule
	return nil
}

// ruleName is the variable with a shape's constraints.
func ruleName(s *shape) string { return "rule" + upperFirst(s.name) }

// listing returns an enum's values in the order of messages.
func listing(s *shape) []string {
	out := slices.Clone(enumListing[s.name])
	for _, v := range s.Enum {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// textRule writes a wire.TextRule. listed is the enum that messages list instead
// of s; nil means s.
func textRule(s, listed *shape) (string, error) {
	var parts []string
	if s.Enum != nil {
		parts = append(parts, "Values: "+stringSlice(listing(s)))
	}
	if listed != nil {
		parts = append(parts, "Listed: "+stringSlice(listing(listed)))
	}
	parts = append(parts, bounds(s)...)
	if s.Pattern != "" {
		re2, err := translatePattern(s.Pattern)
		if err != nil {
			return "", err
		}
		parts = append(parts, fmt.Sprintf("Pattern: wire.MustPattern(%s, %s)", quote(s.Pattern), quote(re2)))
	}
	if s.Sensitive || hidden[s.name] {
		parts = append(parts, "Hidden: true")
	}
	return "wire.TextRule{" + strings.Join(parts, ", ") + "}", nil
}

func blobRule(s *shape) (string, error) {
	if s.Pattern != "" || s.Enum != nil {
		return "", fmt.Errorf("patterns and enums of blobs are not supported")
	}
	parts := bounds(s)
	if s.Sensitive {
		parts = append(parts, "Hidden: true")
	}
	return "wire.BlobRule{" + strings.Join(parts, ", ") + "}", nil
}

func intRule(s *shape) (string, error) {
	if s.Min == nil || s.Max == nil || s.Sensitive {
		return "", fmt.Errorf("integers need both bounds and may not be sensitive")
	}
	return "wire.IntRule{" + strings.Join(bounds(s), ", ") + "}", nil
}

func (p *plan) listRule(f *field) (string, error) {
	if f.shape.Sensitive {
		return "", fmt.Errorf("sensitive lists are not supported")
	}
	parts := bounds(f.shape)
	if f.kind == kindTexts && f.element.constrained() {
		name := ruleName(f.element)
		element, err := textRule(f.element, nil)
		if err != nil {
			return "", err
		}
		if err := p.addRule(name, element); err != nil {
			return "", err
		}
		parts = append(parts, "Element: &"+name)
	}
	return "wire.ListRule{" + strings.Join(parts, ", ") + "}", nil
}

func bounds(s *shape) []string {
	var parts []string
	if s.Min != nil && *s.Min != 0 {
		parts = append(parts, fmt.Sprintf("Min: %d", *s.Min))
	}
	if s.Max != nil {
		parts = append(parts, fmt.Sprintf("Max: %d", *s.Max))
	}
	return parts
}

func stringSlice(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return "[]string{" + strings.Join(quoted, ", ") + "}"
}

// quote prefers the raw form, in which a pattern can be read.
func quote(s string) string {
	if strings.Contains(s, `\`) && !strings.Contains(s, "`") {
		return "`" + s + "`"
	}
	return fmt.Sprintf("%q", s)
}

package main

import (
	"fmt"
	"maps"
	"slices"
)

// kind is what the generator knows about a member's type.
type kind int

const (
	kindText kind = iota
	kindEnum
	kindBlob
	kindBool
	kindInt
	kindTime
	kindTexts      // list of strings or enums
	kindStructures // list of structures
	kindMap        // map of strings
	kindCounts     // map of integers
	kindStructure
)

// plan is a model reduced to what is generated.
type plan struct {
	model      *model
	operations []*operation
	structures []*structure // sorted by name
	rules      map[string]string
}

type structure struct {
	name    string
	fields  []*field
	request bool   // the input of an operation
	input   bool   // read from requests
	output  bool   // written into responses
	nested  bool   // written inside of another structure
	wrapper string // of a query protocol's result
}

type field struct {
	name     string // in Go
	member   string // on the wire
	kind     kind
	shape    *shape
	element  *shape // of a list
	required bool
	rule     string // the variable with the constraints; empty if there are none
}

func newPlan(m *model, names []string) (*plan, error) {
	p := &plan{model: m, rules: map[string]string{}}
	found := map[string]*structure{}
	for _, name := range names {
		op := m.Operations[name]
		if op == nil {
			return nil, fmt.Errorf("operation %q is not in the model", name)
		}
		p.operations = append(p.operations, op)
		in, err := p.reach(found, m.input(op), func(s *structure) *bool { return &s.input })
		if err != nil {
			return nil, fmt.Errorf("input of %s: %w", name, err)
		}
		in.request = true
		if op.Output == nil {
			continue
		}
		out, err := p.reach(found, &op.Output.reference, func(s *structure) *bool { return &s.output })
		if err != nil {
			return nil, fmt.Errorf("output of %s: %w", name, err)
		}
		if out.wrapper != "" && out.wrapper != op.Output.ResultWrapper {
			return nil, fmt.Errorf("output of %s: %s has two wrappers", name, out.name)
		}
		out.wrapper = op.Output.ResultWrapper
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		p.structures = append(p.structures, found[name])
	}
	return p, p.restrict()
}

// reach marks a structure and all below it as used in one direction.
func (p *plan) reach(found map[string]*structure, r *reference, direction func(*structure) *bool) (*structure, error) {
	s, err := p.model.shape(r)
	if err != nil {
		return nil, err
	}
	st := found[s.name]
	if st == nil {
		st = &structure{name: s.name}
		found[s.name] = st
		if st.fields, err = p.fieldsOf(s); err != nil {
			return nil, err
		}
	}
	if *direction(st) {
		return st, nil
	}
	*direction(st) = true
	for _, f := range st.fields {
		next := f.shape
		if f.kind == kindStructures {
			next = f.element
		} else if f.kind != kindStructure {
			continue
		}
		below, err := p.reach(found, &reference{Shape: next.name}, direction)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		below.nested = true
	}
	return st, nil
}

func (p *plan) fieldsOf(s *shape) ([]*field, error) {
	if s.Type != "structure" {
		return nil, fmt.Errorf("%s is a %s, not a structure", s.name, s.Type)
	}
	var out []*field
	for _, m := range s.Members {
		f, err := p.fieldOf(&m)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", s.name, m.Name, err)
		}
		f.required = slices.Contains(s.Required, m.Name)
		out = append(out, f)
	}
	return out, nil
}

func (p *plan) fieldOf(m *member) (*field, error) {
	s, err := p.model.shape(&m.reference)
	if err != nil {
		return nil, err
	}
	switch {
	case s.Max != nil && *s.Max == 0:
		return nil, fmt.Errorf("a maximum of 0 is not supported")
	case m.LocationName != "" || s.Flattened:
		return nil, fmt.Errorf("other names on the wire and flattened lists are not supported")
	}
	f := &field{name: upperFirst(m.Name), member: m.Name, shape: s}
	switch {
	case s.Type == "string" && s.Enum != nil:
		f.kind = kindEnum
	case s.Type == "string":
		f.kind = kindText
	case s.Type == "blob":
		f.kind = kindBlob
	case s.Type == "boolean":
		f.kind = kindBool
	case s.Type == "integer":
		f.kind = kindInt
	case s.Type == "timestamp":
		f.kind = kindTime
	case s.Type == "structure":
		f.kind = kindStructure
	case s.Type == "map":
		return f, p.mapField(f)
	case s.Type == "list":
		return f, p.listField(f)
	default:
		return nil, fmt.Errorf("type %q is not supported", s.Type)
	}
	return f, nil
}

func (p *plan) listField(f *field) error {
	element, err := p.model.shape(f.shape.Member)
	if err != nil {
		return err
	}
	f.element = element
	switch {
	case element.Type == "string" && !element.Sensitive:
		f.kind = kindTexts
	case element.Type == "structure":
		f.kind = kindStructures
	default:
		return fmt.Errorf("list of %s with these constraints is not supported", element.Type)
	}
	return nil
}

// mapField accepts maps of strings without constraints, and maps to integers,
// whose keys may be an enum.
func (p *plan) mapField(f *field) error {
	key, err := p.model.shape(f.shape.Key)
	if err != nil {
		return err
	}
	value, err := p.model.shape(f.shape.Value)
	if err != nil {
		return err
	}
	bounded := f.shape.constrained() || value.constrained() || key.Sensitive || value.Sensitive
	switch {
	case key.Type == "string" && value.Type == "integer" && !bounded:
		f.kind = kindCounts
	case key.Type == "string" && value.Type == "string" && !bounded && !key.constrained():
		f.kind = kindMap
	default:
		return fmt.Errorf("map %s: only strings and numbers without constraints are supported", f.shape.name)
	}
	return nil
}

func (s *shape) constrained() bool {
	return s.Min != nil || s.Max != nil || s.Pattern != "" || s.Enum != nil
}

// restrict refuses what the protocol's emitters lack and declares the rules of
// everything that is read.
func (p *plan) restrict() error {
	for _, s := range p.structures {
		for _, f := range s.fields {
			if s.input && slices.Contains(p.unread(), f.kind) || s.output && slices.Contains(p.unwritten(), f.kind) {
				return fmt.Errorf("%s.%s: a %s is not supported there in this protocol", s.name, f.name, f.shape.Type)
			}
			if !s.input {
				continue
			}
			if err := p.declareRule(s, f); err != nil {
				return fmt.Errorf("%s.%s: %w", s.name, f.name, err)
			}
		}
	}
	return nil
}

// unread are the kinds that the protocol's requests cannot hold.
func (p *plan) unread() []kind {
	if p.model.query() {
		return []kind{kindBlob, kindTime, kindMap, kindCounts, kindStructure}
	}
	return []kind{kindCounts}
}

// unwritten are the kinds that the protocol's responses cannot hold.
func (p *plan) unwritten() []kind {
	if p.model.query() {
		return []kind{kindMap}
	}
	return []kind{kindCounts}
}

package main

import (
	"maps"
	"slices"
)

const runtime = "github.com/kmsd/kmsd/wire"

// generator holds what the emitters share. Emitters cannot fail: everything that
// the generator does not know was refused by plan.
type generator struct {
	*plan
	service string
	sources map[string]*source
}

// generate returns the output files of a service by name. operations limits
// what is generated; nil means all.
func generate(m *model, service string, operations []string) (map[string][]byte, error) {
	if operations == nil {
		operations = slices.Collect(maps.Keys(m.Operations))
	}
	p, err := newPlan(m, slices.Sorted(slices.Values(operations)))
	if err != nil {
		return nil, err
	}
	g := &generator{plan: p, service: service, sources: map[string]*source{}}
	g.emitOperations()
	for _, s := range p.structures {
		g.emitType(s)
		if s.input {
			g.emitRead(s)
			g.emitCheck(s)
		}
		if s.request {
			g.emitDecode(s)
		}
		if s.output {
			g.emitAppend(s)
		}
	}
	g.emitLists()
	g.emitRules()
	return render(g.sources)
}

// file returns the output file name_gen.go.
func (g *generator) file(name string) *source {
	name += "_gen.go"
	if g.sources[name] == nil {
		g.sources[name] = newSource(g.service)
	}
	return g.sources[name]
}

// emitType declares a structure.
func (g *generator) emitType(s *structure) {
	f := g.file("responses")
	if s.input {
		f = g.file("requests")
	}
	f.line("\n// %s is the API shape of that name.", s.name)
	if len(s.fields) == 0 {
		f.line("type %s struct{}", s.name)
		return
	}
	f.line("type %s struct {", s.name)
	for _, field := range s.fields {
		f.line("%s %s", field.name, field.goType())
		switch field.kind {
		case kindTime:
			f.use("time")
		case kindText, kindBlob:
			if field.shape.Sensitive {
				f.use(runtime)
			}
		}
	}
	f.line("}")
}

// emitOperations writes the table and the service's constants.
func (g *generator) emitOperations() {
	f := g.file("operations")
	f.use(runtime)
	meta := g.model.Metadata
	f.line("\n// ServiceName is the service's name in a request's credential scope.")
	f.line("const ServiceName = %q", g.service)
	f.line("\n// APIVersion is the version of the API.")
	f.line("const APIVersion = %q", meta.APIVersion)
	if meta.TargetPrefix != "" {
		f.line("\n// TargetPrefix stands before the point in the X-Amz-Target header.")
		f.line("const TargetPrefix = %q", meta.TargetPrefix)
	}
	if meta.XMLNamespace != "" {
		f.line("\n// Namespace is the XML namespace of responses.")
		f.line("const Namespace = %q", meta.XMLNamespace)
	}
	f.line("\nvar operations = []wire.Operation{")
	for _, op := range g.operations {
		f.line("{Name: %q, New: func() wire.Request { return new(%s) }, Output: wire.%s, Errors: []string{", op.Name, op.Input.Shape, g.outputKind(op))
		for _, e := range op.Errors {
			f.line("%q,", g.model.errorCode(&e))
		}
		f.line("}},")
	}
	f.line("}")
}

func (g *generator) outputKind(op *operation) string {
	switch {
	case op.Output == nil:
		return "NoOutput"
	case len(g.model.Shapes[op.Output.Shape].Members) == 0:
		return "EmptyOutput"
	}
	return "MembersOutput"
}

// emitRules declares the constraints of every checked shape, sorted by name.
func (g *generator) emitRules() {
	f := g.file("rules")
	for _, name := range slices.Sorted(maps.Keys(g.rules)) {
		f.use(runtime)
		f.line("\nvar %s = %s", name, g.rules[name])
	}
}

package main

import "slices"

// emitAppend writes the method that encodes a structure.
func (g *generator) emitAppend(s *structure) {
	if g.query() {
		g.emitAppendXML(s)
		return
	}
	f := g.file("encode")
	f.line("\n// AppendJSON implements wire.Response.")
	if len(s.fields) == 0 {
		f.line("func (v *%s) AppendJSON(dst []byte) []byte { return append(dst, '{', '}') }", s.name)
		return
	}
	f.use(runtime)
	f.line("func (v *%s) AppendJSON(dst []byte) []byte {", s.name)
	f.line("dst = append(dst, '{')")
	for _, m := range s.fields {
		g.emitAppendField(f, m)
	}
	f.line("return append(dst, '}')")
	f.line("}")
}

func (g *generator) emitAppendField(f *source, m *field) {
	if m.kind == kindStructure {
		f.line("if v.%s != nil {", m.name)
		f.line("dst = v.%s.AppendJSON(wire.AppendName(dst, %q))", m.name, m.name)
		f.line("}")
		return
	}
	extra := ""
	if m.kind == kindStructures {
		extra = ", (*" + m.element.name + ").AppendJSON"
	}
	f.line("dst = wire.%s(dst, %q, %s%s)", m.appender(), m.name, m.appendValue(), extra)
}

func (m *field) appender() string {
	switch m.kind {
	case kindText:
		if m.required {
			return "AppendText"
		}
		return "AppendOptionalText"
	case kindEnum:
		return "AppendEnum"
	case kindBlob:
		return "AppendBlob"
	case kindBool:
		return "AppendBool"
	case kindInt:
		return "AppendInt"
	case kindTime:
		return "AppendTime"
	case kindTexts:
		return "AppendTexts"
	case kindMap:
		return "AppendTextMap"
	}
	return "AppendList"
}

func (m *field) appendValue() string {
	e := "v." + m.name
	switch {
	case m.kind != kindText || !m.shape.Sensitive:
		return e
	case m.required:
		return "string(" + e + ")"
	}
	return "(*string)(" + e + ")"
}

// emitAppendXML writes the method that encodes a result of the query protocol.
func (g *generator) emitAppendXML(s *structure) {
	f := g.file("encode")
	f.use(runtime)
	f.line("\n// AppendXML implements wire.XMLResponse.")
	f.line("func (v *%s) AppendXML(dst []byte) []byte {", s.name)
	f.line("dst = wire.AppendStart(dst, %q)", s.wrapper)
	for _, m := range inElementOrder(s) {
		f.line("dst = wire.AppendElement(dst, %q, %s)", m.name, m.appendValue())
	}
	f.line("return wire.AppendEnd(dst, %q)", s.wrapper)
	f.line("}")
}

// inElementOrder sorts the members that elementOrder names to the front.
func inElementOrder(s *structure) []*field {
	order := elementOrder[s.name]
	rank := func(f *field) int {
		if i := slices.Index(order, f.name); i >= 0 {
			return i
		}
		return len(order)
	}
	fields := slices.Clone(s.fields)
	slices.SortStableFunc(fields, func(a, b *field) int { return rank(a) - rank(b) })
	return fields
}

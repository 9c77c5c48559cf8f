package main

import (
	"fmt"
	"slices"
)

// emitReadForm writes the method that reads a structure's members from the
// parameters of the query protocol.
func (g *generator) emitReadForm(s *structure) {
	if len(s.fields) == 0 {
		return
	}
	f := g.file("read")
	f.use(runtime)
	f.line("\nfunc (v *%s) read(f *wire.Form) {", s.name)
	for _, m := range s.fields {
		f.line("v.%s = %s", m.name, m.readForm())
	}
	f.line("}")
}

func (m *field) readForm() string {
	switch m.kind {
	case kindEnum:
		return fmt.Sprintf("f.Text(%q)", m.member)
	case kindBool:
		return fmt.Sprintf("f.Bool(%q)", m.member)
	case kindInt:
		return fmt.Sprintf("f.Int(%q)", m.member)
	case kindTexts:
		return fmt.Sprintf("f.Texts(%q)", m.member)
	case kindStructures:
		return fmt.Sprintf("wire.FormList(f, %q, wire.FormStructure((*%s).read))", m.member, m.element.name)
	}
	return m.readText(fmt.Sprintf("f.Text(%q)", m.member), fmt.Sprintf("f.OptionalText(%q)", m.member))
}

// emitAppendXML writes the methods that encode a structure: AppendXML, with the
// wrapper, for a result and appendMembers for what stands inside of one.
func (g *generator) emitAppendXML(s *structure) {
	f := g.file("encode")
	f.use(runtime)
	if s.wrapper != "" {
		receiver := "v"
		if len(s.fields) == 0 {
			receiver = "_"
		}
		f.line("\n// AppendXML implements wire.XMLResponse.")
		f.line("func (%s *%s) AppendXML(dst []byte) []byte {", receiver, s.name)
		f.line("dst = wire.AppendStart(dst, %q)", s.wrapper)
		emitElements(f, s, true)
		f.line("return wire.AppendEnd(dst, %q)", s.wrapper)
		f.line("}")
	}
	if s.nested {
		f.line("\nfunc (v *%s) appendMembers(dst []byte) []byte {", s.name)
		emitElements(f, s, false)
		f.line("return dst")
		f.line("}")
	}
}

// emitElements writes one element for each member. The lists of a result are there
// also when they are empty, those inside of it only when the model demands them: an
// entity without tags shows none.
func emitElements(f *source, s *structure, result bool) {
	for _, m := range inElementOrder(s) {
		list := m.kind == kindTexts || m.kind == kindStructures || m.kind == kindCounts
		optional := m.kind == kindStructure || list && !result && !m.required
		if optional {
			f.line("if v.%s != nil {", m.name)
		}
		if m.kind == kindStructure {
			f.line("dst = wire.AppendStart(dst, %q)", m.member)
			f.line("dst = v.%s.appendMembers(dst)", m.name)
			f.line("dst = wire.AppendEnd(dst, %q)", m.member)
		} else {
			f.line("dst = wire.%s(dst, %q, %s%s)", m.elementAppender(), m.member, m.appendValue(), m.elementContent())
		}
		if optional {
			f.line("}")
		}
	}
}

func (m *field) elementAppender() string {
	switch m.kind {
	case kindText:
		if m.required {
			return "AppendTextElement"
		}
		return "AppendElement"
	case kindEnum:
		return "AppendEnumElement"
	case kindBlob:
		return "AppendBlobElement"
	case kindBool:
		return "AppendBoolElement"
	case kindInt:
		return "AppendIntElement"
	case kindTime:
		return "AppendTimeElement"
	case kindTexts:
		return "AppendTextsElement"
	case kindCounts:
		return "AppendCountsElement"
	}
	return "AppendListElement"
}

// elementContent is the argument that writes an element of a list of structures.
func (m *field) elementContent() string {
	if m.kind != kindStructures {
		return ""
	}
	return ", (*" + m.element.name + ").appendMembers"
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

package main

import (
	"fmt"
	"strings"
)

// emitDecode writes a request's Decode method.
func (g *generator) emitDecode(s *structure) {
	f := g.file("decode")
	f.line("\n// Decode implements wire.Request.")
	if len(s.fields) == 0 && g.model.query() {
		f.line("func (v *%s) Decode([]byte) error { return nil }", s.name)
		return
	}
	f.use(runtime)
	f.line("func (v *%s) Decode(body []byte) error {", s.name)
	if g.model.query() {
		f.line("err := wire.DecodeForm(body, v.read, v.check)")
	} else {
		f.line("r := wire.NewReader(body)")
		f.line("v.read(&r)")
		f.line("var c wire.Checker")
		f.line("v.check(&c)")
		f.line("err := wire.Verdict(&r, &c)")
	}
	f.line("if err != nil {")
	f.line("*v = %s{}", s.name)
	f.line("}")
	f.line("return err")
	f.line("}")
}

// emitRead writes the method that reads a structure's members.
func (g *generator) emitRead(s *structure) {
	if g.model.query() {
		g.emitReadForm(s)
		return
	}
	f := g.file("read")
	f.use(runtime)
	var absent []string
	for _, m := range s.fields {
		if m.sentinel() {
			absent = append(absent, m.name+": wire.Absent")
		}
	}
	f.line("\nfunc (v *%s) read(r *wire.Reader) {", s.name)
	f.line("*v = %s{%s}", s.name, strings.Join(absent, ", "))
	f.line("if !r.Object() { return }")
	f.line("for r.Next() {")
	f.line("switch string(r.Name()) {")
	for _, m := range s.fields {
		f.line("case %q:", m.member)
		g.emitReadField(f, m)
	}
	f.line("default:")
	f.line("r.Skip()")
	f.line("}")
	f.line("}")
	f.line("}")
}

func (g *generator) emitReadField(f *source, m *field) {
	var value string
	switch m.kind {
	case kindText:
		value = m.readText("r.Text()", "r.OptionalText()")
	case kindEnum:
		value = "r.Enum(&" + m.rule + ")"
	case kindBlob:
		value = "r.Blob()"
	case kindBool:
		value = "r.Bool()"
	case kindInt:
		value = "r.Int()"
	case kindTime:
		value = "r.Time()"
	case kindTexts:
		value = m.readTexts()
	case kindMap:
		value = "r.TextMap()"
	case kindStructures:
		value = "read" + m.shape.name + "(r)"
	case kindStructure:
		f.line("if v.%s = nil; !r.Null() {", m.name)
		f.line("v.%s = new(%s)", m.name, m.shape.name)
		f.line("v.%s.read(r)", m.name)
		f.line("}")
		return
	}
	f.line("v.%s = %s", m.name, value)
}

// readText converts a call that reads a string to the field's type.
func (m *field) readText(text, optional string) string {
	switch {
	case m.required && m.shape.Sensitive:
		return "wire.SensitiveString(" + text + ")"
	case m.required:
		return text
	case m.shape.Sensitive:
		return "(*wire.SensitiveString)(" + optional + ")"
	}
	return optional
}

func (m *field) readTexts() string {
	if m.element.Enum == nil {
		return "r.Texts()"
	}
	return "r.Enums(&" + ruleName(m.element) + ")"
}

// emitLists writes the readers of the lists of structures.
func (g *generator) emitLists() {
	done := map[string]bool{}
	for _, s := range g.structures {
		for _, m := range s.fields {
			if g.model.query() || !s.input || m.kind != kindStructures || done[m.shape.name] {
				continue
			}
			done[m.shape.name] = true
			f := g.file("read")
			f.line("\nfunc read%s(r *wire.Reader) []%s {", m.shape.name, m.element.name)
			f.line("if !r.Array() { return nil }")
			f.line("list := []%s{}", m.element.name)
			f.line("for r.More(len(list)) {")
			f.line("list = append(list, %s{})", m.element.name)
			f.line("list[len(list)-1].read(r)")
			f.line("}")
			f.line("return list")
			f.line("}")
		}
	}
}

// emitCheck writes the method that checks a structure's constraints.
func (g *generator) emitCheck(s *structure) {
	if len(s.fields) == 0 && g.model.query() {
		return
	}
	f := g.file("check")
	f.use(runtime)
	receiver := "v"
	if len(s.fields) == 0 {
		receiver = "_"
	}
	f.line("\nfunc (%s *%s) check(c *wire.Checker) {", receiver, s.name)
	for _, m := range s.fields {
		if m.required && !m.sentinel() {
			f.line("c.Required(%q, v.%s != nil)", m.path(), m.name)
		}
		g.emitCheckField(f, m)
	}
	f.line("}")
}

func (g *generator) emitCheckField(f *source, m *field) {
	switch m.kind {
	case kindText, kindEnum:
		method := "OptionalText"
		if m.sentinel() {
			method = "Text"
			if m.required {
				method = "RequiredText"
			}
		}
		f.line("c.%s(%q, %s, &%s)", method, m.path(), m.textPointer(), m.rule)
	case kindBlob:
		f.line("c.Blob(%q, v.%s, &%s)", m.path(), m.name, m.rule)
	case kindInt:
		f.line("c.Int(%q, v.%s, &%s)", m.path(), m.name, m.rule)
	case kindTexts:
		f.line("c.Texts(%q, v.%s, &%s)", m.path(), m.name, m.rule)
	case kindMap:
		f.line("c.TextMap(%q, v.%s)", m.path(), m.name)
	case kindStructures:
		if m.rule != "" {
			f.line("c.List(%q, v.%s != nil, len(v.%[2]s), &%s)", m.path(), m.name, m.rule)
		}
		f.line("for i := range v.%s {", m.name)
		f.line("c.EnterElement(%q, i)", m.path())
		f.line("v.%s[i].check(c)", m.name)
		f.line("c.Leave()")
		f.line("}")
	case kindStructure:
		f.line("if v.%s != nil {", m.name)
		f.line("c.Enter(%q)", m.path())
		f.line("v.%s.check(c)", m.name)
		f.line("c.Leave()")
		f.line("}")
	}
}

// textPointer is an expression of type *string for a string field.
func (m *field) textPointer() string {
	e := "v." + m.name
	if m.sentinel() {
		e = "&" + e
	}
	if m.shape.Sensitive {
		e = fmt.Sprintf("(*string)(%s)", e)
	}
	return e
}

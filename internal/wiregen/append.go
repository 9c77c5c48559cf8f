package main

// emitAppend writes the method that encodes a structure.
func (g *generator) emitAppend(s *structure) {
	if g.model.query() {
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
		f.line("dst = v.%s.AppendJSON(wire.AppendName(dst, %q))", m.name, m.member)
		f.line("}")
		return
	}
	extra := ""
	if m.kind == kindStructures {
		extra = ", (*" + m.element.name + ").AppendJSON"
	}
	f.line("dst = wire.%s(dst, %q, %s%s)", m.appender(), m.member, m.appendValue(), extra)
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

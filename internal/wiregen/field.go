package main

import "strings"

// goType is the field's type in Go. A required string and every enum are plain
// strings, lists, maps and blobs are nil when absent, the rest are pointers.
func (f *field) goType() string {
	switch f.kind {
	case kindText:
		if f.required {
			return f.textType()
		}
		return "*" + f.textType()
	case kindEnum:
		return "string"
	case kindBlob:
		if f.shape.Sensitive {
			return "wire.Sensitive"
		}
		return "[]byte"
	case kindBool:
		return "*bool"
	case kindInt:
		return "*int"
	case kindTime:
		return "*time.Time"
	case kindTexts:
		return "[]string"
	case kindStructures:
		return "[]" + f.element.name
	case kindMap:
		return "map[string]string"
	case kindCounts:
		return "map[string]int"
	}
	return "*" + f.shape.name
}

func (f *field) textType() string {
	if f.shape.Sensitive {
		return "wire.SensitiveString"
	}
	return "string"
}

// path is the member's name in messages.
func (f *field) path() string { return strings.ToLower(f.member[:1]) + f.member[1:] }

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// sentinel says that the field holds wire.Absent until it was checked.
func (f *field) sentinel() bool { return f.kind == kindEnum || f.kind == kindText && f.required }

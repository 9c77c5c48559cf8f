package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTranslatePattern(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`^[a-z]+$`:          `^[a-z]+$`,
		`[\u0009\u0020-ÿ]+`: `[\x{0009}\x{0020}-ÿ]+`,
		`\s`:                `[ \t\n\x0B\f\r]`,
		`[a\s.]`:            `[a \t\n\x0B\f\r.]`,
		`a.b`:               `a[^\n\r\x{85}\x{2028}\x{2029}]b`,
		`a\.b\\.`:           `a\.b\\[^\n\r\x{85}\x{2028}\x{2029}]`,
		`[\]\s]\d`:          `[\] \t\n\x0B\f\r]\d`,
	} {
		got, err := translatePattern(source)
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", source, got, err, want)
		}
	}
	for _, source := range []string{`(?<=a)b`, `[a-z&&[^b]]`, `[a[b]]`, `a++`, `(`, `\`} {
		if got, err := translatePattern(source); err == nil {
			t.Errorf("%s: got %s, want an error", source, got)
		}
	}
}

// small is a model with one operation, whose input has the member M of shape S.
func small(member string) *model {
	m := &model{}
	text := `{"metadata":{"protocol":"json"},
		"operations":{"Do":{"name":"Do","input":{"shape":"DoRequest"}}},
		"shapes":{"DoRequest":{"type":"structure","members":{"Z":{"shape":"Text"},"A":{"shape":"Text"},"M":{"shape":"S"}}},
			"Text":{"type":"string"},"Number":{"type":"integer","min":1,"max":2},"Count":{"type":"integer"},"Secret":{"type":"string","sensitive":true},"S":` + member + `}}`
	if err := json.Unmarshal([]byte(text), m); err != nil {
		panic(err)
	}
	for name, s := range m.Shapes {
		s.name = name
	}
	return m
}

func TestMembersKeepTheirOrder(t *testing.T) {
	t.Parallel()
	var got []string
	for _, m := range small(`{"type":"string"}`).Shapes["DoRequest"].Members {
		got = append(got, m.Name)
	}
	if want := []string{"Z", "A", "M"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUnknownModelsAreRefused(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]string{
		`{"type":"double"}`:                                                      `type "double" is not supported`,
		`{"type":"string","pattern":"(?<=a)b"}`:                                  "translating pattern",
		`{"type":"string","max":0}`:                                              "maximum of 0",
		`{"type":"integer","min":1}`:                                             "both bounds",
		`{"type":"blob","pattern":"a"}`:                                          "patterns and enums of blobs",
		`{"type":"list","member":{"shape":"Number"}}`:                            "list of integer",
		`{"type":"list","member":{"shape":"Secret"}}`:                            "list of string",
		`{"type":"list","member":{"shape":"Text"},"sensitive":true}`:             "sensitive lists",
		`{"type":"list","member":{"shape":"Missing"}}`:                           `"Missing" is not in the model`,
		`{"type":"map","key":{"shape":"Text"},"value":{"shape":"Number"}}`:       "only strings and numbers without constraints",
		`{"type":"map","key":{"shape":"Text"},"value":{"shape":"Text"},"max":3}`: "only strings and numbers without constraints",
		`{"type":"map","key":{"shape":"Text"},"value":{"shape":"Count"}}`:        "a map is not supported there",
		`{"type":"list","member":{"shape":"Text"},"flattened":true}`:             "flattened lists",
		`{"type":"boolean","min":1}`:                                             "constraints on a boolean",
	} {
		_, err := generate(small(member), "x", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", member, err, want)
		}
	}
	if _, err := generate(small(`{"type":"string"}`), "x", []string{"Gone"}); err == nil {
		t.Error("unknown operation: got no error, want one")
	}
	for _, member := range []string{
		`{"type":"blob"}`, `{"type":"timestamp"}`, `{"type":"structure","members":{}}`,
		`{"type":"map","key":{"shape":"Text"},"value":{"shape":"Text"}}`, `{"type":"map","key":{"shape":"Text"},"value":{"shape":"Count"}}`,
	} {
		query := small(member)
		query.Metadata.Protocol = "query"
		if _, err := generate(query, "x", nil); err == nil || !strings.Contains(err.Error(), "is not supported there in this protocol") {
			t.Errorf("query input of %s: got %v, want an error", member, err)
		}
	}
	renamed := small(`{"type":"string"}`)
	renamed.Shapes["DoRequest"].Members[0].LocationName = "z"
	if _, err := generate(renamed, "x", nil); err == nil || !strings.Contains(err.Error(), "other names on the wire") {
		t.Errorf("a member with another name on the wire: got %v, want an error", err)
	}
}

// query is a model of the query protocol: Get has no input, and its output has the
// member L of the given shape.
func query(member string) *model {
	m := small(`{"type":"string"}`)
	m.Metadata.Protocol = "query"
	text := `{"operations":{
			"Get":{"name":"Get","output":{"shape":"GetResponse","resultWrapper":"GetResult"},"errors":[{"shape":"GoneException"}]}},
		"shapes":{"GetResponse":{"type":"structure","members":{"L":{"shape":"List"},"one":{"shape":"One"}}},
			"One":{"type":"structure","members":{"L":{"shape":"List"},"R":{"shape":"List"}},"required":["R"]},
			"List":` + member + `,"GoneException":{"type":"structure","members":{},"error":{"code":"Gone"}}}}`
	other := &model{}
	if err := json.Unmarshal([]byte(text), other); err != nil {
		panic(err)
	}
	maps.Copy(m.Operations, other.Operations)
	for name, s := range other.Shapes {
		s.name = name
		m.Shapes[name] = s
	}
	return m
}

func TestQueryProtocol(t *testing.T) {
	t.Parallel()
	files, err := generate(query(`{"type":"list","member":{"shape":"Text"}}`), "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"operations_gen.go": `{Name: "Get", New: func() wire.Request { return new(GetRequest) }, Output: wire.MembersOutput, Errors: []string{
		"Gone",
	}},`,
		"requests_gen.go":  "type GetRequest struct{}",
		"responses_gen.go": "type GetResponse struct {\n\tL   []string\n\tOne *One\n}",
		"decode_gen.go":    "err := wire.DecodeForm(body, v.read, v.check)",
		"read_gen.go":      `v.Z = f.OptionalText("Z")`,
		"check_gen.go":     `c.OptionalText("z", v.Z, &ruleText)`,
		// A result has its lists, a structure in it those that it must have.
		"encode_gen.go": `	dst = wire.AppendStart(dst, "GetResult")
	dst = wire.AppendTextsElement(dst, "L", v.L)
	if v.One != nil {
		dst = wire.AppendStart(dst, "one")
		dst = v.One.appendMembers(dst)
		dst = wire.AppendEnd(dst, "one")
	}
	return wire.AppendEnd(dst, "GetResult")
}

func (v *One) appendMembers(dst []byte) []byte {
	if v.L != nil {
		dst = wire.AppendTextsElement(dst, "L", v.L)
	}
	dst = wire.AppendTextsElement(dst, "R", v.R)
	return dst
}`,
	} {
		if !bytes.Contains(files[name], []byte(want)) {
			t.Errorf("%s: got\n%s\nwant it to hold\n%s", name, files[name], want)
		}
	}
}

func TestQueryModelsAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := generate(query(`{"type":"map","key":{"shape":"Text"},"value":{"shape":"Text"}}`), "x", nil); err == nil || !strings.Contains(err.Error(), "not supported there") {
		t.Errorf("a map of strings in a response: got %v, want an error", err)
	}
	m := query(`{"type":"list","member":{"shape":"Text"}}`)
	again := *m.Operations["Get"]
	wrapped := *again.Output
	wrapped.ResultWrapper = "AgainResult"
	again.Name, again.Output = "Again", &wrapped
	m.Operations["Again"] = &again
	if _, err := generate(m, "x", nil); err == nil || !strings.Contains(err.Error(), "two wrappers") {
		t.Errorf("one output with two wrappers: got %v, want an error", err)
	}
	m = query(`{"type":"list","member":{"shape":"Text"}}`)
	m.Shapes["DoRequest"].Members[0].Shape = "text"
	m.Shapes["text"] = &shape{name: "text", Type: "string", Pattern: "a"}
	if _, err := generate(m, "x", nil); err == nil || !strings.Contains(err.Error(), "share the name ruleText") {
		t.Errorf("shapes that differ in case: got %v, want an error", err)
	}
}

func TestGenerateIsDeterministicAndChecked(t *testing.T) {
	t.Parallel()
	first, err := generate(small(`{"type":"string","enum":["B","A"]}`), "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := generate(small(`{"type":"string","enum":["B","A"]}`), "x", nil)
	if err != nil || !maps.EqualFunc(first, again, bytes.Equal) {
		t.Errorf("got different files the second time, %v", err)
	}
	if b := first["check_gen.go"]; !bytes.HasPrefix(b, []byte("// Code generated ")) || !bytes.Contains(b, []byte("DO NOT EDIT.\n")) {
		t.Errorf("got %.80s, want the standard header", b)
	}
	dir := t.TempDir()
	stale := filepath.Join(dir, "old_gen.go")
	if err := os.WriteFile(stale, []byte("package x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := compare(dir, first); err == nil {
		t.Error("compare with a stale folder: got no error, want one")
	}
	if err := write(dir, first); err != nil {
		t.Fatal(err)
	}
	if err := compare(dir, first); err != nil {
		t.Errorf("compare after write: got %v, want no error", err)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("stale file: got %v, want it gone", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "check_gen.go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := compare(dir, first); err == nil {
		t.Error("compare with a changed file: got no error, want one")
	}
}

// TestCommittedOutput needs the models, which stand beside the repository and
// not in it.
func TestCommittedOutput(t *testing.T) {
	t.Parallel()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "..", "shared", "aws")); err != nil {
		t.Skipf("the models are not there: %v", err)
	}
	for _, args := range [][]string{
		{"-service", "kms", "-check"},
		{"-service", "iam", "-check"},
		{"-service", "sts", "-check"},
	} {
		if err := run(args); err != nil {
			t.Errorf("wiregen %v: %v", args, err)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-service", "kms", "extra"}, {"-service", "kms", "-models", t.TempDir()}} {
		if err := run(args); err == nil {
			t.Errorf("%v: got no error, want one", args)
		}
	}
}

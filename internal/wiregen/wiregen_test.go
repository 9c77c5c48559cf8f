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
			"Text":{"type":"string"},"Number":{"type":"integer","min":1,"max":2},"Secret":{"type":"string","sensitive":true},"S":` + member + `}}`
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
		`{"type":"list","member":{"shape":"DoRequest"},"max":5}`:                 "list of structure",
		`{"type":"list","member":{"shape":"Text"},"sensitive":true}`:             "sensitive lists",
		`{"type":"list","member":{"shape":"Missing"}}`:                           `"Missing" is not in the model`,
		`{"type":"map","key":{"shape":"Text"},"value":{"shape":"Number"}}`:       "only strings without constraints",
		`{"type":"map","key":{"shape":"Text"},"value":{"shape":"Text"},"max":3}`: "only strings without constraints",
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
	query := small(`{"type":"string"}`)
	query.Metadata.Protocol = "query"
	if _, err := generate(query, "x", nil); err == nil {
		t.Error("query input with members: got no error, want one")
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
		{"-service", "sts", "-operations", "GetCallerIdentity", "-check"},
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

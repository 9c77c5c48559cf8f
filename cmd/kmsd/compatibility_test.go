package main

import (
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/service/iamapi"
	"github.com/kmsd/kmsd/service/kmsapi"
	wirekms "github.com/kmsd/kmsd/wire/kms"
)

var update = flag.Bool("update", false, "rewrite the generated parts of docs/compatibility.md and docs/configuration.md")

const (
	compatibilityFile = "../../docs/compatibility.md"
	generatedBegin    = "<!-- generated from the operation table: begin -->\n"
	generatedEnd      = "<!-- generated from the operation table: end -->\n"
)

// TestCompatibilityTable holds docs/compatibility.md against the rows.
func TestCompatibilityTable(t *testing.T) {
	wantGenerated(t, compatibilityFile, generatedBegin, generatedEnd, compatibilityTable())
}

// wantGenerated holds the part of a document between two marks against what it is
// generated from, or, with -update, rewrites it.
func wantGenerated(t *testing.T, file, begin, end, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(text), begin)
	got, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s lacks the marks of its generated part", file)
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s is not up to date: run make generate", file)
	}
}

func compatibilityTable() string {
	var b strings.Builder
	served := map[string]*service.Row{}
	for _, row := range kmsapi.Rows(kmsapi.Config{Materials: crypto.NewMaterialCache(1)}) {
		served[row.Name] = row
	}
	ops := wirekms.Operations()
	b.WriteString("| AWS KMS operation | served | runs | permission | other accounts | DryRun |\n|---|---|---|---|---|---|\n")
	n := 0
	for _, op := range ops {
		row, ok := served[op.Name]
		if !ok {
			b.WriteString("| " + op.Name + " | no | | | | |\n")
			continue
		}
		n++
		b.WriteString("| " + op.Name + " | yes | " + where(row) + " | " + strings.Join(row.Actions(), ", ") + " | " + yesNo(row.CrossAccount) + " | " + yesNo(row.HasDryRun) + " |\n")
	}
	b.WriteString("\n")
	names := map[string][]string{}
	for _, row := range iamapi.Rows(iamapi.Config{}) {
		names[row.Service] = append(names[row.Service], row.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		slices.Sort(names[name])
		b.WriteString("Served of AWS " + strings.ToUpper(name) + ":\n\n")
		for _, op := range names[name] {
			b.WriteString("- " + op + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func where(row *service.Row) string {
	switch {
	case !row.Write:
		return "on the node that receives it"
	case row.Once:
		return "on the leader, once per SDK call"
	}
	return "on the leader"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

package deptest_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// module is the module's path.
const module = "github.com/kmsd/kmsd"

// root is the module's directory, seen from this one.
var root = filepath.Join("..", "..")

// goFiles returns the Go files of the module, whatever their build constraints,
// as slash-separated paths below root. Nested modules are not part of it.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && skipped(path) {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			files = append(files, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// skipped tells which directories the go tool leaves out of "./..." as well.
func skipped(dir string) bool {
	name := filepath.Base(dir)
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func importsOf(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, filepath.FromSlash(file)), nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// standard tells whether an import path is the standard library's: its first
// element has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func TestImports(t *testing.T) {
	t.Parallel()
	files := goFiles(t)
	for _, file := range files {
		pkg := "."
		if i := strings.LastIndexByte(file, '/'); i >= 0 {
			pkg = file[:i]
		}
		if imports[pkg] == nil {
			t.Errorf("%s: package %s has no row in the table", file, pkg)
			continue
		}
		test := strings.HasSuffix(file, "_test.go")
		for _, path := range importsOf(t, file) {
			inside, ours := strings.CutPrefix(path, module+"/")
			if standard(path) || pkg == "internal/deptest" {
				continue // TestPinnedLibraries imports what it pins
			}
			if reason := allowed(pkg, inside, ours, test); reason != "" {
				t.Errorf("%s imports %s: %s", file, path, reason)
			}
		}
	}
	if len(files) < 50 {
		t.Errorf("found %d Go files, want the whole module", len(files))
	}
}

// TestTable checks that the table's rows name only rows, and the rules by
// imports that are right and wrong.
func TestTable(t *testing.T) {
	t.Parallel()
	for pkg, list := range imports {
		for _, p := range list {
			if p != all && imports[p] == nil {
				t.Errorf("%s may import %s, which has no row", pkg, p)
			}
		}
	}
	for module, list := range libraries {
		for _, p := range list {
			if imports[p] == nil {
				t.Errorf("%s is for %s, which has no row", module, p)
			}
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	const code, test = false, true
	const yes, no = true, false
	for _, tc := range []struct {
		pkg, path  string
		test, want bool
	}{
		{"fsm", "kms", code, yes},
		{"fsm", "crypto", code, no},
		{"fsm", "crypto", test, no},
		{"kms", "wire", code, no},
		{"wire/kms", "wire", code, yes},
		{"wire/kms", "kms", code, no},
		{"iam/sigv4", "iam", code, no},
		{"httpapi", "service", code, yes},
		{"httpapi", "fsm", code, no},
		{"httpapi", "fsm", test, yes},
		{"httpapi", "cluster", test, no},
		{"service", "cluster", code, no},
		{"service", "httpapi", code, no},
		{"service", "service/kmsapi", code, no},
		{"service/kmsapi", "service", code, yes},
		{"service", "internal/testkit", code, no},
		{"service", "internal/testkit", test, yes},
		{"cluster", "service", code, no},
		{"cmd/kmsd", "cluster", code, yes},
		{"cmd/kmsd", "internal/testkit", code, no},
		{"test/integration", "service", test, no},
		{"newcomer", "kms", code, no},
		{"fsm", "newcomer", code, no},
		{"cluster", "github.com/hashicorp/raft", code, yes},
		{"cluster", "github.com/hashicorp/raft-boltdb/v2", code, yes},
		{"service", "github.com/hashicorp/raft", code, no},
		{"service", "github.com/hashicorp/raft", test, yes},
		{"crypto/seal", "github.com/aws/aws-sdk-go-v2/service/kms", code, no},
		{"crypto/seal", "github.com/aws/aws-sdk-go-v2/service/kms", test, yes},
		{"fsm", "github.com/hashicorp/raftling", test, no},
	} {
		ours := !strings.Contains(tc.path, ".")
		if reason := allowed(tc.pkg, tc.path, ours, tc.test); (reason == "") != tc.want {
			t.Errorf("%s imports %s (test: %t): got %q, want allowed: %t", tc.pkg, tc.path, tc.test, reason, tc.want)
		}
	}
}

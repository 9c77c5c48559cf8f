package fsm_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pureImports are the packages that a deterministic machine may use. None of them
// reads a clock, a random source or the system, and no function of them that
// returns a map is used.
var pureImports = []string{
	"bufio", "bytes", "cmp", "crypto/sha256", "encoding/binary", "errors", "fmt", "hash", "io", "slices", "strconv", "strings", "sync/atomic",
	"github.com/fxamacker/cbor/v2", "github.com/tidwall/btree", "github.com/kmsd/kmsd/kms",
}

// pureMaps are the names of the maps of the package. They may be looked up but
// not ranged over.
var pureMaps = []string{"versions", "stateTexts"}

// TestPure parses the package and refuses what could make two machines differ.
func TestPure(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) < 10 {
		t.Fatalf("found %d files: %v", len(names), err)
	}
	fset := token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, complaint := range impurities(file) {
			t.Errorf("%s: %s", fset.Position(complaint.pos), complaint.what)
		}
	}
}

// TestPureFinds proves that each kind of impurity is found.
func TestPureFinds(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		`import "time"`, `import "math/rand/v2"`, `import "crypto/rand"`, `import "os"`, `import "net/http"`, `import . "fmt"`, `import "unsafe"`,
		`func f() { go f() }`, `func f() { select {} }`, `func f(c chan int) {}`, `func f() { c <- 1 }`, `func f() { <-c }`,
		`var m map[string]int`, `func f() { for range versions {} }`, `func f() { for range x.versions {} }`, `func f() { for range stateTexts {} }`,
		`func f() { m := map[int]int{} }`, `func f() { m := make(map[int]int) }`, `func f() { println(1) }`,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+source, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(impurities(file)) == 0 {
			t.Errorf("%s: not found", source)
		}
	}
}

type impurity struct {
	pos  token.Pos
	what string
}

func impurities(file *ast.File) (found []impurity) {
	allowed := map[ast.Node]bool{} // map types of the named maps
	report := func(n ast.Node, what string) { found = append(found, impurity{n.Pos(), what}) }
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			path, _ := strconv.Unquote(n.Path.Value)
			if !slices.Contains(pureImports, path) || n.Name != nil {
				report(n, "import of "+path)
			}
		case *ast.GoStmt:
			report(n, "go statement")
		case *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
			report(n, "channel or select")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				report(n, "receive")
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "println" || id.Name == "print") {
				report(n, "output")
			}
		case *ast.RangeStmt:
			if slices.Contains(pureMaps, lastName(n.X)) {
				report(n, "range over a map")
			}
		case *ast.Field: // versions map[…]…
			if len(n.Names) == 1 && slices.Contains(pureMaps, n.Names[0].Name) {
				allowed[n.Type] = true
			}
		case *ast.ValueSpec: // var stateTexts = map[…]…{…}
			if slices.Contains(pureMaps, n.Names[0].Name) && len(n.Values) == 1 {
				allow(allowed, n.Values[0])
			}
		case *ast.AssignStmt: // r.versions = map[…]…{}
			if slices.Contains(pureMaps, lastName(n.Lhs[0])) {
				allow(allowed, n.Rhs[0])
			}
		case *ast.MapType:
			if !allowed[n] {
				report(n, "map")
			}
		}
		return true
	})
	return found
}

func allow(allowed map[ast.Node]bool, value ast.Expr) {
	if literal, ok := value.(*ast.CompositeLit); ok {
		allowed[literal.Type] = true
	}
}

// lastName is the name that an expression ends with: x for a.b.x.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/wire"
)

func TestViolationsAreBounded(t *testing.T) {
	t.Parallel()
	var c wire.Checker
	for range 5000 {
		c.Required("x", false)
	}
	var got *wire.ConstraintError
	if !errors.As(c.Err(), &got) {
		t.Fatalf("got %v, want a *ConstraintError", c.Err())
	}
	if len(got.Violations) != 100 || !strings.HasPrefix(got.Error(), "100 validation errors detected: Value null at 'x'") {
		t.Errorf("got %d violations and %.60q, want 100", len(got.Violations), got.Error())
	}
}

func TestPatternsMatchTheWholeValue(t *testing.T) {
	t.Parallel()
	rule := wire.TextRule{Pattern: wire.MustPattern("a|bc", "a|bc")}
	for v, ok := range map[string]bool{"a": true, "bc": true, "ab": false, "ac": false, "xbc": false, "a\n": false, "": false} {
		var c wire.Checker
		c.OptionalText("x", &v, &rule)
		if got := c.Err() == nil; got != ok {
			t.Errorf("%q: got satisfied %t, want %t", v, got, ok)
		}
	}
}

func TestMustPatternPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("got no panic, want one")
		}
	}()
	wire.MustPattern("(", "(")
}

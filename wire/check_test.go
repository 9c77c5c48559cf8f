package wire_test

import (
	"errors"
	"regexp"
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

// TestPatternsMatchLikeRegexp compares every character with the regexp package.
func TestPatternsMatchLikeRegexp(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		`[a-c]+`, `[a-c]*`, `^[\w+=,.@:/-]+$`, `[\x{0009}\x{000A}\x{000D}\x{0020}-\x{00FF}]+`, `[^a]+`, `^[a-z]+`, `[a-z]+$`, `[a]+b`, `(?i)[k]+`,
		`[a-c]{2}`, `a+`, `^[^\n\x{85}]*$`,
	} {
		want := regexp.MustCompile(`\A(?:` + p + `)\z`)
		rule := wire.TextRule{Pattern: wire.MustPattern(p, p)}
		values := []string{"", "ab", "aa", "ab\n", "\nab", "a\x00", "\U0010FFFF"}
		for char := range rune(0x300) {
			values = append(values, string(char), "a"+string(char))
		}
		for _, v := range values {
			var c wire.Checker
			c.OptionalText("x", &v, &rule)
			if got := c.Err() == nil; got != want.MatchString(v) {
				t.Errorf("%s, %q: got satisfied %t, want %t", p, v, got, !got)
			}
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

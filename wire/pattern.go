package wire

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"unicode/utf8"
)

// A Pattern is a regular expression of the model. It must match a whole value.
type Pattern struct {
	source string
	re     *regexp.Regexp
	class  *class // stands for re where it can
}

// MustPattern returns the pattern that messages show as source. re2 is the same
// expression in Go's syntax. It panics when re2 does not compile.
func MustPattern(source, re2 string) *Pattern {
	re, err := regexp.Compile(`\A(?:` + re2 + `)\z`)
	if err != nil {
		panic(fmt.Sprintf("kmsd: compiling the model's pattern %q: %v", source, err))
	}
	return &Pattern{source: source, re: re, class: classOf(re2)}
}

func (p *Pattern) matches(v string) bool {
	if p.class != nil {
		return p.class.matches(v)
	}
	return p.re.MatchString(v)
}

func (p *Pattern) text() string { return "Member must satisfy regular expression pattern: " + p.source }

// A class is the pattern [class]+ or [class]*. Most patterns of the model are
// one, and a policy of 131,072 characters takes a fraction of the time so.
type class struct {
	empty  bool   // the empty value matches
	ranges []rune // pairs of first and last
	ascii  [utf8.RuneSelf]bool
}

// classOf returns the class that re2 is, or nil.
func classOf(re2 string) *class {
	tree, err := syntax.Parse(re2, syntax.Perl)
	if err != nil {
		return nil
	}
	if tree.Op == syntax.OpConcat && len(tree.Sub) == 3 && tree.Sub[0].Op == syntax.OpBeginText && tree.Sub[2].Op == syntax.OpEndText {
		tree = tree.Sub[1]
	}
	if tree.Op != syntax.OpPlus && tree.Op != syntax.OpStar || tree.Sub[0].Op != syntax.OpCharClass {
		return nil
	}
	c := &class{empty: tree.Op == syntax.OpStar, ranges: tree.Sub[0].Rune}
	for i := range c.ascii {
		c.ascii[i] = c.contains(rune(i))
	}
	return c
}

func (c *class) matches(v string) bool {
	for _, char := range v {
		if char < utf8.RuneSelf && !c.ascii[char] || char >= utf8.RuneSelf && !c.contains(char) {
			return false
		}
	}
	return v != "" || c.empty
}

func (c *class) contains(char rune) bool {
	for i := 0; i < len(c.ranges); i += 2 {
		if c.ranges[i] <= char && char <= c.ranges[i+1] {
			return true
		}
	}
	return false
}

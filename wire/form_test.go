package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/wire"
)

// pair and sample stand for generated types: every kind of member, and a list in a
// structure in a list.
type pair struct {
	Key   string
	Inner []string
}

type sample struct {
	Name  string
	Note  *string
	Limit *int
	Flag  *bool
	Texts []string
	Pairs []pair
}

func (p *pair) read(f *wire.Form) {
	p.Key = f.Text("Key")
	p.Inner = f.Texts("Inner")
}

func (s *sample) read(f *wire.Form) {
	s.Name = f.Text("Name")
	s.Note = f.OptionalText("Note")
	s.Limit = f.Int("Limit")
	s.Flag = f.Bool("Flag")
	s.Texts = f.Texts("Texts")
	s.Pairs = wire.FormList(f, "Pairs", wire.FormStructure((*pair).read))
}

func decodeForm(body string) (sample, error) {
	var s sample
	err := wire.DecodeForm([]byte(body), s.read, func(*wire.Checker) {})
	return s, err
}

func TestForm(t *testing.T) {
	t.Parallel()
	absent := wire.Absent
	for body, want := range map[string]sample{
		"":                                    {Name: absent},
		"Name=":                               {Name: ""},
		"Name=a+b%26c%3Dd%2Be":                {Name: "a b&c=d+e"},
		"Name=%C3%A9%F0%9F%94%91":             {Name: "é🔑"},
		"Name=a&Note=":                        {Name: "a", Note: new("")},
		"Name":                                {Name: ""},
		"Limit=7":                             {Name: absent, Limit: new(7)},
		"Limit=-2147483648":                   {Name: absent, Limit: new(-2147483648)},
		"Limit=007":                           {Name: absent, Limit: new(7)},
		"Flag=true":                           {Name: absent, Flag: new(true)},
		"Flag=false":                          {Name: absent, Flag: new(false)},
		"Texts=":                              {Name: absent, Texts: []string{}},
		"Texts.member.1=a":                    {Name: absent, Texts: []string{"a"}},
		"Texts.member.2=b&Texts.member.1=":    {Name: absent, Texts: []string{"", "b"}},
		"Pairs=":                              {Name: absent, Pairs: []pair{}},
		"Pairs.member.1.Key=a":                {Name: absent, Pairs: []pair{{Key: "a"}}},
		"Pairs.member.1.Other=a":              {Name: absent, Pairs: []pair{{Key: absent}}},
		"Pairs%2Emember%2E1%2EKey=a":          {Name: absent, Pairs: []pair{{Key: "a"}}},
		"Pairs.member.1.Inner.member.1=x":     {Name: absent, Pairs: []pair{{Key: absent, Inner: []string{"x"}}}},
		"Pairs.member.1.Inner=":               {Name: absent, Pairs: []pair{{Key: absent, Inner: []string{}}}},
		"Action=Do&Version=1&name=a&Other.x=": {Name: absent},
		"Other=1&Other=2&Other.member.0=x":    {Name: absent},
		"a..b=&.=&..=&=x":                     {Name: absent},
		// The second element sorts before the tenth.
		"Texts.member.10=j&Texts.member.2=b&Texts.member.1=a&Texts.member.3=c&Texts.member.4=d&Texts.member.5=e&" +
			"Texts.member.6=f&Texts.member.7=g&Texts.member.8=h&Texts.member.9=i": {Name: absent, Texts: strings.Split("abcdefghij", "")},
	} {
		got, err := decodeForm(body)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s: -got +want\n%s", body, diff)
		}
	}
}

// TestFormRefusals holds what must not be read as something else: parameters of a
// known member that do not fit its type.
func TestFormRefusals(t *testing.T) {
	t.Parallel()
	const (
		encoding = "The parameters of the request are not correctly encoded."
		complex  = "Unexpected complex element termination"
		list     = "Unexpected list element termination"
		repeated = "A parameter of the request was given more than once."
		integer  = "STRING_VALUE cannot be converted to Integer"
		boolean  = "STRING_VALUE cannot be converted to Boolean"
	)
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "&Texts.member.%d=", i+1)
		}
		return b.String()[1:]
	}
	for body, want := range map[string]string{
		"Name=%zz":                           encoding,
		"Name=%":                             encoding,
		"Name=a;b":                           encoding,
		"Name=%FF":                           encoding,
		"%FF=a":                              encoding,
		"Other=%C3":                          encoding,
		strings.Repeat("a&", 1000):           encoding,
		"Name=" + strings.Repeat("a", 1<<20): encoding,
		many(1001):                           encoding,
		"Name=a&Name=b":                      repeated,
		"Name=a&Name=a":                      repeated,
		"Name=a&%4Eame=b":                    repeated,
		"Texts=&Texts=":                      repeated,
		"Texts.member.1=a&Texts.member.1=b":  repeated,
		"Pairs.member.1.Key=a&Pairs.member.1.Key=": repeated,
		"Name.x=a":                             complex,
		"Name=a&Name.x=a":                      complex,
		"Limit.member.1=1":                     complex,
		"Flag.x=true":                          complex,
		"Texts.member.1.x=a":                   complex,
		"Texts.member.1=a&Texts.member.1.x=a":  complex,
		"Pairs.member.1=a":                     complex,
		"Pairs.member.1=":                      complex,
		"Pairs.member.1=&Pairs.member.1.Key=a": complex,
		"Pairs.member.1.Key.x=a":               complex,
		"Texts=a":                              list,
		"Texts=&Texts.member.1=a":              list,
		"Texts.1=a":                            list,
		"Texts.Member.1=a":                     list,
		"Texts.member=a":                       list,
		"Texts.member=&Texts.member.1=a":       list,
		"Texts.member.1=a&Texts.x=b":           list,
		"Texts.member.0=a":                     list,
		"Texts.member.2=a":                     list,
		"Texts.member.1=a&Texts.member.3=b":    list,
		"Texts.member.01=a":                    list,
		"Texts.member.%2B1=a":                  list,
		"Texts.member.-1=a":                    list,
		"Texts.member.=a":                      list,
		"Texts.member.x=a":                     list,
		"Texts.member.4294967297=a":            list,
		"Texts.member.99999999999999999999=a":  list,
		"Pairs.1.Key=a":                        list,
		"Pairs.Key=a":                          list,
		"Pairs.member.Key=a":                   list,
		"Pairs.member.1.Inner.1=a":             list,
		"Limit=":                               integer,
		"Limit=a":                              integer,
		"Limit=1.0":                            integer,
		"Limit=0x1":                            integer,
		"Limit=1_0":                            integer,
		"Limit=+1":                             integer, // a space and 1
		"Limit=2147483648":                     integer,
		"Limit=99999999999999999999":           integer,
		"Flag=":                                boolean,
		"Flag=True":                            boolean,
		"Flag=1":                               boolean,
	} {
		_, err := decodeForm(body)
		var got *wire.SerializationError
		if !errors.As(err, &got) || got.Message != want {
			t.Errorf("%.80s: got %v, want %q", body, err, want)
		}
	}
	if got, err := decodeForm(many(1000)); err != nil || len(got.Texts) != 1000 {
		t.Errorf("1,000 parameters: got %d texts, %v", len(got.Texts), err)
	}
}

// TestFormIsReadBeforeItIsChecked checks that a request of wrong types breaks no
// constraints.
func TestFormIsReadBeforeItIsChecked(t *testing.T) {
	t.Parallel()
	var s sample
	check := func(c *wire.Checker) { c.Required("name", false) }
	var wrong *wire.SerializationError
	if err := wire.DecodeForm([]byte("Limit=x"), s.read, check); !errors.As(err, &wrong) {
		t.Errorf("got %v, want a SerializationError", err)
	}
	var broken *wire.ConstraintError
	if err := wire.DecodeForm([]byte("Limit=1"), s.read, check); !errors.As(err, &broken) {
		t.Errorf("got %v, want a ConstraintError", err)
	}
}

// FuzzForm checks that a form never panics, is read the same way whatever the order
// of its parameters, and makes no list that is longer than the request.
func FuzzForm(f *testing.F) {
	for _, body := range []string{
		"", "&", "=", "Name=a&Limit=1&Flag=true", "Texts.member.1=a&Texts.member.2=b", "Pairs.member.1.Key=a&Pairs.member.1.Inner.member.1=b",
		"Texts=", "Texts.member.999999999=a", "Name=a&Name=b", "Name.x=a&Name=b", "a.b.c.d.e.f.g.h.i.j.k=1", "Name=%FF", "Pairs.member.1=a",
		"Limit=x&Flag=y&Texts=z", strings.Repeat("a.", 5000), strings.Repeat("Texts.member.1.", 70) + "=",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := decodeForm(body)
		if n := strings.Count(body, "&") + 1; len(got.Texts) > n || len(got.Pairs) > n {
			t.Fatalf("%d texts and %d pairs of %d parameters", len(got.Texts), len(got.Pairs), n)
		}
		parts := strings.Split(body, "&")
		for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
			parts[i], parts[j] = parts[j], parts[i]
		}
		again, errAgain := decodeForm(strings.Join(parts, "&"))
		if fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Fatalf("got %v, and %v in the reverse order", err, errAgain)
		}
		if diff := cmp.Diff(got, again); err == nil && diff != "" {
			t.Errorf("-first +reverse\n%s", diff)
		}
	})
}

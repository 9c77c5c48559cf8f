package apitls_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/apitls"
)

func TestParseHosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []string
		want string // names, then addresses
	}{
		{[]string{"KMS.example.com", "kms.example.com.", "kms.example.com:9400"}, "[kms.example.com] []"},
		{[]string{"10.0.0.1:9400", "10.0.0.1", "::ffff:10.0.0.1"}, "[] [10.0.0.1]"},
		{[]string{"[2001:db8::1]:9400", "2001:db8::1", "[2001:db8::1]", "fe80::1%eth0"}, "[] [2001:db8::1 fe80::1]"},
		{[]string{"0.0.0.0:9400", "[::]:9400", ":9400", ""}, "[] []"},
		{[]string{"localhost", "*.kms.internal", "node_1", "xn--bcher-kva.example"}, "[localhost *.kms.internal node_1 xn--bcher-kva.example] []"},
		{[]string{"1.2.3.4.example"}, "[1.2.3.4.example] []"},
	} {
		h, err := apitls.ParseHosts(c.in...)
		if got := fmt.Sprint(h.Names, " ", h.IPs); err != nil || got != c.want {
			t.Errorf("%q: got %s, %v; want %s", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{
		"a b", "-a", "a-", "a..b", "*", "a.*.b", "https://kms.example.com", "bücher.example", "a/b", "kms.example.com:9400:1",
		strings.Repeat("a", 64), strings.Repeat("a.", 127) + "b", "a\x00", "a\n",
	} {
		if h, err := apitls.ParseHosts("good.example", in); err == nil {
			t.Errorf("%q became %v", in, h)
		}
	}
}

func FuzzParseHosts(f *testing.F) {
	for _, s := range []string{"kms.example.com:9400", "[::1%lo]:1", "*.a", "10.0.0.1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := apitls.ParseHosts(s)
		if err != nil {
			return
		}
		var text []string
		text = append(text, h.Names...)
		for _, ip := range h.IPs {
			text = append(text, ip.String())
		}
		again, err := apitls.ParseHosts(text...)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(h) {
			t.Errorf("%q: %v, and again %v, %v", s, h, again, err)
		}
	})
}

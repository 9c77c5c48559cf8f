package kms_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/kms"
)

func TestParseARN(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want kms.ARN
		ok   bool
	}{
		{"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
			kms.ARN{Partition: "aws", Service: "kms", Region: "us-east-1", Account: "111122223333", Resource: "key/1234abcd-12ab-34cd-56ef-1234567890ab"}, true},
		{"arn:aws:kms:us-east-1:111122223333:alias/a:b",
			kms.ARN{Partition: "aws", Service: "kms", Region: "us-east-1", Account: "111122223333", Resource: "alias/a:b"}, true},
		{"arn:aws:iam::111122223333:root", kms.ARN{Partition: "aws", Service: "iam", Account: "111122223333", Resource: "root"}, true},
		{"arn:::::", kms.ARN{}, true},
		{"arn:aws:kms:us-east-1:111122223333", kms.ARN{}, false},
		{"ARN:aws:kms:us-east-1:111122223333:key/x", kms.ARN{}, false},
		{"", kms.ARN{}, false},
	}
	for _, test := range tests {
		got, ok := kms.ParseARN(test.text)
		if ok != test.ok || got != test.want {
			t.Errorf("ParseARN(%q) = %+v, %v; want %+v, %v", test.text, got, ok, test.want, test.ok)
		}
		if ok && got.String() != test.text {
			t.Errorf("ParseARN(%q) renders as %q", test.text, got)
		}
	}
}

func TestBuiltARNs(t *testing.T) {
	t.Parallel()
	if got, want := kms.KeyARN("us-east-1", "111122223333", "mrk-1234abcd12ab34cd56ef1234567890ab"),
		"arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := kms.AliasARN("eu-west-1", "111122223333", "alias/app"), "arn:aws:kms:eu-west-1:111122223333:alias/app"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := kms.RootARN("111122223333"), "arn:aws:iam::111122223333:root"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	check := func(name string, f func(string) bool, good, bad []string) {
		for _, s := range good {
			if !f(s) {
				t.Errorf("%s refuses %q", name, s)
			}
		}
		for _, s := range bad {
			if f(s) {
				t.Errorf("%s accepts %q", name, s)
			}
		}
	}
	check("ValidKeyID", kms.ValidKeyID,
		[]string{"1234abcd-12ab-34cd-56ef-1234567890ab", "mrk-1234abcd12ab34cd56ef1234567890ab"},
		[]string{"", "1234ABCD-12ab-34cd-56ef-1234567890ab", "1234abcd-12ab-34cd-56ef-1234567890a", "1234abcd-12ab-34cd-56ef-1234567890abc",
			"1234abcdx12ab-34cd-56ef-1234567890ab", "mrk-1234abcd12ab34cd56ef1234567890a", "mrk-1234abcd12ab34cd56ef1234567890aB", "alias/x", "------------------------------------"})
	check("ValidAccount", kms.ValidAccount, []string{"111122223333", "000000000000"}, []string{"", "11112222333", "1111222233334", "11112222333a"})
	check("ValidRegion", kms.ValidRegion,
		[]string{"us-east-1", "us-gov-west-1", "ap-southeast-12"},
		[]string{"", "us", "us-east", "us-east-", "-east-1", "us-East-1", "us-east-1a", "a-b-c-d-1", "us-east-111111111111111111111111111"})
}

func FuzzParseARN(f *testing.F) {
	f.Add("arn:aws:kms:us-east-1:111122223333:key/x")
	f.Fuzz(func(t *testing.T, s string) {
		if a, ok := kms.ParseARN(s); ok && a.String() != s {
			t.Errorf("%q renders as %q", s, a)
		}
		if kms.ValidKeyID(s) && len(s) != 36 || kms.ValidAccount(s) && len(s) != 12 || kms.ValidRegion(s) && strings.ContainsAny(s, ":/ ") {
			t.Errorf("%q is valid", s)
		}
	})
}

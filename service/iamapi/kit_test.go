package iamapi_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

// ids are what no test can foresee: unique ids, access keys and secrets.
var ids = regexp.MustCompile(`\b(AIDA|AGPA|ANPA|AROA)[A-Z2-7]{17}\b|\bAKIA[A-Z2-7]{16}\b|<SecretAccessKey>[A-Za-z0-9+/]{40}</SecretAccessKey>`)

// masked replaces ids by their kind.
func masked(text string) string {
	return ids.ReplaceAllStringFunc(text, func(id string) string {
		if strings.HasPrefix(id, "<") {
			return "<SecretAccessKey>*</SecretAccessKey>"
		}
		return id[:4]
	})
}

func form(params ...string) string {
	f := url.Values{}
	for i := 0; i < len(params); i += 2 {
		f.Set(params[i], params[i+1])
	}
	return f.Encode()
}

// ask runs an operation of IAM and returns the result element, or the refusal.
func ask(t *testing.T, s *testkit.Solo, who testkit.Caller, op string, params ...string) string {
	t.Helper()
	return textOf(t, s.Raw(t, who, "iam", op, form(params...)))
}

func textOf(t *testing.T, a testkit.Answer) string {
	t.Helper()
	switch {
	case a.Err != nil:
		t.Fatal(a.Err)
	case a.Refusal != nil:
		return a.Refusal.Error()
	}
	return string(a.Raw)
}

// step is a call by Account's root user and its answer, masked.
type step struct {
	op     string
	params []string
	want   string
}

func walk(t *testing.T, s *testkit.Solo, steps []step) {
	t.Helper()
	for _, c := range steps {
		if got := masked(ask(t, s, testkit.Root, c.op, c.params...)); got != c.want {
			t.Errorf("%s %q:\ngot  %s\nwant %s", c.op, c.params, got, c.want)
		}
	}
}

func p(params ...string) []string { return params }

// between returns the text of the first element of the name.
func between(t *testing.T, answer, element string) string {
	t.Helper()
	_, rest, ok := strings.Cut(answer, "<"+element+">")
	text, _, closed := strings.Cut(rest, "</"+element+">")
	if !ok || !closed {
		t.Fatalf("no %s in %s", element, answer)
	}
	return text
}

// allow is an identity policy that allows actions on resources.
func allow(actions, resource, more string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":` + actions + `,"Resource":"` + resource + `"` + more + `}}`
}

func identity(t *testing.T, s *testkit.Solo, kind fsm.IdentityKind, name string) *fsm.Identity {
	t.Helper()
	i, ok := s.Machine.View().IdentityNamed(testkit.Account, kind, name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return i
}

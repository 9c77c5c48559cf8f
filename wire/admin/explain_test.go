package admin_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/wire/admin"
)

const explained = `"principal":"111122223333","action":"kms:Decrypt","resource":"*"`

func TestExplain(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]admin.ExplainRequest{
		`{` + explained + `}`:                {Principal: "111122223333", Action: "kms:Decrypt", Resource: "*"},
		`{` + explained + `,"context":null}`: {Principal: "111122223333", Action: "kms:Decrypt", Resource: "*"},
		`{"context":{"kms:EncryptionContext:a:b":["1",""],"aws:SourceIp":[]},` + explained + `}`: {Principal: "111122223333", Action: "kms:Decrypt", Resource: "*",
			Context: map[string][]string{"kms:EncryptionContext:a:b": {"1", ""}, "aws:SourceIp": {}}},
	} {
		var got, again admin.ExplainRequest
		if err := got.Decode([]byte(body)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
		text, err := json.Marshal(want)
		if err = errors.Join(err, again.Decode(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What is refused leaves nothing behind, and no message has a value of the context.
func TestExplainRefuses(t *testing.T) {
	t.Parallel()
	keys := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, `"a:`+strings.Repeat("x", i+1)+`":[]`)
		}
		return strings.Join(list, ",")
	}
	values := func(n int) string { return `"a:b":["canary"` + strings.Repeat(`,"canary"`, n-1) + `]` }
	const (
		one     = "1 validation error detected: "
		failed  = " failed to satisfy constraint: Member must "
		shorter = "have length less than or equal to "
	)
	for context, want := range map[string]string{
		`"a:b":null`:                        "Payload holds a condition key whose values are null",
		`"a:b":["canary"],"A:B":["canary"]`: "Payload holds a member twice",
		keys(51):                            "Payload holds too many condition keys",
		`"a:b":"canary"`:                    "Unexpected value type in payload",
		`"abc":["canary"]`:                  one + "Value at 'context'" + failed + "satisfy regular expression pattern: [a-zA-Z0-9-]+:.+",
		`"a:` + strings.Repeat("x", 511) + `":["canary"]`: one + "Value at 'context'" + failed + shorter + "512",
		values(51):     one + "Value at 'context'" + failed + shorter + "50",
		`"a:b":[null]`: one + "Value at 'context'" + failed + "satisfy constraint: [Member must not be null]",
		`"a:b":["canary` + strings.Repeat("x", 2043) + `"]`: one + "Value at 'context'" + failed + "satisfy constraint: [Member must have length less than or equal to 2048, Member must have length greater than or equal to 0]",
	} {
		var in admin.ExplainRequest
		if err := in.Decode([]byte(`{` + explained + `,"context":{` + context + `}}`)); err == nil || err.Error() != want {
			t.Errorf("%.60s: got %v, want %s", context, err, want)
		}
		if in.Principal != "" || in.Action != "" || in.Resource != "" || in.Context != nil {
			t.Errorf("%.60s: refused and kept: %+v", context, in)
		}
	}
	for _, context := range []string{keys(50), values(50), `"a:` + strings.Repeat("x", 510) + `":["` + strings.Repeat("y", 2048) + `"]`} {
		var in admin.ExplainRequest
		if err := in.Decode([]byte(`{` + explained + `,"context":{` + context + `}}`)); err != nil {
			t.Errorf("%.60s: %v", context, err)
		}
	}
	var in admin.ExplainRequest
	const null = "Value null at '%' failed to satisfy constraint: Member must not be null"
	want := "3 validation errors detected: " + strings.ReplaceAll(null, "%", "principal") + "; " + strings.ReplaceAll(null, "%", "action") + "; " + strings.ReplaceAll(null, "%", "resource")
	if err := in.Decode(nil); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

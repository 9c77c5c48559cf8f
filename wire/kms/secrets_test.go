package kms_test

import (
	"strings"
	"testing"

	wirekms "github.com/kmsd/kmsd/wire/kms"
)

// Messages of broken constraints reach the audit log, where no grant token may
// stand.
func TestMessagesHideGrantTokens(t *testing.T) {
	t.Parallel()
	const token = "c2VjcmV0LWdyYW50LXRva2Vu"
	for name, test := range map[string]struct{ op, body string }{
		"eleven tokens": {"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","GrantTokens":["` + token + strings.Repeat(`","`+token, 10) + `"]}`},
		"a long token":  {"Encrypt", `{"KeyId":"k","Plaintext":"YQ==","GrantTokens":["` + strings.Repeat(token, 400) + `"]}`},
		"retire by it":  {"RetireGrant", `{"GrantToken":"` + strings.Repeat(token, 400) + `"}`},
	} {
		op, ok := wirekms.Lookup(test.op)
		if !ok {
			t.Fatalf("%s is missing", test.op)
		}
		err := op.New().Decode([]byte(test.body))
		if err == nil || !strings.HasPrefix(err.Error(), "1 validation error detected: Value at 'grantToken") {
			t.Errorf("%s: got %.100v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the message shows the token", name)
		}
	}
}

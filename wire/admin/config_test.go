package admin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/wire/admin"
)

// The texts of rates, and what is none.
func TestRates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]admin.Rate{
		"0": 0, "1": 1000, "0.25": 250, "0.1": 100, "0.01": 10, "0.001": 1, "2.5": 2500, "2.500": 2500, "007": 7000, "10000": 10_000_000, "1000000": 1_000_000_000,
	} {
		got, err := admin.ParseRate(text)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
		if back, err := admin.ParseRate(got.String()); err != nil || back != want {
			t.Errorf("%s: written as %s, read as %d, %v", text, got, back, err)
		}
	}
	for rate, want := range map[admin.Rate]string{0: "0", 1: "0.001", 10: "0.01", 250: "0.25", 999: "0.999", 1500: "1.5", 1_000_000_000: "1000000", -1500: "-1.5"} {
		if rate.String() != want {
			t.Errorf("got %s, want %s", rate, want)
		}
	}
	for _, text := range []string{"", ".", ".5", "5.", "-1", "+1", "1e3", "0x10", "1_0", " 1", "1 ", "1,5", "0.0001", "1.2.3", "a", "1.a", "9999999999999999999999", "NaN", "Inf"} {
		if got, err := admin.ParseRate(text); err == nil {
			t.Errorf("%q: taken as %d", text, got)
		}
	}
}

// Bodies of SetConfig that are refused before any operator is asked.
func TestSetConfigRefuses(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"q%d":1`, i))
		}
		return `{"rates":{` + strings.Join(list, ",") + `}}`
	}
	const one = "1 validation error detected: "
	for body, want := range map[string]string{
		`{"keysPerRegion":0}`:                             one + "Value '0' at 'keysPerRegion' failed to satisfy constraint: Member must have value greater than or equal to 1",
		`{"keysPerRegion":10000001}`:                      one + "Value '10000001' at 'keysPerRegion' failed to satisfy constraint: Member must have value less than or equal to 10000000",
		`{"aliasesPerKey":0}`:                             one + "Value '0' at 'aliasesPerKey' failed to satisfy constraint: Member must have value greater than or equal to 1",
		`{"aliasesPerKey":100001}`:                        one + "Value '100001' at 'aliasesPerKey' failed to satisfy constraint: Member must have value less than or equal to 100000",
		`{"throttle":"on"}`:                               one + "Value 'on' at 'throttle' failed to satisfy constraint: Member must satisfy enum value set: [off, aws, custom]",
		`{"keysPerRegion":1.5}`:                           "NUMBER_VALUE cannot be converted to Integer",
		`{"rates":[]}`:                                    "Start of list found where not expected",
		`{"rates":{"a":"5"}}`:                             "STRING_VALUE cannot be converted to a multiple of 0.001",
		`{"rates":{"a":0.0001}}`:                          "NUMBER_VALUE cannot be converted to a multiple of 0.001",
		`{"rates":{"a":1e99}}`:                            "NUMBER_VALUE cannot be converted to a multiple of 0.001",
		`{"rates":{"a":true}}`:                            "TRUE_VALUE cannot be converted to a multiple of 0.001",
		`{"rates":{"a":null}}`:                            "Payload holds a rate that is null",
		`{"rates":{"a":1,"a":1}}`:                         "Payload holds a member twice",
		many(257):                                         "Payload holds too many rates",
		`{"rates":{"` + strings.Repeat("x", 65) + `":1}}`: "Payload holds a quota whose name is too long",
	} {
		var in admin.SetConfigRequest
		if err := in.Decode([]byte(body)); err == nil || err.Error() != want {
			t.Errorf("%.60s: got %v, want %s", body, err, want)
		}
		if text, _ := json.Marshal(in); string(text) != "{}" {
			t.Errorf("%.60s: refused and kept: %s", body, text)
		}
	}
	for _, body := range []string{many(256), `{"rates":{}}`} {
		var in admin.SetConfigRequest
		if err := in.Decode([]byte(body)); err != nil || in.Rates == nil {
			t.Errorf("%.60s: %v", body, err)
		}
	}
}

package wire_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/wire"
)

// skipAll reads an object without looking at its members.
func skipAll(body string) error {
	r := wire.NewReader([]byte(body))
	if r.Object() {
		for r.Next() {
			r.Skip()
		}
	}
	return r.Err()
}

// member reads the one member of body with read.
func member[T any](body string, read func(*wire.Reader) T) (T, error) {
	var v T
	r := wire.NewReader([]byte(body))
	if r.Object() {
		for r.Next() {
			v = read(&r)
		}
	}
	return v, r.Err()
}

// message returns the text of a *SerializationError, or a text that no test wants.
func message(err error) string {
	var s *wire.SerializationError
	switch {
	case err == nil:
		return "no error"
	case !errors.As(err, &s):
		return "another error: " + err.Error()
	}
	return s.Message
}

func TestObjectsThatAreJSON(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		``, `{}`, " {\t\r\n} ", `{"a":1}`, `{"a":1,"b":2}`, `{"a":{"b":[1,{"c":null}]}}`, `{"a":[]}`, `{"a":[[],[1]]}`,
		`{"":""}`, `{"a":"\u0041\ud83d\ude00\"\\\/\b\f\n\r\t"}`, `{"a":-0,"b":0.5,"c":1e9,"d":1E+9,"e":-1.5e-9}`,
		`{"a":true,"b":false,"c":null}`, `{"ключ":"значение 🔑"}`,
		`{"a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`,
	} {
		if err := skipAll(body); err != nil {
			t.Errorf("%s: got %v, want no error", body, err)
		}
		if body != "" && !json.Valid([]byte(body)) {
			t.Errorf("%s: not JSON for encoding/json", body)
		}
	}
}

func TestBodiesThatAreNotJSON(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		` `, `{`, `}`, `{]`, `{"a"}`, `{"a":}`, `{"a":1`, `{"a":1,}`, `{,"a":1}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1,,"b":2}`,
		`{a:1}`, `{'a':1}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[1}`, `{"a":{]}`, `{}{}`, `{} x`, `{}}`, `{},`,
		`{"a":01}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`, `{"a":1e+}`, `{"a":-}`, `{"a":0x1}`, `{"a":NaN}`, `{"a":Infinity}`,
		`{"a":tru}`, `{"a":True}`, `{"a":falsee}`, `{"a":nul}`, `{"a":nulll}`, `nul`, `nope`,
		`{"a":"`, `{"a":"\`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "{\"a\":\"\\n\x1f\"}",
		`{"a":"\ud83d"}`, `{"a":"\ude00"}`, `{"a":"\ud83d\u0041"}`, `{"a":"\ud83dx"}`, `{"\ud83d":1}`,
		"{\"a\":\"\xff\"}", "{\"\xff\":1}", "{\"a\":\"\xed\xa0\x80\"}", "\xef\xbb\xbf{}", "{}\x00", "\x00", `{/* */}`, `{"a":1}//`,
	} {
		if got := message(skipAll(body)); got != "" {
			t.Errorf("%q: got message %q, want an empty one", body, got)
		}
	}
}

func TestBodiesThatAreNoObject(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`[]`:    "Start of list found where not expected",
		`"x"`:   "Unexpected value type in payload",
		`7`:     "Unexpected value type in payload",
		`true`:  "Unexpected value type in payload",
		`false`: "Unexpected value type in payload",
		`null`:  "Unexpected value type in payload",
	} {
		if got := message(skipAll(body)); got != want {
			t.Errorf("%s: got message %q, want %q", body, got, want)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	padded := `{"a":"` + strings.Repeat("x", wire.MaxBody-8) + `"}`
	if err := skipAll(padded); err != nil {
		t.Errorf("body of %d bytes: got %v, want no error", len(padded), err)
	}
	if got, want := message(skipAll(padded+" ")), "Payload is too large"; got != want {
		t.Errorf("body of %d bytes: got message %q, want %q", len(padded)+1, got, want)
	}
	deep := `{"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`
	if got, want := message(skipAll(deep)), "Payload is nested too deeply"; got != want {
		t.Errorf("depth 65: got message %q, want %q", got, want)
	}
	if got, want := message(skipAll(`{"a":`+strings.Repeat(`{"a":`, 100_000))), "Payload is nested too deeply"; got != want {
		t.Errorf("depth 100,001: got message %q, want %q", got, want)
	}
	list := func(n int) string { return `{"a":["` + strings.Repeat(`","`, n-1) + `"]}` }
	if v, err := member(list(10_000), (*wire.Reader).Texts); err != nil || len(v) != 10_000 {
		t.Errorf("10,000 elements: got %d and %v, want all of them", len(v), err)
	}
	_, err := member(list(10_001), (*wire.Reader).Texts)
	if got, want := message(err), "Too many elements in payload"; got != want {
		t.Errorf("10,001 elements: got message %q, want %q", got, want)
	}
	if err := skipAll(list(10_001)); err != nil {
		t.Errorf("10,001 elements of an unknown member: got %v, want no error", err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"a":"x"}`:                            "x",
		`{"a":""}`:                             "",
		`{"a":"\u00e9\/\ud83d\uDD11\n"}`:       "é/🔑\n",
		`{"a":"\u0000"}`:                       "\x00",
		`{"a":"1","a":"2"}`:                    "2",
		`{"a":"1","a":null}`:                   wire.Absent,
		`{"a":null,"a":"1"}`:                   "1",
		`{"a":null}`:                           wire.Absent,
		`{"\u0061":"x"}`:                       "x",
		"{\n\t\"a\" : \"\\u2028 \u2028 <&>\"}": "\u2028 \u2028 <&>",
	} {
		if got, err := member(body, (*wire.Reader).Text); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", body, got, err, want)
		}
	}
}

func TestIntegers(t *testing.T) {
	t.Parallel()
	for literal, want := range map[string]int{
		"7": 7, "0": 0, "-0": 0, "-7": -7, "7.0": 7, "7.000": 7, "7e0": 7, "7E2": 700, "7e+2": 700, "700e-2": 7, "0.7e1": 7, "70.0e-1": 7,
		"2147483647": 2147483647, "-2147483648": -2147483648, "0e999999999999": 0, "0.000": 0, "1000e-3": 1,
		"0.000000000000000000000000000001e30":    1,
		"1000000000000000000000000000000e-30":    1,
		"1" + strings.Repeat("0", 400) + "e-400": 1,
	} {
		got, err := member(`{"a":`+literal+`}`, (*wire.Reader).Int)
		if err != nil || got == nil || *got != want {
			t.Errorf("%s: got %v, %v, want %d", literal, got, err, want)
		}
	}
	for _, literal := range []string{
		"7.5", "1e-1", "2147483648", "-2147483649", "1e10", "1e99", "1e999999999999999999999", "1e-999999999999999999999",
		"99999999999999999999", "0.1", "7.0000000000000000000000000001", "9223372036854775808",
	} {
		_, err := member(`{"a":`+literal+`}`, (*wire.Reader).Int)
		if got, want := message(err), "NUMBER_VALUE cannot be converted to Integer"; got != want {
			t.Errorf("%s: got message %q, want %q", literal, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for literal, want := range map[string]string{
		"1516435200":              "2018-01-20T08:00:00Z",
		"1516435200.0":            "2018-01-20T08:00:00Z",
		"1516435200.399":          "2018-01-20T08:00:00.399Z",
		"1516435200.3999":         "2018-01-20T08:00:00.399Z",
		"1516435200.3":            "2018-01-20T08:00:00.3Z",
		"1.5164352E9":             "2018-01-20T08:00:00Z",
		"1.516435200399e9":        "2018-01-20T08:00:00.399Z",
		"1516435200399e-3":        "2018-01-20T08:00:00.399Z",
		"0":                       "1970-01-01T00:00:00Z",
		"-1":                      "1969-12-31T23:59:59Z",
		"-0.5":                    "1969-12-31T23:59:59.5Z",
		"253402300799.999":        "9999-12-31T23:59:59.999Z",
		"-62135596800":            "0001-01-01T00:00:00Z",
		"0.0001":                  "1970-01-01T00:00:00Z",
		"1e-99999999999999999999": "1970-01-01T00:00:00Z",
	} {
		got, err := member(`{"a":`+literal+`}`, (*wire.Reader).Time)
		if err != nil || got == nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v, %v, want %s", literal, got, err, want)
		}
	}
	for _, literal := range []string{"253402300800", "-62135596800.001", "1e300", "1e999999999999999999999"} {
		_, err := member(`{"a":`+literal+`}`, (*wire.Reader).Time)
		if got, want := message(err), "NUMBER_VALUE cannot be converted to milliseconds since epoch"; got != want {
			t.Errorf("%s: got message %q, want %q", literal, got, want)
		}
	}
}

func TestNullIsAbsent(t *testing.T) {
	t.Parallel()
	r := wire.NewReader([]byte(`{"a":null,"b":null,"c":null,"d":null,"e":null,"f":null,"g":null}`))
	r.Object()
	r.Next()
	if v := r.Blob(); v != nil {
		t.Errorf("Blob: got %v, want nil", v)
	}
	r.Next()
	if v := r.Int(); v != nil {
		t.Errorf("Int: got %v, want nil", v)
	}
	r.Next()
	if v := r.Bool(); v != nil {
		t.Errorf("Bool: got %v, want nil", v)
	}
	r.Next()
	if v := r.Time(); v != nil {
		t.Errorf("Time: got %v, want nil", v)
	}
	r.Next()
	if v := r.Texts(); v != nil {
		t.Errorf("Texts: got %v, want nil", v)
	}
	r.Next()
	if v := r.TextMap(); v != nil {
		t.Errorf("TextMap: got %v, want nil", v)
	}
	r.Next()
	if v := r.OptionalText(); v != nil {
		t.Errorf("OptionalText: got %v, want nil", v)
	}
	if r.Next() || r.Err() != nil {
		t.Errorf("at the end: got %v, want no error", r.Err())
	}
}

func TestNothingIsReadAfterAFailure(t *testing.T) {
	t.Parallel()
	r := wire.NewReader([]byte(`{"a":7,"b":"x"}`))
	r.Object()
	r.Next()
	if got := r.Text(); got != wire.Absent {
		t.Errorf("Text of a number: got %q, want absent", got)
	}
	if r.Next() {
		t.Error("Next after a failure: got true, want false")
	}
	if v := r.OptionalText(); v != nil {
		t.Errorf("OptionalText after a failure: got %q, want nil", *v)
	}
	if got, want := message(r.Err()), "NUMBER_VALUE cannot be converted to String"; got != want {
		t.Errorf("got message %q, want %q", got, want)
	}
}

func FuzzReader(f *testing.F) {
	for _, body := range []string{`{}`, `{"a":[1,"\ud83d\ude00",{"b":null}],"c":1.5e-3}`, `{"a":tru`, `[`, "{\"\xff\":1}"} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		err := skipAll(body)
		if err == nil && body != "" && !json.Valid([]byte(body)) {
			t.Errorf("%q: got no error, but it is not JSON", body)
		}
		if err != nil && strings.HasPrefix(strings.TrimLeft(body, " \t\r\n"), "{") && json.Valid([]byte(body)) && !refusable(body) {
			t.Errorf("%q: got %v, want no error", body, err)
		}
	})
}

// refusable says that JSON may be refused: depth, or text that is not Unicode.
func refusable(body string) bool {
	return strings.Count(body, "[")+strings.Count(body, "{") > 64 || strings.Contains(body, `\u`) ||
		strings.ToValidUTF8(body, "") != body || len(body) > wire.MaxBody
}

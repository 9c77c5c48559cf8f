package wire_test

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kmsd/kmsd/wire"
)

func TestAppendString(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]string{
		"":                   `""`,
		"abc":                `"abc"`,
		`a"b\c/d`:            `"a\"b\\c/d"`,
		"<script>&'":         `"<script>&'"`,
		"\n\r\t\b\f\x00\x1f": `"\n\r\t\u0008\u000c\u0000\u001f"`,
		"\x7fé\u2028🔑":       "\"\x7fé\u2028🔑\"",
		"a\xffb\xc3":         "\"a\uFFFDb\uFFFD\"",
		"\uFFFD":             "\"\uFFFD\"",
	} {
		if got := string(wire.AppendString(nil, v)); got != want {
			t.Errorf("%q: got %s, want %s", v, got, want)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\x00🔑\xff")
	f.Fuzz(func(t *testing.T, v string) {
		encoded := wire.AppendString(nil, v)
		var got string
		if err := json.Unmarshal(encoded, &got); err != nil {
			t.Fatalf("%q: got %s, which is not JSON: %v", v, encoded, err)
		}
		if utf8.ValidString(v) && got != v {
			t.Errorf("got %q, want %q", got, v)
		}
	})
}

func TestAppendTime(t *testing.T) {
	t.Parallel()
	for want, at := range map[string]time.Time{
		`{"T":1516435200.399}`:   time.UnixMilli(1516435200399),
		`{"T":1735689600.0}`:     time.UnixMilli(1735689600000),
		`{"T":1735689600.05}`:    time.UnixMilli(1735689600050),
		`{"T":1735689600.5}`:     time.UnixMilli(1735689600500),
		`{"T":1735689600.001}`:   time.Unix(1735689600, 1_999_999),
		`{"T":0.0}`:              time.UnixMilli(0),
		`{"T":-0.5}`:             time.UnixMilli(-500),
		`{"T":253402300799.999}`: time.UnixMilli(253402300799999),
	} {
		got := string(append(wire.AppendTime([]byte{'{'}, "T", &at), '}'))
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		back, err := member(got, (*wire.Reader).Time)
		if err != nil || back.UnixMilli() != at.UnixMilli() {
			t.Errorf("%s: got %v, %v when read again, want %v", got, back, err, at)
		}
	}
}

func TestAppendMembers(t *testing.T) {
	t.Parallel()
	dst := []byte("{")
	dst = wire.AppendOptionalText(dst, "absent", nil)
	dst = wire.AppendEnum(dst, "absent", "")
	dst = wire.AppendBlob(dst, "absent", nil)
	dst = wire.AppendBool(dst, "absent", nil)
	dst = wire.AppendInt(dst, "absent", nil)
	dst = wire.AppendTime(dst, "absent", nil)
	dst = wire.AppendTexts(dst, "absent", nil)
	dst = wire.AppendTextMap(dst, "absent", nil)
	if got := string(dst); got != "{" {
		t.Fatalf("absent members: got %s, want {", got)
	}
	dst = wire.AppendOptionalText(dst, "a", new(""))
	dst = wire.AppendEnum(dst, "b", "X")
	dst = wire.AppendBlob(dst, "c", []byte{0xfb, 0xff, 0xfe, 0})
	dst = wire.AppendBlob(dst, "d", []byte{})
	dst = wire.AppendBool(dst, "e", new(false))
	dst = wire.AppendInt(dst, "f", new(-7))
	dst = wire.AppendTexts(dst, "g", []string{"x", "y"})
	dst = wire.AppendTexts(dst, "h", []string{})
	dst = wire.AppendTextMap(dst, "i", map[string]string{"z": "1", "a": "2", "m": "{"})
	dst = wire.AppendTextMap(dst, "j", map[string]string{})
	got := string(append(dst, '}'))
	want := `{"a":"","b":"X","c":"+//+AA==","d":"","e":false,"f":-7,"g":["x","y"],"h":[],"i":{"a":"2","m":"{","z":"1"},"j":{}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestQueryResponse(t *testing.T) {
	t.Parallel()
	result := wire.AppendElement(nil, "Name", new("a<b>&\"'\r\n\t\x01é\xff"))
	result = wire.AppendElement(result, "Gone", nil)
	got := string(wire.AppendQueryResponse(nil, "DoIt", "https://example.com/?a&b", "id-1", result))
	want := `<DoItResponse xmlns="https://example.com/?a&amp;b"><Name>a&lt;b&gt;&amp;&#34;&#39;&#xD;` + "\n\t\uFFFDé\uFFFD" +
		`</Name><ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></DoItResponse>`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
